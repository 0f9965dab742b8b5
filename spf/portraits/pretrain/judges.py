"""Training of the judges, on drawn portraits that are also blurred, noisy, tinted and sent through the autoencoder.

python -m spf pretrain judges --preset small
"""

import logging

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from spf.evaluation.judges import Judges
from spf.models import as_pictures, as_pixels
from spf.portraits.dataset import PortraitSet
from spf.portraits.description import ATTRIBUTES
from spf.portraits.pretrain.common import Stage, batch_indices, noise, replaced_folder, start_from
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)

ROUND_TRIPS = 3000
"""Portraits that are also shown as the autoencoder returns them, from slightly noisy latents."""


def spoil(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Mild blur, noise and tint, each with its own strength for every image [B,3,H,W]."""
    count = len(images)

    def column(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=images.dtype, device=images.device).view(count, -1, 1, 1)

    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.lerp(images, soft, column(rng.uniform(0, 1, count) * (rng.random(count) < 0.5)))
    images = images * column(rng.normal(1, 0.04, (count, 3))) + column(rng.normal(0, 0.04, (count, 3)))
    grain = noise(rng, tuple(images.shape)).to(images.device)
    return images + grain * column(rng.uniform(0, 0.1, count) * (rng.random(count) < 0.5))


def judge_loss(judges: Judges, images: Tensor, labels: Tensor, identity: Tensor, regions: Tensor):
    """Cross-entropies of attributes and regions, and the squared error and angle of the identity."""
    logits, guess, parsed = judges(images)
    attributes = sum(F.cross_entropy(v.float(), labels[:, i]) for i, v in enumerate(logits.values())) / len(logits)
    right = torch.stack([v.argmax(1) == labels[:, i] for i, v in enumerate(logits.values())]).float().mean()
    angle = 1 - F.cosine_similarity(guess.float(), identity).mean()
    person = F.mse_loss(guess.float(), identity) + angle
    parse = F.cross_entropy(parsed.float(), regions[:, ::2, ::2])
    total = attributes + 0.5 * person + parse
    return total, {"right": right, "identity": 1 - angle, "parse": parse}


@torch.no_grad()
def round_trips(vae: AutoencoderKL, images: np.ndarray, rng: np.random.Generator, batch: int = 16) -> np.ndarray:
    """uint8 images [N,H,W,3] as the decoder returns them from latents with a little noise."""
    parts = []
    for i in range(0, len(images), batch):
        latents = vae.encode(as_pixels(images[i : i + batch]).to(vae.device)).latent_dist.mean
        latents = latents + float(rng.uniform(0, 0.25)) * noise(rng, tuple(latents.shape)).to(vae.device)
        parts.append(as_pictures(vae.decode(latents).sample.clamp(-1, 1)))
    return np.concatenate(parts)


def train_judges(stage: Stage) -> Fitted:
    """Train and save `checkpoints/judges`."""
    sizes = stage.preset.judges
    data, unseen = stage.data("often"), stage.data("often", split="dev")
    accelerator = make_accelerator(tiles=True)
    torch.manual_seed(stage.seed)
    judges = Judges(stage.preset.image_size, sizes.channels).to(memory_format=torch.channels_last)
    if stage.resume:
        start_from(judges, stage.checkpoints / "judges" / "judges.safetensors")
    returned = _returned(stage, data, accelerator.device)
    share = sizes.batch // 5 if len(returned) else 0

    def loss(step: int, rng: np.random.Generator):
        drawn = batch_indices(rng, len(data), sizes.batch - share)
        sent = batch_indices(rng, len(returned), share) if share else drawn[:0]
        chosen = np.concatenate([drawn, sent])
        images = np.concatenate([data.images[drawn], returned[sent]]) if share else data.images[drawn]
        images = spoil(as_pixels(images).to(accelerator.device), rng)
        labels, identity, regions = (
            torch.from_numpy(np.array(part[chosen])).to(accelerator.device)
            for part in (data.labels, data.identities, data.regions)
        )
        return judge_loss(judges, images, labels, identity, regions.long())

    def save() -> None:
        with replaced_folder(stage.checkpoints / "judges") as part:
            judges.save(part)
        scores = judge_accuracy(judges, unseen)
        log.info("saved %s: %s", stage.checkpoints / "judges", " ".join(f"{k} {v:.3f}" for k, v in scores.items()))

    return fit(
        judges,
        loss,
        lr=sizes.lr,
        betas=(0.9, 0.99),
        average=0.998,
        out=stage.out / "judges",
        seed=stage.seed,
        resume=stage.resume,
        save=save,
        accelerator=accelerator,
        name="judges",
        **stage.length("judges"),
    )


def _returned(stage: Stage, data: PortraitSet, device: torch.device) -> np.ndarray:
    """Round trips of the first portraits, or none while there is no autoencoder yet."""
    folder = stage.checkpoints / "base" / "vae"
    if not (folder / "config.json").exists():
        return data.images[:0]
    vae = AutoencoderKL.from_pretrained(folder, dtype=torch.float32).to(device)
    return round_trips(vae, data.images[: min(ROUND_TRIPS, len(data) // 4)], np.random.default_rng(stage.seed))


def judge_accuracy(judges: Judges, data: PortraitSet) -> dict[str, float]:
    """Share of right values of each attribute, cosine to the true identity, share of right pixels."""
    parts = [judges.read(as_pixels(data.images[i : i + 64])) for i in range(0, len(data), 64)]
    scores = {}
    for i, name in enumerate(ATTRIBUTES):
        guess = torch.cat([p.probs[name] for p in parts]).argmax(1).cpu().numpy()
        scores[name] = float((guess == data.labels[:, i]).mean())
    identity = torch.cat([p.identity for p in parts]).cpu()
    scores["identity"] = F.cosine_similarity(identity, torch.from_numpy(np.array(data.identities))).mean().item()
    regions = torch.cat([p.regions for p in parts]).cpu().numpy()
    scores["regions"] = float((regions == data.regions).mean())
    return scores
