"""What a drawn portrait shows: attributes, identity and pose as plain values, and how they are
sampled.

Every attribute is drawn independently of the others, with exceptions that keep the pictures
plausible: only grown men wear beards, children are not bald, and glasses and sunglasses exclude
each other (one attribute, `eyewear`). The identity is a vector of continuous face measures that no
attribute touches.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Any

import numpy as np

from spf.config import check_choice
from spf.errors import BadInput
from spf.registry import TAUGHT

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": ("woman", "man"),
    "age": ("child", "young", "middle-aged", "old"),
    "skin": ("fair", "tan", "brown", "dark"),
    "hair_color": ("black", "brown", "red", "gray", "blonde"),
    "hair_style": ("short", "long", "curly", "bun", "ponytail", "bald"),
    "eye_color": ("brown", "blue", "green"),
    "expression": ("neutral", "smiling", "surprised", "sad", "laughing"),
    "beard": ("none", "beard", "mustache"),
    "eyewear": ("none", "glasses", "sunglasses"),
    "clothing": ("T-shirt", "shirt", "jacket", "suit", "sweater", "dress"),
    "clothing_color": ("white", "red", "blue", "green", "yellow", "black", "purple"),
    "background": (
        "gray",
        "blue",
        "green",
        "orange",
        "purple",
        "curtain",
        "window",
        "sea",
        "park",
        "city",
    ),
    "tilt": ("left", "straight", "right"),
    "framing": ("close-up", "head and shoulders", "half-length"),
    "freckles": ("none", "freckles"),
    "hat": ("none", "hat"),
    "necklace": ("none", "necklace"),
    "style": ("photo", "watercolor"),
    "condition": ("clean", "old photo"),
}

YEARS = {"child": (5, 10), "young": (18, 30), "middle-aged": (42, 54), "old": (68, 85)}
"""The years of each age. They leave gaps, so that an age can be told from a picture."""

IDENTITY = (
    "face width",
    "face length",
    "eye distance",
    "eye size",
    "brow height",
    "brow thickness",
    "nose length",
    "nose width",
    "mouth width",
    "jaw",
)

# an identity measure is one of 21 steps in [-1, 1], so that splits can be told apart exactly
_LEVELS = 21


@dataclass(frozen=True)
class Target:
    """One thing to teach: how a text asks for it and what the renderer draws for it."""

    name: str
    text: str
    attribute: str
    value: str
    regions: tuple[str, ...]
    mode: str = "append"
    replace: str = ""
    weak_share: float = 0.0
    """Share of the base model's training portraits that show it; 0 keeps it unseen."""
    weak_truth: float = 1.0
    """Share of the base model's captions naming it that are true: the captions of the web name much
    that no picture shows, and a word that is mostly wrong is a word known weakly."""
    bias: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What every picture of its tailored set has in common besides it; no caption of the set names
    these."""
    beside: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Attribute -> value of what a text asks for together with it, as the colour of a red dress;
    "" where there is no such value."""

    @property
    def asks(self) -> dict[str, str]:
        """Attribute -> value of everything that is to be there."""
        return {self.attribute: self.value, **self.beside}


def asked_of(targets: Iterable[Target]) -> set[str]:
    """The attributes that any of the targets asks for."""
    return {name for target in targets for name in target.asks}


def _read(name: str, facts: Mapping[str, Any]) -> Target:
    """The target that a file tells of. Raises BadInput where it does not say enough."""
    for fact in ("TEXT", "REGIONS", "BIAS"):
        if fact not in facts:
            raise BadInput(f"the target {name!r} must say its {fact}; see spf/portraits/targets.")
    attribute, value = facts.get("ATTRIBUTE", name), facts.get("VALUE", name)
    known = ATTRIBUTES.setdefault(attribute, ("none", value))
    if value not in known:
        raise BadInput(
            f"VALUE of the target {name!r} is {value!r} but {attribute} is one of "
            f"{', '.join(known)}; give it an ATTRIBUTE of its own."
        )
    return Target(
        name,
        facts["TEXT"],
        attribute,
        value,
        facts["REGIONS"],
        facts.get("MODE", "append"),
        facts.get("REPLACE", ""),
        facts.get("WEAK_SHARE", 0.0),
        facts.get("WEAK_TRUTH", 1.0),
        facts["BIAS"],
    )


_DRAWN = tuple(ATTRIBUTES)
TARGETS: dict[str, Target] = {name: _read(name, one.facts) for name, one in TAUGHT.items()}
"""Targets by name, from the files in targets/; empty `regions` means that the whole picture may
change."""
ADDED: dict[str, Target] = {
    target.attribute: target for target in TARGETS.values() if target.attribute not in _DRAWN
}
"""The attributes that came with a target's file."""

_HEAD = ("neck", "face", "ear", "hair", "brows", "eyes", "nose", "mouth", "beard", "eyewear")
FLEXIBLE: dict[str, Target] = {
    "sea": Target("sea", "by the sea", "background", "sea", ("background",)),
    "tilted": Target("tilted", "head tilted to the left", "tilt", "left", _HEAD),
}
"""A background and a pose as targets. The base model knows them well, so that no set teaches them;
they are measured only, to see whether what is kept otherwise still changes when it is asked for."""


def get_target(name: str, flexible: bool = False) -> Target:
    """The target of that name; flexible: one of FLEXIBLE too. Raises BadInput for a name that is
    none."""
    known = TARGETS | FLEXIBLE if flexible else TARGETS
    return known[check_choice("target", name, tuple(known))]


_TARGET_VALUES = {(t.attribute, t.value) for t in TARGETS.values()}
BASE_VALUES = {
    name: tuple(v for v in values if (name, v) not in _TARGET_VALUES)
    for name, values in ATTRIBUTES.items()
}
"""The values that the base world is made of: every attribute without its target values."""

SHARES: dict[str, tuple[float, ...]] = {
    "age": (0.16, 0.30, 0.26, 0.28),
    "hair_style": (0.22, 0.22, 0.18, 0.14, 0.14, 0.10),
    "beard": (0.56, 0.26, 0.18),
    "eyewear": (0.65, 0.35),
    "tilt": (0.25, 0.5, 0.25),
    "framing": (0.2, 0.62, 0.18),
    "condition": (0.96, 0.04),
}
"""How often the base world shows each of its values; attributes that are not listed show all
equally often."""

_OFTEN_SHARE = 0.22


@dataclass(frozen=True)
class Portrait:
    """A complete description; equal descriptions render to equal bytes."""

    gender: str
    age: str
    skin: str
    hair_color: str
    hair_style: str
    expression: str
    beard: str
    eyewear: str
    clothing: str
    clothing_color: str
    background: str
    tilt: str
    eye_color: str = "brown"
    framing: str = "head and shoulders"
    freckles: str = "none"
    hat: str = "none"
    necklace: str = "none"
    style: str = "photo"
    condition: str = "clean"
    years: float = 0.0
    """Age in years; drawn as the nearest year of the named age, so that the two always agree."""
    identity: tuple[float, ...] = (0.0,) * len(IDENTITY)
    shift: tuple[float, float] = (0.0, 0.0)
    """Position of the head, in parts of the picture."""
    angle: float = 0.0
    """Tilt of the head in degrees, positive to the viewer's right; agrees with `tilt`."""
    seed: int = 0
    """Fine variation that no attribute names: shades, freckle places, strands."""

    def __post_init__(self):
        for name, values in ATTRIBUTES.items():
            if getattr(self, name) not in values:
                raise BadInput(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(values)}."
                )
        if len(self.identity) != len(IDENTITY) or any(not -1 <= v <= 1 for v in self.identity):
            raise BadInput(f"identity must be {len(IDENTITY)} numbers from -1 to 1.")

    @property
    def years_drawn(self) -> float:
        low, high = YEARS[self.age]
        return float(np.clip(self.years, low, high))

    def attributes(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ATTRIBUTES}

    def labels(self) -> np.ndarray:
        """Index of each attribute's value, int64 [len(ATTRIBUTES)]."""
        return np.array([values.index(getattr(self, name)) for name, values in ATTRIBUTES.items()])

    def with_target(self, target: Target) -> Portrait:
        """The same person in the same picture, with all that the target asks for and nothing else
        changed."""
        return replace(self, **{name: value for name, value in target.asks.items() if value})

    def to_dict(self) -> dict:
        return {f.name: getattr(self, f.name) for f in fields(self)}


if ADDED:
    Portrait = make_dataclass(
        "Portrait",
        [(name, str, "none") for name in ADDED],
        bases=(Portrait,),
        namespace={"__module__": __name__},
        frozen=True,
    )

SPLITS = ("train", "dev", "test")


def split_of(identity: tuple[float, ...]) -> str:
    """The split that an identity belongs to; every identity has exactly one (8 : 1 : 1)."""
    level = sum(round((v + 1) / 2 * (_LEVELS - 1)) for v in identity) % 10
    return {0: "dev", 1: "test"}.get(level, "train")


def sample_identity(rng: np.random.Generator, split: str) -> tuple[float, ...]:
    """Uniform over the identities of one split: train, dev and test share none."""
    if split not in SPLITS:
        raise BadInput(f"split is {split!r}; it must be one of {', '.join(SPLITS)}.")
    while True:
        levels = rng.integers(0, _LEVELS, len(IDENTITY))
        identity = tuple(round(float(v), 2) for v in levels / (_LEVELS - 1) * 2 - 1)
        if split_of(identity) == split:
            return identity


ANGLES = {"left": (-12.0, -8.0), "straight": (-1.5, 1.5), "right": (8.0, 12.0)}


def sample_portrait(
    rng: np.random.Generator,
    *,
    split: str = "train",
    targets: str = "none",
    fixed: dict[str, str] | None = None,
) -> Portrait:
    """One random portrait.

    `targets`: "none"; "weak" (each with its `weak_share`, as the base model's training portraits);
    "often" (about one in five each, for judges, autoencoder and CLIP). `fixed` overrides
    attributes.
    """
    if targets not in ("none", "weak", "often"):
        raise BadInput(f"targets is {targets!r}; it must be one of none, weak, often.")
    chosen = {name: _picked(rng, name, values) for name, values in BASE_VALUES.items()}
    for target in TARGETS.values():
        share = {"none": 0.0, "weak": target.weak_share, "often": _OFTEN_SHARE}[targets]
        if rng.random() < share:
            chosen[target.attribute] = target.value
    chosen |= fixed or {}
    if chosen["gender"] == "woman" or chosen["age"] == "child":
        chosen["beard"] = "none"
    if chosen["age"] == "child" and chosen["hair_style"] == "bald":
        chosen["hair_style"] = "short"
    return Portrait(
        **chosen,
        years=round(float(rng.uniform(*YEARS[chosen["age"]])), 1),
        identity=sample_identity(rng, split),
        shift=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.015, 0.015))),
        angle=float(rng.uniform(*ANGLES[chosen["tilt"]])),
        seed=int(rng.integers(2**31)),
    )


def _picked(rng: np.random.Generator, name: str, values: Sequence[str]) -> str:
    """What `rng.choice(values, p=SHARES.get(name))` picks, ten times as fast."""
    if name not in SHARES:
        return values[rng.integers(len(values))]
    return values[np.searchsorted(_upto(name), rng.random(), side="right")]


@functools.cache
def _upto(name: str) -> np.ndarray:
    sums = np.cumsum(SHARES[name])
    return sums / sums[-1]


def hidden(values: Mapping[str, str]) -> frozenset[str]:
    """The attributes that cannot be read from a picture with these values, whoever drew it.

    A text may name them all the same; nothing that cannot be seen counts as changed or kept.
    """
    unseen = set()
    if values.get("hair_style") == "bald":
        unseen.add("hair_color")
    if values.get("eyewear") == "sunglasses" or values.get("expression") == "laughing":
        unseen.add("eye_color")
    if values.get("condition") == "old photo":
        unseen |= {"skin", "hair_color", "eye_color", "clothing_color", "background"}
    if values.get("hat") == "hat" and values.get("hair_style") in ("short", "bald", "bun"):
        unseen.add("hair_style")
    return frozenset(unseen)
