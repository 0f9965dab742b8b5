"""The terms of the objective, each one equation and one function. Pure tensor functions.

Names are the paper's (arXiv 2504.00396); its equations were not available, so forms, norms and
reductions are our reading of the figures, the alternatives are named arguments, and the default is
the reading that we tried first. The last five belong to rival methods, which they name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .config import check_choice

COMPLEMENTS = ("1-s", "exp", "threshold", "none")
NORMS = ("l2", "l1", "cosine")
LAYERS = ("mean", "sum")
ENHANCED = ("a", "b", "c", "direct")


def complement(sfcm: Tensor, form: str = "1-s", threshold: float = 0.5) -> Tensor:
    """W, where the paths must agree: 1 - SFCM. arXiv 2504.00396 Fig. 2 shows that SFCM enters; how
    is our choice.

    "exp" is exp(-SFCM), "threshold" 1 below the threshold and 0 above, "none" 1 everywhere (the
    "w/o SFCM" row).
    """
    check_choice("form", form, COMPLEMENTS)
    if form == "1-s":
        return 1 - sfcm
    if form == "exp":
        return torch.exp(-sfcm)
    return (sfcm < threshold).to(sfcm.dtype) if form == "threshold" else torch.ones_like(sfcm)


def text_consistent(
    maps_res: Mapping[str, Mapping[str, Tensor]],
    maps_ref: Mapping[str, Mapping[str, Tensor]],
    weight: Tensor,
    *,
    phrases: Sequence[str] | None = None,
    norm: str = "l2",
    layers: str = "mean",
) -> Tensor:
    """sum_p || W_l (A_res^{l,p} - A_ref^{l,p}) ||^2 over layers l; p in base phrases, PAD. arXiv
    2504.00396 Fig. 2.

    maps_*: layer -> phrase -> [B,h,w], as `attention.record` gives them; weight: W [B,H,W], resized
    to each layer by area. phrases: which to compare; by default those in both paths, so the target
    stays free. Positions are averaged, phrases summed, layers averaged ("sum" adds them).
    """
    terms = []
    for name, groups in maps_res.items():
        for phrase in phrases or [phrase for phrase in groups if phrase in maps_ref[name]]:
            res, ref = groups[phrase], maps_ref[name][phrase]
            w = interpolate(weight[:, None], res.shape[-2:], mode="area").flatten(1)
            terms.append(
                distance(
                    res.flatten(1)[..., None], ref.flatten(1)[..., None].detach(), w, norm, over=1
                )
            )
    return _over_layers(terms, len(maps_res), layers, weight)


def fine_grained(
    queries_res: Mapping[str, Tensor],
    queries_ref: Mapping[str, Tensor],
    weight: Tensor,
    *,
    norm: str = "l2",
    layers: str = "mean",
) -> Tensor:
    """|| W_l (Q_res^l - Q_ref^l) ||^2 over all cross-attention layers l. arXiv 2504.00396 Fig. 2.

    queries_*: layer -> [B,h*w,C], as `attention.record` gives them; weight: W [B,H,W], resized to
    each layer by area. Positions and channels are averaged, layers averaged ("sum" adds them).
    """
    terms = []
    for name, res in queries_res.items():
        side = round((res.shape[1] * weight.shape[-2] / weight.shape[-1]) ** 0.5)
        w = interpolate(weight[:, None], (side, res.shape[1] // side), mode="area").flatten(1)
        terms.append(distance(res, queries_ref[name].detach(), w, norm, over=2))
    return _over_layers(terms, len(queries_res), layers, weight)


def distance(res: Tensor, ref: Tensor, weight: Tensor, norm: str = "l2", over: int = 2) -> Tensor:
    """Weighted distance of two fields [B,N,C] under a weight [B,N], averaged over batch and
    positions.

    "l2": squares, "l1": absolute values, of the weighted difference. "cosine": 1 - cosine along
    channels (over=2) or along positions (over=1).
    """
    check_choice("norm", norm, NORMS)
    res, ref, weight = res.float(), ref.float(), weight[..., None]
    if norm == "l2":
        return (weight * (res - ref)).square().mean()
    if norm == "l1":
        return (weight * (res - ref)).abs().mean()
    if over == 1:
        return (1 - cosine(weight * res, weight * ref, dim=1)).mean()
    return (weight[..., 0] * (1 - cosine(res, ref, dim=2))).mean()


def _over_layers(terms: list[Tensor], count: int, layers: str, like: Tensor) -> Tensor:
    check_choice("layers", layers, LAYERS)
    total = torch.stack(terms).sum() if terms else like.new_zeros(())
    return total / max(count, 1) if layers == "mean" else total


def enhanced(
    e_res: Tensor,
    e_ref: Tensor,
    e_image: Tensor,
    e_target: Tensor,
    form: str = "a",
    weights: Tensor | None = None,
) -> Tensor:
    """L_enhanced: leads the response towards the target by the difference between the paths. Its
    formula is unknown.

    All inputs are unit CLIP embeddings [B,E]: of both one-step predictions, of the training image,
    of the target text. Forms that the published descriptions allow (res, ref, image and target
    stand for the embeddings):
      "a"  1 - cos(res - ref, image - ref)
      "b"  1 - cos(res - ref, target)  +  1 - cos(res, image)
      "c"  1 - cos(res - target, image - target)
      "direct"  1 - cos(res, target), plain CLIP supervision, the negative control
    weights [B] may favour some timesteps. Only e_res carries gradient.
    """
    check_choice("form", form, ENHANCED)
    e_ref, e_image, e_target = e_ref.detach(), e_image.detach(), e_target.detach()
    if form == "a":
        loss = 1 - cosine(e_res - e_ref, e_image - e_ref)
    elif form == "b":
        loss = (1 - cosine(e_res - e_ref, e_target)) + (1 - cosine(e_res, e_image))
    elif form == "c":
        loss = 1 - cosine(e_res - e_target, e_image - e_target)
    else:
        loss = 1 - cosine(e_res, e_target)
    return (loss if weights is None else loss * weights).mean()


def cosine(a: Tensor, b: Tensor, dim: int = -1, floor: float = 1e-3) -> Tensor:
    """Cosine whose gradient stays bounded when a vector vanishes, as the difference of two equal
    paths does.
    """
    lengths = a.norm(dim=dim).clamp(min=floor) * b.norm(dim=dim).clamp(min=floor)
    return (a * b).sum(dim) / lengths


def prediction_error(predicted: Tensor, ideal: Tensor, weights: Tensor | None = None) -> Tensor:
    """The diffusion loss || predicted - ideal ||^2 per image [B,C,H,W], then over the batch with
    weights [B]. Ho et al. 2020, Eq. 14, there for noise; here in the network's own parametrisation,
    see `diffusion.Diffusion.ideal`."""
    errors = (predicted.float() - ideal).square().mean((1, 2, 3))
    return (errors if weights is None else errors * weights).mean()


def token_grounding(maps: Tensor, mask: Tensor) -> Tensor:
    """sum_k mean_j (1 - mean_heads inside/all)^2: a word's attention lies where its object does.
    Token loss of TokenCompose (arXiv 2312.03626), as in its code: the mean over heads is inside the
    square, the layers k are added.

    maps [K,heads,T,h,w]: attention of the K layers of one level to the T tokens of one word; mask
    [h,w] of the object.
    """
    inside = (maps * mask).sum((-2, -1)) / maps.sum((-2, -1)).clamp(min=1e-12)  # [K,heads,T]
    return (1 - inside.mean(1)).square().mean(1).sum()


def pixel_grounding(maps: Tensor, mask: Tensor, floor: float = 1e-6) -> Tensor:
    """Binary cross-entropy of P and the mask, averaged over positions; P is the attention to all of
    a word's tokens, averaged over layers and heads. Pixel loss of TokenCompose (arXiv 2312.03626).
    maps and mask as in `token_grounding`.
    """
    share = maps.mean((0, 1)).sum(0).clamp(floor, 1 - floor)  # [h,w]
    mask = mask.to(share.dtype)
    return -(mask * share.log() + (1 - mask) * (1 - share).log()).mean()


def orthogonality(matrices: Sequence[Tensor]) -> Tensor:
    """mean || A A^T - I ||_F over matrices A [r,n]: how far their rows are from orthonormal.
    AdaLoRA (arXiv 2303.10512), the regulariser of A and B, not squared, as in the authors' code."""
    with torch.autocast(matrices[0].device.type, enabled=False):  # it would round the products
        return torch.stack(
            [(a @ a.T - torch.eye(len(a), device=a.device, dtype=a.dtype)).norm() for a in matrices]
        ).mean()


def projection(learnt: Tensor, bias: Tensor) -> Tensor:
    """lambda* = <learnt, bias> / ||bias||^2 for each row [B,...] -> [B]: how much of the bias was
    learnt. PureCC (arXiv 2603.07561), adaptive scale."""
    learnt, bias = learnt.flatten(1), bias.flatten(1)
    return (learnt * bias).sum(1) / bias.square().sum(1).clamp(min=1e-12)


def pure_goal(base: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
    """v_goal = v(base text) + lambda R_tar: the original and an increment, nothing else. PureCC
    (arXiv 2603.07561).

    base, bias: predictions [B,C,h,w], the bias being what the extractor adds for the target; scale:
    lambda [B].
    """
    return base + scale.view(-1, 1, 1, 1) * bias
