"""Which weights an adapter was tuned on: a few values of the denoiser, noted in the adapter's
header and compared with those that are loaded.

A name or an architecture does not tell one set of weights from another; a hash would also tell the
same weights in single and in half precision apart. Where there is no note, the name decides.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .words import cleaned

if TYPE_CHECKING:
    from torch import nn

LONGEST = 60
"""Characters that are taken of what another program says of a base."""
KEY = "base_weights"
"""Where an adapter's metadata has the note."""
UNKNOWN = "unknown"
VERSIONS = {
    "sd_v1": "SD 1.x",
    "sd_v2": "SD 2.x",
    "sdxl": "SDXL",
    "flux": "Flux",
    "sd3": "SD 3",
    "stable-diffusion-v1": "SD 1.x",
    "stable-diffusion-v2": "SD 2.x",
    "stable-diffusion-xl": "SDXL",
}
"""How what other programs say of a base begins, and the family that it means."""
FAMILIES = (*dict.fromkeys(VERSIONS.values()), UNKNOWN)
"""In place of the base of an adapter: any of a kind."""
NEAR, TINY = 2**-8, 1e-6
"""Relative and absolute difference of a value that half precision makes, bf16's included."""


@dataclass(frozen=True)
class Loaded:
    """The weights that draw: their name, and their sketch, None while it is not known."""

    name: str
    sketch: np.ndarray | None = None

    def strange(self, made: Mapping[str, str]) -> bool:
        """Whether an adapter was tuned on other weights, as far as its metadata says.

        By its note where there is one that can be read, else by the name of its base. False where
        it says neither, or a family in place of a name.
        """
        given = _noted(made)
        if given is None or self.sketch is None:
            return said_base(made) not in ("", self.name, *FAMILIES)
        if given.shape != self.sketch.shape:
            return True
        return not np.allclose(given, self.sketch, rtol=NEAR, atol=TINY)

    def strangers(self, made: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Those of some adapters (metadata by name) that were tuned on other weights, with the base
        that each of them says, "" for none.
        """
        return {name: said_base(one) for name, one in made.items() if self.strange(one)}


def said_base(made: Mapping[str, str]) -> str:
    """The base that an adapter's metadata says, in this library's words or another program's; ""
    where it says none.
    """
    if base := made.get("base_model"):
        return base
    for key in ("ss_base_model_version", "modelspec.architecture"):
        text = cleaned(made.get(key, ""))[:LONGEST]
        for start, family in VERSIONS.items():
            if text.lower().startswith(start):
                return family
        if text:
            return text
    return ""


def sketch(denoiser: nn.Module) -> np.ndarray | None:
    """The middle value of every matrix and kernel, fp32 [M], by their names; None where there are
    only shapes.
    """
    named = dict(denoiser.named_parameters())
    values = [named[name].detach() for name in sorted(named) if named[name].ndim > 1]
    if not values or any(value.is_meta for value in values):
        return None
    return np.array([float(value.reshape(-1)[value.numel() // 2]) for value in values], np.float32)


def note(values: np.ndarray | None) -> dict[str, str]:
    """What a header says of a sketch: base64 of its little-endian floats; nothing of None."""
    if values is None:
        return {}
    return {KEY: base64.b64encode(values.astype("<f4").tobytes()).decode()}


def _noted(made: Mapping[str, str]) -> np.ndarray | None:
    """The sketch that metadata notes; None where there is none, or a damaged one."""
    try:
        given = np.frombuffer(base64.b64decode(made.get(KEY, ""), validate=True), "<f4")
    except (binascii.Error, ValueError):
        return None
    return given if len(given) else None
