"""A set for fine-tuning that the model draws itself, as the authors of arXiv 2504.00396 had theirs
drawn: portraits of the complete text, with their captions, of which CLIP keeps those that show the
target.

    made = make_set(base, "freckled skin", Path("runs/freckles"), count=300)

The folder has NUMBER.png and NUMBER.txt, which `check-data` takes, and rows.jsonl with what CLIP
said of every drawing, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spf.errors import BadInput
from spf.files import atomic, read_json, write_json
from spf.models import Base
from spf.pixels import as_pixels
from spf.portraits.captions import caption
from spf.portraits.description import sample_portrait
from spf.prompts import ComposedPrompt, compose
from spf.rows import read_rows
from spf.sampling import draw_texts
from spf.words import worded

ROWS, ABOUT = "rows.jsonl", "about.json"
SCALE = 100.0
"""CLIP's own factor on cosines, which turns them into the evidence of a choice."""
TRIES = 10
"""Drawings for each one wanted, after which the model is taken not to know the target."""


@dataclass(frozen=True)
class Made:
    """drawn: how many drawings there are by now; kept: those that show the target."""

    drawn: int
    kept: int


@torch.inference_mode()
def make_set(
    base: Base,
    target: str,
    out: Path,
    *,
    count: int = 300,
    sure: float = 0.6,
    steps: int = 30,
    guidance: float = 7.0,
    batch: int = 4,
    seed: int = 0,
    callback: Callable[[int, int], None] | None = None,
) -> Made:
    """Draws until `count` pictures show the target. callback: (kept, count) after each batch.

    sure: the least that CLIP must give the text with the target rather than the one without. Raises
    BadInput for a base without CLIP, a folder of another set, or a target that the model does not
    draw.
    """
    if not worded(target):
        raise BadInput(f"target is {target!r} but must say what to draw, for example: a hat.")
    if base.clip is None:
        base.clip_texts([target])  # says how to get one
    about = {"target": target, "model": base.name, "seed": seed, "sure": sure, "batch": batch}
    about |= {"steps": steps, "guidance": guidance}
    _claim(out, about)
    rows = {row["number"]: row for row in read_rows(out / ROWS)} if (out / ROWS).is_file() else {}
    kept = sum(row["kept"] for row in rows.values())

    number = len(rows)
    while kept < count:
        if number >= TRIES * count:
            raise BadInput(
                f"target is {target!r} but {kept} of {number} drawings show it: this model does not"
                " draw it, or --sure asks for too much."
            )
        numbers = list(range(number, number + batch))
        prompts = [text_of(target, seed, one) for one in numbers]
        texts, seeds = [prompt.complete for prompt in prompts], [seed + one for one in numbers]
        latents = draw_texts(base, texts, seeds, steps=steps, guidance=guidance)
        pictures = base.pictures(latents)
        shares = shown(base, pictures, prompts)

        with (out / ROWS).open("a", encoding="utf-8") as file:
            for one, prompt, picture, share in zip(numbers, prompts, pictures, shares, strict=True):
                good = bool(share >= sure) and kept < count
                if good:
                    _store(out / f"{one:05d}", picture, prompt.complete)
                row = {"number": one, "share": round(float(share), 4), "kept": good}
                file.write(json.dumps(row) + "\n")
                kept += good
        number += batch
        if callback:
            callback(kept, count)
    return Made(number, kept)


def text_of(target: str, seed: int, number: int) -> ComposedPrompt:
    """The text of a drawing: a person at random, with the target."""
    rng = np.random.default_rng([seed, number])
    return compose(caption(sample_portrait(rng, split="train"), rng).text, target)


def shown(base: Base, pictures: np.ndarray, prompts: list[ComposedPrompt]) -> np.ndarray:
    """How sure CLIP is [B] that each picture shows the complete text rather than the base text."""
    images = base.clip_images(as_pixels(pictures).to(base.device))
    asked, plain = (
        base.clip_texts([getattr(prompt, name) for prompt in prompts])
        for name in ("complete", "base")
    )
    margin = (images * (asked - plain)).sum(1)
    return torch.sigmoid(SCALE * margin).cpu().numpy()


def _claim(out: Path, about: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    file = out / ABOUT
    if file.is_file() and read_json(file) != about:
        raise BadInput(
            f"{out} holds a set of another target or other settings; give another --out."
        )
    if not file.is_file():
        write_json(file, about)


def _store(stem: Path, picture: np.ndarray, text: str) -> None:
    with atomic(stem.with_suffix(".png")) as draft:
        Image.fromarray(picture).save(draft, format="PNG")
    with atomic(stem.with_suffix(".txt")) as draft:
        draft.write_text(text, encoding="utf-8")
