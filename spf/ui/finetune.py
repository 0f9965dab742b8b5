"""The Fine-tune tab: choose what to teach, from a tailored set or one's own pictures, watch the job, try the result."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from spf import userdata
from spf.engine import Engine
from spf.errors import BadInput, SpfError
from spf.files import FORMATS
from spf.jobs import ACTIVE, Jobs, Status
from spf.portraits.description import TARGETS
from spf.portraits.tailored import SIZE

from .compare import adapters
from .components import own, webp
from .texts import both, label, same


class Preset(NamedTuple):
    """Lengths of a run: training steps, pictures of the tailored set, portraits that SPF has the original model draw."""

    steps: int
    images: int
    own: int


PRESETS = {"taste": Preset(80, 48, 16), "standard": Preset(400, SIZE, 64)}
PARTS: dict[str, dict[str, Any]] = {
    "text_consistent": {"text_consistent": 0.0},
    "fine_grained": {"fine_grained": 0.0},
    "control": {"complement": "none"},
    "enhanced": {"enhanced": 0.0},
    "output": {"output": 0.0},
    "keep": {"keep": 0.0},
    "seen": {"text": "caption"},
}
"""What leaves a part of the method out: each checkbox is one ablation."""
ORDER = ("spf", "naive", "lora", "adalora", "tokencompose", "purecc")
NEEDS_MASKS = ("tokencompose",)
"""Methods that learn from exact regions, which only drawn pictures have."""
ENDINGS = [ending for endings in FORMATS.values() for ending in endings]
SAMPLES = 6
TICK = 1.0
METHODS_FOLDER = Path(userdata.__file__).parents[1] / "methods"


def methods() -> list[str]:
    """The methods that can train, by the names of their files: importing them would bring torch before the page."""
    return [name for name in ORDER if (METHODS_FOLDER / f"{name}.py").is_file()]


def build(
    engine: Engine,
    jobs: Jobs,
    fields: Sequence[gr.components.Component],
    tabs: gr.Tabs,
    *,
    allowed: bool = True,
) -> tuple[Callable[[], list], list]:
    """Lays out the tab. fields: the inputs of Compare, where a finished adapter is tried.

    Returns what to do when a page is opened, and the outputs of that.
    """
    target_field, mode_field, replace_field, adapter_field = fields[1:5]
    with gr.Column(elem_classes="spf-grid"):
        with gr.Column(elem_classes=["spf-texts", "spf-panel"]):
            source = gr.Radio(
                [(label("source.ready"), "ready"), (label("source.own"), "own")],
                value="ready",
                label=label("finetune.source"),
                elem_id="ft-source",
            )
            sets = [(target.text, name) for name, target in TARGETS.items()]
            data = gr.Dropdown(
                sets,
                value="hat",
                label=label("finetune.data"),
                info=label("finetune.data.info"),
                elem_id="ft-data",
            )
            with gr.Column(visible=False, elem_id="ft-own", elem_classes="spf-upload") as mine:
                files = gr.File(
                    file_count="multiple",
                    file_types=[*ENDINGS, ".zip", *userdata.CAPTIONS, ".jsonl", ".csv"],
                    label=label("own.files"),
                    elem_id="ft-files",
                    height=150,
                )
                own_target = gr.Textbox(
                    label=label("own.target"),
                    info=label("own.target.info"),
                    max_lines=1,
                    elem_id="ft-target",
                )
                own_replace = gr.Textbox(
                    label=label("own.replace"),
                    info=label("own.replace.info"),
                    max_lines=1,
                    elem_id="ft-replace",
                )
                look = gr.Button(label("own.check"), elem_id="ft-check", interactive=allowed)
            method = gr.Radio(
                [(label(f"method.{name}"), name) for name in methods()],
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
                10,
                2000,
                value=PRESETS["taste"].steps,
                step=10,
                label=label("finetune.steps"),
                elem_id="ft-steps",
            )
            with gr.Accordion(label("finetune.more"), open=False, elem_id="ft-more"):
                rate = gr.Textbox(
                    "",
                    label=label("finetune.rate"),
                    info=label("finetune.rate.info"),
                    max_lines=1,
                    elem_id="ft-rate",
                )
                extra = gr.Textbox(
                    "",
                    label=label("finetune.set"),
                    info=label("finetune.set.info"),
                    lines=2,
                    elem_id="ft-set",
                )
            with gr.Row(elem_classes="spf-run"):
                go = gr.Button(
                    label("finetune.start"),
                    variant="primary",
                    interactive=allowed,
                    elem_id="ft-start",
                    scale=3,
                    min_width=96,
                )
                wait = gr.Button(
                    label("finetune.pause"),
                    interactive=False,
                    elem_id="ft-pause",
                    scale=1,
                    min_width=72,
                )
                halt = gr.Button(
                    label("finetune.stop"),
                    interactive=False,
                    elem_id="ft-stop",
                    scale=1,
                    min_width=72,
                )
            hints = own(
                "hints", {"notices": [] if allowed else [_note("notice.space")]}, name="ft-hints"
            )
        with gr.Column(elem_classes="spf-stage-column"):
            view = own("job", {"phase": "none", "message": both("job.none")})
            with gr.Row(elem_classes="spf-run"):
                again = gr.Button(
                    label("finetune.resume"), visible=False, elem_id="ft-resume", min_width=120
                )
                use = gr.Button(
                    label("finetune.use"),
                    variant="primary",
                    visible=False,
                    elem_id="ft-use",
                    min_width=160,
                )
                get = gr.DownloadButton(
                    label("finetune.download"), visible=False, elem_id="ft-download", min_width=160
                )
                lora = gr.DownloadButton(
                    label("finetune.lora"), visible=False, elem_id="ft-lora", min_width=160
                )
            checked = own("check", {})
    clock = gr.Timer(TICK, active=False)
    name = gr.State("")
    shown = [view, name, clock, go, wait, halt, again, use, get, lora]
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
            gr.update(interactive=status.phase in ("starting", "running")),
            gr.update(interactive=active and status.phase != "stopping"),
            gr.update(visible=status.phase in ("paused", "pausing", "stopped", "failed")),
            gr.update(visible=done),
            gr.update(visible=done, value=status.adapter or None),
            gr.update(visible=done and bool(status.lora), value=status.lora or None),
        ]

    def wish(target: str, replace: str) -> userdata.Wish:
        mode = "replace" if (replace or "").strip() else "append"
        return userdata.Wish(
            target=target or "", mode=mode, replace=replace or "", name=short_name(target or "")
        )

    def inbox() -> Path:
        return jobs.root.parent / "data"

    def check(files, target, replace):
        """Reads what was uploaded and says what is wrong with it, before anything is trained."""
        if not files:
            return {}, {"notices": [_note("own.nothing")]}
        folder = inbox() / f".look-{secrets.token_hex(4)}"
        try:
            report = userdata.check(
                userdata.unpacked(files, folder), wish(target, replace), lacking
            )
            return told(report), {"notices": []}
        except SpfError as error:
            return {}, {"notices": [_note(text=same(str(error)))]}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def lacking(text: str) -> tuple[str, ...]:
        """Words that the model does not know; none while it loads."""
        from spf.config import GenerateConfig

        return engine.words(GenerateConfig(text)).unknown

    def stored(files, target, replace) -> str:
        """The folder of the uploaded set, checked and kept for this and later runs."""
        if not files:
            raise BadInput("images is empty but must be 4 to 500 pictures with captions.")
        chosen, token = wish(target, replace), secrets.token_hex(3)
        folder = inbox() / f".look-{token}"
        try:
            place = inbox() / f"{chosen.name}-{token}"
            return str(userdata.store(userdata.unpacked(files, folder), chosen, place).resolve())
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def start(source, data, files, target, replace, method, parts, preset, steps, rate, extra):
        try:
            if source == "own" and method in NEEDS_MASKS:
                raise BadInput(
                    f"method is {method} but must be one that needs no exact masks, for pictures of one's own."
                )
            lengths = PRESETS[preset]
            settings = chosen_settings(method, parts or [], rate, extra)
            if method == "spf":
                settings = {"own_count": lengths.own} | settings
            if source == "own":
                data = stored(files, target, replace)
            request = {
                "data": data,
                "method": method,
                "steps": steps,
                "images": lengths.images,
                "settings": settings,
            }
            return [*state(jobs.start(request | {"model": engine.model})), {"notices": []}]
        except SpfError as error:
            return [*[gr.skip()] * len(shown), {"notices": [_note(text=same(str(error)))]}]

    def pause(job):
        if job:
            jobs.pause(job)
        return state(job)

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
        """What a page that was just opened shows: the set that is chosen; the job at work, else the last one."""
        return [preview(data.value), *state(jobs.active() or next(iter(jobs.names()), None))]

    def try_it(job):
        """Puts the finished adapter and its target into Compare."""
        from spf.finetune import target_of

        target = target_of(jobs.status(job).request["data"])
        return (
            target.text,
            target.mode,
            target.replace,
            gr.update(choices=adapters(engine), value=job),
            gr.Tabs(selected="compare"),
        )

    def switch(source, data):
        ready = source == "ready"
        return (
            gr.update(visible=ready),
            gr.update(visible=not ready),
            preview(data) if ready else {},
        )

    preset.change(lambda chosen: PRESETS[chosen].steps, preset, steps, **quick)
    method.change(lambda chosen: gr.update(visible=chosen == "spf"), method, parts, **quick)
    source.change(switch, [source, data], [data, mine, checked], **quick)
    data.change(preview, data, checked, **quick)
    if allowed:
        looking = {
            "queue": True,
            "show_progress": "hidden",
            "api_visibility": "private",
            "concurrency_limit": 2,
        }
        gr.on(
            [look.click, files.upload],
            check,
            [files, own_target, own_replace],
            [checked, hints],
            **looking,
        )
        inputs = [
            source,
            data,
            files,
            own_target,
            own_replace,
            method,
            parts,
            preset,
            steps,
            rate,
            extra,
        ]
        go.click(start, inputs, [*shown, hints], **looking)
    wait.click(pause, name, shown, **quick)
    halt.click(stop, name, shown, **quick)
    again.click(resume, name, [*shown, hints], **quick)
    use.click(try_it, name, [target_field, mode_field, replace_field, adapter_field, tabs], **quick)
    clock.tick(tick, name, [*shown, adapter_field], **quick)
    return latest, [checked, *shown]


def chosen_settings(method: str, parts: Sequence[str], rate: str, extra: str) -> dict[str, Any]:
    """Settings of a run from the switches and the two fields for experts. Raises BadInput."""
    from spf.methods import parse_settings

    settings = {
        key: value
        for part, change in PARTS.items()
        if method == "spf" and part not in parts
        for key, value in change.items()
    }
    pairs = [pair.strip() for pair in re.split(r"[\n,;]", extra or "") if pair.strip()]
    if (rate or "").strip():
        pairs.append(f"learning_rate={rate.strip()}")
    return settings | (parse_settings(method, pairs) if pairs else {})


def short_name(target: str) -> str:
    """A name for the set of a target: "a straw hat" is "strawhat"."""
    words = re.sub(r"^(an?|the)\s+", "", target.lower().strip())
    return re.sub(r"[^a-z0-9]", "", words)[:24] or "mine"


@lru_cache
def preview(name: str) -> dict[str, Any]:
    """A ready set as static/check.js shows it: some of its pictures, and what they all share without saying so."""
    from spf.portraits.dataset import draw
    from spf.portraits.tailored import BIAS, tailored_set

    items = tailored_set(name, SAMPLES)
    shared = ", ".join(
        f"{attribute.replace('_', ' ')} {value}" for attribute, value in BIAS[name].items()
    )
    drawn, _ = draw([item.portrait for item in items])
    return {
        "findings": [{"level": "warning", "text": both("set.bias", shared=shared)}],
        "items": [
            {"src": webp(image), "base": "", "complete": item.complete_text}
            for image, item in zip(drawn, items, strict=True)
        ],
        "more": SIZE - len(items),
    }


def told(report: userdata.Report) -> dict[str, Any]:
    """A check report as static/check.js shows it."""
    shown = report.items[:SAMPLES]
    return {
        "findings": [
            {"level": f.level, "text": both(f"check.{f.key}", **f.values)} for f in report.findings
        ],
        "items": [
            {"src": webp(item.pixels(128)), "base": item.base_text, "complete": item.complete_text}
            for item in shown
        ],
        "more": len(report.items) - len(shown),
    }


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
