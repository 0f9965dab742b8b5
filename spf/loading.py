"""What every program loads before it works: the base model on the best device, the judges, the
number of threads.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .config import EMBEDDED, MODEL, check_whole
from .shelf import checkpoints

if TYPE_CHECKING:
    import torch

    from .evaluation.judges import Judges
    from .models import Base


def load(
    model: str = MODEL,
    *,
    device: str | None = None,
    dtype: str = "fp32",
    threads: int | None = None,
) -> Base:
    """The base model on `device`, by default the best one here, its weights in `dtype`.

    threads: of the processor; 0 leaves the choice to torch; None takes all but one, which is left
    for a browser and for what serves it, unless OMP_NUM_THREADS says otherwise. Raises BadInput or
    UnsafeFile.
    """
    import torch
    from transformers.utils import logging as loading

    from .bases.reading import load_base
    from .devices import best_device, dtype_of

    loading.disable_progress_bar()  # it takes a moment; the terminal is for our own progress
    if threads is None:
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    elif check_whole("threads", threads, 0, 256):
        torch.set_num_threads(threads)
    return load_base(model, device=best_device(device or ""), dtype=dtype_of(dtype))


def load_judges(base: Base, folder: str | Path | None = None) -> Judges | None:
    """The networks that read attributes, identity and form, from a folder of checkpoints; None when
    it has none, and on another model than the one whose drawings they know.
    """
    return find_judges(folder, base.device) if base.name == EMBEDDED else None


def find_judges(
    folder: str | Path | None = None, device: str | torch.device = "cpu"
) -> Judges | None:
    """The judges of drawn portraits in a folder of checkpoints, with the judge of form where there
    is one; None when there are none.
    """
    place = Path(folder or checkpoints())
    if not (place / "judges" / "config.json").is_file():
        return None
    from .evaluation.form import FormJudge
    from .evaluation.judges import Judges

    judges = Judges.load(place / "judges", device)
    if (place / "form" / "config.json").is_file():
        judges.form = FormJudge.load(place / "form", device)
    return judges
