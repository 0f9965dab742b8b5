"""What the tabs of one page share, and how they are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from spf.config import AUTO, GenerateConfig
from spf.engine import Engine
from spf.jobs import Jobs
from spf.votes import Votes

from .components import own
from .examples import Example
from .form import Form
from .texts import label

FIRST = {"base": "a photo of a young woman", "targets": ["a hat"], "adapter": AUTO}
"""The settings of a page without examples."""


@dataclass
class Page:
    """One page. fields: the inputs of Compare by setting, which other tabs fill; chain: its box for
    several targets.

    trace: holds the maps of the last run. hints: notices beside the fields. blocks, tabs: the page
    and its tabs.
    """

    engine: Engine
    examples: Mapping[str, Example]
    form: Form
    jobs: Jobs
    votes: Votes
    places: tuple[Path, ...]
    blocks: gr.Blocks
    trace: gr.HTML
    tabs: gr.Tabs
    fields: dict[str, gr.components.Component] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = inputs_of(self.form, self.first.request if self.first else FIRST, self.engine)
        for name, value in start.items():
            self.fields[name] = self.form.widget(
                name, value, **self._special(name, start), render=False
            )
        self.hints = own("hints", render=False)
        self.chain = gr.Checkbox(
            False,
            label=label("field.chain"),
            info=label("field.chain.info"),
            elem_id="chain",
            render=False,
        )

    def _special(self, name: str, start: Mapping[str, Any]) -> dict[str, Any]:
        """What a setting cannot say about its widget by itself."""
        return {
            "base": {"lines": 2, "max_lines": 4},
            "targets": {"max_lines": 2},
            "replace": {"visible": start["mode"] == "replace"},
            "adapter": {"choices": adapters(self.engine)},
            "beside": {"choices": rivals(self.engine)},
        }.get(name, {})

    @property
    def first(self) -> Example | None:
        """The example that stands on the page when it comes."""
        return next(iter(self.examples.values()), None)

    @property
    def inputs(self) -> list[gr.components.Component]:
        return list(self.fields.values())


def adapters(engine: Engine) -> list[tuple[Any, str]]:
    """Choices of the tuned model: automatic, none, and every adapter by its name."""
    return [
        (label("adapter.auto"), AUTO),
        (label("adapter.none"), ""),
        *((name, name) for name in engine.adapters()),
    ]


def rivals(engine: Engine) -> list[tuple[Any, str]]:
    """Choices of what is drawn beside the tuned model: the naive counterpart, and every adapter
    there is.
    """
    return [(label("beside.auto"), AUTO), *((name, name) for name in engine.files())]


def inputs_of(form: Form, request: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """The fields of the page for the settings of a link, a picture or an example. Raises
    BadInput.
    """
    config = form.config.from_dict(request)
    automatic = config.adapter in (AUTO, engine.pick(config.targets))
    return form.shown(config) | {"adapter": AUTO if automatic else config.adapter}


def wanted(form: Form, *values: Any, **named: Any) -> GenerateConfig:
    """The fields of the page as checked settings; words to replace count only where they are
    replaced.
    """
    found = form.start() | dict(zip(form.settings, values, strict=False))
    found = {form.outside(name): value for name, value in found.items()} | named
    if found["mode"] != "replace":
        found["replace"] = ""
    return form.read(**found)
