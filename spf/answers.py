"""What the engine answers with: plain values and arrays, so that they can be stored and sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import GenerateConfig
from .portraits.description import Target
from .prompts import ComposedPrompt

if TYPE_CHECKING:
    from .sampling import Trace


@dataclass(frozen=True)
class Progress:
    """Something to show while one waits.

    what: loading, judging or the role being drawn. step of steps counts all roles. previews: uint8
    [H,W,3] by role, only the ones that changed since the last progress. at of: the place in this
    one drawing, in the steps that were asked for.
    """

    what: str
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    previews: Mapping[str, np.ndarray] = field(default_factory=dict)
    at: int = 0
    of: int = 0


@dataclass(frozen=True)
class Words:
    """What the model makes of a text: how it is composed, the words it lacks, the words beyond its
    window, and what the text was completed with.

    near: known words that are spelled like each unknown one. known: the whole vocabulary where
    words are lacking.
    """

    prompt: ComposedPrompt
    unknown: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    near: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    also: str = ""


@dataclass(frozen=True)
class Column:
    """How a portrait was drawn. method: that tuned the weights, or their name. guide: by which the
    drawing stayed near the original, "" for none.
    """

    method: str
    guide: str


@dataclass(frozen=True)
class Result:
    """One finished comparison; plain values and arrays only, so that it can be stored and sent.

    config: with the adapter that was used. portraits: uint8 [H,W,3] by role. frames: uint8
    [F,H,W,3] by role, the pictures that the steps `frame_steps` were heading for. reports:
    report.json by role; the original has none.
    region: bool [H,W], where the judges see the targets in either portrait; None without judges or
    known targets.
    columns: how each portrait beside the original's was drawn, by role. row_seconds: what a row of
    the UNet takes at the base's own size; 0 where none was needed. strangers: bases of the
    adapters that were tuned on other weights, by the adapters' names. unfit: adapters for
    targets that were passed over, as none of them belongs to this base.
    """

    config: GenerateConfig
    words: Words
    targets: tuple[Target, ...]
    portraits: Mapping[str, np.ndarray]
    frames: Mapping[str, np.ndarray]
    frame_steps: tuple[int, ...]
    trace: Trace
    reports: Mapping[str, dict]
    region: np.ndarray | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    row_seconds: float = 0.0
    strangers: Mapping[str, str] = field(default_factory=dict)
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """A receipt: its figures, and its page as PNG."""

    found: Mapping[str, Any]
    picture: bytes
