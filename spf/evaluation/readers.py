"""Who reads a portrait: the judges, which know drawn portraits only, or CLIP, which knows any
picture but less surely.

A reading of one kind is never compared with one of the other, and each says who made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from spf.config import EMBEDDED
from spf.evaluation.judges import Judges, Reading
from spf.evaluation.measures import compared, responded
from spf.evaluation.visible import settled
from spf.models import Base
from spf.pixels import as_pixels
from spf.portraits.description import Target, asked_of
from spf.targets import known_targets
from spf.traits import PERSON, TRAITS, decides, speaks
from spf.traits.reading import surely

JUDGES, CLIP, NOBODY = "judges", "CLIP", "nobody"


@dataclass(frozen=True)
class Read:
    """What was read in pictures. values: attribute -> value of each, without those of which the
    reader is not sure.

    reading: all that the judges read, None of CLIP. target [B]: whether the target shows, None
    where that cannot be told. identity [B,E] of length 1, of the judges alone.
    """

    values: list[dict[str, str]]
    target: np.ndarray | None = None
    identity: np.ndarray | None = None
    reading: Reading | None = None


@dataclass(frozen=True)
class Reader:
    """Reads pictures uint8 [B,H,W,3] for the attributes that targets (texts) leave alone."""

    base: Base
    targets: Sequence[str]
    name: str = NOBODY
    judges: Judges | None = None
    known: list[Target] = field(default_factory=list)

    def read(self, pictures: np.ndarray) -> Read:
        if self.name == JUDGES:
            return self._judged(pictures)
        return self._seen(pictures) if self.name == CLIP else Read([{} for _ in pictures])

    def spared(self) -> set[str]:
        """The attributes that the targets speak of, which may change."""
        if self.name == JUDGES:
            return asked_of(self.known)
        text = ", ".join(self.targets)
        return {one.name for one in TRAITS if speaks(text, one) or decides(text, one)}

    def changes(self, first: Read, then: Read, i: int) -> dict[str, bool]:
        """Whether each attribute that both readings of picture i have changed, the targets' own
        left out.
        """
        before, after = first.values[i], then.values[i]
        if first.reading is not None and then.reading is not None:
            after = settled(first.reading.look(i), then.reading.look(i), self.known).values
        both = [name for name in before if name in after and name not in self.spared()]
        if self.name == JUDGES:
            both = [name for name in compared(before, after, self.known) if name in both]
        return {name: before[name] != after[name] for name in both}

    def _judged(self, pictures: np.ndarray) -> Read:
        seen = self.judges.read(as_pixels(pictures))
        known = len(self.known) == len(self.targets) > 0
        there = [all(responded(row, target) for target in self.known) for row in seen.values]
        shown = np.array(there) if known else None
        return Read(seen.values, shown, seen.identity.cpu().numpy(), seen)

    def _seen(self, pictures: np.ndarray) -> Read:
        with torch.inference_mode():
            images = self.base.clip_images(
                as_pixels(pictures).to(self.base.device, self.base.dtype)
            )
            return Read(surely(self.base, images), self._shows(images))

    def _shows(self, images: Tensor) -> np.ndarray | None:
        """Whether CLIP finds a person with each of the targets likelier than a person, [B]."""
        if not self.targets:
            return None
        texts = self.base.clip_texts([PERSON, *(f"{PERSON}, {text}" for text in self.targets)])
        alike = images.float() @ texts.float().T
        return (alike[:, 1:] > alike[:, :1]).all(1).cpu().numpy()


def reader_for(base: Base, judges: Judges | None, targets: Sequence[str]) -> Reader:
    """The judges for the model whose drawings they know, else CLIP, else nobody."""
    known = known_targets(targets)
    if base.name == EMBEDDED and judges is not None:
        return Reader(base, targets, JUDGES, judges, known)
    return Reader(base, targets, CLIP if base.clip is not None else NOBODY, None, known)
