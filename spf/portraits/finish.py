"""What happens to a whole picture after it is drawn: painted in watercolor, or faded like an old
photo."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter


def watercolor(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wet colour on paper: outlines waver, washes pool and pale, the corners stay unpainted.

    uint8 [S,S,3] of the supersampled picture -> the same shape.
    """
    side = image.shape[0]

    def clouds(cells: int) -> np.ndarray:
        grid = Image.fromarray(rng.random((cells, cells), np.float32), "F")
        return np.asarray(grid.resize((side, side), Image.BICUBIC))

    wavered = _displaced(image, clouds(18) - 0.5, clouds(18) - 0.5, 0.024 * side)
    soft = np.asarray(
        Image.fromarray(wavered).filter(ImageFilter.GaussianBlur(side / 480)), np.float32
    )
    wide = np.asarray(
        Image.fromarray(wavered).filter(ImageFilter.GaussianBlur(side / 60)), np.float32
    )
    tone = soft / 255
    rim = np.abs(soft - wide).mean(2, keepdims=True) / 255

    strength = 0.74 + 0.24 * clouds(6)[..., None]
    tone = 1 - (1 - tone) * strength  # washes are paler than paint
    tone = tone - rim * 0.7  # pigment gathers where washes meet

    ys, xs = np.mgrid[:side, :side] / side - 0.5
    reach = np.hypot(xs, ys) + 0.10 * (clouds(7) - 0.5)
    bare = ((reach - 0.52) / 0.05).clip(0, 1)[..., None]
    paper = np.array([0.990, 0.972, 0.935])
    return ((tone * (1 - bare) + bare) * paper * 255).clip(0, 255).astype(np.uint8)


def _displaced(image: np.ndarray, dy: np.ndarray, dx: np.ndarray, most: float) -> np.ndarray:
    """Each pixel taken from up to `most` pixels away."""
    side = image.shape[0]
    ys, xs = np.mgrid[:side, :side]
    at = [
        (grid + shift * most).round().clip(0, side - 1).astype(int)
        for grid, shift in ((ys, dy), (xs, dx))
    ]
    return image[at[0], at[1]]


def old_photo(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sepia that has lost some contrast, with darkened corners, a scratch on each side of the face
    and a pale border.

    uint8 [S,S,3] of the supersampled picture -> the same shape.
    """
    side = image.shape[0]
    gray = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    gray = 0.08 + 0.86 * gray

    ys, xs = np.mgrid[:side, :side] / side - 0.5
    gray = gray * (1 - 0.8 * (np.hypot(xs, ys) - 0.38).clip(0))
    for side_of_face in (-1, 1):
        x, lean = side_of_face * rng.uniform(0.30, 0.44), rng.uniform(-0.06, 0.06)
        gray = np.where(np.abs(xs - x - lean * ys) < 0.004, gray * 0.4 + 0.55, gray)

    sepia = gray[..., None] * np.array([1.06, 0.92, 0.70]) + np.array([0.02, 0.015, 0.01])
    border = (np.maximum(np.abs(xs), np.abs(ys)) > 0.47)[..., None]
    return (np.where(border, [0.95, 0.92, 0.84], sepia) * 255).clip(0, 255).astype(np.uint8)
