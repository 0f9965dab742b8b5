"""The embedded denoiser: a small stock UNet2DConditionModel with cross-attention at all of its
resolutions.

    python -m spf pretrain unet --preset small

Needs the autoencoder and the text encoder in checkpoints/base; both stay as they are. Afterwards
checkpoints/base is a whole StableDiffusionPipeline folder. When the autoencoder was trained further
in between, the portraits are encoded again and a resumed run gets used to the new latents.
"""

import hashlib
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from spf.attention import eager_attention
from spf.config import GUIDANCE
from spf.diffusion import Diffusion
from spf.errors import BadInput
from spf.evaluation.judges import Judges
from spf.files import atomic, load_tensors
from spf.pixels import as_pixels
from spf.portraits.captions import caption, compose
from spf.portraits.dataset import PortraitSet, contact_sheet, sample_many
from spf.portraits.description import ATTRIBUTES
from spf.portraits.pretrain.common import (
    Stage,
    batch_indices,
    beginning,
    kept_array,
    mixed,
    noise,
    replaced_folder,
    replayed,
    save_half,
    start_from,
)
from spf.portraits.pretrain.muon import Muon
from spf.portraits.pretrain.presets import UnetSizes
from spf.portraits.pretrain.sayings import sayings
from spf.portraits.pretrain.texts import read_caption, token_ids
from spf.portraits.pretrain.vae import encode_all, region_weights
from spf.portraits.render import REGIONS
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)

CHECKED = 64
"""Unseen portraits on which the error is followed while the denoiser trains."""
LEVELS = (100, 300, 500, 700, 850, 999)
TEXTS = 8
"""Texts that are made for each portrait beforehand."""


def new_unet(
    sizes: UnetSizes, latent_channels: int, latent_size: int, text_width: int
) -> UNet2DConditionModel:
    """An untrained denoiser."""
    count = len(sizes.channels)
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=sizes.channels,
        layers_per_block=sizes.layers,
        down_block_types=("CrossAttnDownBlock2D",) * count,
        up_block_types=("CrossAttnUpBlock2D",) * count,
        cross_attention_dim=text_width,
        attention_head_dim=sizes.heads,  # diffusers reads this as the number of heads
        norm_num_groups=sizes.norm_groups,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's kind of noise schedule, for v-prediction (arXiv 2202.00512).

    It ends in more noise than Stable Diffusion's (SNR 0.0005 instead of 0.005): of small latents
    the rough layout would still show through there, and a drawing that starts from noise alone does
    not have it (arXiv 2305.08891).
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.018,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
    )


def level_weights(signal: Tensor, most: float = 5.0) -> Tensor:
    """Weights [B] of the squared error of v: 1 up to SNR + 1 = `most`, falling as its inverse
    beyond (our choice).

    An error of v is sqrt(SNR + 1) times that of x_0: the error of x_0 weighs 1 at pure noise, where
    faces are laid out, and `most` where the latents are nearly clean. Noise prediction under
    min-SNR gives it a weight of SNR there, almost 0.
    """
    return (most * (1 - signal)).clamp(max=1.0)


def spread(rng: np.random.Generator, count: int) -> np.ndarray:
    """Timesteps [count] in [0,1): one in each of `count` equal parts, so that every batch sees all
    levels of noise.

    Stratified as in arXiv 2107.00630, App. I.1.
    """
    return (rng.permutation(count) + rng.random(count)) / count


class Layout(nn.Module):
    """Reads off a denoiser's features which region of a portrait lies where; it is trained beside
    the denoiser.

    What representation alignment (arXiv 2410.06940) takes from a frozen image network is known here
    exactly: the drawing says where its eyes are. An eye missing costs the squared error little and
    this loss much. Used in training alone.
    """

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        self.features = None
        block = unet.up_blocks[-2]
        self.head = nn.Conv2d(block.resnets[-1].out_channels, len(REGIONS), 1)
        block.register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: tuple, output: Tensor) -> None:
        if block.training:
            self.features = output

    def loss(self, shares: Tensor) -> Tensor:
        """Mean cross-entropy of the shares [B,R,h,w] given the denoiser's last forward pass."""
        features, self.features = self.features, None
        return F.cross_entropy(self.head(features), shares)


@torch.no_grad()
def region_counts(regions: np.ndarray, side: int, device: torch.device) -> Tensor:
    """How many pixels of each latent belong to each region, uint8 [B,R,side,side], from regions
    [B,S,S]."""
    cell = regions.shape[-1] // side
    cells = torch.from_numpy(np.array(regions)).to(device)
    cells = cells.view(len(cells), side, cell, side, cell)
    counts = [(cells == region).sum((2, 4), dtype=torch.uint8) for region in range(len(REGIONS))]
    return torch.stack(counts, 1)


def weighty(counts: Tensor, weights: Tensor) -> Tensor:
    """Weights of latents, [B,side,side] with mean 1, from `region_counts` and the weight of each
    region [R]: faces are small and matter most."""
    weight = torch.einsum("brhw,r->bhw", counts.float(), weights)
    return weight / weight.mean((1, 2), keepdim=True)


def place_weights(own: Tensor, usual: Tensor, signal: Tensor) -> Tensor:
    """Weights [B,1,h,w] of places: a picture's own where it can be seen, those of all pictures in
    noise.

    own [B,h,w], usual [h,w], signal [B]. Where the noisy latents do not say yet where the face will
    be, its own weights would draw it larger than it is: a weight that depends on the answer moves
    the expected answer (our choice).
    """
    share = signal.view(-1, 1, 1)
    return (share * own + (1 - share) * usual)[:, None]


@dataclass
class Lessons:
    """What the denoiser learns from, all of it on its device.

    latents float32 [N,C,h,w]; counts uint8 [N,R,h,w], see `region_counts`; texts int16 [N,K,T],
    token ids of several texts for each portrait
    """

    latents: Tensor
    counts: Tensor
    texts: Tensor

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, counts and token ids [B,T] of random portraits."""
        chosen = torch.from_numpy(batch_indices(rng, len(self.latents), size))
        which = torch.from_numpy(rng.integers(0, self.texts.shape[1], size))
        chosen, which = chosen.to(self.latents.device), which.to(self.latents.device)
        return self.latents[chosen], self.counts[chosen], self.texts[chosen, which].long()


def lessons(
    stage: Stage, data: PortraitSet, vae: AutoencoderKL, tokenizer: CLIPTokenizer, key: str
) -> Lessons:
    """Portraits as the denoiser meets them. Their latents are made once and kept: `key` names the
    encoder."""
    name = f"{key}-{len(data)}-{stage.seed}-{data.images.shape[1]}"
    latents = kept_array(
        stage.out / "latents" / f"{name}.npy", lambda: encode_all(vae, data.images).numpy()
    )
    counts = [
        region_counts(data.regions[i : i + 256], latents.shape[-1], vae.device)
        for i in range(0, len(data), 256)
    ]
    return Lessons(
        torch.from_numpy(np.array(latents)).to(vae.device),
        torch.cat(counts),
        torch.from_numpy(np.array(read_texts(stage, data, tokenizer))).to(vae.device),
    )


def read_texts(stage: Stage, data: PortraitSet, tokenizer: CLIPTokenizer) -> np.ndarray:
    """Token ids of the texts of all portraits, int16 [N,K,T], made once and kept."""

    def ids() -> np.ndarray:
        said = sayings(data.portraits, TEXTS, stage.seed)
        parts = [said[i : i + 4096] for i in range(0, len(said), 4096)]
        found = np.concatenate([token_ids(tokenizer, part).numpy() for part in parts])
        return found.astype(np.int16).reshape(len(data), TEXTS, -1)

    made = repr(data.portraits) + repr(sorted(tokenizer.get_vocab().items()))
    key = hashlib.sha256(made.encode()).hexdigest()[:8]
    return kept_array(stage.out / "texts" / f"{key}-{len(data)}-{stage.seed}.npy", ids)


class Objective(nn.Module):
    """The loss of the denoiser and of what is read off its features.

    usual   weights of places in all pictures [h,w], see `place_weights`
    share   weight of the cross-entropy of the regions; at 0 it is left out, and told as 0
    """

    def __init__(
        self, unet: UNet2DConditionModel, diffusion: Diffusion, usual: Tensor, share: float
    ):
        super().__init__()
        self.unet, self.diffusion, self.share = unet, diffusion, share
        self.layout = Layout(unet) if share else None
        self.register_buffer("usual", usual, persistent=False)
        self.register_buffer("weights", region_weights(usual.device), persistent=False)

    def forward(
        self, clean: Tensor, eps: Tensor, when: Tensor, states: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, error of the prediction and error of the regions, from latents and noise [B,C,h,w],
        timesteps [B], text states [B,T,D] and pixels of each region [B,R,h,w]."""
        signal = self.diffusion.signal(when)
        noisy = self.diffusion.noised(clean, eps, when)
        guess = self.unet(noisy, when, states).sample.float()

        where = place_weights(weighty(counts, self.weights), self.usual, signal)
        ideal = self.diffusion.ideal(clean, eps, when)
        error = (where * (guess - ideal).square()).mean((1, 2, 3))
        value = (level_weights(signal) * error).mean()
        if self.layout is None:
            return value, error.mean().detach(), torch.zeros_like(value)

        shares = counts.float()
        regions = self.layout.loss(shares / shares.sum(1, keepdim=True))
        return value + self.share * regions, error.mean().detach(), regions.detach()


def train_unet(stage: Stage) -> Fitted:
    """Train `checkpoints/base/unet` and complete the pipeline folder around it."""
    sizes, base = stage.preset.unet, stage.checkpoints / "base"
    for part, name in (("vae", "vae"), ("text_encoder", "clip")):
        if not (base / part / "config.json").exists():
            raise BadInput(f"{base / part} is missing; run: python -m spf pretrain {name}.")
    accelerator = make_accelerator(tiles=True)
    device = accelerator.device
    vae = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32).to(device).eval()
    text_encoder = (
        CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32).to(device).eval()
    )
    text_encoder.requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    data = stage.data("weak", n=stage.portraits or sizes.portraits)
    key = _encoder_hash(base / "vae" / "diffusion_pytorch_model.safetensors")
    learnt = lessons(stage, data, vae, tokenizer, key)

    torch.manual_seed(stage.seed)
    _, channels, side, _ = learnt.latents.shape
    unet = new_unet(sizes, channels, side, text_encoder.config.hidden_size)
    if stage.resume:
        start_from(unet, base / "unet" / "diffusion_pytorch_model.safetensors")
    began_with = {}
    if sizes.mean:
        began_with = beginning(unet, stage.out / "unet" / "began.safetensors", stage.resume)
    scheduler = new_scheduler()
    diffusion = Diffusion.of(scheduler)
    diffusion = replace(diffusion, signals=diffusion.signals.to(device))
    usual = weighty(learnt.counts[:1024], region_weights(device)).mean(0)
    objective = Objective(unet, diffusion, usual, sizes.layout).to(device)

    def batch(rng: np.random.Generator) -> tuple[Tensor, ...]:
        clean, counts, ids = learnt.batch(rng, sizes.batch)
        with torch.no_grad():
            states = text_encoder(input_ids=ids)[0]
        when = torch.from_numpy((diffusion.steps * spread(rng, len(ids))).astype(np.int64))
        return clean, noise(rng, tuple(clean.shape), device), when.to(device), states, counts

    replay = replayed(objective, batch(np.random.default_rng(stage.seed)))

    def loss(step: int, rng: np.random.Generator):
        value, mse, regions = replay(*batch(rng))
        return value, {"mse": mse, "layout": regions}

    unseen = stage.data("none", split="dev", n=CHECKED)
    truth = encode_all(vae, unseen.images).to(device)
    rng = np.random.default_rng(5)
    told = [compose(p, set(ATTRIBUTES), rng).text for p in unseen.portraits]
    with torch.no_grad():
        told = text_encoder(input_ids=token_ids(tokenizer, told).to(device))[0]

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    began = time.monotonic()
    seen = {"now": 0, "here": 0}

    def count(step: int, terms: dict, eta: float) -> None:
        seen.update(now=step * sizes.batch, here=seen["here"] + sizes.batch)

    def save() -> None:
        with mixed(unet, began_with, sizes.mean):
            with replaced_folder(base / "unet") as part:
                save_half(unet, part)
            with replaced_folder(base / "scheduler") as part:
                scheduler.save_pretrained(part)
            pipeline.save_config(base)
            rate = seen["here"] / (time.monotonic() - began)
            log.info("saved %s: %d images seen, %.1f a second", base, seen["now"], rate)
            errors = check_unet(unet, diffusion, truth, told)
            said = " ".join(f"{t}: {e:.4f}" for t, e in errors.items())
            log.info("unseen, error of x_0: %s", said)
            show_samples(pipeline, stage, stage.out / "samples" / f"{seen['now']:08d}.png")

    crossing = [p for name, p in unet.named_parameters() if ".attn2." in name]
    others = [p for name, p in unet.named_parameters() if ".attn2." not in name]
    if objective.layout is not None:
        others += objective.layout.parameters()
    with eager_attention(unet, accelerator.mixed_precision):
        return fit(
            objective,
            loss,
            lr=sizes.lr,
            groups=[(others, 1.0), (crossing, sizes.crossing)],
            average=0.9995,
            fall=sizes.fall,
            optimizer_of=Muon,
            name="unet",
            save=save,
            save_every=1200.0,
            callback=count,
            accelerator=accelerator,
            **stage.order("unet"),
        )


@torch.no_grad()
def check_unet(
    unet: UNet2DConditionModel, diffusion: Diffusion, clean: Tensor, states: Tensor
) -> dict[int, float]:
    """Mean squared error of the predicted x_0 at some timesteps, with noise that is always the
    same.

    clean [B,C,h,w], states [B,T,D]. The error of x_0 compares networks whatever they predict.
    """
    was_training = unet.training
    unet.eval()
    eps = noise(np.random.default_rng(7), tuple(clean.shape)).to(clean.device)
    errors = {}
    for level in LEVELS:
        when = torch.full((len(clean),), level, device=clean.device)
        noisy = diffusion.noised(clean, eps, when)
        guess = diffusion.clean(unet(noisy, when, states).sample.float(), noisy, when)
        errors[level] = (guess - clean).square().mean().item()
    unet.train(was_training)
    return errors


def draw_samples(
    pipeline: StableDiffusionPipeline, texts: list[str], steps: int = 25, batch: int = 16
) -> np.ndarray:
    """Images uint8 [N,H,W,3]; image i starts from the noise of seed i."""
    images = []
    for at in range(0, len(texts), batch):
        part = texts[at : at + batch]
        generators = [torch.Generator().manual_seed(at + i) for i in range(len(part))]
        drawn = pipeline(
            part,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=generators,
            output_type="np",
        )
        images.append(drawn.images)
    return (np.concatenate(images) * 255).round().astype(np.uint8)


def show_samples(
    pipeline: StableDiffusionPipeline, stage: Stage, path: Path, count: int = 16
) -> None:
    """A sheet of samples for fixed unseen captions and the texts beside it; logs what the judges
    see obeyed."""
    texts, named = unseen_texts(count)
    was_training = pipeline.unet.training
    pipeline.unet.eval()
    images = draw_samples(pipeline, texts)
    pipeline.unet.train(was_training)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft:
        contact_sheet(images).save(draft)
    path.with_suffix(".txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    folder = stage.checkpoints / "judges"
    if (folder / "config.json").exists():
        scores = obedience(Judges.load(folder, pipeline.device), images, named)
        parts = " ".join(f"{name} {value:.2f}" for name, value in scores.items())
        log.info("obedience %.3f: %s", np.mean(list(scores.values())), parts)


def unseen_texts(
    count: int, seed: int = 11, split: str = "dev"
) -> tuple[list[str], list[dict[str, str]]]:
    """Captions of portraits of a split without targets, and what each one names."""
    rng = np.random.default_rng(seed)
    readings = [read_caption(caption(p, rng), p) for p in sample_many("none", count, seed, split)]
    return [r.text for r in readings], [r.values() for r in readings]


def obedience(judges: Judges, images: np.ndarray, named: list[dict[str, str]]) -> dict[str, float]:
    """For each attribute: share of the images whose text names it in which the judge reads that
    value."""
    values = judges.read(as_pixels(images)).values
    hits: dict[str, list[bool]] = {}
    for read, said in zip(values, named, strict=True):
        for name, value in said.items():
            hits.setdefault(name, []).append(read[name] == value)
    return {name: float(np.mean(right)) for name, right in sorted(hits.items())}


def _encoder_hash(path: Path) -> str:
    """Tells one set of latents from another: a decoder that was trained further leaves them as they
    are."""
    digest = hashlib.sha256()
    for name, value in sorted(load_tensors(path).items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:8]
