"""Files that cannot be half written, names that cannot leave their folder, weights that are only
ever tensors, and pictures.

Torch is imported by what reads and writes weights, when it does.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .errors import BadInput, NotFinite, UnsafeFile

if TYPE_CHECKING:
    from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a disk without room."""
LONGEST_NAME = 100
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
DRAFT = ".draft"
"""In the name of a file that is being written."""
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}


def inside(root: str | Path, name: str) -> Path:
    """The path of `name` directly in `root`. Raises BadInput for any name that is not one plain
    file name there.

    Refused: separators, parent folders, drive letters, hidden, empty or very long names, names
    that Windows reserves, and links that lead out of the folder.
    """
    plain = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()
    if not plain or name[0] == "." or name[-1] in ". " or set(name) & set('/\\:*?"<>|'):
        raise BadInput(
            f"name is {str(name)[:60]!r} but must be a plain file name of 1 to {LONGEST_NAME} "
            "characters."
        )
    if name.split(".")[0].lower() in RESERVED:
        raise BadInput(f"name is {name!r} but some systems reserve it; choose another one.")
    root = Path(root).resolve()
    if (root / name).resolve().parent != root:
        raise UnsafeFile(f"{name!r} is a link that leads out of its folder; remove it.")
    return root / name


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its place on success; on any failure
    `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{DRAFT}{path.suffix}"
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:100]}.", suffix=mark, dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        _flush(draft)
        draft.chmod(0o644)  # mkstemp makes private files
        os.replace(draft, path)
        _flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def clear_drafts(folder: str | Path, older: float = 0.0) -> None:
    """Removes what killed writers left in a folder. older: seconds since it was touched, where
    others may be writing.
    """
    for path in Path(folder).glob(f".*{DRAFT}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= older:
                path.unlink()


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, value: Any) -> None:
    """Writes readable JSON atomically; NaN and infinity are refused, because JSON has neither."""
    with atomic(path) as draft:
        draft.write_text(
            json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def read_json(path: str | Path) -> Any:
    """Reads JSON; a missing file raises BadInput, a damaged one UnsafeFile."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UnsafeFile(f"{path} is not valid JSON; restore it or make it again.") from error


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file atomically. A tensor with NaN or infinity raises NotFinite and
    nothing is written.
    """
    from safetensors.torch import save_file

    require_finite(tensors, "what should be saved")
    with atomic(path) as draft:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            draft,
            dict(metadata or {}),
        )


def read_header(path: str | Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """(metadata, shape of each tensor) of a safetensors file, judged by its content and not by
    its name.
    """
    with _opened(path) as file:
        return file.metadata() or {}, {
            name: tuple(file.get_slice(name).get_shape()) for name in file.keys()
        }


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU. Raises UnsafeFile or NotFinite."""
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    require_finite(tensors, Path(path).name)
    return tensors


@contextmanager
def _opened(path: str | Path):
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise BadInput(f"{path} does not exist or is not a file.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except SafetensorError as error:
        raise UnsafeFile(
            f"{Path(path).name} is not an undamaged safetensors file; only such files are read."
        ) from error


def require_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises NotFinite, naming the first tensor with NaN or infinity."""
    import torch

    for name, value in tensors.items():
        if not value.is_floating_point():
            continue
        # what has no isfinite of its own, as the 8-bit floats, is looked at as float32
        wide = value if value.element_size() > 1 else value.float()
        if not torch.isfinite(wide).all():
            raise NotFinite(f"{where} has NaN or infinity in {name}.")


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
                if image.format == "JPEG":
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
    source = _without_texts(path) if png else path
    return Image.open(source, formats=readable())


_PNG = b"\x89PNG\r\n\x1a\n"


def _without_texts(path: str | Path) -> IO[bytes]:
    """A PNG without the chunks that programs write their workflows into, which Pillow would
    refuse above a size.
    """
    kept = tempfile.SpooledTemporaryFile(max_size=SPOOLED)
    with Path(path).open("rb") as file:
        kept.write(file.read(len(_PNG)))
        while len(lead := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", lead)
            if kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
                file.seek(length + 4, os.SEEK_CUR)
                continue
            kept.write(lead + file.read(length + 4))
            if kind == b"IEND":
                break
    kept.seek(0)
    return kept


def _require_size(image: Image.Image, path: Path, largest: int) -> None:
    """Raises BadInput for a picture with more pixels than can be decoded in PICTURE_BYTES."""
    shown = f"{path.name} has {image.width}x{image.height} pixels"
    if max(image.size) > largest:
        raise BadInput(f"{shown} but at most {largest}x{largest} are allowed.")
    cost = PROGRESSIVE if image.info.get("progressive") else COST[image.format]
    held = path.stat().st_size if image.format in WHOLE else 0
    most = max(0, PICTURE_BYTES - held) // cost
    if image.width * image.height > most:
        raise BadInput(
            f"{shown} but as {image.format} at most {most / 1e6:.1f} million are allowed; make it "
            "smaller."
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
    if image.mode == "F":
        raise ValueError("pixels of floating point have no range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() >= SAMPLES:
        raise ValueError("more than 16 bits")
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


def require_room(folder: str | Path, needed: int) -> None:
    """Raises BadInput unless the disk of an existing folder has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"{folder} has {free / 2**20:.0f} MiB free but {needed / 2**20:.0f} MiB are needed."
        )
