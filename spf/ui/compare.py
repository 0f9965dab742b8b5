"""The Compare tab: a base text and a target in, two or three portraits and a plain verdict out."""

from __future__ import annotations

import logging
import secrets
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace as changed
from typing import Any

import gradio as gr

from spf.config import AUTO, LARGEST_SEED, GenerateConfig
from spf.engine import ORIGINAL, TUNED, Crashed, Engine, Progress, Result
from spf.errors import BadInput, SpfError
from spf.portraits.description import TARGETS

from . import inside, stage
from .components import own
from .examples import Example
from .gpu import on_gpu, on_zero_gpu
from .texts import both, label, same

log = logging.getLogger(__name__)

FIELDS = ("base", "target", "mode", "replace", "adapter", "seed", "steps", "guidance", "guided")
STEPS, GUIDANCE = (5, 60), (1.0, 12.0)
JOIN = " + "
TELL = "(...values) => { document.dispatchEvent(new CustomEvent('spf:pending')); return values; }"
NEW_SEED = "() => Math.floor(Math.random() * 2 ** 32)"


IDLE = (gr.update(interactive=True), gr.update(interactive=False))
BUSY = (gr.update(interactive=False), gr.update(interactive=True))
"""States of the buttons Generate and Stop."""


def build(
    engine: Engine, examples: Mapping[str, Example], trace: gr.HTML, tabs: gr.Tabs
) -> list[gr.components.Component]:
    """Lays out the tab and connects it. Returns the notices, the input fields in the order of FIELDS, and the chain's box."""
    shown = next(iter(examples.values()), None)
    start = inputs_of(
        shown.request if shown else {"base": "a photo of a young woman", "targets": ["a hat"]},
        engine,
    )
    strip = own("choices", cards(examples), name="examples", visible=bool(examples))
    with gr.Column(elem_classes="spf-grid"):
        with gr.Column(elem_classes=["spf-texts", "spf-panel"]):
            base = gr.Textbox(
                start["base"],
                label=label("field.base"),
                info=label("field.base.info"),
                lines=2,
                max_lines=4,
                elem_id="base",
            )
            target = gr.Textbox(
                start["target"],
                label=label("field.target"),
                info=label("field.target.info"),
                max_lines=2,
                elem_id="target",
            )
            suggest = own("choices", suggestions(), name="suggest", classes="spf-suggest")
            modes = [(label(f"mode.{name}"), name) for name in GenerateConfig.limits("mode")]
            mode = gr.Radio(modes, value=start["mode"], label=label("field.mode"), elem_id="mode")
            replace = gr.Textbox(
                start["replace"],
                label=label("field.replace"),
                info=label("field.replace.info"),
                max_lines=1,
                visible=start["mode"] == "replace",
                elem_id="replace",
            )
            with gr.Row(elem_classes="spf-run"):
                go = gr.Button(
                    label("generate"), variant="primary", elem_id="generate", scale=3, min_width=120
                )
                halt = gr.Button(
                    label("stop"), interactive=False, elem_id="stop", scale=1, min_width=80
                )
            chain = gr.Checkbox(
                False, label=label("field.chain"), info=label("field.chain.info"), elem_id="chain"
            )
            hints = own("hints")
        with gr.Column(elem_classes="spf-stage-column"):
            picture = own(
                "stage",
                shown.stage if shown else {"phase": "empty", "status": both("status.empty")},
            )
        with gr.Column(elem_classes=["spf-more", "spf-panel"]):
            with gr.Row(elem_classes="spf-settings"):
                adapter = gr.Dropdown(
                    adapters(engine),
                    value=start["adapter"],
                    label=label("field.adapter"),
                    elem_id="adapter",
                    min_width=200,
                )
                with gr.Row(elem_classes="spf-seed"):
                    seed = gr.Number(
                        start["seed"],
                        label=label("field.seed"),
                        precision=0,
                        minimum=0,
                        maximum=LARGEST_SEED,
                        elem_id="seed",
                        min_width=100,
                    )
                    dice = gr.Button("⚄", elem_id="dice", min_width=44, scale=0)
                steps = gr.Slider(
                    *STEPS,
                    value=start["steps"],
                    step=1,
                    label=label("field.steps"),
                    elem_id="steps",
                    min_width=160,
                )
                guidance = gr.Slider(
                    *GUIDANCE,
                    value=start["guidance"],
                    step=0.5,
                    label=label("field.guidance"),
                    elem_id="guidance",
                    min_width=160,
                )
                guided = gr.Dropdown(
                    [
                        (label("guided.none"), ""),
                        *(
                            (label(f"guided.{name}"), name)
                            for name in ("held", "told", "untold", "sfcm")
                        ),
                    ],
                    value=start["guided"],
                    label=label("field.guided"),
                    info=label("field.guided.info"),
                    elem_id="guided",
                    min_width=200,
                )
            drop = own("recall")
    fields = [base, target, mode, replace, adapter, seed, steps, guidance, guided]

    desk = Desk(engine)
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    run = go.click(
        desk.run,
        [*fields, chain],
        [picture, trace, go, halt],
        js=TELL,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="gpu",
        concurrency_limit=1,
    )
    halt.click(desk.stop, None, [picture, go, halt], cancels=[run], **quick)
    mode.change(lambda chosen: gr.update(visible=chosen == "replace"), mode, replace, **quick)
    dice.click(None, None, seed, js=NEW_SEED, api_visibility="private")
    suggest.pick(suggested, [target, mode, replace, chain], [target, mode, replace], **quick)
    gr.on(
        [field.change for field in ([*fields[:5], steps] if on_zero_gpu() else fields[:4])],
        desk.read,
        fields,
        hints,
        trigger_mode="always_last",
        **quick,
    )
    picture.longer(longer, [target, mode, replace], [target, mode, replace, chain], **quick)
    picture.look(lambda: gr.Tabs(selected="inside"), None, tabs, **quick)

    def pick(event: gr.EventData):
        """Shows a stored example: nothing is computed."""
        example = examples[event.key]
        return [
            {**example.stage, "strip": []},
            example.inside,
            *inputs_of(example.request, engine).values(),
        ]

    def recall(event: gr.EventData):
        """Puts the settings of one of our pictures back into the fields."""
        return restored(event.settings, engine)

    strip.pick(pick, None, [picture, trace, *fields], **quick)
    drop.recall(recall, None, [hints, *fields], **quick)
    return [hints, *fields, chain]


def longer(target: str, mode: str, replace: str, event: gr.EventData):
    """Adds one more edit to the chain and switches the chain on."""
    added = str(event.edit or "").strip()
    if not added:
        return gr.skip(), gr.skip(), gr.skip(), True
    return *_joined(target, mode, replace, added), True


class Desk:
    """Serves the tab. runs: name and last progress of what each session is drawing. links: portraits of earlier chains."""

    LINKS = 60

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.links: OrderedDict[GenerateConfig, dict] = OrderedDict()
        self.runs: dict[str, tuple[str, Progress | None]] = {}

        def draw(config: GenerateConfig) -> Iterator[Progress | Result]:
            yield from engine.compare(config)

        self.draw = on_gpu(draw, engine.seconds)

    def run(
        self,
        base,
        target,
        mode,
        replace,
        adapter,
        seed,
        steps,
        guidance,
        request: gr.Request,
        guided="held",
        chain=False,
    ):
        """Streams previews, then the result. A closed tab or Stop closes this generator and with it the work.

        chain: also draws what lies on the way, each edit added to the ones before it.
        """
        session, run = request.session_hash or secrets.token_hex(8), secrets.token_hex(4)
        buttons = BUSY  # told once: a later message could overtake what Stop says
        pictures: dict[str, str] = {}
        self.runs[session] = run, None
        try:
            config = wanted(base, target, mode, replace, adapter, seed, steps, guidance, guided)
            strip: list[dict] = []
            parts = prefixes(self.engine.resolved(config)) if chain else []
            for number, part in enumerate([*parts, config], start=1):
                if part in self.links and part in parts:
                    strip.append(self.links[part])
                    continue
                roles, pictures = self.engine.roles(part), {}
                with closing(self.draw(part)) as events:
                    for event in events:
                        if isinstance(event, Result):
                            strip.append(self.keep(event))
                            if part is config:
                                shown = strip if len(strip) > 1 else []
                                yield (
                                    stage.finished(event) | {"strip": shown},
                                    inside.payload(event),
                                    *IDLE,
                                )
                        else:
                            self.runs[session] = run, event
                            pictures |= stage.previews(event)
                            value = stage.waiting(
                                event, roles, pictures, number if parts else 0, len(parts) + 1
                            )
                            yield (
                                value
                                | {"run": run, "strip": strip, "links": len(parts) + bool(parts)},
                                gr.skip(),
                                *buttons,
                            )
                            buttons = (gr.skip(), gr.skip())
        except SpfError as error:
            yield stage.failed(same(str(error))), gr.skip(), *IDLE
        except (
            Exception
        ) as error:  # a bug of ours or of a library: the user gets a code, the log gets the story
            yield stage.failed(reported(error)), gr.skip(), *IDLE
        finally:
            if self.runs.get(session, (None,))[0] == run:
                del self.runs[session]

    def keep(self, result: Result) -> dict:
        """A link of the strip; remembered, so that a chain that grows is not drawn again from its start."""
        self.links[result.config] = made = stage.link(result)
        while len(self.links) > self.LINKS:
            self.links.popitem(last=False)
        return made

    def stop(self, request: gr.Request):
        """What the stage says after Stop; the work itself ends with its generator, which Gradio closes."""
        run, progress = self.runs.get(request.session_hash, (None, None))
        return stage.stopped(progress) | {"run": run}, *IDLE

    def read(
        self,
        base,
        target,
        mode,
        replace,
        adapter=AUTO,
        seed=0,
        steps=GenerateConfig.steps,
        guidance=GenerateConfig.guidance,
        guided=GenerateConfig.guided,
    ) -> dict:
        """Notices on the text while it is being written, silent until the model is there; on a lent GPU also what a run
        reserves."""
        try:
            config = wanted(base, target, mode, replace, adapter, seed, steps, guidance, guided)
            quota = (
                [stage.notice("quota", "info", s=self.engine.seconds(config))]
                if on_zero_gpu()
                else []
            )
            return {"notices": stage.notices(self.engine.words(config)) + quota}
        except SpfError:
            return {"notices": []}  # half-written; Generate will say what is missing


def reported(error: Exception) -> dict[str, str]:
    """A sentence with a code; the traceback is in the log under the same code and nowhere else."""
    code = secrets.token_hex(2)
    log.error(
        "error %s: %s",
        code,
        error if isinstance(error, Crashed) else "".join(traceback.format_exception(error)),
    )
    return both("error.bug", code=code)


def wanted(
    base,
    target,
    mode="append",
    replace="",
    adapter=AUTO,
    seed=0,
    steps=GenerateConfig.steps,
    guidance=GenerateConfig.guidance,
    guided=GenerateConfig.guided,
) -> GenerateConfig:
    """The fields of the page as checked settings; guided: how to stay near the original, or nothing. Raises BadInput."""
    if not isinstance(target, str):
        raise BadInput("target must be text.")
    targets = tuple(part.strip() for part in target.split("+"))
    replaced = replace if mode == "replace" else ""
    return GenerateConfig(
        base,
        targets,
        mode,
        replaced,
        seed=seed,
        steps=steps,
        guidance=guidance,
        adapter=adapter,
        guided=guided,
    )


def prefixes(config: GenerateConfig) -> list[GenerateConfig]:
    """The shorter chains on the way to a comparison of several targets: the first, the first two, and so on.

    With one adapter for each target, a prefix uses those of its own targets.
    """
    names = config.adapter.split("+") if config.adapter else []
    own = len(names) == len(config.targets)
    return [
        changed(
            config,
            targets=config.targets[:k],
            adapter="+".join(names[:k]) if own else config.adapter,
        )
        for k in range(1, len(config.targets))
    ]


def inputs_of(request: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """The fields of the page for checked settings, in the order of FIELDS."""
    config = GenerateConfig.from_dict(request)
    automatic = config.adapter in (AUTO, engine.pick(config.targets))
    adapter = AUTO if automatic else config.adapter
    texts = (config.base, JOIN.join(config.targets), config.mode, config.replace)
    values = (*texts, adapter, config.seed, config.steps, config.guidance, config.guided)
    return dict(zip(FIELDS, values, strict=True))


def restored(given: Mapping[str, Any], engine: Engine) -> list:
    """Notice and fields for settings that came from a picture or a link; anything doubtful is refused as a whole."""
    try:
        fields = inputs_of({name: given[name] for name in given if name != "role"}, engine)
        if fields["adapter"] not in ("", AUTO, *engine.adapters()):
            fields["adapter"] = AUTO
        return [{"notices": []}, *fields.values()]
    except (SpfError, AttributeError, TypeError) as error:
        why = str(error) if isinstance(error, SpfError) else "it holds no settings of this page."
        return [
            {"notices": [{"kind": "warning", "text": both("notice.link", why=why)}]},
            *[gr.skip()] * len(FIELDS),
        ]


def linked(query: Any, engine: Engine) -> list:
    """Notice and fields for a shared link; a query without a base text changes nothing."""
    if "base" not in query:
        return [gr.skip()] * (1 + len(FIELDS))
    given = {name: query[name] for name in stage.CARRIED if name in query}
    for name in ("seed", "steps", "guidance"):
        with suppress(ValueError):  # what is no number is refused, in words, by the settings
            given[name] = float(given[name]) if name in given else None
    return restored(
        {name: value for name, value in given.items() if value is not None}
        | {"targets": query.getlist("target")},
        engine,
    )


def adapters(engine: Engine) -> list[tuple[Any, str]]:
    """Choices of the tuned model: automatic, none, and every adapter by its name."""
    return [
        (label("adapter.auto"), AUTO),
        (label("adapter.none"), ""),
        *((name, name) for name in engine.adapters()),
    ]


def suggestions() -> dict:
    return {
        "label": both("suggestions"),
        "items": [{"key": name, "title": same(target.text)} for name, target in TARGETS.items()],
    }


def suggested(target: str, mode: str, replace: str, chain: bool, event: gr.EventData):
    """Puts a ready target into the fields, or adds it to the chain."""
    chosen = TARGETS[event.key]
    if chain and target.strip():
        return _joined(target, mode, replace, chosen.text)
    return chosen.text, chosen.mode, chosen.replace or replace


def _joined(target: str, mode: str, replace: str, added: str) -> tuple[str, str, str]:
    """Fields with one more target; what is already there is not asked for twice."""
    parts = [part.strip() for part in target.split("+") if part.strip()]
    return JOIN.join(parts if added in parts else [*parts, added]), mode, replace


def cards(examples: Mapping[str, Example]) -> dict:
    """The strip of examples: original and tuned portrait of each."""
    items = [
        {
            "key": name,
            "title": same(example.title),
            "pictures": [example.stage["portraits"][role] for role in (ORIGINAL, TUNED)],
        }
        for name, example in examples.items()
    ]
    return {"label": both("examples"), "items": items, "chosen": next(iter(examples), None)}
