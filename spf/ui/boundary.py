"""The one border of the page: whatever an event or endpoint raises leaves it as one sentence.

A failure that the library explains keeps its words. A value that a field refuses is named with what
the field allows. Anything else is an apology with a code; the story is in the log under it.
"""

from __future__ import annotations

import errno
import logging
import secrets
import traceback
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from spf.errors import SpfError, placeless
from spf.streaming import Crashed

from .texts import both, same
from .visits import Roomy

log = logging.getLogger(__name__)
SHOWN = 60
"""Characters of a refused value that are repeated."""
DISK = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EACCES: "closed",
    errno.EROFS: "closed",
    errno.EPERM: "closed",
}
"""What is wrong with the disk -> text `error.disk.KEY`."""


class Worded(SpfError):
    """A failure that the page explains itself, in every language."""

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__(words["en"])
        self.words = words


class Guarded(Roomy):
    """Blocks with the border around every call."""

    async def process_api(self, block_fn, inputs, *args, **kwargs):
        try:
            return await super().process_api(block_fn, inputs, *args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            if type(error).__name__ == "CacheMissError":
                raise
            fn = block_fn if hasattr(block_fn, "inputs") else self.fns.get(block_fn)
            told = sentence(error, fn, inputs)
            raise gr.Error(told["en"], print_exception=False) from None


def sentence(error: Exception, fn: Any = None, inputs: Sequence[Any] = ()) -> dict[str, str]:
    """A failure in words, in every language."""
    if isinstance(error, Worded):
        return error.words
    if isinstance(error, SpfError):
        return same(placeless(error))
    if fn is not None and (told := unfit(fn.inputs, inputs)):
        return same(told)
    if isinstance(error, OSError) and error.errno in DISK:
        log.error("%s", error)
        return both(f"error.disk.{DISK[error.errno]}")
    return reported(error)


def unfit(fields: Sequence[Any], values: Sequence[Any]) -> str:
    """Which field cannot take its value, and what it allows; empty if all can."""
    values = values if isinstance(values, (list, tuple)) else ()
    for field, value in zip(fields, values, strict=False):
        if not isinstance(field, Component) or isinstance(field, gr.State):
            continue
        try:
            field.preprocess(value)
        except Exception:
            shown = repr(value)[:SHOWN]
            name = field.elem_id or getattr(field, "label", None) or type(field).__name__.lower()
            return f"{name} is {shown} but must be {_allowed(field)}."
    return ""


def _allowed(field: Component) -> str:
    low, high = getattr(field, "minimum", None), getattr(field, "maximum", None)
    if low is not None and high is not None:
        return f"a number from {low:g} to {high:g}"
    if choices := getattr(field, "choices", None):
        return f"one of {', '.join(str(value) for _, value in choices)[:200]}"
    return "of the kind that the field takes"


def reported(error: Exception, key: str = "error.bug") -> dict[str, str]:
    """A sentence with a code; the traceback is in the log under the same code and nowhere else.

    key: of the sentence.
    """
    code = secrets.token_hex(2)
    log.error(
        "error %s: %s",
        code,
        error if isinstance(error, Crashed) else "".join(traceback.format_exception(error)),
    )
    return both(key, code=code)
