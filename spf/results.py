"""Evaluation results as files: finding them, and finding the pairs of portraits behind a number.

A results file is what `spf.evaluation.protocol` writes: settings, measures (what each means), rows
of method, target, measure, value, low, high, n. The single pairs lie beside it in rows*.jsonl;
where they are missing they follow from the settings, because texts and noises do. Nothing here
needs torch or a model.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from .config import GenerateConfig
from .errors import SpfError
from .portraits.description import TARGETS, Target
from .portraits.texts import base_captions
from .prompts import compose
from .registry import EDITS, GUIDES, MEASURES
from .rows import noise_seed, read_rows
from .settings import EvaluateConfig
from .shelf import EVERY, ORIGINAL, adapter_name
from .targets import placed

log = logging.getLogger(__name__)

PUBLISHED_SMALLER = ("fid", "lpips", "seconds", "memory")
"""How the names of such measures begin, which are of no group."""
WANTED = {"method": str, "target": str, "measure": str, "value": (int, float)}
PLAIN = re.compile(r"[a-z0-9-]+")
"""Names of weights."""
SHARED = [name for name in EvaluateConfig.settings() if name in GenerateConfig.settings()]
"""Settings that a drawing has from its evaluation; the pair itself says its seed and how it was
guided.
"""


@dataclass(frozen=True)
class Table:
    """One evaluation. rows: as in the file. curves: rows with a `step`, where the file has them."""

    name: str
    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()
    curves: tuple[Mapping[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """Names the file to the page, which is told no place on the server."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Pair:
    """One pair behind a number. request: settings that draw it again. values: what was measured,
    empty if unknown.

    stored: files of the original and the tuned portrait, where the evaluation kept them. again:
    whether `request` draws the same, which it does not where nobody knows what the method's word
    stands for.
    """

    method: str
    target: str
    prompt: int
    seed: int
    request: GenerateConfig
    values: Mapping[str, Any] = field(default_factory=dict)
    stored: tuple[Path, Path] | None = None
    again: bool = True


def load(places: Iterable[str | Path]) -> list[Table]:
    """Every whole results file in the given folders, the first folder's first, of one folder the
    one with the most pairs; a damaged one is left out with a line.
    """
    tables: list[Table] = []
    for place in map(Path, places):
        found: list[Table] = []
        files = [*sorted(place.glob("*.json")), *sorted(place.glob("**/results.json"))]
        for path in dict.fromkeys(files):
            try:
                table = read(path)
            except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
                log.warning("%s holds no results and is left out: %s", path, error)
                continue
            if table.rows:
                found.append(table)
        tables += sorted(found, key=lambda one: -_measured(one))
    return [changed(one, name=_title(one.path, [other.path for other in tables])) for one in tables]


def shown(tables: Iterable[Table], method: str) -> dict[str, tuple[int, int]]:
    """By target in how many of how many pairs a method shows it, as the first table says that has
    it."""
    found: dict[str, tuple[int, int]] = {}
    for row in (row for table in tables for row in table.rows):
        if (row["method"], row["measure"]) == (method, "response") and _number(row.get("n")):
            count = int(row["n"])
            found.setdefault(row["target"], (round(row["value"] * count), count))
    return found


def _measured(table: Table) -> int:
    """Pairs behind the numbers of a table."""
    counts = (row.get("n") for row in table.rows if row["measure"] == "response")
    return sum(int(count) for count in counts if _number(count))


def read(path: Path) -> Table:
    """One results file; rows that lack a method, a target, a measure or a number are left out."""
    held = json.loads(path.read_text(encoding="utf-8"))
    curves = held.get("curves") or []
    return Table(
        path.stem,
        path,
        dict(held.get("settings") or {}),
        {str(k): str(v) for k, v in (held.get("measures") or {}).items()},
        tuple(row for row in held.get("rows") or [] if _whole(row)),
        tuple(
            row
            for row in (curves if isinstance(curves, list) else [])
            if _whole(row) and _number(row.get("step"))
        ),
    )


def pairs(
    table: Table, method: str, target: str, measure: str = "", order: str = "worst", most: int = 200
) -> list[Pair]:
    """The pairs behind the numbers of a method and a target (or of all), worst first by the
    measure, or best, or as drawn.

    Empty when the texts are unknown.
    """
    names = (
        [target] if target != EVERY else list(dict.fromkeys(row["target"] for row in table.rows))
    )
    found = [
        pair
        for name in names
        if name in TARGETS
        for pair in _pairs(table, method, TARGETS[name], most)
    ]
    known = [pair for pair in found if _number(pair.values.get(measure))]
    if order in ("worst", "best") and known:
        falling = smaller_is_better(measure) == (order == "worst")
        known.sort(key=lambda pair: pair.values[measure], reverse=falling)
        return known[:most]
    return found[:most]


def smaller_is_better(measure: str) -> bool:
    """Whether less of a measure is better."""
    known = (measure in group.facts.get("SMALLER", ()) for group in MEASURES.values())
    return any(known) or measure.startswith(PUBLISHED_SMALLER)


def _pairs(table: Table, method: str, target: Target, most: int) -> list[Pair]:
    settings, rows = table.settings, _single(table.path, method, target.name)
    count, seeds, start, split = (
        _setting(settings, name, usual)
        for name, usual in (("prompts", 0), ("seeds", 0), ("seed", 0), ("split", "test"))
    )
    rows = rows or [
        {"prompt": p, "seed": s} for p in range(min(count, most)) for s in range(max(1, seeds))
    ]
    last = max((row["prompt"] for row in rows), default=-1)
    captions = base_captions(target, last + 1, start, split)
    shared = {name: settings[name] for name in SHARED if _number(settings.get(name))}
    way = _way(method)
    weights, acts = way or (method, {})
    found = []
    for row in rows:
        prompt, number = row["prompt"], row["seed"]
        noise = row.get("noise")
        noise = noise if isinstance(noise, int) else noise_seed(start, prompt, number)
        base = _base_text(row, captions[prompt][1].text, target)
        if base is None:
            continue
        named = isinstance(row.get("adapter"), str)
        request = {
            **shared,
            "base": base,
            # the text of a measured row is complete
            "also": "" if row.get("base") == base else settings.get("also") or "",
            "targets": (target.text,),
            "seed": noise,
            "adapter": row["adapter"] if named else adapter_name(target.name, weights),
            "beside": "",
            **_guided(row, settings, acts),
            "edit": row.get("edit", acts.get("edit", "")),
        }
        try:
            config = GenerateConfig.from_dict(request)
        except SpfError as error:
            log.warning("a pair of %s is left out: %s", table.path, error)
            continue
        values = {name: value for name, value in row.items() if _number(value) or name == "changed"}
        again = named or way is not None
        found.append(
            Pair(
                method,
                target.name,
                prompt,
                number,
                config,
                values,
                _stored(table.path.parent, row),
                again,
            )
        )
    return found


def _setting(settings: Mapping[str, Any], name: str, usual: Any) -> Any:
    """A setting of an evaluation; the usual one where there is none, or one that none may have."""
    try:
        return getattr(EvaluateConfig.from_dict({name: settings[name]}), name)
    except (KeyError, SpfError):
        return usual


def apart(word: str) -> tuple[str | None, str, str | None]:
    """The parts of a method's word [EDIT@]WEIGHTS[+GUIDE[:START]]: edit, weights and GUIDE[:START],
    None for what it does not name; unchecked. An edit alone, and "base", are of the original
    weights.
    """
    rest, plus, guided = word.partition("+")
    edit, at, weights = rest.rpartition("@")
    if not at and rest in EDITS:
        edit, at, weights = rest, "@", ORIGINAL
    weights = ORIGINAL if weights == "base" else weights
    return edit if at else None, weights, guided if plus else None


def _way(word: str) -> tuple[str, dict[str, Any]] | None:
    """Weights that a method's word stands for, and the settings of a drawing that it names; None
    for a word that names nothing we know.
    """
    edit, weights, guided = apart(word)
    kind, colon, start = (guided or "").partition(":")
    if (edit or "") not in ("", *EDITS) or kind not in ("", *GUIDES):
        return None
    if not PLAIN.fullmatch(weights) or (colon and not re.fullmatch(r"\d*\.?\d+", start)):
        return None
    guide = {"guide": {"map": kind, "start": float(start or 0)}} if kind else {}
    return weights, {"edit": edit or "", **guide}


def _guided(row: Mapping[str, Any], settings: Mapping[str, Any], acts: Mapping[str, Any]) -> dict:
    """How a pair was guided, as the settings of a drawing: what its row says, else its method, else
    the evaluation.
    """
    usual = {"map": settings.get("guided"), "start": settings.get("guided_from")}
    guide = row.get("guided", acts.get("guide", usual | {"push": settings.get("push")}))
    guide = guide if isinstance(guide, Mapping) else {}
    numbers = {"guided_from": guide.get("start"), "push": guide.get("push")}
    return {
        "guided": guide.get("map") or "",
        **{name: value for name, value in numbers.items() if _number(value)},
    }


def _stored(folder: Path, row: Mapping[str, Any]) -> tuple[Path, Path] | None:
    """Pictures of a measured pair, if both are there; names that are no keys are not looked for."""
    names = (row.get("original"), row.get("key"))
    if not all(isinstance(name, str) and re.fullmatch(r"[0-9a-f]{8,64}", name) for name in names):
        return None
    files = (folder / "originals" / f"{names[0]}.png", folder / "pictures" / f"{names[1]}.png")
    return files if all(file.is_file() for file in files) else None


def _base_text(row: Mapping[str, Any], caption: str, target: Target) -> str | None:
    """The base text of a measured row: what it says, else the caption of its number, if that gives
    the measured text.
    """
    told, text = row.get("base"), row.get("text")
    for candidate in filter(None, (told if isinstance(told, str) else None, caption)):
        if (
            text in (None, candidate)
            or compose(candidate, target.text, *placed(target, candidate)).complete == text
        ):
            return candidate
    return None


def _single(path: Path, method: str, target: str) -> list[dict]:
    """The measured pairs of a method and target, from the files beside the results."""
    named = [path.with_suffix(".rows.jsonl"), path.with_name(f"{path.stem}-rows.jsonl")]
    files = (
        sorted(path.parent.glob("rows*.jsonl"))
        if path.name == "results.json"
        else [p for p in named if p.is_file()]
    )
    found: dict[tuple[int, int], dict] = {}
    for file in files:
        for row in read_rows(file):
            if (row.get("method"), row.get("target")) == (method, target):
                if _within(row.get("prompt"), "prompts") and _within(row.get("seed"), "seeds"):
                    found[row["prompt"], row["seed"]] = row
    return [found[place] for place in sorted(found)]


def _within(number: Any, name: str) -> bool:
    """Whether a number counts something of which an evaluation may have so many."""
    return isinstance(number, int) and 0 <= number < EvaluateConfig.limits(name)[1]


def _whole(row: Any) -> bool:
    return isinstance(row, dict) and all(
        isinstance(row.get(name), kind) for name, kind in WANTED.items()
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _title(path: Path, others: list[Path]) -> str:
    """A short name: the file's, or the folder's for results.json; with the folder above where two
    would be equal.
    """
    short = path.parent.name if path.name == "results.json" else path.stem
    twins = [
        one
        for one in others
        if (one.parent.name if one.name == "results.json" else one.stem) == short
    ]
    return short if len(twins) == 1 else "/".join(path.with_suffix("").parts[-3:])
