"""Fine-tune: choose what to teach, from a ready set or one's own pictures, watch the job, try the
result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import gradio as gr

from spf.config import AUTO, JOIN
from spf.errors import BadInput, SpfError
from spf.jobs import Jobs, SlicedJobs
from spf.portraits.description import TARGETS
from spf.portraits.tailored import SIZE, tailored_set
from spf.registry import METHODS
from spf.settings import FinetuneConfig
from spf.targets import known_targets, placed
from spf.userdata import target_of
from spf.words import parted

from ..components import QUICK, own, webp
from ..gpu import may_train
from ..page import Page, adapters
from ..refusals import worded
from ..texts import both, label
from ..upload import SAMPLES, TITLES, Upload, note
from ..verdict import asked_for, attribute, listed, value_of
from ..watch import Watch

ORDER = 3


class Preset(NamedTuple):
    """Lengths of a run: training steps, pictures of the tailored set, portraits that SPF has the
    original model draw.
    """

    steps: int
    images: int
    own: int


PRESETS = {"taste": Preset(80, 48, 16), "standard": Preset(400, SIZE, 64)}
DRAW = "target => window.SPF.press(() => window.SPF.field('target')?.value === target)"
"""Presses Generate as soon as the fields hold what is to be drawn."""
FEW = 60
"""Steps below which a run seldom teaches a target."""
LONGER = {"queue": True, "concurrency_limit": 2}
"""How an event is connected that reads pictures."""


class Chosen(NamedTuple):
    """The fields of a run."""

    source: gr.Radio
    data: gr.Dropdown
    upload: Upload
    method: gr.Radio
    parts: dict[str, gr.CheckboxGroup]
    preset: gr.Radio
    steps: gr.Slider
    rate: gr.Textbox
    extra: gr.Textbox

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What Start is told, in the order of `request`."""
        lengths = [self.preset, self.steps, self.rate, self.extra]
        return [self.source, self.data, *self.upload.inputs, self.method, *lengths]


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab and connects it."""
    allowed = may_train()
    with gr.Column(elem_classes="spf-grid"):
        with gr.Column(elem_classes=["spf-texts", "spf-panel"]):
            chosen = Chosen(*_data(page, allowed), *_method(), *_lengths(), *_more())
            buttons = _buttons(allowed)
            refused = {"notices": [] if allowed else [note("notice.space")]}
            hints = own("hints", refused, name="ft-hints")
        with gr.Column(elem_classes="spf-stage-column"):
            watch = Watch(page.jobs, buttons, allowed)
            checked = own("check", {})
    # a field of a tab that was never open tells its old value, so the set has a memory of its own
    shown = gr.State()
    _connect_fields(chosen, checked, shown)
    if allowed:
        _connect_start(page, chosen, watch, buttons[0], hints)
        _connect_check(chosen.upload, checked, hints)
        _connect_control(page, watch, buttons, hints)
    _connect_job(page, watch)
    chosen.steps.change(few_steps, chosen.steps, hints, **QUICK)
    if allowed:
        page.hints.teach(
            teach, None, [page.tabs, chosen.source, chosen.data, shown, chosen.preset], **QUICK
        )
    page.blocks.load(watch.latest, None, watch.outputs, **QUICK)
    page.blocks.load(lambda: [learnt(page.jobs)] * 2, None, [chosen.data, shown], **QUICK)
    tab.select(
        opened,
        [chosen.source, shown, page.fields["targets"]],
        [chosen.data, checked],
        **QUICK,
    )


# what one sees


def _data(page: Page, allowed: bool) -> tuple[gr.Radio, gr.Dropdown, Upload]:
    """A ready set, or pictures of one's own."""
    source = gr.Radio(
        [(label("source.ready"), "ready"), (label("source.own"), "own")],
        value="ready",
        label=label("finetune.source"),
        elem_id="ft-source",
    )
    data = gr.Dropdown(
        [(label(f"target.{name}", target.text), name) for name, target in TARGETS.items()],
        value=FinetuneConfig.data,
        label=label("finetune.data"),
        info=label("finetune.data.info"),
        elem_id="ft-data",
    )
    return source, data, Upload(page, allowed)


def _method() -> tuple[gr.Radio, dict[str, gr.CheckboxGroup]]:
    """The method, the usual one first, and for those that have parts a switch for each part."""
    usual = FinetuneConfig.method
    method = gr.Radio(
        [(label(f"method.{name}", name), name) for name in methods()],
        value=usual,
        label=label("finetune.method"),
        elem_id="ft-method",
    )
    parts = {
        name: gr.CheckboxGroup(
            [
                (label(f"part.{part}", part.replace("_", " ")), part)
                for part in entry.facts["PARTS"]
            ],
            value=list(entry.facts["PARTS"]),
            label=label("finetune.parts"),
            visible=name == usual,
            elem_id="ft-parts" if name == usual else f"ft-parts-{name}",
        )
        for name, entry in METHODS.items()
        if "PARTS" in entry.facts
    }
    return method, parts


def _lengths() -> tuple[gr.Radio, gr.Slider]:
    """How long a run is."""
    preset = gr.Radio(
        [(label(f"preset.{name}"), name) for name in PRESETS],
        value="taste",
        label=label("finetune.preset"),
        elem_id="ft-preset",
    )
    low, high, step = FinetuneConfig.settings()["steps"].span
    steps = gr.Slider(
        low,
        high,
        value=PRESETS["taste"].steps,
        step=step,
        label=label("finetune.steps"),
        elem_id="ft-steps",
    )
    return preset, steps


def _more() -> tuple[gr.Textbox, gr.Textbox]:
    """What experts set, in a fold."""
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
    return rate, extra


def _buttons(allowed: bool) -> list[gr.Button]:
    """Start, pause, stop."""
    with gr.Row(elem_classes="spf-run"):
        start = gr.Button(
            label("finetune.start"),
            variant="primary",
            interactive=allowed,
            elem_id="ft-start",
            scale=3,
            min_width=96,
        )
        others = [
            gr.Button(
                label(f"finetune.{name}"),
                interactive=False,
                elem_id=f"ft-{name}",
                scale=1,
                min_width=72,
            )
            for name in ("pause", "stop")
        ]
    return [start, *others]


def few_steps(steps: float) -> dict:
    """A warning for a run that is too short to teach a target."""
    few = int(steps) < FEW
    return {"notices": [note(text=both("notice.few_steps", n=FEW))] if few else []}


def teach(event: gr.EventData):
    """Opens the tab with the shortest run of one ready set."""
    if event.key not in TARGETS:
        return [gr.skip()] * 5
    return gr.Tabs(selected="finetune"), "ready", event.key, event.key, next(iter(PRESETS))


def learnt(jobs: Jobs) -> Any:
    """What the form offers to a page that opens: the ready set of the job that it shows."""
    job = jobs.latest()
    data = jobs.status(job).request.get("data") if job else None
    return data if data in TARGETS else gr.skip()


def opened(source: str, data: str | None, targets: str) -> tuple:
    """Ready set and its pictures for the tab that opens: the set that was chosen, else that of the
    target which stands in Compare."""
    if source != "ready":
        return gr.skip(), gr.skip()
    compared = [target.name for target in known_targets(parted(targets, JOIN))]
    name = data or next((name for name in compared if name in TARGETS), FinetuneConfig.data)
    return name, preview(name)


@lru_cache
def preview(name: str) -> dict[str, Any]:
    """A ready set as static/check.js shows it: some of its pictures, and what they all share
    without saying so.
    """
    from spf.portraits.dataset import draw

    items = tailored_set(name, SAMPLES)
    shared = [
        both("set.shared", what=attribute(key), value=value_of(key, value))
        for key, value in TARGETS[name].bias.items()
    ]
    drawn, _ = draw([item.portrait for item in items])
    return {
        "title": both("set.title", target=asked_for(TARGETS[name])),
        "findings": [{"level": "warning", "text": both("set.bias", shared=listed(shared))}],
        "items": [
            {"src": webp(image), "base": "", "complete": item.complete_text}
            for image, item in zip(drawn, items, strict=True)
        ],
        "more": SIZE - len(items),
    }


# what it does


def _connect_fields(chosen: Chosen, checked: gr.HTML, shown: gr.State) -> None:
    """What shows and hides with what is chosen."""

    def switch(source, data):
        ready = source == "ready"
        return (
            gr.update(visible=ready),
            gr.update(visible=not ready),
            preview(data) if ready else {},
        )

    def parts(method):
        return [gr.update(visible=method == name) for name in chosen.parts]

    chosen.source.change(
        switch, [chosen.source, chosen.data], [chosen.data, chosen.upload.column, checked], **QUICK
    )
    chosen.data.change(preview, chosen.data, checked, **QUICK)
    chosen.data.input(lambda data: data, chosen.data, shown, **QUICK)
    chosen.method.change(parts, chosen.method, list(chosen.parts.values()), **QUICK)
    chosen.preset.change(lambda name: PRESETS[name].steps, chosen.preset, chosen.steps, **QUICK)


def _connect_check(upload: Upload, checked: gr.HTML, hints: gr.HTML) -> None:
    shown = [checked, hints, upload.write]
    gr.on(
        [upload.look.click, upload.files.upload],
        lambda: False,
        None,
        upload.written,
        **QUICK,
    ).then(upload.check, upload.inputs, shown, **QUICK | LONGER)
    upload.write.click(lambda: True, None, upload.written, **QUICK).then(
        upload.check, upload.inputs, shown, **QUICK | LONGER
    )


def _connect_start(page: Page, chosen: Chosen, watch: Watch, go: gr.Button, hints: gr.HTML) -> None:
    def start(
        source, data, files, target, replace, written, method, preset, steps, rate, extra, *parts
    ):
        job = ""
        try:
            if source == "own" and METHODS.fact(method, "wants_words"):
                raise BadInput(
                    f"method is {method} but must be one that needs no exact masks, "
                    "for pictures of one's own."
                )
            lengths = PRESETS[preset]
            on = dict(zip(chosen.parts, parts, strict=True)).get(method)
            settings = chosen_settings(method, on, rate, extra)
            if METHODS.fact(method, "OWN"):
                settings = {METHODS.fact(method, "OWN"): lengths.own} | settings
            if source == "own":
                data = chosen.upload.stored(files, target, replace, written)
            request = {
                "data": data,
                "method": method,
                "steps": steps,
                "images": lengths.images,
                "settings": settings,
                "model": page.engine.model,
            }
            job = page.jobs.start(request)
            yield [*watch.state(job), {"notices": []}]
            for _ in page.jobs.attend(job):
                yield [*watch.state(job), gr.skip()]
        except SpfError as error:
            yield [*watch.state(job), {"notices": [note(text=worded(error, TITLES))]}]

    inputs = [*chosen.inputs, *chosen.parts.values()]
    go.click(start, inputs, [*watch.outputs, hints], **QUICK | LONGER)


def _connect_control(
    page: Page, watch: Watch, buttons: Sequence[gr.Button], hints: gr.HTML
) -> None:
    """What is done with a job; only where one may be started, so that no event of the page can do
    it elsewhere.
    """
    jobs = page.jobs

    def pause(job):
        if job:
            jobs.pause(job)
        return watch.state(job)

    def stop(job):
        if job:
            jobs.stop(job)
        return watch.state(job)

    def resume(job):
        try:
            jobs.resume(job)
            yield [*watch.state(job), {"notices": []}]
            for _ in jobs.attend(job):
                yield [*watch.state(job), gr.skip()]
        except SpfError as error:
            yield [*watch.state(job), {"notices": [note(text=worded(error, TITLES))]}]

    buttons[1].click(pause, watch.name, watch.outputs, **QUICK)
    buttons[2].click(stop, watch.name, watch.outputs, **QUICK)
    attended = isinstance(jobs, SlicedJobs)  # else the first word is the last, and need not queue
    again = resume if attended else lambda job: next(resume(job))
    how = QUICK | LONGER if attended else QUICK
    watch.again.click(again, watch.name, [*watch.outputs, hints], **how)


def _connect_job(page: Page, watch: Watch) -> None:
    """How a job is watched, and its result tried."""
    jobs, adapter = page.jobs, page.fields["adapter"]

    def tick(job):
        """Once a second while a job is at work; when it is done, Compare can choose its adapter."""
        values = watch.state(job)
        finished = job and jobs.status(job).phase == "done"
        return [*values, gr.update(choices=adapters(page.engine)) if finished else gr.skip()]

    def try_it(job, base):
        """Puts the finished adapter and its target into Compare."""
        target = target_of(jobs.status(job).request["data"])
        chosen = gr.update(choices=adapters(page.engine), value=job)
        place = (AUTO, "") if known_targets([target.text]) else placed(target, base)
        return target.text, *place, chosen, gr.Tabs(selected="compare")

    base, *texts = (page.fields[name] for name in ("base", "targets", "mode", "replace"))
    tried = watch.use.click(try_it, [watch.name, base], [*texts, adapter, page.tabs], **QUICK)
    tried.success(None, page.fields["targets"], None, js=DRAW, api_visibility="private")
    watch.clock.tick(tick, watch.name, [*watch.outputs, adapter], **QUICK)


def methods() -> list[str]:
    """The methods that can train, the usual one first."""
    return sorted(METHODS, key=lambda name: name != FinetuneConfig.method)


def chosen_settings(method: str, on: Sequence[str] | None, rate: str, extra: str) -> dict[str, Any]:
    """Settings of a run from its switches (None: the method has none) and the two fields for
    experts.

    Raises BadInput.
    """
    from spf.methods import parse_settings

    parts = METHODS.fact(method, "PARTS", {})
    off = [changes for part, changes in parts.items() if on is not None and part not in on]
    settings = {key: value for changes in off for key, value in changes.items()}

    pairs = [pair.strip() for pair in re.split(r"[\n,;]", extra or "") if pair.strip()]
    if (rate or "").strip():
        pairs.append(f"learning_rate={rate.strip()}")
    return settings | (parse_settings(method, pairs) if pairs else {})
