"""A fine-tuning job as the page shows it: where it stands, its losses and pictures, and what can be
done with it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from spf.errors import placeless
from spf.jobs import ACTIVE, ENDED, Jobs, Status
from spf.settings import FinetuneConfig

from .components import own, webp
from .gpu import on_space
from .refusals import retold
from .texts import both, label

TICK = 1.0
"""Seconds between two looks at a job that is at work."""


class Watch:
    """The view of a job, its buttons, and the clock that keeps them true.

    start, pause, stop: buttons that lie elsewhere on the tab.
    """

    def __init__(self, jobs: Jobs, buttons: list[gr.Button], allowed: bool) -> None:
        self.jobs, self.allowed = jobs, allowed
        self.view = own("job", {"phase": "none", "message": both("job.none")})
        with gr.Row(elem_classes="spf-run"):
            self.again = gr.Button(
                label("finetune.resume"), visible=False, elem_id="ft-resume", min_width=120
            )
            self.use = gr.Button(
                label("finetune.use"),
                variant="primary",
                visible=False,
                elem_id="ft-use",
                min_width=160,
            )
            self.get = gr.DownloadButton(
                label("finetune.download"), visible=False, elem_id="ft-download", min_width=160
            )
            self.lora = gr.DownloadButton(
                label("finetune.lora"), visible=False, elem_id="ft-lora", min_width=160
            )
        self.clock = gr.Timer(TICK, active=False)
        self.name = gr.State("")
        self.outputs = [
            self.view,
            self.name,
            self.clock,
            *buttons,
            self.again,
            self.use,
            self.get,
            self.lora,
        ]

    def state(self, job: str | None) -> list:
        """Values of `outputs`: everything that depends on the job."""
        if not job:
            return [gr.skip()] * len(self.outputs)
        status = self.jobs.status(job)
        phase, done = status.phase, status.phase == "done"
        active = phase in ACTIVE
        return [
            payload(self.jobs, status),
            job,
            gr.Timer(active=active),
            gr.update(interactive=self.allowed and not active),
            gr.update(interactive=phase in ("starting", "running")),
            gr.update(interactive=active and phase != "stopping"),
            gr.update(visible=phase in ("paused", "pausing", *ENDED)),
            gr.update(visible=done),
            gr.update(visible=done, value=status.adapter or None),
            gr.update(visible=done and bool(status.lora), value=status.lora or None),
        ]

    def latest(self) -> list:
        """The job at work, else the last one."""
        return self.state(self.jobs.latest())


def payload(jobs: Jobs, status: Status) -> dict[str, Any]:
    """A job as static/job.js shows it."""
    return {
        "name": status.name,
        "method": status.request.get("method", FinetuneConfig.method),
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
        "log": [placeless(line) for line in jobs.log(status.name)]
        if status.phase == "failed" and not on_space()
        else [],
    }


def sentence(status: Status) -> dict[str, str]:
    """Where the job stands, in words; a failure is never called anything else."""
    if status.phase in ("failed", "interrupted"):
        kept = both("job.kept", k=status.kept) if status.kept else both("job.nothing")
        told = {"k": status.step, "n": status.steps, "why": retold(status.message), "kept": kept}
        return both(f"job.{status.phase}", **told)
    if status.phase == "paused" and status.message:
        return retold(status.message)  # of the job itself, which says what it lacks
    if status.phase == "running" and not status.step:
        return both("job.preparing")
    if status.phase == "running":
        left = both("status.left", s=max(1, round(status.left))) if status.left else ""
        return both("job.running", k=status.step, n=status.steps, left=left)
    return both(f"job.{status.phase}", k=status.step, n=status.steps)


@lru_cache(64)
def _picture(path: Path, _changed: float) -> str:
    return webp(np.asarray(Image.open(path).convert("RGB")))
