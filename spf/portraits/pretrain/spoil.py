"""Portraits as a model may return them: blurred, noisy, tinted, and through the autoencoder."""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from spf.pixels import as_pictures, as_pixels
from spf.portraits.dataset import PortraitSet
from spf.portraits.pretrain.common import Stage, batch_indices, kept_array, noise

ROUND_TRIPS = 3000
"""Portraits that are also shown as the autoencoder returns them, from slightly noisy latents."""


def spoil(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Mild blur, noise and tint, each with its own strength for every image [B,3,H,W]."""
    count = len(images)

    def column(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=images.dtype, device=images.device).view(count, -1, 1, 1)

    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = torch.lerp(images, soft, column(rng.uniform(0, 1, count) * (rng.random(count) < 0.5)))
    images = images * column(rng.normal(1, 0.04, (count, 3))) + column(
        rng.normal(0, 0.04, (count, 3))
    )
    grain = noise(rng, tuple(images.shape), images.device)
    return images + grain * column(rng.uniform(0, 0.1, count) * (rng.random(count) < 0.5))


def spoilt_batch(
    data: PortraitSet,
    returned: np.ndarray,
    batch: int,
    rng: np.random.Generator,
    device: torch.device,
) -> tuple[np.ndarray, Tensor]:
    """Positions in `data` and pixels [B,3,H,W]; a fifth of them from the first portraits' round
    trips, if there are any."""
    share = batch // 5 if len(returned) else 0
    drawn = batch_indices(rng, len(data), batch - share)
    sent = batch_indices(rng, len(returned), share) if share else drawn[:0]
    images = np.concatenate([data.images[drawn], returned[sent]])
    return np.concatenate([drawn, sent]), spoil(as_pixels(images, device), rng)


@torch.no_grad()
def round_trips(
    vae: AutoencoderKL, images: np.ndarray, rng: np.random.Generator, batch: int = 16
) -> np.ndarray:
    """uint8 images [N,H,W,3] as the decoder returns them from latents with a little noise."""
    parts = []
    for i in range(0, len(images), batch):
        latents = vae.encode(as_pixels(images[i : i + batch], vae.device)).latent_dist.mean
        rough = noise(rng, tuple(latents.shape), vae.device)
        latents = latents + float(rng.uniform(0, 0.25)) * rough
        parts.append(as_pictures(vae.decode(latents).sample.clamp(-1, 1)))
    return np.concatenate(parts)


def returned_portraits(stage: Stage, data: PortraitSet, device: torch.device) -> np.ndarray:
    """Round trips of the first portraits, made once for an autoencoder, or none while there is no
    autoencoder yet."""
    folder = stage.checkpoints / "base" / "vae"
    if not (folder / "config.json").exists():
        return data.images[:0]
    count = min(ROUND_TRIPS, len(data) // 4)

    def make() -> np.ndarray:
        vae = AutoencoderKL.from_pretrained(folder, dtype=torch.float32).to(device)
        return round_trips(vae, data.images[:count], np.random.default_rng(stage.seed))

    key = hashlib.sha256((folder / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()[
        :8
    ]
    return kept_array(
        stage.out
        / "returned"
        / f"{key}-{len(data)}-{count}-{stage.seed}-{data.images.shape[1]}.npy",
        make,
    )
