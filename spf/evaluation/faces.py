"""Drawn faces that people have labelled, and how the judge of form agrees with them.

    images = draw_faces(base, 120)
    write_faces(images, "assets/faces")           # faces.webp, labels.csv to be filled in
    agreement(judge, *read_faces("assets/faces"))

A label is what one person said who saw the enlarged sheet and nothing else: 1 for a face that is
well formed (two eyes that match or whole glasses, a nose, a mouth, nothing smeared), else 0.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from spf.errors import BadInput
from spf.evaluation.form import FormJudge
from spf.files import atomic
from spf.models import Base
from spf.pixels import as_pictures, as_pixels
from spf.portraits.captions import caption, compose
from spf.portraits.dataset import sample_many
from spf.portraits.description import ATTRIBUTES
from spf.sampling import draw_texts

PICTURES, LABELS = "faces.webp", "labels.csv"
COLUMNS, ZOOM, LABEL = 12, 2, 14
STEPS = (6, 12, 25)
"""Steps of the drawings, in turn: few steps spoil more faces, and both kinds are needed."""


@torch.no_grad()
def draw_faces(base: Base, count: int, seed: int = 41, batch: int = 12) -> np.ndarray:
    """Pictures uint8 [N,S,S,3] for unseen captions, every second one complete."""
    rng = np.random.default_rng(seed)
    people = sample_many("none", count, seed, "test")
    texts = [
        (compose(p, set(ATTRIBUTES), rng) if number % 2 else caption(p, rng)).text
        for number, p in enumerate(people)
    ]
    images = np.empty((count, base.image_size, base.image_size, 3), np.uint8)
    for place, steps in enumerate(STEPS):
        numbers = range(place, count, len(STEPS))
        for first in range(0, len(numbers), batch):
            some = numbers[first : first + batch]
            seeds = [seed * 1000 + number for number in some]
            latents = draw_texts(base, [texts[number] for number in some], seeds, steps=steps)
            images[list(some)] = as_pictures(base.decode(latents))
    return images


def write_faces(images: np.ndarray, folder: str | Path) -> Path:
    """Write the pictures, a sheet to look at, and labels to be filled in; returns the sheet."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    side = images.shape[1]
    rows = -(-len(images) // COLUMNS)
    plain = Image.new("RGB", (COLUMNS * side, rows * side), "white")
    zoomed, high = side * ZOOM, side * ZOOM + LABEL
    sheet = Image.new("RGB", (COLUMNS * zoomed, rows * high), "white")
    for number, image in enumerate(map(Image.fromarray, images)):
        row, column = divmod(number, COLUMNS)
        plain.paste(image, (column * side, row * side))
        at = (column * zoomed, row * high)
        ImageDraw.Draw(sheet).text(at, str(number + 1), "black", ImageFont.load_default(12))
        sheet.paste(image.resize((zoomed, zoomed), Image.BICUBIC), (at[0], at[1] + LABEL))

    with atomic(folder / PICTURES) as draft:
        plain.save(draft, format="WEBP", quality=92)
    with atomic(folder / LABELS) as draft, open(draft, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("number", "well"), *((i + 1, "") for i in range(len(images)))])
    with atomic(folder / "sheet.png") as draft:
        sheet.save(draft, format="PNG")
    return folder / "sheet.png"


def read_faces(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The labelled pictures uint8 [N,S,S,3] and their labels bool [N].

    Raises BadInput for a label that is neither 0 nor 1, or numbers that are not 1, 2, ... in order.
    """
    folder = Path(folder)
    with open(folder / LABELS, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    for number, line in enumerate(lines, start=1):
        if line.get("number") != str(number) or line.get("well") not in ("0", "1"):
            raise BadInput(
                f"line {number + 1} of {folder / LABELS} is {','.join(map(str, line.values()))!r} "
                f"but must be {number} and a label, 0 or 1."
            )
    with Image.open(folder / PICTURES) as file:
        sheet = np.asarray(file.convert("RGB"))
    side = sheet.shape[1] // COLUMNS
    tiles = sheet.reshape(-1, side, COLUMNS, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    if not 0 < len(lines) <= len(tiles):
        raise BadInput(f"{folder / LABELS} has {len(lines)} labels for {len(tiles)} pictures.")
    return tiles[: len(lines)], np.array([line["well"] == "1" for line in lines])


def agreement(judge: FormJudge, images: np.ndarray, labels: Sequence[bool]) -> dict[str, float]:
    """How often the judge says what people said.

    agree: share of all. well, broken: share of the faces with that label that it tells as such.
    area: probability that a well-formed face gets the higher value of a pair (area under the ROC).
    """
    formed = judge.read(as_pixels(images)).formed.cpu().numpy()
    labels = np.asarray(labels, bool)
    said = formed >= 0.5
    above = formed[labels][:, None] - formed[~labels][None]
    share = lambda some: float(np.mean(some)) if len(some) else float("nan")  # noqa: E731
    return {
        "faces": len(labels),
        "agree": share(said == labels),
        "well": share(said[labels]),
        "broken": share(~said[~labels]),
        "area": share(np.where(above == 0, 0.5, above > 0).ravel()),
    }
