"""What stands behind a person: plain walls, a curtain, a window, the sea, a park, a city."""

from __future__ import annotations

import numpy as np

from spf.portraits.canvas import Canvas, box, darker, ellipse, lighter, mix, smooth

WALL = {
    "gray": (188, 192, 200),
    "blue": (150, 198, 238),
    "green": (166, 214, 166),
    "orange": (252, 196, 134),
    "purple": (198, 170, 228),
}


def draw_background(c: Canvas, kind: str, rng: np.random.Generator) -> None:
    if kind in WALL:
        _wall(c, WALL[kind], rng)
    else:
        {"curtain": _curtain, "window": _window, "sea": _sea, "park": _park, "city": _city}[kind](
            c, rng
        )


def _wall(c: Canvas, color, rng) -> None:
    color = mix(color, tuple(rng.integers(120, 250, 3)), 0.05)
    c.gradient(lighter(color, 0.14), darker(color, 0.08))
    c.fill(ellipse(0.28, 0.25, 0.36, 0.34), lighter(color, 0.4), blur=0.1, alpha=0.5)


def _curtain(c: Canvas, rng) -> None:
    base = (164, 50, 68)
    c.gradient(base, darker(base, 0.22))

    start = rng.uniform(-0.10, 0.02)
    for x in np.arange(start, 1.1, 0.16):
        fold = [(x, -0.05), (x + 0.07, -0.05), (x + 0.08, 0.5), (x + 0.06, 1.05), (x - 0.01, 1.05)]
        c.fill(smooth(fold), darker(base, 0.3), blur=0.01)


def _window(c: Canvas, rng) -> None:
    wall = (230, 218, 200)
    c.gradient(lighter(wall, 0.1), darker(wall, 0.06))

    x0, x1 = 0.07 + rng.uniform(-0.02, 0.02), 0.93 + rng.uniform(-0.02, 0.02)
    top, sill, bar = 0.05, 0.74, 0.03
    c.fill(box(x0, top, x1, sill), (252, 252, 250))

    middle = (x0 + x1) / 2
    for left, right in ((x0 + bar, middle - bar / 2), (middle + bar / 2, x1 - bar)):
        for upper, lower, sky in ((top + bar, 0.38, 0.1), (0.41, sill - bar, 0.8)):
            c.fill(box(left, upper, right, lower), mix((140, 200, 246), (206, 232, 250), sky))
    c.fill(box(x0 - 0.03, sill, x1 + 0.03, sill + 0.04), (242, 238, 230), shade=0.2)


def _sea(c: Canvas, rng) -> None:
    c.gradient((120, 190, 242), (222, 240, 250), 0, 0.55)
    c.gradient((42, 132, 190), (28, 100, 160), 0.55, 0.84)
    c.gradient((244, 226, 178), (228, 202, 150), 0.84, 1.0)

    c.fill(ellipse(0.13 + rng.uniform(-0.03, 0.03), 0.14, 0.065, 0.065), (255, 244, 176))
    shift = rng.uniform(-0.05, 0.05)
    for y, offset in ((0.62, 0.0), (0.71, 0.13), (0.79, 0.04)):
        for x in np.arange(0.02, 1.1, 0.27) + offset + shift:
            wave = smooth([(x - 0.06, y), (x, y - 0.01), (x + 0.06, y), (x, y + 0.004)])
            c.fill(wave, (178, 220, 240))


def _park(c: Canvas, rng) -> None:
    c.gradient((158, 214, 248), (224, 242, 238), 0, 0.62)
    c.gradient((136, 198, 98), (96, 164, 78), 0.62, 1.0)

    for x in (0.08, 0.30, 0.72, 0.93):
        x, y, r = x + rng.uniform(-0.03, 0.03), rng.uniform(0.36, 0.42), rng.uniform(0.13, 0.15)
        green = mix((66, 140, 72), (104, 172, 80), rng.random())
        c.fill(box(x - 0.016, y, x + 0.016, 0.66), (122, 90, 62))
        c.fill(ellipse(x, y, r, r * 1.12), green, shade=0.35)


def _city(c: Canvas, rng) -> None:
    c.gradient((250, 178, 142), (255, 226, 178), 0, 0.7)
    for tone, tallest in (((176, 146, 178), 0.24), ((112, 98, 146), 0.44)):
        x = rng.uniform(-0.08, 0.0)
        while x < 1.02:
            width = rng.uniform(0.16, 0.22)
            roof = tallest + rng.uniform(0.0, 0.20)
            c.fill(box(x, roof, x + width - 0.012, 1.02), tone)
            if tallest > 0.3:
                _lit_windows(c, x, x + width - 0.012, roof)
            x += width


def _lit_windows(c: Canvas, x0: float, x1: float, roof: float) -> None:
    for x in np.linspace(x0 + 0.045, x1 - 0.045, 2):
        for y in np.arange(roof + 0.07, 0.98, 0.14):
            c.fill(box(x - 0.018, y - 0.026, x + 0.018, y + 0.026), (255, 222, 146))
