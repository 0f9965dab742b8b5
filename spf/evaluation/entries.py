"""Rows of the table: which weights, which edit while drawing, which guiding, said in one word such
as "p2p@naive".

    [EDIT@]WEIGHTS[+GUIDE[:START]][=FILE]

WEIGHTS is a fine-tuning method, or original (also: base) for the untouched model; an EDIT alone is
one of the original. +held, +sfcm, +difference and +attention turn SFCM-guided sampling on, after a
share START of the steps. FILE names the adapter, with {target} for the target's name and {step} for
a training step: a curve over the files that exist.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from spf.config import check_choice, check_real
from spf.errors import BadInput
from spf.exchange import load_adapter
from spf.models import Base
from spf.paths import Adapter
from spf.portraits.description import TARGETS, Target, get_target
from spf.registry import EDITS, GUIDES, METHODS
from spf.results import apart
from spf.sampling import GuideConfig
from spf.shelf import ORIGINAL, Shelf, adapter_name, name_of


@dataclass(frozen=True, eq=False)
class Tuned:
    """One method's weights for one target; no adapter stands for the original weights.

    key: everything that tells it from others; weights: the same of the weights alone. name: of the
    adapter. edit, guide: how it is drawn. step: training steps, where the row is a point of a
    curve, whose name is then `curve`.
    """

    method: str
    target: Target
    adapter: Adapter | None
    key: str
    weights: str = ""
    name: str = ""
    edit: str = ""
    guide: GuideConfig | None = None
    step: int | None = None
    curve: str = ""


@dataclass(frozen=True)
class Entry:
    """A row's word, taken apart."""

    label: str
    weights: str
    edit: str = ""
    guide: GuideConfig | None = None
    file: str = ""


def parse(word: str) -> Entry:
    """Raises BadInput for a word that is none."""
    label, _, file = word.partition("=")
    edit, weights, guided = apart(label)
    if edit is not None:
        check_choice("edit", edit, tuple(EDITS))
    if not weights:
        raise BadInput(
            f"methods has {word!r} but must be like spf, p2p@naive, spf+held or LABEL=FILE."
        )
    guide = None if guided is None else _guide(guided, word)
    return Entry(label, weights, edit or "", guide, file)


def _guide(text: str, word: str) -> GuideConfig:
    kind, colon, start = text.partition(":")
    if kind not in GUIDES or (colon and not re.fullmatch(r"\d*\.?\d+", start)):
        raise BadInput(
            f"methods has {word!r} but after + there must be one of {', '.join(GUIDES)}, as in "
            "held or sfcm:0.3."
        )
    return GuideConfig(kind, start=check_real("start", float(start or 0), 0, 1))


def find_adapters(
    base: Base,
    methods: Sequence[str],
    targets: Sequence[str],
    folder: str | Path | None = None,
    missing: list[str] | None = None,
) -> list[Tuned]:
    """The weights of each method for each target, read and checked; every file once.

    Adapters are looked up in `folder` or among the shipped ones. Raises BadInput for what is not
    there, unless there is a list `missing`, to which its name is added.
    """
    shelf = shelf_of(folder)
    found: list[Tuned] = []
    read: dict[Path, tuple[Adapter, str]] = {}
    for target, entry in product(
        (get_target(name, flexible=True) for name in targets), map(parse, methods)
    ):
        if entry.weights == ORIGINAL and not entry.file:
            found.append(_tuned(entry, target, None, ""))
            continue
        name = adapter_name(target.name, entry.weights)
        source = entry.file.replace("{target}", target.name) or name
        files = _steps(source) if "{step}" in source else {None: source}
        for step, file in files.items():
            try:
                path = shelf.find(file)
                if path not in read:
                    read[path] = (
                        load_adapter(path, base),
                        hashlib.sha256(path.read_bytes()).hexdigest()[:16],
                    )
            except BadInput:
                if missing is None:
                    raise
                missing.append(name)
                continue
            known = not folder and not entry.file
            found.append(
                _tuned(entry, target, *read[path], name=name if known else name_of(path), step=step)
            )
    if len({(one.method, one.target.name) for one in found}) < len(found):
        raise BadInput("methods and targets must each be named once.")
    return found


def _tuned(
    entry: Entry,
    target: Target,
    adapter: Adapter | None,
    weights: str,
    name: str = "",
    step: int | None = None,
) -> Tuned:
    drawn = (
        json.dumps([entry.edit, entry.guide and entry.guide.to_dict()])
        if entry.edit or entry.guide
        else ""
    )
    label = entry.label if step is None else f"{entry.label} {step}"
    return Tuned(
        label,
        target,
        adapter,
        weights + drawn,
        weights,
        name,
        entry.edit,
        entry.guide,
        step,
        entry.label,
    )


def _steps(pattern: str) -> dict[int, str]:
    """Files that fit a pattern with {step}, by step."""
    path = Path(pattern)
    rule = re.compile(re.escape(str(path)).replace(re.escape("{step}"), r"(\d+)"))
    start = next(parent for parent in path.parents if "{step}" not in str(parent))
    fits = ((rule.fullmatch(str(file)), str(file)) for file in sorted(start.rglob("*.safetensors")))
    found = {int(match[1]): file for match, file in fits if match}
    if not found:
        raise BadInput(f"methods names {pattern!r} but no file fits it.")
    return dict(sorted(found.items()))


def shelf_of(folder: str | Path | None = None) -> Shelf:
    """The adapters in `folder`, or the shipped ones."""
    return Shelf((Path(folder),)) if folder else Shelf.shipped()


def every_method(names: Iterable[str]) -> list[str]:
    """Every method that one of the named adapters was made by, then what needs no training, alone
    and on top of them.
    """
    names = set(names)
    labels = {label for target in TARGETS for name in names if (label := _label(name, target))}
    trained = [
        *(method for method in METHODS if method in labels),
        *sorted(labels - METHODS.keys()),
    ]
    edited = [
        f"{edit}@{weights}" for weights in ("naive", "spf") if weights in labels for edit in EDITS
    ]
    guided = [
        f"{weights}+{way}"
        for weights in ("naive", "spf")
        if weights in labels
        for way, entry in GUIDES.items()
        if entry.facts.get("MEASURED")
    ]
    return [ORIGINAL, *trained, *EDITS, *edited, *guided]


def every_target(methods: Sequence[str], names: Iterable[str]) -> list[str]:
    """Targets for which at least one of the methods has an adapter; all of them if none needs
    one.
    """
    needed = {
        entry.weights
        for entry in map(parse, methods)
        if entry.weights != ORIGINAL and not entry.file
    }
    held = set(names)
    some = [
        name for name in TARGETS if any(adapter_name(name, weights) in held for weights in needed)
    ]
    return some if needed else list(TARGETS)


def _label(name: str, target: str) -> str | None:
    if name == target:
        return "spf"
    return name.removeprefix(f"{target}-") if name.startswith(f"{target}-") else None
