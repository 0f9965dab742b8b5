"""Counterparts of the paper's columns, computed with the networks that are at hand: named for what
they are, never for FID or LPIPS.

Plain functions of arrays. `spf.evaluation.published` has the real ones, for machines that hold
their weights.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from spf.errors import BadInput
from spf.evaluation.judges import Judges

NOT_OFFLINE = {
    "HPSv2": "its network has to be downloaded and knows photographs of the real world only",
    "MPS": "its network has to be downloaded and knows photographs of the real world only",
}
"""Columns of the paper that are left out, and why."""


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two sets of embeddings [N,D]: |mean difference|^2 + tr(A + B - 2
    sqrt(AB)). Heusel et al. 2017.

    With fewer pictures than dimensions it is biased upwards, so compare rows of equal n only.
    Raises BadInput below two.
    """
    if min(len(a), len(b)) < 2:
        raise BadInput(
            f"a Frechet distance needs at least 2 pictures on each side, not {len(a)} and {len(b)}."
        )
    a, b = np.asarray(a, float), np.asarray(b, float)
    gap = a.mean(0) - b.mean(0)
    first, second = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    mixed = np.sqrt(
        np.linalg.eigvalsh(root @ second @ root).clip(min=0)
    ).sum()  # tr sqrt(AB) = tr sqrt(A^1/2 B A^1/2)
    return float(max(gap @ gap + np.trace(first) + np.trace(second) - 2 * mixed, 0.0))


@torch.no_grad()
def levels(judges: Judges, images: Tensor) -> list[Tensor]:
    """Judge features of images [B,3,H,W] in [-1,1], level by level [B,C,h,w], each position of
    length 1.
    """
    size, own = (judges.image_size,) * 2, judges.region_head.weight
    x = images.to(own.device, own.dtype)
    if x.shape[-2:] != size:
        x = torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=True)
    found = []
    for block in judges.trunk:
        x = block(x)
        found.append(torch.nn.functional.normalize(x.float(), dim=1))
    return found


def perceptual(a: list[Tensor], b: list[Tensor]) -> np.ndarray:
    """Distance [B] of two batches by their `levels`: squared differences, mean over positions and
    levels.

    The form of Zhang et al. 2018, Eq. 1, with equal weights and the judges in place of a network of
    photographs.
    """
    each = [
        (first - second).square().sum(1).mean((1, 2)) for first, second in zip(a, b, strict=True)
    ]
    return torch.stack(each).mean(0).cpu().numpy()


def region_agreement(before: np.ndarray, after: np.ndarray) -> float:
    """Mean overlap (IoU) of the regions that two parsings [H,W] name, over the labels that either
    has; 1 if equal.
    """
    overlaps = [
        ((before == label) & (after == label)).sum() / ((before == label) | (after == label)).sum()
        for label in np.union1d(before, after)
    ]
    return float(np.mean(overlaps))


def packed(embedding: np.ndarray) -> str:
    """An embedding [D] in half precision as text."""
    return base64.b64encode(np.asarray(embedding, "<f2").tobytes()).decode()


def unpacked(texts: Iterable[str]) -> np.ndarray:
    """[N,D] from `packed` texts."""
    return np.stack([np.frombuffer(base64.b64decode(text), "<f2") for text in texts]).astype(
        np.float32
    )
