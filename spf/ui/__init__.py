"""The page: one file a tab, the components they share, and every text in one table a language.

Only this folder knows Gradio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import gradio as gr

from spf.config import GenerateConfig
from spf.engine import Engine
from spf.jobs import Jobs
from spf.registry import TABS
from spf.votes import Votes

from . import api
from .boundary import Guarded
from .components import QUICK, own
from .examples import Example
from .form import Form
from .gpu import source
from .look import launch_options
from .page import Page
from .sturdy import strengthen
from .texts import both, label

__all__ = ["build", "launch_options"]
PLACES = (Path(__file__).resolve().parents[2] / "assets" / "results", Path("runs"))
"""Where results are looked for: shipped ones first, then those of this machine."""


def build(
    engine: Engine,
    examples: Mapping[str, Example],
    jobs: Jobs | None = None,
    votes: Votes | None = None,
    places: Iterable[str | Path] | None = None,
    config: type[GenerateConfig] = GenerateConfig,
) -> gr.Blocks:
    """The whole page around one engine; the first example is on it before anything is computed.

    votes: where blind votes are kept. places: folders with evaluation results, the shipped and
    one's own by default.
    config: the settings of a drawing.
    """
    with Guarded(
        title="SPF-Portrait Studio",
        analytics_enabled=False,
        delete_cache=(600, 3600),
        fill_width=True,
    ) as blocks:
        top = own("chrome", _top("loading"))
        trace = own("trace")
        with gr.Tabs(selected="compare", elem_id="tabs", overflow_behavior="wrap") as tabs:
            page = Page(
                engine,
                examples,
                Form(config),
                jobs or Jobs(),
                votes or Votes("runs/votes.sqlite"),
                tuple(map(Path, places or PLACES)),
                blocks,
                trace,
                tabs,
            )
            _tabs(page)
        api.build(page)
        _greet(page, top)
    blocks.queue(max_size=20, api_open=False, default_concurrency_limit=1)
    strengthen(blocks)
    return blocks


def _tabs(page: Page) -> None:
    """Every tab that is offered here; one that has no title of its own has that of its file."""
    for name in TABS:
        module = TABS.load(name)
        if getattr(module, "offered", lambda: True)():
            title = label(f"tab.{name}", name.replace("_", " ").capitalize())
            with gr.Tab(title, id=name) as tab:
                module.build(page, tab)


def _top(state: str) -> dict:
    """The top line as static/chrome.js shows it."""
    return {"state": state, "text": both(f"engine.{state}"), "code": source()}


def _greet(page: Page, top: gr.HTML) -> None:
    """What happens when somebody opens the page."""

    def state():
        """Tells the top line when the model is there."""
        yield _top("loading")
        page.engine.wait()
        yield _top(page.engine.state)

    waiting = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    page.blocks.load(state, None, top, **waiting)
    top.tour(lambda: gr.Tabs(selected="tour"), None, page.tabs, **QUICK)
    if page.first:
        page.blocks.load(lambda: page.first.inside, None, page.trace, **QUICK)
