"""Ways to keep a tuned drawing near the original's (ours): one file each, with a class that has the
file's name.

`spf.sampling.GuideConfig` says which one a drawing has, and with what settings. Adding one is
adding a file here; its texts on the page are guided.NAME in spf/ui/languages, without which the
page shows the first sentence of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from spf.registry import GUIDES


class Shown(Protocol):
    """What a step of a drawing shows a guide: maps [B,h,w], and the target's attention [B,s,s]."""

    difference: Tensor
    sfcm: Tensor
    attention: Tensor


class Guide:
    """One of two kinds: a guide that follows the original's drawing, or one that blends by a map of
    each step.

    follows: the original is drawn first, and its latents are kept outside `free`. tells: the
    response path is told what the original shows. everywhere: the guide in its place for targets
    without a place, such as a style; "" for none.
    narrows: the share of a following drawing's steps from which `narrowed` asks its own noise
    differences; 1 for never.
    reads_map: the control map is made for it also where the adapters were trained without one.
    ordinary: how many times the guidance goes to the target, where nobody says; a weakly known
    target wants more.
    """

    name: ClassVar[str]
    follows: ClassVar[bool] = False
    tells: ClassVar[bool] = False
    everywhere: ClassVar[str] = ""
    narrows: ClassVar[float] = 1.0
    reads_map: ClassVar[bool] = False
    ordinary: ClassVar[float] = 1.75

    def free(self, differences: Sequence[Tensor]) -> Tensor:
        """M [B,h,w] in [0,1], where the target may act, from the noise differences [B,h,w] of the
        followed drawing.
        """
        raise NotImplementedError

    def narrowed(self, free: Tensor, differences: Sequence[Tensor]) -> Tensor:
        """What the noise differences [B,h,w] of the drawing so far leave of a map M [B,h,w]."""
        raise NotImplementedError

    def blend(self, shown: Shown, scale: str) -> Tensor:
        """M [B,h,w] in [0,1] of one step; scale: of a map that has none of its own, see
        `spf.sfcm.scaled`.
        """
        raise NotImplementedError


def make(name: str) -> Guide:
    """The guide of that name."""
    return GUIDES.kind(name, Guide)()
