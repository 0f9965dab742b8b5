"""Training of the judge of form: drawn portraits, whole and spoilt on purpose, also as the
autoencoder returns them.

python -m spf pretrain form --preset small
"""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spf.evaluation.form import FormJudge
from spf.pixels import as_pixels
from spf.portraits.pretrain.common import Stage, batch_indices, replaced_folder, start_from
from spf.portraits.pretrain.deform import deform
from spf.portraits.pretrain.spoil import returned_portraits, spoil
from spf.portraits.render import landmarks
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)

RETURNED = 0.5
"""Share of the pictures that went through the autoencoder, so that its softness tells nothing."""


def form_loss(judge: FormJudge, images: Tensor, formed: Tensor, places: Tensor):
    """Cross-entropy of being well formed [B], and the squared error of the landmarks [B,P,2] of the
    whole faces."""
    logits, guess = judge(images)
    whole = formed > 0.5
    entropy = F.binary_cross_entropy_with_logits(logits.float(), formed)
    error = (guess.float() - places).square().mean((1, 2))
    error = (whole * error).sum() / whole.sum().clamp(min=1)
    right = ((logits > 0) == whole).float().mean()
    return entropy + 20 * error, {"right": right, "off_pixels": 128 * error.sqrt()}


def train_form(stage: Stage) -> Fitted:
    """Train and save `checkpoints/form`."""
    sizes = stage.preset.form
    data, unseen = stage.data("often"), stage.data("often", split="dev")
    accelerator = make_accelerator(tiles=True)
    torch.manual_seed(stage.seed)
    judge = FormJudge(stage.preset.image_size, sizes.channels)
    if stage.resume:
        start_from(judge, stage.checkpoints / "form" / "form.safetensors")
    returned = returned_portraits(stage, data, accelerator.device)
    places = np.stack([landmarks(p) for p in data.portraits])

    def loss(step: int, rng: np.random.Generator):
        chosen = batch_indices(rng, len(data), sizes.batch)
        formed = (rng.random(len(chosen)) < 0.5).astype(np.float32)
        images = spoilt_faces(data, returned, chosen, formed, rng)
        pixels = spoil(as_pixels(images, accelerator.device), rng)
        truth = [torch.from_numpy(part).to(accelerator.device) for part in (formed, places[chosen])]
        return form_loss(judge, pixels, *truth)

    def save() -> None:
        with replaced_folder(stage.checkpoints / "form") as part:
            judge.save(part)
        log.info("saved %s: right %.3f", stage.checkpoints / "form", form_accuracy(judge, unseen))

    return fit(
        judge,
        loss,
        lr=sizes.lr,
        average=0.998,
        save=save,
        accelerator=accelerator,
        name="form",
        **stage.order("form"),
    )


def spoilt_faces(data, returned: np.ndarray, chosen, formed, rng: np.random.Generator):
    """uint8 [B,S,S,3]: the chosen portraits, drawn or returned, those that are not `formed`
    spoilt."""
    images = []
    for i, whole in zip(chosen, formed, strict=True):
        through = i < len(returned) and rng.random() < RETURNED
        image = returned[i] if through else data.images[i]
        images.append(image if whole else deform(np.array(image), data.regions[i], rng)[0])
    return np.stack(images)


def form_accuracy(judge: FormJudge, data) -> float:
    """Share of unseen drawn portraits, each whole and spoilt once, that are told right."""
    rng = np.random.default_rng(3)
    spoilt = np.stack(
        [deform(np.array(a), r, rng)[0] for a, r in zip(data.images, data.regions, strict=True)]
    )
    whole, broken = (judge.read(as_pixels(part)).well() for part in (data.images, spoilt))
    return float(torch.cat([whole, ~broken]).float().mean())
