"""The embedded autoencoder: a small stock AutoencoderKL, eight pixels to one latent.

    python -m spf pretrain vae --preset small

Trained on crops, then shortly on whole portraits (group norms see other statistics there). The
saved latents have mean 0 and standard deviation 1 per channel, so that any Stable Diffusion
pipeline works with scaling_factor 1.
"""

import copy
import functools
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from spf.pixels import as_pixels
from spf.portraits.pretrain.common import (
    Stage,
    batch_indices,
    generator,
    noise,
    replaced_folder,
    replayed,
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


@functools.cache
def region_weights(device: torch.device) -> Tensor:
    """WEIGHTS on a device, sent there once: a CUDA graph cannot be recorded while they travel."""
    return torch.from_numpy(WEIGHTS).to(device)


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


class Objective(nn.Module):
    """The loss of the autoencoder on pictures of its regions."""

    def __init__(self, vae: AutoencoderKL, sizes: VaeSizes):
        super().__init__()
        self.vae, self.sizes = vae, sizes
        self.register_buffer("weights", torch.from_numpy(WEIGHTS), persistent=False)

    def forward(
        self, images: Tensor, regions: Tensor, eps: Tensor, rough: Tensor
    ) -> tuple[Tensor, ...]:
        """Loss, absolute error, PSNR and divergence of uint8 pictures [B,S,S,3] with regions
        [B,S,S], noise [B,C,s,s] and its size [B,1,1,1] beyond the posterior's own."""
        target = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        weight = self.weights[regions.long()][:, None]

        posterior = self.vae.encode(target).latent_dist
        latents = posterior.mean + (posterior.std + rough) * eps
        decoded = self.vae.decode(latents).sample.float()

        value, terms = reconstruction_loss(
            decoded, target, weight / weight.mean(), self.sizes.edges
        )
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        parts = (terms["l1"], terms["psnr"], kl)
        return value + self.sizes.kl * kl, *(part.detach() for part in parts)


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
        [vae.encode(as_pixels(part, device)).latent_dist.mean.float().cpu() for part in parts]
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
    device = accelerator.device
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

    images, regions = (
        torch.from_numpy(np.array(part)).to(device) for part in (data.images, data.regions)
    )

    def batch(rng: np.random.Generator, crop: int, size: int) -> tuple[Tensor, ...]:
        chosen = torch.from_numpy(batch_indices(rng, len(images), size)).to(device)
        target, parts = crops(images[chosen], regions[chosen], crop, rng)
        side = crop // 2 ** (len(sizes.channels) - 1)
        eps = noise(rng, (size, sizes.latent_channels, side, side), device)
        rough = rng.uniform(0, ROUGH if settled else 0, (size, 1, 1, 1)).astype(np.float32)
        return target, parts, eps, torch.from_numpy(rough).to(device)

    def save() -> None:
        save_vae(vae, None if settled else data.images[:512], folder)
        log.info("saved %s: %.2f dB on unseen portraits", folder, check_vae(vae, unseen.images))

    whole = stage.preset.image_size
    fewer = max(1, size * sizes.crop**2 // whole**2)

    def phase(name: str, crop: int, size: int, lr: float, share: float) -> Fitted:
        example = batch(np.random.default_rng(stage.seed), crop, size)
        replay = replayed(Objective(vae, sizes).to(device), example)

        def loss(step: int, rng: np.random.Generator):
            value, absolute, ratio, kl = replay(*batch(rng, crop, size))
            return value, {"l1": absolute, "psnr": ratio, "kl": kl}

        return fit(
            vae,
            loss,
            lr=lr,
            weight_decay=0.0,
            average=0.999,
            name=f"vae, {name}",
            save=save,
            accelerator=accelerator,
            **stage.order("vae", f"{'decoder' if settled else 'vae'}-{name}", share),
        )

    phase("crops", sizes.crop, size, lr, 0.8)
    return phase("whole", whole, fewer, lr / 5, 0.2)


@torch.no_grad()
def check_vae(vae: AutoencoderKL, images: np.ndarray, batch: int = 16) -> float:
    """PSNR in dB of the round trip of uint8 images [N,H,W,3]."""
    device = next(vae.parameters()).device
    targets = [as_pixels(images[i : i + batch], device) for i in range(0, len(images), batch)]
    outputs = [vae.decode(vae.encode(target).latent_dist.mean).sample for target in targets]
    return psnr(torch.cat(outputs).float(), torch.cat(targets))


def crops(
    images: Tensor, regions: Tensor, crop: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A square of side `crop` of each uint8 picture [B,S,S,3] and of its regions [B,S,S]; four in
    five are centred on a point of a weighty region."""
    count, side, _ = regions.shape
    if side == crop:
        return images, regions
    corner = torch.from_numpy(rng.integers(0, side - crop + 1, (count, 2))).to(images.device)
    centred = torch.from_numpy(rng.random(count) < 0.8).to(images.device)

    points = (region_weights(images.device)[regions.long()] >= 4).flatten(1).float()
    found = points.sum(1, keepdim=True) > 0
    point = torch.multinomial(points + ~found, 1, generator=generator(rng, images.device))[:, 0]
    near = torch.stack([point // side, point % side], 1) - crop // 2
    near = near.clamp(0, side - crop)
    corner = torch.where(found & centred[:, None], near, corner)

    along = torch.arange(crop, device=images.device)
    y, x = (corner[:, axis, None] + along for axis in (0, 1))
    picked = (torch.arange(count, device=images.device)[:, None, None], y[:, :, None], x[:, None])
    return images[picked], regions[picked]
