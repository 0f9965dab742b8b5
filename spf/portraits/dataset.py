"""Many portraits at once: drawn in parallel, kept on disk as plain arrays, or written out as a data
set to look at."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spf.errors import BadInput
from spf.files import atomic, require_room
from spf.portraits import canvas, clothes, finish, hair, heads, places, render, wear
from spf.portraits.captions import Caption, caption
from spf.portraits.description import ADDED, SPLITS, Portrait, sample_portrait

_CHUNK = 64
_DRAWERS = (render, canvas, places, heads, hair, wear, clothes, finish)


@dataclass
class PortraitSet:
    """images uint8 [N,S,S,3]; regions uint8 [N,S,S]; labels int64 [N,attributes]; identities
    float32 [N,measures]."""

    portraits: list[Portrait]
    images: np.ndarray
    regions: np.ndarray
    labels: np.ndarray
    identities: np.ndarray

    def __len__(self) -> int:
        return len(self.portraits)

    def caption(self, i: int, rng: np.random.Generator) -> Caption:
        """A fresh random caption of portrait `i`."""
        return caption(self.portraits[i], rng)


def sample_many(targets: str, n: int, seed: int, split: str = "train") -> list[Portrait]:
    """`n` random portraits; the first k of a longer list equal a list of k."""
    rng = np.random.default_rng([seed, SPLITS.index(split) if split in SPLITS else 0])
    return [sample_portrait(rng, split=split, targets=targets) for _ in range(n)]


def _draw_chunk(chunk: list[Portrait], size: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = [render.render(p, size) for p in chunk]
    return np.stack([d.image for d in drawn]), np.stack([d.regions for d in drawn])


def draw_into(
    portraits: list[Portrait], images: np.ndarray, regions: np.ndarray, workers: int | None = None
) -> None:
    """Render all portraits into the given arrays, over processes where there are many."""
    chunks = [portraits[i : i + _CHUNK] for i in range(0, len(portraits), _CHUNK)]
    at = 0
    draw_chunk = functools.partial(_draw_chunk, size=images.shape[1])
    for image, region in side_by_side(draw_chunk, chunks, workers):
        images[at : at + len(image)], regions[at : at + len(image)] = image, region
        at += len(image)


def side_by_side(work: Callable, parts: Sequence, workers: int | None = None) -> Iterator:
    """Results of `work` for each part in order, over processes where there are many parts."""
    workers = workers or min(os.cpu_count() or 1, 16)
    if len(parts) < 3 or workers == 1:
        yield from map(work, parts)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, parts)


def draw(
    portraits: list[Portrait], size: int = 128, workers: int | None = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N,S,S,3] and regions uint8 [N,S,S]."""
    images = np.empty((len(portraits), size, size, 3), np.uint8)
    regions = np.empty((len(portraits), size, size), np.uint8)
    draw_into(portraits, images, regions, workers)
    return images, regions


def cached_portraits(
    targets: str,
    n: int,
    seed: int,
    size: int,
    cache_dir: str | Path,
    *,
    split: str = "train",
    workers: int | None = None,
) -> PortraitSet:
    """Sampled and drawn portraits, read from `cache_dir` where the same order was drawn before by
    the same renderer."""
    portraits = sample_many(targets, n, seed, split)
    folder = Path(cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    key = f"{split}-{targets}-{n}-{seed}-{size}-{_version(portraits)}"
    files = {name: folder / f"{key}-{name}.npy" for name in ("images", "regions")}
    if not all(f.exists() for f in files.values()):
        require_room(folder, n * size * size * 4)
        with atomic(files["images"]) as a, atomic(files["regions"]) as b:
            images = np.lib.format.open_memmap(a, "w+", np.uint8, (n, size, size, 3))
            regions = np.lib.format.open_memmap(b, "w+", np.uint8, (n, size, size))
            draw_into(portraits, images, regions, workers)
            images.flush(), regions.flush()
    loaded = {name: np.load(f, mmap_mode="r", allow_pickle=False) for name, f in files.items()}
    return PortraitSet(
        portraits,
        labels=np.stack([p.labels() for p in portraits]),
        identities=np.array([p.identity for p in portraits], np.float32),
        **loaded,
    )


def _version(portraits: list[Portrait]) -> str:
    """Changes with the renderer and with what it is to draw, so that no stale picture is ever
    read."""
    sources = [Path(module.__file__).read_bytes() for module in _DRAWERS]
    return hashlib.sha256(b"".join(sources) + repr(portraits).encode()).hexdigest()[:8]


def contact_sheet(images: np.ndarray, columns: int = 8, gap: int = 4) -> Image.Image:
    """Images [N,S,S,3] on one white sheet, row by row."""
    n, side = len(images), images.shape[1]
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    for i, image in enumerate(images):
        sheet.paste(
            Image.fromarray(image),
            (gap + i % columns * (side + gap), gap + i // columns * (side + gap)),
        )
    return sheet


def write_portraits(
    out: str | Path,
    *,
    n: int = 32,
    seed: int = 0,
    size: int = 128,
    targets: str = "none",
    split: str = "train",
) -> Path:
    """Write images, captions.jsonl, one mask per phrase and a contact sheet; the same order gives
    the same bytes."""
    if not 1 <= n <= 100_000:
        raise BadInput(f"n is {n}; it must be from 1 to 100000.")
    if not 32 <= size <= 1024:
        raise BadInput(f"size is {size}; it must be from 32 to 1024 pixels.")
    if not 0 <= seed < 2**31:
        raise BadInput(f"seed is {seed}; it must be from 0 to {2**31 - 1}.")
    out = Path(out)
    portraits = sample_many(targets, n, seed, split)
    images, regions = draw(portraits, size, workers=None)
    for part in ("images", "masks"):
        (out / part).mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng([seed, 1]), []
    for i, p in enumerate(portraits):
        Image.fromarray(images[i]).save(out / "images" / f"{i:05d}.png")
        made, phrases = caption(p, rng), []
        for k, phrase in enumerate(made.phrases):
            name = f"masks/{i:05d}_{k}.png"
            Image.fromarray(phrase_mask(phrase.attributes, regions[i]).astype(np.uint8) * 255).save(
                out / name
            )
            phrases.append(
                {"text": phrase.text, "attributes": list(phrase.attributes), "mask": name}
            )
        lines.append(
            {
                "file": f"images/{i:05d}.png",
                "caption": made.text,
                "phrases": phrases,
                "attributes": p.attributes(),
                "identity": list(p.identity),
                "shift": list(p.shift),
                "angle": p.angle,
                "seed": p.seed,
            }
        )
    with atomic(out / "captions.jsonl") as path:
        Path(path).write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
        )
    contact_sheet(images[:64]).save(out / "contact_sheet.png")
    return out


_HEAD = ("face", "ear", "nose", "mouth", "eyes", "brows")
ATTRIBUTE_REGIONS: dict[str, tuple[str, ...]] = {
    "gender": (*_HEAD, "neck", "hair", "beard", "clothing"),
    "age": _HEAD,
    "skin": (*_HEAD, "neck"),
    "hair_color": ("hair",),
    "hair_style": ("hair",),
    "eye_color": ("eyes",),
    "framing": render.REGIONS,
    "condition": render.REGIONS,
    "expression": ("mouth", "eyes", "brows"),
    "beard": ("beard",),
    "eyewear": ("eyewear",),
    "clothing": ("clothing",),
    "clothing_color": ("clothing",),
    "background": ("background",),
    "tilt": (*_HEAD, "hair", "beard", "eyewear", "hat"),
    "freckles": ("face", "nose"),
    "hat": ("hat",),
    "necklace": ("necklace",),
    "style": render.REGIONS,
} | {name: target.regions for name, target in ADDED.items()}
"""Where in the picture each attribute shows."""


def phrase_mask(attributes: tuple[str, ...], regions: np.ndarray) -> np.ndarray:
    """bool [S,S]: the pixels of all regions in which the named attributes show."""
    wanted = {r for a in attributes for r in ATTRIBUTE_REGIONS[a]}
    return canvas.region_mask(regions, wanted)
