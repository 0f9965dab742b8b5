"""Traits put into a text, in plain English: before a noun that is there, the others at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spf.prompts import ARTICLE, Span, agree, phrase_spans

from . import CLOTHES, FRAMED, MEDIUM, where

_CHILD = {"woman": "girl", "man": "boy"}

Patch = tuple[int, int, str]
"""Characters [start, end) of a text, and what takes their place."""


def written(text: str, new: dict[str, str]) -> tuple[list[Patch], list[str]]:
    """Patches that say the new traits, and their phrases: a word before a noun that is there, or at
    the end.
    """
    new, patches, phrases = dict(new), [], []
    spans = phrase_spans(text)

    def within(noun: str) -> tuple[Span, Span] | None:
        """The first phrase with that noun, and the noun."""
        place = where(noun, text)
        return place and next(
            ((span, place) for span in spans if span[0] <= place[0] < span[1]), None
        )

    def put(name: str, start: int, end: int | None = None, form: str = "{} ") -> None:
        word = form.format(new[name])
        article = ARTICLE.search(text[:start])
        before = article.start(1) if article else start
        patches.append(
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
    if "medium" in new:
        patch, words = _medium(text, new)
        patches.insert(0, patch)
        phrases += words
    if "framing" in new and (medium := within(MEDIUM.says)):
        put("framing", medium[1][0])
    if "clothing color" in new and (clothes := within(CLOTHES)):
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
    return sorted([*patches, (len(text), len(text), end)], key=lambda patch: patch[:2]), phrases


def _medium(text: str, new: dict[str, str]) -> tuple[Patch, list[str]]:
    """What kind of picture it is, and its framing: said after a framing that opens the text
    ("close-up photo of"), else before all of it; both are taken out of `new`.
    """
    kind, framed = new.pop("medium"), where(rf"(?:an?\W)?(?:{FRAMED})", text)
    if framed and framed[0] == 0:
        end = framed[1]
        said = re.match(r"\W*($|,|of\W)", text[end:])
        return (end, end, f" {kind}" if said else f" {kind} of"), [kind]

    words = [new.pop("framing"), kind] if "framing" in new else [kind]
    return (0, 0, f"{agree('a ', words[0])}{' '.join(words)} of "), words


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


def patched(text: str, patches: Sequence[Patch]) -> str:
    for start, end, new in reversed(patches):
        text = text[:start] + new + text[end:]
    return text


def moved(span: Span, patches: Sequence[Patch]) -> Span:
    """Where the characters are after the patches, with what was put at their start or inside."""
    start, end = (
        place + sum(len(new) - (stop - begin) for begin, stop, new in patches if begin < place)
        for place in span
    )
    return start, end


def meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]
