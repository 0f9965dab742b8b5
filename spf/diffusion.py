"""The diffusion process: what noise makes of a clean latent, and what a network's prediction says
about both.

x_t = sqrt(a) x_0 + sqrt(1 - a) eps, where a is alpha-bar of the timestep, the signal's share of the
variance: near 1 for a clean latent, 0 for noise alone (zero terminal SNR, arXiv 2305.08891). A
network predicts one of

    epsilon        eps                                   Ho et al. 2020
    v_prediction   v = sqrt(a) eps - sqrt(1 - a) x_0     Salimans and Ho 2022 (arXiv 2202.00512)
    sample         x_0

Guidance, blends and differences of predictions on one latent need no conversion: eps, v and x_0 are
affine in one another, so they come out alike whichever is taken. They are made in the network's own
parametrisation, which is also right where a = 0 and eps no longer tells anything of x_0. Pure
tensor functions; latents [B,C,h,w], signal (a) [B] or [].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .config import check_choice

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def noised(clean: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) eps. Ho et al. 2020, Eq. 4."""
    amplitude, spread = amplitudes(signal, clean)
    return amplitude * clean + spread * noise


def velocity(clean: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """v = sqrt(a) eps - sqrt(1 - a) x_0. arXiv 2202.00512, Sec. 4."""
    amplitude, spread = amplitudes(signal, clean)
    return amplitude * noise - spread * clean


def noise_from_velocity(v: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
    """eps = sqrt(a) v + sqrt(1 - a) x_t. arXiv 2202.00512, App. D."""
    amplitude, spread = amplitudes(signal, latents)
    return amplitude * v + spread * latents


def clean_from_velocity(v: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
    """x_0 = sqrt(a) x_t - sqrt(1 - a) v, at a = 0 simply -v. arXiv 2202.00512, Sec. 4."""
    amplitude, spread = amplitudes(signal, latents)
    return amplitude * latents - spread * v


def noise_from_clean(clean: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
    """eps = (x_t - sqrt(a) x_0) / sqrt(1 - a), for a below 1. Ho et al. 2020, Eq. 4."""
    amplitude, spread = amplitudes(signal, latents)
    return (latents - amplitude * clean) / spread


def clean_from_noise(noise: Tensor, latents: Tensor, signal: Tensor) -> Tensor:
    """x_0 = (x_t - sqrt(1 - a) eps) / sqrt(a), for a above 0. Song et al. 2021 (DDIM), Eq. 9."""
    amplitude, spread = amplitudes(signal, latents)
    return (latents - spread * noise) / amplitude


def amplitudes(signal: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(sqrt(a), sqrt(1 - a)), each [B or 1,1,1,1], rounded to the kind of `like` only at the
    end.
    """
    signal = signal.to(like.device).reshape(-1, 1, 1, 1)
    return signal.sqrt().to(like), (1 - signal).sqrt().to(like)


def min_snr(signal: Tensor, gamma: float, prediction: str) -> Tensor:
    """Weights [B] of a squared error, min(SNR, gamma) over SNR, SNR + 1 or 1, by what is predicted.
    arXiv 2303.09556, Sec. 3.4.

    With them the loss is min(SNR, gamma) |x_0 - predicted x_0|^2 in every parametrisation. Of a
    velocity that is nearly nothing at high noise, where a portrait is laid out; gamma 0 is none:
    every error of the network's own prediction counts alike, as it did in its training.
    """
    check_choice("prediction", prediction, PREDICTIONS)
    if gamma == 0:
        return torch.ones_like(signal)

    snr = signal / (1 - signal)
    kept = snr.clamp(max=gamma)
    if prediction == "epsilon":
        return torch.where(snr > 0, kept / snr, 1.0)
    return kept / (snr + 1) if prediction == "v_prediction" else kept


@dataclass(frozen=True)
class Diffusion:
    """The noise schedule of a model, and what its network predicts.

    prediction: one of PREDICTIONS; signals [T]: alpha-bar of every timestep. Timesteps are int64
    [B] or [].
    """

    prediction: str
    signals: Tensor

    @classmethod
    def of(cls, scheduler) -> Self:
        """That of a diffusers scheduler. Raises BadInput for a prediction that is none of
        PREDICTIONS.
        """
        prediction = scheduler.config.prediction_type
        check_choice("prediction_type", prediction, PREDICTIONS)
        return cls(prediction, scheduler.alphas_cumprod)

    @property
    def steps(self) -> int:
        """Timesteps of the training."""
        return len(self.signals)

    @property
    def ends_in_noise(self) -> bool:
        """Whether nothing of the picture is left at the last timestep (zero terminal SNR)."""
        return float(self.signals.min()) == 0

    def signal(self, timesteps: Tensor | int) -> Tensor:
        """alpha-bar of the timesteps, [B] or []."""
        timesteps = torch.as_tensor(timesteps)
        return self.signals.to(timesteps.device)[timesteps]

    def noised(self, clean: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        """Clean latents with noise, as they are at the timesteps."""
        return noised(clean, noise, self.signal(timesteps))

    def ideal(self, clean: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        """What a network that knew both would predict: the goal of its training."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return clean
        return velocity(clean, noise, self.signal(timesteps))

    def noise(self, predicted: Tensor, latents: Tensor, timesteps: Tensor | int) -> Tensor:
        """The noise that a prediction sees in the latents; at zero SNR that is the latents
        themselves.
        """
        if self.prediction == "epsilon":
            return predicted
        convert = noise_from_clean if self.prediction == "sample" else noise_from_velocity
        return convert(predicted, latents, self.signal(timesteps))

    def clean(self, predicted: Tensor, latents: Tensor, timesteps: Tensor | int) -> Tensor:
        """The clean latents that a prediction leads to in one step."""
        if self.prediction == "sample":
            return predicted
        convert = clean_from_noise if self.prediction == "epsilon" else clean_from_velocity
        return convert(predicted, latents, self.signal(timesteps))

    def weights(self, timesteps: Tensor | int, gamma: float) -> Tensor:
        """Min-SNR weights [B] of the squared error of the network's own predictions."""
        return min_snr(self.signal(timesteps), gamma, self.prediction)
