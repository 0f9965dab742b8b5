"""Adapters that come from other programs and go to them, merged checkpoints, and model cards.

read_adapter("old-town.safetensors", base)                    # any LoRA of SD 1.x or 2.x -> Adapter
write(adapter, Layout.of(base), "kohya", "hat.kohya.safetensors", rank=32).loss.error
"""

from spf.paths import TEXT

from .lowrank import Loss, as_pairs, low_rank
from .names import Layout
from .reading import OWN, Origin, fitting, load_adapter, origin, read_adapter
from .writing import FORMS, RANK, Form, Written, write, write_for_others

__all__ = [
    "FORMS",
    "OWN",
    "RANK",
    "TEXT",
    "Form",
    "Layout",
    "Loss",
    "Origin",
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
