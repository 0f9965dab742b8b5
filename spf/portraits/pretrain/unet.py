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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from spf.attention import eager_attention
from spf.diffusion import Diffusion
from spf.errors import BadInput
from spf.evaluation.judges import Judges
from spf.files import atomic, load_tensors
from spf.models import as_pixels
from spf.portraits.captions import caption, compose
from spf.portraits.dataset import contact_sheet, sample_many
from spf.portraits.description import ATTRIBUTES, BASE_VALUES, TARGETS, Portrait
from spf.portraits.pretrain.common import (
    Stage,
    batch_indices,
    kept_array,
    noise,
    replaced_folder,
    save_half,
    start_from,
)
from spf.portraits.pretrain.muon import Muon
from spf.portraits.pretrain.presets import UnetSizes
from spf.portraits.pretrain.texts import read_caption, token_ids
from spf.portraits.pretrain.vae import WEIGHTS, encode_all
from spf.portraits.render import REGIONS
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)

CHECKED = 64
"""Unseen portraits on which the error is followed while the denoiser trains."""
LEVELS = (100, 300, 500, 700, 850, 999)
EMPTY = 0.1
"""Share of empty captions, for classifier-free guidance (arXiv 2207.12598)."""
FULL = 0.5
"""Share of the other captions that name every attribute: what is left unsaid teaches the denoiser
nothing about words."""
CORRECTED = 0.06
"""Share of captions that say a thing twice, first wrong."""
CORRECTABLE = ("hair_color", "clothing_color", "expression", "background", "eye_color")


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


def weighty(regions: np.ndarray, side: int) -> np.ndarray:
    """Weights of latents, float32 [B,side,side] with mean 1, from regions [B,S,S]: faces are small
    and matter most."""
    cell = regions.shape[-1] // side
    weight = WEIGHTS[regions].reshape(len(regions), side, cell, side, cell).mean((2, 4))
    return weight / weight.mean((1, 2), keepdims=True)


def region_shares(regions: np.ndarray, side: int) -> Tensor:
    """Share of each region in each latent, float32 [B,R,side,side], from regions [B,S,S]."""
    inside = F.one_hot(torch.from_numpy(regions.astype(np.int64)), len(REGIONS))
    return F.adaptive_avg_pool2d(inside.movedim(-1, 1).float(), side)


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
        self.features = output

    def loss(self, shares: Tensor) -> Tensor:
        """Mean cross-entropy of the shares [B,R,h,w] given the denoiser's last forward pass."""
        features, self.features = self.features, None
        return F.cross_entropy(self.head(features), shares)


def place_weights(own: Tensor, usual: Tensor, signal: Tensor) -> Tensor:
    """Weights [B,1,h,w] of places: a picture's own where it can be seen, those of all pictures in
    noise.

    own [B,h,w], usual [h,w], signal [B]. Where the noisy latents do not say yet where the face will
    be, its own weights would draw it larger than it is: a weight that depends on the answer moves
    the expected answer (our choice).
    """
    share = signal.view(-1, 1, 1)
    return (share * own + (1 - share) * usual)[:, None]


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
    name = f"{key}-{len(data)}-{stage.seed}-{data.images.shape[1]}"
    latents = kept_array(
        stage.out / "latents" / f"{name}.npy", lambda: encode_all(vae, data.images).numpy()
    )

    torch.manual_seed(stage.seed)
    unet = new_unet(sizes, latents.shape[1], latents.shape[-1], text_encoder.config.hidden_size)
    if stage.resume:
        start_from(unet, base / "unet" / "diffusion_pytorch_model.safetensors")
    unet = unet.to(device)
    layout = Layout(unet)
    scheduler = new_scheduler()
    diffusion = Diffusion.of(scheduler)
    usual = torch.from_numpy(weighty(data.regions[:1024], latents.shape[-1]).mean(0)).to(device)

    def loss(step: int, rng: np.random.Generator):
        chosen = batch_indices(rng, len(data), sizes.batch)
        texts = [_text(data.portraits[i], rng) for i in chosen]
        with torch.no_grad():
            states = text_encoder(input_ids=token_ids(tokenizer, texts).to(device))[0]
        clean = torch.from_numpy(np.array(latents[chosen])).to(device)
        eps = noise(rng, tuple(clean.shape)).to(device)
        when = torch.from_numpy((diffusion.steps * spread(rng, len(chosen))).astype(np.int64))
        when = when.to(device)
        signal = diffusion.signal(when)

        guess = unet(diffusion.noised(clean, eps, when), when, states).sample.float()
        own = torch.from_numpy(weighty(data.regions[chosen], clean.shape[-1])).to(device)
        where = place_weights(own, usual, signal)
        error = (where * (guess - diffusion.ideal(clean, eps, when)).square()).mean((1, 2, 3))
        value, terms = (level_weights(signal) * error).mean(), {"mse": error.mean()}
        if sizes.layout:
            shares = region_shares(data.regions[chosen], clean.shape[-1]).to(device)
            terms["layout"] = layout.loss(shares)
            value = value + sizes.layout * terms["layout"]
        return value, terms

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
        with replaced_folder(base / "unet") as part:
            save_half(unet, part)
        with replaced_folder(base / "scheduler") as part:
            scheduler.save_pretrained(part)
        pipeline.save_config(base)
        rate = seen["here"] / (time.monotonic() - began)
        log.info("saved %s: %d images seen, %.1f a second", base, seen["now"], rate)
        errors = check_unet(unet, diffusion, truth, told)
        log.info("unseen, error of x_0: %s", " ".join(f"{t}: {e:.4f}" for t, e in errors.items()))
        show_samples(pipeline, stage, stage.out / "samples" / f"{seen['now']:08d}.png")

    crossing = [p for name, p in unet.named_parameters() if ".attn2." in name]
    others = [p for name, p in unet.named_parameters() if ".attn2." not in name]
    others += layout.parameters()
    with eager_attention(unet, accelerator.mixed_precision):
        return fit(
            nn.ModuleDict({"unet": unet, "layout": layout}),
            loss,
            lr=sizes.lr,
            groups=[(others, 1.0), (crossing, sizes.crossing)],
            average=0.9995,
            fall=0.15,
            optimizer_of=Muon,
            name="unet",
            out=stage.out / "unet",
            seed=stage.seed,
            resume=stage.resume,
            save=save,
            save_every=1200.0,
            callback=count,
            accelerator=accelerator,
            **stage.length("unet"),
        )


@torch.no_grad()
def check_unet(
    unet: UNet2DConditionModel, diffusion: Diffusion, clean: Tensor, states: Tensor
) -> dict[int, float]:
    """Mean squared error of the predicted x_0 at some timesteps, with noise that is always the same.

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


def _text(p: Portrait, rng: np.random.Generator) -> str:
    """Nothing, everything about the portrait, or what a random caption says of it."""
    if rng.random() < EMPTY:
        return ""
    p = misnamed(p, rng)
    if rng.random() < CORRECTED:
        return corrected(p, rng)
    return (compose(p, set(ATTRIBUTES), rng) if rng.random() < FULL else caption(p, rng)).text


def corrected(p: Portrait, rng: np.random.Generator) -> str:
    """A caption that says one thing wrong and, last, as it is: the last word about a thing
    counts."""
    ends = {name: compose(p, {name}).phrases for name in CORRECTABLE}
    name = str(rng.choice([name for name, phrases in ends.items() if phrases]))
    wrong = replace(p, **{name: str(rng.choice(BASE_VALUES[name]))})
    keep = set(ATTRIBUTES) if rng.random() < FULL else {name, *rng.choice(list(ATTRIBUTES), 6)}
    return f"{compose(wrong, keep, rng).text}, {ends[name][-1].text}"


def misnamed(p: Portrait, rng: np.random.Generator) -> Portrait:
    """The portrait as its caption has it: now and then with a target that the picture does not show
    (`weak_truth`)."""
    for target in TARGETS.values():
        false = target.weak_share * (1 / target.weak_truth - 1)
        if rng.random() < false / (1 - target.weak_share):
            p = p.with_target(target)
    return p


def draw_samples(
    pipeline: StableDiffusionPipeline,
    texts: list[str],
    *,
    seed: int = 0,
    steps: int = 25,
    guidance: float = 3.0,
    batch: int = 16,
) -> np.ndarray:
    """Images uint8 [N,H,W,3]; image i starts from the noise of seed + i."""
    images = []
    for at in range(0, len(texts), batch):
        part = texts[at : at + batch]
        generators = [torch.Generator().manual_seed(seed + at + i) for i in range(len(part))]
        drawn = pipeline(
            part,
            num_inference_steps=steps,
            guidance_scale=guidance,
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
