"""Measures of a pair of portraits, in groups: one file each, found by `spf.registry.MEASURES`.

A group says, as plain values: MEASURES, each name with what the number means; TABLE, the title of
its table; SMALLER, the names of which less is better; SETS, those of a whole set of pictures.
measure(pair) gives its numbers, nan where one is not defined; more(pair), if it is there, what else
of a pair is kept in its row. Adding a measure is adding a file here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from spf.evaluation.measures import GROW, Attributes, true_region
from spf.portraits.description import Target
from spf.registry import MEASURES as GROUPS


@dataclass(frozen=True)
class Looks:
    """Maps of one pair over the steps: name -> [S,h,w], or [1,h,w] for one that is the same in
    all.
    """

    timesteps: list[int] = field(default_factory=list)
    maps: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """What is known of an original portrait and a tuned one.

    before, after: attributes as the judges read them, as far as an eye sees them change; clear:
    those that are clear in the original; redrawn: parts of the face that changed unasked, see
    `spf.evaluation.visible`; kept: those of what the tuned model draws for the base text alone,
    None if that was not drawn.
    pictures uint8 [H,W,3], regions [H,W], identity [D], clip [E]: of both, and texts [E]: of the
    complete text and of the target; None without CLIP.
    perceptual: distance of both in the judges' features, None without them. looks: maps, if they
    were watched.
    """

    target: Target
    before: Attributes
    after: Attributes
    clear: Collection[str]
    pictures: tuple[np.ndarray, np.ndarray]
    regions: tuple[np.ndarray, np.ndarray]
    identity: tuple[np.ndarray, np.ndarray]
    redrawn: Collection[str] = ()
    kept: Attributes | None = None
    clip: tuple[np.ndarray, np.ndarray] | None = None
    texts: tuple[np.ndarray, np.ndarray] | None = None
    perceptual: float | None = None
    looks: Looks | None = None

    @property
    def bias(self) -> Mapping[str, str]:
        """What the tailored set of the target has in common."""
        return self.target.bias

    @cached_property
    def region(self) -> np.ndarray:
        """Where the target is in either portrait, bool [H,W]."""
        return true_region(*self.regions, self.target)

    @cached_property
    def grown(self) -> np.ndarray:
        """The same, a little larger."""
        return true_region(*self.regions, self.target, GROW)


class Merged(Mapping[str, Any]):
    """One view of what all groups say: entries(group) of each, in their order."""

    def __init__(self, entries: Callable[[Any], Mapping[str, Any]]) -> None:
        self.entries = entries

    def _all(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for group in GROUPS.values():
            found |= self.entries(group)
        return found

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


MEANINGS = Merged(lambda group: group.facts["MEASURES"])
"""What each number means, in the order of the tables."""
TABLES = Merged(lambda group: {group.facts["TABLE"]: tuple(group.facts["MEASURES"])})
"""Title of each table -> its measures."""


def measured(pair: Pair) -> dict[str, Any]:
    """The numbers of all groups for a pair, None where one is not defined; and what else the groups
    keep.
    """
    groups = [GROUPS.load(name) for name in GROUPS]
    numbers = {name: value for group in groups for name, value in group.measure(pair).items()}
    kept = [group.more(pair) for group in groups if hasattr(group, "more")]
    return {name: rounded(value) for name, value in numbers.items()} | {
        name: value for one in kept for name, value in one.items()
    }


def rounded(value: float) -> float | None:
    """A number as rows keep it; None for nan."""
    return None if np.isnan(value) else round(float(value), 6)
