"""The measures: plain functions from what the judges read in two portraits to numbers.

`before` is what is read in the original model's portrait (base text), `after` in the tuned model's
(complete text, same noise). The measures are ours: the drawn portraits let us read every attribute,
where the paper has to stand in for pollution with FID, LPIPS and the like.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from spf.errors import BadInput
from spf.portraits.canvas import region_mask
from spf.portraits.description import ATTRIBUTES, Target, asked_of, hidden

Attributes = Mapping[str, str]
"""Value of each attribute, as the judge reads it."""
SURE = 0.9
"""Probability of its value from which on an attribute is clear to the judges."""
COVERING = ("hat", "eyewear", "condition")
"""Attributes that hide others."""
GROW = 2
"""Pixels by which the true region is grown before the change outside it is taken."""


def responded(after: Attributes, target: Target) -> bool:
    """Response of one portrait: the target is there, with all that is asked beside it and has a
    value."""
    return all(after[name] == value for name, value in target.asks.items() if value)


def compared(before: Attributes, after: Attributes, targets: Sequence[Target]) -> list[str]:
    """The attributes that pollution counts: all but the targets' own and what one of the portraits
    hides, also by what only the other one wears.
    """
    worn = [
        {name: values[name] for name in COVERING if name in values} for values in (before, after)
    ]
    spared = asked_of(targets) | hidden(before) | hidden(after)
    spared |= hidden({**before, **worn[1]}) | hidden({**after, **worn[0]})
    return [name for name in ATTRIBUTES if name not in spared]


def changed(before: Attributes, after: Attributes, targets: Sequence[Target] = ()) -> list[str]:
    """Attributes that no target asked to change and that did."""
    return [name for name in compared(before, after, targets) if before[name] != after[name]]


def pollution(
    before: Attributes,
    after: Attributes,
    targets: Sequence[Target] = (),
    among: Collection[str] | None = None,
) -> float:
    """Share in [0, 1] of the other attributes that changed; `among` restricts them (NaN where none
    is left).
    """
    counted = [n for n in compared(before, after, targets) if among is None or n in among]
    if not counted:
        return float("nan")
    return sum(before[name] != after[name] for name in counted) / len(counted)


def purity(response, pollution):
    """Harmonic mean of response and 1 - pollution; numbers or arrays in [0, 1]. High only when both
    are good.
    """
    kept = 1 - np.asarray(pollution, float)
    total = np.asarray(response, float) + kept
    return np.where(total > 0, 2 * response * kept / np.where(total > 0, total, 1), 0.0)[()]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the vectors in the last axis; identity similarity when they are identity
    embeddings.
    """
    return (a * b).sum(-1) / np.maximum(
        np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-12
    )


def true_region(before: np.ndarray, after: np.ndarray, target: Target, grow: int = 0) -> np.ndarray:
    """Where the target may change the picture: its regions in either portrait, grown by `grow`
    pixels.

    before, after: int [H, W], index into REGIONS. Returns bool [H, W]; all True for a target
    without regions (a style).
    """
    if not target.regions:
        return np.ones(before.shape, bool)
    mask = region_mask(before, target.regions) | region_mask(after, target.regions)
    for _ in range(grow):
        padded = np.pad(mask, 1)
        mask = mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def change_outside(before: np.ndarray, after: np.ndarray, region: np.ndarray) -> float:
    """Mean absolute difference of two pictures [H, W, 3] in [0, 1] over the pixels outside `region`
    (NaN if none).
    """
    outside = ~region
    return float(np.abs(before - after)[outside].mean()) if outside.any() else float("nan")


def change_ratio(before: np.ndarray, after: np.ndarray, region: np.ndarray) -> float:
    """Mean absolute difference of two pictures outside `region` over that inside: 0 for a change in
    the right place only.

    NaN where one of the two has no pixels or nothing changed inside.
    """
    outside, inside = change_outside(before, after, region), change_outside(before, after, ~region)
    return outside / inside if inside > 0 else float("nan")


def iou(control: np.ndarray, region: np.ndarray, threshold: float = 0.5) -> float:
    """Overlap of `control` >= threshold with the true region, both [H, W]; NaN without or with
    nothing but region.
    """
    if not region.any() or region.all():
        return float("nan")
    found = control >= threshold
    return float((found & region).sum() / (found | region).sum())


def average_precision(control: np.ndarray, region: np.ndarray) -> float:
    """Area under precision over recall of `control` as a pixel ranking for `region`; chance is the
    region's share.

    Equal values form one threshold, so a constant map scores exactly chance. NaN without or with
    nothing but region.
    """
    if not region.any() or region.all():
        return float("nan")
    order = np.argsort(-control, axis=None, kind="stable")
    scores, hits = control.ravel()[order], region.ravel()[order].cumsum()
    ends = np.append(np.flatnonzero(np.diff(scores)), hits.size - 1)
    precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def bootstrap_means(
    values: Sequence[float], groups: Sequence, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, np.ndarray]:
    """Mean of `values` and its bootstrap draws [resamples], resampling whole groups (the seeds of
    one prompt).

    NaN values are left out. Calls with the same groups and seed draw the same resamples, so
    functions of several means (purity) and differences between methods can be taken draw by draw.
    """
    values = np.asarray(values, float)
    if len(values) != len(groups):
        raise BadInput(
            f"values and groups must have one length, not {len(values)} and {len(groups)}."
        )
    labels, inverse = np.unique(np.asarray(groups), return_inverse=True)
    known = ~np.isnan(values)
    sums = np.bincount(inverse, np.where(known, values, 0.0), len(labels))
    counts = np.bincount(inverse, known, len(labels))
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, max(len(labels), 1), (resamples, len(labels)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(sums.sum(), counts.sum())), sums[picks].sum(1) / counts[picks].sum(1)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws."""
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
