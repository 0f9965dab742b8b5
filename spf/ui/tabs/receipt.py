"""Receipt: what an adapter adds and what it drags along, as one picture that goes with it when it
is published.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from spf.answers import Paper, Progress
from spf.engine import Engine

from ..boundary import sentence
from ..components import HEAVY, QUICK, own
from ..gpu import on_gpu
from ..page import Page
from ..runs import BUSY, IDLE
from ..texts import both, label

ORDER = 3.5
TEXTS, MOST_TEXTS = 4, 32
"""Base texts of a receipt at first, and at most on the page."""


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab and connects it."""
    with gr.Column(elem_classes="spf-grid"):
        with gr.Column(elem_classes=["spf-texts", "spf-panel"]):
            name = gr.Dropdown(
                list(page.engine.files()),
                label=label("receipt.adapter"),
                info=label("receipt.adapter.info"),
                elem_id="receipt-adapter",
            )
            texts = gr.Slider(
                2,
                MOST_TEXTS,
                value=TEXTS,
                step=1,
                label=label("receipt.texts"),
                elem_id="receipt-texts",
            )
            with gr.Row(elem_classes="spf-run"):
                go = gr.Button(
                    label("receipt.go"), variant="primary", elem_id="receipt-go", scale=3
                )
                halt = gr.Button(
                    label("stop"),
                    interactive=False,
                    elem_id="receipt-stop",
                    scale=1,
                    min_width=80,
                )
        with gr.Column(elem_classes="spf-stage-column"):
            view = own("receipt", {})
    counter = Counter(page.engine)
    run = go.click(lambda: BUSY, None, [go, halt], **QUICK).then(
        counter.draw, [name, texts], view, **HEAVY
    )
    run.then(lambda: IDLE, None, [go, halt], **QUICK)
    stopped = {"phase": "stopped"}
    halt.click(lambda: (stopped, *IDLE), None, [view, go, halt], cancels=[run], **QUICK)
    tab.select(
        lambda chosen: gr.update(
            choices=(there := list(page.engine.files())), value=_one(chosen, there)
        ),
        name,
        name,
        **QUICK,
    )


class Counter:
    """Where receipts are made."""

    def __init__(self, engine: Engine) -> None:
        def make(name: str, texts: int) -> Iterator[Progress | Paper]:
            yield from engine.receipt(name, texts)

        self.make = on_gpu(make, lambda name, texts: int(min(60, 10 + 3 * texts)))

    def draw(self, name: str | None, texts: float) -> Iterator[dict[str, Any]]:
        """Values of static/receipt.js up to the finished receipt."""
        try:
            with closing(self.make(name or "", int(texts))) as events:
                for event in events:
                    yield shown(event)
        except Exception as error:
            yield {"phase": "failed", "status": sentence(error)}


def shown(event: Progress | Paper) -> dict[str, Any]:
    """Progress or a finished receipt as static/receipt.js shows it."""
    if isinstance(event, Paper):
        picture = base64.b64encode(event.picture).decode()
        done = both("receipt.done", reader=event.found["reader"])
        name = event.found["adapter"]
        told = both("receipt.other", name=name, rest=done)
        return {
            "phase": "done",
            "name": name,
            "picture": f"data:image/png;base64,{picture}",
            "data": json.dumps(event.found, ensure_ascii=False, indent=1),
            "status": told if event.found.get("other_weights") else done,
        }
    if event.what == "loading":
        return {"phase": "running", "status": both("status.loading")}
    left = both("status.left", s=round(event.seconds_left)) if event.seconds_left else ""
    told = both("receipt.step", k=event.step, n=event.steps, left=left)
    return {"phase": "running", "status": told, "progress": event.step / max(1, event.steps)}


def _one(chosen: str | None, there: list[str]) -> str | None:
    return chosen if chosen in there else next(iter(there), None)
