"""Targets as somebody types them, and where in a picture they may act. Torch is not needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .portraits.canvas import region_mask
from .portraits.captions import WORDS
from .portraits.description import TARGETS, Target
from .prompts import find
from .words import normal


def known_targets(texts: Sequence[str]) -> list[Target]:
    """The targets that the judges were taught, out of names or texts as a visitor types them
    ("hat", "A hat").
    """
    by_words = {
        normal(words): target for target in TARGETS.values() for words in (target.name, target.text)
    }
    return [by_words[word] for word in map(normal, texts) if word in by_words]


def everywhere(texts: Sequence[str]) -> bool:
    """Whether all of these are known targets without a place of their own, such as a style: they
    leave nothing of a portrait to hold.
    """
    known = known_targets(texts)
    return 0 < len(known) == len(texts) and not any(target.regions for target in known)


def placed(target: Target, base: str) -> tuple[str, str]:
    """How a base text is joined with a target, as the mode and the words that the target replaces.

    A target that takes the place of a word takes that of its own, else of another word for the same
    thing ("a portrait of ..." for a photo, a sweater for a T-shirt); where none stands it is
    appended.
    """
    if target.mode == "replace":
        others = {
            word
            for (attribute, value), ways in WORDS.items()
            if (attribute, value != target.value) == (target.attribute, True)
            for word in ways
        }
        for word in (target.replace, *sorted(others, key=len, reverse=True)):
            if find(base, word):
                return "replace", word
    return "append", ""


def target_region(regions: np.ndarray | None, targets: Sequence[Target]) -> np.ndarray | None:
    """Where the targets may act, bool [H,W]: their regions in any of the portraits [N,H,W]; None
    where that is all or nothing of the picture, as for a style."""
    if regions is None or not targets or not all(target.regions for target in targets):
        return None
    mask = region_mask(regions, {name for target in targets for name in target.regions}).any(0)
    return mask if mask.any() else None
