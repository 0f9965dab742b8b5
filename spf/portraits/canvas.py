"""A supersampled picture with its region map, and the curves that are drawn on it.

Points are in parts of the picture's side, y grows downwards; `Canvas.move` says where a part's own
coordinates lie.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

REGIONS = (
    "background",
    "clothing",
    "neck",
    "face",
    "ear",
    "hair",
    "brows",
    "eyes",
    "nose",
    "mouth",
    "beard",
    "eyewear",
    "hat",
    "necklace",
)

SUPERSAMPLE = 3

Color = tuple[int, int, int]


def region_mask(regions: np.ndarray, names: Collection[str]) -> np.ndarray:
    """Where one of the named regions is: bool, in the shape of `regions`, int with indices into
    REGIONS.
    """
    return np.isin(regions, [REGIONS.index(name) for name in names])


def mix(a: Color, b: Color, t: float) -> Color:
    """The colour at `t` on the way from `a` (0) to `b` (1)."""
    return tuple(int(round(x + (y - x) * t)) for x, y in zip(a, b, strict=True))


def lighter(color: Color, t: float) -> Color:
    return mix(color, (255, 255, 255), t)


def darker(color: Color, t: float) -> Color:
    return mix(color, (26, 12, 28), t)


def smooth(points, n: int = 10) -> np.ndarray:
    """Closed Catmull-Rom curve through the points, [len * n, 2]."""
    p1 = np.asarray(points, float)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = (np.arange(n) / n)[:, None, None]

    linear = (p2 - p0) * t
    square = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
    cubic = (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return 0.5 * (2 * p1 + linear + square + cubic).transpose(1, 0, 2).reshape(-1, 2)


def ellipse(cx: float, cy: float, rx: float, ry: float, n: int = 36) -> np.ndarray:
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([cx + rx * np.cos(a), cy + ry * np.sin(a)], 1)


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def mirror(half) -> list[tuple[float, float]]:
    """Close a right half outline (top to bottom) with its mirror image about x = 0."""
    return list(half) + [(-x, y) for x, y in reversed(half) if abs(x) > 1e-6]


def stroke(points, width: float) -> np.ndarray:
    """A tapered stroke along points: thin at both ends, `width` in the middle."""
    p = np.asarray(points, float)
    at, slope, profile = _stroke_basis(len(p))
    line, d = at @ p, slope @ p

    normal = np.stack([-d[:, 1], d[:, 0]], 1) / (np.hypot(d[:, 0], d[:, 1])[:, None] + 1e-9)
    offset = normal * (width / 2 * profile)
    return np.concatenate([line + offset, (line - offset)[::-1]])


@cache
def _stroke_basis(n: int):
    """The polynomial through n points at 14 places, its slope there, and the width of a stroke
    there."""
    s = np.linspace(0, 1, 14)
    powers = np.linalg.inv(np.vander(np.linspace(0, 1, n), increasing=True))
    at = np.vander(s, n, increasing=True) @ powers
    slope = np.stack([k * s ** max(k - 1, 0) for k in range(n)], 1) @ powers
    return at, slope, (0.35 + 0.65 * np.sin(np.pi * s))[:, None]


_SOLID = [255 if v > 100 else 0 for v in range(256)]  # where a soft edge still counts as the shape


@cache
def _times(alpha: float) -> list[int]:
    return [int(v * alpha) for v in range(256)]


@cache
def _ramp(shade: float) -> Image.Image:
    """Shadow that grows towards the lower right, 32 x 32."""
    t = np.linspace(0, 1, 32)
    ramp = (t[None, :] * 0.6 + t[:, None] * 0.4 - 0.25).clip(0) / 0.75
    return Image.fromarray((ramp**1.3 * 255 * shade).astype(np.uint8))


class Canvas:
    """A picture of `size` pixels a side, drawn at three times that size, and its region map."""

    def __init__(self, size: int):
        self.side = size * SUPERSAMPLE
        self.image = Image.new("RGB", (self.side, self.side))
        self.regions = Image.new("L", (self.side, self.side), 0)
        self.move = lambda points: points

    def mask(self, points) -> tuple[Image.Image, tuple[int, int]] | None:
        """The shape as a mask and its upper left corner; None where it lies outside the picture."""
        p = self.move(np.asarray(points, float)) * self.side
        x0, y0 = np.maximum(np.floor(p.min(0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(p.max(0)).astype(int) + 2, self.side)
        if x1 <= x0 or y1 <= y0:
            return None

        mask = Image.new("L", (int(x1 - x0), int(y1 - y0)), 0)
        ImageDraw.Draw(mask).polygon((p - (x0, y0)).ravel().tolist(), fill=255)
        return mask, (int(x0), int(y0))

    def fill(
        self, points, color, region=None, *, shade=0.0, blur=0.0, alpha=1.0, inside=None, hole=None
    ):
        """Fill a shape.

        `shade` darkens towards the lower right, `blur` softens the edge (parts of the side),
        `inside` clips to another shape and `hole` leaves one out.
        """
        made = self.mask(points)
        if made is None:
            return
        mask, at = made
        if blur:
            mask, at = self._blurred(mask, at, blur)
        if inside is not None:
            clip = self._aligned(inside, mask.size, at)
            mask = ImageChops.multiply(mask, clip)
        if hole is not None:
            clip = self._aligned(hole, mask.size, at)
            mask = ImageChops.subtract(mask, clip)
        if alpha < 1:
            mask = mask.point(_times(alpha))

        place = (at[0], at[1], at[0] + mask.width, at[1] + mask.height)
        if shade:
            ramp = _ramp(round(min(shade, 1), 2)).resize(mask.size, Image.BILINEAR)
            shadow = Image.new("RGB", mask.size, darker(color, 0.5))
            paint = Image.composite(shadow, Image.new("RGB", mask.size, color), ramp)
            self.image.paste(paint, at, mask)
        else:
            self.image.paste(tuple(color), place, mask)
        if region is not None:
            self.regions.paste(REGIONS.index(region), place, mask.point(_SOLID))

    def gradient(self, top, bottom, y0=0.0, y1=1.0):
        """A vertical blend over the picture's whole width from y0 to y1."""
        a, b = int(y0 * self.side), int(y1 * self.side)
        t = np.linspace(0, 1, max(b - a, 1))[:, None, None]
        rows = np.asarray(top, float) * (1 - t) + np.asarray(bottom, float) * t
        pixels = np.repeat(rows.round().astype(np.uint8), self.side, 1)
        self.image.paste(Image.fromarray(pixels), (0, a))

    def _blurred(self, mask: Image.Image, at: tuple[int, int], blur: float):
        pad = int(blur * self.side * 2.5)
        grown = Image.new("L", (mask.width + 2 * pad, mask.height + 2 * pad), 0)
        grown.paste(mask, (pad, pad))
        soft = grown.filter(ImageFilter.GaussianBlur(blur * self.side))
        return soft, (at[0] - pad, at[1] - pad)

    def _aligned(self, points, size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
        """The mask of another shape in the frame of the one that lies at `at`."""
        clip, other = Image.new("L", size, 0), self.mask(points)
        if other is not None:
            clip.paste(other[0], (other[1][0] - at[0], other[1][1] - at[1]))
        return clip
