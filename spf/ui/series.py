"""Series of drawings: one list of settings for each kind, drawn one after another and shown on one
sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from spf.answers import Result
from spf.config import LARGEST_SEED, GenerateConfig
from spf.errors import BadInput
from spf.shelf import ORIGINAL, TUNED

from . import stage
from .texts import both, same
from .verdict import attribute, value_of

SEEDS, STRENGTHS, TEXTS = KINDS = ("seeds", "strengths", "texts")
DIAL = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Strengths of the purity dial."""
MOST_SEEDS, MOST_TEXTS = 16, 64
ARROW = "=>"
"""Between the base text and the target of a line that has a target of its own."""

Part = tuple[dict[str, str], GenerateConfig]


def parts(kind: str, config: GenerateConfig, count: int = 4, lines: str = "") -> list[Part]:
    """Title and settings of each drawing of a series. Raises BadInput.

    seeds: `count` of them from the given one on. strengths: those of DIAL. texts: a base text a
    line, each with the target of `config` or, after "=>", its own.
    """
    if kind == SEEDS:
        if not 1 <= count <= MOST_SEEDS:
            raise BadInput(f"seeds is {count} but must be a whole number from 1 to {MOST_SEEDS}.")
        seeds = [(config.seed + k) % (LARGEST_SEED + 1) for k in range(int(count))]
        return [(both("series.seed", seed=seed), replace(config, seed=seed)) for seed in seeds]
    if kind == STRENGTHS:
        return [(same(f"{one:g} ×"), replace(config, strength=one)) for one in DIAL]
    if kind != TEXTS:
        raise BadInput(f"kind is {str(kind)[:20]!r} but must be one of {', '.join(KINDS)}.")
    found = [line.strip() for line in lines.splitlines() if line.strip()]
    if not 1 <= len(found) <= MOST_TEXTS:
        raise BadInput(f"texts has {len(found)} lines but must have 1 to {MOST_TEXTS}.")
    return [_of_line(config, line) for line in found]


def _of_line(config: GenerateConfig, line: str) -> Part:
    base, arrow, target = line.partition(ARROW)
    targets = (target,) if arrow else config.targets
    made = replace(config, base=base, targets=targets)
    return same(" + ".join((made.base, *made.targets)) if arrow else made.base), made


def item(title: Mapping[str, str], result: Result, before: Sequence[Mapping[str, Any]]) -> dict:
    """A drawing as static/sheet.js shows it; flips: what changed in the tuned portrait and in none
    of the items before.
    """
    shown = stage.finished(result) | {"title": dict(title)}
    known = {name for one in before for name in one["changed"]}
    report = result.reports[TUNED]
    changed = report["changed"] or []
    pairs = report["attributes"] or {}
    flips = [
        {
            "label": attribute(name),
            "from": value_of(name, pairs[name][ORIGINAL]),
            "to": value_of(name, pairs[name][TUNED]),
        }
        for name in changed
        if name not in known
    ]
    return shown | {"flips": flips, "changed": list(changed), "response": report["response"]}
