"""PureCC: the tuned model may differ from itself on the base text only by what the target brings
(arXiv 2603.07561).

Stage 1 fine-tunes low-rank layers plainly; what they then add for the target's text alone is the
representation bias. Stage 2 starts again from the original weights, and its difference between
complete and base text is drawn to its own projection on that bias. Our reading: predictions are the
network's own (noise or v) instead of a flow's velocity, which scales both sides of the equation
alike; the target's own words stand for the concept, so no token is added; the published code
differs from the paper (a constant scale, among others), and the paper's form is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from spf.config import choice, real, whole
from spf.errors import BadInput
from spf.injected import LAYERS, LoraPaths, projections
from spf.losses import prediction_error, projection, pure_goal
from spf.methods import Context, Method, MethodConfig, Rows, Terms, denoising
from spf.models import Base
from spf.paths import Adapter, exchanged

EXTRACTOR = "extractor "
"""Start of the names, in the memory of a run, of the weights that stage 1 ended with."""

ORDER = 5


@dataclass(frozen=True)
class PureCCConfig(MethodConfig):
    learning_rate: float = real(1e-3, 1e-8, 1.0, "peak learning rate")
    rank: int = whole(4, 1, 1024, "rank of every layer")
    alpha: float = real(4.0, 0.001, 1e4, "the difference is multiplied by alpha / rank")
    layers: str = choice(
        "attention", LAYERS, "projections of all attention layers, or of cross-attention only"
    )
    extract: float = real(0.5, 0.01, 0.99, "stage 1: share of the steps that train the extractor")
    pure: float = real(1.0, 0.0, 1e4, "eta, weight of the pure loss in stage 2")
    scale: str = choice(
        "projected",
        ("projected", "fixed"),
        "lambda from the projection (paper), or constant (published code)",
    )
    fixed: float = real(1.0, 0.0, 100.0, "lambda, if it is constant")
    base: str = choice(
        "trained",
        ("trained", "detached", "original"),
        "prediction for the base text: trained too, or held",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average:
            raise BadInput(
                f"average is {self.average:g} but must be 0 for purecc, whose second stage starts "
                "anew."
            )


class PureCC(Method):
    """Two stages in one run; the optimiser goes on over the border."""

    name: ClassVar[str] = "purecc"
    Config = PureCCConfig
    config: PureCCConfig

    def check(self, base: Base, steps: int) -> None:
        super().check(base, steps)
        if steps < 2:
            raise BadInput(
                f"steps is {steps} but must be at least 2 for purecc, one for each stage."
            )

    def paths(self, unet, steps: int, seed: int = 0, start: Adapter | None = None) -> LoraPaths:
        c = self.config
        return LoraPaths(
            unet, projections(unet, c.layers), seed=seed, start=start, rank=c.rank, alpha=c.alpha
        )

    def _border(self, steps: int) -> int:
        """The first step of stage 2."""
        return min(max(round(self.config.extract * steps), 1), steps - 1)

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        if ctx.step < self._border(ctx.steps):
            return denoising(batch, ctx, self.config)
        c = self.config
        noise, timesteps = ctx.normal(batch.latents), ctx.timesteps(len(batch), c.lean)
        latents = ctx.diffusion.noised(batch.latents, noise, timesteps)
        ideal = ctx.diffusion.ideal(batch.latents, noise, timesteps)
        weights = ctx.diffusion.weights(timesteps, c.snr)

        complete = ctx.predict(latents, timesteps, batch.complete)
        plain = self._plain(batch, latents, timesteps, ctx)
        bias = representation_bias(latents, timesteps, ctx)
        lam = (
            projection(complete - plain, bias)
            if c.scale == "projected"
            else torch.full_like(weights, c.fixed)
        )
        terms = {
            "diffusion": prediction_error(complete, ideal, weights),
            "pure": prediction_error(complete, pure_goal(plain, bias, lam), weights),
        }
        return terms["diffusion"] + c.pure * terms["pure"], terms | {"lambda": lam.mean()}

    def _plain(self, batch: Rows, latents: Tensor, timesteps: Tensor, ctx: Context) -> Tensor:
        """The prediction for the base text."""
        if self.config.base == "original":
            with ctx.paths.reference():
                return ctx.predict(latents, timesteps, batch.base)
        with torch.set_grad_enabled(self.config.base == "trained" and torch.is_grad_enabled()):
            return ctx.predict(latents, timesteps, batch.base)

    def after_step(self, ctx: Context) -> Terms:
        if ctx.step + 1 == self._border(ctx.steps):
            ctx.memory |= {
                EXTRACTOR + name: value.detach().clone()
                for name, value in ctx.paths.parameters.items()
            }
            ctx.paths.restore()
        return {}


@torch.no_grad()
def representation_bias(latents: Tensor, timesteps: Tensor, ctx: Context) -> Tensor:
    """R_tar = v_1(x_t | target) - v_1(x_t | nothing) [B,C,h,w], with the weights that stage 1 ended
    with. PureCC.
    """
    weights = {
        name.removeprefix(EXTRACTOR): value.to(latents)
        for name, value in ctx.memory.items()
        if name.startswith(EXTRACTOR)
    }
    count = len(latents)
    states = torch.cat((ctx.target.expand(count, -1, -1), ctx.empty.expand(count, -1, -1)))
    with exchanged(ctx.paths.parameters, weights):
        both = ctx.predict(torch.cat((latents, latents)), torch.cat((timesteps, timesteps)), states)
    return both[:count] - both[count:]
