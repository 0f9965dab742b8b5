"""Runs of the Compare tab: settings in, what the stage shows out, one event at a time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gradio as gr
from cachetools import LRUCache

from spf import results
from spf.answers import Progress, Result
from spf.config import AUTO, JOIN, GenerateConfig
from spf.engine import Engine
from spf.errors import SpfError
from spf.portraits.description import TARGETS
from spf.shelf import Shelf
from spf.targets import composed, known_targets
from spf.words import parted

from . import series, stage
from .components import anew
from .foreign import chinese, foreign_notice
from .form import Form
from .gpu import lent_drawing, on_zero_gpu
from .maps import payload
from .page import wanted
from .refusals import called, worded
from .texts import both
from .verdict import asked_for

IDLE = (gr.update(interactive=True), gr.update(interactive=False))
BUSY = (gr.update(interactive=False), gr.update(interactive=True))
"""States of the buttons Generate and Stop."""


class Runs:
    """What visitors are drawing: the name and last progress of each session's run.

    links: portraits of earlier chains, so that a chain that grows is not drawn again from its
    start. drawn: stage and maps of the last pairs, so that the same pair asked for again is there
    at once; of maps that nobody has asked for, how to ask. places: folders with results.
    """

    LINKS, PAIRS = 60, 16

    def __init__(
        self, engine: Engine, form: Form | None = None, places: Sequence[Path] = ()
    ) -> None:
        self.engine, self.form, self.places = engine, form or Form(), places
        self.titles = self.form.titles() | called(seeds="series.count", kind="series.kind")
        self.links: LRUCache[GenerateConfig, dict] = LRUCache(self.LINKS)
        self.drawn: LRUCache[GenerateConfig, tuple[dict, dict, dict]] = LRUCache(self.PAIRS)
        self.runs: dict[str, tuple[str, Progress | None]] = {}

        self.draw = lent_drawing(engine)

    def run(self, request: gr.Request, chain: bool, *values: Any):
        """Streams previews, then the result. A closed tab or Stop closes this generator and with it
        the work.

        chain: also draws what lies on the way, each edit added to the ones before it.
        """
        with self._begun(request) as (session, run):
            try:
                yield from self._drawn(session, run, *self._asked(chain, values))
            except Exception as error:
                yield stage.failed(self._told(error)), gr.skip(), *IDLE

    def known(self, chain: bool, *values: Any):
        """The same pair again, at once; else the stage while it is asked for, with `go`, on which
        it asks for the run. Nobody waits in the queue for what is there, or for a refusal.
        """
        try:
            config, parts = self._asked(chain, values)
        except Exception as error:
            return anew(stage.failed(self._told(error))), gr.skip(), *IDLE
        if config not in self.drawn or any(part not in self.links for part in parts):
            waits = {"phase": "queued", "status": both("status.queued"), "go": True}
            return anew(waits), gr.skip(), gr.skip(), gr.skip()
        value, *others = self._again(config, [self.links[part] for part in parts])
        return anew(value), *others

    def _asked(self, chain: bool, values: Sequence[Any]) -> tuple[GenerateConfig, list]:
        """What the fields ask for, and what lies on its way. Raises what `wanted` does."""
        config = self.engine.resolved(wanted(self.form, *values))
        return config, prefixes(config) if chain else []

    def _again(self, config: GenerateConfig, strip: Sequence[dict]) -> tuple:
        """Stage, maps and buttons of a pair that was drawn, after the portraits on its way."""
        value, inside, last = self.drawn[config]
        return value | {"strip": [*strip, last] if strip else []}, inside, *IDLE

    @contextmanager
    def _begun(self, request: gr.Request) -> Iterator[tuple[str, str]]:
        """Session and name of a run, which is that session's inside the block."""
        session, run = request.session_hash or secrets.token_hex(8), secrets.token_hex(4)
        self.runs[session] = run, None
        try:
            yield session, run
        finally:
            if self.runs.get(session, (None,))[0] == run:
                del self.runs[session]

    def _told(self, error: Exception) -> dict[str, str]:
        """A failure in words of the page."""
        return worded(error, self.titles)

    def _drawn(self, session: str, run: str, config: GenerateConfig, parts: list):
        """Values of stage, maps and the two buttons, for the parts of a chain and then for the
        whole.
        """
        buttons = BUSY  # told once: a later message could overtake what Stop says
        strip: list[dict] = []
        count = len(parts) + bool(parts)
        for number, part in enumerate([*parts, config], start=1):
            if part in self.links and part in parts:
                strip.append(self.links[part])
                continue

            if part is config and part in self.drawn:
                yield self._again(part, strip)
                continue

            roles = self.engine.roles(part)
            columns = {role: stage.column(one) for role, one in self.engine.columns(part).items()}
            pictures: dict[str, str] = {}
            with closing(self.draw(part)) as events:
                for event in events:
                    if isinstance(event, Result):
                        last = self.keep(event)
                        if part is config:
                            value = stage.finished(event)
                            inside = {"ask": run, "request": value["request"]}
                            self.drawn[config] = value, inside, last
                            yield self._again(config, strip)
                        strip.append(last)
                        continue

                    self.runs[session] = run, event
                    pictures |= stage.previews(event)
                    place = (number if parts else 0, len(parts) + 1)
                    value = stage.waiting(event, roles, pictures, *place)
                    value |= {"run": run, "strip": strip, "links": count, "columns": columns}
                    if buttons is BUSY:
                        value["asks"] = config.carried()
                    yield value, gr.skip(), *buttons
                    buttons = (gr.skip(), gr.skip())

    def maps(self, event: gr.EventData):
        """Streams the maps of a pair that was drawn without them; answers: what is asked."""
        asked = {"ask": event.ask, "answers": event.ask, "request": event.request}
        try:
            config = self.form.config.from_dict(dict(event.request))
            value, inside, last = self.drawn.get(config, ({}, {}, {}))
            if "blob" not in inside:
                with closing(self.draw(config, True)) as events:
                    for one in events:
                        if not isinstance(one, Result):
                            yield asked | {"status": stage.waiting(one, [], {})["status"]}
                            continue
                        inside = payload(one)
                        if value:
                            self.drawn[config] = value, inside, last
            yield inside | {"answers": event.ask}
        except Exception as error:
            yield asked | {"status": self._told(error), "failed": True}

    def series(self, request: gr.Request, kind: str, count: float, lines: str, *values: Any):
        """Streams a series of drawings for the sheet, with the two buttons; each is added as it is
        finished.
        """
        with self._begun(request) as (session, run):
            shown: dict[str, Any] = {"run": run, "kind": kind, "phase": "running", "items": []}
            try:
                parts = series.parts(kind, wanted(self.form, *values), count, lines)
                yield from self._listed(session, shown, parts)
            except Exception as error:
                yield shown | {"phase": "failed", "status": self._told(error)}, *IDLE

    def dial(self, request: gr.Request, *values: Any):
        """Streams the purity dial: five strengths from one noise."""
        yield from self.series(request, series.STRENGTHS, 0, "", *values)

    def _listed(self, session: str, shown: dict[str, Any], parts: list):
        buttons, items = BUSY, shown["items"]
        shown["count"] = len(parts)
        for number, (title, config) in enumerate(parts):
            with closing(self.draw(config)) as events:
                for event in events:
                    if isinstance(event, Result):
                        items.append(series.item(title, event, items))
                        continue
                    self.runs[session] = shown["run"], event
                    place = (number + 1, len(parts))
                    told = stage.waiting(event, [], {}, *place, key="status.item")
                    told = {name: told[name] for name in ("status", "progress") if name in told}
                    yield shown | {"items": list(items)} | told, *buttons
                    buttons = (gr.skip(), gr.skip())
        done = {"phase": "done", "status": both("series.done", n=len(items))}
        yield shown | {"items": list(items)} | done, *IDLE

    def keep(self, result: Result) -> dict:
        """A link of the strip, remembered."""
        made = stage.link(result)
        self.links[result.config] = made
        return made

    def stop(self, request: gr.Request):
        """What the stage says after Stop; the work itself ends with its generator, which Gradio
        closes.
        """
        run, progress = self.runs.get(request.session_hash, (None, None))
        return stage.stopped(progress) | {"run": run}, *IDLE

    def read(self, *values: Any) -> dict:
        """Notices on the text while it is being written, silent until the model is there; on a lent
        GPU also what a run reserves."""
        try:
            config = wanted(self.form, *values)
            composed(config)
        except SpfError:
            return {"notices": []}  # half-written; Generate will say what is missing
        try:
            words = self.engine.words(config)
        except SpfError as error:  # the target does not fit into what the encoder reads
            return {"notices": [{"kind": "warning", "text": worded(error, self.titles)}]}
        found, more = stage.notices(words), {"swaps": stage.swaps(words), "known": words.known}
        written = " ".join((config.base, *config.targets))
        if chinese(written) and words.known:
            found, more = foreign_notice(written), {"known": words.known}
        found += self._seldom(config)
        lacking = untaught(self.engine, config)
        if on_zero_gpu():
            found.append(stage.notice("quota", "info", s=self.engine.seconds(config)))
        return {"notices": found, "teach": lacking} | more

    def _seldom(self, config: GenerateConfig) -> list[dict]:
        """That a target is seldom there, for shipped adapters that show it in fewer than half of
        the pairs that were measured."""
        if config.adapter != AUTO:
            return []
        weak = [target for target in known_targets(config.targets) if target.name in self._weak]
        if not weak:
            return []
        ours, here = Shelf.shipped().files(), self.engine.files()
        return [
            stage.notice("seldom", "info", target=asked_for(target), k=hits, n=count)
            for target in weak
            for hits, count in [self._weak[target.name]]
            if target.name in ours and ours[target.name] == here.get(target.name)
        ]

    @cached_property
    def _weak(self) -> dict[str, tuple[int, int]]:
        """Targets that are there in fewer than half of the pairs that were measured: in how many of
        how many."""
        found = results.shown(results.load(self.places), "spf+held")
        return {name: (hits, count) for name, (hits, count) in found.items() if 2 * hits < count}


def untaught(engine: Engine, config: GenerateConfig) -> list[dict[str, str]]:
    """Ready targets that are asked for and have no weights."""
    if config.adapter != AUTO:
        return []
    return [
        {"key": target.name, "title": asked_for(target)}
        for target in known_targets(config.targets)
        if target.name in TARGETS and not engine.pick((target.text,))
    ]


def prefixes(config: GenerateConfig) -> list[GenerateConfig]:
    """The shorter chains on the way to a comparison of several targets: the first, the first two,
    and so on.

    With one adapter for each target, a prefix uses those of its own targets.
    """
    names = parted(config.adapter, JOIN)
    own = len(names) == len(config.targets)

    def prefix(k: int) -> GenerateConfig:
        adapter = JOIN.join(names[:k]) if own else config.adapter
        return replace(config, targets=config.targets[:k], adapter=adapter)

    return [prefix(k) for k in range(1, len(config.targets))]
