"""Uploads: archives opened within limits, folders kept, and told what was not taken."""

from __future__ import annotations

import errno
import shutil
import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from lzma import LZMAError
from pathlib import Path

from ..encodings import decoded
from ..errors import BadInput
from ..files import LONGEST_NAME
from ..words import same_name
from .reading import unread_kind

BYTES = 1 << 30
"""Of a whole upload, unpacked."""
MEMBERS = 10_000
"""Of an archive."""
CHUNK = 1 << 20
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    NotImplementedError,
    UnicodeError,
    struct.error,
    ValueError,
    OverflowError,
    KeyError,
    IndexError,
)
"""What reading a broken archive raises."""


class Unpacked(list):
    """The files of an upload. root: the folder that they are in. unread: kind -> what was not
    taken.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.unread: dict[str, list[str]] = defaultdict(list)
        self.left = BYTES
        self.taken: dict[str, Path] = {}
        self.clashing: set[str] = set()

    def place(self, name: str) -> Path | None:
        """Where a file of this name goes. Two that would overwrite one another are both left
        out, as is what would lie outside the root.
        """
        key = same_name(name)
        if key in self.taken or key in self.clashing:
            self.clashing.add(key)
            if earlier := self.taken.pop(key, None):
                earlier.unlink(missing_ok=True)
                self.unread["clash"].append(name)
            self.unread["clash"].append(name)
            return None
        path = self.root / name
        try:
            fits = path.resolve().is_relative_to(self.root.resolve()) and not path.is_dir()
            if fits:
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # a file has the name of the folder, or the name is too long
            fits = False
        if not fits:
            self.unread["name"].append(name[:LONGEST_NAME])
            return None
        self.taken[key] = path
        return path

    def spend(self, count: int, name: str) -> None:
        self.left -= count
        if self.left < 0:
            raise BadInput(f"{name} unpacks to more than {BYTES >> 20} MiB; choose fewer pictures.")


def unpacked(files: Iterable[str | Path], folder: str | Path) -> Unpacked:
    """Uploaded files in one new folder, ZIP archives opened with their folders; what is neither
    picture nor caption is told.

    Several archives get a folder each. Raises BadInput for an archive that is damaged, locked or
    too large.
    """
    found, files = Unpacked(Path(folder)), [Path(path) for path in files]
    found.root.mkdir(parents=True, exist_ok=True)
    archives = [path for path in files if path.suffix.lower() == ".zip"]
    for path in files:
        if path in archives:
            _open(path, found, path.stem if len(archives) > 1 else "")
        elif (kind := unread_kind(path.name)) is not None:
            found.unread[kind].append(path.name)
        elif place := found.place(path.name):
            found.spend(path.stat().st_size, path.name)
            shutil.copyfile(path, place)
    found += sorted(found.taken.values())
    return found


def _open(path: Path, found: Unpacked, folder: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MEMBERS:
                raise BadInput(
                    f"{path.name} has {len(members)} files but at most {MEMBERS} are allowed."
                )
            names = _names(members)
            for info, name in zip(members, names, strict=True):
                _take(path, archive, info, name, found, folder)
    except DAMAGE as error:
        raise BadInput(
            f"{path.name} is no archive that can be read: it is damaged; pack it again."
        ) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # an unpacker's, a place before the start
            raise
        raise BadInput(f"{path.name} is no archive that can be read: it is damaged.") from error
    except RuntimeError as error:
        raise BadInput(f"{path.name} is locked with a password; pack it without one.") from error


def _names(members: Iterable[zipfile.ZipInfo]) -> list[str]:
    """The names of members; those that do not say that they are UTF-8 are judged together by
    what makes words of them.
    """
    told = [
        None if info.flag_bits & 0x800 else info.filename.encode("cp437", "replace")
        for info in members
    ]
    old = b"\n".join(raw for raw in told if raw is not None)
    try:
        page = decoded(old)[1] or "utf-8"
    except BadInput:
        page = "cp437"
    names = []
    for info, raw in zip(members, told, strict=True):
        try:
            names.append(info.filename if raw is None else raw.decode(page))
        except UnicodeDecodeError:
            names.append(info.filename)
    return names


def _take(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, found: Unpacked, folder
) -> None:
    nowhere = ("", ".", "..")
    parts = [part.strip("\0") for part in name.replace("\\", "/").split("/")]
    if parts[-1] in nowhere:  # a folder
        return
    name = "/".join(part for part in (folder, *parts) if part not in nowhere)
    if stat.S_ISLNK(info.external_attr >> 16):
        found.unread["link"].append(name)
        return
    if (kind := unread_kind(name)) is not None:
        found.unread[kind].append(name)
        return
    if any(len(part.encode()) > 200 or not part.isprintable() for part in name.split("/")):
        found.unread["name"].append(name[:LONGEST_NAME])
        return
    place = found.place(name)
    if place is None:
        return
    with archive.open(info) as member, place.open("wb") as file:
        while chunk := member.read(CHUNK):
            found.spend(len(chunk), path.name)
            file.write(chunk)
