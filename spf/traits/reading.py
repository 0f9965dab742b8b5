"""What CLIP sees in a portrait: zero-shot classification of its traits (Radford et al. 2021), and
what a set of portraits has in common.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from spf.models import Base

from . import PERSON, TRAITS

SURE = 0.75
"""Probability from which on a trait is told."""
COMMON = 0.6
"""Share of a tailored set's pictures from which on a value is what they have in common."""


@torch.no_grad()
def probabilities(base: Base, images: Tensor) -> dict[str, Tensor]:
    """CLIP's probability of each value of each trait, name -> [B,V]. images: CLIP embeddings [B,E]
    of length 1.
    """
    asked = [
        trait.asks.format(asks) if asks else PERSON
        for trait in TRAITS
        for asks in trait.values.values()
    ]
    logits = base.clip.logit_scale.exp().float() * images.float() @ base.clip_texts(asked).float().T
    parts = logits.split([len(trait.values) for trait in TRAITS], dim=1)
    return {trait.name: part.softmax(1) for trait, part in zip(TRAITS, parts, strict=True)}


def surely(base: Base, images: Tensor) -> list[dict[str, str]]:
    """For each picture the value of each trait that CLIP is sure of, "" where it surely has none.
    images: CLIP embeddings [B,E] of length 1.
    """
    found: list[dict[str, str]] = [{} for _ in images]
    for trait, part in zip(TRAITS, probabilities(base, images).values(), strict=True):
        values, (sure, best) = list(trait.values), part.max(1)
        for row, p, index in zip(found, sure.tolist(), best.tolist(), strict=True):
            if p >= SURE:
                row[trait.name] = values[index]
    return found


def seen(base: Base, images: Tensor) -> list[dict[str, str]]:
    """What there is to say of each picture, see `surely`."""
    return [{name: value for name, value in row.items() if value} for row in surely(base, images)]


def common(found: Sequence[dict[str, str]]) -> dict[str, str]:
    """What pictures have in common, by what was seen in each."""
    shares = Counter(pair for row in found for pair in row.items())
    return {
        name: value for (name, value), count in shares.most_common() if count >= COMMON * len(found)
    }


def noted(metadata: Mapping[str, str]) -> dict[str, str]:
    """What the pictures of an adapter's set have in common, if that was noted; what is no trait is
    left out.
    """
    try:
        pairs = dict(json.loads(metadata.get("common", "{}"))).items()
    except (ValueError, TypeError):
        return {}
    values = {trait.name: trait.values for trait in TRAITS}
    return {
        name: value
        for name, value in pairs
        if isinstance(value, str) and value and value in values.get(name, ())
    }
