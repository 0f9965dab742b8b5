"""Drawing: the one denoising loop, the tuned path, and the pair of original and tuned portrait with
every map.
"""

from .guides import GuideConfig, freed
from .kept import Kept
from .loop import Callback, Step, autocast, counting, draw_texts, initial_latents, sample
from .pair import PathTrace, Trace, sample_pair
from .phrases import prompt_distances, said
from .tuned import LARGEST_MAP, Edit, Shown, TunedPath

__all__ = [
    "LARGEST_MAP",
    "Callback",
    "Edit",
    "GuideConfig",
    "Kept",
    "PathTrace",
    "Shown",
    "Step",
    "Trace",
    "TunedPath",
    "autocast",
    "counting",
    "draw_texts",
    "freed",
    "initial_latents",
    "prompt_distances",
    "said",
    "sample",
    "sample_pair",
]
