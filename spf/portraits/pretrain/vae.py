"""The embedded autoencoder: a small stock AutoencoderKL, eight pixels to one latent.

    python -m spf pretrain vae --preset small

Trained on crops, then shortly on whole portraits (group norms see other statistics there). The
saved latents have mean 0 and standard deviation 1 per channel, so that any Stable Diffusion
pipeline works with scaling_factor 1.
"""

import copy
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from spf.models import as_pixels
from spf.portraits.pretrain.common import (
    Stage,
    batch_indices,
    noise,
    replaced_folder,
    save_half,
    start_from,
)
from spf.portraits.pretrain.presets import VaeSizes
from spf.portraits.render import REGIONS
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)

_WEIGHTY = {
    "eyes": 8.0,
    "mouth": 8.0,
    "nose": 6.0,
    "brows": 5.0,
    "eyewear": 5.0,
    "face": 4.0,
    "necklace": 4.0,
    "neck": 3.0,
    "beard": 3.0,
    "ear": 2.0,
    "hair": 1.5,
    "clothing": 1.5,
    "hat": 1.5,
}
WEIGHTS = np.array([_WEIGHTY.get(name, 1.0) for name in REGIONS], np.float32)
"""Weight of a pixel by its region: a face is a twentieth of the picture and most of what a portrait
says."""

ROUGH = 0.15
"""Most noise, in deviations of a latent, that the decoder learns to see through once it decodes
drawn latents."""


def new_vae(sizes: VaeSizes, image_size: int) -> AutoencoderKL:
    """An untrained autoencoder with a start that a small network learns from quickly."""
    count = len(sizes.channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * count,
        up_block_types=("UpDecoderBlock2D",) * count,
        block_out_channels=sizes.channels,
        latent_channels=sizes.latent_channels,
        layers_per_block=1,
        norm_num_groups=sizes.norm_groups,
        mid_block_add_attention=False,
        sample_size=image_size,
        scaling_factor=1.0,
    )
    _start_linear(vae)
    return vae


@torch.no_grad()
def _start_linear(vae: AutoencoderKL) -> None:
    """Residual blocks start as the identity, the way through keeps the signal's size, upsampling
    interpolates.

    PyTorch's own start shrinks the signal threefold in variance at each of ten layers; from there
    small networks need a thousand steps before they see anything (our choice).
    """
    smooth = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    for name, module in vae.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        nn.init.zeros_(module.bias)
        nn.init.zeros_(module.weight) if name.endswith("conv2") else nn.init.orthogonal_(
            module.weight
        )
        if "upsamplers" in name:
            module.weight.mul_(0.3)
            for channel in range(len(module.weight)):
                module.weight[channel, channel] += smooth
    vae.quant_conv.bias[vae.config.latent_channels :].fill_(-10.0)  # log-variance: almost no noise


def reconstruction_loss(
    image: Tensor, target: Tensor, weight: Tensor, edges: tuple[float, float]
) -> tuple[Tensor, dict]:
    """Absolute and squared error, and the absolute error of pixel differences at two scales (small
    strokes).

    image, target [B,3,H,W]; weight [B,1,H,W] with mean near 1.
    """
    error = image - target
    absolute, squared = error.abs(), error.square()
    edge = sum(
        factor * _differences(error, weight, scale)
        for scale, factor in zip((1, 2), edges, strict=True)
    )
    total = (weight * (absolute + squared)).mean() + edge
    return total, {"l1": absolute.mean(), "psnr": 10 * torch.log10(4 / squared.mean())}


def _differences(error: Tensor, weight: Tensor, scale: int) -> Tensor:
    """Weighted absolute error of the differences of neighbours, across and down, after pooling by
    `scale`."""
    e, w = F.avg_pool2d(error, scale), F.avg_pool2d(weight, scale)
    across = w[..., 1:] * (e[..., 1:] - e[..., :-1]).abs()
    down = w[..., 1:, :] * (e[..., 1:, :] - e[..., :-1, :]).abs()
    return across.mean() + down.mean()


def psnr(image: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [-1,1]; the error is averaged over all of
    them."""
    return float(10 * torch.log10(4 / (image.clamp(-1, 1) - target).square().mean()))


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: np.ndarray, batch: int = 32) -> Tensor:
    """uint8 [N,H,W,3] -> mean latents [N,C,h,w] on the CPU."""
    device = next(vae.parameters()).device
    parts = [images[i : i + batch] for i in range(0, len(images), batch)]
    return torch.cat(
        [vae.encode(as_pixels(part).to(device)).latent_dist.mean.float().cpu() for part in parts]
    )


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> None:
    """Change the two 1x1 convolutions so that latents such as `latents` [N,C,h,w] come out with
    mean 0, deviation 1.

    Half-whitened first (covariance to the power -1/4): channels become less alike, coarse content
    keeps more weight than fine content. The map is affine and undone exactly before the decoder.
    """
    flat = latents.double().transpose(0, 1).flatten(1)  # [C, N*h*w]
    mean = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    half = vectors @ torch.diag(values.clamp_min(1e-8).pow(-0.25)) @ vectors.T
    scale = (half @ (flat - mean[:, None])).std(1)
    forward = half / scale[:, None]
    backward = torch.linalg.inv(forward)
    quant, post, channels = vae.quant_conv, vae.post_quant_conv, len(mean)
    moments, bias = quant.weight.double()[..., 0, 0], quant.bias.double()
    moments[:channels] = forward.to(moments.device) @ moments[:channels]
    bias[:channels] = forward.to(bias.device) @ (bias[:channels] - mean.to(bias.device))
    bias[channels:] += 2 * forward.diagonal().log().to(
        bias.device
    )  # log-variances follow the scale
    decode = post.weight.double()[..., 0, 0]
    post.bias.copy_(post.bias.double() + decode @ mean.to(decode.device))
    post.weight.copy_((decode @ backward.to(decode.device))[..., None, None])
    quant.weight.copy_(moments[..., None, None])
    quant.bias.copy_(bias)


def save_vae(vae: AutoencoderKL, images: np.ndarray | None, folder: Path) -> None:
    """Write a copy in half precision, with latents normalised to the statistics of `images` if
    there are any."""
    final = copy.deepcopy(vae).eval()
    if images is not None:
        normalise_latents(final, encode_all(final, images))
    with replaced_folder(folder) as part:
        save_half(final, part)


def train_vae(stage: Stage) -> Fitted:
    """Train and save `checkpoints/base/vae`; the last fifth of the time goes to whole portraits.

    Once there is a denoiser, its latents must stay what they are: from then on only the decoder is
    trained further.
    """
    sizes = stage.preset.vae
    data = stage.data("often")
    unseen = stage.data("often", split="dev", n=64)
    accelerator = make_accelerator(tiles=True)
    torch.manual_seed(stage.seed)
    vae = new_vae(sizes, stage.preset.image_size)
    base, lr, size = stage.checkpoints / "base", sizes.lr, sizes.batch
    folder, settled = base / "vae", (base / "unet" / "config.json").exists()
    begun = stage.resume and start_from(vae, folder / "diffusion_pytorch_model.safetensors")
    if begun:
        lr = lr / 2
    if settled:
        lr, size = lr / 2, 4 * size
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)

    def loss(step: int, rng: np.random.Generator, crop: int, batch: int):
        chosen = batch_indices(rng, len(data), batch)
        images, regions = _crops(data.images[chosen], data.regions[chosen], crop, rng)
        target = as_pixels(images).to(accelerator.device)
        weight = torch.from_numpy(WEIGHTS[regions])[:, None].to(target.device)
        posterior = vae.encode(target).latent_dist
        rough = torch.from_numpy(
            rng.uniform(0, ROUGH if settled else 0, (batch, 1, 1, 1)).astype(np.float32)
        )
        spread = posterior.std + rough.to(target.device)
        latents = posterior.mean + spread * noise(rng, posterior.mean.shape).to(target.device)
        value, terms = reconstruction_loss(
            vae.decode(latents).sample.float(), target, weight / weight.mean(), sizes.edges
        )
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return value + sizes.kl * kl, {**terms, "kl": kl}

    def save() -> None:
        save_vae(vae, None if settled else data.images[:512], folder)
        log.info("saved %s: %.2f dB on unseen portraits", folder, check_vae(vae, unseen.images))

    whole = stage.preset.image_size
    fewer = max(1, size * sizes.crop**2 // whole**2)

    def phase(name: str, crop: int, batch: int, lr: float, share: float) -> Fitted:
        return fit(
            vae,
            lambda step, rng: loss(step, rng, crop, batch),
            lr=lr,
            weight_decay=0.0,
            average=0.999,
            out=stage.out / f"{'decoder' if settled else 'vae'}-{name}",
            name=f"vae, {name}",
            seed=stage.seed,
            resume=stage.resume,
            save=save,
            accelerator=accelerator,
            **stage.length("vae", share),
        )

    phase("crops", sizes.crop, size, lr, 0.8)
    return phase("whole", whole, fewer, lr / 5, 0.2)


@torch.no_grad()
def check_vae(vae: AutoencoderKL, images: np.ndarray, batch: int = 16) -> float:
    """PSNR in dB of the round trip of uint8 images [N,H,W,3]."""
    device = next(vae.parameters()).device
    targets = [as_pixels(images[i : i + batch]).to(device) for i in range(0, len(images), batch)]
    outputs = [vae.decode(vae.encode(target).latent_dist.mean).sample for target in targets]
    return psnr(torch.cat(outputs).float(), torch.cat(targets))


def _crops(
    images: np.ndarray, regions: np.ndarray, crop: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A square of side `crop` of each picture; four in five are centred on a point of a weighty
    region."""
    room = images.shape[1] - crop
    pictures, parts = [], []
    for image, region in zip(images, regions, strict=True):
        y, x = rng.integers(0, room + 1, 2)
        points = np.argwhere(WEIGHTS[region] >= 4)
        if rng.random() < 0.8 and len(points):
            y, x = (points[rng.integers(len(points))] - crop // 2).clip(0, room)
        pictures.append(image[y : y + crop, x : x + crop])
        parts.append(region[y : y + crop, x : x + crop])
    return np.stack(pictures), np.stack(parts)
