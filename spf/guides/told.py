"""The response path is told what the original shows, and is free everywhere; right for a style."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from spf.guides import Guide
from spf.guides.held import held_map

ORDER = 2


class Told(Guide):
    name = "told"
    follows = True
    tells = True
    everywhere = "told"
    ordinary = 1.0

    def free(self, differences: Sequence[Tensor]) -> Tensor:
        """Everywhere, or nowhere for a text that asks for nothing more."""
        held = held_map(differences)
        return (held.amax((1, 2), keepdim=True) > 0).to(held).expand_as(held)
