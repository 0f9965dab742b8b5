"""Training of the judges, on drawn portraits that are also blurred, noisy, tinted and sent through
the autoencoder.

python -m spf pretrain judges --preset small
"""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spf.evaluation.judges import Judges
from spf.pixels import as_pixels
from spf.portraits.dataset import PortraitSet
from spf.portraits.description import ATTRIBUTES, Portrait, hidden
from spf.portraits.pretrain.common import Stage, replaced_folder, start_from
from spf.portraits.pretrain.spoil import returned_portraits, spoilt_batch
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)


HIDDEN = -100
"""Label of what a picture hides: nothing is learnt from it (`cross_entropy` leaves it out)."""


def seen_labels(portraits: list[Portrait]) -> np.ndarray:
    """Indices of the values, int64 [N,attributes]; HIDDEN where nobody could read one."""
    labels = np.stack([p.labels() for p in portraits])
    for row, p in zip(labels, portraits, strict=True):
        out_of_sight = hidden(p.attributes())
        row[[name in out_of_sight for name in ATTRIBUTES]] = HIDDEN
    return labels


def judge_loss(judges: Judges, images: Tensor, labels: Tensor, identity: Tensor, regions: Tensor):
    """Cross-entropies of attributes that can be seen and of regions, and the squared error and
    angle of the identity."""
    logits, guess, parsed = judges(images)
    attributes = sum(
        F.cross_entropy(v.float(), labels[:, i]) for i, v in enumerate(logits.values())
    ) / len(logits)
    guesses = torch.stack([v.argmax(1) for v in logits.values()], 1)
    right = (guesses == labels)[labels != HIDDEN].float().mean()
    angle = 1 - F.cosine_similarity(guess.float(), identity).mean()
    person = F.mse_loss(guess.float(), identity) + angle
    parse = F.cross_entropy(parsed.float(), regions[:, ::2, ::2])
    total = attributes + 0.5 * person + parse
    return total, {"right": right, "identity": 1 - angle, "parse": parse}


def train_judges(stage: Stage) -> Fitted:
    """Train and save `checkpoints/judges`."""
    sizes = stage.preset.judges
    data, unseen = stage.data("often"), stage.data("often", split="dev")
    accelerator = make_accelerator(tiles=True)
    torch.manual_seed(stage.seed)
    judges = Judges(stage.preset.image_size, sizes.channels).to(memory_format=torch.channels_last)
    if stage.resume:
        start_from(judges, stage.checkpoints / "judges" / "judges.safetensors")
    returned = returned_portraits(stage, data, accelerator.device)
    known = seen_labels(data.portraits)

    def loss(step: int, rng: np.random.Generator):
        chosen, images = spoilt_batch(data, returned, sizes.batch, rng, accelerator.device)
        labels, identity, regions = (
            torch.from_numpy(np.array(part[chosen])).to(accelerator.device)
            for part in (known, data.identities, data.regions)
        )
        return judge_loss(judges, images, labels, identity, regions.long())

    def save() -> None:
        with replaced_folder(stage.checkpoints / "judges") as part:
            judges.save(part)
        scores = judge_accuracy(judges, unseen)
        log.info(
            "saved %s: %s",
            stage.checkpoints / "judges",
            " ".join(f"{k} {v:.3f}" for k, v in scores.items()),
        )

    return fit(
        judges,
        loss,
        lr=sizes.lr,
        betas=(0.9, 0.99),
        average=0.998,
        save=save,
        accelerator=accelerator,
        name="judges",
        **stage.order("judges"),
    )


def judge_accuracy(judges: Judges, data: PortraitSet) -> dict[str, float]:
    """Share of right values of each attribute where it can be seen, cosine to the true identity,
    share of right pixels."""
    parts = [judges.read(as_pixels(data.images[i : i + 64])) for i in range(0, len(data), 64)]
    scores, known = {}, seen_labels(data.portraits)
    for i, name in enumerate(ATTRIBUTES):
        guess = torch.cat([p.probs[name] for p in parts]).argmax(1).cpu().numpy()
        in_sight = known[:, i] != HIDDEN
        scores[name] = float((guess == known[:, i])[in_sight].mean())
    identity = torch.cat([p.identity for p in parts]).cpu()
    scores["identity"] = (
        F.cosine_similarity(identity, torch.from_numpy(np.array(data.identities))).mean().item()
    )
    regions = torch.cat([p.regions for p in parts]).cpu().numpy()
    scores["regions"] = float((regions == data.regions).mean())
    return scores
