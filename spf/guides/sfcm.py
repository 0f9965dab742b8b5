"""Each step is blended with the reference by its own SFCM."""

from __future__ import annotations

from torch import Tensor

from spf.guides import Guide, Shown

ORDER = 4
MEASURED = True


class Sfcm(Guide):
    name = "sfcm"
    everywhere = "sfcm"
    reads_map = True

    def blend(self, shown: Shown, scale: str) -> Tensor:
        return shown.sfcm
