"""The judges: small networks that read a drawn portrait back. They measure; nothing is ever trained
against them.

judges = Judges.load("checkpoints/judges")
reading = judges.read(images)        # attributes, identity and regions of each portrait
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spf.errors import BadInput
from spf.files import load_tensors, read_json, save_tensors, write_json
from spf.portraits.description import ATTRIBUTES, IDENTITY
from spf.portraits.render import REGIONS

WEIGHTS, CONFIG = "judges.safetensors", "config.json"
HEAD_SIDE = 4  # cells per side of the grid from which the heads read


@dataclass(frozen=True)
class Look:
    """What was read in one portrait.

    values: attribute -> value; probs: attribute -> [V]; regions int64 [H,W], index into REGIONS;
    picture [H,W,3] in [0,1]; formed: probability that the face is well formed, None without the
    judge of form.
    """

    values: dict[str, str]
    probs: dict[str, np.ndarray]
    regions: np.ndarray
    picture: np.ndarray
    formed: float | None = None


@dataclass(frozen=True)
class Reading:
    """values: attribute -> value, one dict an image; probs: attribute -> [B,V]; identity [B,10] of
    length 1; regions int64 [B,H,W], index into REGIONS; images [B,3,H,W] in [-1,1], what was read;
    formed [B]: probability that a face is well formed, None without the judge of form."""

    values: list[dict[str, str]]
    probs: dict[str, Tensor]
    identity: Tensor
    regions: Tensor
    images: Tensor
    formed: Tensor | None = None

    def look(self, index: int) -> Look:
        """What was read in one of the images."""
        return Look(
            self.values[index],
            {name: values[index].cpu().numpy() for name, values in self.probs.items()},
            self.regions[index].cpu().numpy(),
            (self.images[index].float().cpu().numpy().transpose(1, 2, 0) + 1) / 2,
            None if self.formed is None else float(self.formed[index]),
        )


class Block(nn.Module):
    """Convolution, batch norm, activation, twice; the first one may halve the picture."""

    def __init__(self, inner: int, outer: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm_first, self.norm_second = nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm_first(self.first(x)), inplace=True)
        return F.relu(self.norm_second(self.second(x)) + x)


class Reader(nn.Module):
    """A network that reads portraits of `image_size` pixels a side, and whose folder says how it is
    built."""

    image_size: int
    channels: tuple[int, ...]

    @torch.no_grad()
    def batches(
        self, images: Tensor, batch: int, work: Callable[[Tensor], tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """What `work` makes of images [B,3,H,W] in [-1,1], batch by batch, while the network reads
        and does not train. Raises BadInput for another shape."""
        if images.ndim != 4 or images.shape[1] != 3 or not len(images):
            raise BadInput(
                f"images have shape {tuple(images.shape)} but must be [B,3,H,W] with at least one "
                "image."
            )
        was_training = self.training
        self.eval()
        try:
            return [work(part) for part in images.split(batch)]
        finally:
            self.train(was_training)

    def sized(self, images: Tensor) -> Tensor:
        """Images [B,3,H,W] of any size as the network takes them: its side, device and
        precision."""
        own, side = next(self.parameters()), (self.image_size, self.image_size)
        images = images.to(own.device, own.dtype)
        if images.shape[-2:] == side:
            return images
        return F.interpolate(images, side, mode="bilinear", antialias=True)

    def write(self, folder: str | os.PathLike, weights: str, names: dict[str, Any]) -> None:
        """Write weights (half precision), and config.json with the sizes and what is read."""
        tensors = {
            k: v.half() if v.is_floating_point() else v for k, v in self.state_dict().items()
        }
        save_tensors(Path(folder) / weights, tensors)
        sizes = {"image_size": self.image_size, "channels": list(self.channels)}
        write_json(Path(folder) / CONFIG, sizes | names)

    @classmethod
    def built(
        cls, folder: str | os.PathLike, weights: str, config: dict[str, Any], device: Any
    ) -> Self:
        """The network of a folder's config and weights, ready to read."""
        reader = cls(config["image_size"], tuple(config["channels"]))
        reader.load_state_dict(load_tensors(Path(folder) / weights))
        return reader.to(device).eval()


class Judges(Reader):
    """One convolutional trunk with three outputs: a head per attribute, the identity, and a region
    for every pixel.

    form: the judge of form, whose reading goes with the others where there is one.
    """

    def __init__(self, image_size: int = 128, channels: tuple[int, ...] = (24, 48, 96, 144, 192)):
        super().__init__()
        self.form: Any = None
        self.image_size, self.channels = image_size, tuple(channels)
        self.trunk = nn.ModuleList(Block(i, o, 2) for i, o in pairwise((3, *channels)))
        up = list(pairwise(reversed(channels)))
        self.lateral = nn.ModuleList(nn.Conv2d(deep, shallow, 1) for deep, shallow in up)
        self.parser = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for _, c in up)
        self.region_head = nn.Conv2d(channels[0], len(REGIONS), 1)
        width = 2 * channels[-1] + 2 * channels[-2]
        self.attribute_head = nn.Linear(width, sum(len(values) for values in ATTRIBUTES.values()))
        self.identity_head = nn.Sequential(
            nn.Conv2d(channels[-2], 48, 1),
            nn.AdaptiveAvgPool2d(2 * HEAD_SIDE),
            nn.Flatten(),
            nn.ReLU(),
            nn.Linear(48 * 4 * HEAD_SIDE**2, 128),
            nn.ReLU(),
            nn.Linear(128, len(IDENTITY)),
        )

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """[B,3,S,S] in [-1,1] -> logits of each attribute [B,V], identity [B,10], region logits
        [B,R,S/2,S/2].
        """
        levels = []
        x = images
        for block in self.trunk:
            x = block(x)
            levels.append(x)
        pooled = [
            f(level)
            for level in levels[-2:]
            for f in (lambda v: v.mean((2, 3)), lambda v: v.amax((2, 3)))
        ]
        logits = self.attribute_head(torch.cat(pooled, 1)).split(
            [len(v) for v in ATTRIBUTES.values()], 1
        )
        identity = self.identity_head(levels[-2])
        for lateral, conv, level in zip(self.lateral, self.parser, levels[-2::-1], strict=True):
            x = F.interpolate(lateral(x), size=level.shape[-2:], mode="nearest") + level
            x = F.relu(conv(x))
        return dict(zip(ATTRIBUTES, logits, strict=True)), identity, self.region_head(x)

    def read(self, images: Tensor, batch: int = 64) -> Reading:
        """Read images float [B,3,H,W] in [-1,1], any size. Raises BadInput for another shape."""
        parts = self.batches(images, batch, self._read_batch)
        probs = {name: torch.cat([p[0][name] for p in parts]) for name in ATTRIBUTES}
        best = {name: p.argmax(1).tolist() for name, p in probs.items()}
        values = [
            {name: ATTRIBUTES[name][best[name][i]] for name in ATTRIBUTES}
            for i in range(len(images))
        ]
        identity, regions = (torch.cat([part[at] for part in parts]) for at in (1, 2))
        formed = None if self.form is None else self.form.read(images, batch).formed
        return Reading(values, probs, identity, regions, images, formed)

    def _read_batch(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        size = images.shape[-2:]
        logits, identity, regions = self(self.sized(images))
        regions = F.interpolate(regions.float(), size, mode="bilinear").argmax(1)
        return (
            {k: v.float().softmax(1) for k, v in logits.items()},
            F.normalize(identity.float(), dim=1),
            regions,
        )

    def save(self, folder: str | os.PathLike) -> None:
        """Write weights (half precision) and config.json into a folder."""
        names = {
            "attributes": {k: list(v) for k, v in ATTRIBUTES.items()},
            "regions": list(REGIONS),
        }
        self.write(folder, WEIGHTS, names)

    @classmethod
    def load(cls, folder: str | os.PathLike, device: str | torch.device = "cpu") -> Judges:
        """Read what `save` wrote, ready to read. Raises BadInput when they judge other attributes
        or regions.
        """
        config = read_json(Path(folder) / CONFIG)
        names = {k: tuple(v) for k, v in config["attributes"].items()}
        if names != ATTRIBUTES or tuple(config["regions"]) != REGIONS:
            raise BadInput(
                f"The judges in {folder} know other attributes or regions; train them again."
            )
        return cls.built(folder, WEIGHTS, config, device)
