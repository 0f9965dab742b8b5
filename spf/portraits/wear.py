"""What a person wears on head and neck: glasses, sunglasses, a hat, a pearl necklace."""

from __future__ import annotations

import numpy as np

from spf.portraits.canvas import Canvas, darker, ellipse, lighter, mirror, smooth, stroke
from spf.portraits.heads import Measures

FRAME = (36, 34, 44)
HATS = ((134, 84, 52), (188, 48, 52), (50, 68, 122), (96, 98, 106))


def draw_eyewear(c: Canvas, kind: str, f: Measures) -> None:
    y, rx, ry = f.eye_y + 0.003, f.eye_w * 1.30 + 0.010, f.eye_w * 1.04 + 0.012
    rx = min(rx, f.eye_x - 0.012)

    for s in (-1, 1):
        x = s * f.eye_x
        temple = [(x + s * rx * 0.9, y - 0.008), (s * f.w * 1.02, y - 0.014)]
        c.fill(stroke(temple, 0.020), FRAME, "eyewear")
        if kind == "sunglasses":
            _dark_lens(c, x, y, rx * 1.04, ry * 1.04)
        else:
            inner = ellipse(x, y, rx - 0.016, ry - 0.016)
            c.fill(ellipse(x, y, rx, ry), FRAME, "eyewear", hole=inner)

    gap = f.eye_x - rx * 0.95
    c.fill(stroke([(-gap, y - 0.008), (0, y - 0.018), (gap, y - 0.008)], 0.020), FRAME, "eyewear")


def _dark_lens(c: Canvas, x: float, y: float, rx: float, ry: float) -> None:
    lens = smooth(
        [
            (x - rx, y - ry * 0.72),
            (x, y - ry * 0.84),
            (x + rx, y - ry * 0.72),
            (x + rx * 0.94, y + ry * 0.42),
            (x, y + ry * 1.0),
            (x - rx * 0.94, y + ry * 0.42),
        ],
        8,
    )
    c.fill(lens, (32, 30, 40), "eyewear")
    glint = [
        (x - rx * 0.55, y - ry * 0.62),
        (x - rx * 0.12, y - ry * 0.66),
        (x - rx * 0.5, y + ry * 0.34),
        (x - rx * 0.74, y + ry * 0.1),
    ]
    c.fill(glint, (112, 120, 144), inside=lens)


def draw_hat(c: Canvas, f: Measures, rng: np.random.Generator) -> None:
    w, brim = f.w, -f.h * 0.66
    color = HATS[int(rng.integers(len(HATS)))]
    c.fill(ellipse(0, brim + 0.030, w * 1.08, 0.032), (40, 22, 26), blur=0.010, alpha=0.3)

    right = [
        (0, brim - 0.188),
        (w * 0.42, brim - 0.202),
        (w * 0.86, brim - 0.160),
        (w * 1.08, brim),
        (w * 0.6, brim + 0.02),
    ]
    crown = smooth(mirror(right), 8)
    c.fill(crown, color, "hat", shade=0.4)
    band = [(-w * 1.2, brim - 0.058), (w * 1.2, brim - 0.058), (w * 1.2, brim), (-w * 1.2, brim)]
    c.fill(band, darker(color, 0.5), "hat", inside=crown)

    edge = [
        (-w * 1.66, brim + 0.020),
        (-w * 0.95, brim - 0.020),
        (0, brim - 0.012),
        (w * 0.95, brim - 0.020),
        (w * 1.66, brim + 0.020),
        (w * 0.95, brim + 0.044),
        (0, brim + 0.054),
        (-w * 0.95, brim + 0.044),
    ]
    shape = smooth(edge, 8)
    c.fill(shape, color, "hat", shade=0.4)
    shine = [(-w * 1.45, brim + 0.012), (-w * 0.6, brim - 0.002), (w * 0.3, brim + 0.002)]
    c.fill(stroke(shine, 0.012), lighter(color, 0.3), inside=shape)


def draw_necklace(c: Canvas, f: Measures) -> None:
    """Large pearls in dark settings on an arc below the neck; the origin is the base of the neck.

    A pearl is more than a latent cell wide: of smaller ones the autoencoder makes a white band.
    """
    turn = np.linspace(-1.22, 1.22, 6)
    pearls = list(zip(np.sin(turn) * f.w * 0.76, -0.022 + np.cos(turn) * 0.108, strict=True))
    for x, y in pearls:
        c.fill(ellipse(x, y + 0.002, 0.041, 0.041, 24), (58, 40, 58), "necklace")
    for x, y in pearls:
        c.fill(ellipse(x, y, 0.032, 0.032, 24), (248, 243, 232), "necklace")
        c.fill(ellipse(x - 0.010, y - 0.011, 0.011, 0.011, 12), (255, 255, 255))
