"""Runs a generator on the GPU that a ZeroGPU Space lends for the length of one call; elsewhere it changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable


def on_zero_gpu() -> bool:
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def on_gpu(function: Callable, seconds: Callable[..., int]) -> Callable:
    """`function` as the Space runs it: in a forked worker, for at most seconds(*arguments)."""
    if not on_zero_gpu():
        return function
    import spaces  # only there: it must come before torch touches CUDA, and it is not needed anywhere else

    return spaces.GPU(duration=seconds)(function)
