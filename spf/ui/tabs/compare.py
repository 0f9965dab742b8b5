"""Compare: a base text and a target in, two or three portraits and a plain verdict out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from spf.config import AUTO, GenerateConfig
from spf.engine import Engine
from spf.errors import SpfError
from spf.portraits.description import TARGETS
from spf.shelf import ORIGINAL, TUNED
from spf.words import parted

from .. import series, stage
from ..components import HEAVY, QUICK, anew, own, webp_of
from ..examples import Example
from ..form import JOINT, Form
from ..gpu import on_zero_gpu
from ..page import Page, inputs_of
from ..refusals import worded
from ..runs import Runs
from ..texts import both, label
from ..verdict import asked_for, titled

ORDER = 1
TELL = "(...values) => { document.dispatchEvent(new CustomEvent('spf:pending')); return values; }"
EMPTIED = "(also) => { window.spfEmptied = !also; }"
COMPLETED = f"(also) => (also || window.spfEmptied ? also : '{AUTO}')"
"""A text that a person writes is completed, unless it was a person who emptied that field and not
an example that leaves open what it does not say."""
NEW_SEED = "() => Math.floor(Math.random() * 2 ** 32)"


class Order(NamedTuple):
    """What a series is to be, and the button that starts it."""

    kind: gr.Radio
    count: gr.Slider
    lines: gr.Textbox
    go: gr.Button

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.kind, self.count, self.lines]


class Shown(NamedTuple):
    """The parts of the tab that are no settings."""

    strip: gr.HTML
    suggest: gr.HTML
    go: gr.Button
    halt: gr.Button
    picture: gr.HTML
    dice: gr.Button
    drop: gr.HTML
    sheet: gr.HTML
    past: gr.HTML
    order: Order
    tab: gr.Tab


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab and connects it."""
    strip = own("choices", cards(page.examples), name="examples", visible=bool(page.examples))
    with gr.Column(elem_classes="spf-grid"):
        with gr.Column(elem_classes=["spf-texts", "spf-panel"]):
            suggest, go, halt = _texts(page)
        with gr.Column(elem_classes="spf-stage-column"):
            picture = _stage(page)
            sheet = own("sheet", {}, name="sheet")
        with gr.Column(elem_classes=["spf-more", "spf-panel"]):
            dice, order, drop = _settings(page)
        with gr.Column(elem_classes="spf-past"):
            past = own("history", name="history")  # last: it appears while others are looked at
    shown = Shown(strip, suggest, go, halt, picture, dice, drop, sheet, past, order, tab)
    _connect_run(page, shown)
    _connect_fields(page, shown)
    _connect_memory(page, shown)


# what one sees


def _texts(page: Page) -> tuple[gr.HTML, gr.Button, gr.Button]:
    """The texts, ready targets, and the two buttons."""
    for name in page.form.at("texts"):
        page.fields[name].render()
        if name == "targets":
            suggest = own(
                "choices", suggestions(page.engine), name="suggest", classes="spf-suggest"
            )
            page.hints.render()
    with gr.Row(elem_classes="spf-run"):
        go = gr.Button(
            label("generate"), variant="primary", elem_id="generate", scale=3, min_width=120
        )
        halt = gr.Button(label("stop"), interactive=False, elem_id="stop", scale=1, min_width=80)
    page.chain.render()
    return suggest, go, halt


def _stage(page: Page) -> gr.HTML:
    return own("stage", _first(page))


def _first(page: Page) -> dict:
    """The portraits of the first example, before anything is computed."""
    empty = {"phase": "empty", "status": both("status.empty")}
    return page.first.stage if page.first else empty


def _settings(page: Page) -> tuple[gr.Button, Order, gr.HTML]:
    """The settings that most people use, the others and series in folds, and the place where a
    picture brings its own back.
    """
    with gr.Row(elem_classes="spf-settings"):
        for name in page.form.at("settings"):
            if name == "seed":
                with gr.Row(elem_classes="spf-seed"):
                    page.fields[name].render()
                    dice = gr.Button("⚄", elem_id="dice", min_width=44, scale=0)
            else:
                page.fields[name].render()
    with (
        gr.Accordion(label("advanced"), open=False, elem_id="advanced"),
        gr.Row(elem_classes="spf-settings"),
    ):
        for name in page.form.at("advanced"):
            page.fields[name].render()
    return dice, _order(), own("recall")


def _order() -> Order:
    """Several drawings with one press, in a fold."""
    with gr.Accordion(label("series"), open=False, elem_id="series"):
        kind = gr.Radio(
            [(label(f"series.{name}"), name) for name in series.KINDS],
            value=series.SEEDS,
            label=label("series.kind"),
            elem_id="series-kind",
        )
        count = gr.Slider(
            2,
            series.MOST_SEEDS,
            value=4,
            step=1,
            label=label("series.count"),
            elem_id="series-count",
        )
        lines = gr.Textbox(
            "",
            lines=5,
            max_lines=12,
            visible=False,
            label=label("series.lines"),
            info=label("series.lines.info"),
            elem_id="series-lines",
        )
        go = gr.Button(label("series.go"), elem_id="series-go")
    return Order(kind, count, lines, go)


def cards(examples: Mapping[str, Example]) -> dict:
    """The strip of examples: original and tuned portrait of each, small."""
    items = [
        {
            "key": name,
            "title": titled(example.title),
            "pictures": [webp_of(example.stage["portraits"][role]) for role in (ORIGINAL, TUNED)],
        }
        for name, example in examples.items()
    ]
    return {"label": both("examples"), "items": items, "chosen": next(iter(examples), None)}


def suggestions(engine: Engine) -> dict:
    """The ready targets, each with whether there are weights for it."""
    return {
        "label": both("suggestions"),
        "items": [
            {"key": name, "title": asked_for(target), "taught": bool(engine.pick((target.text,)))}
            for name, target in TARGETS.items()
        ],
    }


# what it does


def _connect_run(page: Page, shown: Shown) -> None:
    """Generate and Stop."""
    runs = Runs(page.engine, page.form, page.places)
    outputs = [shown.picture, page.trace, shown.go, shown.halt]
    asked = [page.chain, *page.inputs]
    shown.go.click(runs.known, asked, outputs, js=TELL, **QUICK)
    run = shown.picture.draw(runs.run, asked, outputs, **HEAVY)
    listed = [shown.sheet, shown.go, shown.halt]
    several = shown.order.go.click(
        runs.series, [*shown.order.inputs, *page.inputs], listed, **HEAVY
    )
    dial = shown.picture.dial(runs.dial, page.inputs, listed, **HEAVY)
    page.trace.look(runs.maps, None, page.trace, **HEAVY)
    shown.halt.click(
        runs.stop,
        None,
        [shown.picture, shown.go, shown.halt],
        cancels=[run, several, dial],
        **QUICK,
    )
    read = page.form.at("texts") + (["adapter", "steps"] if on_zero_gpu() else [])
    gr.on(
        [page.fields[name].change for name in read],
        runs.read,
        page.inputs,
        page.hints,
        trigger_mode="always_last",
        **QUICK,
    )


def _connect_fields(page: Page, shown: Shown) -> None:
    """What fills one field from another."""
    target, mode, replace = (page.fields[name] for name in ("targets", "mode", "replace"))
    shown.dice.click(None, None, page.fields["seed"], js=NEW_SEED, api_visibility="private")
    mode.change(lambda chosen: gr.update(visible=chosen == "replace"), mode, replace, **QUICK)
    page.blocks.load(lambda: suggestions(page.engine), None, shown.suggest, **QUICK)
    shown.tab.select(lambda: suggestions(page.engine), None, shown.suggest, **QUICK)
    base, also, joined = page.fields["base"], page.fields["also"], [target, mode, replace]
    shown.suggest.pick(suggested, [*joined, page.chain], joined, **QUICK)
    shown.picture.longer(longer, joined, [*joined, page.chain], **QUICK)
    also.blur(None, also, None, js=EMPTIED, api_visibility="private")
    page.hints.written(None, also, also, js=COMPLETED, api_visibility="private")
    page.hints.swap(swapped, [base, target], [base, target], **QUICK)
    page.hints.take(taken, target, [base, target], **QUICK)
    shown.picture.shorter(shorter, target, target, **QUICK)
    shown.picture.drawn(
        drawn,
        None,
        [shown.picture, page.fields["guided"], page.fields["others"]],
        **QUICK,
    )
    kind, count, lines = shown.order.inputs
    kind.change(
        lambda chosen: (
            gr.update(visible=chosen == series.SEEDS),
            gr.update(visible=chosen == series.TEXTS),
        ),
        kind,
        [count, lines],
        **QUICK,
    )
    shown.picture.look(lambda: gr.Tabs(selected="inside"), None, page.tabs, **QUICK)


def _connect_memory(page: Page, shown: Shown) -> None:
    """Examples, pictures and links that bring their settings back."""

    def pick(event: gr.EventData):
        """Shows a stored example: nothing is computed."""
        example = page.examples[event.key]
        fields = inputs_of(page.form, example.request, page.engine)
        return [anew(example.stage | {"strip": []}), example.inside, *fields.values()]

    def put_back(event: gr.EventData):
        """The settings of a pair that the browser shows again; its maps can be asked for."""
        _, *fields = restored(page.form, event.settings, page.engine)
        request = {name: event.settings[name] for name in event.settings if name != "role"}
        return [{"ask": secrets.token_hex(4), "request": request}, *fields]

    def recall(event: gr.EventData):
        """Puts the settings of one of our pictures back into the fields, and has it drawn."""
        return agreed(page, restored(page.form, event.settings, page.engine), gr.skip())

    def restore(request: gr.Request):
        """Fills the fields from a shared link, and has its pair drawn; what stood there comes back
        in place of one that is refused."""
        asked = request.query_params
        chain = True if asked.get("chain") == "1" else gr.skip()
        stood = anew(_first(page)) if "base" in asked else gr.skip()
        return [*agreed(page, linked(page.form, asked, page.engine), stood), chain]

    agreeing = [shown.picture, page.trace, page.hints, *page.inputs]
    shown.strip.pick(pick, None, [shown.picture, page.trace, *page.inputs], **QUICK)
    shown.drop.recall(recall, None, agreeing, **QUICK)
    for place in (shown.sheet, shown.past):
        place.pick(put_back, None, [page.trace, *page.inputs], **QUICK)
    page.blocks.load(restore, None, [*agreeing, page.chain], **QUICK)


def agreed(page: Page, found: list, stood: dict) -> list:
    """Stage and maps for notice and fields that came from outside: the stored pair that they
    describe, else none yet, to be drawn at once; `stood` where they are refused."""
    notice, *values = found
    if isinstance(notice, dict) and not notice.get("__type__") and not notice["notices"]:
        config = page.form.read(*values)
        for example in page.examples.values():
            if inputs_of(page.form, example.request, page.engine) == page.form.shown(config):
                return [anew(example.stage | {"strip": []}), example.inside, *found]
        return [anew({"phase": "asked", "request": config.carried()}), None, *found]
    return [stood, gr.skip(), *found]


def restored(form: Form, given: Mapping[str, Any], engine: Engine) -> list:
    """Notice and fields for settings that came from a picture or a link; anything doubtful is
    refused as a whole.
    """
    try:
        fields = inputs_of(form, {name: given[name] for name in given if name != "role"}, engine)
        if fields["adapter"] not in ("", AUTO, *engine.adapters()):
            fields["adapter"] = AUTO
        return [{"notices": []}, *fields.values()]
    except (SpfError, AttributeError, TypeError) as error:
        known = isinstance(error, SpfError)
        why = worded(error, form.titles()) if known else both("notice.link.none")
        return [{"notices": [stage.notice("link", "warning", why=why)]}, *_untouched(form)]


def linked(form: Form, query: Any, engine: Engine) -> list:
    """Notice and fields for a shared link; a query without a base text changes nothing."""
    if "base" not in query:
        return [gr.skip(), *_untouched(form)]
    return restored(form, {"adapter": AUTO} | form.linked(query), engine)


def _untouched(form: Form) -> list:
    return [gr.skip()] * len(form.settings)


def suggested(
    target: str, mode: str, replace: str, chain: bool, event: gr.EventData
) -> tuple[str, str, str]:
    """Puts a ready target into the fields, or adds it to the chain."""
    chosen = TARGETS[event.key]
    if chain and target.strip():
        return _joined(target, mode, replace, chosen.text)
    return chosen.text, AUTO, replace


def swapped(base: str, target: str, event: gr.EventData) -> tuple[str, str]:
    """Puts a known word in the place of an unknown one."""
    pattern = re.compile(rf"(?<!\w){re.escape(str(event.word))}(?!\w)", re.IGNORECASE)
    return pattern.sub(str(event.by), base), pattern.sub(str(event.by), target)


def taken(target: str, event: gr.EventData) -> tuple[str, str]:
    """Texts that a notice offers; the target stays where it offers none."""
    return str(event.base), str(event.target or "") or target


def shorter(target: str, event: gr.EventData) -> str:
    """Takes one edit out of the chain."""
    parts = parted(target, JOINT)
    return JOINT.join(part for place, part in enumerate(parts) if place != event.place)


def drawn(event: gr.EventData):
    """Fields for a comparison of like with like: every column held, or every column free."""
    held = event.way == "held"
    guided = GenerateConfig.settings()["guided"].default if held else ""
    told = anew({"phase": "fields", "way": event.way})
    return told, guided, "alike" if held else "free"


def longer(target: str, mode: str, replace: str, event: gr.EventData):
    """Adds one more edit to the chain and switches the chain on."""
    added = str(event.edit or "").strip()
    if not added:
        return gr.skip(), gr.skip(), gr.skip(), True
    return *_joined(target, mode, replace, added), True


def _joined(target: str, mode: str, replace: str, added: str) -> tuple[str, str, str]:
    """Fields with one more target; what is already there is not asked for twice."""
    parts = parted(target, JOINT)
    return JOINT.join(parts if added in parts else [*parts, added]), mode, replace
