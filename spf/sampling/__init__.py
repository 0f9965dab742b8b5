"""Drawing: the one denoising loop, the tuned path, and the pair of original and tuned portrait with every map."""

from spf.sampling.guides import HELD, GuideConfig, composed, freed
from spf.sampling.loop import Adjust, Callback, Predict, Step, autocast, denoise, initial_latents, sample
from spf.sampling.pair import ORIGINAL, TUNED, PathTrace, Recorder, Trace, sample_pair
from spf.sampling.phrases import TARGET, Said, prompt_distances, said
from spf.sampling.tuned import LARGEST_MAP, Edit, Shown, TunedPath

__all__ = [
    "HELD", "LARGEST_MAP", "ORIGINAL", "TARGET", "TUNED", "Adjust", "Callback", "Edit", "GuideConfig", "PathTrace", "Predict",
    "Recorder", "Said", "Shown", "Step", "Trace", "TunedPath", "autocast", "composed", "denoise", "freed",
    "initial_latents", "prompt_distances", "said", "sample", "sample_pair",
]  # fmt: skip
