"""Naive fine-tuning: every weight of the UNet, the diffusion loss on the complete text, nothing else. The contrast to SPF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from spf.config import choice
from spf.methods import Context, Method, MethodConfig, Rows, Terms, denoising
from spf.paths import all_names, cross_attention_names

ORDER = 1


@dataclass(frozen=True)
class NaiveConfig(MethodConfig):
    trainable: str = choice("all", ("all", "cross-attention"), "which weights train")


class Naive(Method):
    """Text encoder and autoencoder stay as they are."""

    name: ClassVar[str] = "naive"
    Config = NaiveConfig
    config: NaiveConfig

    def parameter_names(self, unet) -> list[str]:
        return all_names(unet) if self.config.trainable == "all" else cross_attention_names(unet)

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        return denoising(batch, ctx, self.config)
