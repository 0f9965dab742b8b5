"""The page: one file per tab, the components they share, and every text in one table. Only this folder knows Gradio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import gradio as gr

from spf.engine import Engine
from spf.jobs import Jobs
from spf.votes import Votes

from . import api, compare, finetune, results, tour, vote
from .components import own
from .examples import Example
from .gpu import may_train
from .look import launch_options
from .texts import both, label

__all__ = ["build", "launch_options"]


def build(
    engine: Engine,
    examples: Mapping[str, Example],
    jobs: Jobs | None = None,
    votes: Votes | None = None,
    places: Iterable[str | Path] | None = None,
) -> gr.Blocks:
    """The whole page around one engine; the first example is on it before anything is computed.

    votes: where blind votes are kept. places: folders with evaluation results, the shipped and one's own by default.
    """
    first = next(iter(examples.values()), None)
    jobs, votes, places = (
        jobs or Jobs(),
        votes or Votes("runs/votes.sqlite"),
        tuple(places or results.PLACES),
    )
    with gr.Blocks(
        title="SPF-Portrait Studio",
        analytics_enabled=False,
        delete_cache=(600, 3600),
        fill_width=True,
    ) as page:
        top = own("chrome", {"state": "loading", "text": both("engine.loading")})
        trace = own("trace", first.inside if first else None)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(label("tab.compare"), id="compare"):
                fields = compare.build(engine, examples, trace, tabs)
            with gr.Tab(label("tab.inside"), id="inside"):
                own("inside")
            with gr.Tab(label("tab.finetune"), id="finetune"):
                latest, job = finetune.build(engine, jobs, fields[1:-1], tabs, allowed=may_train())
            with gr.Tab(label("tab.results"), id="results"):
                results.build(engine, fields[1:-1], tabs, places)
            if vote.may_vote():
                with gr.Tab(label("tab.vote"), id="vote"):
                    vote.build(engine, examples, votes)
            with gr.Tab(label("tab.tour"), id="tour"):
                guide = own("tour", {"steps": tour.steps(examples)})
                guide.finish(
                    lambda: gr.Tabs(selected="compare"),
                    None,
                    tabs,
                    queue=False,
                    show_progress="hidden",
                    api_visibility="private",
                )
        api.build(engine, jobs if may_train() else None, places)

        def state():
            """Tells the top line when the model is there."""
            yield {"state": "loading", "text": both("engine.loading")}
            engine.wait()
            yield {"state": engine.state, "text": both(f"engine.{engine.state}")}

        def restore(request: gr.Request):
            """Fills the fields from a shared link."""
            asked = request.query_params
            return [
                *compare.linked(asked, engine),
                True if asked.get("chain") == "1" else gr.skip(),
            ]

        page.load(
            state,
            None,
            top,
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        page.load(latest, None, job, show_progress="hidden", queue=False, api_visibility="private")
        page.load(
            restore, None, fields, show_progress="hidden", queue=False, api_visibility="private"
        )
    return page.queue(max_size=20, api_open=False, default_concurrency_limit=1)
