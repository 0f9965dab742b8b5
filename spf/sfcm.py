"""The Semantic-Aware Fine Control Map: high where the target acts, so that the comparison of the paths must not hold it back.

Read off the figures of arXiv 2504.00396 (v1 and v3); the paper's equation was not available. What the figures leave open
is a named argument, and its default is our reading. Pure tensor functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from .config import check_choice

DISTANCES = ("1-cos", "half(1-cos)", "arccos", "arccos/pi")
POOLS = ("mean", "last")
CHANNELS = ("mean-abs", "l2")
SCALES = ("min-max", "max", "stretch", "none")
ENDS = ("clip-renormalise", "clip")


class Step(NamedTuple):
    """One stage of the subtraction chain: what was taken away (None at the start and end) and the map after it [B,H,W]."""

    phrase: int | None
    map: Tensor


def noise_difference(eps_res: Tensor, eps_ref: Tensor, channels: str = "mean-abs") -> Tensor:
    """N = |eps_res - eps_ref|, reduced over channels: [B,C,H,W] twice -> [B,H,W]. arXiv 2504.00396 Fig. 2; the
    reduction is our choice: "mean-abs" or "l2"."""
    check_choice("channels", channels, CHANNELS)
    difference = eps_res.float() - eps_ref.float()
    return difference.abs().mean(1) if channels == "mean-abs" else difference.norm(dim=1)


def phrase_distances(
    states: Tensor,
    phrases: Sequence[Sequence[int]],
    target: Sequence[int],
    form: str = "1-cos",
    pool: str = "mean",
) -> Tensor:
    """D_CLIP(E_base^res[p], E_tar): how far each phrase is from the target, [P], large when unrelated.

    states [T,D] are the text states of the complete prompt (v3 takes both embeddings from it); phrases and target are
    token columns. Form of the distance and pooling over tokens are our choice. Without a target every distance is 1.
    """
    check_choice("form", form, DISTANCES), check_choice("pool", pool, POOLS)
    if not target or not phrases:
        return states.new_ones(len(phrases), dtype=torch.float32)
    states = states.float()
    embeddings = torch.stack([_pooled(states, columns, pool) for columns in phrases])
    cosine = cosine_similarity(embeddings, _pooled(states, target, pool)[None]).clamp(-1, 1)
    if form.startswith("arccos"):
        return cosine.arccos() / (math.pi if form == "arccos/pi" else 1)
    return (1 - cosine) / (2 if form == "half(1-cos)" else 1)


def _pooled(states: Tensor, columns: Sequence[int], pool: str) -> Tensor:
    return states[list(columns)].mean(0) if pool == "mean" else states[max(columns)]


def scaled(maps: Tensor, scale: str = "min-max") -> Tensor:
    """Brings maps [...,H,W] to a common scale, each by itself; a constant map becomes 0. Which scale is our choice.

    "min-max" to [0,1]; "max" divides by the maximum; "stretch" runs from the median to the 97th percentile, clipped.
    """
    check_choice("scale", scale, SCALES)
    if scale == "none":
        return maps
    flat = maps.flatten(-2)
    low = flat.amin(-1)
    high = flat.amax(-1)
    if scale == "max":
        low = torch.zeros_like(low)
    elif scale == "stretch":
        low, high = torch.quantile(flat, torch.tensor([0.5, 0.97], device=flat.device, dtype=flat.dtype), dim=-1)
    spread = (high - low)[..., None, None]
    even = spread <= 1e-12
    result = (maps - low[..., None, None]) / torch.where(even, 1.0, spread)
    return torch.where(even, 0.0, result.clamp(0, 1) if scale == "stretch" else result)


def sfcm(
    eps_res: Tensor,
    eps_ref: Tensor,
    phrase_maps: Tensor,
    distances: Tensor,
    *,
    channels: str = "mean-abs",
    scale: str = "min-max",
    end: str = "clip-renormalise",
    threshold: float | None = None,
    detach: bool = True,
    steps: bool = False,
) -> Tensor | tuple[Tensor, list[Step]]:
    """SFCM = N - sum_p D_p * Map_p, clipped at 0. arXiv 2504.00396 Fig. 2; scales and the end of the chain are our choice.

    eps_res, eps_ref: noise predictions [B,C,H,W] of the response and the reference path at one latent and timestep.
    phrase_maps: [B,P,h,w], one cross-attention map for each base phrase (PAD is not among them), any h, w.
    distances: [B,P], see `phrase_distances`; 0 leaves a phrase out. Returns [B,H,W] in [0,1].
    scale: common scale of N and the maps, see `scaled`. end: "clip-renormalise" clips at 0 and divides by the maximum.
    threshold: if given, values below it become 0 and the others 1. detach: no gradient flows into or through the map.
    steps: also returns every map of the chain in order: N, after each subtraction, and the result.
    """
    check_choice("end", end, ENDS)
    if detach:
        eps_res, eps_ref, phrase_maps, distances = (value.detach() for value in (eps_res, eps_ref, phrase_maps, distances))
    control = scaled(noise_difference(eps_res, eps_ref, channels), scale)
    chain = [Step(None, control)]
    if phrase_maps.shape[1]:
        enlarged = interpolate(phrase_maps.float(), control.shape[-2:], mode="bilinear", align_corners=False)
        removed = distances.float()[..., None, None] * scaled(enlarged, scale)  # [B,P,H,W]
        for phrase, part in enumerate(removed.unbind(1)):
            control = control - part
            chain.append(Step(phrase, control))
    control = scaled(control.clamp(min=0), "max") if end == "clip-renormalise" else control.clamp(0, 1)
    if threshold is not None:
        control = (control >= threshold).to(control.dtype)
    chain.append(Step(None, control))
    return (control, chain) if steps else control
