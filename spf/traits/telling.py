"""Texts that are told what a picture shows, as far as they and the target leave it open.

So the texts of a tailored set (`text = seen`), whose accidents then have words of their own; and
those of a drawing that follows another one, much as pix2pix-zero captions the picture that it edits
(Parmar et al. 2023).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spf.config import EMBEDDED, OPEN
from spf.models import Base
from spf.prompts import ComposedPrompt, agree, compose, find, overflow, paired
from spf.words import parted

from . import MEDIUM, PERSON, SOMEBODY, TRAITS, Trait, decides, known_phrases, speaks, where
from .writing import meet, moved, patched, written

_MAN = "man|boy|gentleman|guy|male|father|grandfather|grandpa|dad|uncle"
_OLD = "old|elderly|grand(mother|father|ma|pa)"


class Told(NamedTuple):
    """A prompt that says more. phrases: what it was told; places: each phrase of the shorter one ->
    the names of it here; traits: what was told, as trait -> value.
    """

    prompt: ComposedPrompt
    phrases: tuple[str, ...]
    places: dict[str, list[str]]
    traits: dict[str, str]


def told(base: Base, prompt: ComposedPrompt, found: dict[str, str]) -> Told:
    """The prompt with what neither text says of the traits `found`, as far as the text encoder's
    window reaches.
    """
    texts = f"{prompt.base}, {prompt.complete}"
    asked = ", ".join(phrase.text for phrase in prompt.target_phrases)
    free = [] if speaks(prompt.base, MEDIUM) else [MEDIUM]
    free += [t for t in TRAITS if not speaks(texts, t) and not decides(asked, t)]
    new = {trait.name: found[trait.name] for trait in free if trait.name in found}
    if new.get("hair style") == "bald":
        new.pop("hair style" if where("hair", asked) else "hair color", None)
    while True:
        patches, phrases = written(prompt.base, new)
        fuller = _retold(prompt, patched(prompt.base, patches), new)
        if not new or (fuller and not overflow(base.tokenizer, fuller.complete)):
            break
        new.popitem()
    fuller = fuller or prompt
    places = {
        phrase.text: [
            other.text
            for other in fuller.phrases
            if any(
                meet(moved(span, patches), there) for span in phrase.base for there in other.base
            )
        ]
        for phrase in prompt.phrases
    }
    return Told(fuller, tuple(phrases), places, new)


def _retold(prompt: ComposedPrompt, text: str, new: dict[str, str]) -> ComposedPrompt | None:
    """The prompt with a fuller base text; None where that parted the words to replace."""
    if prompt.composed:
        if prompt.mode == "front" and "medium" in new:  # now there is a word to stand for
            return compose(text, prompt.targets, "replace", new["medium"], prompt.which)
        whole = prompt.mode != "replace" or find(text, prompt.replace)
        return prompt.over(text) if whole else None
    patches, _ = written(prompt.complete, new)
    places = [moved(span, patches) for phrase in prompt.target_phrases for span in phrase.complete]
    return paired(text, patched(prompt.complete, patches), prompt.target, places)


def told_all(
    base: Base, prompts: Sequence[ComposedPrompt], found: Sequence[dict[str, str]]
) -> list[ComposedPrompt]:
    """The prompts [B] of pictures, told of what was found in each."""
    return [told(base, prompt, row).prompt for prompt, row in zip(prompts, found, strict=True)]


def completed(base: Base, prompt: ComposedPrompt, also: str, seed: int) -> Told:
    """The prompt with what its base text leaves open, for both paths alike: then a pair differs in
    its target only.

    also: OPEN for usual values that the seed picks (of the embedded model alone), "" for none, or
    phrases with commas between them, as `in_words` writes them; a phrase that is no trait is put at
    the end of the base text.
    """
    found = {}
    if also == OPEN and base.name == EMBEDDED:
        found = {MEDIUM.name: next(iter(MEDIUM.values))} | invented(seed, prompt.base)
    for phrase in parted(also, ",") if also != OPEN else ():
        pair = known_phrases().get(phrase.lower())
        if pair:
            found[pair[0]] = pair[1]
        else:
            prompt = prompt.over(f"{prompt.base}, {phrase}")
    return told(base, prompt, found)


def invented(seed: int, text: str = "") -> dict[str, str]:
    """A usual value of each trait that has some, such as go with what the text says of the person;
    equal seeds and texts give equal people."""
    rng, found, person = random.Random(f"traits {seed}"), {}, text
    for trait in TRAITS:
        if usual := _likely(trait, person):
            found[trait.name] = rng.choice(usual)
            if trait.name in ("gender", "age") and not speaks(text, trait):
                person = f"{person}, {found[trait.name]}"
    return found


def _likely(trait: Trait, person: str) -> tuple[str, ...]:
    """The usual values that go with a person: the old are gray and others not, men wear their hair
    short or curly."""
    if trait.name == "hair style" and where(_MAN, person):
        return "short", "curly"
    if trait.name == "hair color":
        return tuple(one for one in trait.usual if (one == "gray") == bool(where(_OLD, person)))
    return trait.usual


def explained(base: Base, prompt: ComposedPrompt, found: dict[str, str]) -> ComposedPrompt:
    """The same change of a text that says nothing but `found`; where that is what a tailored set
    has in common, the words of the target need not bring it along (explaining away).
    """
    root = SOMEBODY if prompt.mode == "front" else PERSON
    if prompt.mode == "replace" and where(MEDIUM.says, prompt.replace):
        root = f"{agree('a ', prompt.replace)}{prompt.replace} of {SOMEBODY}"
    elif prompt.mode == "replace" and not find(root, prompt.replace):
        root = f"{root}, {prompt.replace}"
    return told(base, prompt.over(root), found).prompt


def foreign(shared: Mapping[str, str], prompt: ComposedPrompt) -> dict[str, str]:
    """Of what a tailored set has in common, what is no trait of the target itself: that its dresses
    are red says nothing of the colour that this person wears.
    """
    asked = ", ".join(phrase.text for phrase in prompt.target_phrases)
    own = {trait.name for trait in TRAITS if trait.shared and where(trait.shared, asked)}
    return {name: value for name, value in shared.items() if name not in own}
