"""Runs of the Compare tab: settings in, what the stage shows out, one event at a time."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from spf.config import JOIN, GenerateConfig
from spf.engine import Engine, Progress, Result
from spf.errors import SpfError

from . import stage
from .boundary import reported
from .form import Form
from .gpu import on_gpu, on_zero_gpu
from .maps import payload
from .page import wanted
from .texts import same

IDLE = (gr.update(interactive=True), gr.update(interactive=False))
BUSY = (gr.update(interactive=False), gr.update(interactive=True))
"""States of the buttons Generate and Stop."""


class Runs:
    """What visitors are drawing: the name and last progress of each session's run.

    links: portraits of earlier chains, so that a chain that grows is not drawn again from its start.
    """

    LINKS = 60

    def __init__(self, engine: Engine, form: Form | None = None) -> None:
        self.engine, self.form = engine, form or Form()
        self.links: OrderedDict[GenerateConfig, dict] = OrderedDict()
        self.runs: dict[str, tuple[str, Progress | None]] = {}

        def draw(config: GenerateConfig) -> Iterator[Progress | Result]:
            yield from engine.compare(config)

        self.draw = on_gpu(draw, engine.seconds)

    def run(self, request: gr.Request, chain: bool, *values: Any):
        """Streams previews, then the result. A closed tab or Stop closes this generator and with it the work.

        chain: also draws what lies on the way, each edit added to the ones before it.
        """
        session, run = request.session_hash or secrets.token_hex(8), secrets.token_hex(4)
        self.runs[session] = run, None
        try:
            config = wanted(self.form, *values)
            parts = prefixes(self.engine.resolved(config)) if chain else []
            yield from self._drawn(session, run, config, parts)
        except SpfError as error:
            yield stage.failed(same(str(error))), gr.skip(), *IDLE
        except Exception as error:  # a bug of ours or of a library
            yield stage.failed(reported(error)), gr.skip(), *IDLE
        finally:
            if self.runs.get(session, (None,))[0] == run:
                del self.runs[session]

    def _drawn(self, session: str, run: str, config: GenerateConfig, parts: list):
        """Values of stage, maps and the two buttons, for the parts of a chain and then for the whole."""
        buttons = BUSY  # told once: a later message could overtake what Stop says
        strip: list[dict] = []
        count = len(parts) + bool(parts)
        for number, part in enumerate([*parts, config], start=1):
            if part in self.links and part in parts:
                strip.append(self.links[part])
                continue

            roles = self.engine.roles(part)
            pictures: dict[str, str] = {}
            with closing(self.draw(part)) as events:
                for event in events:
                    if isinstance(event, Result):
                        strip.append(self.keep(event))
                        if part is config:
                            shown = {"strip": strip if len(strip) > 1 else []}
                            yield stage.finished(event) | shown, payload(event), *IDLE
                        continue

                    self.runs[session] = run, event
                    pictures |= stage.previews(event)
                    place = (number if parts else 0, len(parts) + 1)
                    value = stage.waiting(event, roles, pictures, *place)
                    value |= {"run": run, "strip": strip, "links": count}
                    yield value, gr.skip(), *buttons
                    buttons = (gr.skip(), gr.skip())

    def keep(self, result: Result) -> dict:
        """A link of the strip, remembered."""
        self.links[result.config] = made = stage.link(result)
        while len(self.links) > self.LINKS:
            self.links.popitem(last=False)
        return made

    def stop(self, request: gr.Request):
        """What the stage says after Stop; the work itself ends with its generator, which Gradio closes."""
        run, progress = self.runs.get(request.session_hash, (None, None))
        return stage.stopped(progress) | {"run": run}, *IDLE

    def read(self, *values: Any) -> dict:
        """Notices on the text while it is being written, silent until the model is there; on a lent GPU also what
        a run reserves."""
        try:
            config = wanted(self.form, *values)
            found = stage.notices(self.engine.words(config))
        except SpfError:
            return {"notices": []}  # half-written; Generate will say what is missing
        if on_zero_gpu():
            found.append(stage.notice("quota", "info", s=self.engine.seconds(config)))
        return {"notices": found}


def prefixes(config: GenerateConfig) -> list[GenerateConfig]:
    """The shorter chains on the way to a comparison of several targets: the first, the first two, and so on.

    With one adapter for each target, a prefix uses those of its own targets.
    """
    names = config.adapter.split(JOIN) if config.adapter else []
    own = len(names) == len(config.targets)

    def prefix(k: int) -> GenerateConfig:
        adapter = JOIN.join(names[:k]) if own else config.adapter
        return replace(config, targets=config.targets[:k], adapter=adapter)

    return [prefix(k) for k in range(1, len(config.targets))]
