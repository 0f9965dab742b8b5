"""Each step is blended with the reference by its own noise difference."""

from __future__ import annotations

from torch import Tensor

from spf.guides import Guide, Shown
from spf.sfcm import scaled

ORDER = 5


class Difference(Guide):
    name = "difference"
    everywhere = "difference"

    def blend(self, shown: Shown, scale: str) -> Tensor:
        return scaled(shown.difference, scale)
