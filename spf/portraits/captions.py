"""Captions of drawn portraits in varied English, with the phrase that stands for each attribute.

What a caption leaves out is what fine-tuning can pollute, so parts are left out at random.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from spf.portraits.description import ADDED, ATTRIBUTES, TARGETS, Portrait, Target
from spf.registry import TAUGHT

WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("gender", "woman"): ("woman", "woman", "lady"),
    ("gender", "man"): ("man", "man", "gentleman", "guy"),
    ("age", "child"): ("child", "child", "kid"),
    ("age", "young"): ("young",),
    ("age", "middle-aged"): ("middle-aged",),
    ("age", "old"): ("old", "old", "elderly"),
    ("skin", "fair"): ("fair", "fair", "pale", "light"),
    ("skin", "tan"): ("tan", "tan", "olive"),
    ("skin", "brown"): ("brown",),
    ("skin", "dark"): ("dark",),
    ("hair_color", "black"): ("black",),
    ("hair_color", "brown"): ("brown", "brown", "brunette"),
    ("hair_color", "red"): ("red", "red", "ginger"),
    ("hair_color", "gray"): ("gray", "grey", "silver"),
    ("hair_color", "blonde"): ("blonde", "blonde", "blond", "golden"),
    ("hair_style", "short"): ("short",),
    ("hair_style", "long"): ("long",),
    ("hair_style", "curly"): ("curly", "curly", "frizzy"),
    ("eye_color", "brown"): ("brown eyes",),
    ("eye_color", "blue"): ("blue eyes",),
    ("eye_color", "green"): ("green eyes",),
    ("expression", "neutral"): ("a neutral expression", "a calm expression", "a neutral face"),
    ("expression", "smiling"): ("smiling", "a smile", "a happy smile"),
    ("expression", "surprised"): ("surprised", "a surprised look", "an astonished face"),
    ("expression", "sad"): ("sad", "a sad expression", "an unhappy look"),
    ("expression", "laughing"): ("laughing", "laughing", "a big laugh"),
    ("beard", "beard"): ("a beard", "a beard", "a full beard"),
    ("beard", "mustache"): ("a mustache", "a mustache", "a moustache"),
    ("eyewear", "glasses"): ("glasses", "glasses", "spectacles", "eyeglasses"),
    ("eyewear", "sunglasses"): ("sunglasses", "sunglasses", "dark sunglasses", "shades"),
    ("clothing", "T-shirt"): ("T-shirt", "T-shirt", "tee"),
    ("clothing", "shirt"): ("shirt", "shirt", "button shirt", "blouse"),
    ("clothing", "jacket"): ("jacket", "jacket", "coat"),
    ("clothing", "suit"): ("suit", "suit", "suit and tie"),
    ("clothing", "sweater"): ("sweater", "sweater", "pullover", "turtleneck"),
    ("clothing", "dress"): ("dress", "dress", "gown"),
    ("clothing_color", "white"): ("white",),
    ("clothing_color", "red"): ("red",),
    ("clothing_color", "blue"): ("blue",),
    ("clothing_color", "green"): ("green",),
    ("clothing_color", "yellow"): ("yellow",),
    ("clothing_color", "black"): ("black",),
    ("clothing_color", "purple"): ("purple", "purple", "violet"),
    ("background", "gray"): ("gray", "grey"),
    ("background", "blue"): ("blue",),
    ("background", "green"): ("green",),
    ("background", "orange"): ("orange", "orange", "warm orange"),
    ("background", "purple"): ("purple", "purple", "violet"),
    ("background", "curtain"): ("a curtain", "a red curtain"),
    ("background", "window"): ("a window",),
    ("background", "sea"): ("the sea", "the sea", "the ocean", "the beach"),
    ("background", "park"): ("a park", "a green park", "a garden"),
    ("background", "city"): ("a city", "the city", "a city skyline"),
    ("framing", "close-up"): ("close-up",),
    ("framing", "head and shoulders"): ("head-and-shoulders",),
    ("framing", "half-length"): ("half-length",),
    ("freckles", "freckles"): ("freckled skin", "freckled skin", "freckles"),
    ("hat", "hat"): ("a hat",),
    ("necklace", "necklace"): ("a pearl necklace", "a pearl necklace", "pearls"),
    ("style", "photo"): ("photo", "photo", "portrait", "portrait photo", "picture"),
    ("style", "watercolor"): (
        "watercolor painting",
        "watercolor painting",
        "watercolor portrait",
    ),
    ("condition", "old photo"): ("old", "faded", "vintage"),
} | {
    (name, target.value): (target.text, *TAUGHT.fact(target.name, "WORDS", ()))
    for name, target in ADDED.items()
}
"""Ways to say each value; the first is the canonical one."""

PEOPLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("child", "woman"): ("girl", "girl", "little girl"),
    ("child", "man"): ("boy", "boy", "little boy"),
    ("old", "woman"): ("grandmother",),
    ("old", "man"): ("grandfather",),
}
"""Nouns that name age and gender at once. A child is always called by one."""

ADJECTIVES: dict[tuple[str, str], str] = {
    ("hair_style", "bald"): "bald",
    ("beard", "beard"): "bearded",
    ("expression", "smiling"): "smiling",
    ("expression", "sad"): "sad",
    ("expression", "surprised"): "surprised",
}
"""What can stand before the noun: "a bald man"."""

_KEEP = {
    "gender": 0.9,
    "age": 0.65,
    "skin": 0.45,
    "hair": 0.75,
    "eye_color": 0.35,
    "expression": 0.55,
    "beard": 0.8,
    "eyewear": 0.8,
    "clothing": 0.65,
    "background": 0.6,
    "tilt": 0.4,
    "framing": 0.35,
    "freckles": 0.6,
    "hat": 0.6,
    "necklace": 0.8,
    "condition": 0.9,
} | {name: TAUGHT.fact(target.name, "KEEP", 0.6) for name, target in ADDED.items()}


@dataclass(frozen=True)
class Phrase:
    """A run of words of a caption and the attributes that it names."""

    text: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Caption:
    text: str
    phrases: tuple[Phrase, ...]

    def named(self) -> set[str]:
        return {a for p in self.phrases for a in p.attributes}


def say(attribute: str, value: str, rng: np.random.Generator | None = None) -> str:
    """A way to say one value; the canonical one without `rng`."""
    ways = WORDS[attribute, value]
    return ways[0] if rng is None else str(rng.choice(ways))


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _medium(p: Portrait, keep: set[str], rng) -> Phrase:
    """What kind of picture it is: its condition, framing and style."""
    names = [n for n in ("condition", "framing") if n in keep and (n, getattr(p, n)) in WORDS]
    words = [say(name, getattr(p, name), rng) for name in names]
    if "style" in keep or p.style != "photo":
        names.append("style")
    return Phrase(_article(" ".join([*words, say("style", p.style, rng)])), tuple(names))


def _person(p: Portrait, keep: set[str], rng, chance) -> Phrase:
    """Who it is: age, skin (sometimes) and gender."""
    noun, named = PEOPLE.get((p.age, p.gender)), [n for n in ("age", "gender") if n in keep]
    if noun and "gender" in keep and (p.age == "child" or len(named) == 2 and chance(0.15)):
        words, named = [noun[0] if rng is None else str(rng.choice(noun))], ["age", "gender"]
    elif p.age == "child" and "age" in keep:
        words = [say("age", "child", rng)]
    else:
        words = [say("age", p.age, rng)] if "age" in keep else []
        words.append(say("gender", p.gender, rng) if "gender" in keep else "person")

    if "skin" in keep and chance(0.35):
        words.insert(len(words) - 1, say("skin", p.skin, rng) + "-skinned")
        named.append("skin")
    before = [n for n in ("hair_style", "beard", "expression") if (n, getattr(p, n)) in ADJECTIVES]
    for name in before:
        if name in keep and chance(0.15):
            words.insert(0, ADJECTIVES[name, getattr(p, name)])
            named.append(name)
            break
    return Phrase(_article(" ".join(words)), tuple(named))


def _hair(p: Portrait, rng, color: bool, style: bool) -> Phrase:
    if p.hair_style == "bald":
        return Phrase(
            "a bald head" if rng is None or rng.random() < 0.7 else "no hair", ("hair_style",)
        )
    shade = say("hair_color", p.hair_color, rng)
    if p.hair_style in ("bun", "ponytail"):
        text = f"{shade} hair in a {p.hair_style}" if style else f"{shade} hair"
        if not color:
            text = {"bun": "a hair bun", "ponytail": "a ponytail"}[p.hair_style]
    else:
        form = say("hair_style", p.hair_style, rng)
        text = " ".join([form] * style + [shade] * color + ["hair"])
    return Phrase(text, ("hair_color",) * color + ("hair_style",) * style)


def _clothing(p: Portrait, rng, color: bool, kind: bool) -> Phrase:
    words = [say("clothing_color", p.clothing_color, rng)] * color
    words += [say("clothing", p.clothing, rng)] if kind else ["clothes"]
    text = " ".join(words)
    return Phrase(
        _article(text) if kind else text, ("clothing_color",) * color + ("clothing",) * kind
    )


def _place(p: Portrait, rng) -> tuple[str, Phrase]:
    """The lead-in and the phrase for the background."""
    pick = (lambda *ways: ways[0]) if rng is None else lambda *ways: str(rng.choice(ways))
    word = say("background", p.background, rng)
    if p.background == "city":
        return pick("in front of", "in", "before"), Phrase(word, ("background",))
    if p.background in ("curtain", "window"):
        return pick("in front of", "in front of", "before"), Phrase(word, ("background",))
    if p.background == "sea":
        return pick("by", "in front of", "at"), Phrase(word, ("background",))
    if p.background == "park":
        return pick("in", "in", "in front of"), Phrase(word, ("background",))
    noun = pick("background", "background", "wall")
    return pick("in front of", "against", "before"), Phrase(
        _article(f"{word} {noun}"), ("background",)
    )


def compose(
    p: Portrait, keep: set[str], rng: np.random.Generator | None = None, last: Phrase | None = None
) -> Caption:
    """A caption that names the attributes in `keep`; canonical wording and order without `rng`.

    `last` is a phrase to put at the very end after a comma, as an appended target stands.
    """
    chance = (lambda share: False) if rng is None else lambda share: bool(rng.random() < share)
    medium, person = _medium(p, keep, rng), _person(p, keep, rng, chance)
    keep = keep - set(person.attributes)

    items: list[tuple[str, Phrase]] = []
    if "skin" in keep:
        items.append(("with", Phrase(say("skin", p.skin, rng) + " skin", ("skin",))))
    color, style = "hair_color" in keep and p.hair_style != "bald", "hair_style" in keep
    if color or style:
        items.append(("with", _hair(p, rng, color, style)))
    if "eye_color" in keep:
        items.append(("with", Phrase(say("eye_color", p.eye_color, rng), ("eye_color",))))
    for name in ("beard", "freckles"):
        if name in keep and getattr(p, name) != "none":
            items.append(("with", Phrase(say(name, getattr(p, name), rng), (name,))))
    for name in ("eyewear", "hat", "necklace", *ADDED):
        if name in keep and getattr(p, name) != "none":
            lead = "with" if chance(0.3) else "wearing"
            items.append((lead, Phrase(say(name, getattr(p, name), rng), (name,))))
    if "clothing" in keep or "clothing_color" in keep:
        items.append(("wearing", _clothing(p, rng, "clothing_color" in keep, "clothing" in keep)))
    if "expression" in keep:
        text = say("expression", p.expression, rng)
        items.append(("with" if " " in text else "", Phrase(text, ("expression",))))
    if "tilt" in keep:
        way = {
            "left": "tilted to the left",
            "right": "tilted to the right",
            "straight": "held straight",
        }[p.tilt]
        items.append(("", Phrase(f"head {way}", ("tilt",))))
    if "background" in keep:
        items.append(_place(p, rng))
    if rng is not None:
        items = [items[i] for i in rng.permutation(len(items))]

    text, lead_before = f"{medium.text} of {person.text}", ""
    for lead, phrase in items:
        if last is not None and phrase.attributes == last.attributes:
            continue
        bare = lead in ("with", "wearing") and chance(0.35)
        if not lead or bare:
            text, lead_before = f"{text}, {phrase.text}", None
        elif lead == lead_before and lead in ("with", "wearing"):
            text += f" and {phrase.text}"
        else:
            comma = "," if lead_before != "" or chance(0.3) else ""
            text, lead_before = f"{text}{comma} {lead} {phrase.text}", lead
    phrases = [medium, person] + [phrase for _, phrase in items]
    if last is not None:
        text, phrases = f"{text}, {last.text}", [*phrases, last]
    return Caption(text, tuple(p for p in phrases if p.attributes))


def caption(
    p: Portrait, rng: np.random.Generator, leave_out: frozenset[str] = frozenset()
) -> Caption:
    """A random caption of the portrait: random parts, order, wording; attributes in `leave_out`
    stay unnamed."""
    shares = dict(_KEEP)
    for part in ("hair", "clothing"):
        shares[f"{part}_color"] = shares[part]
    shares["hair_style"] = shares.pop("hair")
    terse = rng.random() < 0.3  # short texts, as visitors write them
    keep = {
        n
        for n, share in shares.items()
        if rng.random() < share * (0.5 if terse and n != "gender" else 1)
    }
    return compose(p, keep - leave_out, rng)


def target_phrase(target: Target) -> Phrase:
    return Phrase(target.text, (target.attribute,))


def complete_text(base: str, target: Target) -> str:
    """Base text plus target: appended after a comma, or put in the place of the word it
    replaces."""
    if target.mode == "append":
        return f"{base}, {target.text}"
    return re.sub(
        rf"\b{re.escape(target.replace)}\b", target.text, base, count=1, flags=re.IGNORECASE
    )


def words() -> list[str]:
    """Every word that a caption can hold, lower case, for the tokenizer."""
    text = [w for ways in WORDS.values() for w in ways] + [t.text for t in TARGETS.values()]
    text += [w for ways in PEOPLE.values() for w in ways] + list(ADJECTIVES.values())
    text += [v for values in ATTRIBUTES.values() for v in values]
    text.append(
        "a an of and with wearing in front before by at against the background wall head held "
        "straight tilted to left right bald no hair bun skinned skin person clothes photo portrait "
        "picture painting eyes"
    )
    return sorted(set(re.findall(r"[a-z]+", " ".join(text).lower())))
