"""Pictures that others made: opened upright, as RGB, within bounds of memory that are judged before
a pixel is decoded.
"""

from __future__ import annotations

import os
import struct
import tempfile
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from .errors import BadInput

LARGEST_SIDE = 4096
"""Of a picture, in pixels."""
PICTURE_BYTES = 96 << 20
"""Memory that decoding one picture may take; with COST it bounds the pixels, judged by the
header.
"""
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}
"""Formats of pictures that are read, whatever their file is called, and the endings under which
they are looked for.
"""
COST = {"PNG": 5, "JPEG": 5, "WEBP": 17, "BMP": 5, "TIFF": 9, "AVIF": 13, "HEIF": 13}
"""Bytes of memory for a pixel, as measured; a progressive JPEG keeps its coefficients as well."""
WHOLE = ("WEBP", "AVIF", "HEIF")
"""Formats whose decoders hold the whole file as well."""
SPOOLED = 4 << 20
"""Bytes of a copy of a file up to which it stays in memory."""
PROGRESSIVE = 12
SAMPLES = 1 << 16
"""Levels of a picture with 16 bits."""


def can_open(name: str | Path) -> bool:
    """Whether a file of this name is looked at as a picture."""
    ending = Path(name).suffix.lower()
    return any(ending in FORMATS[kind] for kind in readable())


def readable() -> tuple[str, ...]:
    """The formats that are read on this machine: HEIF where `pi-heif` is installed."""
    return tuple(kind for kind in FORMATS if kind != "HEIF" or find_spec("pi_heif"))


def open_image(
    path: str | Path, side: int | None = None, largest: int = LARGEST_SIDE
) -> Image.Image:
    """An upright RGB picture in one of the formats of `readable`, its transparent parts on
    white, 16 bits scaled to 8.

    side: a picture whose shorter side is at least twice as long is reduced by a whole factor,
    before anything else is done with it. Sizes are judged by the header, so that no file takes
    more than about PICTURE_BYTES. Of what else a file carries only its orientation is looked at,
    and nothing there can veto the picture. Raises BadInput.
    """
    name = Path(path).name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, for which our own limits are smaller
            with _header(path) as image:
                _require_size(image, Path(path), largest)
                factor = max(1, min(image.size) // side) if side else 1
                if _kind(image) == "JPEG":
                    image.draft("RGB", (image.width // factor, image.height // factor))
                    factor = max(1, min(image.size) // side) if side else 1
                image.load()
                turn = _orientation(image)
                image = _flat(image, factor)
                return image if turn is None else image.transpose(turn)
    except BadInput:
        raise
    except Exception as error:  # a broken file makes decoders raise whatever they like
        kinds = ", ".join(readable())
        raise BadInput(f"{name} is not a readable picture; give one of {kinds}.") from error


def _header(path: str | Path) -> Image.Image:
    """The picture before its pixels are decoded."""
    if find_spec("pi_heif"):
        from pi_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    with Path(path).open("rb") as file:
        png = file.read(len(_PNG)) == _PNG
    if (size := Path(path).stat().st_size) > PICTURE_BYTES:
        raise BadInput(
            f"{Path(path).name} has {size >> 20} MiB but at most {PICTURE_BYTES >> 20} are allowed."
        )
    source = _bare(path) if png else path
    return Image.open(source, formats=readable())


def _kind(image: Image.Image) -> str:
    """The format of a picture; a JPEG that carries further pictures, as of many telephones, is
    one of its first.
    """
    return "JPEG" if image.format == "MPO" else image.format


_PNG = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")


def _bare(path: str | Path) -> IO[bytes]:
    """A PNG of the chunks that its pixels are made of: programs write their workflows into others,
    which Pillow would refuse above a size, or hold in memory as a whole.
    """
    kept = tempfile.SpooledTemporaryFile(max_size=SPOOLED)
    with Path(path).open("rb") as file:
        kept.write(file.read(len(_PNG)))
        while len(lead := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", lead)
            if kind not in _NEEDED or (kind == b"eXIf" and length > SPOOLED):
                file.seek(length + 4, os.SEEK_CUR)
                continue
            kept.write(lead)
            left = length + 4
            while left and (piece := file.read(min(left, SPOOLED))):
                kept.write(piece)
                left -= len(piece)
            if kind == b"IEND":
                break
    kept.seek(0)
    return kept


def _require_size(image: Image.Image, path: Path, largest: int) -> None:
    """Raises BadInput for a picture with more pixels than can be decoded in PICTURE_BYTES."""
    shown = f"{path.name} has {image.width}x{image.height} pixels"
    if max(image.size) > largest:
        raise BadInput(f"{shown} but at most {largest}x{largest} are allowed.")
    kind = _kind(image)
    cost = PROGRESSIVE if image.info.get("progressive") else COST[kind]
    held = path.stat().st_size if kind in WHOLE else 0
    most = max(0, PICTURE_BYTES - held) // cost
    if image.width * image.height > most:
        raise BadInput(
            f"{shown} but as {kind} at most {most / 1e6:.1f} million are allowed; make it smaller."
        )


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """How the picture has to be turned to be upright; None for not at all, also where its EXIF
    cannot be read.
    """
    with suppress(Exception):
        return {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }.get(image.getexif().get(0x0112))
    return None


def _flat(image: Image.Image, factor: int) -> Image.Image:
    """RGB with transparent parts on white, reduced by a whole factor, strip by strip: the whole
    is never held twice.
    """
    if factor == 1 and image.mode == "RGB" and not image.has_transparency_data:
        return image
    size = -(-image.width // factor), -(-image.height // factor)
    flat, rows = Image.new("RGB", size), factor * max(1, 256 // factor)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        strip.info = image.info
        flat.paste(_opaque(_eight_bits(strip)).reduce(factor), (0, top // factor))
    return flat


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pictures with 16 bits in a channel at 8; every other mode as it is. Raises ValueError for
    a range that is not told.
    """
    if image.mode in ("F", "I"):
        raise ValueError("pixels of 32 bits have no range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    scaled = Image.fromarray((values * 255 // (SAMPLES - 1)).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return Image.merge("LA", (scaled, alpha))
    return scaled


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
