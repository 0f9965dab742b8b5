"""What the denoiser reads beside a portrait: nothing, everything, a random caption, and now and
then something that is not so."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from spf.portraits.captions import caption, compose
from spf.portraits.dataset import side_by_side
from spf.portraits.description import ATTRIBUTES, BASE_VALUES, TARGETS, Portrait

EMPTY = 0.1
"""Share of empty captions, for classifier-free guidance (arXiv 2207.12598)."""
FULL = 0.5
"""Share of the other captions that name every attribute: what is left unsaid teaches the denoiser
nothing about words."""
CORRECTED = 0.06
"""Share of captions that say a thing twice, first wrong."""
CORRECTABLE = ("hair_color", "clothing_color", "expression", "background", "eye_color")
_CHUNK = 500


def sayings(portraits: list[Portrait], each: int, seed: int) -> list[str]:
    """`each` texts for every portrait, one portrait after the other."""
    parts = [(portraits[i : i + _CHUNK], [seed, i, 2]) for i in range(0, len(portraits), _CHUNK)]
    made = side_by_side(functools.partial(_said, each=each), parts)
    return [text for part in made for text in part]


def _said(part: tuple[list[Portrait], list[int]], each: int) -> list[str]:
    portraits, seed = part
    rng = np.random.default_rng(seed)
    return [saying(p, rng) for p in portraits for _ in range(each)]


def saying(p: Portrait, rng: np.random.Generator) -> str:
    """Nothing, everything about the portrait, or what a random caption says of it."""
    if rng.random() < EMPTY:
        return ""
    p = misnamed(p, rng)
    if rng.random() < CORRECTED:
        return corrected(p, rng)
    return (compose(p, set(ATTRIBUTES), rng) if rng.random() < FULL else caption(p, rng)).text


def corrected(p: Portrait, rng: np.random.Generator) -> str:
    """A caption that says one thing wrong and, last, as it is: the last word about a thing
    counts."""
    ends = {name: compose(p, {name}).phrases for name in CORRECTABLE}
    name = str(rng.choice([name for name, phrases in ends.items() if phrases]))
    wrong = replace(p, **{name: str(rng.choice(BASE_VALUES[name]))})
    keep = set(ATTRIBUTES) if rng.random() < FULL else {name, *rng.choice(list(ATTRIBUTES), 6)}
    return f"{compose(wrong, keep, rng).text}, {ends[name][-1].text}"


def misnamed(p: Portrait, rng: np.random.Generator) -> Portrait:
    """The portrait as its caption has it: now and then with a target that the picture does not show
    (`weak_truth`)."""
    for target in TARGETS.values():
        false = target.weak_share * (1 / target.weak_truth - 1)
        if rng.random() < false / (1 - target.weak_share):
            p = p.with_target(target)
    return p
