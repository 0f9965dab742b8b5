"""One object with the parts of a Stable Diffusion base, which encodes, predicts and decodes with
them.

All sizes come from the checkpoint. `spf.bases.reading` makes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from transformers import (
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedModel,
    VisionTextDualEncoderModel,
)

from .attention import unmixed
from .bases.hub import clip_source
from .bases.source import read_part
from .config import EMBEDDED, PERTURBED, SAMPLERS, check_choice
from .diffusion import Diffusion
from .errors import BadInput, NotFinite
from .files import read_json
from .pixels import as_pictures, middle
from .solvers import DDIM, Dpm, Euler, solver
from .weights import Loaded, sketch

CLIP_WORDS = 49408
"""Size of CLIP's own vocabulary."""
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
        model = read_part(kind, folder, self.name, dtype=self.vae.dtype)
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


def clip_folder(base: Base) -> Path | None:
    """Where the CLIP of a base lies: beside it, in it, or ViT-L/14 in the cache if it has CLIP's
    own words.
    """
    places = (base.folder.parent / "clip", base.folder / "clip") if base.folder else ()
    found = next((place for place in places if (place / "config.json").is_file()), None)
    if found or base.name == EMBEDDED or len(base.tokenizer) != CLIP_WORDS:
        return found
    return clip_source()
