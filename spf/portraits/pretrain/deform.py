"""Faces spoilt on purpose, as unfinished denoisers spoil them: what the judges learn to tell from
well-formed ones.

    deform(image, regions, rng) -> (image, what was done)

Every kind works on the region map of a drawn portrait, so that it always hits the face. uint8
[S,S,3] and [S,S].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from spf.portraits.canvas import region_mask

FACE = ("face", "eyes", "brows", "nose", "mouth", "beard", "eyewear", "ear")

Deform = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray | None]
KINDS: dict[str, Deform] = {}


def kind(function: Deform) -> Deform:
    """Registers a way to spoil a face; it returns None where the portrait gives it nothing to
    spoil."""
    KINDS[function.__name__] = function
    return function


def deform(
    image: np.ndarray, regions: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """One random kind of damage, and its name."""
    for name in rng.permutation(list(KINDS)):
        spoilt = KINDS[str(name)](image.copy(), regions, rng)
        if spoilt is not None:
            return spoilt, str(name)
    raise ValueError("No face in this picture.")


def _box(mask: np.ndarray, grow: int = 0) -> tuple[slice, slice] | None:
    """The rows and columns of a mask; None where it holds less than four pixels."""
    ys, xs = np.nonzero(mask)
    if len(ys) < 4:
        return None
    size = mask.shape[0]
    rows = slice(max(ys.min() - grow, 0), min(ys.max() + 1 + grow, size))
    columns = slice(max(xs.min() - grow, 0), min(xs.max() + 1 + grow, size))
    return rows, columns


def _eye(regions: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """The box around one of the two eyes (or lenses): the middle of the face parts them."""
    eyes, face = region_mask(regions, ("eyes",)), _box(region_mask(regions, ("face",)))
    if eyes.sum() < 8 or face is None:
        return None
    middle = (np.nonzero(eyes)[1].min() + np.nonzero(eyes)[1].max() + 1) // 2
    side = np.zeros_like(eyes)
    if rng.random() < 0.5:
        side[:, :middle] = True
    else:
        side[:, middle:] = True
    return _box(eyes & side, grow=2)


def _skin(image: np.ndarray, regions: np.ndarray, where: tuple[slice, slice]) -> np.ndarray:
    """The usual colour of the face around a box."""
    rows, columns = where
    grow = 8
    near = (
        slice(max(rows.start - grow, 0), rows.stop + grow),
        slice(max(columns.start - grow, 0), columns.stop + grow),
    )
    face = region_mask(regions, ("face",))[near]
    pixels = image[near][face]
    return np.median(pixels, 0) if len(pixels) else image[near].reshape(-1, 3).mean(0)


def _covered(image: np.ndarray, where: tuple[slice, slice], color: np.ndarray) -> np.ndarray:
    """The box painted over, with soft edges."""
    rows, columns = where
    height, width = rows.stop - rows.start, columns.stop - columns.start
    y = np.minimum(np.arange(height) + 1, np.arange(height)[::-1] + 1) / 3
    x = np.minimum(np.arange(width) + 1, np.arange(width)[::-1] + 1) / 3
    soft = np.minimum(y[:, None], x[None]).clip(0, 1)[..., None]
    image[rows, columns] = (image[rows, columns] * (1 - soft) + color * soft).astype(np.uint8)
    return image


@kind
def eye_missing(image, regions, rng):
    where = _eye(regions, rng)
    return where and _covered(image, where, _skin(image, regions, where))


@kind
def eye_moved(image, regions, rng):
    where = _eye(regions, rng)
    if where is None:
        return None
    rows, columns = where
    patch, size = image[where].copy(), len(image)
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(4, 8) * size / 128
    dy, dx = round(far * np.sin(angle)), round(far * np.cos(angle))
    dy = int(np.clip(dy, -rows.start, size - rows.stop))
    dx = int(np.clip(dx, -columns.start, size - columns.stop))

    image = _covered(image, where, _skin(image, regions, where))
    image[rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx] = patch
    return image


@kind
def eye_of_another_size(image, regions, rng):
    where = _eye(regions, rng)
    if where is None:
        return None
    rows, columns = where
    height, width = rows.stop - rows.start, columns.stop - columns.start
    scale = rng.uniform(0.4, 0.65) if rng.random() < 0.6 else rng.uniform(1.4, 1.8)
    new = max(3, round(height * scale)), max(3, round(width * scale))
    patch = np.asarray(Image.fromarray(image[where]).resize(new[::-1], Image.BILINEAR))

    image = _covered(image, where, _skin(image, regions, where))
    top, left = (rows.start + rows.stop - new[0]) // 2, (columns.start + columns.stop - new[1]) // 2
    size = len(image)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + new[0], size), min(left + new[1], size)
    image[y0:y1, x0:x1] = patch[y0 - top : y1 - top, x0 - left : x1 - left]
    return image


@kind
def mouth_smeared(image, regions, rng):
    where = _box(region_mask(regions, ("mouth",)), grow=3)
    if where is None:
        return None
    rows, columns = where
    if rng.random() < 0.4:
        half = (columns.start + columns.stop) // 2
        part = slice(columns.start, half) if rng.random() < 0.5 else slice(half, columns.stop)
        return _covered(image, (rows, part), _skin(image, regions, where))
    patch = Image.fromarray(image[where])
    low = max(2, patch.width // 6), max(2, patch.height // 4)
    image[where] = np.asarray(patch.resize(low, Image.BOX).resize(patch.size, Image.BICUBIC))
    return image


@kind
def nose_missing(image, regions, rng):
    where = _box(region_mask(regions, ("nose",)), grow=1)
    return where and _covered(image, where, _skin(image, regions, where))


@kind
def brow_missing(image, regions, rng):
    brows = region_mask(regions, ("brows",))
    if brows.sum() < 8:
        return None
    columns = np.nonzero(brows)[1]
    side = np.arange(len(image))[None] < (columns.min() + columns.max()) / 2
    where = _box(brows & (side if rng.random() < 0.5 else ~side), grow=1)
    return where and _covered(image, where, _skin(image, regions, where))


@kind
def blotches(image, regions, rng):
    """Two to four patches of a colour from elsewhere in the picture, on the face."""
    face = np.argwhere(region_mask(regions, FACE))
    if len(face) < 20:
        return None
    size = len(image)
    ys, xs = np.mgrid[:size, :size]
    for _ in range(rng.integers(2, 5)):
        y, x = face[rng.integers(len(face))]
        color = image[tuple(rng.integers(0, size, 2))].astype(float)
        ry, rx = rng.uniform(0.03, 0.09, 2) * size
        reach = ((ys - y) / ry) ** 2 + ((xs - x) / rx) ** 2
        cover = (1.4 - reach).clip(0, 1)[..., None] * rng.uniform(0.6, 1.0)
        image = image * (1 - cover) + color * cover
    return image.astype(np.uint8)


@kind
def warped(image, regions, rng):
    """The face pulled out of shape by a smooth field of up to eight pixels."""
    where = _box(region_mask(regions, FACE))
    if where is None:
        return None
    size = len(image)

    def field() -> np.ndarray:
        coarse = Image.fromarray(rng.uniform(-1, 1, (6, 6)).astype(np.float32), "F")
        return np.asarray(coarse.resize((size, size), Image.BICUBIC))

    inside = np.zeros((size, size), np.float32)
    inside[where] = 1
    soft = np.asarray(
        Image.fromarray((inside * 255).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(size / 40)
        ),
        np.float32,
    )
    most = rng.uniform(6, 11) * size / 128 * soft / 255
    ys, xs = np.mgrid[:size, :size]
    y = (ys + field() * most).round().clip(0, size - 1).astype(int)
    x = (xs + field() * most).round().clip(0, size - 1).astype(int)
    return image[y, x]


@kind
def washed_out(image, regions, rng):
    """Half of the face blurred beyond recognition."""
    where = _box(region_mask(regions, FACE))
    if where is None:
        return None
    rows, columns = where
    half = (columns.start + columns.stop) // 2
    part = slice(columns.start, half) if rng.random() < 0.5 else slice(half, columns.stop)
    if rng.random() < 0.4:
        rows = slice((rows.start + rows.stop) // 2, rows.stop)
    patch = Image.fromarray(image[rows, part])
    radius = rng.uniform(3, 5) * len(image) / 128
    image[rows, part] = np.asarray(patch.filter(ImageFilter.GaussianBlur(radius)))
    return image


@kind
def eyewear_broken(image, regions, rng):
    where = _box(region_mask(regions, ("eyewear",)))
    if where is None:
        return None
    rows, columns = where
    width = columns.stop - columns.start
    start = columns.start + round(width * rng.uniform(0, 0.6))
    part = rows, slice(start, start + max(4, round(width * rng.uniform(0.25, 0.4))))
    return _covered(image, part, _skin(image, regions, where))
