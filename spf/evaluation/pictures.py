"""Pictures as the judges see them, and the folder of those that were drawn before: an original
portrait is drawn once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spf.evaluation.columns import levels
from spf.evaluation.judges import Judges, Reading
from spf.evaluation.measures import SURE
from spf.files import atomic
from spf.models import Base
from spf.pixels import as_pixels


@dataclass
class Seen:
    """Pictures [B,H,W,3] in [0,1] and what the judges and CLIP see in them; clear: of which
    attributes the judges are SURE; reading: all that they read.

    clip [B,E] and features, judge features by level [B,C,h,w], are None where they were not asked
    for or there is no CLIP.
    """

    images: np.ndarray
    values: list[dict[str, str]]
    clear: list[set[str]]
    identity: np.ndarray
    regions: np.ndarray
    reading: Reading
    clip: np.ndarray | None = None
    features: list[Tensor] | None = None


def see(base: Base, judges: Judges, pictures: np.ndarray, closely: bool = True) -> Seen:
    """Reads uint8 pictures [B,H,W,3]; closely: also CLIP's and the judges' features."""
    pixels = as_pixels(pictures)
    seen = judges.read(pixels)
    found = Seen(
        pictures / 255,
        seen.values,
        clear(seen.probs),
        seen.identity.cpu().numpy(),
        seen.regions.cpu().numpy(),
        seen,
    )
    if closely:
        found.features = levels(judges, pixels)
        if base.clip is not None:
            with torch.inference_mode():
                found.clip = (
                    base.clip_images(pixels.to(base.device, base.dtype)).float().cpu().numpy()
                )
    return found


def clear(probs: Mapping[str, Tensor]) -> list[set[str]]:
    """The attributes of each picture whose most likely value has at least SURE, of probabilities
    name -> [B,V].
    """
    best = {name: (values.amax(1) >= SURE).tolist() for name, values in probs.items()}
    return [
        {name for name in best if best[name][row]} for row in range(len(next(iter(best.values()))))
    ]


@dataclass(frozen=True)
class Album:
    """A folder of pictures by key."""

    folder: Path

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.png"

    def keep(self, keys: Sequence[str], pictures: np.ndarray) -> None:
        for key, picture in zip(keys, pictures, strict=True):
            with atomic(self.path(key)) as draft:
                Image.fromarray(picture).save(draft)

    def get(self, key: str) -> np.ndarray | None:
        """uint8 [H,W,3]; None when it is not there or damaged."""
        try:
            with Image.open(self.path(key)) as image:
                return np.asarray(image.convert("RGB"))
        except OSError:
            return None
