"""The one denoising loop: DDIM without noise (Song et al. 2021).

Its callback serves progress, previews, cancelling and tracing, so no second loop is written
anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from spf.config import GUIDANCE
from spf.errors import BadInput, NotFinite
from spf.models import Base


@dataclass(frozen=True)
class Step:
    """What the callback gets after each denoising step. It may raise `Cancelled` to stop.

    path: original, or the name of a tuned variant. done of total counts the steps of all paths.
    latents [B,C,h,w] after the step; clean: the latents it was heading for (`Base.pictures` shows
    them), None where a drawing that is there is only looked at, before each step; predicted: the
    prediction that was used, in the network's own parametrisation (see `Base.predict`). difference
    [B,h,w] is there for tuned variants with maps only, sfcm [B,h,w] where they have a control map.
    """

    path: str
    index: int
    done: int
    total: int
    timestep: int
    latents: Tensor
    clean: Tensor | None = None
    predicted: Tensor | None = None
    difference: Tensor | None = None
    sfcm: Tensor | None = None


Callback = Callable[[Step], None]
Predict = Callable[[Tensor, Tensor], Tensor]
Adjust = Callable[[Tensor, int], Tensor]


def initial_latents(base: Base, seeds: Sequence[int]) -> Tensor:
    """Noise fp32 [B,C,h,w], one CPU generator for each image: image i depends on its seed only, not
    on batch or device. Latents stay in fp32 also where a base is in half precision.
    """
    shape = (1, base.latent_channels, *base.latent_sides)
    own = (torch.Generator().manual_seed(int(seed)) for seed in seeds)
    noise = [torch.randn(shape, generator=one, dtype=torch.float32) for one in own]
    if not noise:
        raise BadInput("seeds is empty but must hold one seed for each portrait.")
    return torch.cat(noise).to(base.device)


def denoise(
    base: Base, latents: Tensor, timestep: Tensor, states: Tensor, uncond: Tensor, guidance: float
) -> tuple[Tensor, Tensor]:
    """(guided, conditional) predictions in one UNet call; the conditional rows are the last ones of
    the batch.

    Classifier-free guidance, Ho and Salimans 2022; guidance 1 is none and halves the work.
    """
    states = states.expand(len(latents), -1, -1)
    if guidance == 1:
        found = base.predict(latents, timestep, states)
        return found, found
    both = torch.cat([uncond.expand(len(latents), -1, -1), states])
    with base.away(len(latents), timestep):
        blank, found = base.predict(torch.cat([latents, latents]), timestep, both).chunk(2)
    return blank + guidance * (found - blank), found


@contextmanager
def counting(base: Base) -> Iterator[list[int]]:
    """The rows of every call of the UNet inside the block."""
    found: list[int] = []
    hook = base.unet.register_forward_pre_hook(lambda _, inputs: found.append(len(inputs[0])))
    try:
        yield found
    finally:
        hook.remove()


def autocast(base: Base, precision: str) -> torch.autocast:
    """Inside the block matrices are multiplied in `precision`, fp32 (as they are) or bf16; latents
    stay as they are.
    """
    return torch.autocast(base.device.type, torch.bfloat16, enabled=precision == "bf16")


@torch.inference_mode()
def sample(
    base: Base,
    latents: Tensor,
    embeddings: Tensor,
    uncond: Tensor,
    *,
    steps: int = 25,
    guidance: float = GUIDANCE,
    callback: Callback | None = None,
    predict: Predict | None = None,
    adjust: Adjust | None = None,
) -> Tensor:
    """Clean latents [B,C,h,w] from noise, with the weights that are active now.

    embeddings and uncond [B or 1,77,D] are text states, the latter of the empty text or of a
    negative one.
    predict(latents, timestep) takes the place of the guided prediction; adjust(latents, index) may
    change the latents after a step. Raises NotFinite, and whatever the callback raises.
    """
    scheduler = base.new_scheduler(steps)
    predict = predict or (lambda z, t: denoise(base, z, t, embeddings, uncond, guidance)[0])
    for index, timestep in enumerate(scheduler.timesteps):
        predicted = predict(latents, timestep)
        if not torch.isfinite(predicted).all():
            raise NotFinite(
                f"The unet gave NaN or infinity at step {index + 1}; check its weights or lower "
                "the guidance."
            )
        moved = scheduler.step(predicted, timestep, latents)
        latents = adjust(moved.prev_sample, index) if adjust else moved.prev_sample
        if callback:
            callback(
                Step(
                    "",
                    index,
                    index + 1,
                    steps,
                    int(timestep),
                    latents,
                    moved.pred_original_sample,
                    predicted,
                )
            )
    return latents


def draw_texts(base: Base, texts: Sequence[str], seeds: Sequence[int], **how) -> Tensor:
    """Clean latents [B,C,h,w] of B texts, each from the noise of its seed, with the weights that
    are active now; how: see `sample`.
    """
    states, empty = base.encode_text(texts), base.encode_text([""])
    return sample(base, initial_latents(base, seeds), states, empty, **how)
