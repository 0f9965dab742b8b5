"""What the judges read in both portraits: whether the target is there, and what else changed."""

from __future__ import annotations

import math

from spf.evaluation import measures as m
from spf.evaluation.measured import Pair

ORDER = 1
TABLE = "Response and pollution"
MEASURES = {
    "purity": "harmonic mean of response and 1 - pollution",
    "response": "the target is there",
    "pollution": "share of the other attributes that changed",
    "pollution_bias": "pollution among the attributes that the tailored set has in common",
    "pollution_other": "pollution among the remaining attributes",
    "pollution_clear": "pollution among the attributes that are clear to the judge in the original",
    "redrawn": "a part of the face is another one though no target asked for it",
    "bias": "share of the attributes without the set's value that took it on",
    "retention": "share of all attributes unchanged when the tuned model draws the base text alone",
}
"""Purity is taken of the means of a table, see `spf.evaluation.summary`."""
SMALLER = ["pollution", "pollution_bias", "pollution_other", "pollution_clear", "redrawn", "bias"]


def measure(pair: Pair) -> dict[str, float]:
    target, before, after = [pair.target], pair.before, pair.after
    free = [
        name
        for name in m.compared(before, after, target)
        if name in pair.bias and before[name] != pair.bias[name]
    ]
    taken = [after[name] == pair.bias[name] for name in free]
    others = after.keys() - pair.bias.keys()

    found = {
        "response": float(m.responded(after, pair.target)),
        "pollution": m.pollution(before, after, target),
        "pollution_bias": m.pollution(before, after, target, among=pair.bias.keys()),
        "pollution_other": m.pollution(before, after, target, among=others),
        "pollution_clear": m.pollution(before, after, target, among=pair.clear),
        "redrawn": float(bool(pair.redrawn)),
        "bias": sum(taken) / len(taken) if taken else math.nan,
    }
    if pair.kept is not None:
        found["retention"] = 1 - m.pollution(before, pair.kept)
    return found


def more(pair: Pair) -> dict[str, list[str]]:
    """The attributes that changed."""
    return {"changed": m.changed(pair.before, pair.after, [pair.target])}
