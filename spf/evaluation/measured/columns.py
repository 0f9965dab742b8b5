"""Counterparts of the paper's columns, by the networks that are at hand.

Named for what they are, never for FID or LPIPS.
"""

from __future__ import annotations

from spf.evaluation import measures as m
from spf.evaluation.columns import packed, region_agreement
from spf.evaluation.measured import Pair

ORDER = 2
TABLE = "Counterparts of the paper's columns"
MEASURES = {
    "frechet_clip": "Frechet distance, embedded CLIP (no interval)",
    "perceptual_judges": "perceptual distance, judge features",
    "identity": "cosine of the identity embeddings",
    "clip_image": "CLIP-I, embedded CLIP",
    "region_agreement": "region agreement, embedded parser",
    "clip_complete": "CLIP-T against the complete text, embedded CLIP",
    "clip_target": "CLIP-T against the target text, embedded CLIP",
    "outside": "mean absolute change of the picture outside the target's true region",
    "outside_ratio": "that change outside over the change inside",
}
SMALLER = ["frechet_clip", "perceptual_judges", "outside", "outside_ratio"]
SETS = ["frechet_clip"]


def measure(pair: Pair) -> dict[str, float]:
    found = {
        "identity": float(m.cosine(*pair.identity)),
        "outside": m.change_outside(*pair.pictures, pair.grown),
        "outside_ratio": m.change_ratio(*pair.pictures, pair.grown),
        "region_agreement": region_agreement(*pair.regions),
    }
    if pair.perceptual is not None:
        found["perceptual_judges"] = pair.perceptual
    if pair.clip is not None and pair.texts is not None:
        complete, target = pair.texts
        found["clip_image"] = float(m.cosine(*pair.clip))
        found["clip_complete"] = float(m.cosine(pair.clip[1], complete))
        found["clip_target"] = float(m.cosine(pair.clip[1], target))
    return found


def more(pair: Pair) -> dict[str, str]:
    """Both CLIP embeddings, of which the Frechet distance of a table is made."""
    if pair.clip is None or pair.texts is None:
        return {}
    return {"clip_before": packed(pair.clip[0]), "clip": packed(pair.clip[1])}
