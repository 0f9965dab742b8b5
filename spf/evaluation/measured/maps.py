"""Control maps against the target's true region, where the maps were watched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from spf.evaluation import measures as m
from spf.evaluation.measured import Pair, rounded

ORDER = 3
TABLE = "Control maps"
MEASURES = {
    "sfcm_ap": "average precision of the control map for the target's true region",
    "sfcm_iou": "overlap of the control map, at half its maximum, with that region",
    "sfcm_best": "the same overlap at the one threshold, a part of its maximum, that is best for "
    "all",
    "difference_ap": "average precision of the bare noise difference",
    "difference_iou": "overlap of the bare noise difference",
    "difference_best": "the same at the best threshold",
    "attention_ap": "average precision of the target's attention",
    "attention_iou": "overlap of the target's attention",
    "attention_best": "the same at the best threshold",
    "held_ap": "average precision of the map of held drawings",
    "held_iou": "overlap of the map of held drawings",
    "held_best": "the same at the best threshold",
}
"""The `_best` ones are taken over all rows of a table, see `spf.evaluation.summary`."""
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Parts of a map's maximum, of which the `_best` measures take one."""


def measure(pair: Pair) -> dict[str, float]:
    maps = pair.looks.maps if pair.looks else {}
    return {
        f"{name}_{kind}": value
        for name, steps in maps.items()
        for kind, value in quality(steps.mean(0), pair.region).items()
    }


def more(pair: Pair) -> dict[str, Any]:
    """Timesteps; overlaps of each map at THRESHOLDS; quality step by step of those that change with
    the step.
    """
    if pair.looks is None:
        return {}
    timesteps, maps = pair.looks.timesteps, pair.looks.maps
    found: dict[str, Any] = {"timesteps": timesteps, "steps": {}}
    for name, steps in maps.items():
        found[f"{name}_ious"] = _rounded(overlaps(steps.mean(0), pair.region))
        if len(steps) == len(timesteps):
            each = [quality(one, pair.region) for one in steps]
            for kind in each[0]:
                found["steps"][f"{name}_{kind}"] = _rounded(step[kind] for step in each)
    return found


def quality(found: np.ndarray, region: np.ndarray) -> dict[str, float]:
    """Overlap (at half the maximum) and average precision of a map [h,w] for the true region
    [H,W].
    """
    large = enlarged(found, region.shape)
    return {
        "iou": m.iou(large, region, max(large.max() / 2, 1e-6)),
        "ap": m.average_precision(large, region),
    }


def overlaps(found: np.ndarray, region: np.ndarray) -> list[float]:
    """Overlap of a map [h,w] with the true region [H,W] at each of THRESHOLDS."""
    large = enlarged(found, region.shape)
    return [m.iou(large, region, max(large.max() * part, 1e-6)) for part in THRESHOLDS]


def enlarged(control: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map [h,w] at the size of the picture, bilinear."""
    small = torch.from_numpy(np.ascontiguousarray(control, np.float32))[None, None]
    large = torch.nn.functional.interpolate(small, shape, mode="bilinear", align_corners=False)
    return large[0, 0].numpy()


def _rounded(values: Sequence[float]) -> list[float | None]:
    return [rounded(value) for value in values]
