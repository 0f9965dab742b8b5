"""Samplers beside DDIM: each turns predictions into the latents of the next step, by diffusers' own
scheduler.

All take and give latents of one scale, x_t = sqrt(a) x_0 + sqrt(1 - a) eps, at whole timesteps, so
that predictions, guides and maps need not know which sampler draws.
"""

from __future__ import annotations

from typing import NamedTuple

from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler
from torch import Tensor

from .config import SAMPLERS
from .diffusion import Diffusion

DDIM, EULER, DPM = SAMPLERS
SCHEDULE = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("prediction_type", "timestep_spacing", "steps_offset", "rescale_betas_zero_snr"),
    "_use_default_values",  # of these diffusers knows that nobody asked for them
)
"""What a sampler takes of a base's configuration; all else in it belongs to another sampler, or
goes to timesteps that the network was not trained for, or clips.
"""


def _schedule(scheduler) -> dict:
    return {name: value for name, value in scheduler.config.items() if name in SCHEDULE}


class Moved(NamedTuple):
    """Latents after a step, and the clean latents that it was heading for, as diffusers' DDIM names
    them.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor


class Dpm:
    """DPM-Solver++ (2M), second order with one prediction a step. Lu et al. 2022 (arXiv
    2211.01095), Alg. 2.
    """

    def __init__(self, scheduler, steps: int) -> None:
        self.diffusion = Diffusion.of(scheduler)
        kind = {"algorithm_type": "dpmsolver++", "solver_order": 2}
        self.scheduler = DPMSolverMultistepScheduler.from_config(_schedule(scheduler), **kind)
        self.scheduler.set_timesteps(steps)
        self.timesteps = self.scheduler.timesteps

    def step(self, predicted: Tensor, timestep: Tensor, latents: Tensor) -> Moved:
        clean = self.diffusion.clean(predicted, latents, timestep)
        return Moved(self.scheduler.step(predicted, timestep, latents).prev_sample, clean)


class Euler:
    """Euler's method on dx/dsigma, with x / sqrt(a) for x. Karras et al. 2022 (arXiv 2206.00364),
    Sec. 3.
    """

    def __init__(self, scheduler, steps: int) -> None:
        self.diffusion = Diffusion.of(scheduler)
        self.scheduler = EulerDiscreteScheduler.from_config(_schedule(scheduler))
        self.scheduler.is_scale_input_called = True  # latents here are scaled already
        self.scheduler.set_timesteps(steps)
        whole = self.scheduler.timesteps.round().long()
        self.scheduler.set_timesteps(timesteps=whole.tolist())
        self.timesteps, self.sigmas = whole, self.scheduler.sigmas
        self.index = 0

    def step(self, predicted: Tensor, timestep: Tensor, latents: Tensor) -> Moved:
        here, there = ((1 + self.sigmas[self.index + k] ** 2) ** 0.5 for k in (0, 1))
        clean = self.diffusion.clean(predicted, latents, timestep)
        now = self.scheduler.timesteps[self.index]
        moved = self.scheduler.step(predicted, now, latents * here.to(latents)).prev_sample
        self.index += 1
        return Moved(moved / there.to(latents), clean)


def solver(sampler: str, scheduler, steps: int) -> Dpm | Euler:
    """A sampler of one run's own, for the noise schedule of `scheduler`."""
    return {EULER: Euler, DPM: Dpm}[sampler](scheduler, steps)
