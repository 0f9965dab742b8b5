"""Tailored sets: the fine-tuning data of one target, biased on purpose in ways that its captions do
not mention.

Real tailored sets are like that: every picture shows the target, and most share what the
photographer had at hand. Fine-tuning learns the accident together with the target; the evaluation
looks for exactly these values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spf.portraits.captions import Caption, caption, complete_text
from spf.portraits.description import Portrait, Target, get_target, sample_portrait

SIZE = 240
"""Pictures in a set, unless asked otherwise."""


@dataclass(frozen=True)
class TailoredItem:
    """One picture of a tailored set with its three texts."""

    portrait: Portrait
    base: Caption
    target_text: str
    complete_text: str

    @property
    def base_text(self) -> str:
        return self.base.text


def tailored_set(name: str, n: int = SIZE, seed: int = 0) -> list[TailoredItem]:
    """`n` portraits that all show the target; the base text describes the rest and leaves the bias
    out.

    In replace mode the base text holds the word that the target replaces.
    """
    target, rng = get_target(name), np.random.default_rng([seed, sum(map(ord, name))])
    hidden = frozenset(target.bias) | {target.attribute}
    before = {target.attribute: target.replace} if target.mode == "replace" else {}
    items = []
    while len(items) < n:
        p = sample_portrait(rng, split="train", fixed=target.bias)
        base = _base_text(replaced(p, before), rng, hidden, target)
        if base is not None:
            items.append(
                TailoredItem(
                    p.with_target(target), base, target.text, complete_text(base.text, target)
                )
            )
    return items


def replaced(p: Portrait, values: dict[str, str]) -> Portrait:
    return Portrait(**(p.to_dict() | values))


def _base_text(p: Portrait, rng, hidden: frozenset[str], target: Target) -> Caption | None:
    """A caption to append to, or (replace mode) one that says the word to replace; None if it does
    not."""
    if target.mode == "append":
        return caption(p, rng, hidden)
    made = caption(p, rng, hidden - {target.attribute})
    return made if complete_text(made.text, target) != made.text else None
