"""Maps as pictures: heat over a portrait, and strips of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

COLOURS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float)
"""Dark to bright, readable in grey as well; in between is interpolated."""
GAP = 4


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """Colours [..., 3] from 0 to 255 of values from 0 to 1."""
    places = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heat, places, channel) for channel in COLOURS.T], -1)


def overlay(picture: np.ndarray, heat: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """A map [h,w] with values from 0 to 1 over a portrait uint8 [H,W,3]; where it is 0 the grey
    portrait shows through.
    """
    height, width = picture.shape[:2]
    large = np.asarray(
        Image.fromarray(np.clip(heat, 0, 1).astype(np.float32)).resize(
            (width, height), Image.BILINEAR
        )
    )
    grey = np.asarray(Image.fromarray(picture).convert("L").convert("RGB"), np.float32)
    share = opacity * (0.35 + 0.65 * large[..., None])
    return ((1 - share) * grey + share * heat_colours(large)).round().astype(np.uint8)


def strip(rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    """Equal pictures uint8 [H,W,3] on one white sheet, row by row."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    sheet = Image.new(
        "RGB", (columns * (width + GAP) + GAP, len(rows) * (height + GAP) + GAP), "white"
    )
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(
                Image.fromarray(picture), (GAP + x * (width + GAP), GAP + y * (height + GAP))
            )
    return sheet


def attention_strip(
    picture: np.ndarray, maps: Sequence[np.ndarray], columns: int = 10
) -> Image.Image:
    """Attention over the denoising steps: one row for each of `maps` [S,h,w], at most `columns`
    steps from first to last.

    The steps of a row share one scale, so that growing attention looks like it.
    """
    rows = []
    for steps in maps:
        picks = np.unique(
            np.linspace(0, len(steps) - 1, min(columns, len(steps))).round().astype(int)
        )
        low, high = float(steps.min()), float(steps.max())
        rows.append([overlay(picture, (steps[i] - low) / max(high - low, 1e-8)) for i in picks])
    return strip(rows)
