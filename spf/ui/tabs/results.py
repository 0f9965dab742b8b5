"""Results: evaluation tables, their curves, and the pairs of portraits behind a number, drawn again
on demand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from cachetools import LRUCache
from PIL import Image

from spf import results
from spf.answers import Result
from spf.config import JOIN, GenerateConfig
from spf.engine import Engine
from spf.evaluation.measures import SURE
from spf.portraits.description import ATTRIBUTES
from spf.shelf import ORIGINAL, TUNED
from spf.words import parted

from ..boundary import sentence
from ..components import HEAVY, QUICK, anew, enlarged, own
from ..gpu import lent_drawing
from ..page import Page
from ..texts import both
from ..verdict import attribute, listed, words_of
from .compare import restored

ORDER = 4
SHOWN = 4
"""Pairs that are drawn at a time: each takes as long as a press of Generate."""
KEPT = 300


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab; its tables are read and sent when it is opened."""
    with gr.Column(elem_classes="spf-beside"):
        table = own("results", name="results")
        behind = own("pairs", {"phase": "none"}, name="pairs")
    drawn = PairsDrawn(page.engine)

    def refresh():
        """The tables as they are now."""
        return shown(results.load(page.places))

    def pick(event: gr.EventData):
        """Streams the first pairs behind the cell that was picked."""
        yield from draw(event, 0)

    def more(event: gr.EventData):
        """Streams the next ones."""
        yield from draw(event, event.first)

    def draw(event: gr.EventData, first: Any):
        tables = results.load(page.places)
        found = next((one for one in tables if one.key == event.table), None)
        if found is not None:
            number = (event.method, event.aim, event.measure, event.order)
            yield from map(anew, drawn.pairs(found, *number, int(first)))

    def open_pair(event: gr.EventData):
        """Puts a pair's settings into Compare."""
        fields = restored(page.form, event.request, page.engine)[1:]
        return [*fields, gr.Tabs(selected="compare")]

    first = table.pick(pick, None, behind, trigger_mode="always_last", **HEAVY)
    again = behind.more(more, None, behind, **HEAVY)
    behind.halt(lambda: gr.skip(), None, behind, cancels=[first, again], **QUICK)
    behind.open(open_pair, None, [*page.inputs, page.tabs], **QUICK)
    table.refresh(refresh, None, table, **QUICK)
    tab.select(refresh, None, table, **QUICK)


def shown(tables: Sequence[results.Table]) -> dict[str, Any]:
    """Results as static/results.js shows them."""
    return {"tables": [_table(table) for table in tables]}


def _table(table: results.Table) -> dict[str, Any]:
    measures = list(dict.fromkeys(str(row["measure"]) for row in table.rows))
    names = ("method", "target", "measure", "value", "low", "high", "n")
    return {
        "name": table.name,
        "key": table.key,
        "settings": {
            name: value
            for name, value in table.settings.items()
            if isinstance(value, (str, int, float))
        },
        "measures": [
            {
                "name": name,
                "title": _title(name),
                "about": both(f"measure.{name}", table.measures.get(name) or " "),
                "falling": results.smaller_is_better(name),
            }
            for name in measures
        ],
        "methods": {
            name: _method(name) for name in dict.fromkeys(row["method"] for row in table.rows)
        },
        "targets": {
            name: both(f"target.{name}", name)
            for name in dict.fromkeys(row["target"] for row in table.rows)
        },
        "rows": [{name: row.get(name) for name in names} for row in table.rows],
        "curves": [{name: row.get(name) for name in (*names, "step")} for row in table.curves],
    }


def _behind(table: results.Table, method: str, target: str, measure: str) -> dict[str, Any]:
    """Which number is looked behind, in words and with its interval."""
    pick = {"method": method, "target": target, "measure": measure}
    rows = (row for row in table.rows if all(row[name] == pick[name] for name in pick))
    number = next(rows, {})
    return {
        "pick": {"table": table.key, "method": method, "aim": target, "measure": measure},
        "titles": {
            "method": _method(method),
            "aim": both(f"target.{target}", target),
            "measure": _title(measure),
        },
        "number": {name: number.get(name) for name in ("value", "low", "high", "n")},
    }


def _left(seconds: float, done: int, rest: int) -> dict[str, str] | str:
    """How long the rest takes at the pace of what was drawn."""
    return both("status.left", s=max(1, round(seconds / done * rest))) if done else ""


def _title(measure: str) -> dict[str, str]:
    return both(f"measure.{measure}.title", measure.replace("_", " "))


def _method(word: str) -> dict[str, Any]:
    """How a method's word is shown: its title, the weights that its colour means, and whether it
    also acts while a portrait is drawn.
    """
    edit, weights, guided = results.apart(word)
    title = both(f"method.{weights}", weights)
    if guided:
        way = both(f"way.{guided.partition(':')[0]}", guided)
        title = both("results.guided", weights=title, way=way)
    if edit:
        title = both("results.edited", edit=both(f"edit.{edit}", edit), weights=title)
    return {"title": title, "weights": weights, "acts": bool(edit or guided)}


class PairsDrawn:
    """Draws the pairs behind a number; pairs that were drawn before come at once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.drawn: LRUCache[GenerateConfig, dict] = LRUCache(KEPT)

        self.draw = lent_drawing(engine)

    def pairs(
        self,
        table: results.Table,
        method: str,
        target: str,
        measure: str,
        order: str,
        first: int = 0,
    ):
        """Values of static/pairs.js: what is picked, then each pair as soon as it is there."""
        found = results.pairs(table, method, target, measure, order)
        value = _behind(table, method, target, measure) | {
            "phase": "drawing",
            "sorted": any(measure in pair.values for pair in found),
            "items": [],
        }
        value["pick"]["order"] = order
        lacking = {pair.target: why for pair in found if (why := self._missing(pair))}
        found = [pair for pair in found if pair.target not in lacking]
        value["count"], value["lacking"] = len(found), _left_out(lacking)
        here = found[first : first + SHOWN]
        if not here:
            why = next(iter(lacking.values()), both("pairs.none"))
            yield value | {"phase": "failed", "status": why, "lacking": None}
            return
        items = [self._waiting(pair, measure) for pair in here]
        began, drawn = time.monotonic(), 0
        for index, pair in enumerate(here):
            ready = pair.stored or pair.request in self.drawn
            left = _left(time.monotonic() - began, drawn, len(here) - index)
            status = both("pairs.drawing", k=index + 1, n=len(here), left=left)
            if not ready:
                yield value | {
                    "items": items,
                    "first": first,
                    "status": status,
                    "progress": index / len(here),
                }
            try:
                items[index] = items[index] | self._pair(pair)
                drawn += not ready
            except Exception as error:
                yield value | {
                    "phase": "failed",
                    "items": items,
                    "first": first,
                    "status": sentence(error),
                }
                return
        status = both("pairs.shown", a=first + 1, b=first + len(here), n=len(found))
        yield value | {
            "phase": "done",
            "items": items,
            "first": first,
            "status": status,
            "last": first + len(here) >= len(found),
        }

    def _missing(self, pair: results.Pair) -> dict[str, str] | None:
        """Why a pair can be neither shown nor drawn; None where it can."""
        if pair.stored:
            return None
        if not pair.again:
            return both("pairs.edit", name=pair.method)
        for name in parted(pair.request.adapter, JOIN):
            if name not in self.engine.files():
                return both("pairs.adapter", name=Path(name).name)
        return None

    def _waiting(self, pair: results.Pair, measure: str) -> dict[str, Any]:
        prompt = self.engine.words(pair.request).prompt
        value = pair.values.get(measure)
        return {
            "base": prompt.base,
            "complete": prompt.complete,
            "value": value,
            "request": pair.request.carried(),
        }

    def _pair(self, pair: results.Pair) -> dict[str, Any]:
        config = pair.request
        if pair.stored:
            changes = pair.values.get("changed") or []
            return {
                "pictures": dict(zip((ORIGINAL, TUNED), map(_shown, pair.stored), strict=True)),
                "changed": [{"label": attribute(name)} for name in changes if name in ATTRIBUTES],
                "identity": _alike(pair.values.get("identity")),
            }
        if config in self.drawn:
            return self.drawn[config]
        with closing(self.draw(config)) as events:
            result = next(event for event in events if isinstance(event, Result))
        report = result.reports[TUNED]
        judged = words_of(report, bool(config.adapter))
        made = {
            "pictures": {role: enlarged(result.portraits[role], 256) for role in (ORIGINAL, TUNED)},
            "score": judged["score"] if judged else "",
            "clean": judged["clean"] if judged else None,
            "changed": judged["changed"] if judged else [],
            "identity": _alike(report.get("identity")),
            "sure": _sure(report.get("sure") or {}),
        }
        self.drawn[config] = made
        return made


def _left_out(lacking: Mapping[str, Any]) -> dict[str, str] | None:
    """Which targets of a mean have no portraits here, in words."""
    names = ", ".join(lacking)
    return both("pairs.lacking", names=names) if lacking else None


def _alike(identity: float | None) -> dict[str, str] | None:
    """How alike both faces are, in words."""
    return None if identity is None else both("pairs.identity", value=f"{identity:.2f}")


def _sure(probabilities: Mapping[str, float]) -> dict[str, str] | None:
    """How sure the judges are of what they read in both portraits, in words."""
    if not probabilities:
        return None
    unsure = [name for name, value in probabilities.items() if value < SURE]
    counts = {"n": len(probabilities), "k": len(probabilities) - len(unsure)}
    if not unsure:
        return both("pairs.sure", **counts)
    return both("pairs.unsure", **counts, what=listed([attribute(name) for name in unsure]))


def _shown(path: Path) -> str:
    with Image.open(path) as picture:
        return enlarged(np.asarray(picture.convert("RGB")), 256)
