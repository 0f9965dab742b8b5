"""LoRA: low-rank layers beside the attention projections, the diffusion loss on the complete text
(Hu et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from spf.config import choice, real, whole
from spf.injected import LAYERS, LoraPaths, projections
from spf.methods import Context, Method, MethodConfig, Rows, Terms, denoising
from spf.paths import Adapter

ORDER = 2


@dataclass(frozen=True)
class LoraConfig(MethodConfig):
    learning_rate: float = real(1e-3, 1e-8, 1.0, "peak learning rate")
    rank: int = whole(64, 1, 1024, "rank of every layer")
    alpha: float = real(64.0, 0.001, 1e4, "the difference is multiplied by alpha / rank")
    layers: str = choice(
        "attention", LAYERS, "projections of all attention layers, or of cross-attention only"
    )


class Lora(Method):
    """q, k, v and out of the UNet's attention; everything else stays as it is."""

    name: ClassVar[str] = "lora"
    Config = LoraConfig
    config: LoraConfig

    def paths(self, unet, steps: int, seed: int = 0, start: Adapter | None = None) -> LoraPaths:
        c = self.config
        return LoraPaths(
            unet, projections(unet, c.layers), seed=seed, start=start, rank=c.rank, alpha=c.alpha
        )

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        return denoising(batch, ctx, self.config)
