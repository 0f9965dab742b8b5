"""Everything that lies in a folder or an upload: which files are pictures, which say something
about them, and about which.

A picture is its path within the source, compared as `spf.words.same_name` does. A table speaks
of the pictures in its own folder and below, a caption file of the picture beside it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..encodings import code_page, decoded, unicode_text
from ..errors import BadInput
from ..images import FORMATS, can_open
from ..words import cleaned, legible, same_name

TABLES = ("captions.jsonl", "metadata.jsonl", "metadata.csv", "captions.csv")
CAPTIONS = (".txt", ".caption")
FILE_COLUMNS = ("file_name", "file", "image", "filename")
TEXT_COLUMNS = ("text", "caption", "prompt", "complete")
DELIMITERS = (",", ";", "\t", "|")
NOTHING = ("", "nan", "null", "none", "n/a", "na", "<na>")
"""What programs write into a table, in small letters, where there is nothing."""
LONGEST_LEAD = 20
"""Lines that may stand above the header of a table."""
LONGEST_CAPTION, LARGEST_TABLE = 1 << 20, 64 << 20
"""Bytes of a caption file and of a table."""
MOST_FILES = 20_000
SHOWN = 40
"""Letters of a text that show what a code page made of it."""
SYSTEM = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
"""Folders that systems make beside one's own."""


class Claim(NamedTuple):
    """What one place says of a picture. base: the text without the target, "" if it was not
    given. table: of its folder.
    """

    caption: str
    base: str
    where: str
    table: bool


@dataclass
class Source:
    """What was found. files: path within the source -> file. unread: kind -> what is not looked
    at.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def pictures(self) -> list[str]:
        return [name for name in self.files if can_open(name)]


@dataclass
class Captions:
    """What was said of the pictures. of: picture -> claims. faults: finding -> what it is about.
    tables: those that were read.
    """

    of: dict[str, list[Claim]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    mended: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tables: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)


def listed(source: str | Path | Sequence[str | Path]) -> Source:
    """The files of a folder, or of a sequence of files below one root. Raises BadInput for
    anything else.
    """
    if isinstance(source, (str, Path)):
        root = Path(source)
        if not root.is_dir():
            raise BadInput(
                f"source is {str(source)[:200]!r} but must be a folder with pictures and captions."
            )
        found = Source(root)
        paths = sorted(_walked(root, found))
    else:
        paths = sorted(map(Path, source))
        given = getattr(source, "root", None)
        root = Path(given or os.path.commonpath([path.parent for path in paths] or ["."]))
        found = Source(root)
        for kind, names in getattr(source, "unread", {}).items():
            found.unread[kind] += names
    if len(paths) > MOST_FILES:
        raise BadInput(f"source has {len(paths)} files but at most {MOST_FILES} are allowed.")
    for path in paths:
        name = path.relative_to(root).as_posix()
        if legible(name) != name:
            found.unread["name"].append(legible(name))
        elif (kind := unread_kind(name)) is None:
            found.files[name] = path
        else:
            found.unread[kind].append(name)
    return found


def _walked(root: Path, found: Source) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        for name in list(folders):
            path = Path(folder, name)
            if path.is_symlink():
                found.unread["link"].append(path.relative_to(root).as_posix())
                folders.remove(name)
        for name in names:
            if (path := Path(folder, name)).is_file():
                yield path
            else:  # a link to nothing, or no file at all, such as a pipe
                kind = "link" if path.is_symlink() else "?"
                found.unread[kind].append(path.relative_to(root).as_posix())


def unread_kind(name: str) -> str | None:
    """Why a file is not read, by its name: "system", "archive", or its ending in capitals; None
    if it is read.
    """
    parts = PurePosixPath(name).parts
    short = parts[-1].lower() if parts else ""
    hidden = any(part.startswith(".") for part in parts)
    made = any(part.lower() in SYSTEM for part in parts)
    if hidden or made or short in ("thumbs.db", "desktop.ini"):
        return "system"
    if short in TABLES or short.endswith(CAPTIONS) or can_open(name):
        return None
    if short.endswith((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2")):
        return "archive"
    return PurePosixPath(short).suffix.removeprefix(".").upper() or "?"


def captions(found: Source) -> Captions:
    """What tables and caption files say of the pictures."""
    told = Captions()
    names = [name for name in found.files if not can_open(name)]
    contents = _texts(found, names, told)
    places = Places(found.pictures)
    for name in names:
        if name not in contents:
            continue
        if PurePosixPath(name).name.lower() in TABLES:
            told.tables.append(name)
            told.kinds.add(PurePosixPath(name).name)
            _read_table(name, contents[name], places, told)
        else:
            _read_caption(name, contents[name], places, told)
    return told


def _texts(found: Source, names: Sequence[str], told: Captions) -> dict[str, str]:
    """The texts of files. Those in a code page are judged together: most sets come from one
    program.
    """
    held: dict[str, bytes] = {}
    for name in names:
        table = PurePosixPath(name).name.lower() in TABLES
        most = LARGEST_TABLE if table else LONGEST_CAPTION
        try:
            if found.files[name].stat().st_size > most:
                told.faults["toolong"].append(name)
                continue
            held[name] = found.files[name].read_bytes()
        except OSError:
            told.faults["unreadable"].append(name)
    old = [data for data in held.values() if unicode_text(data) is None]
    page = code_page(b"\n".join(data[:4096] for data in old)) if old else ""
    texts: dict[str, str] = {}
    for name, data in held.items():
        try:
            texts[name], used = decoded(data, page)
        except BadInput:
            told.faults["encoding"].append(name)
            continue
        if used:
            shown = cleaned(texts[name])[:SHOWN]
            told.mended["page"].append(f"{name} ({used}: “{shown}”)")
    return texts


class Places:
    """Finds the picture that a name means."""

    def __init__(self, pictures: Sequence[str]) -> None:
        self.whole: dict[str, list[str]] = defaultdict(list)
        self.stem: dict[str, list[str]] = defaultdict(list)
        self.short: dict[str, list[str]] = defaultdict(list)
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.bare: dict[str, list[str]] = defaultdict(list)
        for name in pictures:
            key = same_name(name)
            self.whole[key].append(name)
            self.stem[_stem(key)].append(name)
            self.short[PurePosixPath(key).name].append(name)
            self.kept[_upload_name(PurePosixPath(key).name)].append(name)
            self.bare[PurePosixPath(_stem(key)).name].append(name)

    def beside(self, caption: str) -> list[str]:
        """The pictures that a caption file stands beside: 0.txt and 0.png.txt of 0.png."""
        key = _stem(same_name(caption))
        return self.whole.get(key) or self.stem.get(key, [])

    def named(self, name: str, folder: str) -> list[str]:
        """The pictures that a table in a folder means: by the path from there or from the root,
        else by the name alone.
        """
        asked = PurePosixPath(os.path.normpath(same_name(name))).as_posix()
        here = same_name(folder)
        for key in (f"{here}/{asked}" if here else asked, asked):
            if self.whole.get(key):
                return self.whole[key]
        short = PurePosixPath(asked).name
        below = [
            [picture for picture in found if not here or same_name(picture).startswith(f"{here}/")]
            for found in (
                self.short.get(short, []),
                self.kept.get(_upload_name(short), []),
                [] if _has_ending(short) else self.bare.get(short, []),
            )
        ]
        return next(filter(None, below), [])


def _has_ending(name: str) -> bool:
    return any(name.endswith(endings) for endings in FORMATS.values())


def _stem(key: str) -> str:
    return key[: -len(ending)] if (ending := PurePosixPath(key).suffix) else key


def _upload_name(name: str) -> str:
    """What is left of a name on any path through browsers and servers, which drop marks."""
    return "".join(letter for letter in name if letter.isalnum() or letter in "._-")


def _read_caption(name: str, text: str, places: Places, told: Captions) -> None:
    pictures = places.beside(name)
    if not pictures:
        told.faults["orphan"].append(name)
    told.kinds.add(PurePosixPath(name).suffix.lower())
    for picture in pictures:
        told.of[picture].append(Claim(text, "", name, table=False))


def _read_table(name: str, text: str, places: Places, told: Captions) -> None:
    folder = "" if (parent := PurePosixPath(name).parent.as_posix()) == "." else parent
    rows = _csv_rows(text) if name.lower().endswith(".csv") else _json_rows(text)
    for line, row in rows:
        if isinstance(row, str):
            told.faults["table"].append(f"{name}, line {line}: {row}")
            continue
        picture, words, base = row
        found = places.named(picture, folder)
        if not found:
            told.faults["orphan"].append(picture)
        elif len(found) > 1:
            told.faults["several"].append(f"{picture} ({name}, line {line})")
        else:
            told.of[found[0]].append(Claim(words or base, base, f"{name}, line {line}", table=True))


Row = tuple[str, str, str]
"""(name of the picture, caption, base text) of a line of a table."""


def _row(values: Mapping[str, Any]) -> Row | str:
    """A line by its columns; a sentence where it does not say of which picture it speaks, or
    what, or says it twice.
    """
    names, words = _given(values, FILE_COLUMNS), _given(values, TEXT_COLUMNS)
    base = next(iter(_given(values, ("base",)).values()), "")
    for given, meant in ((names, _short), (words, cleaned)):
        texts = [value for value in given.values() if isinstance(value, str)]
        if len(set(map(meant, texts))) > 1:
            return f"{' and '.join(given)} say different things; keep one of them"
    name, caption = (next(iter(given.values()), "") for given in (names, words))
    if not name or not isinstance(name, str):
        return f"no picture under {', '.join(FILE_COLUMNS[:3])}"
    if not isinstance(caption, str) or not isinstance(base, str):
        return "the caption is no text, or there are two"
    if not (caption or base):
        return f"no caption under {', '.join(TEXT_COLUMNS[:2])}"
    return legible(name.strip()), caption, base


def _given(values: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """What stands in some columns, without those where programs write that there is nothing."""
    return {
        key: value
        for key in columns
        if (value := values.get(key))
        and not (isinstance(value, str) and cleaned(value).casefold() in NOTHING)
    }


def _short(name: str) -> str:
    return PurePosixPath(same_name(name.strip())).name


def _columns(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values by column. One that is there several times keeps them all, as a list, which is no
    text.
    """
    held: dict[str, Any] = {}
    for key, value in pairs:
        earlier = held.get(key)
        held[key] = [earlier, value] if earlier and value and earlier != value else earlier or value
    return held


def _json_rows(text: str) -> Iterator[tuple[int, Row | str]]:
    """One object a line, or one list of them; only a newline ends a line."""
    if text.lstrip()[:1] == "[":
        try:
            rows = json.loads(text, object_pairs_hook=_columns)
        except (ValueError, RecursionError):
            yield 1, "not JSON"
            return
        yield from enumerate((_object(row) for row in rows), start=1)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_columns)
        except (ValueError, RecursionError):
            yield number, "not JSON"
            continue
        yield number, _object(row)


def _object(row: Any) -> Row | str:
    return _row(row) if isinstance(row, dict) else "not an object"


def _csv_rows(text: str) -> Iterator[tuple[int, Row | str]]:
    """Lines under a header, with the delimiter that makes one of it. A line with more columns
    than the header is a fault.
    """
    lines = re.split(r"\r\n?|\n", text, maxsplit=LONGEST_LEAD)
    above = next((n for n, line in enumerate(lines) if not _leads(line)), 0)
    columns = delimiter = None
    for delimiter in DELIMITERS:
        head = next(csv.reader([lines[above]], delimiter=delimiter, skipinitialspace=True), [])
        columns = [part.strip().casefold() for part in head]
        if set(columns) & set(FILE_COLUMNS) and set(columns) & {*TEXT_COLUMNS, "base"}:
            break
    else:
        yield above + 1, f"no header with {FILE_COLUMNS[0]} and {TEXT_COLUMNS[0]}"
        return
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, "a quote that is not closed"
            return
        if line <= above + 1 or not any(part.strip() for part in fields):
            continue
        if any(part.strip() for part in fields[len(columns) :]):
            yield line, f"{len(fields)} columns but {len(columns)} in the header; quote the caption"
        else:
            yield line, _row(_columns(zip(columns, fields, strict=False)))


def _leads(line: str) -> bool:
    """Whether a line stands above a header: it is empty, or tells a spreadsheet the delimiter."""
    return not line.strip() or line.casefold().startswith("sep=")
