"""From measured pairs to results: means with bootstrap intervals over prompts, and the tables of
results.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spf.evaluation import measures as m
from spf.evaluation.columns import frechet, unpacked
from spf.evaluation.measured import MEANINGS as MEASURES
from spf.evaluation.measured import TABLES
from spf.registry import MEASURES as GROUPS
from spf.shelf import EVERY


def sets() -> set[str]:
    """Measures of a set of pictures rather than of a pair."""
    return {name for group in GROUPS.values() for name in group.facts.get("SETS", ())}


def summary(rows: Sequence[Mapping], resamples: int = 2000) -> list[dict]:
    """Rows of results.json: each measure for each method and target, and for all targets together,
    with 95% intervals.

    All together only for methods that were measured on every target, as nothing else could be
    compared.
    """
    found = []
    methods = list(dict.fromkeys(row["method"] for row in rows))
    targets = list(dict.fromkeys(row["target"] for row in rows))
    for target in targets + ([EVERY] if len(targets) > 1 else []):
        for method in methods:
            some = [
                row for row in rows if row["method"] == method and target in (row["target"], EVERY)
            ]
            if target == EVERY and len({row["target"] for row in some}) < len(targets):
                continue
            some = _at_best_threshold(some)
            means = {
                name: _mean(some, name, resamples)
                for name in MEASURES
                if name != "purity" and name not in sets()
            }
            for name in MEASURES:
                if name == "purity":
                    (a, first), (b, second) = means["response"][:2], means["pollution"][:2]
                    value, draws, n = m.purity(a, b), m.purity(first, second), means["response"][2]
                elif name in sets():
                    value, n = _set(some)
                    draws = np.array([value])
                else:
                    value, draws, n = means[name]
                if n:
                    low, high = m.interval(draws)
                    numbers = {
                        key: round(float(number), 6)
                        for key, number in (("value", value), ("low", low), ("high", high))
                    }
                    found.append(
                        {"method": method, "target": target, "measure": name, **numbers, "n": n}
                    )
    return found


def _at_best_threshold(rows: Sequence[Mapping]) -> list[dict]:
    """The rows with the `_best` measures: of each map the overlaps at that threshold which is best
    on the mean over all rows.
    """
    found = [dict(row) for row in rows]
    for name in ("sfcm", "difference", "attention", "held"):
        some = [row for row in found if row.get(f"{name}_ious") and None not in row[f"{name}_ious"]]
        if some:
            best = int(np.argmax(np.mean([row[f"{name}_ious"] for row in some], axis=0)))
            for row in some:
                row[f"{name}_best"] = row[f"{name}_ious"][best]
    return found


def _mean(rows: Sequence[Mapping], name: str, resamples: int) -> tuple[float, np.ndarray, int]:
    values = [math.nan if row.get(name) is None else row[name] for row in rows]
    groups = [f"{row['target']} {row['prompt']}" for row in rows]
    if all(map(math.isnan, values)):
        return math.nan, np.full(resamples, math.nan), 0
    mean, draws = m.bootstrap_means(values, groups, resamples=resamples)
    return mean, draws, sum(not math.isnan(value) for value in values)


def _set(rows: Sequence[Mapping]) -> tuple[float, int]:
    """(Frechet distance of the tuned to the original portraits, number of pairs); 0 pairs where it
    is not defined.
    """
    some = [row for row in rows if row.get("clip")]
    if len(some) < 2:
        return math.nan, 0
    return frechet(
        unpacked(row["clip_before"] for row in some), unpacked(row["clip"] for row in some)
    ), len(some)


def timesteps(rows: Sequence[Mapping]) -> list[dict]:
    """Map quality step by step: method, target, measure (such as sfcm_ap), timestep, value, n."""
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        for name, values in (row.get("steps") or {}).items():
            for timestep, value in zip(row["timesteps"], values, strict=True):
                if value is not None:
                    groups.setdefault((row["method"], row["target"], name, timestep), []).append(
                        value
                    )
    return [
        {
            "method": method,
            "target": target,
            "measure": name,
            "timestep": timestep,
            "value": round(float(np.mean(values)), 6),
            "n": len(values),
        }
        for (method, target, name, timestep), values in groups.items()
    ]


def curves(results: Sequence[Mapping], points: Mapping[str, tuple[str, int]]) -> list[dict]:
    """Rows over training steps: those of `summary` whose method is a point, named for its curve and
    with its `step`.
    """
    return [
        row | {"method": points[row["method"]][0], "step": points[row["method"]][1]}
        for row in results
        if row["method"] in points
    ]


def table(rows: Sequence[Mapping], names: Sequence[str] | None = None) -> str:
    """The summary as Markdown: one line for each target and method, the purest first, all targets
    together on top.
    """
    cells = {(row["target"], row["method"], row["measure"]): row for row in rows}
    lines = list(dict.fromkeys((row["target"], row["method"]) for row in rows))
    names = [name for name in names or MEASURES if any((*line, name) in cells for line in lines)]
    places = {
        target: place for place, target in enumerate(dict.fromkeys(target for target, _ in lines))
    } | {EVERY: -1}
    pure = lambda line: cells.get((*line, "purity"), {"value": -1.0})["value"]  # noqa: E731
    text = ["| target | method | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for line in sorted(lines, key=lambda line: (places[line[0]], -pure(line))):
        text.append(
            f"| {line[0]} | {line[1]} | "
            + " | ".join(_cell(cells.get((*line, name))) for name in names)
            + " |"
        )
    return "\n".join(text) + "\n"


def _cell(row: Mapping | None) -> str:
    if row is None:
        return ""
    if row["measure"] in sets() or row["measure"] not in MEASURES:
        return f"{row['value']:.3f}"
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _chain_table(rows: Sequence[Mapping]) -> str:
    cells = {(row["method"], row["target"], row["measure"]): row for row in rows}
    names = ("response", "pollution", "purity")
    lines = ["| method | targets | " + " | ".join(names) + " |", "|---" * 5 + "|"]
    for method, target in dict.fromkeys((row["method"], row["target"]) for row in rows):
        lines.append(
            f"| {method} | {target} | "
            + " | ".join(_cell(cells[method, target, name]) for name in names)
            + " |"
        )
    return "\n".join(lines) + "\n"


def document(results: Mapping[str, Any]) -> str:
    """results.md: the tables, what their columns mean, and what is not in them."""
    rows, settings = results["rows"], results["settings"]
    measured = {row["measure"] for row in rows}
    parts = [
        f"# {settings['prompts']} prompts, {settings['seeds']} seeds, {settings['steps']} steps, "
        f"{settings['split']} split\n"
    ]
    for title, names in TABLES.items():
        shown = [name for name in names if name in measured]
        if shown:
            meaning = "".join(f"- {name}: {MEASURES[name]}\n" for name in shown)
            parts.append(f"## {title}\n\n{table(rows, shown)}\n{meaning}")
    extra = [name for name in results["measures"] if name in measured and name not in MEASURES]
    if extra:
        meaning = "".join(f"- {name}: {results['measures'][name]}\n" for name in extra)
        parts.append(f"## Published networks\n\n{table(rows, extra)}\n{meaning}")
    if results.get("chains"):
        parts.append(f"## Chains of targets\n\n{_chain_table(results['chains'])}")
    absent = "".join(f"- {name}: {why}\n" for name, why in results["absent"].items())
    parts.append(f"## Not measured\n\n{absent}")
    return "\n".join(parts)
