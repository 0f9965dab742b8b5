"""Hair behind and in front of the head: short, long, curly, bun, ponytail, bald."""

from __future__ import annotations

import numpy as np

from spf.portraits.canvas import Canvas, darker, ellipse, lighter, mirror, mix, smooth, stroke
from spf.portraits.heads import Measures

HAIR = {
    "black": (44, 40, 48),
    "brown": (112, 70, 42),
    "red": (204, 88, 38),
    "gray": (180, 182, 190),
    "blonde": (244, 210, 116),
}

_SKULL = ((0.0, -1.24), (0.50, -1.19), (0.90, -0.96), (1.10, -0.56))  # in face widths and heights


def draw_back_hair(c: Canvas, style: str, f: Measures, hair, rng: np.random.Generator) -> None:
    """What lies behind neck and face."""
    w, h, back = f.w, f.h, darker(hair, 0.24)

    if style == "long":
        right = [
            *_SKULL,
            (1.24, 0.2),
            (1.32, 1.0),
            (1.38, 1.62),
            (1.02, 1.78),
            (0, 1.70),
        ]
        c.fill(smooth(mirror(_scaled(right, w, h))), back, "hair", shade=0.3)
    elif style == "curly":
        for a in np.linspace(-2.25, 2.25, 15):
            r = 0.078 + rng.uniform(-0.005, 0.008)
            c.fill(ellipse(np.sin(a) * w * 1.16, -np.cos(a) * h * 1.02 - 0.01, r, r), back, "hair")
    elif style == "bun":
        c.fill(ellipse(0, -h * 1.27, 0.082, 0.070), hair, "hair", shade=0.35)
        for y in (-0.022, 0.016):
            line = [(-0.06, y - 0.006), (0, y + 0.012), (0.06, y - 0.006)]
            c.fill(stroke([(x, -h * 1.28 + dy) for x, dy in line], 0.010), darker(hair, 0.35))
    elif style == "ponytail":
        _tail(c, f, hair, 1 if rng.random() < 0.5 else -1)


def _tail(c: Canvas, f: Measures, hair, side: int) -> None:
    """A tail that rises from the back of the head and falls beside the cheek to the shoulder."""
    w, h = f.w, f.h
    shape = [
        (0.50, -1.08),
        (0.86, -1.20),
        (1.32, -0.98),
        (1.62, -0.34),
        (1.66, 0.46),
        (1.44, 1.10),
        (1.26, 0.50),
        (1.18, -0.10),
        (1.00, -0.60),
    ]
    points = [(side * x * w, y * h) for x, y in shape]
    c.fill(smooth(points), darker(hair, 0.14), "hair", shade=0.3)
    line = [(side * 1.14 * w, -0.86 * h), (side * 1.42 * w, -0.2 * h), (side * 1.46 * w, 0.7 * h)]
    c.fill(stroke(line, 0.014), lighter(hair, 0.14))
    c.fill(ellipse(side * w * 0.88, -h * 0.98, 0.040, 0.036), (196, 62, 96), "hair")


def draw_front_hair(c: Canvas, style: str, f: Measures, hair, side: int) -> None:
    """What lies over the forehead; `side` is -1 or 1, where the hair is parted."""
    if style == "bald":
        _bald(c, f, hair)
    elif style == "curly":
        _curls(c, f, hair)
    else:
        _cap(c, style, f, hair, side)


def _bald(c: Canvas, f: Measures, hair) -> None:
    """A shine, and a rim above the ears, so that a bald head has a hair colour too."""
    w, h = f.w, f.h
    c.fill(
        ellipse(-w * 0.28, -h * 0.74, w * 0.22, h * 0.08), (255, 255, 255), blur=0.012, alpha=0.5
    )
    rim = [
        (0.93, -0.46),
        (1.09, -0.42),
        (1.16, -0.16),
        (1.12, 0.08),
        (0.97, 0.06),
        (0.92, -0.20),
    ]
    for s in (-1, 1):
        c.fill(smooth([(s * x * w, y * h) for x, y in rim], 8), hair, "hair", shade=0.3)


def _curls(c: Canvas, f: Measures, hair) -> None:
    w, h = f.w, f.h
    light = lighter(hair, 0.18)
    for k, a in enumerate(np.linspace(-1.35, 1.35, 11)):
        color = mix(hair, light, 0.5 * (k % 2))
        c.fill(ellipse(np.sin(a) * w * 1.03, -np.cos(a) * h * 1.00, 0.070, 0.066), color, "hair")
    for k, a in enumerate(np.linspace(-0.85, 0.85, 6)):
        color = mix(hair, light, 0.5 * (k % 2))
        c.fill(ellipse(np.sin(a) * w * 0.92, -np.cos(a) * h * 0.84, 0.052, 0.048), color, "hair")


def _cap(c: Canvas, style: str, f: Measures, hair, side: int) -> None:
    """Smooth hair over the skull, cut along the edge that belongs to the style."""
    w, h = f.w, f.h
    top = list(_SKULL[1:])
    if style == "short":
        edge = [(1.06, -0.10), (0.95, -0.06), (0.90, -0.46)]
        fringe = sorted([(0.45 * side, -0.68), (-0.12 * side, -0.60)], key=lambda q: -q[0])
    elif style == "long":
        edge = [(1.18, 0.25), (1.24, 1.05), (1.03, 1.25), (0.97, 0.3), (0.80, -0.42)]
        fringe = [(0.24 * side + 0.12, -0.86), (0.24 * side - 0.12, -0.86)]
    else:  # bun, ponytail: combed back
        edge = [(1.07, -0.16), (0.97, -0.10), (0.84, -0.54), (0.42, -0.82)]
        fringe = [(0, -0.88)]

    left = [(-x, y) for x, y in reversed(top + edge)]
    curve = smooth(_scaled(top + edge + fringe + left + [_SKULL[0]], w, h), 8)
    c.fill(curve, hair, "hair", shade=0.35)

    shine = [(-0.62 * w, -0.94 * h), (-0.2 * w, -1.08 * h), (0.25 * w, -1.08 * h)]
    c.fill(stroke(shine, 0.026), lighter(hair, 0.28), inside=curve)


def _scaled(points, w: float, h: float) -> list[tuple[float, float]]:
    return [(x * w, y * h) for x, y in points]
