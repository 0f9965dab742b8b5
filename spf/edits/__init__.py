"""Edits: what changes the drawing of a complete text at inference, without training, on top of any
weights.

Each is one file with a class that `spf.sampling.TunedPath` calls (see `spf.sampling.Edit`); adding
one is adding a file here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from torch import Tensor

from spf.config import Config, check_choice
from spf.models import Base
from spf.prompts import ComposedPrompt
from spf.registry import EDITS


class PlainEdit:
    """An edit that changes nothing; the others override what they change."""

    name: ClassVar[str] = ""
    Config: ClassVar[type[Config]] = Config
    beside: bool = False

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def states(self, base: Base, prompts: Sequence[ComposedPrompt], states: Tensor) -> Tensor:
        return states

    def begin(self, base: Base, prompts: Sequence[ComposedPrompt], rows: int) -> None:
        pass

    def hear(self) -> AbstractContextManager:
        return nullcontext()

    def speak(self, done: float) -> AbstractContextManager:
        return nullcontext()

    def adjust(self, source: Tensor, latents: Tensor, done: float) -> Tensor:
        return latents


def build(name: str, settings: Mapping[str, Any] | None = None) -> PlainEdit:
    """The edit of that name with the given settings. Raises BadInput for unknown names, settings or
    values.
    """
    check_choice("edit", name, EDITS)
    kind = EDITS.kind(name, PlainEdit)
    return kind(kind.Config.from_dict(settings or {}))
