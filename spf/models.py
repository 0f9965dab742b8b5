"""One object with the parts of a Stable Diffusion base, loaded from wherever `spf.bases` finds it.

Only safetensors weights are read and no remote code is run. All sizes come from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from transformers import (
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedModel,
    VisionTextDualEncoderModel,
)

from .attention import require_layers, unmixed
from .bases.checks import configurations, skeleton
from .bases.finding import find_base, tokenizer_folder
from .bases.hub import clip_source
from .bases.source import Source
from .config import EMBEDDED, PERTURBED, SAMPLERS, GenerateConfig, check_choice
from .diffusion import Diffusion
from .errors import BadInput, NotFinite, UnsafeFile
from .files import read_json
from .single_file import SD2, described
from .solvers import DDIM, DPM, EULER, Dpm, Euler, solver
from .weights import Loaded, sketch

CLIP_WORDS = 49408
"""Size of CLIP's own vocabulary."""
SAMPLED = {
    "EulerDiscreteScheduler": EULER,
    "EulerAncestralDiscreteScheduler": EULER,
    "DPMSolverMultistepScheduler": DPM,
    "DPMSolverSinglestepScheduler": DPM,
}
"""The sampler that a scheduler of diffusers stands for; all others are drawn with DDIM."""
MOST_STEPS = GenerateConfig.limits("steps")[1]
"""Of a drawing; every schedule must reach so many noise levels."""
DRAWING = "drawing.json"
"""In the folder of a base: how it is drawn best, as {"perturbed": one of config.PERTURBED}."""
OFF = PERTURBED[0]
LAID_OUT = 0.3
"""Share of the noise levels, from no noise, below which a face is laid out and guidance leads away
from the ordinary prediction alone: there the perturbed one would draw its grid on every ground.
"""


@dataclass
class Base:
    """The parts of one frozen base model. `unet` may be switched between original and tuned weights
    by `spf.paths`. sides: width and height of what is drawn now, in pixels; 0 is the base's own.
    """

    name: str
    folder: Path | None
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    sampler: str = DDIM
    perturbed: str = OFF
    sides: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        ends_in_noise = getattr(self.scheduler.config, "rescale_betas_zero_snr", False)
        if self.diffusion.prediction == "epsilon" and ends_in_noise:
            raise BadInput(
                f"model {self.name} predicts epsilon but its noise schedule ends at zero signal, "
                "where epsilon says nothing of the picture."
            )
        for part in (self.unet, self.vae, self.text_encoder):
            part.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype

    @property
    def diffusion(self) -> Diffusion:
        """Its noise schedule, and what its UNet predicts."""
        return Diffusion.of(self.scheduler)

    @property
    def latent_channels(self) -> int:
        return self.unet.config.in_channels

    @property
    def latent_size(self) -> int:
        return self.unet.config.sample_size

    @property
    def image_size(self) -> int:
        return self.latent_size * self.patch

    @property
    def patch(self) -> int:
        """Pixels a side that one place of the latents stands for."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_sides(self) -> tuple[int, int]:
        """Height and width of the latents of what is drawn now."""
        width, height = (side or self.image_size for side in self.sides)
        return height // self.patch, width // self.patch

    def area_of(self, width: int, height: int) -> float:
        """How many pictures of its own size one of this width and height is, in pixels."""
        own = self.image_size
        return (width or own) * (height or own) / own**2

    @property
    def scaling_factor(self) -> float:
        return self.vae.config.scaling_factor

    @cached_property
    def weights(self) -> Loaded:
        """What tells the denoiser's own weights from others; asked for first where no tuned ones
        are switched on.
        """
        return Loaded(self.name, sketch(self.unet))

    @cached_property
    def clip(self) -> PreTrainedModel | None:
        """CLIP for guidance and measures, read when first asked for; None when the base has none
        beside it.
        """
        folder = clip_folder(self)
        if folder is None:
            return None
        kind = (
            CLIPModel
            if read_json(folder / "config.json")["model_type"] == "clip"
            else VisionTextDualEncoderModel
        )
        model = _part(kind, folder, self.name, dtype=self.vae.dtype)
        return model.to(self.device).requires_grad_(False).eval()

    @cached_property
    def clip_pixels(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation [1,3,1,1] that CLIP expects of pixels in [0,1]."""
        file = (clip_folder(self) or Path()) / "preprocessor_config.json"
        values = read_json(file) if file.is_file() else {}
        half = [0.5, 0.5, 0.5]
        mean, deviation = values.get("image_mean", half), values.get("image_std", half)
        with torch.inference_mode(
            False
        ):  # or a drawing that asks first would spoil it for training
            return tuple(
                torch.tensor(row, device=self.device, dtype=self.dtype).view(1, 3, 1, 1)
                for row in (mean, deviation)
            )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Moves every part; returns the base itself."""
        for part in (self.unet, self.vae, self.text_encoder, self.__dict__.get("clip")):
            if part is not None:
                part.to(device=device, dtype=dtype)
        self.__dict__.pop("clip_pixels", None)
        return self

    def new_scheduler(self, steps: int) -> DDIMScheduler | Dpm | Euler:
        """The sampler of one run, set to `steps`: it holds state and must not be shared."""
        if self.sampler != DDIM:
            return solver(self.sampler, self.scheduler, steps)
        scheduler = DDIMScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(steps)
        return scheduler

    @contextmanager
    def drawn_by(
        self, sampler: str = "", perturbed: str = "", width: int = 0, height: int = 0
    ) -> Iterator[Self]:
        """Inside the block drawings use this one of `config.SAMPLERS` and of `config.PERTURBED`,
        and have this width and height in pixels; "" and 0 are the base's own. Raises BadInput.
        """
        found = self.sampler, self.perturbed, self.sides
        asked = (
            check_choice("sampler", sampler or self.sampler, SAMPLERS),
            check_choice("perturbed", perturbed or self.perturbed, PERTURBED),
            (self._side("width", width), self._side("height", height)),
        )
        self.sampler, self.perturbed, self.sides = asked
        try:
            yield self
        finally:
            self.sampler, self.perturbed, self.sides = found

    def draws(self, images: np.ndarray) -> bool:
        """Whether pictures [...,H,W,3] have the size in which it draws by itself, the only one that
        its judges know.
        """
        return images.shape[-3:-1] == (self.image_size, self.image_size)

    def _side(self, name: str, side: int) -> int:
        """A side in pixels; the base's own is 0, so that nothing tells the two apart."""
        own, patch = self.image_size, self.patch
        low, high = own // 2, 2 * own
        if side and (side % patch or not low <= side <= high):
            raise BadInput(
                f"{name} is {side} but must be a multiple of {patch} from {low} to {high} with the"
                f" model {self.name}, or 0 for its own {own}."
            )
        return 0 if side == own else side

    def away(self, rows: int, timestep: Tensor | int) -> AbstractContextManager:
        """Inside the block the first `rows` of a batch, of the text that guidance leads away from,
        are predicted as `perturbed` says, at the timesteps where that helps.

        Perturbed-attention guidance (arXiv 2403.17377) with the empty text's row in place of a
        third one, so that it costs nothing (ours): one guidance leads away from the empty text and
        from a face whose places do not see each other.
        """
        if self.perturbed == OFF or timestep < LAID_OUT * self.diffusion.steps:
            return nullcontext()
        last = f"up_blocks.{len(self.unet.config.up_block_types) - 1}."
        return unmixed(self.unet, "mid_block." if self.perturbed == "mid" else last, slice(rows))

    def predict(self, latents: Tensor, timesteps: Tensor | int, states: Tensor) -> Tensor:
        """What the UNet, with the weights that are active now, predicts [B,C,h,w]: noise, velocity
        or the clean latents.

        Predictions on the same latents may be mixed and compared as they are; `diffusion` turns one
        into noise or clean latents, and says what a perfect one would be.
        """
        rows = latents.to(self.dtype), timesteps, states.to(self.dtype)
        return self.unet(*rows).sample.to(latents.dtype)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token numbers [B,77]; what does not fit is cut (`prompts.overflow` tells what)."""
        rows = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return rows.input_ids.to(self.device)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text states [B,77,D] for cross-attention."""
        return self.text_encoder(self.tokens(texts)).last_hidden_state

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents [B,C,h,w], fp32, of images [B,3,H,W] in [-1,1]: the mean, or a sample when
        a generator is given.
        """
        posterior = self.vae.encode(images.to(self.device, self.vae.dtype)).latent_dist
        latents = posterior.sample(generator) if generator else posterior.mode()
        return self.scaling_factor * latents.float()

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B,3,H,W] in [-1,1] from scaled latents; differentiable."""
        return self.vae.decode(latents.to(self.vae.dtype) / self.scaling_factor).sample.clamp(-1, 1)

    @torch.inference_mode()
    def pictures(self, latents: Tensor) -> np.ndarray:
        """8-bit pictures [B,H,W,3]. Tries once more in fp32 when half precision overflows; then
        raises NotFinite.
        """
        images = self.decode(latents)
        if not torch.isfinite(images).all() and self.vae.dtype != torch.float32:
            kept = self.vae.dtype
            try:
                images = self.vae.float() and self.decode(latents)
            finally:
                self.vae.to(kept)
        if not torch.isfinite(images).all():
            raise NotFinite(
                "The vae gave NaN or infinity; check the model's weights or try another seed."
            )
        return as_pictures(images)

    def clip_images(self, images: Tensor) -> Tensor:
        """CLIP embeddings [B,E], fp32, of length 1 for images [B,3,H,W] in [-1,1], of which it
        sees the middle square; differentiable.
        """
        clip, (mean, deviation) = self._need_clip(), self.clip_pixels
        side = clip.config.vision_config.image_size
        pixels = middle(
            images
        ).float()  # halves have no way back through a bicubic resize on a processor
        small = interpolate(
            pixels, (side, side), mode="bicubic", antialias=True, align_corners=False
        )
        small = ((small + 1) / 2 - mean) / deviation
        found = clip.get_image_features(small.to(clip.dtype)).pooler_output
        return normalize(found.float(), dim=-1)

    @torch.no_grad()
    def clip_texts(self, texts: Sequence[str]) -> Tensor:
        """CLIP embeddings [B,E], fp32, of length 1 for texts."""
        found = self._need_clip().get_text_features(self.tokens(texts)).pooler_output
        return normalize(found.float(), dim=-1)

    def _need_clip(self) -> PreTrainedModel:
        if self.clip is None:
            raise BadInput(
                f"model {self.name} has no clip folder beside it, which this method or measure "
                "needs;"
                " `python -m spf models --get clip` fetches CLIP ViT-L/14 for Stable Diffusion."
            )
        return self.clip


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(name: str) -> torch.dtype:
    """A number format by its short name. Raises BadInput."""
    return DTYPES[check_choice("dtype", name, tuple(DTYPES))]


@contextmanager
def numbers(dtype: torch.dtype) -> Iterator[None]:
    """New tensors have this format unless they are asked for another, whatever it is outside."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def best_device(name: str = "") -> str:
    """The device of that name, or the best one here: CUDA, else MPS, else the processor. Raises
    BadInput.
    """
    if not name:
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return "cuda" if cuda else "mps" if mps else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"device is {name!r} but no such device can be used here.") from error
    return name


def middle(images: Tensor) -> Tensor:
    """The middle square of images [B,3,H,W], as CLIP is shown pictures."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]


def as_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 pictures [B,H,W,3] -> [B,3,H,W] in [-1,1] on a device, fp32, channels last in memory
    (the faster layout on a processor).
    """
    pixels = torch.from_numpy(np.array(images)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def as_pictures(images: Tensor) -> np.ndarray:
    """The way back: [B,3,H,W] in [-1,1] -> uint8 pictures [B,H,W,3]."""
    return ((images.float() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def clip_folder(base: Base) -> Path | None:
    """Where the CLIP of a base lies: beside it, in it, or ViT-L/14 in the cache if it has CLIP's
    own words.
    """
    places = (base.folder.parent / "clip", base.folder / "clip") if base.folder else ()
    found = next((place for place in places if (place / "config.json").is_file()), None)
    if found or base.name == EMBEDDED or len(base.tokenizer) != CLIP_WORDS:
        return found
    return clip_source()


def load_base(
    name: str = EMBEDDED,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Base:
    """Loads a base model, frozen and in eval mode; fp32 on the CPU unless told otherwise.

    `name` is what `spf.bases.finding` takes. Everything that can be told from names, configurations
    and headers is checked before any weight is read. Raises BadInput (nothing of that name, no
    connection, another kind of model), UnsafeFile (a part is missing or damaged) or ChangedLibrary.
    """
    source, dtype = find_base(name), dtype or torch.float32
    made, words = skeleton(source), tokenizer_folder(source)
    scheduler = scheduler_of(made.scheduler, source.name)
    tokenizer = _tokenizer(source, words, made.text_encoder.config)
    networks = _from_file if source.file else _from_folder
    unet, vae, text_encoder = networks(source, words, dtype)
    require_layers(unet)
    for part in (unet, vae):
        part.register_to_config(_name_or_path=source.name)  # or copies of it would tell its place
    if source.file and made.unet.config.cross_attention_dim == SD2:
        tokenizer.pad_token = "!"  # as SD 2.x was trained
    base = Base(
        name=source.name,
        folder=source.folder,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        sampler=sampler_of(made.scheduler),
        perturbed=perturbed_of(source),
    )
    return base.to(device) if device else base


def load_tokenizer(name: str = EMBEDDED) -> CLIPTokenizer:
    """The tokenizer of a base alone, see `load_base`."""
    source = find_base(name)
    return _tokenizer(source, tokenizer_folder(source), skeleton(source).text_encoder.config)


def scheduler_of(config: Mapping[str, Any], name: str = "") -> DDIMScheduler:
    """The noise schedule of any scheduler's configuration, drawn with DDIM. Raises UnsafeFile.

    What DDIM has and other schedulers do not must not fall back to its own defaults, which clip
    latents to [-1,1].
    """
    missing = {"set_alpha_to_one": False, "steps_offset": 1}
    clipped = {"clip_sample": False, "thresholding": False}
    try:
        made = DDIMScheduler.from_config(missing | dict(config) | clipped)
        drawn = DDIMScheduler.from_config(made.config)
        drawn.set_timesteps(MOST_STEPS)
        there = bool(((drawn.timesteps >= 0) & (drawn.timesteps < len(made.betas))).all())
    except (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError) as error:
        raise UnsafeFile(_unscheduled(name)) from error
    if not there or not ((made.betas >= 0) & (made.betas <= 1)).all():  # NaN is neither
        raise UnsafeFile(_unscheduled(name))
    return made


def _unscheduled(name: str) -> str:
    return f"model {name} has a scheduler whose configuration makes no noise schedule."


def _tokenizer(source: Source, folder: Path, text: CLIPTextConfig) -> CLIPTokenizer:
    """The tokenizer of a base, whose window is that of its text encoder. Raises UnsafeFile."""
    made = _part(CLIPTokenizer, folder, source.name)
    longest = made.model_max_length
    if not isinstance(longest, (int, float)) or longest < 3:
        raise UnsafeFile(
            f"model {source.name} has model_max_length {longest!r} in {folder.name}/"
            "tokenizer_config.json but it must be a number from 3, 77 for CLIP."
        )
    made.model_max_length = min(int(longest), text.max_position_embeddings)
    if len(made) > text.vocab_size:
        raise UnsafeFile(
            f"model {source.name} has a tokenizer of {len(made)} words, and its text encoder knows"
            f" {text.vocab_size}; give it the tokenizer that it was trained with."
        )
    return made


def sampler_of(config: Mapping[str, Any]) -> str:
    """The sampler that a scheduler's configuration asks for, see SAMPLED."""
    return SAMPLED.get(config.get("_class_name"), DDIM)


def perturbed_of(source: Source) -> str:
    """The one of `config.PERTURBED` with which a base is drawn best, as its folder says."""
    file = source.folder / DRAWING if source.folder else None
    said = read_json(file) if file and file.is_file() else {}
    if not isinstance(said, dict):
        raise UnsafeFile(f"model {source.name} has a damaged {DRAWING}.")
    return check_choice("perturbed", said.get("perturbed", OFF), PERTURBED)


def empty_base(name: str = EMBEDDED) -> Base:
    """The base on the meta device: every name and shape and no weights, in well under a second. No
    tokenizer, no CLIP.
    """
    source = find_base(name)
    made = skeleton(source)
    scheduler = scheduler_of(made.scheduler, source.name)
    sampler = sampler_of(made.scheduler)
    return Base(source.name, None, made.unet, made.vae, made.text_encoder, None, scheduler, sampler)


def _from_folder(source: Source, words: Path, dtype: torch.dtype) -> list[Any]:
    """UNet, autoencoder and text encoder of a folder, each in the variant that is there."""
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    return [
        _part(kind, source.folder / part, source.name, dtype=dtype, variant=_variant(source, part))
        for part, kind in kinds.items()
    ]


def _variant(source: Source, part: str) -> str | None:
    return source.weights(part)[0].removeprefix(".") or None


def _from_file(source: Source, words: Path, dtype: torch.dtype) -> list[Any]:
    """The same of a checkpoint file, by diffusers' single-file loader."""
    from diffusers import StableDiffusionPipeline  # which takes a second to import

    try:
        with described(configurations(source), words) as folder:
            pipeline = StableDiffusionPipeline.from_single_file(
                str(source.file), config=str(folder), torch_dtype=dtype, local_files_only=True
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UnsafeFile(
            f"model {source.name} could not be read from {source.file.name}; download it again."
        ) from error
    parts = [pipeline.unet, pipeline.vae, pipeline.text_encoder]
    if any(value.is_meta for part in parts for value in part.parameters()):
        raise UnsafeFile(f"model {source.name} lacks tensors; download it again.")
    return parts


def _part(kind: type, folder: Path, name: str, **options):
    """One part of a model from a local folder, from safetensors only."""
    if "dtype" in options:
        options["use_safetensors"] = True  # without it diffusers falls back to pickles
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UnsafeFile(
            f"model {name} has a missing or damaged {folder.name} folder; restore it or download "
            "it again."
        ) from error
