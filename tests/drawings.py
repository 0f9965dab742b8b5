"""Twelve drawings of the tiny base, one for each way to draw: what no change of the code may change
by accident.

`python tests/drawings.py` writes them anew after a change that is meant; they are small latents,
4x8x8 each.
"""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import new_tiny_base
from safetensors.torch import save_file

from spf.edits import build
from spf.models import Base
from spf.paths import METADATA, Adapter, cross_attention_names
from spf.prompts import compose
from spf.sampling import GuideConfig, sample_pair

FILE = Path(__file__).parent / "data" / "drawings.safetensors"
TEXT = "a photo of a young woman with long red hair, glasses"
HAT = compose(TEXT, "a hat")
CHAIN = compose(TEXT, ("a hat", "a pearl necklace"))
REPLACED = compose(TEXT, "laughing man", "replace", "young woman")

WAYS = {
    "free": {},
    "free, half": {"scale": 0.5},
    "replaced": {"prompt": REPLACED},
    "held": {"guide": GuideConfig("held", push=1.75)},
    "told": {"guide": GuideConfig("told", push=1.5)},
    "untold": {"guide": GuideConfig("untold", start=0.4, push=1.75)},
    "sfcm": {"guide": GuideConfig("sfcm")},
    "difference": {"guide": GuideConfig("difference", start=0.4)},
    "attention": {"guide": GuideConfig("attention", scale="min-max")},
    "p2p": {"edit": "p2p"},
    "magnet": {"edit": "magnet"},
    "chain": {"prompt": CHAIN, "guide": GuideConfig("held", push=1.75)},
}


def adapter(base: Base, target: str, seed: int) -> Adapter:
    """Random weights for a target, which has noted what its set has in common."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: 0.3 * torch.randn(base.unet.get_parameter(name).shape, generator=generator)
        for name in cross_attention_names(base.unet)
    }
    return Adapter(dict.fromkeys(METADATA, "x") | {"target": target}, tensors)


def drawn(base: Base) -> dict[str, torch.Tensor]:
    """Latents [2,4,8,8] of the tuned path by way, and those of the original."""
    hat, necklace = adapter(base, "a hat", 1), adapter(base, "a pearl necklace", 2)
    found = {}
    for way, how in WAYS.items():
        prompt = how.get("prompt", HAT)
        trace = sample_pair(
            base,
            prompt,
            {"tuned": [hat, necklace] if prompt is CHAIN else [hat]},
            seeds=(3, 4),
            steps=4,
            guidance=3.0,
            scale=how.get("scale", 1.0),
            guide=how.get("guide"),
            edit=build(how["edit"]) if "edit" in how else None,
        )
        found[way] = torch.from_numpy(trace.tuned["tuned"].latents)
        found["original"] = torch.from_numpy(trace.original.latents)
    return found


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in drawn(new_tiny_base()).items()}, FILE)
    print(FILE)
