"""Files that cannot be half written, names that cannot leave their folder, and weights that are
only ever tensors.

Torch is imported by what reads and writes weights, when it does.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BadInput, NotFinite, UnsafeFile

if TYPE_CHECKING:
    from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a disk without room."""
LONGEST_NAME = 100
LONGEST_KEY = 300
"""Characters in the name of a tensor."""
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
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
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
        for key in file.keys():
            if len(key) > LONGEST_KEY or not key.isprintable():
                raise UnsafeFile(
                    f"{Path(path).name} has a tensor whose name is {key[:60]!r}, but a name must be"
                    f" at most {LONGEST_KEY} printable characters."
                )
        return file.metadata() or {}, {
            key: tuple(file.get_slice(key).get_shape()) for key in file.keys()
        }


def read_formats(path: str | Path) -> dict[str, str]:
    """The number format of each tensor of a safetensors file, as its header says it: F16, I8."""
    with _opened(path) as file:
        return {key: file.get_slice(key).get_dtype() for key in file.keys()}


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


def require_folder(path: str | Path, name: str = "folder") -> None:
    """Raises BadInput unless a folder is there, or can be made there. name: of the setting."""
    path = Path(path)
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    shown = f"{name} is {str(path)!r} but"
    if not there.is_dir():
        raise BadInput(f"{shown} {there.name} is a file; give a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"{shown} {there} cannot be written; give another folder.")


def require_room(folder: str | Path, needed: int) -> None:
    """Raises BadInput unless the disk of an existing folder has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"{folder} has {free / 2**20:.0f} MiB free but {needed / 2**20:.0f} MiB are needed."
        )
