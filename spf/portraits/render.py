"""From a description to a picture, with the region that every pixel belongs to.

Smooth closed curves with flat colours, drawn at three times the size and then reduced. The head is
tilted about the neck; framing scales the whole person. Equal descriptions give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from spf.portraits.canvas import REGIONS, SUPERSAMPLE, Canvas, darker, mix, region_mask
from spf.portraits.clothes import draw_clothes, draw_neck
from spf.portraits.description import ADDED, Portrait
from spf.portraits.finish import old_photo, watercolor
from spf.portraits.hair import HAIR, draw_back_hair, draw_front_hair
from spf.portraits.heads import (
    SKIN,
    Measures,
    draw_age,
    draw_beard,
    draw_ears,
    draw_eyes,
    draw_freckles,
    draw_mouth,
    draw_nose,
)
from spf.portraits.places import draw_background
from spf.portraits.wear import draw_eyewear, draw_hat, draw_necklace
from spf.registry import TAUGHT

__all__ = ["REGIONS", "Drawing", "render"]

FRAMING = {
    "close-up": (1.24, 0.495),
    "head and shoulders": (1.06, 0.470),
    "half-length": (0.84, 0.400),
}
"""For each framing the scale of the person and how far down the centre of the face lies."""

SHOULDERS = 0.335  # from the centre of the face down to the base of the neck


@dataclass(frozen=True)
class Drawing:
    """image: uint8 [S, S, 3]; regions: uint8 [S, S], index into REGIONS."""

    image: np.ndarray
    regions: np.ndarray

    def mask(self, *names: str) -> np.ndarray:
        """bool [S, S], true where one of the named regions lies; the whole picture without
        names."""
        if not names:
            return np.ones(self.regions.shape, bool)
        return region_mask(self.regions, names)


def render(p: Portrait, size: int = 128) -> Drawing:
    """Draw one portrait at `size` x `size` pixels."""
    # One random stream a part: no part's choices move another's.
    streams = np.random.default_rng(p.seed).spawn(8)
    place_rng, hair_rng, freckle_rng, hat_rng, paint_rng, tone_rng = streams[:6]

    c, f = Canvas(size), Measures(p)
    skin = mix(SKIN[p.skin], tuple(tone_rng.integers(80, 240, 3)), 0.04)
    hair = mix(HAIR[p.hair_color], tuple(tone_rng.integers(40, 240, 3)), 0.04)
    head, body = _places(p, f)

    draw_background(c, p.background, place_rng)

    c.move = head
    if (p.hair_style, p.hat) != ("bun", "hat"):  # the hat sits on the bun
        draw_back_hair(c, p.hair_style, f, hair, hair_rng)

    c.move = body
    draw_neck(c, f, skin)
    draw_clothes(c, p, f, skin)
    if p.necklace != "none":
        draw_necklace(c, f)

    c.move = head
    _draw_head(c, p, f, skin, hair, freckle_rng)
    if p.eyewear != "none":
        draw_eyewear(c, p.eyewear, f)
    if p.hat != "none":
        draw_hat(c, f, hat_rng)

    for number, (name, target) in enumerate(ADDED.items()):
        if getattr(p, name) != "none":
            c.move = body if TAUGHT.fact(target.name, "ON") == "body" else head
            rng = np.random.default_rng([p.seed, number])
            TAUGHT.load(target.name).draw(c, f, rng)

    return _finished(c, p, size, paint_rng)


LANDMARKS = (
    "left eye",
    "right eye",
    "left brow",
    "right brow",
    "nose",
    "mouth",
    "left ear",
    "right ear",
    "chin",
)


def landmarks(p: Portrait) -> np.ndarray:
    """Where the parts of the face lie, as the viewer sees it: float32 [9,2], x and y in parts of
    the side."""
    f = Measures(p)
    head, _ = _places(p, f)
    pairs = ((f.eye_x, f.eye_y), (f.eye_x, f.brow_y), (f.w, 0.016))
    (eyes, brows, ears) = ([(-x, y), (x, y)] for x, y in pairs)
    points = [*eyes, *brows, (0, f.nose_y), (0, f.mouth_y), *ears, (0, f.h)]
    return head(points).astype(np.float32)


def _places(p: Portrait, f: Measures):
    """The two maps from a part's own coordinates to the picture: of the tilted head, and of the
    body."""
    scale, down = FRAMING[p.framing]
    centre = np.array([0.5 + p.shift[0], down + p.shift[1]])
    pivot = np.array([0.0, f.h * 0.85])
    turn = np.deg2rad(p.angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def head(points):
        return ((np.asarray(points) - pivot) @ rotation.T + pivot) * scale + centre

    def body(points):
        return (np.asarray(points) + [0.0, SHOULDERS]) * scale + centre

    return head, body


def _draw_head(c: Canvas, p: Portrait, f: Measures, skin, hair, freckle_rng) -> None:
    draw_ears(c, f, skin)
    c.fill(f.outline(), skin, "face", shade=0.22)
    draw_age(c, p, f, skin)
    if p.freckles != "none":
        draw_freckles(c, p, f, skin, freckle_rng)

    draw_nose(c, f, skin)
    if p.beard == "beard":
        draw_beard(c, p, f, hair)
    draw_mouth(c, p, f, skin)
    if p.beard == "mustache":
        draw_beard(c, p, f, hair)
    draw_eyes(c, p, f, darker(hair, 0.18), skin)
    draw_front_hair(c, p.hair_style, f, hair, 1 if p.seed % 2 else -1)


def _finished(c: Canvas, p: Portrait, size: int, rng: np.random.Generator) -> Drawing:
    image = c.image
    if p.style == "watercolor":
        image = Image.fromarray(watercolor(np.asarray(image), rng))
    if p.condition == "old photo":
        image = Image.fromarray(old_photo(np.asarray(image), rng))

    middle = slice(SUPERSAMPLE // 2, None, SUPERSAMPLE)
    regions = np.asarray(c.regions)[middle, middle]
    return Drawing(np.asarray(image.resize((size, size), Image.BOX)), np.ascontiguousarray(regions))
