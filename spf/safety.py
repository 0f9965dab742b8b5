"""The safety checker of Stable Diffusion 1.x, which looks at what a real model drew for a page.

    checker = load_checker(base.folder, base.device)     # None where none is on this machine
    found = checker.finds(pictures)                      # bool [B]

It compares CLIP embeddings with those of fixed concepts; what it finds and what it misses is
described by Rando et al. 2022, arXiv 2210.04610.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors import SafetensorError
from torch.nn.functional import interpolate

from .bases.hub import checker_source
from .errors import UnsafeFile
from .files import read_json

log = logging.getLogger(__name__)
FOLDER, SCALES = "safety_checker", "feature_extractor/preprocessor_config.json"
DAMAGED = (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError)
"""What reading a checker raises when its files are not whole."""
MOSAIC = 6
"""Squares along the side of a picture that is only hinted at."""


class Checker:
    """mean, deviation: of the pixels in [0,1] that its CLIP expects."""

    def __init__(
        self,
        model: StableDiffusionSafetyChecker,
        mean: Sequence[float],
        deviation: Sequence[float],
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        scales = (torch.tensor(row, device=model.device) for row in (mean, deviation))
        self.mean, self.deviation = (row.view(1, 3, 1, 1) for row in scales)

    @torch.inference_mode()
    def finds(self, pictures: np.ndarray) -> np.ndarray:
        """Which of the uint8 pictures [B,H,W,3] are not for everybody, bool [B]."""
        side = self.model.config.vision_config.image_size
        pixels = torch.from_numpy(np.array(pictures)).to(self.model.device).permute(0, 3, 1, 2)
        small = interpolate(pixels / 255, (side, side), mode="bicubic", antialias=True)
        scaled = ((small - self.mean) / self.deviation).to(self.model.dtype)
        _, found = self.model(clip_input=scaled, images=[np.zeros(1)] * len(scaled))
        return np.asarray(found, bool)


def checker_folder(folder: Path | None) -> Path | None:
    """The folder that has the checker: a base's own, or the one in the cache, or None."""
    own = folder is not None and any((Path(folder) / FOLDER).glob("model*.safetensors"))
    return Path(folder) if own else checker_source()


def load_checker(folder: Path | None, device: torch.device | str) -> Checker | None:
    """The checker of a base's folder or of the cache; None where there is none. Raises
    UnsafeFile for one that is damaged.
    """
    place = checker_folder(folder)
    if place is None:
        return None
    try:
        variant = "fp16" if (place / FOLDER / "model.fp16.safetensors").is_file() else None
        model = StableDiffusionSafetyChecker.from_pretrained(
            place / FOLDER, use_safetensors=True, variant=variant, dtype=torch.float32
        )
        scales = read_json(place / SCALES)
        return Checker(model.to(device), scales["image_mean"], scales["image_std"])
    except DAMAGED as error:
        raise UnsafeFile(
            f"The safety checker in {place.name} is damaged; fetch it again."
        ) from error


def mosaic(picture: np.ndarray) -> np.ndarray:
    """Mean colours of a few squares of uint8 [H,W,3]: enough to see that something is there."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    few = interpolate(pixels, (MOSAIC, MOSAIC), mode="area")
    shown = interpolate(few, picture.shape[:2], mode="nearest")
    return shown.round().byte()[0].permute(1, 2, 0).numpy()
