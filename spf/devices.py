"""Devices and number formats by their names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .config import check_choice
from .errors import BadInput

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def best_device(name: str = "") -> str:
    """The device of that name, or the best one here: CUDA, else MPS, else the processor. Raises
    BadInput.
    """
    if not name:
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return "cuda" if cuda else "mps" if mps else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"device is {name!r} but no such device can be used here.") from error
    return name


def dtype_of(name: str) -> torch.dtype:
    """A number format by its short name. Raises BadInput."""
    return DTYPES[check_choice("dtype", name, tuple(DTYPES))]


@contextmanager
def numbers(dtype: torch.dtype) -> Iterator[None]:
    """New tensors have this format unless they are asked for another, whatever it is outside."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)
