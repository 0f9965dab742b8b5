"""The original's latents are kept outside one map, and the response path is told what the original
shows.

Outside the map a drawing keeps the original's latents, as Blended Diffusion keeps those of a
picture (Avrahami et al. 2022). The map is found along the original's drawing, much as DiffEdit
finds its mask (Couairon et al. 2022): where the tuned weights tell the complete text from the base
text. Once the target takes shape the drawing itself narrows it: to where the response path and the
reference path differ on what has been drawn so far. What differs nearly everywhere is free nearly
everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from spf.guides import Guide

ORDER = 1
MEASURED = True
"""`evaluate --methods all` measures it."""
HELD = (0.25, 0.4)
"""Parts of the picture's largest noise difference between which the map rises from 0 to 1."""
NARROWS = 0.3
"""Share of the steps after which the drawing's own differences narrow the map."""
LARGEST = 0.98
"""The quantile of the cells that stands for the largest: a single one may be an accident."""


class Held(Guide):
    name = "held"
    follows = True
    tells = True
    everywhere = "told"
    narrows = NARROWS

    def free(self, differences: Sequence[Tensor]) -> Tensor:
        return held_map(differences)

    def narrowed(self, free: Tensor, differences: Sequence[Tensor]) -> Tensor:
        return torch.minimum(free, bordered(held_map(differences)))


def held_map(differences: Sequence[Tensor]) -> Tensor:
    """M [B,h,w] in [0,1], from the noise differences [B,h,w] of the steps, each in parts of its own
    mean.
    """
    low, high = HELD
    parts = [one / one.mean((1, 2), keepdim=True).clamp(min=1e-12) for one in differences]
    mean = torch.stack(parts).mean(0).float()
    largest = mean.flatten(1).quantile(LARGEST, 1)[:, None, None].clamp(min=1e-12)
    return ((mean / largest - low) / (high - low)).clamp(0, 1)


def bordered(control: Tensor) -> Tensor:
    """M [B,h,w] with a soft border of a cell, so that what is drawn inside has an edge of its own
    and not that of the cells.
    """
    return torch.maximum(control, avg_pool2d(control, 3, 1, 1, count_include_pad=False))
