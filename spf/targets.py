"""Targets as somebody types them, and where in a picture they may act. Torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from .config import AUTO, GenerateConfig
from .mentions import DETERMINERS, mentions, tokens
from .portraits.canvas import region_mask
from .portraits.captions import WORDS
from .portraits.description import TARGETS, Target
from .prompts import ComposedPrompt, compose, find
from .traits import TRAITS, speaks, where
from .words import normal

LEADS = frozenset("wearing with in as and has having".split())
"""Words that may stand before what a text asks for."""


def means(asked: str, wanted: str) -> bool:
    """Whether a text asks for the same thing as another and for nothing beside it: "wearing a red
    hat" for "a hat", not "long blonde hair" for "blonde hair", and never what it denies.
    """
    return _beside(asked, wanted) == {}


def _beside(asked: str, wanted: str) -> dict[str, str] | None:
    """What a text asks for of another one's thing, as for its colour: attribute -> value, "" where
    there is no such value. None where it asks for another thing, too or instead.
    """
    if normal(asked) == normal(wanted):
        return {}
    words, said = tokens(asked), mentions(asked, wanted)
    if len(said) != 1 or said[0].denied or said[0].last != len(words):
        return None
    named = [word.word for word in words]
    if not LEADS.issuperset(named[: said[0].first]):
        return None

    found = {}
    for trait in TRAITS:
        place = where(trait.says, asked)
        if place is None or speaks(wanted, trait):
            continue
        if place[1] <= words[said[0].core].start:
            return None  # an old hat is on a person of any age
        name = trait.name.replace(" ", "_")
        values = [value for (of, value), ways in WORDS.items() if of == name and {*named} & {*ways}]
        found[name] = next(iter(values), "")
    return found


def serves(target: str, asked: str) -> bool:
    """Whether what was tuned for a target serves for a text: it means the same, or both say one
    known target and the text may ask for more of it, as a red dress for a dress.
    """
    if means(asked, target):
        return True
    known, made = _known(asked), _known(target)
    return known is not None and made is not None and known.name == made.name and not made.beside


def known_targets(texts: Sequence[str]) -> list[Target]:
    """The targets that the judges were taught, out of names or texts as a visitor types them
    ("hat", "A hat", "wearing a red hat"); one that says more than its target ("a red dress") gives
    a target that asks for that beside it.
    """
    return [target for text in texts if (target := _known(text))]


@lru_cache(maxsize=256)
def _known(text: str) -> Target | None:
    for target in TARGETS.values():
        for way in _ways(target):
            beside = _beside(text, way)
            if beside is not None:
                return replace(target, text=text, beside=beside) if beside else target
    return None


def _ways(target: Target) -> list[str]:
    """How the texts that the model learnt from say a target, and its name."""
    first, *others = WORDS[target.attribute, target.value]
    return [target.name, *(target.text.replace(first, way) for way in (first, *others))]


def unread(asked: str) -> str:
    """What a text says of a known target and nobody reads in a picture: "red" of "wearing a red
    hat"; empty where it says no more.
    """
    if not (target := _known(asked)):
        return ""
    words = [word.word for word in tokens(asked)]
    said = {way for name, value in target.beside.items() for way in WORDS.get((name, value), ())}
    beyond = [
        [word for word in words[found.first : found.core] if word not in {*DETERMINERS, *said}]
        for way in _ways(TARGETS[target.name])
        for found in mentions(asked, way)
    ]
    return " ".join(min(beyond, key=len, default=[]))


def everywhere(texts: Sequence[str]) -> bool:
    """Whether all of these are known targets without a place of their own, such as a style: they
    leave nothing of a portrait to hold.
    """
    known = known_targets(texts)
    return 0 < len(known) == len(texts) and not any(target.regions for target in known)


def placed(target: Target, base: str, asked: str = "") -> tuple[str, str]:
    """How a base text is joined with a target, as the mode and the words that the target replaces.

    A target that takes the place of a word takes that of its own, else of another word for the
    same thing ("a portrait of ..." for a photo, a sweater for a T-shirt). Where none stands, a
    style goes to the front ("a watercolor painting of ...") and anything else to the end. Any
    target takes the place of words that say otherwise: blonde hair that of black hair, laughing
    that of smiling. asked: the target as it was typed.
    """
    if target.mode == "replace":
        others = _otherwise(target)
        for word in (target.replace, *sorted(others, key=len, reverse=True)):
            if find(base, word):
                return "replace", _described(base, word, target.beside)
        if target.attribute and not target.regions:
            return "front", ""
        return "append", ""
    words = _contradicted(target, base, asked or target.text)
    return ("replace", words) if words else ("append", "")


def _otherwise(target: Target) -> set[str]:
    """The words of all other values of a target's attribute."""
    return {
        word
        for (attribute, value), ways in WORDS.items()
        if attribute == target.attribute and value != target.value
        for word in ways
    }


def _contradicted(target: Target, base: str, asked: str) -> str:
    """The words of a base text that say another value of the target's attribute, where what is
    asked can stand in their place; empty where there are none, or where they deny it.
    """
    own, led = WORDS.get((target.attribute, target.value)), asked.partition(" ")[0].casefold()
    if not own or led in LEADS:
        return ""
    said = TARGETS.get(target.name, target).text
    others = {said.replace(own[0], word) for word in _otherwise(target)}
    for words in sorted(others, key=len, reverse=True):
        noun, asks_noun = (one.partition(" ")[0] in ("a", "an") for one in (words, led + " "))
        if noun < asks_noun or any(mention.denied for mention in mentions(base, words)):
            continue
        ways = (f"with {words}", words) if noun > asks_noun else (words,)
        for way in ways:
            if (place := find(base, way)) and place != (0, len(base)):
                return way
    return ""


def _described(base: str, word: str, beside: Mapping[str, str]) -> str:
    """The word of a base text, with one before it that says an attribute which a target asks for
    too: a red dress takes the place of a blue T-shirt as a whole."""
    ways = (way for (name, _), said in WORDS.items() if name in beside for way in said)
    return next((longer for way in ways if find(base, longer := f"{way} {word}")), word)


def composed(config: GenerateConfig) -> ComposedPrompt:
    """The texts of a drawing; mode auto puts the first known target that has a place of its own,
    else the first that the base text contradicts, where `placed` says. Raises BadInput as
    `compose` does.
    """
    if config.mode != AUTO:
        return compose(config.base, config.targets, config.mode, config.replace)
    known = [
        (which, text, target)
        for which, text in enumerate(config.targets)
        for target in known_targets([text])
    ]
    for which, text, target in sorted(known, key=lambda one: one[-1].mode != "replace"):
        mode, words = placed(target, config.base, text)
        if mode != "append":
            return compose(config.base, config.targets, mode, words, which)
    return compose(config.base, config.targets)


def target_region(regions: np.ndarray | None, targets: Sequence[Target]) -> np.ndarray | None:
    """Where the targets may act, bool [H,W]: their regions in any of the portraits [N,H,W]; None
    where that is all or nothing of the picture, as for a style."""
    if regions is None or not targets or not all(target.regions for target in targets):
        return None
    mask = region_mask(regions, {name for target in targets for name in target.regions}).any(0)
    return mask if mask.any() else None
