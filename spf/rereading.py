"""A finished portrait read once more: where each of its places looks, and where words would act
that are not in its text.

Its latents get the noise of a few steps again, and the network reads them once at each, with the
weights and the text that drew them. Nothing is drawn, so no picture changes by being looked at, and
nothing is recorded before somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .attention import Grid, Heard, aggregate, attention_layers, hear, probabilities, record
from .models import Base
from .prompts import compose

LEVELS = 4
"""How many steps of a drawing are read."""
PLACES, FINEST = 8, 16
"""Longest sides of the grid of places that look, and of the maps of where they look: with LEVELS
they bound what a reading holds.
"""


@dataclass(frozen=True)
class Reading:
    """What was read of one portrait at the `steps` of its drawing, counted from 0; L of them.

    looks: float32 [L,p,q,h,w], where each of p x q places looks (self-attention, averaged over
    heads and over the layers of that size; 1 in sum); None where words were asked for. word:
    float32 [L,h,w], the attention to these.
    """

    steps: tuple[int, ...]
    looks: np.ndarray | None = None
    word: np.ndarray | None = None


@torch.inference_mode()
def reread(
    base: Base, latents: Tensor, noise: Tensor, text: str, steps: int, word: str = ""
) -> Reading:
    """Reads clean latents [1,C,h,w], drawn from `noise` in so many steps, with the weights that are
    active now and the text that they were drawn from.

    word: words that are added to the text for this reading alone. Raises BadInput where they do not
    fit into it.
    """
    timesteps = base.new_scheduler(steps).timesteps
    found = [int((level + 0.5) * len(timesteps) / LEVELS) for level in range(LEVELS)]
    found = tuple(dict.fromkeys(found))
    prompt = compose(text, (word,) if word else ())
    groups = prompt.groups(base.tokenizer, "complete")
    states = base.encode_text([prompt.complete])
    rows = []
    with (
        record(base.unet, groups, largest=2 * FINEST) as shown,
        hear(base.unet, largest=FINEST) as all_heard,
    ):
        for index in found:
            timestep = timesteps[index].long()
            base.predict(base.diffusion.noised(latents, noise, timestep), timestep, states)
            if word:
                maps = aggregate(shown, shown.sides(max(shown.resolutions)))
                rows.append(maps[prompt.target_phrases[0].text][0])
            else:
                rows.append(looks(base, all_heard))
    read = torch.stack(rows).float().cpu().numpy()
    return Reading(found, word=read) if word else Reading(found, looks=read)


def looks(base: Base, heard: Heard) -> Tensor:
    """[p,q,h,w] of the first row of what was heard: where each place looks, in the finest of the
    layers.
    """
    layers, grid = attention_layers(base.unet), Grid(base.latent_sides)
    own = {name: pair for name, pair in heard.items() if name.endswith("attn1")}
    most = max(query.shape[1] for query, _ in own.values())
    maps = [
        probabilities(layers[name], query[:1], key[:1]).mean(1)[0]
        for name, (query, key) in own.items()
        if query.shape[1] == most
    ]
    sides = grid.of(most)
    seen = torch.stack(maps).mean(0).unflatten(0, sides)  # [h,w,N], each place as it looks
    small = tuple(min(side, PLACES) for side in sides)
    pooled = adaptive_avg_pool2d(seen.permute(2, 0, 1), small)  # [N,p,q]
    return pooled.permute(1, 2, 0).unflatten(2, sides)
