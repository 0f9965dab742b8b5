"""A setting is declared once: a new field is seen on the command line, the page, in links, pictures
and programs.
"""

import base64
import inspect
import io
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import gradio as gr
import pytest
import typer
from fake_engine import FakeEngine
from PIL import Image
from starlette.datastructures import QueryParams
from typer.testing import CliRunner

from spf.config import AUTO, GenerateConfig, choice, flag, real, whole
from spf.errors import BadInput
from spf.evaluation.plan import EvaluateConfig
from spf.options import options
from spf.shelf import TUNED
from spf.ui import build, stage
from spf.ui.form import Form
from spf.ui.page import inputs_of, wanted
from spf.ui.runs import Runs
from spf.ui.tabs.compare import linked, restored


@dataclass(frozen=True)
class Wider(GenerateConfig):
    """A drawing with three settings that nobody has heard of."""

    glow: float = real(0.5, -1.0, 2.0, "how much it shines", place="advanced", span=(0, 1, 0.25))
    frame: str = choice("oak", ("oak", "gilt"), "what is around it", place="settings", none=True)
    signed: bool = flag(False, "write a name into the corner", place="advanced")
    hidden: int = whole(1, 1, 9, "known on the command line alone")


FORM = Form(Wider)
ASKED = {"base": "a photo of a woman", "targets": ("a hat",), "adapter": "hat", "steps": 6}
CHANGED = Wider(**ASKED, glow=1.5, frame="gilt", signed=True)
NEW = {"glow": 1.5, "frame": "gilt", "signed": True}


@pytest.fixture
def engine(tmp_path):
    return FakeEngine(tmp_path)


def test_on_the_command_line():
    app, seen = typer.Typer(rich_markup_mode=None), []

    @options(Wider)
    def draw(config: Wider, out: str = "here") -> None:
        seen.append((config, out))

    app.command()(draw)
    run = CliRunner(env={"COLUMNS": "200"}).invoke
    given = "--base woman --target hat --glow 1.5 --frame gilt --signed --hidden 3".split()
    assert run(app, given).exit_code == 0
    config, out = seen.pop()
    assert config == Wider(
        "woman", ("hat",), adapter=AUTO, glow=1.5, frame="gilt", signed=True, hidden=3
    )
    assert out == "here"
    shown = " ".join(run(app, ["--help"]).output.split())
    for words in ("how much it shines (-1 to 2)", "around it: oak, gilt", "--signed", "--hidden"):
        assert words in shown
    with pytest.raises(BadInput, match="glow is 7.0 but must be a number from -1 to 2"):
        run(app, ["--base", "a", "--target", "b", "--glow", "7"], catch_exceptions=False)
    assert run(app, ["--base", "a"]).exit_code == 2, "a target is asked for"


def test_on_the_page(engine):
    page = build(engine, {}, config=Wider)
    parts = {block.elem_id: block for block in page.blocks.values() if hasattr(block, "elem_id")}
    glow, frame, signed = (parts[name] for name in NEW)
    assert isinstance(glow, gr.Slider) and (glow.minimum, glow.maximum, glow.step) == (0, 1, 0.25)
    assert glow.value == 0.5 and glow.label == "glow" and glow.info == "how much it shines"
    assert isinstance(frame, gr.Dropdown) and [value for _, value in frame.choices] == [
        "",
        "oak",
        "gilt",
    ]
    assert isinstance(signed, gr.Checkbox) and "hidden" not in parts
    fold = parts["advanced"]
    above = glow
    while above is not None and above is not fold:
        above = above.parent
    assert above is fold, "it lies in the fold"
    assert {"strength", "push", "edit", "guided_from"} <= set(parts)

    drawn = Runs(engine, FORM)
    values = FORM.shown(CHANGED) | {"glow": 9}
    *_, last = drawn.run(SimpleNamespace(session_hash="s"), False, *values.values())
    assert "“glow” is 9 but must be a number from -1 to 2" in last[0]["status"]["en"]


def as_link(request):
    """Names and values as static/stage.js writes them into a link."""
    return [
        (name, str(one))
        for name, values in request.items()
        for one in (values if isinstance(values, list) else [values])
    ]


def test_in_pictures_and_links(engine):
    result = list(engine.compare(CHANGED))[-1]
    value = stage.finished(result)
    data = base64.b64decode(value["portraits"][TUNED].partition(",")[2])
    kept = json.loads(Image.open(io.BytesIO(data)).info["spf"])
    assert kept.items() >= NEW.items() and "hidden" not in kept and "model" not in kept

    notice, *fields = restored(FORM, kept, engine)
    assert notice == {"notices": []}
    assert fields == list(FORM.shown(replace(CHANGED, adapter=AUTO)).values())
    pairs = as_link(value["request"])
    assert linked(FORM, QueryParams(pairs), engine)[1:] == fields
    notice, *_ = linked(FORM, QueryParams([*pairs[:-1], ("signed", "maybe")]), engine)
    assert "“signed” is 'maybe' but must be true or false" in notice["notices"][0]["text"]["en"]


def test_for_programs(engine):
    page = build(engine, {}, config=Wider)
    compare = next(fn.fn for fn in page.fns.values() if fn.api_name == "compare")
    parameters = inspect.signature(compare).parameters
    assert parameters["glow"].default == 0.5 and parameters["glow"].annotation is float
    assert "target" in parameters and "targets" not in parameters and "hidden" not in parameters
    assert "glow: how much it shines, -1.0 to 2.0" in compare.__doc__
    assert "Returns:" in compare.__doc__
    with pytest.raises(gr.Error, match="glow is 5 but must be"):
        compare("a woman", "a hat", glow=5)
    assert compare("a photo of a woman", "a hat", steps=5, glow=1)["complete"].endswith("a hat")


def test_a_link_of_an_old_version_opens_with_the_usual_rest(engine):
    old = QueryParams(
        "base=a+woman&target=a+hat&target=dress&mode=append&adapter=hat&seed=5&steps=25"
    )
    notice, *fields = linked(FORM, old, engine)
    found = dict(zip(FORM.settings, fields, strict=True))
    assert notice == {"notices": []} and found["targets"] == "a hat + dress"
    assert found["seed"] == 5 and found["guided"] == "held" and found["strength"] == 1.0


def test_no_guide_stays_no_guide(engine):
    free = replace(CHANGED, guided="", adapter="")
    fields = linked(FORM, QueryParams(as_link(free.carried())), engine)[1:]
    found = dict(zip(FORM.settings, fields, strict=True))
    assert found["guided"] == "" and found["adapter"] == ""


@pytest.mark.parametrize("strength", [-2.0, -0.5, 0.0, 1.75, 3.0])
def test_the_strength_goes_below_zero_and_above_one(strength):
    assert wanted(Form(), "a woman", "a hat", strength=strength).strength == strength
    for far in (-2.01, 3.01):
        with pytest.raises(BadInput, match="strength is .* from -2 to 3"):
            wanted(Form(), "a woman", "a hat", strength=far)


def test_an_evaluation_draws_with_the_settings_of_a_drawing():
    ours, theirs = EvaluateConfig.settings(), GenerateConfig.settings()
    for name in ("steps", "guidance", "strength", "guided_from", "push"):
        assert ours[name].limits == theirs[name].limits and ours[name].help == theirs[name].help
    assert EvaluateConfig().guided == "" and GenerateConfig("a woman").guided == "held"


def test_words_to_replace_count_only_where_they_are_replaced(engine):
    request = {**ASKED, "targets": ["dress"], "mode": "replace", "replace": "T-shirt"}
    fields = inputs_of(Form(), request, engine)
    assert fields["replace"] == "T-shirt"
    fields["mode"] = "append"
    assert wanted(Form(), *fields.values()).replace == ""
