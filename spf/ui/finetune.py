"""The Fine-tune tab: choose a tailored set and a method, watch the job, try the result in Compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from spf.engine import Engine
from spf.errors import SpfError
from spf.jobs import ACTIVE, Jobs, Status
from spf.portraits.description import TARGETS

from .compare import adapters
from .components import own, webp
from .texts import both, label, same

PRESETS = {"taste": 80, "standard": 600}
PARTS: dict[str, dict[str, Any]] = {
    "text_consistent": {"text_consistent": 0.0},
    "fine_grained": {"fine_grained": 0.0},
    "control": {"complement": "none"},
    "enhanced": {"enhanced": 0.0},
    "output": {"output": 0.0},
    "keep": {"keep": 0.0},
}
"""What leaves a part of the method out: each checkbox is one ablation."""
METHODS = ("spf", "naive")
TICK = 1.0


def build(
    engine: Engine, jobs: Jobs, fields: Sequence[gr.components.Component], tabs: gr.Tabs, *, allowed: bool = True
) -> tuple[Callable[[], list], list]:
    """Lays out the tab. fields: the inputs of Compare, where a finished adapter is tried.

    Returns what to do when a page is opened, and the outputs of that.
    """
    target_field, mode_field, replace_field, adapter_field = fields[1:5]
    with gr.Column(elem_classes="spf-grid"):
        with gr.Column(elem_classes=["spf-texts", "spf-panel"]):
            sets = [(target.text, name) for name, target in TARGETS.items()]
            data = gr.Dropdown(
                sets, value="hat", label=label("finetune.data"), info=label("finetune.data.info"), elem_id="ft-data"
            )
            method = gr.Radio(
                [(label(f"method.{name}"), name) for name in METHODS],
                value="spf",
                label=label("finetune.method"),
                elem_id="ft-method",
            )
            parts = gr.CheckboxGroup(
                [(label(f"part.{name}"), name) for name in PARTS],
                value=list(PARTS),
                label=label("finetune.parts"),
                elem_id="ft-parts",
            )
            preset = gr.Radio(
                [(label(f"preset.{name}"), name) for name in PRESETS],
                value="taste",
                label=label("finetune.preset"),
                elem_id="ft-preset",
            )
            steps = gr.Slider(
                10, 2000, value=PRESETS["taste"], step=10, label=label("finetune.steps"), elem_id="ft-steps"
            )
            with gr.Row(elem_classes="spf-run"):
                go = gr.Button(
                    label("finetune.start"),
                    variant="primary",
                    interactive=allowed,
                    elem_id="ft-start",
                    scale=3,
                    min_width=120,
                )
                halt = gr.Button(label("finetune.stop"), interactive=False, elem_id="ft-stop", scale=1, min_width=80)
            hints = own("hints", {"notices": [] if allowed else [_note("notice.space")]}, name="ft-hints")
        with gr.Column(elem_classes="spf-stage-column"):
            view = own("job", {"phase": "none", "message": both("job.none")})
            with gr.Row(elem_classes="spf-run"):
                again = gr.Button(label("finetune.resume"), visible=False, elem_id="ft-resume", min_width=120)
                use = gr.Button(
                    label("finetune.use"), variant="primary", visible=False, elem_id="ft-use", min_width=160
                )
                get = gr.DownloadButton(label("finetune.download"), visible=False, elem_id="ft-download", min_width=160)
    clock = gr.Timer(TICK, active=False)
    name = gr.State("")
    shown = [view, name, clock, go, halt, again, use, get]
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def state(job: str | None) -> list:
        """Everything that depends on the job."""
        if not job:
            return [gr.skip()] * len(shown)
        status = jobs.status(job)
        active, done = status.phase in ACTIVE, status.phase == "done"
        return [
            payload(jobs, status),
            job,
            gr.Timer(active=active),
            gr.update(interactive=allowed and not active),
            gr.update(interactive=active),
            gr.update(visible=status.phase in ("stopped", "failed")),
            gr.update(visible=done),
            gr.update(visible=done, value=status.adapter or None),
        ]

    def start(data, method, parts, steps):
        left_out = {
            key: value for part, change in PARTS.items() if part not in (parts or []) for key, value in change.items()
        }
        request = {
            "data": data,
            "method": method,
            "steps": steps,
            "settings": left_out if method == "spf" else {},
            "model": engine.model,
        }
        try:
            return [*state(jobs.start(request)), {"notices": []}]
        except SpfError as error:
            return [*[gr.skip()] * len(shown), {"notices": [_note(text=same(str(error)))]}]

    def stop(job):
        if job:
            jobs.stop(job)
        return state(job)

    def resume(job):
        try:
            jobs.resume(job)
            return [*state(job), {"notices": []}]
        except SpfError as error:
            return [*state(job), {"notices": [_note(text=same(str(error)))]}]

    def tick(job):
        """Once a second while a job is at work; when it is done, Compare can choose its adapter."""
        values = state(job)
        finished = job and jobs.status(job).phase == "done"
        return [*values, gr.update(choices=adapters(engine)) if finished else gr.skip()]

    def latest():
        """What a page that was just opened shows: the job at work, else the last one."""
        return state(jobs.active() or next(iter(jobs.names()), None))

    def try_it(job):
        """Puts the finished adapter and its target into Compare."""
        target = TARGETS[jobs.status(job).request["data"]]
        return (
            target.text,
            target.mode,
            target.replace,
            gr.update(choices=adapters(engine), value=job),
            gr.Tabs(selected="compare"),
        )

    preset.change(lambda chosen: PRESETS[chosen], preset, steps, **quick)
    method.change(lambda chosen: gr.update(visible=chosen == "spf"), method, parts, **quick)
    if allowed:
        go.click(start, [data, method, parts, steps], [*shown, hints], **quick)
    halt.click(stop, name, shown, **quick)
    again.click(resume, name, [*shown, hints], **quick)
    use.click(try_it, name, [target_field, mode_field, replace_field, adapter_field, tabs], **quick)
    clock.tick(tick, name, [*shown, adapter_field], **quick)
    return latest, shown


def payload(jobs: Jobs, status: Status) -> dict[str, Any]:
    """A job as static/job.js shows it."""
    return {
        "name": status.name,
        "phase": status.phase,
        "step": status.step,
        "steps": status.steps,
        "message": sentence(status),
        "looks": status.looks,
        "history": jobs.history(status.name),
        "pictures": {
            kind: [_picture(path, path.stat().st_mtime) for path in paths]
            for kind, paths in jobs.pictures(status.name).items()
        },
        "log": jobs.log(status.name) if status.phase == "failed" else [],
    }


def sentence(status: Status) -> dict[str, str]:
    """Where the job stands, in words; a failure is never called anything else."""
    if status.phase == "failed":
        return both("job.failed", k=status.step, n=status.steps, why=status.message)
    if status.phase == "running":
        told = both("status.left", s=max(1, round(status.left))) if status.left else ""
        return both("job.running", k=status.step, n=status.steps, left=told)
    return both(f"job.{status.phase}", k=status.step, n=status.steps)


def _note(key: str = "", text: dict | None = None) -> dict:
    return {"kind": "warning", "text": text or both(key)}


@lru_cache(64)
def _picture(path: Path, _changed: float) -> str:
    return webp(np.asarray(Image.open(path).convert("RGB")))
