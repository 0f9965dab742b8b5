"""Whether a drawn face is well formed, as people see it: two eyes that match, a nose, a mouth,
nothing smeared or torn.

    judge = FormJudge.load("checkpoints/form")
    form = judge.read(images)            # how well formed each face is, and where its parts lie

The judges of attributes read what a face shows and not whether it is one; this network was trained
on nothing but the renderer's geometry and on faces spoilt on purpose
(`spf.portraits.pretrain.deform`). It measures; nothing trains against it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from spf.errors import BadInput
from spf.evaluation.judges import CONFIG, Block, Reader
from spf.files import read_json
from spf.portraits.render import LANDMARKS

WEIGHTS = "form.safetensors"
GRID = 8  # cells a side from which the head reads


@dataclass(frozen=True)
class Form:
    """formed [B]: probability that the face is well formed; landmarks [B,P,2]: x and y in parts of
    the side."""

    formed: Tensor
    landmarks: Tensor

    def well(self, threshold: float = 0.5) -> Tensor:
        """bool [B]: the faces that count as well formed."""
        return self.formed >= threshold


class FormJudge(Reader):
    """A convolutional trunk whose head reads, from a grid, where the parts of the face lie and
    whether all is well."""

    def __init__(self, image_size: int = 128, channels: tuple[int, ...] = (24, 48, 96, 128)):
        super().__init__()
        self.image_size, self.channels = image_size, tuple(channels)
        self.trunk = nn.Sequential(*(Block(i, o, 2) for i, o in pairwise((3, *channels))))
        self.head = nn.Sequential(
            nn.Conv2d(channels[-1], 64, 1),
            nn.AdaptiveAvgPool2d(GRID),
            nn.Flatten(),
            nn.ReLU(),
            nn.Linear(64 * GRID**2, 128),
            nn.ReLU(),
            nn.Linear(128, 1 + 2 * len(LANDMARKS)),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B,3,S,S] in [-1,1] -> logit of being well formed [B], landmarks [B,P,2]."""
        out = self.head(self.trunk(images))
        return out[:, 0], 0.5 + out[:, 1:].view(len(out), -1, 2)

    def read(self, images: Tensor, batch: int = 64) -> Form:
        """Read images float [B,3,H,W] in [-1,1], any size. Raises BadInput for another shape."""
        parts = self.batches(images, batch, lambda part: self(self.sized(part)))
        logits, landmarks = (torch.cat(some).float() for some in zip(*parts, strict=True))
        return Form(logits.sigmoid(), landmarks)

    def save(self, folder: str | os.PathLike) -> None:
        """Write weights (half precision) and config.json into a folder."""
        self.write(folder, WEIGHTS, {"landmarks": list(LANDMARKS)})

    @classmethod
    def load(cls, folder: str | os.PathLike, device: str | torch.device = "cpu") -> FormJudge:
        """Read what `save` wrote, ready to read. Raises BadInput when it knows other parts of the
        face."""
        config = read_json(Path(folder) / CONFIG)
        if tuple(config["landmarks"]) != LANDMARKS:
            raise BadInput(f"The judge in {folder} knows other parts of the face; train it again.")
        return cls.built(folder, WEIGHTS, config, device)
