"""Watching a drawing: a callback that can stop it, decodes a picture now and then, and tells how
long it will take.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .answers import Progress
from .streaming import Check, Tell

if TYPE_CHECKING:
    from torch import Tensor

    from .sampling import Kept, PathTrace, Step

FRAMES = 10
"""Pictures decoded on the way, per path: enough to watch, few enough not to slow the
drawing down.
"""


class Watch:
    """The callback of one drawing.

    steps: that were asked for. picture: makes uint8 [H,W,3] of latents [1,C,h,w]. kept: earlier
    drawings, with their frames.
    """

    def __init__(
        self,
        steps: int,
        picture: Callable[[Tensor], np.ndarray],
        kept: Kept,
        tell: Tell,
        check: Check,
    ) -> None:
        self.picture, self.kept, self.tell, self.check = picture, kept, tell, check
        self.count = steps
        every = -(-steps // FRAMES)
        self.frame_steps = tuple(sorted({*range(0, steps, every), steps - 1}))
        self.frames: dict[str, list[np.ndarray]] = {}
        self.previews: dict[str, np.ndarray] = {}
        self.calls: list[int] = []
        self.area = 1.0
        self.began, self.rows, self.spent = time.perf_counter(), 0, 0.0

    @property
    def row_seconds(self) -> float:
        """Of a row of the base's own size."""
        return self.spent / self.rows / self.area if self.rows else 0.0

    def known(self, role: str, path: PathTrace) -> None:
        """Takes over the frames of a path that was drawn before, and shows its picture at once."""
        frames = self.kept.get(("frames", *path.key)) or []
        self.frames[role] = frames or [path.images[0]] * len(self.frame_steps)
        self.previews[role] = self.frames[role][-1]

    def __call__(self, step: Step) -> None:
        self.check()
        drawn = step.clean is not None
        if step.index == 0 and drawn:
            self.frames[step.path] = []
        new = {}
        if step.index in self.frame_steps and drawn:
            new[step.path] = self.picture(step.clean)
            self.frames[step.path].append(new[step.path])
        previews, self.previews = self.previews | new, {}
        before, self.rows, self.spent = self.rows, sum(self.calls), time.perf_counter() - self.began
        left = (step.total - step.done) * (self.rows - before) * self.row_seconds * self.area
        place = (step.index + 1, self.count)
        self.tell(Progress(step.path, step.done, step.total, left, previews, *place))
