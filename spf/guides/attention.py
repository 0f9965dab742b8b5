"""Each step is blended with the reference by the target's own attention."""

from __future__ import annotations

from torch import Tensor

from spf.guides import Guide, Shown
from spf.sfcm import resized, scaled

ORDER = 6


class Attention(Guide):
    name = "attention"
    everywhere = "attention"

    def blend(self, shown: Shown, scale: str) -> Tensor:
        return scaled(resized(shown.attention, shown.difference.shape[-2:]), scale)
