"""Adapters that come from other programs and go to them, merged checkpoints, and model cards.

read_adapter("old-town.safetensors", base)                    # any LoRA of SD 1.x or 2.x -> Adapter
write(adapter, Layout.of(base), "kohya", "hat.kohya.safetensors", rank=32).loss.error
"""

from .header import origin
from .lowrank import Loss, as_pairs, low_rank
from .names import Layout
from .reading import fitting, load_adapter, read_adapter
from .writing import FORMS, RANK, Written, write, write_for_others

__all__ = [
    "FORMS",
    "RANK",
    "Layout",
    "Loss",
    "Written",
    "as_pairs",
    "fitting",
    "load_adapter",
    "low_rank",
    "origin",
    "read_adapter",
    "write",
    "write_for_others",
]
