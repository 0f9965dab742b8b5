"""The check of pictures of one's own before anything is trained on: a report on everything that
was seen.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadInput, SpfError
from ..images import open_image
from ..prompts import Spelling
from ..words import cleaned, same_name
from .captions import texts
from .reading import Captions, Claim, Source, captions, listed
from .sets import FEWEST, MOST, SCARCE, STORED, Item, Wish, squared

SMALLEST = 64
"""Side of a picture in pixels."""
CUT = 1.34
"""How much longer one side may be before the middle square is said to lose something."""
MOST_LOOKED_AT = 4 * MOST
TOTAL_PIXELS = 8_000_000_000
"""Of all pictures of a set together."""
LEVELS = {
    "used": "fine",
    "cut": "fine",
    "unsaid": "fine",
    "page": "fine",
    "unweighted": "fine",
    "system": "fine",
}
"""Findings that are no cause for concern; every other one that is not an error is a warning."""
RANK = {"error": 0, "warning": 1, "fine": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that the check found. level: error (cannot be trained on), warning, or fine.

    key, values: for a text. names: everything that it is about.
    """

    level: str
    key: str
    values: Mapping[str, str | int] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One file that was seen. state: used, mended, left out, not read, or captions. why: keys of
    findings.
    """

    name: str
    state: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a check found, the items that would be used, and what became of every file."""

    findings: tuple[Finding, ...]
    items: tuple[Item, ...]
    entries: tuple[Entry, ...] = ()


class _Notes:
    """Collects findings, and what they say of each picture."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = defaultdict(list)
        self.about: dict[str, list[str]] = defaultdict(list)

    def note(self, key: str, told: str, picture: str = "") -> None:
        self.found[key].append(told)
        self.about[picture or told].append(key)

    def findings(self) -> list[Finding]:
        return [
            Finding(
                LEVELS.get(key, "warning"),
                key if not key.startswith("kind.") else "kind",
                {"n": len(names), "names": named(names)}
                | ({"kind": key.removeprefix("kind.")} if key.startswith("kind.") else {}),
                tuple(names),
            )
            for key, names in self.found.items()
        ]


def check(
    source: str | Path | Sequence[str | Path],
    wish: Wish,
    spelling: Callable[[str], Spelling | None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Reads every picture and caption once and reports. Raises BadInput only when `source` is
    nothing that can be read.

    source: a folder, or files. spelling: what the model makes of a text, where that is known.
    progress: called with the pictures looked at and all of them.
    """
    found, notes = listed(source), _Notes()
    told = captions(found)
    for kind, names in found.unread.items():
        key = kind if kind in ("system", "archive", "link", "clash", "name") else f"kind.{kind}"
        for name in names:
            notes.note(key, name)
    for key, names in (*told.faults.items(), *told.mended.items()):
        for name in names:
            notes.note(key, name)
    pictures = found.pictures
    errors = []
    if len(pictures) > MOST_LOOKED_AT:
        errors.append(Finding("error", "many", {"n": len(pictures), "low": FEWEST, "high": MOST}))
        pictures = []
    items, unknown = _items(found, pictures, told, wish, notes, progress), {}
    if spelling:
        items, unknown = _read(items, wish, notes, spelling)
    if not errors and not FEWEST <= len(items) <= MOST:
        key = "few" if len(items) < FEWEST else "many"
        errors.append(Finding("error", key, {"n": len(items), "low": FEWEST, "high": MOST}))
    findings = [*errors, *notes.findings(), *_words(items, unknown)]
    if FEWEST <= len(items) < SCARCE:
        findings.append(Finding("warning", "scarce", {"n": len(items), "low": SCARCE}))
    kinds = ", ".join([*map(str, told.tables), *sorted(k for k in told.kinds if k[0] == ".")])
    values = {"n": len(items), "all": len(found.pictures), "names": kinds or ".txt"}
    findings.append(Finding("fine", "read", values))
    findings.sort(key=lambda finding: RANK[finding.level])
    return Report(tuple(findings), tuple(items), tuple(_entries(found, items, notes)))


def _items(
    found: Source,
    pictures: Sequence[str],
    told: Captions,
    wish: Wish,
    notes: _Notes,
    progress: Callable[[int, int], None] | None,
) -> list[Item]:
    """The pictures that can be used, with their texts."""
    looked: list[str] = []
    seen: dict[str, str] = {}
    pixels = 0
    for number, name in enumerate(pictures, start=1):
        if progress:
            progress(number, len(pictures))
        try:
            image = open_image(found.files[name], 2 * STORED)
        except SpfError as error:
            notes.note("broken", f"{name} ({error})" if "pixels" in str(error) else name, name)
            continue
        pixels += image.width * image.height
        if min(image.size) < SMALLEST:
            notes.note("small", name)
            continue
        if pixels > TOTAL_PIXELS:
            notes.note("heavy", name)
            continue
        key = hashlib.sha256(squared(image, 16).tobytes()).hexdigest()
        if key in seen and _agree(told.of[seen[key]], told.of[name]):
            notes.note("twice", name)
            continue
        if key in seen:
            notes.note("disagree", f"{seen[key]} = {name}", name)
        seen[key] = name
        if max(image.size) > CUT * min(image.size):
            notes.note("cut", name)
        looked.append(name)
    claimed = _sole(looked, told, notes)
    return [item for name in claimed if (item := _item(found, name, claimed[name], wish, notes))]


def _agree(first: Sequence[Claim], second: Sequence[Claim]) -> bool:
    """Whether two pictures that look the same are also called the same, or one has no caption."""
    words = [{" ".join(claim.caption.split()) for claim in claims} for claims in (first, second)]
    return not all(words) or words[0] == words[1]


def _sole(pictures: Sequence[str], told: Captions, notes: _Notes) -> dict[str, Claim]:
    """The one caption of each picture; where two places say different things, or two pictures
    share one, none is taken.
    """
    keys: dict[str, list[str]] = defaultdict(list)
    users: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        keys[same_name(name)].append(name)
        for claim in told.of[name]:
            if not claim.table:
                users[claim.where].append(name)
    chosen: dict[str, Claim] = {}
    for name in pictures:
        claims = [claim for claim in told.of[name] if cleaned(claim.caption)]
        tables = [claim for claim in claims if claim.table]
        if len(keys[same_name(name)]) > 1:
            notes.note("clash", name)
        elif not claims:
            notes.note("caption", name)
        elif len({(claim.caption, claim.base) for claim in tables or claims}) > 1:
            places = ", ".join(claim.where for claim in tables or claims)
            notes.note("contradict", f"{name} ({places})", name)
        elif not tables and len(users[claims[0].where]) > 1:
            notes.note("shared", f"{name} ({claims[0].where})", name)
        else:
            if len({" ".join(claim.caption.split()) for claim in claims}) > 1:
                others = ", ".join(claim.where for claim in claims if not claim.table)
                notes.note("outvoted", f"{name} ({others})", name)
            chosen[name] = (tables or claims)[0]
    return chosen


def _item(found: Source, name: str, claim: Claim, wish: Wish, notes: _Notes) -> Item | None:
    try:
        said = texts(claim.caption, claim.base, wish)
    except BadInput as error:
        key = "replace" if str(error).startswith("replace") else "text"
        notes.note(key, name if key == "replace" else f"{name} ({error})", name)
        return None
    if said.denied:
        notes.note("denied", f"{name}: “{said.complete}”", name)
        return None
    if not said.said:
        notes.note("unsaid", name)
    if said.unweighted:
        notes.note("unweighted", name)
    for doubt in said.doubts:
        notes.note(doubt, f"{name}: “{said.complete}” → “{said.base}”", name)
    return Item(found.files[name], said.base, wish.target, said.complete, name)


def _read(
    items: Sequence[Item],
    wish: Wish,
    notes: _Notes,
    spelling: Callable[[str], Spelling | None],
) -> tuple[list[Item], dict[str, None]]:
    """The items whose target the model would see, and the words that it does not know."""
    seen, unknown = [], {}
    for item in items:
        text = item.complete_text
        spelled = spelling(text)
        lost = spelled and item.prompt(wish).targets_end > spelled.kept
        if spelled and spelled.kept < len(text):
            ending = text[spelled.kept :].strip(" ,")
            told = f"{item.name} ({spelled.tokens}/{spelled.most}: “{ending}”)"
            notes.note("lost" if lost else "beyond", told, item.name)
        if not lost:
            seen.append(item)
            unknown |= dict.fromkeys(spelled.unknown if spelled else ())
    return seen, unknown


def _words(items: Sequence[Item], unknown: Collection[str]) -> list[Finding]:
    """What there is to say about the texts of all items together."""
    findings = []
    if unknown:
        values = {"n": len(unknown), "names": named(list(unknown))}
        findings.append(Finding("warning", "unknown", values, tuple(unknown)))
    same = {item.base_text for item in items}
    if len(items) >= FEWEST and len(same) == 1:
        findings.append(Finding("warning", "alike", {"names": next(iter(same))}))
    return findings


def _entries(found: Source, items: Sequence[Item], notes: _Notes) -> list[Entry]:
    """What became of every file, by its name."""
    used = {item.name for item in items}
    pictures = set(found.pictures)
    entries = []
    for name in found.files:
        why = tuple(notes.about.get(name, ()))
        if name not in pictures:
            state = "left out" if why else "captions"
        elif name not in used:
            state = "left out"
        else:
            state = "mended" if why else "used"
        entries.append(Entry(name, state, why))
    for kind, names in found.unread.items():
        entries += [Entry(name, "not read", (kind,)) for name in names]
    return sorted(entries, key=lambda entry: entry.name)


def named(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
