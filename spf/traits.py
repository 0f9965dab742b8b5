"""What CLIP sees in a portrait, in words, and texts that say it.

What a text leaves open is what changes unasked. So the traits that a text does not speak of are
read from the picture, by zero-shot classification (Radford et al. 2021), and added to it: to the
texts of a tailored set (`text = seen`), whose accidents then have words of their own; and to those
of a drawing that follows another one, much as pix2pix-zero captions the picture that it edits
(Parmar et al. 2023). Plain English, for any CLIP.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .bases import EMBEDDED
from .config import OPEN
from .models import Base
from .prompts import (
    ARTICLE,
    ComposedPrompt,
    Span,
    agree,
    compose,
    find,
    overflow,
    paired,
    phrase_spans,
)

SURE = 0.75
"""Probability from which on a trait is told."""
COMMON = 0.6
"""Share of a tailored set's pictures from which on a value is what they have in common."""
PERSON = "a photo of a person"
_TONES = "fair|pale|light|tan|olive|brown|dark"
_SHADES = "black|brown|brunette|red|ginger|gray|grey|silver|blond|blonde|golden"
_CLOTHES = (
    "t-shirt|tee|shirt|jacket|suit|dress|gown|coat|sweater|pullover|"
    "turtleneck|hoodie|blouse|clothes"
)
_COLOURS = "white|red|blue|green|yellow|black|purple"


class Trait(NamedTuple):
    """says: how a text speaks of it (a pattern); values: what it may be -> what CLIP is asked, ""
    where there is nothing to say.

    usual: the values that a text may be completed with; without them the trait may stay open.
    of: targets that are to leave it unsaid (a pattern): two phrases of one thing contradict each
    other. shared: of what a tailored set's value says nothing (a pattern), if targets about that
    are to keep each person's own.
    """

    name: str
    says: str
    values: dict[str, str]
    asks: str = "a photo of a person, {}"
    of: str = ""
    shared: str = ""
    usual: tuple[str, ...] = ()


_CHILD = {"woman": "girl", "man": "boy"}


def _alike(form: str, values: str) -> dict[str, str]:
    return {value: form.format(value) for value in values.split("|")}


TRAITS = (
    Trait(
        "gender",
        r"(wo)?m[ae]n|lady|girl|gentleman|guy|boy|(fe)?male|grand(mother|father)",
        _alike("{}", "woman|man"),
        "a photo of a {}",
        usual=("woman", "man"),
    ),
    Trait(
        "age",
        r"young|middle-aged|old|elderly|aged|child|kid|girl|boy|grand(mother|father)",
        {"child": "child"} | {v: f"{v} person" for v in ("young", "middle-aged", "old")},
        "a photo of a {}",
        usual=("young", "middle-aged", "old"),
    ),
    Trait(
        "skin",
        rf"({_TONES})[- ]skin(ned)?",
        _alike("{} skin", "fair|tan|brown|dark"),
        usual=("fair", "tan", "brown", "dark"),
    ),
    Trait(
        "hair style",
        r"(short|long|curly|frizzy|straight|wavy)\W(\w+\W){0,2}hair|bun|bald|no hair|ponytail",
        _alike("{} hair", "short|long|curly")
        | {"bun": "hair in a bun", "ponytail": "hair in a ponytail", "bald": "a bald head"},
        of=rf"(?!({_SHADES})\W)\w+\Whair",  # "braided hair", but not "blonde hair"
        usual=("short", "long", "curly", "bun", "ponytail"),
    ),
    Trait(
        "hair color",
        rf"({_SHADES})\W(\w+\W)?hair|brunette|blonde?|bald|no hair",
        _alike("{} hair", "black|brown|red|gray|blonde"),
        of="hair",
        usual=("black", "brown", "red", "gray"),
    ),
    Trait(
        "eye color",
        r"(brown|blue|green|gray|grey|hazel)\W(\w+\W)?eyes",
        _alike("{} eyes", "brown|blue|green"),
        usual=("brown", "blue", "green"),
    ),
    Trait(
        "beard",
        "beard|bearded|mo?ustache|shaven",
        {"a beard": "a beard", "a mustache": "a mustache", "": ""},
    ),
    Trait("freckles", "freckle[sd]", {"freckled skin": "freckled skin", "": ""}),
    Trait(
        "eyewear",
        "(sun|eye)?glasses|spectacles|shades",
        {"glasses": "glasses", "sunglasses": "sunglasses", "": ""},
    ),
    Trait(
        "clothing",
        _CLOTHES.removesuffix("|clothes"),
        _alike("a {}", "T-shirt|shirt|jacket|suit|sweater|dress"),
        shared=_CLOTHES,
        usual=("T-shirt", "shirt", "jacket", "suit", "sweater"),
    ),
    Trait(
        "clothing color",
        rf"({_COLOURS})\W(button )?({_CLOTHES})",
        _alike("{} clothes", _COLOURS),
        shared=_CLOTHES,
        usual=tuple(_COLOURS.split("|")),
    ),
    Trait(
        "expression",
        r"expression|face|look|smil(e|ing)|laugh(ing)?|sad|happy|surprised|neutral",
        {
            "with a neutral expression": "a neutral expression",
            "smiling": "a smile",
            "surprised": "a surprised look",
            "sad": "a sad expression",
            "laughing": "laughing",
        },
        usual=("with a neutral expression", "smiling"),
    ),
    Trait(
        "framing",
        r"close\W?up|head\Wand\Wshoulders|half\Wlength|full\Wlength",
        _alike("{}", "close-up|head-and-shoulders|half-length"),
        "a {} photo of a person",
        usual=("head-and-shoulders",),
    ),
    Trait(
        "head",
        "head (tilted|held)",
        _alike("{}", "head tilted to the left|head tilted to the right|head held straight"),
        usual=("head held straight",),
    ),
    Trait(
        "background",
        "background|wall|curtain|window|sea|ocean|beach|park|garden|city|skyline",
        {
            f"in front of a {what}": f"a {what}"
            for what in (
                *(f"{c} background" for c in ("gray", "blue", "green", "orange", "purple")),
                "curtain",
                "window",
            )
        }
        | {"by the sea": "the sea", "in a park": "a park", "in front of a city": "a city"},
        usual=("in front of a gray background", "in front of a window", "by the sea", "in a park"),
    ),
)


class Told(NamedTuple):
    """A prompt that says more. phrases: what it was told; places: each phrase of the shorter one ->
    the names of it here; traits: what was told, as trait -> value.
    """

    prompt: ComposedPrompt
    phrases: tuple[str, ...]
    places: dict[str, list[str]]
    traits: dict[str, str]


def speaks(text: str, trait: Trait) -> bool:
    return _found(trait.says, text) is not None


def _found(pattern: str, text: str) -> Span | None:
    match = re.search(rf"(?<![\w-])(?:{pattern})(?!\w)", text, re.IGNORECASE)
    return match and match.span()


@torch.no_grad()
def probabilities(base: Base, images: Tensor) -> dict[str, Tensor]:
    """CLIP's probability of each value of each trait, name -> [B,V]. images: CLIP embeddings [B,E]
    of length 1.
    """
    asked = [
        trait.asks.format(asks) if asks else PERSON
        for trait in TRAITS
        for asks in trait.values.values()
    ]
    logits = base.clip.logit_scale.exp().float() * images.float() @ base.clip_texts(asked).float().T
    parts = logits.split([len(trait.values) for trait in TRAITS], dim=1)
    return {trait.name: part.softmax(1) for trait, part in zip(TRAITS, parts, strict=True)}


def seen(base: Base, images: Tensor) -> list[dict[str, str]]:
    """For each picture the value of each trait that CLIP is sure of. images: CLIP embeddings [B,E]
    of length 1.
    """
    found: list[dict[str, str]] = [{} for _ in images]
    for trait, part in zip(TRAITS, probabilities(base, images).values(), strict=True):
        sure, best = part.max(1)
        for row, p, value in zip(
            found, sure.tolist(), [list(trait.values)[i] for i in best.tolist()], strict=True
        ):
            if p >= SURE and value:
                row[trait.name] = value
    return found


def told(base: Base, prompt: ComposedPrompt, found: dict[str, str]) -> Told:
    """The prompt with what neither text says of the traits `found`, as far as the text encoder's
    window reaches.
    """
    texts = f"{prompt.base}, {prompt.complete}"
    asked = ", ".join(phrase.text for phrase in prompt.target_phrases)
    free = [
        trait
        for trait in TRAITS
        if not speaks(texts, trait) and not (trait.of and _found(trait.of, asked))
    ]
    new = {trait.name: found[trait.name] for trait in free if trait.name in found}
    if new.get("hair style") == "bald":
        new.pop("hair style" if _found("hair", asked) else "hair color", None)
    while True:
        edits, phrases = written(prompt.base, new)
        fuller = _retold(prompt, _edited(prompt.base, edits), new)
        if not new or (fuller and not overflow(base.tokenizer, fuller.complete)):
            break
        new.popitem()
    fuller = fuller or prompt
    places = {
        phrase.text: [
            other.text
            for other in fuller.phrases
            if any(
                _meet(_moved(span, edits), there) for span in phrase.base for there in other.base
            )
        ]
        for phrase in prompt.phrases
    }
    return Told(fuller, tuple(phrases), places, new)


def completed(base: Base, prompt: ComposedPrompt, also: str, seed: int) -> Told:
    """The prompt with what its base text leaves open, for both paths alike: then a pair differs in
    its target only.

    also: OPEN for usual values that the seed picks (of the embedded model alone), "" for none, or
    phrases with commas between them, as `shown` writes them; a phrase that is no trait is put at
    the end of the base text.
    """
    found = invented(seed) if also == OPEN and base.name == EMBEDDED else {}
    for phrase in filter(None, map(str.strip, also.split(","))) if also != OPEN else ():
        pair = _known_phrases().get(phrase.lower())
        if pair:
            found[pair[0]] = pair[1]
        else:
            text = f"{prompt.base}, {phrase}"
            prompt = compose(text, prompt.targets, prompt.mode, prompt.replace)
    return told(base, prompt, found)


def invented(seed: int) -> dict[str, str]:
    """A usual value of each trait that has some; equal seeds give equal people."""
    rng = random.Random(f"traits {seed}")
    return {trait.name: rng.choice(trait.usual) for trait in TRAITS if trait.usual}


def shown(traits: Mapping[str, str]) -> str:
    """Traits in words, as a visitor sees and edits them."""
    phrases = {pair: phrase for phrase, pair in _known_phrases().items()}
    return ", ".join(phrases[pair] for pair in traits.items())


@functools.cache
def _known_phrases() -> dict[str, tuple[str, str]]:
    """Words that stand alone for a value -> (trait, value)."""
    return {
        asks.removesuffix(" person").lower(): (trait.name, value)
        for trait in TRAITS
        for value, asks in trait.values.items()
        if asks
    }


def _retold(prompt: ComposedPrompt, text: str, new: dict[str, str]) -> ComposedPrompt | None:
    """The prompt with a fuller base text; None where that parted the words to replace."""
    if prompt.composed:
        whole = prompt.mode == "append" or find(text, prompt.replace)
        return compose(text, prompt.targets, prompt.mode, prompt.replace) if whole else None
    edits, _ = written(prompt.complete, new)
    places = [_moved(span, edits) for phrase in prompt.target_phrases for span in phrase.complete]
    return paired(text, _edited(prompt.complete, edits), prompt.target, places)


def explained(base: Base, prompt: ComposedPrompt, found: dict[str, str]) -> ComposedPrompt:
    """The same change of a text that says nothing but `found`; where that is what a tailored set
    has in common, the words of the target need not bring it along (explaining away).
    """
    root = (
        PERSON
        if prompt.mode == "append" or find(PERSON, prompt.replace)
        else f"{PERSON}, {prompt.replace}"
    )
    return told(base, compose(root, prompt.targets, prompt.mode, prompt.replace), found).prompt


def foreign(shared: Mapping[str, str], prompt: ComposedPrompt) -> dict[str, str]:
    """Of what a tailored set has in common, what is no trait of the target itself: that its dresses
    are red says nothing of the colour that this person wears.
    """
    asked = ", ".join(phrase.text for phrase in prompt.target_phrases)
    own = {trait.name for trait in TRAITS if trait.shared and _found(trait.shared, asked)}
    return {name: value for name, value in shared.items() if name not in own}


def common(found: Sequence[dict[str, str]]) -> dict[str, str]:
    """What pictures have in common, by what was seen in each."""
    shares = Counter(pair for row in found for pair in row.items())
    return {
        name: value for (name, value), count in shares.most_common() if count >= COMMON * len(found)
    }


def noted(metadata: Mapping[str, str]) -> dict[str, str]:
    """What the pictures of an adapter's set have in common, if that was noted; what is no trait is
    left out.
    """
    try:
        pairs = dict(json.loads(metadata.get("common", "{}"))).items()
    except (ValueError, TypeError):
        return {}
    values = {trait.name: trait.values for trait in TRAITS}
    return {
        name: value
        for name, value in pairs
        if isinstance(value, str) and value and value in values.get(name, ())
    }


def told_texts(
    base: Base,
    texts: Sequence[str],
    found: Sequence[dict[str, str]],
    target: str,
    mode: str,
    replace: str,
) -> list[str]:
    """Base texts [B] of pictures, told of what CLIP found in them; what the target speaks of is
    left unsaid.
    """
    prompts = [compose(text, target, mode, replace) for text in texts]
    return [told(base, prompt, row).prompt.base for prompt, row in zip(prompts, found, strict=True)]


Edit = tuple[int, int, str]
"""Characters [start, end) of a text, and what takes their place."""


def written(text: str, new: dict[str, str]) -> tuple[list[Edit], list[str]]:
    """Edits that say the new traits in plain English, and their phrases: a word before a noun that
    is there, or at the end.
    """
    new, edits, phrases = dict(new), [], []
    spans = phrase_spans(text)

    def within(noun: str) -> tuple[Span, Span] | None:
        """The first phrase with that noun, and the noun."""
        place = _found(noun, text)
        return place and next(
            ((span, place) for span in spans if span[0] <= place[0] < span[1]), None
        )

    def put(name: str, start: int, end: int | None = None, form: str = "{} ") -> None:
        word = form.format(new[name])
        article = ARTICLE.search(text[:start])
        before = article.start(1) if article else start
        edits.append(
            (before, start if end is None else end, agree(text[:start], word)[before:] + word)
        )
        phrases.append(new.pop(name))

    if person := within("person"):
        if new.get("age") == "child":
            new["gender"] = _CHILD.get(new.get("gender", ""), new.pop("age"))
        if "gender" in new:
            put("gender", *person[1], "{}")
    if new.get("age") == "child":
        new.pop("age")
    if "age" in new and (person := within("person|(?:wo)?man|lady|girl|gentleman|guy|boy")):
        put("age", person[0][0])
    if hair := within("hair"):
        if new.get("hair style") in ("short", "long", "curly"):
            put("hair style", hair[0][0])
        elif new.get("hair style") in ("bun", "ponytail"):
            put("hair style", hair[1][1], form=" in a {}")
        if "hair color" in new:
            put("hair color", hair[1][0])
    if "framing" in new and (medium := within("photo|portrait|picture|photograph|painting")):
        put("framing", medium[1][0])
    if "clothing color" in new and (clothes := within(_CLOTHES)):
        put("clothing color", clothes[0][0])

    hair, cloth = _hair(new.pop("hair style", ""), new.pop("hair color", "")), ""
    if "clothing" in new or "clothing color" in new:
        words = new.pop("clothing color", ""), new.pop("clothing", "")
        cloth = f"a {' '.join(filter(None, words))}" if words[1] else f"{words[0]} clothes"
    skin = f"{new.pop('skin')} skin" if "skin" in new else ""
    eyes = f"{new.pop('eye color')} eyes" if "eye color" in new else ""
    groups = [
        (
            ", with " if "with" in text.split() else " with ",
            " and ",
            [skin, eyes, hair, new.pop("beard", ""), new.pop("freckles", "")],
        ),
        (", wearing ", " and ", [new.pop("eyewear", ""), cloth]),
        (", ", ", ", [new.pop("expression", ""), new.pop("head", "")]),
        (" ", " ", [new.pop("background", "")]),
    ]
    end = ""
    for lead, joint, some in groups:
        some = [phrase for phrase in some if phrase]
        end += lead + joint.join(some) if some else ""
        phrases += some
    return sorted([*edits, (len(text), len(text), end)], key=lambda edit: edit[:2]), phrases


def _hair(style: str, color: str) -> str:
    if style == "bald":
        return "a bald head"
    gathered = style in ("bun", "ponytail")
    words = [
        "" if gathered else style,
        color,
        "hair" if style or color else "",
        f"in a {style}" if gathered else "",
    ]
    return " ".join(filter(None, words))


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for start, end, new in reversed(edits):
        text = text[:start] + new + text[end:]
    return text


def _moved(span: Span, edits: Sequence[Edit]) -> Span:
    """Where the characters are after the edits, with what was put at their start or inside."""
    start, end = (
        place + sum(len(new) - (stop - begin) for begin, stop, new in edits if begin < place)
        for place in span
    )
    return start, end


def _meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]
