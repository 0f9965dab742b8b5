"""The control map as it is used: what two paths show about where the target acts, and the settings
it is read with.

Training, drawing, fine-tuning beside the page and evaluation make their maps here, with the
settings that the adapter was trained with. An adapter that was trained without a control map has
none to show.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from .attention import Record, phrase_stack
from .errors import BadInput
from .sfcm import Evidence, SfcmConfig, noise_difference


@torch.no_grad()
def evidence(
    predicted: tuple[Tensor, Tensor],
    shown: tuple[Record, Record | None],
    phrases: Sequence[str],
    targets: Sequence[str],
    config: SfcmConfig,
) -> Evidence:
    """What one comparison says about where the target acts.

    predicted: predictions [B,C,h,w] of the response and of the reference path on the same latents;
    shown: what both recorders saw, of the reference only where `config.map_path` asks for it.
    phrases and targets: names in the records.
    """
    res, ref = shown
    paths = {"response": [res], "reference": [ref], "mean": [res, ref]}[config.map_path]
    stacks = [phrase_stack(path, phrases, config.map_layers) for path in paths]
    return Evidence(
        noise_difference(*predicted, config.channels),
        torch.stack(stacks).mean(0),
        phrase_stack(res, targets, config.map_layers).sum(1),
    )


def averaged(found: Sequence[Evidence]) -> Evidence:
    """The mean of several; noise differences count in parts of their own mean, or the largest would
    decide alone.
    """
    even = [
        one._replace(
            difference=one.difference / one.difference.mean((1, 2), keepdim=True).clamp(min=1e-12)
        )
        for one in found
    ]
    return Evidence(*(torch.stack(parts).mean(0) for parts in zip(*even, strict=True)))


def uses_map(made: Mapping) -> bool:
    """Whether a run with these settings of its method makes control maps: SPF's second stage does,
    unless it is told not to.
    """
    aligned = made.get("plain", 0) < 1 and "complement" in made
    return aligned and bool(made["complement"] != "none" or made.get("masked"))


def settings_of(adapters: Iterable[Mapping[str, str]]) -> SfcmConfig | None:
    """The map's settings that adapters, given by their metadata, were trained with; of several the
    last one's that has any.
    """
    known = {one.name for one in fields(SfcmConfig)}
    found = None
    for metadata in adapters:
        try:
            made = json.loads(metadata.get("settings", "{}"))
            if uses_map(made):
                found = SfcmConfig.from_dict({name: made[name] for name in made if name in known})
        except (ValueError, TypeError, AttributeError, BadInput):
            continue  # of another program, or damaged: no settings
    return found
