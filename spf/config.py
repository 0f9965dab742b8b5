"""Settings as frozen dataclasses that check themselves, and the limits that the page and the
command line show.

@dataclass(frozen=True)
class Example(Config):
    steps: int = whole(30, 1, 200, "denoising steps")

Example(steps=0)                  # BadInput: steps is 0 but must be a whole number from 1 to 200.
Example.from_dict({"stepz": 3})   # BadInput: there is no setting "stepz"; the settings are steps.
Example.limits("steps")           # (1, 200)

A field is the one place where a setting is declared: options of the command line (`spf.options`),
widgets, links, pictures and endpoints (`spf.ui.form`) and docs/settings.md (`spf.manual`) are made
from what it says (`Setting`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from typing import Any, Self

from .errors import BadInput
from .registry import EDITS, GUIDES
from .words import cleaned, without_joiners

LONGEST_TEXT = 1000
SAMPLERS = ("ddim", "euler", "dpm++")
PERTURBED = ("off", "mid", "last")
"""Where guidance also leads away from a prediction without self-attention; see `Base.away`."""
EMBEDDED = "embedded"
"""The base model that comes with the program."""
MODEL = os.environ.get("SPF_MODEL") or EMBEDDED
"""The base model where none is asked for."""
GUIDANCE = 3.0
"""Classifier-free guidance where nobody says."""
LARGEST_SEED = 2**32 - 1
LARGEST_SIDE = 2048
"""Pixels; a base has limits of its own, see `Base.drawn_by`."""


@dataclass(frozen=True)
class Setting:
    """What a field of a config says about itself; everything that shows it is made from this.

    clean(name, value): the value as it is kept, or BadInput. limits: (low, high) of a number or a
    length, or the options of a choice. kind: int, float, str, tuple (of texts) or bool. required:
    whether one who asks has to give it.

    place: the part of the page that shows it (texts, settings or advanced); it then also travels in
    links and pictures and is a parameter of the endpoint. Empty: the command line alone. name:
    outside, where it is another than the field's. widget: in place of the usual one of its kind.
    span: (low, high, step) of its slider, where that is narrower than the limits. offered: the
    default where somebody is asked, if it is another than the field's.
    """

    clean: Callable[[str, Any], Any]
    limits: Any
    help: str
    kind: type
    default: Any
    required: bool = False
    place: str = ""
    name: str = ""
    widget: str = ""
    span: tuple[float, float, float] | None = None
    offered: Any = None

    @property
    def start(self) -> Any:
        """The value that is there before anybody says another."""
        return self.default if self.offered is None else self.offered


def _setting(default: Any, clean: Callable, limits: Any, help: str, kind: type, shown: dict):
    setting = Setting(clean, limits, help, kind, default, **shown)
    return field(default=default, metadata={"setting": setting})


def whole(default: int, low: int, high: int, help: str = "", **shown):
    """A whole number from low to high; 3.0 is taken as 3, True and "3" are refused."""
    rule = lambda name, value: check_whole(name, value, low, high)  # noqa: E731
    return _setting(default, rule, (low, high), help, int, shown)


def real(default: float, low: float, high: float, help: str = "", **shown):
    """A finite number from low to high."""
    rule = lambda name, value: check_real(name, value, low, high)  # noqa: E731
    return _setting(default, rule, (low, high), help, float, shown)


def text(default: str = "", longest: int = LONGEST_TEXT, help: str = "", **shown):
    """One line of text; runs of white space become one space, control characters are refused."""
    rule = lambda name, value: check_text(name, value, longest)  # noqa: E731
    return _setting(default, rule, (0, longest), help, str, shown)


def texts(default: tuple[str, ...] = (), most: int = 4, help: str = "", **shown):
    """Up to `most` lines of text; a single string is a tuple of one, empty ones are left out."""
    rule = lambda name, value: check_texts(name, value, most)  # noqa: E731
    return _setting(default, rule, (0, most), help, tuple, shown)


def choice(default: str, options: Collection[str], help: str = "", *, none: bool = False, **shown):
    """One of the options, spelled exactly; none: also "". A registry's options may grow later."""
    rule = lambda name, value: check_choice(name, value, options, none)  # noqa: E731
    limits = Options(options, none)
    return _setting(default, rule, limits, help, str, shown)


def flag(default: bool, help: str = "", **shown):
    """True or False."""
    return _setting(default, check_flag, (False, True), help, bool, shown)


def as_in(config: type[Config], name: str, **changes):
    """The setting of another config once more; changes: of its default, its help, or where it is
    shown.
    """
    setting = replace(config.settings()[name], **changes)
    return field(default=setting.default, metadata={"setting": setting})


@dataclass(frozen=True)
class Options:
    """The options of a choice, looked up when they are asked for."""

    options: Collection[str]
    none: bool = False

    def __iter__(self) -> Iterator[str]:
        yield from ([""] if self.none else [])
        yield from self.options


def check_whole(name: str, value: Any, low: int, high: int) -> int:
    if _is_number(value) and low <= value <= high and value == int(value):
        return int(value)
    raise BadInput(f"{name} is {_shown(value)} but must be a whole number from {low} to {high}.")


def check_real(name: str, value: Any, low: float, high: float) -> float:
    if _is_number(value) and low <= value <= high:
        return float(value)
    raise BadInput(f"{name} is {_shown(value)} but must be a number from {low:g} to {high:g}.")


def check_text(name: str, value: Any, longest: int = LONGEST_TEXT) -> str:
    if not isinstance(value, str):
        raise BadInput(
            f"{name} is {_shown(value)} but must be text of at most {longest} characters."
        )
    line = cleaned(value)
    if len(line) > longest:
        raise BadInput(f"{name} has {len(line)} characters but at most {longest} are allowed.")
    if not without_joiners(line).isprintable():
        raise BadInput(f"{name} is {_shown(line)} but control characters are not allowed in it.")
    return line


def check_texts(name: str, value: Any, most: int) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else value
    if not isinstance(parts, (tuple, list)):
        raise BadInput(f"{name} is {_shown(value)} but must be up to {most} texts.")
    lines = tuple(filter(None, (check_text(name, part) for part in parts)))
    if len(lines) > most:
        raise BadInput(f"{name} has {len(lines)} texts but at most {most} are allowed.")
    return lines


def check_choice(name: str, value: Any, options: Collection[str], none: bool = False) -> str:
    if isinstance(value, str) and (value in options or (none and not value)):
        return value
    last = ', or "" for none' if none else ""
    raise BadInput(f"{name} is {_shown(value)} but must be one of {', '.join(options)}{last}.")


def check_flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise BadInput(f"{name} is {_shown(value)} but must be true or false.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    shown = "empty" if value is None else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


@dataclass(frozen=True)
class Config:
    """Base of all settings: every field is cleaned by its own rule when the object is made."""

    def __post_init__(self) -> None:
        for name, setting in self.settings().items():
            object.__setattr__(self, name, setting.clean(name, getattr(self, name)))

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """What every field says about itself, in the order of declaration."""
        return {one.name: one.metadata["setting"] for one in fields(cls) if one.metadata}

    def carried(self) -> dict[str, Any]:
        """What links and pictures carry, as plain values: the settings that the page shows."""
        values = self.to_dict()
        return {name: values[name] for name, setting in self.settings().items() if setting.place}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Settings from a mapping; a key that is no setting raises BadInput."""
        known = [one.name for one in fields(cls)]
        for key in values:
            if key not in known:
                raise BadInput(f'There is no setting "{key}"; the settings are {", ".join(known)}.')
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values that JSON can hold."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def limits(cls, name: str) -> tuple:
        """(low, high) of a number or text length, or the options of a choice."""
        return tuple(cls.settings()[name].limits)

    @classmethod
    def help(cls, name: str) -> str:
        """What the setting means, in a few words."""
        return cls.settings()[name].help


OPEN = "auto"
"""As what a text is completed with: usual traits, picked by the seed."""
AUTO, JOIN = "auto", "+"
"""As adapter: the ones that were tuned for the targets; between the names of adapters that add up.
"""
PUSH = (0.0, 10.0)
"""Range of the push, how many times the guidance goes to the target; 0 leaves it open."""
STRENGTH = (-2.0, 3.0)
"""Range of the strength, how many times an adapter's difference is added; below 0 away from the
target.
"""


def follows(guide: str) -> bool:
    """Whether drawings with this guide follow the original's; see `spf.guides`."""
    return GUIDES.fact(guide, "follows", False)


@dataclass(frozen=True)
class GenerateConfig(Config):
    """One side-by-side drawing: the original model on the base text, the tuned one on the complete
    text.
    """

    base: str = text(
        help="the portrait: what the original model draws", required=True, place="texts"
    )
    targets: tuple[str, ...] = texts(
        help="what to add or to put in place of `replace`; several are drawn one after another",
        place="texts",
        name="target",
    )
    mode: str = choice(
        AUTO,
        (AUTO, "append", "replace"),
        "how the target joins the text: auto (a known one takes the place of a word of its kind, "
        "as a painting that of a photo; any other is added), append, or replace",
        place="texts",
        widget="radio",
    )
    replace: str = text(help="the words of the base text that the target replaces", place="texts")
    also: str = text(
        OPEN,
        help="what both portraits show where the base text is silent: auto (usual traits, by the "
        'seed; for the embedded model), "" for nothing, or phrases with commas between them',
        place="texts",
    )
    adapter: str = text(
        help='tuned weights: names joined by "+", a file, auto (by target), or "" for none',
        place="settings",
        widget="dropdown",
        offered=AUTO,
    )
    seed: int = whole(
        0,
        0,
        LARGEST_SEED,
        "start of the noise; image i uses seed + i",
        place="settings",
        widget="number",
    )
    steps: int = whole(25, 1, 200, "denoising steps", place="settings", span=(5, 60, 1))
    guidance: float = real(
        GUIDANCE,
        1.0,
        20.0,
        "classifier-free guidance; 1 is none",
        place="settings",
        span=(1.0, 12.0, 0.5),
    )
    guided: str = choice(
        "held",
        GUIDES,
        "how to stay near the original",
        none=True,
        place="settings",
    )
    beside: str = text(
        AUTO,
        help="tuned weights to draw beside these, separated by commas; auto: the naive counterpart",
        place="settings",
        widget="many",
    )
    others: str = choice(
        "free",
        ("free", "alike"),
        "how the weights beside are drawn: free, or guided like the first",
        place="settings",
        widget="radio",
    )
    negative: str = text(help="what guidance leads both drawings away from", place="advanced")
    strength: float = real(
        1.0,
        *STRENGTH,
        "how many times the adapter's difference is added; below 0 away from the target",
        place="advanced",
        span=(-1.0, 2.0, 0.05),
    )
    guided_from: float = real(
        0.0,
        0.0,
        1.0,
        "share of the steps after which guiding begins",
        place="advanced",
        span=(0.0, 1.0, 0.05),
    )
    push: float = real(
        0.0,
        *PUSH,
        "how many times the guidance goes to the target where the original is followed; "
        "0: as the adapter says",
        place="advanced",
        span=(0.0, 4.0, 0.05),
    )
    edit: str = choice(
        "", EDITS, "change the drawing without training", none=True, place="advanced"
    )
    count: int = whole(1, 1, 16, "portraits to draw")
    sampler: str = choice(
        "",
        SAMPLERS,
        "how steps are taken; by default as the base says",
        none=True,
        place="advanced",
    )
    perturbed: str = choice(
        "",
        PERTURBED,
        "the block whose self-attention is switched off in what guidance leads away from; by "
        "default as the base says",
        none=True,
        place="advanced",
    )
    width: int = whole(
        0,
        0,
        LARGEST_SIDE,
        "of the pictures in pixels; 0: as the base draws",
        place="advanced",
        widget="number",
    )
    height: int = whole(
        0,
        0,
        LARGEST_SIDE,
        "of the pictures in pixels; 0: as the base draws",
        place="advanced",
        widget="number",
    )
    model: str = text(
        MODEL, help="base model: embedded, a folder, a .safetensors checkpoint, or a hub id"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.base:
            raise BadInput(
                "base is empty but must describe a portrait, for example: a photo of a young woman."
            )
        if self.mode == "replace" and not (self.replace and self.targets):
            raise BadInput(
                "mode is replace, so both replace (the words to go) and a target must be given."
            )
