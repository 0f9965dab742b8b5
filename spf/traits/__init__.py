"""What a portrait shows of a person, in words: traits, the values that they may have, and how a
text speaks of each.

`reading` finds them in pictures by CLIP, `writing` puts them into a text, and `telling` decides
which of them a text is told: what a text leaves open is what changes unasked. Plain English, for
any CLIP.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from spf.prompts import Span

SOMEBODY = "a person"
PERSON = f"a photo of {SOMEBODY}"
"""What CLIP is asked where there is nothing to say, and the shortest base text."""
_TONES = "fair|pale|light|tan|olive|brown|dark"
_SHADES = "black|brown|brunette|red|ginger|gray|grey|silver|blond|blonde|golden"
CLOTHES = (
    "t-shirt|tee|shirt|jacket|suit|dress|gown|coat|sweater|pullover|"
    "turtleneck|hoodie|blouse|clothes"
)
_COLOURS = "white|red|blue|green|yellow|black|purple"
_NAMED = (
    f"{_SHADES}|{_COLOURS}|pink|orange|violet|turquoise|teal|beige|cream|navy|maroon|amber|hazel|"
    "auburn|chestnut|platinum|copper|dyed|colou?red|colou?rful"
)
"""Colours that a text may say, more than there are values."""


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


def _alike(form: str, values: str) -> dict[str, str]:
    return {value: form.format(value) for value in values.split("|")}


FRAMED = r"close\W?up|head\Wand\Wshoulders|half\Wlength|full\Wlength"

MEDIUM = Trait(
    "medium",
    "photo|photograph|portrait|picture|painting|watercolor|drawing|sketch",
    {"photo": "a photo"},
)
"""What kind of picture a text asks for. Nobody looks for it in pictures; a text that names none may
be completed with it, since a model taught by captions alone has seen no such text."""
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
        of=rf"(?!({_SHADES}|a|an|the|and|with)\W)\w+\Whair",  # "braided hair", not "blonde hair"
        usual=("short", "long", "curly", "bun", "ponytail"),
    ),
    Trait(
        "hair color",
        rf"({_NAMED})\W(\w+\W)?hair|brunette|blonde?|bald|no hair",
        _alike("{} hair", "black|brown|red|gray|blonde"),
        of="hair",
        usual=("black", "brown", "red", "gray"),
    ),
    Trait(
        "eye color",
        rf"({_NAMED}|dark|light)\W(\w+\W)?eyes",
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
        CLOTHES.removesuffix("|clothes"),
        _alike("a {}", "T-shirt|shirt|jacket|suit|sweater|dress"),
        shared=CLOTHES,
        usual=("T-shirt", "shirt", "jacket", "suit", "sweater"),
    ),
    Trait(
        "clothing color",
        rf"({_NAMED})\W(button )?({CLOTHES})",
        _alike("{} clothes", _COLOURS),
        shared=CLOTHES,
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
        FRAMED,
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


def speaks(text: str, trait: Trait) -> bool:
    """Whether a text says the trait."""
    return where(trait.says, text) is not None


def decides(asked: str, trait: Trait) -> bool:
    """Whether the words of a target decide the trait without saying it, as "braided hair" does its
    style.
    """
    return bool(trait.of) and where(trait.of, asked) is not None


def where(pattern: str, text: str) -> Span | None:
    """The first place of a pattern in a text, as whole words."""
    match = re.search(rf"(?<![\w-])(?:{pattern})(?!\w)", text, re.IGNORECASE)
    return match and match.span()


def in_words(traits: Mapping[str, str]) -> str:
    """Traits in words, as a visitor sees and edits them."""
    phrases = {pair: phrase for phrase, pair in known_phrases().items()}
    return ", ".join(phrases[pair] for pair in traits.items())


@functools.cache
def known_phrases() -> dict[str, tuple[str, str]]:
    """Words that stand alone for a value -> (trait, value)."""
    return {
        asks.removesuffix(" person").lower(): (trait.name, value)
        for trait in (MEDIUM, *TRAITS)
        for value, asks in trait.values.items()
        if asks
    }
