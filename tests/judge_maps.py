"""Judges the control maps of training against the exact regions that the renderer drew, without
training anything.

    judge_maps(base, load_adapter("hat-naive", base), TARGETS["hat"], {"averaged": 8, "scale":
    "stretch"})

A form of the map that does not find the target here cannot protect it in training; a look takes
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spf.evaluation.measured.maps import enlarged
from spf.evaluation.measures import average_precision, iou
from spf.methods import Context, build
from spf.models import Base
from spf.paths import Adapter, TunablePaths
from spf.portraits.dataset import draw
from spf.portraits.description import Target
from spf.portraits.tailored import tailored_set
from spf.targets import region_mask
from spf.training_data import tailored_rows


def judge_maps(
    base: Base,
    adapter: Adapter | None,
    target: Target,
    settings: Mapping[str, Any],
    images: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Means over `images` pictures of the tailored set: overlap (iou) and average precision (ap) of
    the control map for the target's region, the region's share (chance, what ap is for a map that
    knows nothing) and the map's own mean (area).

    adapter: the response path, such as the result of stage 1; None asks the original weights for
    the complete text.
    settings: of the method spf. Without a region (a style) the first three are NaN.
    """
    method = build("spf", settings)
    rows = tailored_rows(base, target, images, seed, method.config).rows
    _, regions = draw(
        [item.portrait for item in tailored_set(target.name, images, seed)], base.image_size
    )
    truth = region_mask(regions, target.regions) if target.regions else np.ones(regions.shape, bool)
    names = adapter.names() if adapter else method.parameter_names(base.unet)
    with TunablePaths(base.unet, names) as paths:
        if adapter:
            paths.load(adapter)
        ctx = Context(base, paths, 0, 1, np.random.default_rng(seed), base.encode_text([""]))
        maps = [method.control(rows.take([i]), ctx)[0].cpu().numpy() for i in range(images)]
    large = [enlarged(found, mask.shape) for found, mask in zip(maps, truth, strict=True)]
    found = {
        "iou": [iou(a, b, max(a.max() / 2, 1e-6)) for a, b in zip(large, truth, strict=True)],
        "ap": [average_precision(a, b) for a, b in zip(large, truth, strict=True)],
        "chance": [b.mean() if b.any() and not b.all() else np.nan for b in truth],
        "area": [a.mean() for a in large],
    }
    return {
        name: float(np.nanmean(values)) if not np.all(np.isnan(values)) else float("nan")
        for name, values in found.items()
    }
