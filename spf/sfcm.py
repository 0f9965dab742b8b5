"""The Semantic-Aware Fine Control Map: high where the target acts and the paths may differ, low
where they must agree.

Read off the figures of arXiv 2504.00396 (v1 and v3); the paper's equation was not available. What
the figures leave open is a named argument, and its default is our reading. Pure tensor functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cosine_similarity, interpolate

from .config import Config, check_choice, choice, real, whole
from .errors import BadInput

DISTANCES = ("1-cos", "half(1-cos)", "arccos", "arccos/pi")
POOLS = ("mean", "last")
CHANNELS = ("mean-abs", "l2")
SCALES = ("min-max", "max", "stretch", "none")
ENDS = ("clip-renormalise", "clip")
SOURCES = ("chain", "noise", "target", "product")


@dataclass(frozen=True)
class SfcmConfig(Config):
    """Our reading of everything that the figures leave open about the map; the defaults are what we
    tried first.
    """

    channels: str = choice("mean-abs", CHANNELS, "reduction of the noise difference over channels")
    scale: str = choice("min-max", SCALES, "common scale of noise difference and phrase maps")
    end: str = choice("clip-renormalise", ENDS, "end of the subtraction chain")
    threshold: float = real(0.0, 0.0, 1.0, "makes the map hard at this value; 0 leaves it soft")
    distance: str = choice(
        "1-cos", DISTANCES, "distance between the embeddings of phrase and target"
    )
    embedding: str = choice(
        "said",
        ("complete", "base", "alone", "said"),
        "phrases from the complete or base text, by themselves, or (ours) by themselves less what "
        "the empty text says",
    )
    pool: str = choice("mean", POOLS, "pooling of token states in a phrase")
    subtract: float = real(
        0.15,
        0.0,
        10.0,
        "ours: factor on the distances; at 1, half a dozen phrases eat up the whole map",
    )
    map_path: str = choice(
        "response", ("response", "reference", "mean"), "path whose phrase maps are subtracted"
    )
    map_layers: str = choice(
        "coarse", ("coarse", "all", "up"), "layers whose phrase maps are averaged"
    )

    source: str = choice("chain", SOURCES, "the paper's chain, or (ours) parts of it")
    smooth: int = whole(
        1, 1, 15, "ours: side of the box that averages the noise difference; odd, 1 is none"
    )
    power: float = real(
        1.0, 0.05, 20.0, "ours: exponent of the SFCM; below 1 frees more around the target"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth % 2 == 0:
            raise BadInput(f"smooth is {self.smooth} but must be odd.")

    def chain(self) -> dict:
        """The arguments of `subtracted`."""
        return {"scale": self.scale, "end": self.end, "threshold": self.threshold or None}


class Evidence(NamedTuple):
    """What a map is made of: noise difference [B,h,w], maps of the base phrases [B,P,s,s] and of
    the target [B,s,s].
    """

    difference: Tensor
    phrases: Tensor
    target: Tensor


class Step(NamedTuple):
    """One stage of the chain: which phrase was taken away (None at the start and end) and the map
    after it [B,H,W].
    """

    phrase: int | None
    map: Tensor


def noise_difference(eps_res: Tensor, eps_ref: Tensor, channels: str = "mean-abs") -> Tensor:
    """N = |eps_res - eps_ref|, reduced over channels: [B,C,H,W] twice -> [B,H,W]. arXiv 2504.00396
    Fig. 2; the reduction is our choice: "mean-abs" or "l2".

    Predictions are taken in the network's own parametrisation. |v_res - v_ref| is N /
    sqrt(alpha-bar): the same map up to a factor for each timestep, which every scale but "none"
    takes away; and it is still there at zero SNR, where N is 0.
    """
    check_choice("channels", channels, CHANNELS)
    difference = eps_res.float() - eps_ref.float()
    return difference.abs().mean(1) if channels == "mean-abs" else difference.norm(dim=1)


def phrase_distances(
    states: Tensor,
    phrases: Sequence[Sequence[int]],
    target: Sequence[int],
    form: str = "1-cos",
    pool: str = "mean",
    target_states: Tensor | None = None,
) -> Tensor:
    """D_CLIP(E_base^res[p], E_tar): how far each phrase is from the target, [P], large when
    unrelated.

    states [T,D] are the text states of the complete prompt (v3 takes both embeddings from it);
    phrases and target are token columns, the latter of `target_states` if given. Form of the
    distance and pooling over tokens are our choice. Without a target every distance is 1.
    """
    check_choice("form", form, DISTANCES), check_choice("pool", pool, POOLS)
    if not target or not phrases:
        return states.new_ones(len(phrases), dtype=torch.float32)
    embeddings = torch.stack([_pooled(states, columns, pool) for columns in phrases])
    goal = _pooled(states if target_states is None else target_states, target, pool)
    cosine = cosine_similarity(embeddings, goal[None]).clamp(-1, 1)
    if form.startswith("arccos"):
        return cosine.arccos() / (math.pi if form == "arccos/pi" else 1)
    return (1 - cosine) / (2 if form == "half(1-cos)" else 1)


def _pooled(states: Tensor, columns: Sequence[int], pool: str) -> Tensor:
    return states[list(columns)].float().mean(0) if pool == "mean" else states[max(columns)].float()


def scaled(
    maps: Tensor, scale: str = "min-max", between: tuple[float, float] = (0.5, 0.97)
) -> Tensor:
    """Brings maps [...,H,W] to a common scale, each by itself; a constant map becomes 0. Which
    scale is our choice.

    "min-max" to [0,1]; "max" divides by the maximum; "stretch" runs between two quantiles, clipped.
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
        low, high = torch.quantile(
            flat, torch.tensor(between, device=flat.device, dtype=flat.dtype), dim=-1
        )
    spread = (high - low)[..., None, None]
    even = spread <= 1e-12
    result = (maps - low[..., None, None]) / torch.where(even, 1.0, spread)
    return torch.where(even, 0.0, result.clamp(0, 1) if scale == "stretch" else result)


def subtracted(
    difference: Tensor,
    phrase_maps: Tensor,
    distances: Tensor,
    *,
    scale: str = "min-max",
    end: str = "clip-renormalise",
    threshold: float | None = None,
    steps: bool = False,
) -> Tensor | tuple[Tensor, list[Step]]:
    """The chain N - D_1 Map_1 - ... - D_P Map_P from the noise difference N [B,H,W]; scales and end
    are our choice.

    scale: common scale of N and the maps, see `scaled`. end: "clip-renormalise" clips at 0 and
    divides by the maximum.
    threshold: if given, values below it become 0 and the others 1.
    steps: also returns every map of the chain in order: N, after each subtraction, and the result.
    """
    check_choice("end", end, ENDS)
    control = scaled(difference.float(), scale)
    chain = [Step(None, control)]
    if phrase_maps.shape[1]:
        enlarged = interpolate(
            phrase_maps.float(), control.shape[-2:], mode="bilinear", align_corners=False
        )
        removed = distances.float()[..., None, None] * scaled(enlarged, scale)  # [B,P,H,W]
        for phrase, part in enumerate(removed.unbind(1)):
            control = control - part
            chain.append(Step(phrase, control))
    control = (
        scaled(control.clamp(min=0), "max") if end == "clip-renormalise" else control.clamp(0, 1)
    )
    if threshold is not None:
        control = (control >= threshold).to(control.dtype)
    chain.append(Step(None, control))
    return (control, chain) if steps else control


@torch.no_grad()
def control_map(
    found: Evidence, distances: Tensor, config: SfcmConfig, *, steps: bool = False
) -> Tensor | tuple[Tensor, list[Step]]:
    """SFCM = |eps_res - eps_ref| - sum_p D_p Map_p, clipped at 0: [B,h,w] in [0,1], without
    gradient. arXiv 2504.00396 Fig. 2; everything in `config` is our choice. distances [B,P or
    more].

    source: "chain" is the paper's subtraction; ours are "noise" (nothing is subtracted), "target"
    (the target's own attention) and "product" (chain times target). steps: also returns every map
    of the chain, the result last.
    """
    difference, phrases = found.difference.float(), found.phrases
    if config.source == "noise":
        phrases = phrases[:, :0]
    if config.smooth > 1:
        side = config.smooth
        smoothed = avg_pool2d(difference[:, None], side, 1, side // 2, count_include_pad=False)
        difference = smoothed[:, 0]

    kept = distances[:, : phrases.shape[1]]
    control, chain = subtracted(difference, phrases, kept, **config.chain(), steps=True)
    if config.source in ("target", "product"):
        target = scaled(resized(found.target.float(), control.shape[-2:]), config.scale)
        control = scaled(control * target, "max") if config.source == "product" else target

    control = control.clamp(0, 1) ** config.power
    return (control, [*chain[:-1], Step(None, control)]) if steps else control


def resized(maps: Tensor, size: int | Sequence[int]) -> Tensor:
    """[B,h,w] -> [B,*size], a side or height and width: area when smaller, bilinear when larger."""
    height, width = (size, size) if isinstance(size, int) else size
    if maps.shape[-2:] == (height, width):
        return maps
    larger = (
        {"mode": "bilinear", "align_corners": False} if width > maps.shape[-1] else {"mode": "area"}
    )
    return interpolate(maps[:, None], (height, width), **larger)[:, 0]
