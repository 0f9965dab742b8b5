"""Stable Diffusion's geometry for tests, with the words of the test world."""

from conftest import WORDS

from spf.geometry import SD21, exact_base, new_geometry, text_config
from spf.models import Base

__all__ = ["SD21", "exact_base", "new_cut_base", "text_config"]


def new_cut_base(seed: int = 0) -> Base:
    """The topology of SD 1.5, narrow: 4x8x8 latents, 64x64 pictures."""
    return new_geometry("cut", tuple(WORDS), seed)
