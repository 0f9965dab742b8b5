"""Which weights an adapter was tuned on: a few values of the denoiser, noted in the adapter's
header and compared with those that are loaded.

A name or an architecture does not tell one set of weights from another; a hash would also tell the
same weights in single and in half precision apart.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

KEY = "base_weights"
"""Where an adapter's metadata has the note."""
NEAR, TINY = 2**-8, 1e-6
"""Relative and absolute difference of a value that half precision makes, bf16's included."""


def sketch(denoiser: nn.Module) -> np.ndarray | None:
    """The middle value of every matrix and kernel, fp32 [M], by their names; None where there are
    only shapes.
    """
    named = dict(denoiser.named_parameters())
    values = [named[name].detach() for name in sorted(named) if named[name].ndim > 1]
    if not values or any(value.is_meta for value in values):
        return None
    middle = [value.reshape(-1)[value.numel() // 2] for value in values]
    return torch.stack(middle).float().cpu().numpy()


def note(values: np.ndarray | None) -> dict[str, str]:
    """What a header says of a sketch: base64 of its little-endian floats; nothing of None."""
    if values is None:
        return {}
    return {KEY: base64.b64encode(values.astype("<f4").tobytes()).decode()}


def differ(metadata: Mapping[str, str], values: np.ndarray | None) -> bool:
    """Whether an adapter says that it was tuned on other weights than those of a sketch.

    False where either is silent: files of other programs, older ones, damaged notes.
    """
    try:
        given = np.frombuffer(base64.b64decode(metadata.get(KEY, ""), validate=True), "<f4")
    except (binascii.Error, ValueError):
        return False
    if values is None or not len(given):
        return False
    if given.shape != values.shape:
        return True
    return not np.allclose(given, values, rtol=NEAR, atol=TINY)
