"""What a person sees of what the judges read: changes that no eye sees do not count, and a face
that was drawn anew is never "unchanged".

    seen = settled(original.look(0), tuned.look(0), [TARGETS["hat"]])
    seen.values      # of the tuned portrait, as far as they changed to be seen
    seen.redrawn     # parts of the face that are another without any target asking for it

The bounds are ours, chosen on hand-labelled pairs (`spf sheet --count assets/pairs`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spf.evaluation.measures import GROW, true_region
from spf.portraits.canvas import region_mask
from spf.portraits.dataset import ATTRIBUTE_REGIONS
from spf.portraits.description import Target, asked_of

if TYPE_CHECKING:
    from spf.evaluation.judges import Look

CERTAIN = 0.8
"""Least distance of two readings of an attribute (total variation, 0 to 1)."""
VISIBLE = 0.08
"""Least mean difference of the pictures (largest channel, 0 to 1) where an attribute shows."""
COVERED = 0.6
"""Share of an attribute's place from which on a target that lies over it hides it."""
REDRAWN = {"eyes": 0.18, "nose": 0.15, "mouth": 0.12}
"""Mean difference from which on a part of the face is drawn anew, after a shift by SHIFT pixels."""
SHIFT = 1
SPOILT = 0.6
"""Fall of the probability that a face is well formed from which on the face is drawn anew."""
FEW = 8  # pixels of a part below which nothing can be said of it


@dataclass(frozen=True)
class Settled:
    """values: attribute -> value of the tuned portrait, the original's where no eye sees a change.

    redrawn: parts of the face ("eyes", "nose", "mouth", "face") that changed unasked.
    """

    values: dict[str, str]
    redrawn: tuple[str, ...]


def settled(before: Look, after: Look, targets: Sequence[Target]) -> Settled:
    """What is to be seen of the difference of two portraits; the targets' own attributes stay as
    they were read.
    """
    asked = asked_of(targets)
    values = {
        name: value
        if name in asked or value == before.values[name] or visible(name, before, after, targets)
        else before.values[name]
        for name, value in after.values.items()
    }
    return Settled(values, redrawn(before, after, targets))


def visible(name: str, before: Look, after: Look, targets: Sequence[Target] = ()) -> bool:
    """Whether a person would see that an attribute changed: both readings are far apart, the
    picture changed where the attribute shows, beside what the targets draw there, and no target
    covers that place.
    """
    apart = 0.5 * np.abs(before.probs[name] - after.probs[name]).sum()
    here, there = (region_mask(look.regions, ATTRIBUTE_REGIONS[name]) for look in (before, after))
    place = here | there
    if apart < CERTAIN or place.sum() <= FEW:
        return bool(apart >= CERTAIN)

    beside = place
    for target in targets:
        over = region_mask(after.regions, target.regions) & ~there
        if here.any() and (over & here).sum() >= COVERED * here.sum():
            return False
        if target.regions and not set(ATTRIBUTE_REGIONS[name]) <= set(target.regions):
            beside = beside & ~true_region(before.regions, after.regions, target, GROW)

    change = difference(before, after)
    return all(bool(where.any()) and change[where].mean() >= VISIBLE for where in (place, beside))


def redrawn(before: Look, after: Look, targets: Sequence[Target] = ()) -> tuple[str, ...]:
    """The parts of the face that changed outside all targets' regions, or "face" where it is no
    longer well formed; none where a target is everywhere, such as a style.
    """
    if any(not target.regions for target in targets):
        return ()
    spared = np.zeros(before.regions.shape, bool)
    for target in targets:
        spared |= true_region(before.regions, after.regions, target, GROW)

    found = [
        part for part, bound in REDRAWN.items() if part_moved(part, before, after, spared) >= bound
    ]

    covered = any(target.attribute == "eyewear" for target in targets)
    known = before.formed is not None and after.formed is not None
    if not found and known and not covered and before.formed - after.formed >= SPOILT:
        found.append("face")
    return tuple(found)


def part_moved(part: str, before: Look, after: Look, spared: np.ndarray) -> float:
    """Mean difference of a part of the face outside `spared` [H,W], the least of all shifts by
    SHIFT pixels: a stroke that lies beside its place is no other stroke. 0 for a part of few
    pixels.
    """
    here, least = region_mask(before.regions, (part,)), []
    if ((here | region_mask(after.regions, (part,))) & ~spared).sum() <= FEW:
        return 0.0
    for shift in itertools.product(range(-SHIFT, SHIFT + 1), repeat=2):
        there = region_mask(np.roll(after.regions, shift, (0, 1)), (part,))
        place = (here | there) & ~spared
        if place.any():
            picture = np.roll(after.picture, shift, (0, 1))
            least.append(np.abs(before.picture - picture)[place].max(-1).mean())
    return min(least)


def difference(before: Look, after: Look) -> np.ndarray:
    """Largest absolute difference of the channels, [H,W] in [0,1]."""
    return np.abs(before.picture - after.picture).max(-1)
