"""Training of the embedded model on drawn portraits: autoencoder, CLIP, judges, UNet.

python -m spf pretrain vae --preset small --minutes 40
accelerate launch -m spf pretrain unet --preset large
"""

import importlib
from pathlib import Path

from spf.errors import BadInput

STAGES = {
    "vae": "train_vae",
    "clip": "train_clip",
    "judges": "train_judges",
    "form": "train_form",
    "unet": "train_unet",
    "measure": "measure",
}


def run(
    stage: str,
    preset: str = "small",
    *,
    steps: int | None = None,
    minutes: float | None = None,
    portraits: int | None = None,
    out: str | Path = "runs/pretrain",
    checkpoints: str | Path = "checkpoints",
    resume: bool = True,
    seed: int = 0,
):
    """Run one stage; see `spf.portraits.pretrain.common.Stage`. Raises BadInput for values outside
    their range."""
    from spf.portraits.pretrain import common, presets

    if stage not in STAGES:
        raise BadInput(f"stage is {stage!r} but must be one of {', '.join(STAGES)}.")
    limits = (
        ("steps", steps, 1),
        ("minutes", minutes, 0.01),
        ("data", portraits, 8),
        ("seed", seed, 0),
    )
    for name, value, low in limits:
        if value is not None and not low <= value <= 10**9:
            raise BadInput(f"{name} is {value} but must be a number from {low} to {10**9}.")
    if steps is not None and minutes is not None:
        raise BadInput(
            "steps and minutes were both given but a run has one length; leave one of them out."
        )
    order = common.Stage(
        presets.preset(preset),
        Path(out),
        Path(checkpoints),
        steps,
        minutes,
        portraits,
        seed,
        resume,
    )
    return getattr(importlib.import_module(f"{__name__}.{stage}"), STAGES[stage])(order)
