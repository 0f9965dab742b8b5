"""From a description to a picture, with the region that every pixel belongs to.

Shapes are smooth closed curves drawn at three times the size with shading, then reduced. Lengths are parts of the
picture's side; the head group is tilted about the neck. Equal descriptions give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from spf.portraits.description import IDENTITY, Portrait

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

_SUPERSAMPLE = 3
_ZOOM, _ZOOM_AT = 1.15, np.array([0.5, 0.76])  # the person, not the background

SKIN = {
    "fair": (248, 216, 195),
    "tan": (226, 176, 132),
    "brown": (176, 118, 80),
    "dark": (122, 78, 56),
}
HAIR = {
    "black": (38, 34, 40),
    "brown": (104, 62, 34),
    "red": (186, 76, 28),
    "gray": (168, 170, 176),
    "blonde": (236, 200, 104),
}
CLOTH = {
    "white": (238, 238, 240),
    "red": (198, 46, 52),
    "blue": (52, 92, 190),
    "green": (46, 140, 84),
    "yellow": (240, 196, 60),
    "black": (46, 48, 56),
}
WALL = {
    "gray": (172, 174, 180),
    "blue": (142, 188, 232),
    "green": (158, 208, 156),
    "orange": (246, 188, 128),
}
HATS = ((128, 78, 46), (176, 40, 44), (44, 58, 104), (92, 92, 98))


@dataclass(frozen=True)
class Drawing:
    """image: uint8 [S, S, 3]; regions: uint8 [S, S], index into REGIONS."""

    image: np.ndarray
    regions: np.ndarray

    def mask(self, *names: str) -> np.ndarray:
        """bool [S, S], true where one of the named regions lies; the whole picture without names."""
        if not names:
            return np.ones(self.regions.shape, bool)
        return np.isin(self.regions, [REGIONS.index(n) for n in names])


def _mix(a, b, t: float) -> tuple[int, int, int]:
    return tuple(int(round(x + (y - x) * t)) for x, y in zip(a, b))


def _lighter(c, t):
    return _mix(c, (255, 255, 255), t)


def _darker(c, t):
    return _mix(c, (20, 10, 24), t)


def _smooth(points, n: int = 10) -> np.ndarray:
    """Closed Catmull-Rom curve through the points, [len * n, 2]."""
    p1 = np.asarray(points, float)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = (np.arange(n) / n)[:, None, None]
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def _ellipse(cx, cy, rx, ry, n: int = 36) -> np.ndarray:
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([cx + rx * np.cos(a), cy + ry * np.sin(a)], 1)


def _mirror(half, cx=0.0) -> list:
    """Close a right half outline (top to bottom) with its mirror image about x = cx."""
    return list(half) + [(2 * cx - x, y) for x, y in reversed(half) if abs(x - cx) > 1e-6]


def _arc(points, width) -> np.ndarray:
    """A tapered stroke along points: thin at both ends, `width` in the middle."""
    p = np.asarray(points, float)
    at, slope, profile = _arc_basis(len(p))
    line, d = at @ p, slope @ p
    normal = np.stack([-d[:, 1], d[:, 0]], 1) / (np.hypot(d[:, 0], d[:, 1])[:, None] + 1e-9)
    offset = normal * (width / 2 * profile)
    return np.concatenate([line + offset, (line - offset)[::-1]])


@cache
def _arc_basis(n: int):
    """The polynomial through n points at 14 places, its slope there, and how thick a stroke is there."""
    s = np.linspace(0, 1, 14)
    powers = np.linalg.inv(np.vander(np.linspace(0, 1, n), increasing=True))
    at = np.vander(s, n, increasing=True) @ powers
    slope = np.stack([k * s ** max(k - 1, 0) for k in range(n)], 1) @ powers
    return at, slope, (0.25 + 0.75 * np.sin(np.pi * s))[:, None]


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


class _Canvas:
    """A supersampled picture and its region map; points are in parts of the picture's side."""

    def __init__(self, size: int):
        self.side = size * _SUPERSAMPLE
        self.image = Image.new("RGB", (self.side, self.side))
        self.regions = Image.new("L", (self.side, self.side), 0)
        self.move = lambda p: p

    def mask(self, points) -> tuple[Image.Image, tuple[int, int]] | None:
        p = self.move(np.asarray(points, float)) * self.side
        x0, y0 = np.maximum(np.floor(p.min(0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(p.max(0)).astype(int) + 2, self.side)
        if x1 <= x0 or y1 <= y0:
            return None
        mask = Image.new("L", (int(x1 - x0), int(y1 - y0)), 0)
        ImageDraw.Draw(mask).polygon((p - (x0, y0)).ravel().tolist(), fill=255)
        return mask, (int(x0), int(y0))

    def fill(self, points, color, region=None, *, shade=0.0, blur=0.0, alpha=1.0, inside=None):
        """Fill a shape; `shade` darkens towards the lower right, `inside` clips to another shape."""
        made = self.mask(points)
        if made is None:
            return
        mask, at = made
        if blur:
            pad = int(blur * self.side * 2.5)
            grown = Image.new("L", (mask.width + 2 * pad, mask.height + 2 * pad), 0)
            grown.paste(mask, (pad, pad))
            mask, at = (
                grown.filter(ImageFilter.GaussianBlur(blur * self.side)),
                (at[0] - pad, at[1] - pad),
            )
        if inside is not None:
            clip = Image.new("L", mask.size, 0)
            other = self.mask(inside)
            if other is None:
                return
            clip.paste(other[0], (other[1][0] - at[0], other[1][1] - at[1]))
            mask = ImageChops.multiply(mask, clip)
        if alpha < 1:
            mask = mask.point(_times(alpha))
        if shade:
            w, h = mask.size
            ramp = _ramp(round(min(shade, 1), 2)).resize((w, h), Image.BILINEAR)
            paint = Image.composite(
                Image.new("RGB", mask.size, _darker(color, 0.6)),
                Image.new("RGB", mask.size, color),
                ramp,
            )
            self.image.paste(paint, at, mask)
        else:
            self.image.paste(
                tuple(color), (at[0], at[1], at[0] + mask.width, at[1] + mask.height), mask
            )
        if region is not None:
            hard = mask.point(_SOLID)
            self.regions.paste(
                REGIONS.index(region), (at[0], at[1], at[0] + mask.width, at[1] + mask.height), hard
            )

    def gradient(self, top, bottom, y0=0.0, y1=1.0):
        a, b = int(y0 * self.side), int(y1 * self.side)
        t = np.linspace(0, 1, max(b - a, 1))[:, None, None]
        rows = (
            (np.asarray(top, float) * (1 - t) + np.asarray(bottom, float) * t)
            .round()
            .astype(np.uint8)
        )
        self.image.paste(Image.fromarray(np.repeat(rows, self.side, 1)), (0, a))


class _Face:
    """The measures of one head, from identity, gender and age; y grows downwards, origin at the face's centre."""

    def __init__(self, p: Portrait):
        m = dict(zip(IDENTITY, p.identity))
        man, old = p.gender == "man", p.age == "old"
        self.w = 0.152 * (1 + 0.12 * m["face width"]) * (1.05 if man else 0.97)
        self.h = 0.198 * (1 + 0.09 * m["face length"]) * (1.03 if man else 0.99)
        self.jaw = m["jaw"] * 0.14 + (0.14 if man else -0.10) + (0.05 if old else 0)
        self.eye_x = self.w * (0.46 + 0.07 * m["eye distance"])
        self.eye_y = -0.012
        self.eye_w = (
            0.038
            * (1 + 0.18 * m["eye size"])
            * (0.93 if man else 1.08)
            * (1.06 if p.age == "young" else 0.95)
        )
        self.brow_y = self.eye_y - 0.050 - 0.011 * m["brow height"] - (0 if man else 0.005)
        self.brow_t = 0.0165 * (1 + 0.40 * m["brow thickness"]) * (1.35 if man else 0.72)
        self.nose_y = self.h * (0.36 + 0.07 * m["nose length"])
        self.nose_w = 0.023 * (1 + 0.35 * m["nose width"]) * (1.1 if man else 0.92)
        self.mouth_y = self.h * 0.62
        self.mouth_w = 0.051 * (1 + 0.20 * m["mouth width"])

    def outline(self, grow=0.0):
        w, h, j = self.w + grow, self.h + grow, self.jaw
        return _smooth(
            _mirror(
                [
                    (0, -h),
                    (w * 0.72, -h * 0.82),
                    (w, -h * 0.28),
                    (w * 0.985, h * 0.16),
                    (w * (0.83 + 0.35 * j), h * 0.60),
                    (w * (0.42 + 0.55 * j), h * 0.92),
                    (0, h * 1.0),
                ]
            )
        )


def _background(c: _Canvas, p: Portrait, rng):
    kind = p.background
    if kind in WALL:
        color = _mix(WALL[kind], tuple(rng.integers(110, 250, 3)), 0.06)
        c.gradient(_lighter(color, 0.16), _darker(color, 0.12))
        c.fill(_ellipse(0.3, 0.25, 0.34, 0.3), _lighter(color, 0.45), blur=0.1, alpha=0.55)
    elif kind == "curtain":
        base, n = (158, 44, 62), 9
        c.gradient(base, _darker(base, 0.25))
        off = rng.uniform(0, 0.1)
        for i in range(-1, n + 1):
            x = (i + off * 5) / n
            fold = [
                (x, -0.05),
                (x + 0.05, -0.05),
                (x + 0.06, 0.5),
                (x + 0.045, 1.05),
                (x - 0.01, 1.05),
                (x + 0.012, 0.5),
            ]
            c.fill(_smooth(fold), _darker(base, 0.34), blur=0.008)
            c.fill(
                _smooth(
                    [(q[0] + 0.062, q[1]) for q in fold[:3]]
                    + [(x + 0.09, 1.05), (x + 0.075, 1.05), (x + 0.08, 0.5)]
                ),
                _lighter(base, 0.16),
                blur=0.01,
            )
    elif kind == "window":
        wall = (226, 214, 196)
        c.gradient(_lighter(wall, 0.1), _darker(wall, 0.1))
        x0, x1, y1 = 0.09 + rng.uniform(-0.02, 0.02), 0.91 + rng.uniform(-0.02, 0.02), 0.72
        box = lambda a, b, d, e: [(a, b), (d, b), (d, e), (a, e)]  # noqa: E731
        c.fill(box(x0, 0.05, x1, y1), (252, 252, 250))
        for i in range(2):
            for k in range(2):
                a, d = x0 + 0.025 + i * (x1 - x0) / 2, x0 + (i + 1) * (x1 - x0) / 2 - 0.025
                b, e = 0.08 + k * 0.325, 0.08 + (k + 1) * 0.325 - 0.02
                c.fill(box(a, b, d, e), _mix((150, 204, 244), (206, 232, 250), k))
                c.fill(
                    [(a + 0.03, e), (a + 0.1, b), (a + 0.15, b), (a + 0.08, e)],
                    (255, 255, 255),
                    alpha=0.3,
                )
        c.fill(box(x0 - 0.03, y1, x1 + 0.03, y1 + 0.035), (240, 236, 228), shade=0.2)
    elif kind == "sea":
        c.gradient((126, 190, 240), (226, 240, 248), 0, 0.56)
        c.gradient((36, 122, 176), (18, 84, 140), 0.56, 0.84)
        c.gradient((240, 220, 170), (222, 194, 140), 0.84, 1.0)
        c.fill(
            _ellipse(0.12 + rng.uniform(0, 0.14), 0.14, 0.055, 0.055), (255, 246, 190), blur=0.008
        )
        for y in (0.61, 0.67, 0.74, 0.80):
            for x in rng.uniform(0, 1, 4):
                c.fill(
                    _arc([(x - 0.07, y), (x, y - 0.008), (x + 0.07, y)], 0.009),
                    (196, 230, 244),
                    alpha=0.8,
                )
        c.fill(
            _smooth(
                [
                    (-0.02, 0.835),
                    (0.2, 0.826),
                    (0.5, 0.838),
                    (0.8, 0.826),
                    (1.02, 0.836),
                    (1.02, 0.85),
                    (-0.02, 0.85),
                ]
            ),
            (250, 250, 246),
        )
    else:  # park
        c.gradient((164, 216, 246), (226, 242, 236), 0, 0.65)
        for x in (
            np.arange(0.02, 1.0, 0.16)
            + rng.uniform(-0.03, 0.03, 7)[: len(np.arange(0.02, 1.0, 0.16))]
        ):
            y, r, green = (
                0.40 + rng.uniform(-0.1, 0.04),
                rng.uniform(0.11, 0.15),
                _mix((54, 128, 62), (96, 164, 74), rng.random()),
            )
            c.fill(
                [(x - 0.015, y), (x + 0.015, y), (x + 0.02, 0.7), (x - 0.02, 0.7)], (110, 82, 56)
            )
            for dx, dy, s in ((0, 0, 1), (-0.06, 0.05, 0.7), (0.06, 0.04, 0.75)):
                c.fill(_ellipse(x + dx, y + dy, r * s, r * s), green, shade=0.45)
            c.fill(
                _ellipse(x - 0.04, y - 0.05, r * 0.45, r * 0.4),
                _lighter(green, 0.25),
                blur=0.015,
                alpha=0.8,
            )
        c.gradient((126, 190, 92), (84, 152, 70), 0.64, 1.0)


def _clothes(c: _Canvas, p: Portrait, f: _Face, cx: float, skin, rng):
    color = _mix(CLOTH[p.clothing_color], tuple(rng.integers(0, 255, 3)), 0.04)
    line = _darker(color, 0.45) if p.clothing_color != "black" else _lighter(color, 0.28)
    width = (0.335 if p.gender == "man" else 0.285) * (1 + 0.15 * p.identity[0] * 0.5)
    top, neck = 0.735, f.w * 0.52
    body = _smooth(
        _mirror(
            [
                (cx, top + 0.005),
                (cx + neck * 1.1, top - 0.012),
                (cx + width * 0.72, top + 0.052),
                (cx + width, top + 0.14),
                (cx + width * 1.07, 1.12),
            ],
            cx,
        )
    )
    if p.clothing == "dress":
        c.fill(body, skin, "neck", shade=0.5)
        bodice = _smooth(
            _mirror(
                [
                    (cx, top + 0.135),
                    (cx + 0.06, top + 0.125),
                    (cx + 0.125, top + 0.07),
                    (cx + 0.165, top + 0.022),
                    (cx + 0.20, top + 0.04),
                    (cx + width * 0.82, top + 0.16),
                    (cx + width * 0.86, 1.12),
                ],
                cx,
            )
        )
        c.fill(bodice, color, "clothing", shade=0.45)
        edge = (
            _lighter(color, 0.5)
            if p.clothing_color not in ("white", "yellow")
            else _darker(color, 0.25)
        )
        for row, y in enumerate(np.arange(top + 0.155, 1.0, 0.055)):
            for x in cx + (np.arange(-4, 5) + row % 2 / 2) * 0.068:
                c.fill(_ellipse(x, y, 0.0165, 0.0165, 14), edge, inside=bodice)
        c.fill(
            _arc(
                [
                    (cx - 0.16, top + 0.03),
                    (cx - 0.07, top + 0.12),
                    (cx + 0.07, top + 0.12),
                    (cx + 0.16, top + 0.03),
                ],
                0.019,
            ),
            edge,
        )
        return
    c.fill(body, color, "clothing", shade=0.55)
    opening = lambda depth, half: _smooth(
        _mirror(
            [
                (cx, top - 0.03),
                (cx + half, top - 0.03),
                (cx + half * 0.75, top + depth * 0.5),
                (cx, top + depth),
            ],
            cx,
        ),
        8,
    )  # noqa: E731
    vee = lambda depth, half: [
        (cx - half, top - 0.025),
        (cx + half, top - 0.025),
        (cx, top + depth),
    ]  # noqa: E731
    if p.clothing == "T-shirt":
        c.fill(opening(0.078, neck * 1.45), _darker(color, 0.25), "clothing")
        c.fill(opening(0.058, neck * 1.25), skin, "neck", shade=0.3)
        for s in (-1, 1):
            c.fill(
                _arc(
                    [
                        (cx + s * width * 0.70, 1.02),
                        (cx + s * width * 0.74, top + 0.19),
                        (cx + s * width * 0.78, top + 0.13),
                    ],
                    0.009,
                ),
                line,
                alpha=0.6,
            )
    elif p.clothing == "shirt":
        c.fill(vee(0.06, neck), skin, "neck", shade=0.3)
        collar = _lighter(color, 0.25)
        for s in (-1, 1):
            c.fill(
                [
                    (cx + s * neck * 1.25, top - 0.035),
                    (cx, top + 0.058),
                    (cx + s * 0.045, top + 0.115),
                    (cx + s * neck * 1.75, top + 0.03),
                ],
                collar,
                "clothing",
                shade=0.3,
            )
            c.fill(
                _arc(
                    [
                        (cx, top + 0.058),
                        (cx + s * 0.045, top + 0.115),
                        (cx + s * neck * 1.75, top + 0.03),
                    ],
                    0.006,
                ),
                line,
                alpha=0.7,
            )
        c.fill(
            [
                (cx - 0.004, top + 0.07),
                (cx + 0.004, top + 0.07),
                (cx + 0.004, 1.02),
                (cx - 0.004, 1.02),
            ],
            line,
            alpha=0.8,
        )
        for y in (top + 0.12, top + 0.18, top + 0.24):
            c.fill(
                _ellipse(cx + 0.018, y, 0.0125, 0.0125, 14),
                _lighter(color, 0.75) if p.clothing_color != "white" else (150, 150, 160),
                "clothing",
            )
    elif p.clothing == "jacket":
        inner = (236, 236, 232) if p.clothing_color != "white" else (120, 130, 150)
        c.fill(
            [
                (cx - neck * 1.15, top - 0.03),
                (cx + neck * 1.15, top - 0.03),
                (cx + 0.06, 1.05),
                (cx - 0.06, 1.05),
            ],
            inner,
            "clothing",
            shade=0.25,
        )
        c.fill(opening(0.05, neck), skin, "neck", shade=0.3)
        for s in (-1, 1):
            c.fill(
                _smooth(
                    [
                        (cx + s * neck * 0.95, top - 0.05),
                        (cx + s * neck * 1.9, top - 0.02),
                        (cx + s * neck * 2.2, top + 0.05),
                        (cx + s * neck * 1.1, top + 0.06),
                    ]
                ),
                _darker(color, 0.2) if p.clothing_color != "black" else _lighter(color, 0.15),
                "clothing",
                shade=0.3,
            )
            c.fill(
                _arc(
                    [
                        (cx + s * neck * 1.1, top + 0.03),
                        (cx + s * 0.075, top + 0.14),
                        (cx + s * 0.062, 1.03),
                    ],
                    0.014,
                ),
                (212, 176, 92),
                "clothing",
            )
            c.fill(
                _arc(
                    [(cx + s * 0.12, 0.93), (cx + s * 0.17, 0.925), (cx + s * 0.215, 0.905)], 0.011
                ),
                line,
                alpha=0.9,
            )
    else:  # suit
        c.fill(
            vee(0.22, neck * 1.35),
            (246, 246, 248) if p.clothing_color != "white" else (150, 178, 220),
            "clothing",
        )
        c.fill(vee(0.045, neck), skin, "neck", shade=0.3)
        tie = (150, 30, 48) if p.clothing_color not in ("red",) else (36, 44, 84)
        c.fill(
            [
                (cx - 0.022, top + 0.04),
                (cx + 0.022, top + 0.04),
                (cx + 0.014, top + 0.075),
                (cx - 0.014, top + 0.075),
            ],
            tie,
            "clothing",
        )
        c.fill(
            [
                (cx - 0.014, top + 0.075),
                (cx + 0.014, top + 0.075),
                (cx + 0.030, top + 0.24),
                (cx, top + 0.29),
                (cx - 0.030, top + 0.24),
            ],
            tie,
            "clothing",
            shade=0.3,
        )
        lapel = _darker(color, 0.22) if p.clothing_color != "black" else _lighter(color, 0.18)
        for s in (-1, 1):
            c.fill(
                [
                    (cx + s * neck * 1.2, top - 0.03),
                    (cx + s * neck * 1.9, top + 0.005),
                    (cx + s * neck * 2.25, top + 0.085),
                    (cx + s * neck * 1.65, top + 0.09),
                    (cx + s * 0.012, top + 0.27),
                ],
                lapel,
                "clothing",
                shade=0.3,
            )
            c.fill(
                _arc(
                    [
                        (cx + s * neck * 1.2, top - 0.03),
                        (cx + s * 0.09, top + 0.1),
                        (cx + s * 0.012, top + 0.27),
                    ],
                    0.006,
                ),
                line,
                alpha=0.8,
            )


def _necklace(c: _Canvas, cx: float, f: _Face):
    for a in np.linspace(-1.22, 1.22, 11):
        x, y = cx + np.sin(a) * f.w * 0.72, 0.722 + np.cos(a) * 0.075
        c.fill(_ellipse(x + 0.002, y + 0.003, 0.0225, 0.0225, 16), (120, 104, 104), alpha=0.5)
        c.fill(_ellipse(x, y, 0.0205, 0.0205, 16), (246, 240, 230), "necklace", shade=0.35)
        c.fill(_ellipse(x - 0.005, y - 0.006, 0.006, 0.006, 10), (255, 255, 255))


def _age(c: _Canvas, p: Portrait, f: _Face, skin, outline):
    """What tells the ages apart lies where nothing covers it: rosy cheeks, plain cheeks with folds, hollow cheeks."""
    if p.age == "young":
        for s in (-1, 1):
            rosy = _ellipse(s * f.w * 0.60, f.h * 0.30, f.w * 0.27, f.h * 0.16)
            c.fill(rosy, _mix(skin, (232, 70, 78), 0.46), blur=0.009, alpha=0.9, inside=outline)
        return
    old = p.age == "old"
    ink, a = _darker(skin, 0.52), 0.9 if old else 0.75
    for s in (-1, 1):
        if old:
            hollow = _smooth(
                [
                    (s * f.w * 0.98, f.h * 0.02),
                    (s * f.w * 0.50, f.h * 0.24),
                    (s * f.w * 0.58, f.h * 0.50),
                    (s * f.w * 0.92, f.h * 0.52),
                ]
            )
            c.fill(hollow, _darker(skin, 0.34), blur=0.006, alpha=0.8, inside=outline)
            pouch = _ellipse(s * f.eye_x, f.eye_y + 0.038, f.eye_w * 0.95, 0.017)
            c.fill(pouch, _darker(skin, 0.36), alpha=0.8)
            c.fill(
                _ellipse(s * f.eye_x, f.eye_y + 0.033, f.eye_w * 0.8, 0.011),
                _lighter(skin, 0.12),
                alpha=0.9,
            )
            for dy in (-0.010, 0.017):
                c.fill(
                    _arc(
                        [
                            (s * (f.eye_x + f.eye_w + 0.010), f.eye_y + dy * 0.4),
                            (s * (f.eye_x + f.eye_w + 0.032), f.eye_y + dy),
                        ],
                        0.0105,
                    ),
                    ink,
                    alpha=0.85,
                )
        fold = [
            (s * f.nose_w * 1.8, f.nose_y - 0.004),
            (s * (f.mouth_w + 0.013), f.mouth_y - 0.022),
            (s * (f.mouth_w + 0.018), f.mouth_y + (0.026 if old else 0.004)),
        ]
        c.fill(_arc(fold, 0.0145), ink, alpha=a)
    if old:
        for k, y in enumerate((-0.112, -0.080)):
            c.fill(
                _arc(
                    [
                        (-0.066 + 0.006 * k, f.eye_y + y + 0.004),
                        (0, f.eye_y + y - 0.004),
                        (0.066 - 0.006 * k, f.eye_y + y + 0.004),
                    ],
                    0.0125,
                ),
                ink,
                alpha=0.9,
            )


def _eyes(c: _Canvas, p: Portrait, f: _Face, hair, skin, rng):
    e, man = p.expression, p.gender == "man"
    open_ = {"neutral": 0.58, "smiling": 0.52, "surprised": 0.92, "sad": 0.46, "laughing": 0.0}[e]
    iris = ((92, 60, 36), (66, 96, 128), (74, 104, 66), (52, 40, 34))[int(rng.integers(4))]
    ink = (44, 30, 32)
    for s in (-1, 1):
        x, y, w = s * f.eye_x, f.eye_y, f.eye_w
        if e == "laughing":
            c.fill(
                _arc([(x - w, y + 0.012), (x, y - 0.018), (x + w, y + 0.012)], 0.017), ink, "eyes"
            )
        else:
            h = w * open_
            droop = 0.010 if e == "sad" else 0.0
            lid = _smooth(
                [
                    (x - s * w, y + 0.004),
                    (x - s * w * 0.4, y - h * 0.9),
                    (x + s * w * 0.4, y - h + droop * 0.4),
                    (x + s * w, y + droop),
                    (x + s * w * 0.45, y + h * 0.72),
                    (x - s * w * 0.4, y + h * 0.75),
                ],
                8,
            )
            c.fill(lid, (252, 252, 252), "eyes")
            c.fill(_ellipse(x, y - 0.001, w * 0.47, w * 0.47), iris, inside=lid)
            c.fill(_ellipse(x, y - 0.001, w * 0.25, w * 0.25), (18, 14, 16), inside=lid)
            c.fill(
                _ellipse(x - w * 0.16, y - w * 0.18, w * 0.13, w * 0.13, 12),
                (255, 255, 255),
                inside=lid,
            )
            upper = [
                (x - s * w * 1.04, y + 0.005),
                (x - s * w * 0.3, y - h * 1.0),
                (x + s * w * 0.4, y - h * 1.02 + droop * 0.4),
                (x + s * w * 1.08, y + droop),
            ]
            c.fill(_arc(upper, 0.011 if man else 0.015), ink, "eyes")
            if not man:
                for k, (a, b) in enumerate(((0.78, 0.62), (1.0, 0.22))):
                    c.fill(
                        _arc(
                            [
                                (x + s * w * a, y - h * b + droop),
                                (x + s * w * (a + 0.42), y - h * b - 0.017 + droop + 0.004 * k),
                            ],
                            0.009,
                        ),
                        ink,
                        "eyes",
                    )
        lift = {"surprised": -0.024, "laughing": -0.010}.get(e, 0.0)
        slope = {"sad": 0.032, "surprised": 0.002}.get(e, 0.004)  # outer end minus inner end
        inner = (x - s * f.eye_w * 1.0, f.brow_y + lift + (0.004 if e != "sad" else -0.018))
        outer = (x + s * f.eye_w * 1.25, f.brow_y + lift + slope)
        arch = (x + s * f.eye_w * 0.2, f.brow_y + lift - (0.010 if e != "sad" else 0.004))
        c.fill(_arc([inner, arch, outer], f.brow_t), _mix(hair, skin, 0.08), "brows")


def _nose(c: _Canvas, f: _Face, skin):
    ink = _darker(skin, 0.48)
    c.fill(
        _arc(
            [
                (0.006, f.eye_y + 0.018),
                (0.013, f.nose_y * 0.55),
                (f.nose_w * 0.95, f.nose_y - 0.012),
            ],
            0.010,
        ),
        ink,
        "nose",
        alpha=0.75,
    )
    c.fill(
        _smooth(
            [
                (-f.nose_w, f.nose_y - 0.004),
                (0, f.nose_y - 0.024),
                (f.nose_w, f.nose_y - 0.004),
                (0, f.nose_y + 0.009),
            ]
        ),
        _darker(skin, 0.13),
        "nose",
        alpha=0.9,
    )
    c.fill(
        _arc(
            [(-f.nose_w, f.nose_y - 0.003), (0, f.nose_y + 0.010), (f.nose_w, f.nose_y - 0.003)],
            0.0125,
        ),
        ink,
        "nose",
    )
    c.fill(
        _ellipse(-0.004, f.nose_y * 0.62, 0.006, 0.018), _lighter(skin, 0.45), blur=0.004, alpha=0.6
    )


def _mouth(c: _Canvas, p: Portrait, f: _Face, skin):
    woman = p.gender == "woman"
    lip = _mix(skin, (176, 38, 56), 0.66 if woman else 0.36)
    if p.skin in ("brown", "dark"):
        lip = _mix(lip, (140, 34, 44), 0.25)
    lip_dark, inside = _darker(lip, 0.42), (96, 24, 34)
    w, y, e = f.mouth_w, f.mouth_y, p.expression
    if e == "surprised":
        c.fill(_ellipse(0, y + 0.008, w * 0.58, 0.040), lip, "mouth")
        c.fill(_ellipse(0, y + 0.008, w * 0.40, 0.029), inside, "mouth")
    elif e == "laughing":
        w *= 1.22
        c.fill(
            _smooth(
                [
                    (-w, y - 0.020),
                    (-w * 0.5, y - 0.016),
                    (0, y - 0.013),
                    (w * 0.5, y - 0.016),
                    (w, y - 0.020),
                    (w * 0.72, y + 0.026),
                    (0, y + 0.050),
                    (-w * 0.72, y + 0.026),
                ]
            ),
            lip,
            "mouth",
        )
        cave = _smooth(
            [
                (-w * 0.88, y - 0.012),
                (0, y - 0.007),
                (w * 0.88, y - 0.012),
                (w * 0.62, y + 0.022),
                (0, y + 0.040),
                (-w * 0.62, y + 0.022),
            ]
        )
        c.fill(cave, inside, "mouth")
        c.fill(
            [(-w, y - 0.02), (w, y - 0.02), (w, y + 0.007), (-w, y + 0.007)],
            (252, 252, 250),
            "mouth",
            inside=cave,
        )
        c.fill(_ellipse(0, y + 0.036, w * 0.42, 0.014), (206, 88, 94), "mouth", inside=cave)
    else:
        bend = {"neutral": 0.002, "smiling": 0.030, "sad": -0.027}[e]
        full = 0.020 if woman else 0.014
        if e == "smiling":
            w *= 1.14
        top = [
            (-w, y - bend),
            (-w * 0.35, y - full * 0.75 + bend * 0.3),
            (0, y - full * 0.45 + bend * 0.45),
            (w * 0.35, y - full * 0.75 + bend * 0.3),
            (w, y - bend),
        ]
        low = [
            (w * 0.5, y + full + bend * 0.55),
            (0, y + full * 1.25 + bend * 0.75),
            (-w * 0.5, y + full + bend * 0.55),
        ]
        c.fill(_smooth(top + low, 8), lip, "mouth", shade=0.2)
        c.fill(
            _arc(
                [
                    (-w * 1.03, y - bend * 1.05),
                    (-w * 0.4, y + bend * 0.45),
                    (w * 0.4, y + bend * 0.45),
                    (w * 1.03, y - bend * 1.05),
                ],
                0.0125,
            ),
            lip_dark,
            "mouth",
        )
        if e == "smiling":
            for s in (-1, 1):
                c.fill(
                    _arc(
                        [
                            (s * (w + 0.008), y - bend - 0.016),
                            (s * (w + 0.016), y - bend - 0.002),
                            (s * (w + 0.008), y - bend + 0.012),
                        ],
                        0.0105,
                    ),
                    _darker(skin, 0.5),
                    alpha=0.85,
                )


def _beard(c: _Canvas, p: Portrait, f: _Face, hair, rng):
    w, h, j = f.w, f.h, f.jaw
    dark = _darker(hair, 0.12)
    shape = _mirror(
        [
            (0, h * 0.44),
            (w * 0.34, h * 0.46),
            (w * 0.66, h * 0.36),
            (w * 0.99, -h * 0.02),
            (w * 1.02, h * 0.22),
            (w * (0.92 + 0.3 * j), h * 0.72),
            (w * 0.45, h * 1.10),
            (0, h * 1.17),
        ]
    )
    c.fill(_smooth(shape), dark, "beard", shade=0.5)
    for x, y in zip(rng.uniform(-0.75, 0.75, 26) * w, rng.uniform(0.55, 1.0, 26) * h):
        c.fill(
            _arc([(x, y), (x * 1.02, y + 0.022)], 0.005),
            _lighter(hair, 0.2),
            alpha=0.5,
            inside=_smooth(shape),
        )


_TOP = [
    (0.0, -1.30),
    (0.46, -1.25),
    (0.86, -1.02),
    (1.10, -0.60),
]  # skull of the hair, in face widths / heights


def _back_hair(c: _Canvas, p: Portrait, f: _Face, hair, rng):
    w, h = f.w, f.h
    back = _darker(hair, 0.28)
    if p.hair_style == "long":
        shape = [(x * w, y * h) for x, y in _TOP] + [
            (1.30 * w, 0.2 * h),
            (1.40 * w, 1.0 * h),
            (1.46 * w, 1.86 * h),
            (1.05 * w, 2.02 * h),
            (0, 1.9 * h),
        ]
        c.fill(_smooth(_mirror(shape)), back, "hair", shade=0.45)
        for s in (-1, 1):
            for k in (1.0, 1.14, 1.28):
                c.fill(
                    _arc(
                        [
                            (s * w * k * 0.95, -0.1 * h),
                            (s * w * (k + 0.02), 0.9 * h),
                            (s * w * k * 1.02, 1.8 * h),
                        ],
                        0.012,
                    ),
                    _lighter(hair, 0.12),
                    alpha=0.6,
                )
    elif p.hair_style == "curly":
        for a in np.linspace(-2.35, 2.35, 19):
            r = 0.066 + rng.uniform(-0.006, 0.010)
            c.fill(
                _ellipse(np.sin(a) * w * 1.30, -np.cos(a) * h * 1.18 - 0.006, r, r, 20),
                _darker(hair, float(rng.uniform(0.05, 0.3))),
                "hair",
                shade=0.5,
            )
    elif p.hair_style == "bun":
        c.fill(_ellipse(0, -h * 1.42, 0.072, 0.064), hair, "hair", shade=0.5)
        for k in (-0.03, 0.0, 0.03):
            c.fill(
                _arc(
                    [
                        (-0.05, -h * 1.42 + k - 0.006),
                        (0, -h * 1.42 + k + 0.008),
                        (0.05, -h * 1.42 + k - 0.006),
                    ],
                    0.007,
                ),
                _darker(hair, 0.4),
                alpha=0.7,
            )


def _front_hair(c: _Canvas, p: Portrait, f: _Face, hair, rng):
    w, h = f.w, f.h
    if p.hair_style == "bald":
        c.fill(
            _ellipse(-w * 0.28, -h * 0.74, w * 0.24, h * 0.10),
            (255, 255, 255),
            blur=0.012,
            alpha=0.45,
        )
        for s in (-1, 1):  # a rim above the ears, so that a bald head has a hair colour too
            rim = [
                (s * 0.92 * w, -0.50 * h),
                (s * 1.10 * w, -0.44 * h),
                (s * 1.17 * w, -0.16 * h),
                (s * 1.13 * w, 0.10 * h),
                (s * 0.95 * w, 0.06 * h),
                (s * 0.90 * w, -0.22 * h),
            ]
            c.fill(_smooth(rim, 8), hair, "hair", shade=0.4)
        return
    side = 1 if p.seed % 2 else -1
    skull = [(x * w, y * h) for x, y in _TOP]
    light, dark = _lighter(hair, 0.22), _darker(hair, 0.35)
    if p.hair_style == "short":
        fringe = [
            (1.06 * w, -0.14 * h),
            (0.95 * w, -0.12 * h),
            (0.92 * w, -0.48 * h),
            (side * 0.45 * w, -0.66 * h),
            (-side * 0.1 * w, -0.60 * h),
        ]
        fringe = sorted(fringe[3:], key=lambda q: -q[0])
        shape = (
            skull[1:]
            + [
                (1.08 * w, -0.12 * h),
                (0.96 * w, -0.08 * h),
                (0.90 * w, -0.46 * h),
                *fringe,
                (-0.90 * w, -0.46 * h),
                (-0.96 * w, -0.08 * h),
                (-1.08 * w, -0.12 * h),
            ]
            + [(-x, y) for x, y in reversed(skull[1:])]
            + [skull[0]]
        )
    elif p.hair_style == "long":
        part = side * 0.24 * w
        shape = (
            skull[1:]
            + [
                (1.20 * w, 0.25 * h),
                (1.24 * w, 1.15 * h),
                (1.0 * w, 1.35 * h),
                (0.98 * w, 0.3 * h),
                (0.80 * w, -0.40 * h),
                (part + 0.1 * w, -0.86 * h),
                (part - 0.1 * w, -0.86 * h),
                (-0.80 * w, -0.40 * h),
                (-0.98 * w, 0.3 * h),
                (-1.0 * w, 1.35 * h),
                (-1.24 * w, 1.15 * h),
                (-1.20 * w, 0.25 * h),
            ]
            + [(-x, y) for x, y in reversed(skull[1:])]
            + [skull[0]]
        )
    elif p.hair_style == "curly":
        for a in np.linspace(-1.30, 1.30, 13):
            r = 0.058 + rng.uniform(-0.006, 0.008)
            c.fill(
                _ellipse(np.sin(a) * w * 1.06, -np.cos(a) * h * 1.02 - 0.012, r, r, 20),
                _mix(hair, light, float(rng.uniform(0, 0.45))),
                "hair",
                shade=0.6,
            )
        for a in np.linspace(-0.95, 0.95, 8):
            r = 0.045 + rng.uniform(-0.005, 0.006)
            c.fill(
                _ellipse(np.sin(a) * w * 0.92, -np.cos(a) * h * 0.84, r, r, 20),
                _mix(hair, light, float(rng.uniform(0, 0.5))),
                "hair",
                shade=0.6,
            )
        return
    else:  # bun
        shape = (
            skull[1:]
            + [
                (1.07 * w, -0.2 * h),
                (0.97 * w, -0.14 * h),
                (0.84 * w, -0.56 * h),
                (0.4 * w, -0.84 * h),
                (0, -0.90 * h),
                (-0.4 * w, -0.84 * h),
                (-0.84 * w, -0.56 * h),
                (-0.97 * w, -0.14 * h),
                (-1.07 * w, -0.2 * h),
            ]
            + [(-x, y) for x, y in reversed(skull[1:])]
            + [skull[0]]
        )
    curve = _smooth(shape, 8)
    c.fill(curve, hair, "hair", shade=0.6)
    for k in np.linspace(-0.7, 0.7, 6):
        strand = [(k * w * 0.55, -1.20 * h), (k * w * 0.95, -0.98 * h), (k * w * 1.28, -0.64 * h)]
        c.fill(
            _arc(strand, 0.009), dark if (k > 0) == (side > 0) else light, inside=curve, alpha=0.55
        )
    c.fill(
        _arc([(-0.62 * w, -0.98 * h), (-0.2 * w, -1.12 * h), (0.25 * w, -1.12 * h)], 0.022),
        _lighter(hair, 0.4),
        blur=0.006,
        inside=curve,
        alpha=0.55,
    )


def _eyewear(c: _Canvas, p: Portrait, f: _Face):
    y, rx, ry = f.eye_y + 0.004, f.eye_w * 1.36 + 0.010, f.eye_w * 1.02 + 0.016
    frame = (34, 32, 40)
    for s in (-1, 1):
        c.fill(
            _arc([(s * (f.eye_x + rx * 0.9), y - 0.006), (s * f.w * 1.0, y - 0.012)], 0.016),
            frame,
            "eyewear",
        )
        x = s * f.eye_x
        if p.eyewear == "sunglasses":
            lens = _smooth(
                [
                    (x - rx, y - ry * 0.72),
                    (x, y - ry * 0.86),
                    (x + rx, y - ry * 0.72),
                    (x + rx * 0.96, y + ry * 0.35),
                    (x + rx * 0.1, y + ry * 1.02),
                    (x - rx * 0.94, y + ry * 0.35),
                ],
                8,
            )
            c.fill(lens, (26, 24, 32), "eyewear")
            c.fill(
                [
                    (x - rx * 0.55, y - ry * 0.66),
                    (x - rx * 0.15, y - ry * 0.7),
                    (x - rx * 0.5, y + ry * 0.4),
                    (x - rx * 0.75, y + ry * 0.1),
                ],
                (150, 160, 180),
                inside=lens,
                alpha=0.5,
            )
        else:
            outer, inner = _ellipse(x, y, rx, ry), _ellipse(x, y, rx - 0.0145, ry - 0.0145)
            c.fill(inner, (214, 232, 246), alpha=0.3)
            made, hole = c.mask(outer), c.mask(inner)
            ring = made[0].copy()
            ring.paste(0, (hole[1][0] - made[1][0], hole[1][1] - made[1][1]), hole[0])
            box = (*made[1], made[1][0] + ring.width, made[1][1] + ring.height)
            c.image.paste(frame, box, ring)
            c.regions.paste(REGIONS.index("eyewear"), box, ring.point(_SOLID))
    gap = f.eye_x - rx * 0.92
    c.fill(_arc([(-gap, y - 0.008), (0, y - 0.017), (gap, y - 0.008)], 0.016), frame, "eyewear")


def _hat(c: _Canvas, p: Portrait, f: _Face, rng):
    w, h = f.w, f.h
    color = HATS[int(rng.integers(len(HATS)))]
    brim_y = -h * 0.74
    c.fill(_ellipse(0, brim_y + 0.022, w * 1.1, 0.03), (30, 16, 20), blur=0.010, alpha=0.35)
    crown = _smooth(
        _mirror(
            [
                (0, brim_y - 0.150),
                (w * 0.42, brim_y - 0.168),
                (w * 0.84, brim_y - 0.135),
                (w * 1.02, brim_y + 0.0),
                (0.6 * w, brim_y + 0.02),
            ]
        ),
        8,
    )
    c.fill(crown, color, "hat", shade=0.6)
    c.fill(
        _arc([(-w * 0.1, brim_y - 0.150), (0, brim_y - 0.125), (w * 0.12, brim_y - 0.150)], 0.014),
        _darker(color, 0.35),
        alpha=0.7,
        inside=crown,
    )
    c.fill(
        [
            (-w * 1.1, brim_y - 0.048),
            (w * 1.1, brim_y - 0.048),
            (w * 1.1, brim_y),
            (-w * 1.1, brim_y),
        ],
        _darker(color, 0.55),
        "hat",
        inside=crown,
    )
    brim = _smooth(
        [
            (-w * 1.72, brim_y + 0.020),
            (-w * 0.95, brim_y - 0.014),
            (0, brim_y - 0.006),
            (w * 0.95, brim_y - 0.014),
            (w * 1.72, brim_y + 0.020),
            (w * 0.95, brim_y + 0.036),
            (0, brim_y + 0.046),
            (-w * 0.95, brim_y + 0.036),
        ],
        8,
    )
    c.fill(brim, color, "hat", shade=0.5)
    c.fill(
        _arc([(-w * 1.5, brim_y + 0.014), (-w * 0.6, brim_y - 0.002), (w * 0.3, brim_y)], 0.010),
        _lighter(color, 0.4),
        blur=0.003,
        alpha=0.7,
        inside=brim,
    )


def _freckles(c: _Canvas, f: _Face, skin, p: Portrait, rng):
    ink = _mix(skin, (120, 52, 20), 0.72) if p.skin in ("fair", "tan") else _darker(skin, 0.62)
    for s in (-1, 1, 0):
        n = 8 if s else 4
        xs = s * f.w * 0.52 + rng.normal(0, f.w * (0.20 if s else 0.11), n)
        ys = f.h * (0.24 if s else 0.12) + rng.normal(0, f.h * 0.12, n)
        for x, y in zip(xs.clip(-f.w * 0.86, f.w * 0.86), ys.clip(f.eye_y + 0.03, f.h * 0.6)):
            r = float(rng.uniform(0.0105, 0.0140))
            c.fill(_ellipse(x, y, r, r, 10), ink, alpha=0.9)


def _watercolor(image: np.ndarray, rng) -> np.ndarray:
    """Wet colour: edges wander, tones pool and pale, paper shows through, nothing else changes."""
    side = image.shape[0]

    def noise(cells: int) -> np.ndarray:
        grid = Image.fromarray(rng.random((cells, cells), np.float32), "F")
        return np.asarray(grid.resize((side, side), Image.BICUBIC))

    dx, dy = (((noise(26) - 0.5) * 0.012 + (noise(10) - 0.5) * 0.016) * side for _ in range(2))
    ys, xs = np.mgrid[:side, :side]
    moved = image[
        (ys + dy).round().clip(0, side - 1).astype(int),
        (xs + dx).round().clip(0, side - 1).astype(int),
    ]
    radius = 3 if side < 200 else 5
    soft = (
        np.asarray(Image.fromarray(moved).filter(ImageFilter.MedianFilter(radius)), np.float32)
        / 255
    )
    wide = Image.fromarray((soft * 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(side / 50)
    )
    edge = (np.asarray(wide, np.float32) / 255 - soft).clip(0).mean(2, keepdims=True)
    tone = 0.5 * soft + 0.5 * (np.round(soft * 6) / 6)
    tone = 1 - (1 - tone) * (0.74 + 0.32 * noise(7)[..., None])  # pigment pools
    tone = tone - edge * 0.6  # and gathers at the edges
    paper = np.array([0.985, 0.965, 0.925]) - 0.045 * (noise(side // 6)[..., None] - 0.4)
    r = np.hypot(*(np.stack([xs, ys]) / side - 0.5)) + 0.12 * (noise(8) - 0.5)
    fade = ((r - 0.46) / 0.06).clip(0, 1)[..., None]  # unpainted corners
    return ((tone * (1 - fade) + fade) * paper * 255).clip(0, 255).astype(np.uint8)


def render(p: Portrait, size: int = 128) -> Drawing:
    """Draw one portrait at `size` x `size` pixels."""
    rngs = iter(
        np.random.default_rng(p.seed).spawn(16)
    )  # one stream a part: no part's choices move another's
    (
        rng_back,
        rng_cloth,
        rng_hair_b,
        rng_eyes,
        rng_freckles,
        rng_beard,
        rng_hair_f,
        rng_hat,
        rng_paint,
        rng_tone,
    ) = (next(rngs) for _ in range(10))
    c, f = _Canvas(size), _Face(p)
    skin = _mix(SKIN[p.skin], tuple(rng_tone.integers(60, 240, 3)), 0.05)
    hair = _mix(HAIR[p.hair_color], tuple(rng_tone.integers(20, 240, 3)), 0.05)
    cx, cy = 0.5 + p.shift[0], 0.455 + p.shift[1]
    if p.age == "old":
        skin = _mix(skin, (200, 190, 186), 0.07)

    _background(c, p, rng_back)
    pivot, turn = np.array([cx, cy + f.h * 1.15]), np.deg2rad(p.angle)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    body = lambda q: (np.asarray(q) - _ZOOM_AT) * _ZOOM + _ZOOM_AT  # noqa: E731
    head = lambda q: body((np.asarray(q) + [cx, cy] - pivot) @ rotate.T + pivot)  # noqa: E731

    c.move = head
    _back_hair(c, p, f, hair, rng_hair_b)
    c.move = body
    neck_w = f.w * (0.56 if p.gender == "man" else 0.46)
    neck = _smooth(
        _mirror(
            [
                (cx, cy + f.h * 0.5),
                (cx + neck_w, cy + f.h * 0.55),
                (cx + neck_w * 0.96, 0.70),
                (cx + neck_w * 1.5, 0.765),
                (cx, 0.80),
            ],
            cx,
        )
    )
    c.fill(neck, _darker(skin, 0.08), "neck", shade=0.3)
    _clothes(c, p, f, cx, _darker(skin, 0.06), rng_cloth)
    c.fill(
        _ellipse(cx, cy + f.h * 1.04, f.w * 0.72, 0.05),
        _darker(skin, 0.55),
        blur=0.014,
        alpha=0.5,
        inside=neck,
    )
    if p.necklace != "none":
        _necklace(c, cx, f)

    c.move = head
    for s in (-1, 1):
        c.fill(_ellipse(s * f.w * 1.0, 0.012, 0.028, 0.044), _darker(skin, 0.10), "ear", shade=0.3)
        c.fill(_ellipse(s * f.w * 1.02, 0.014, 0.013, 0.026), _darker(skin, 0.26), alpha=0.7)
    outline = f.outline()
    c.fill(outline, skin, "face", shade=0.42)
    _age(c, p, f, skin, outline)
    if p.freckles != "none":
        _freckles(c, f, skin, p, rng_freckles)
    _nose(c, f, skin)
    if p.beard != "none":
        _beard(c, p, f, hair, rng_beard)
    _mouth(c, p, f, skin)
    _eyes(c, p, f, _darker(hair, 0.2), skin, rng_eyes)
    _front_hair(c, p, f, hair, rng_hair_f)
    if p.eyewear != "none":
        _eyewear(c, p, f)
    if p.hat != "none":
        _hat(c, p, f, rng_hat)

    image = np.asarray(c.image.resize((size, size), Image.BOX))
    if p.style == "watercolor":
        image = _watercolor(image, rng_paint)
    regions = np.asarray(c.regions)[
        _SUPERSAMPLE // 2 :: _SUPERSAMPLE, _SUPERSAMPLE // 2 :: _SUPERSAMPLE
    ]
    return Drawing(image, np.ascontiguousarray(regions))
