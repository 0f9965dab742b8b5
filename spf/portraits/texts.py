"""Base texts to which a target can be added: for measuring (held-out identities) and for the model's own portraits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spf.portraits.captions import Caption, caption, complete_text
from spf.portraits.description import Portrait, Target, sample_portrait

_SPLITS = ("train", "dev", "test")


def base_captions(target: Target, n: int, seed: int = 0, split: str = "test") -> list[tuple[Portrait, Caption]]:
    """`n` portraits without the target, of the identities of one split, with a random caption each.

    The caption says nothing about the target's attribute ("red hair, blonde hair" would contradict itself); in replace
    mode it holds the word to replace. The first k of a longer list equal a list of k.
    """
    found = _candidates(target, seed, split)
    return [next(found) for _ in range(n)]


def _candidates(target: Target, seed: int, split: str) -> Iterator[tuple[Portrait, Caption]]:
    rng = np.random.default_rng([seed, _SPLITS.index(split), sum(map(ord, target.name))])
    replaces = target.mode == "replace"
    fixed = {target.attribute: target.replace} if replaces else {}
    hidden = frozenset() if replaces else frozenset({target.attribute})
    while True:
        portrait = sample_portrait(rng, split=split, fixed=fixed)
        if target.attribute == "hair_color" and portrait.hair_style == "bald":
            continue
        made = caption(portrait, rng, hidden)
        if not replaces or complete_text(made.text, target) != made.text:
            yield portrait, made
