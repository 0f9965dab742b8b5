"""Base texts to which a target can be added: for measuring (held-out identities) and for the
model's own portraits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from spf.portraits.captions import Caption, caption, complete_text
from spf.portraits.description import Portrait, Target, sample_portrait

_SPLITS = ("train", "dev", "test")


def base_captions(
    target: Target, n: int, seed: int = 0, split: str = "test"
) -> list[tuple[Portrait, Caption]]:
    """`n` portraits without the target, of the identities of one split, with a random caption each.

    The caption says nothing about the target's attribute ("red hair, blonde hair" would contradict
    itself); in replace mode it holds the word to replace. The first k of a longer list equal a list
    of k.
    """
    rng = np.random.default_rng([seed, _SPLITS.index(split), sum(map(ord, target.name))])
    return list(islice(open_captions(rng, [target], split), n))


def open_captions(
    rng: np.random.Generator, targets: Sequence[Target], split: str
) -> Iterator[tuple[Portrait, Caption]]:
    """Portraits without any of the targets, with captions that are silent about them but hold the
    words that the first one replaces, if it does."""
    first = targets[0]
    replaces = first.mode == "replace"
    fixed = {first.attribute: first.replace} if replaces else {}
    hidden = frozenset(target.attribute for target in targets[replaces:])
    while True:
        portrait = sample_portrait(rng, split=split, fixed=fixed)
        if "hair_color" in hidden and portrait.hair_style == "bald":
            continue
        made = caption(portrait, rng, hidden)
        if not replaces or complete_text(made.text, first) != made.text:
            yield portrait, made
