"""Neck and clothes. The origin is the base of the neck, between the shoulders."""

from __future__ import annotations

import numpy as np

from spf.portraits.canvas import Canvas, box, darker, ellipse, lighter, mirror, smooth, stroke
from spf.portraits.description import Portrait
from spf.portraits.heads import Measures

CLOTH = {
    "white": (240, 240, 243),
    "red": (214, 60, 62),
    "blue": (62, 106, 206),
    "green": (58, 152, 98),
    "yellow": (248, 206, 76),
    "black": (54, 56, 66),
    "purple": (140, 86, 182),
}


def draw_neck(c: Canvas, f: Measures, skin) -> None:
    half = f.w * (0.56 if f.man else 0.46)
    right = [(half, -0.20), (half, -0.04), (half * 1.5, 0.02), (0, 0.06)]
    neck = smooth(mirror([(0, -0.20), *right]))
    c.fill(neck, darker(skin, 0.10), "neck")
    c.fill(ellipse(0, -0.115, half * 1.3, 0.05), darker(skin, 0.34), inside=neck)


def draw_clothes(c: Canvas, p: Portrait, f: Measures, skin) -> None:
    color = CLOTH[p.clothing_color]
    half = 0.40 if f.man else 0.30 if f.child else 0.345
    neck = f.w * (0.56 if f.man else 0.48)
    right = [
        (0, 0.005),
        (neck * 1.15, -0.016),
        (half * 0.70, 0.050),
        (half, 0.150),
        (half * 1.08, 0.55),
        (half * 1.08, 1.2),
    ]
    body = smooth(mirror(right))

    if p.clothing == "dress":
        _dress(c, p, half, body, color, skin)
        return
    c.fill(body, color, "clothing", shade=0.35)
    parts = {
        "T-shirt": _t_shirt,
        "shirt": _shirt,
        "jacket": _jacket,
        "suit": _suit,
        "sweater": _sweater,
    }
    parts[p.clothing](c, p, half, neck, color, skin)


def _line_color(p: Portrait, color):
    return lighter(color, 0.28) if p.clothing_color == "black" else darker(color, 0.40)


def _opening(depth: float, half: float) -> np.ndarray:
    return smooth(mirror([(0, -0.04), (half, -0.04), (half * 0.78, depth * 0.5), (0, depth)]), 8)


def _vee(depth: float, half: float) -> list[tuple[float, float]]:
    return [(-half, -0.035), (half, -0.035), (0, depth)]


def _t_shirt(c, p, half, neck, color, skin) -> None:
    c.fill(_opening(0.088, neck * 1.42), darker(color, 0.20), "clothing")
    c.fill(_opening(0.064, neck * 1.22), darker(skin, 0.04), "neck")
    _sleeves(c, half, _line_color(p, color))


def _sleeves(c, half, color) -> None:
    for s in (-1, 1):
        seam = [(s * half * 0.74, 0.42), (s * half * 0.76, 0.24), (s * half * 0.80, 0.14)]
        c.fill(stroke(seam, 0.011), color)


def _sweater(c, p, half, neck, color, skin) -> None:
    """A rolled collar up to the chin, and ribs."""
    line = _line_color(p, color)
    collar = smooth(
        mirror([(0, -0.085), (neck * 1.12, -0.090), (neck * 1.32, 0.02), (0, 0.050)]), 8
    )
    c.fill(collar, lighter(color, 0.14), "clothing")
    for x in (-0.66, -0.22, 0.22, 0.66):
        c.fill(stroke([(x * neck, -0.070), (x * neck * 1.08, 0.032)], 0.011), line, alpha=0.6)
    c.fill(stroke([(-neck * 1.3, 0.022), (0, 0.052), (neck * 1.3, 0.022)], 0.013), line)
    _sleeves(c, half, line)


def _shirt(c, p, half, neck, color, skin) -> None:
    line = _line_color(p, color)
    c.fill(_vee(0.066, neck * 1.05), darker(skin, 0.04), "neck")

    for s in (-1, 1):
        tip, inner, outer = (s * 0.062, 0.128), (0, 0.060), (s * neck * 1.75, 0.030)
        leaf = [(s * neck * 1.22, -0.048), inner, tip, outer]
        c.fill(leaf, lighter(color, 0.32), "clothing")
        c.fill(stroke([inner, tip, outer], 0.010), line)

    c.fill(box(-0.006, 0.075, 0.006, 1.0), line)
    button = (150, 152, 164) if p.clothing_color == "white" else lighter(color, 0.8)
    for y in (0.16, 0.25, 0.34, 0.43):
        c.fill(ellipse(0.030, y, 0.015, 0.015, 16), button, "clothing")


def _jacket(c, p, half, neck, color, skin) -> None:
    """Open over a plain shirt, with a stand-up collar and a golden zip."""
    inner = (126, 136, 156) if p.clothing_color == "white" else (238, 238, 236)
    c.fill(
        [(-neck * 1.1, -0.04), (neck * 1.1, -0.04), (0.085, 1.0), (-0.085, 1.0)], inner, "clothing"
    )
    c.fill(_opening(0.056, neck * 1.05), darker(skin, 0.04), "neck")

    flap = lighter(color, 0.14) if p.clothing_color == "black" else darker(color, 0.20)
    for s in (-1, 1):
        collar = [
            (s * neck * 0.95, -0.075),
            (s * neck * 1.8, -0.03),
            (s * neck * 2.05, 0.055),
            (s * neck * 1.05, 0.070),
        ]
        c.fill(smooth(collar), flap, "clothing")
        zip_ = [(s * neck * 1.05, 0.04), (s * 0.098, 0.20), (s * 0.088, 0.60)]
        c.fill(stroke(zip_, 0.018), (222, 180, 92), "clothing")


def _suit(c, p, half, neck, color, skin) -> None:
    """A shirt and a tie under lapels."""
    shirt = (168, 194, 232) if p.clothing_color == "white" else (247, 247, 249)
    tie = (44, 56, 104) if p.clothing_color in ("red", "purple") else (178, 40, 56)
    c.fill(_vee(0.30, neck * 1.40), shirt, "clothing")
    c.fill(_vee(0.050, neck * 1.02), darker(skin, 0.04), "neck")
    knot = [(-0.028, 0.040), (0.028, 0.040), (0.018, 0.084), (-0.018, 0.084)]
    blade = [(-0.018, 0.084), (0.018, 0.084), (0.038, 0.27), (0, 0.33), (-0.038, 0.27)]
    c.fill(knot, darker(tie, 0.15), "clothing")
    c.fill(blade, tie, "clothing")

    lapel = lighter(color, 0.18) if p.clothing_color == "black" else darker(color, 0.24)
    for s in (-1, 1):
        shape = [
            (s * neck * 1.18, -0.042),
            (s * neck * 1.85, 0.0),
            (s * neck * 2.15, 0.10),
            (s * neck * 1.62, 0.11),
            (s * 0.012, 0.36),
        ]
        c.fill(shape, lapel, "clothing")


def _dress(c, p, half, body, color, skin) -> None:
    """A sundress: shoulders bare to the straps, a wide hem over the bust."""
    c.fill(body, darker(skin, 0.04), "neck", shade=0.3)
    right = [(0, 0.082), (0.14, 0.076), (half * 0.60, 0.086), (half * 0.88, 0.175)]
    bodice = smooth(mirror([*right, (half * 0.92, 1.2)]))
    c.fill(bodice, color, "clothing", shade=0.3)
    for s in (-1, 1):
        strap = stroke([(s * 0.148, -0.03), (s * 0.156, 0.10)], 0.05)
        c.fill(strap, color, "clothing", inside=body)

    hem = [(-half * 0.58, 0.096), (0, 0.092), (half * 0.58, 0.096)]
    c.fill(stroke(hem, 0.022), _line_color(p, color), "clothing")
