"""Rows of an evaluation as files: lines of JSON, and which noise belongs to which row, so that it
can be drawn again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from .config import LARGEST_SEED

MOST = 64
"""Portraits of one base text that have noises of their own."""
STRIDE = 1_000_003


def read_rows(path: str | Path) -> Iterator[dict]:
    """The rows of a file, one on each line; one that is damaged, as the last one of a killed
    process may be, is left out.
    """
    for line in Path(path).read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def noise_seed(seed: int, prompt: int, number: int, first: int = 0) -> int:
    """Seed of the noise of portrait `number` of text `prompt`, in an evaluation whose noises begin
    at `first`.
    """
    return (first + seed * STRIDE + prompt * MOST + number) % (LARGEST_SEED + 1)
