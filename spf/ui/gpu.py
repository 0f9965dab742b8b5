"""Where the page runs, and how it borrows the GPU that a ZeroGPU Space lends for the length of one call."""

from __future__ import annotations

import os
from collections.abc import Callable


def on_zero_gpu() -> bool:
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def on_space() -> bool:
    """Whether this runs as a Hugging Face Space, which sets the server's address itself."""
    return bool(os.environ.get("SPACE_ID"))


def may_train() -> bool:
    """Fine-tuning is for one's own machine or copy; SPF_TRAINING=1 switches it on there."""
    return not on_space() or os.environ.get("SPF_TRAINING") == "1"


def on_gpu(function: Callable, seconds: Callable[..., int]) -> Callable:
    """`function` as the Space runs it: in a forked worker, for at most seconds(*arguments)."""
    if not on_zero_gpu():
        return function
    import spaces  # only there: it must come before torch touches CUDA, and it is not needed anywhere else

    return spaces.GPU(duration=seconds)(function)
