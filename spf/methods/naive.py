"""Naive fine-tuning: every weight of the UNet, the diffusion loss on the complete text, nothing
else. The contrast to SPF.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from spf.config import AUTO, choice
from spf.methods import Context, Method, MethodConfig, Rows, Terms, denoising
from spf.paths import TRAINABLE, trained_names

ORDER = 1


@dataclass(frozen=True)
class NaiveConfig(MethodConfig):
    trainable: str = choice(
        AUTO,
        TRAINABLE,
        "which weights train; auto is all of a small network, cross-attention of a large one",
    )


class Naive(Method):
    """Text encoder and autoencoder stay as they are."""

    name: ClassVar[str] = "naive"
    Config = NaiveConfig
    config: NaiveConfig

    def parameter_names(self, unet) -> list[str]:
        return trained_names(unet, self.config.trainable)

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        return denoising(batch, ctx, self.config)
