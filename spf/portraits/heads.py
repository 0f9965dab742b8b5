"""The bare head: its measures, face, ears, eyes, nose, mouth, what age adds, beards and freckles.

The origin is the centre of the face; lengths are parts of the picture's side in a
head-and-shoulders portrait.
"""

from __future__ import annotations

import numpy as np

from spf.portraits.canvas import Canvas, box, darker, ellipse, lighter, mirror, mix, smooth, stroke
from spf.portraits.description import IDENTITY, Portrait

SKIN = {
    "fair": (250, 220, 198),
    "tan": (230, 180, 136),
    "brown": (178, 120, 82),
    "dark": (118, 76, 56),
}
IRIS = {"brown": (116, 72, 38), "blue": (58, 128, 206), "green": (62, 146, 84)}
INK = (46, 32, 36)
FRECKLES = {
    "fair": ((150, 72, 36), 0.78, 0.0),
    "tan": ((150, 72, 36), 0.78, 0.0),
    "brown": ((150, 60, 30), 0.6, 0.35),
    "dark": ((120, 40, 20), 0.6, 0.5),
}
"""Of each skin: the red in its freckles, the share of it, and how much darker they are."""


class Measures:
    """The lengths of one head, from identity, gender and years."""

    def __init__(self, p: Portrait):
        m = dict(zip(IDENTITY, p.identity, strict=True))
        man, child = p.gender == "man" and p.age != "child", p.age == "child"

        self.man, self.child = man, child
        self.w = 0.194 * (1 + 0.09 * m["face width"]) * (1.04 if man else 0.98)
        self.h = 0.236 * (1 + 0.07 * m["face length"]) * (1.03 if man else 0.98)
        self.jaw = 0.12 * m["jaw"] + (0.14 if man else -0.08)
        if child:
            self.w, self.h, self.jaw = self.w * 1.02, self.h * 0.90, 0.04 + 0.08 * m["jaw"]

        self.eye_x = self.w * (0.47 + 0.05 * m["eye distance"])
        self.eye_y = 0.022 if child else -0.012
        self.eye_w = 0.051 * (1 + 0.14 * m["eye size"]) * (0.95 if man else 1.06)
        self.eye_w *= 1.12 if child else 1.0
        self.brow_y = self.eye_y - 0.074 - 0.012 * m["brow height"] - (0 if man else 0.004)
        self.brow_t = 0.023 * (1 + 0.35 * m["brow thickness"]) * (1.25 if man else 0.80)

        self.nose_y = self.h * (0.34 + 0.06 * m["nose length"]) + (0.012 if child else 0)
        self.nose_w = 0.027 * (1 + 0.30 * m["nose width"]) * (1.1 if man else 0.92)
        self.mouth_y = self.h * 0.63
        self.mouth_w = 0.068 * (1 + 0.18 * m["mouth width"]) * (0.86 if child else 1.0)

        self.wrinkles = float(np.clip((p.years_drawn - 34) / 34, 0, 1))
        """How far the lines of age are drawn: 0 up to 34 years, 1 from 68."""

    def outline(self) -> np.ndarray:
        w, h, j = self.w, self.h, self.jaw
        right = [
            (0, -h),
            (w * 0.72, -h * 0.84),
            (w, -h * 0.30),
            (w * 0.985, h * 0.16),
            (w * (0.84 + 0.35 * j), h * 0.60),
            (w * (0.44 + 0.55 * j), h * 0.91),
            (0, h),
        ]
        return smooth(mirror(right))


def draw_ears(c: Canvas, f: Measures, skin) -> None:
    for s in (-1, 1):
        c.fill(ellipse(s * f.w * 1.0, 0.016, 0.034, 0.052), darker(skin, 0.08), "ear", shade=0.2)
        c.fill(ellipse(s * f.w * 1.03, 0.018, 0.016, 0.030), darker(skin, 0.24))


def draw_age(c: Canvas, p: Portrait, f: Measures, skin) -> None:
    """Rosy cheeks for the young; soft folds that grow longer and deeper with the years for the
    others."""
    outline, t = f.outline(), f.wrinkles
    if not t:
        for s in (-1, 1):
            cheek = ellipse(s * f.w * 0.60, f.h * 0.32, f.w * 0.25, f.h * 0.15)
            c.fill(cheek, mix(skin, (236, 84, 92), 0.42), blur=0.009, inside=outline)
        return

    def crease(points):
        c.fill(stroke(points, 0.013), shadow, blur=0.003, inside=outline)

    shadow = darker(skin, 0.34 + 0.12 * t)
    for s in (-1, 1):
        crease(
            [
                (s * f.nose_w * 1.75, f.nose_y + 0.002),
                (s * (f.mouth_w + 0.012), f.mouth_y - 0.046),
                (s * (f.mouth_w + 0.020), f.mouth_y - 0.024 + 0.016 * t),
            ]
        )
        if t < 0.8:
            continue

        pouch = ellipse(s * f.eye_x, f.eye_y + 0.048, f.eye_w * 0.92, 0.020)
        c.fill(pouch, darker(skin, 0.16), blur=0.004, inside=outline)
        crease(
            [
                (s * f.eye_x - f.eye_w * 0.8, f.eye_y + 0.052),
                (s * f.eye_x, f.eye_y + 0.066),
                (s * f.eye_x + f.eye_w * 0.8, f.eye_y + 0.052),
            ]
        )

    if t >= 0.8:
        for k, rise in enumerate((0.050, 0.086)):
            y, half = f.brow_y - rise, 0.078 - 0.016 * k
            crease([(-half, y + 0.005), (0, y - 0.004), (half, y + 0.005)])


def draw_freckles(c: Canvas, p: Portrait, f: Measures, skin, rng: np.random.Generator) -> None:
    """Five dots on each cheek, over a soft band from cheek to cheek.

    The denoiser learns the band at once and the dots roughly; on bare skin dots that flow together
    look like bruises, on the band like freckles. On darker skin they are a deeper brown, not black:
    guidance triples what sets them off.
    """
    red, share, deeper = FRECKLES[p.skin]
    ink = darker(mix(skin, red, share), deeper)
    top = f.eye_y + 0.02

    band = mix(skin, ink, 0.3)
    c.fill(ellipse(0, 0.17 * f.h + top, 0.5 * f.w, 0.1 * f.h, 24), band, blur=0.012)
    for s in (-1, 1):
        patch = ellipse(s * 0.58 * f.w, 0.3 * f.h + top, 0.46 * f.w, 0.24 * f.h, 24)
        c.fill(patch, band, blur=0.012)

    cheek = [(0.30, 0.16), (0.58, 0.20), (0.86, 0.16), (0.44, 0.42), (0.74, 0.46)]
    for x, y in [(s * x, y) for s in (-1, 1) for x, y in cheek]:
        x, y = x + rng.uniform(-0.01, 0.01), y + rng.uniform(-0.008, 0.008)
        c.fill(ellipse(x * f.w, y * f.h + top, 0.016, 0.016, 18), ink)


_OPENING = {"neutral": 0.66, "smiling": 0.60, "surprised": 0.94, "sad": 0.56}


def draw_eyes(c: Canvas, p: Portrait, f: Measures, brow, skin) -> None:
    for s in (-1, 1):
        if p.expression == "laughing":
            x, y, w = s * f.eye_x, f.eye_y, f.eye_w
            lid = stroke([(x - w, y + 0.016), (x, y - 0.030), (x + w, y + 0.016)], 0.022)
            c.fill(lid, INK, "eyes")
        else:
            _open_eye(c, p, f, s, skin)
        _brow(c, p, f, s, brow)


def _open_eye(c: Canvas, p: Portrait, f: Measures, s: int, skin) -> None:
    x, y, w = s * f.eye_x, f.eye_y, f.eye_w
    h = w * _OPENING[p.expression]
    droop = 0.012 if p.expression == "sad" else 0.0

    white = smooth(
        [
            (x - s * w, y + 0.006),
            (x - s * w * 0.4, y - h * 0.9),
            (x + s * w * 0.4, y - h + droop * 0.4),
            (x + s * w, y + droop),
            (x + s * w * 0.45, y + h * 0.80),
            (x - s * w * 0.4, y + h * 0.82),
        ],
        8,
    )
    c.fill(white, (254, 254, 254), "eyes")
    c.fill(ellipse(x, y - 0.001, w * 0.64, w * 0.64), IRIS[p.eye_color], inside=white)
    c.fill(ellipse(x, y - 0.001, w * 0.36, w * 0.36, 24), (20, 14, 18), inside=white)
    c.fill(ellipse(x - w * 0.20, y - w * 0.22, w * 0.17, w * 0.17, 16), (255, 255, 255))

    lid = [
        (x - s * w * 1.04, y + 0.008),
        (x - s * w * 0.3, y - h * 1.02),
        (x + s * w * 0.4, y - h * 1.04 + droop * 0.4),
        (x + s * w * 1.08, y + droop),
    ]
    c.fill(stroke(lid, 0.015 if f.man or f.child else 0.021), INK, "eyes")
    if not f.man and not f.child:
        lash = [
            (x + s * w * 0.86, y - h * 0.30 + droop),
            (x + s * w * 1.38, y - h * 0.62 - 0.010 + droop),
        ]
        c.fill(stroke(lash, 0.018), INK, "eyes")


def _brow(c: Canvas, p: Portrait, f: Measures, s: int, color) -> None:
    x, y = s * f.eye_x, f.brow_y
    y += {"surprised": -0.026, "laughing": -0.008}.get(p.expression, 0.0)
    sad = p.expression == "sad"

    inner = (x - s * f.eye_w * 0.95, y + (-0.022 if sad else 0.006))
    arch = (x + s * f.eye_w * 0.15, y - (0.004 if sad else 0.012))
    outer = (x + s * f.eye_w * 1.15, y + (0.034 if sad else 0.006))
    c.fill(stroke([inner, arch, outer], f.brow_t), color, "brows")


def draw_nose(c: Canvas, f: Measures, skin) -> None:
    w, y = f.nose_w, f.nose_y
    c.fill(ellipse(0, y - 0.012, w * 1.05, 0.022), darker(skin, 0.10), "nose")
    c.fill(ellipse(-w * 0.25, y - 0.020, w * 0.42, 0.010, 16), lighter(skin, 0.22))
    under = stroke([(-w * 1.1, y - 0.006), (0, y + 0.016), (w * 1.1, y - 0.006)], 0.016)
    c.fill(under, darker(skin, 0.50), "nose")


_BEND = {"neutral": 0.002, "smiling": 0.040, "sad": -0.034}


def draw_mouth(c: Canvas, p: Portrait, f: Measures, skin) -> None:
    red = 0.32 if f.man or f.child else 0.68
    lip = mix(skin, (188, 44, 62), red)
    if p.skin in ("brown", "dark"):
        lip = mix(lip, (150, 40, 50), 0.25)

    if p.expression == "surprised":
        w, y = f.mouth_w, f.mouth_y + 0.010
        c.fill(ellipse(0, y, w * 0.56, 0.050), lip, "mouth")
        c.fill(ellipse(0, y, w * 0.36, 0.034), (98, 26, 38), "mouth")
    elif p.expression == "laughing":
        _laugh(c, f, lip)
    else:
        _closed_mouth(c, p, f, lip, skin)


def _laugh(c: Canvas, f: Measures, lip) -> None:
    w, y = f.mouth_w * 1.22, f.mouth_y
    corners = [(-w, y - 0.030), (0, y - 0.020), (w, y - 0.030)]
    c.fill(
        smooth([*corners, (w * 0.70, y + 0.034), (0, y + 0.062), (-w * 0.70, y + 0.034)]),
        lip,
        "mouth",
    )

    cave = smooth(
        [
            (-w * 0.86, y - 0.020),
            (0, y - 0.011),
            (w * 0.86, y - 0.020),
            (w * 0.60, y + 0.028),
            (0, y + 0.050),
            (-w * 0.60, y + 0.028),
        ]
    )
    c.fill(cave, (98, 26, 38), "mouth")
    c.fill(box(-w, y - 0.03, w, y + 0.010), (252, 252, 250), "mouth", inside=cave)
    c.fill(ellipse(0, y + 0.046, w * 0.44, 0.018), (216, 96, 104), "mouth", inside=cave)


def _closed_mouth(c: Canvas, p: Portrait, f: Measures, lip, skin) -> None:
    w, y, bend = f.mouth_w, f.mouth_y, _BEND[p.expression]
    full = 0.016 if f.man or f.child else 0.024
    w *= 1.16 if p.expression == "smiling" else 1.0

    upper = [
        (-w, y - bend),
        (-w * 0.35, y - full * 0.75 + bend * 0.3),
        (0, y - full * 0.45 + bend * 0.45),
        (w * 0.35, y - full * 0.75 + bend * 0.3),
        (w, y - bend),
    ]
    lower = [
        (w * 0.5, y + full + bend * 0.55),
        (0, y + full * 1.25 + bend * 0.75),
        (-w * 0.5, y + full + bend * 0.55),
    ]
    c.fill(smooth(upper + lower, 8), lip, "mouth")

    line = [
        (-w * 1.04, y - bend * 1.05),
        (-w * 0.4, y + bend * 0.45),
        (w * 0.4, y + bend * 0.45),
        (w * 1.04, y - bend * 1.05),
    ]
    c.fill(stroke(line, 0.015), darker(lip, 0.48), "mouth")


def draw_beard(c: Canvas, p: Portrait, f: Measures, hair) -> None:
    """A full beard from ear to ear that leaves the mouth free, or a moustache above it."""
    w, h, j = f.w, f.h, f.jaw
    color, y = darker(hair, 0.10), f.mouth_y
    if p.beard == "beard":
        right = [
            (0, y - 0.045),
            (w * 0.40, y - 0.050),
            (w * 0.74, h * 0.30),
            (w * 0.985, -h * 0.04),
            (w * 1.03, h * 0.22),
            (w * (0.93 + 0.3 * j), h * 0.72),
            (w * 0.46, h * 1.08),
            (0, h * 1.15),
        ]
        c.fill(smooth(mirror(right)), color, "beard", shade=0.35)
        return

    right = [
        (0, y - 0.050),
        (w * 0.24, y - 0.056),
        (w * 0.52, y - 0.006),
        (w * 0.30, y - 0.012),
        (0, y - 0.020),
    ]
    c.fill(smooth(mirror(right)), color, "beard")
