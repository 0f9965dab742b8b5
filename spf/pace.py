"""How long a run still takes: its steps, each at the pace of its stage, and its looks."""

from __future__ import annotations

from collections import deque
from statistics import median

RECENT = 15
"""Steps by which the pace of a stage is known."""


class Pace:
    """What is still to come of a run of so many steps.

    border: the first step of a later stage, whose steps take `times` as long until one was timed;
    looks: the steps at which something else is done, which takes `look` seconds.
    """

    def __init__(
        self,
        steps: int,
        *,
        border: int | None = None,
        times: float = 1.0,
        looks: tuple[int, ...] = (),
        look: float = 0.0,
    ) -> None:
        self.steps, self.looks, self.look, self.times = steps, looks, look, times
        self.border = steps if border is None else border
        self.timed: tuple[deque[float], deque[float]] = deque(maxlen=RECENT), deque(maxlen=RECENT)

    def step(self, number: int, seconds: float) -> None:
        """Notes what step `number`, counted from 1, took."""
        self.timed[number > self.border].append(seconds)

    def left(self, number: int) -> float | None:
        """Seconds from the end of step `number`, and of its look, to that of the run; None before a
        step was timed.
        """
        if not any(self.timed):
            return None
        early, late = (median(one) if one else None for one in self.timed)
        late = early * self.times if late is None else late
        early = late if early is None else early
        first = max(0, min(self.border, self.steps) - number)
        ahead = sum(look > number for look in self.looks)
        return first * early + (self.steps - number - first) * late + ahead * self.look
