"""AdaLoRA: LoRA whose ranks move, while it trains, to the layers that need them (Zhang et al. 2023,
arXiv 2303.10512).

PEFT brings the layers and the budget; the penalty and the call after every step, which PEFT leaves
out for a UNet without a word, are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from spf.config import choice, real, whole
from spf.errors import BadInput
from spf.injected import LAYERS, AdaLoraPaths, projections
from spf.losses import orthogonality
from spf.methods import Context, Method, MethodConfig, Rows, Terms, denoising
from spf.models import Base
from spf.paths import Adapter

FEWEST = 3
"""Steps of a run: one to see what is important, one that settles the ranks, one with the ranks
settled.
"""

ORDER = 3


@dataclass(frozen=True)
class AdaLoraConfig(MethodConfig):
    learning_rate: float = real(1e-2, 1e-8, 1.0, "peak learning rate")
    rank: int = whole(8, 1, 1024, "mean rank of the layers in the end")
    initial: int = whole(12, 2, 2048, "rank of every layer at the start; above the final mean")
    alpha: float = real(12.0, 0.001, 1e4, "the difference is multiplied by alpha / initial")
    layers: str = choice(
        "attention", LAYERS, "projections of all attention layers, or of cross-attention only"
    )
    warm: float = real(0.1, 0.0, 0.9, "share of the steps before ranks are taken away")
    final: float = real(0.45, 0.01, 0.9, "share of the steps, at the end, with the ranks settled")
    every: int = whole(10, 1, 10_000, "ranks are taken away at every so-many-th step")
    orthogonal: float = real(
        0.1, 0.0, 100.0, "weight of the penalty that keeps the directions orthonormal"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initial <= self.rank:
            raise BadInput(
                f"initial is {self.initial} but must be above rank, {self.rank}, or there is "
                "nothing to take away."
            )
        if self.warm + self.final >= 1:
            raise BadInput(
                f"warm and final are {self.warm:g} and {self.final:g} but must add up to less than "
                "1."
            )
        if self.average:
            raise BadInput(
                f"average is {self.average:g} but must be 0 for adalora: a mean brings back what "
                "was taken away."
            )


class AdaLora(Method):
    """Budget: the initial one while warm, then falling along a cubic to the final one, then
    settled.
    """

    name: ClassVar[str] = "adalora"
    Config = AdaLoraConfig
    config: AdaLoraConfig

    def check(self, base: Base, steps: int) -> None:
        super().check(base, steps)
        if steps < FEWEST:
            raise BadInput(f"steps is {steps} but must be at least {FEWEST} for adalora.")

    def paths(self, unet, steps: int, seed: int = 0, start: Adapter | None = None) -> AdaLoraPaths:
        c = self.config
        final = min(max(round(c.final * steps), 1), steps - 2)
        warm = min(round(c.warm * steps), steps - final - 1)
        return AdaLoraPaths(
            unet,
            projections(unet, c.layers),
            seed=seed,
            start=start,
            rank=c.rank,
            initial=c.initial,
            alpha=c.alpha,
            steps=steps,
            warm=warm,
            final=final,
            every=c.every,
        )

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        value, terms = denoising(batch, ctx, self.config)
        penalty = orthogonality(ctx.paths.directions())
        return value + self.config.orthogonal * penalty, terms | {"orthogonality": penalty}

    def after_step(self, ctx: Context) -> Terms:
        budget = ctx.paths.allocate(ctx.step + 1, ctx.memory)
        return {"budget": float(budget), "in use": float(ctx.paths.entries().count_nonzero())}
