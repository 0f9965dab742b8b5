"""One's own pictures as fine-tuning data: 4 to 500 images with captions, read in the usual conventions and checked first.

    report = check("pictures", Wish("a hat"))       # what is wrong, in sentences, before anything is trained
    folder = store("pictures", Wish("a hat"), "runs/data/mine")
    items = load(folder).items                      # image, base text, target text, complete text

Captions come from captions.jsonl or metadata.jsonl ({"file_name", "text"}), metadata.csv (the same as columns), or a .txt
file beside each picture. A caption that says the target is the complete text, and the base text is what is left without
it; a caption that does not is the base text. A line may also give "base" itself. Nothing here needs torch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from .config import Config, choice, text
from .errors import BadInput, SpfError
from .files import write_json
from .portraits.description import Target
from .prompts import compose

KINDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
TABLES = ("captions.jsonl", "metadata.jsonl", "metadata.csv", "captions.csv")
FEWEST, MOST = 4, 500
SMALLEST, LARGEST = 64, 12_000
"""Sides of a picture in pixels."""
BYTES = 1 << 30
"""Of a whole upload, unpacked."""
INDEX, STORED = "dataset.json", 512
"""In a stored set: its texts, and the side in pixels at which pictures are kept."""


@dataclass(frozen=True)
class Wish(Config):
    """What the pictures have in common and the model is to learn."""

    target: str = text(
        help="what every picture shows, as a text asks for it, for example: a straw hat"
    )
    mode: str = choice(
        "append",
        ("append", "replace"),
        "the target is added to a base text, or replaces words of it",
    )
    replace: str = text(help="the words of a base text that the target replaces")
    name: str = text("mine", help="name of the set")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.target:
            raise BadInput(
                "target is empty but must say what the pictures show, for example: a straw hat."
            )
        if self.mode == "replace" and not self.replace:
            raise BadInput(
                "replace is empty but must be the words that the target replaces, for example: T-shirt."
            )
        if not re.fullmatch(r"[a-z0-9]{1,24}", self.name):
            raise BadInput(
                f"name is {self.name[:40]!r} but must be 1 to 24 small letters or digits."
            )


@dataclass(frozen=True)
class Item:
    """One picture with its texts. image: the file."""

    image: Path
    base_text: str
    target_text: str
    complete_text: str

    def pixels(self, size: int) -> np.ndarray:
        """The middle square of the picture, uint8 [size, size, 3]."""
        return np.asarray(squared(_opened(self.image), size))


@dataclass(frozen=True)
class UserSet:
    """A stored set, as fine-tuning takes it."""

    folder: Path
    wish: Wish
    items: tuple[Item, ...]

    @property
    def target(self) -> Target:
        """The target without an attribute that the judges know, unless it is one of theirs."""
        from .evaluation.report import known_targets

        known = known_targets([self.wish.target])
        values = (known[0].attribute, known[0].value, known[0].regions) if known else ("", "", ())
        return Target(self.wish.name, self.wish.target, *values, self.wish.mode, self.wish.replace)


@dataclass(frozen=True)
class Finding:
    """One thing that the check found. level: error (cannot be trained on), warning, or fine. key, values: for a text."""

    level: str
    key: str
    values: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a check found, and the items that would be used."""

    findings: tuple[Finding, ...]
    items: tuple[Item, ...]

    @property
    def usable(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)


def check(source: str | Path | Sequence[str | Path], wish: Wish, unknown=None) -> Report:
    """Reads every picture and caption once and reports; raises BadInput only when `source` is nothing that can be read.

    source: a folder, or files. unknown: function from a text to the words that the model does not know.
    """
    files = _listed(source)
    pictures = [path for path in files if path.suffix.lower() in KINDS]
    captions, tables = _captions(files)
    findings, items, seen = [], [], {}
    problems: dict[str, list[str]] = {}

    def note(key: str, name: str) -> None:
        problems.setdefault(key, []).append(name)

    for path in pictures:
        told = captions.get(path.name) or captions.get(path.stem)
        try:
            image = _opened(path)
        except SpfError:
            note("broken", path.name)
            continue
        if min(image.size) < SMALLEST:
            note("small", path.name)
            continue
        if max(image.size) > 1.34 * min(image.size):
            note("cut", path.name)
        key = hashlib.sha256(squared(image, 16).tobytes()).hexdigest()
        if key in seen:
            note("twice", path.name)
            continue
        seen[key] = path.name
        if told is None or not told[0].strip():
            note("caption", path.name)
            continue
        try:
            base, complete, said = texts(*told, wish)
        except SpfError:
            note("replace" if wish.mode == "replace" else "text", path.name)
            continue
        if not said:
            note("unsaid", path.name)
        items.append(Item(path, base, wish.target, complete))
    for name in captions:
        if not any(name in (path.name, path.stem) for path in pictures):
            note("orphan", name)
    levels = {
        "broken": "warning",
        "small": "warning",
        "twice": "warning",
        "cut": "fine",
        "caption": "warning",
    }
    levels |= {"replace": "warning", "text": "warning", "unsaid": "fine", "orphan": "warning"}
    findings += [
        Finding(levels[key], key, {"n": len(names), "names": _named(names)})
        for key, names in problems.items()
    ]
    if unknown is not None and items:
        strange = list(
            dict.fromkeys(word for item in items for word in unknown(item.complete_text))
        )
        findings += (
            [Finding("warning", "unknown", {"n": len(strange), "names": _named(strange)})]
            if strange
            else []
        )
    same = {item.base_text for item in items}
    if len(items) >= FEWEST and len(same) == 1:
        findings.append(Finding("warning", "alike", {"names": next(iter(same))}))
    if len(items) < FEWEST or len(items) > MOST:
        key = "few" if len(items) < FEWEST else "many"
        findings.append(Finding("error", key, {"n": len(items), "low": FEWEST, "high": MOST}))
    findings.append(
        Finding(
            "fine",
            "read",
            {"n": len(items), "all": len(pictures), "names": ", ".join(tables) or ".txt"},
        )
    )
    rank = {"error": 0, "warning": 1, "fine": 2}
    return Report(tuple(sorted(findings, key=lambda finding: rank[finding.level])), tuple(items))


def texts(caption: str, base: str, wish: Wish) -> tuple[str, str, bool]:
    """(base text, complete text, whether the caption said the target) of one caption. Raises BadInput if they do not fit."""
    line = " ".join(caption.split())
    pattern = re.compile(rf"(?<!\w){re.escape(wish.target)}(?!\w)", re.IGNORECASE)
    said = bool(pattern.search(line))
    if not base.strip():
        base = (
            pattern.sub(wish.replace, line)
            if said and wish.mode == "replace"
            else _without(line, pattern)
            if said
            else line
        )
    prompt = compose(" ".join(base.split()), (wish.target,), wish.mode, wish.replace)
    return prompt.base, prompt.complete, said


def _without(line: str, pattern: re.Pattern) -> str:
    """A caption without the target and the words that tied it in: ", wearing a hat" goes as a whole."""
    ties = r"(?:,\s*)?(?:\b(?:and|with|wearing|in|who is|that is)\s+)*"
    left = re.sub(ties + pattern.pattern, "", line, flags=re.IGNORECASE)
    left = re.sub(r"\s+([,.;])", r"\1", re.sub(r"\s{2,}", " ", left))
    return re.sub(r"(?:,\s*)+(?=,|$)|^[\s,]+", "", left).strip(" ,;")


def store(
    source: str | Path | Sequence[str | Path], wish: Wish, folder: str | Path, unknown=None
) -> Path:
    """Puts a checked set into a new folder: square pictures and dataset.json. Raises BadInput where the check finds an error."""
    report, folder = check(source, wish, unknown), Path(folder)
    if not report.usable:
        error = next(finding for finding in report.findings if finding.level == "error")
        raise BadInput(
            f"images is {error.values['n']} usable pictures but must be from {FEWEST} to {MOST}."
        )
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"folder is {str(folder)!r} but must be new or empty.")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, item in enumerate(report.items):
        name = f"{number:03}.png"
        squared(_opened(item.image), STORED).save(folder / name)
        rows.append({"file_name": name, "base": item.base_text, "text": item.complete_text})
    write_json(folder / INDEX, {"wish": wish.to_dict(), "items": rows})
    return folder


def is_set(place: str | Path) -> bool:
    """Whether a folder holds a stored set."""
    return bool(str(place)) and (Path(place) / INDEX).is_file()


def load(folder: str | Path) -> UserSet:
    """A stored set. Raises BadInput for a folder without one."""
    folder = Path(folder)
    try:
        held = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        wish = Wish.from_dict(held["wish"])
        items = tuple(
            Item(folder / Path(row["file_name"]).name, row["base"], wish.target, row["text"])
            for row in held["items"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"data is {str(folder)!r} but must be the name of a target or a folder with {INDEX}."
        ) from error
    return UserSet(folder, wish, items)


def unpacked(files: Iterable[str | Path], folder: str | Path) -> list[Path]:
    """Uploaded files by their own names in one new folder, ZIP archives opened; only pictures and captions are taken.

    Raises BadInput for an archive that is damaged or too large.
    """
    folder, left = Path(folder), BYTES
    folder.mkdir(parents=True, exist_ok=True)
    for path in map(Path, files):
        if path.suffix.lower() != ".zip":
            if _wanted(path.name):
                shutil.copyfile(path, folder / path.name)
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    name = PurePosixPath(info.filename.replace("\\", "/")).name
                    if info.is_dir() or not _wanted(name) or info.filename.startswith("__MACOSX"):
                        continue
                    left -= info.file_size
                    if left < 0:
                        raise BadInput(
                            f"{path.name} unpacks to more than {BYTES >> 30} GiB; choose fewer pictures."
                        )
                    (folder / name).write_bytes(archive.read(info))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
            raise BadInput(f"{path.name} is no archive that can be read: {error}") from error
    return sorted(folder.iterdir())


def squared(image: Image.Image, size: int) -> Image.Image:
    """The middle square of a picture at the given side."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def _opened(path: Path) -> Image.Image:
    """A picture as it is meant to be seen, in RGB. Raises BadInput."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if max(image.size) > LARGEST:
                    raise BadInput(
                        f"{path.name} has sides of {image.size} but at most {LARGEST} are allowed."
                    )
                return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise BadInput(f"{path.name} is no picture that can be read.") from error


def _listed(source: str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(source, (str, Path)):
        if not Path(source).is_dir():
            raise BadInput(
                f"source is {str(source)!r} but must be a folder with pictures and captions."
            )
        return sorted(
            path
            for path in Path(source).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
    return sorted(map(Path, source))


def _captions(files: Sequence[Path]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """(caption, base text or "") by the picture's file name or stem, and the tables that were read. Tables win over .txt."""
    found: dict[str, tuple[str, str]] = {}
    stems = {path.stem for path in files if path.suffix.lower() in KINDS}
    for path in files:
        if path.suffix.lower() == ".txt" and path.stem in stems:
            found[path.stem] = (path.read_text(encoding="utf-8-sig", errors="replace"), "")
    tables = [path for path in files if path.name.lower() in TABLES]
    for path in tables:
        for row in _rows(path):
            name = next(
                (
                    row[key]
                    for key in ("file_name", "file", "image")
                    if isinstance(row.get(key), str)
                ),
                "",
            )
            words = next(
                (
                    row[key]
                    for key in ("text", "caption", "prompt", "complete")
                    if isinstance(row.get(key), str)
                ),
                "",
            )
            base = row.get("base") if isinstance(row.get("base"), str) else ""
            if name:
                short = PurePosixPath(name.replace("\\", "/")).name
                found.pop(Path(short).stem, None)
                found[short] = (words or base, base)
    return found, [path.name for path in tables]


def _rows(path: Path) -> Iterator[dict]:
    words = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix.lower() == ".csv":
        yield from csv.DictReader(io.StringIO(words))
        return
    for line in words.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # its picture is then reported as one without a caption
        if isinstance(row, dict):
            yield row


def _wanted(name: str) -> bool:
    return not name.startswith(".") and (
        name.lower() in TABLES or name.lower().endswith((*KINDS, ".txt"))
    )


def _named(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
