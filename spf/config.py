"""Settings as frozen dataclasses that check themselves, and the limits that the page and the command line show.

@dataclass(frozen=True)
class Example(Config):
    steps: int = whole(30, 1, 200, "denoising steps")

Example(steps=0)                  # BadInput: steps is 0 but must be a whole number from 1 to 200.
Example.from_dict({"stepz": 3})   # BadInput: there is no setting "stepz"; the settings are steps.
Example.limits("steps")           # (1, 200)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any, Self

from .errors import BadInput

LONGEST_TEXT = 1000
LARGEST_SEED = 2**32 - 1


def _setting(default: Any, clean: Callable[[str, Any], Any], limits: tuple, help: str):
    return field(default=default, metadata={"clean": clean, "limits": limits, "help": help})


def whole(default: int, low: int, high: int, help: str = ""):
    """A whole number from low to high; 3.0 is taken as 3, True and "3" are refused."""
    return _setting(
        default, lambda name, value: check_whole(name, value, low, high), (low, high), help
    )


def real(default: float, low: float, high: float, help: str = ""):
    """A finite number from low to high."""
    return _setting(
        default, lambda name, value: check_real(name, value, low, high), (low, high), help
    )


def text(default: str = "", longest: int = LONGEST_TEXT, help: str = ""):
    """One line of text; runs of white space become one space, control characters are refused."""
    return _setting(
        default, lambda name, value: check_text(name, value, longest), (0, longest), help
    )


def texts(default: tuple[str, ...] = (), most: int = 4, help: str = ""):
    """Up to `most` lines of text; a single string is taken as a tuple of one, empty ones are left out."""
    return _setting(default, lambda name, value: check_texts(name, value, most), (0, most), help)


def choice(default: str, options: tuple[str, ...], help: str = ""):
    """One of the options, spelled exactly."""
    return _setting(default, lambda name, value: check_choice(name, value, options), options, help)


def flag(default: bool, help: str = ""):
    """True or False."""
    return _setting(default, check_flag, (False, True), help)


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
    line = " ".join(value.split())
    if len(line) > longest:
        raise BadInput(f"{name} has {len(line)} characters but at most {longest} are allowed.")
    if not line.isprintable():
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


def check_choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in options:
        return value
    raise BadInput(f"{name} is {_shown(value)} but must be one of {', '.join(options)}.")


def check_flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise BadInput(f"{name} is {_shown(value)} but must be true or false.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


@dataclass(frozen=True)
class Config:
    """Base of all settings: every field is cleaned by its own rule when the object is made."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if clean := one.metadata.get("clean"):
                object.__setattr__(self, one.name, clean(one.name, getattr(self, one.name)))

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
        return next(one.metadata["limits"] for one in fields(cls) if one.name == name)

    @classmethod
    def help(cls, name: str) -> str:
        """What the setting means, in a few words."""
        return next(one.metadata["help"] for one in fields(cls) if one.name == name)


AUTO, JOIN = "auto", "+"
"""As adapter: the ones that were tuned for the targets; between the names of adapters that add up."""
FOLLOWING = ("held", "told", "untold")
GUIDES = (*FOLLOWING, "sfcm", "difference", "attention")
"""Ways to keep a drawing near the original's, the first of which follow it; see `spf.sampling.GuideConfig`."""
PUSH = (0.0, 10.0)
"""Range of the push, how many times the guidance goes to the target; 0 leaves it open."""


@dataclass(frozen=True)
class GenerateConfig(Config):
    """One side-by-side drawing: the original model on the base text, the tuned one on the complete text."""

    base: str = text(help="the portrait: what the original model draws")
    targets: tuple[str, ...] = texts(help="what to add or to put in place of `replace`")
    mode: str = choice(
        "append", ("append", "replace"), "add the target, or put it in place of some words"
    )
    replace: str = text(help="the words of the base text that the target replaces")
    seed: int = whole(0, 0, LARGEST_SEED, "start of the noise; image i uses seed + i")
    count: int = whole(1, 1, 16, "portraits to draw")
    steps: int = whole(25, 1, 200, "denoising steps")
    guidance: float = real(4.0, 1.0, 20.0, "classifier-free guidance; 1 is none")
    model: str = text("embedded", help="base model: embedded, a folder, or a known hub id")
    adapter: str = text(help="tuned weights: a name from checkpoints/adapters or a file")
    strength: float = real(1.0, 0.0, 2.0, "how much of the adapter is applied")
    guided: str = choice(
        "held",
        ("", *GUIDES),
        f'how to stay near the original: {", ".join(GUIDES)}, or "" for not at all',
    )
    guided_from: float = real(0.0, 0.0, 1.0, "share of the steps after which guiding begins")
    push: float = real(
        0.0,
        *PUSH,
        "how many times the guidance goes to the target where the original is followed; 0: as the adapter says",
    )
    edit: str = choice(
        "", ("", "magnet", "p2p"), "change the drawing without training: magnet or p2p"
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
