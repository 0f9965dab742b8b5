"""Portraits that the original model draws of base texts alone, to hold a fine-tuned one to."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spf.config import GUIDANCE, LARGEST_SEED
from spf.errors import BadInput, UnsafeFile
from spf.files import load_tensors, save_tensors
from spf.methods import MethodConfig, Rows, fingerprint
from spf.models import Base
from spf.portraits.description import Target
from spf.portraits.texts import base_captions
from spf.sampling import initial_latents, sample
from spf.traits.reading import seen
from spf.traits.telling import told_all

from .training_data import batches, encoded, with_target

log = logging.getLogger(__name__)
STEPS = 20


class OwnPortraits:
    """Encoded portraits by the original model, drawn once and kept in a file beside the run.

    config: of a method that wants them. set_texts: the base texts of the set, of which they are
    drawn where the method says so, or where the target has no held-out ones.
    """

    def __init__(
        self,
        base: Base,
        target: Target,
        config: MethodConfig,
        set_texts: Sequence[str],
        seed: int,
        file: Path,
    ) -> None:
        count = config.own_count
        if config.own_texts == "set" or not target.attribute:
            texts = [set_texts[i % len(set_texts)] for i in range(count)]
        else:
            texts = [made.text for _, made in base_captions(target, count, seed, "train")]
        latents = self._latents(base, texts, seed, file)
        prompts = [with_target(text, target) for text in texts]
        if config.text == "seen":
            with torch.no_grad():
                images = [
                    base.clip_images(base.decode(latents[part.start : part.stop]))
                    for part in batches(count)
                ]
            prompts = told_all(base, prompts, seen(base, torch.cat(images)))
        self.all = encoded(base, latents, prompts, target, config)

    def rows(self, rng: np.random.Generator, n: int) -> Rows:
        """`n` of them, at random."""
        return self.all.take(rng.choice(len(self.all), n, replace=n > len(self.all)))

    def _latents(self, base: Base, texts: Sequence[str], seed: int, file: Path) -> Tensor:
        how = [STEPS, GUIDANCE, base.perturbed]
        made = json.dumps([texts, seed, *how, fingerprint(base.unet)])
        key = hashlib.sha256(made.encode()).hexdigest()[:16]
        try:
            found = load_tensors(file).get(key)
        except (BadInput, UnsafeFile):
            found = None
        if found is None:
            log.info("the original model draws %d portraits for alignment", len(texts))
            found = torch.cat(
                [
                    self._draw(base, [texts[i] for i in part], seed + part.start)
                    for part in batches(len(texts))
                ]
            )
            save_tensors(file, {key: found})
        return found.float().to(base.device)

    @staticmethod
    def _draw(base: Base, texts: Sequence[str], seed: int) -> Tensor:
        seeds = [(seed + i) % (LARGEST_SEED + 1) for i in range(len(texts))]
        states, empty = base.encode_text(texts), base.encode_text([""] * len(texts))
        return sample(base, initial_latents(base, seeds), states, empty, steps=STEPS).float().cpu()
