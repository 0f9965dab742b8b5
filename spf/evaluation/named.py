"""What a text of the drawn world names, and whether a portrait shows it.

named("a photo of an old woman with red hair")       # {"gender": "woman", "age": "old", ...}

The words are those of `spf.portraits.captions`. A word that several attributes share ("red",
"brown") counts where it stands before the thing that has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from spf.portraits.captions import WORDS
from spf.portraits.description import ATTRIBUTES, Target, asked_of
from spf.words import normal, plain

_MEDIUM = r"[- ](?:[\w-]+[- ]){0,2}(?:photo|photograph|picture|portrait|painting)\b"
_THINGS = {
    "skin": r"[- ](?:\w+[- ])?skin(?:ned)?",
    "hair_color": r"[- ](?:\w+[- ])?(?:hair|bun)",
    "hair_style": r"[- ](?:\w+[- ])?hair",
    "background": r"[- ](?:\w+[- ])?(?:background|wall)",
    "condition": _MEDIUM,
    "age": rf"(?!{_MEDIUM})",  # an old photo is of anybody
}
"""What the values of an attribute stand before."""
_ALONE = ("background",)
"""Of these, values whose word no other attribute has are things of their own, such as a place."""


def named(text: str) -> dict[str, str]:
    """The value of each attribute that the text names; the last one where it names two, the longer
    way to say it first.
    """
    return {attribute: value for _, _, attribute, value in _places(text)}


def contradicted(text: str) -> dict[str, list[str]]:
    """The attributes of which the text names several values; a word counts for nothing within a
    longer way to say another one, such as the portrait of a watercolor portrait.
    """
    longest = {(attribute, end): value for end, _, attribute, value in _places(text)}
    found: dict[str, dict[str, None]] = {}
    for (attribute, _), value in longest.items():
        found.setdefault(attribute, {})[value] = None
    return {attribute: list(values) for attribute, values in found.items() if len(values) > 1}


def _places(text: str) -> list[tuple[int, int, str, str]]:
    """End, length, attribute and value of everything that the text names, in order."""
    line = plain(text).casefold()
    return sorted(
        (match.end(), match.end() - match.start(), attribute, value)
        for attribute, value, pattern in _patterns()
        for match in pattern.finditer(line)
    )


def disobeyed(
    text: str, shown: Mapping[str, str], targets: Sequence[Target] = ()
) -> tuple[dict[str, str], list[str]]:
    """What the text names, and the attributes of it that a portrait does not show; targets: not to
    be counted.
    """
    spared = asked_of(targets)
    asked = {name: value for name, value in named(text).items() if name not in spared}
    return asked, [name for name, value in asked.items() if shown.get(name) != value]


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern], ...]:
    shared = [way for (_, _), ways in WORDS.items() for way in set(map(normal, ways))]
    clothes = "|".join(
        re.escape(normal(way))
        for (attribute, _), ways in WORDS.items()
        if attribute == "clothing"
        for way in ways
    )
    things = _THINGS | {"clothing_color": rf"[- ](?:\w+[- ])?(?:{clothes}|clothes)"}
    found = []
    for (attribute, value), ways in WORDS.items():
        if attribute not in ATTRIBUTES:
            continue
        for way in dict.fromkeys(map(normal, ways)):
            needed = shared.count(way) > 1 or attribute not in _ALONE
            after = things.get(attribute, "") if needed and " " not in way else ""
            pattern = re.compile(rf"(?<![\w-]){re.escape(way)}(?:{after})(?![\w-])")
            found.append((attribute, value, pattern))
    return tuple(found)
