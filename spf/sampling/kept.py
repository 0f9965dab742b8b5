"""What later drawings take from earlier ones, within a bound of bytes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from cachetools import LRUCache
from torch import Tensor

MOST = 2**28
"""Bytes that are kept where nobody says."""
LEAST = 1024
"""Bytes that any entry counts."""


class Kept(LRUCache):
    """Drawings, and what was found along them, by all that they depend on.

    When they come to more than `most` bytes those go that were not asked for the longest; a value
    beyond that is not kept at all.
    """

    def __init__(self, most: int = MOST) -> None:
        super().__init__(most, getsizeof=lambda value: LEAST + size(value))

    def __setitem__(self, key: Hashable, value: Any) -> None:
        if self.getsizeof(value) <= self.maxsize:
            super().__setitem__(key, value)


def size(value: Any) -> int:
    """Bytes of the arrays and tensors in a value."""
    if isinstance(value, (np.ndarray, Tensor)):
        return value.nbytes
    if is_dataclass(value):
        return sum(size(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, Mapping):
        return sum(map(size, value.values()))
    return sum(map(size, value)) if isinstance(value, (list, tuple)) else 0
