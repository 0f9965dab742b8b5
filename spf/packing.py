"""Maps of every step as one small text: values from 0 to 1 as bytes, in differences from step to
step, gzipped.

What changes little from one step to the next becomes small numbers, which pack to less than half.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SIDE = 32
"""Largest side of a packed map; finer ones show no more."""


class Blob:
    """Arrays [S,...] with values from 0 to 1 as uint8, one after another. arrays: name -> offset
    and shape; deltas: each place holds its S values one after the other, all but the first as the
    difference to the one before, modulo 256.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, dict[str, Any]] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, name: str, values: np.ndarray) -> None:
        """Adds maps [S,...,h,w]; those of a larger side than SIDE by the means of their cells."""
        data = np.rint(smaller(values).clip(0, 1) * 255).astype(np.uint8)
        self.arrays[name] = {"at": self._size, "shape": list(data.shape), "deltas": True}
        steps = np.moveaxis(data, 0, -1)
        self._parts.append(np.diff(steps, prepend=np.zeros_like(steps[..., :1])).tobytes())
        self._size += data.size

    def packed(self) -> str:
        return base64.b64encode(gzip.compress(b"".join(self._parts), 9, mtime=0)).decode()


def unpacked(blob: str, arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays of a blob, uint8; also of one whose arrays have no `deltas` and are as
    they are.
    """
    data = np.frombuffer(gzip.decompress(base64.b64decode(blob)), np.uint8)
    return {name: _array(data, **place) for name, place in arrays.items()}


def _array(data: np.ndarray, at: int, shape: Sequence[int], deltas: bool = False) -> np.ndarray:
    part = data[at : at + int(np.prod(shape))]
    if not deltas:
        return part.reshape(shape)
    steps, *rest = shape
    return np.moveaxis(np.cumsum(part.reshape(*rest, steps), -1, dtype=np.uint8), -1, 0)


def smaller(maps: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Maps [...,h,w] with sides of at most `side`, by the means of whole cells."""
    *_, height, width = maps.shape
    by = -(-max(height, width) // side)
    if by == 1:
        return maps
    whole = maps[..., : height - height % by, : width - width % by]
    cells = whole.reshape(*maps.shape[:-2], height // by, by, width // by, by)
    return cells.mean((-3, -1))
