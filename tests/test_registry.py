"""Things that grow by a file: one of each is put into a folder of its own and is seen wherever its
kind is shown.
"""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
import typer
from conftest import new_tiny_base
from fake_engine import FakeEngine
from typer.testing import CliRunner

from spf import edits, methods, registry
from spf.config import GenerateConfig
from spf.errors import BadInput
from spf.evaluation.entries import every_method, parse
from spf.evaluation.measured import MEANINGS, Pair, measured
from spf.evaluation.summary import document, summary
from spf.options import options
from spf.portraits import description
from spf.portraits.description import ATTRIBUTES, TARGETS, Target
from spf.prompts import compose
from spf.registry import ABLATIONS, EDITS, GUIDES, MEASURES, METHODS, TABS, Registry
from spf.results import Table
from spf.sampling import GuideConfig, freed, sample_pair
from spf.settings import FinetuneConfig
from spf.ui import build
from spf.ui.tabs.finetune import chosen_settings
from spf.ui.tabs.results import shown as tables_shown

FILES = {
    "methods/plain.py": '''
        """Plain: what is there stays there. It is only a test."""

        from spf.methods import Method, MethodConfig

        ORDER = 99
        PARTS = {"stillness": {"learning_rate": 1e-6}}
        ABLATIONS = {"plain-fast": {"learning_rate": 1.0}}


        class Plain(Method):
            name = "plain"
            Config = MethodConfig
        ''',
    "guides/half.py": '''
        """Half of each, everywhere."""

        import torch

        from spf.guides import Guide

        ORDER = 99
        MEASURED = True


        class Half(Guide):
            name = "half"
            everywhere = "half"

            def blend(self, shown, scale):
                return torch.full_like(shown.difference, 0.5)
        ''',
    "edits/nothing.py": '''
        """Leaves everything as it is."""

        from spf.edits import PlainEdit


        class Nothing(PlainEdit):
            name = "nothing"
        ''',
    "ui/tabs/about.py": '''
        """About: who made this."""

        import gradio as gr

        ORDER = 99


        def build(page, tab):
            gr.Markdown("made by hand", elem_id="about-text")
        ''',
    "evaluation/measured/light.py": '''
        """How bright the portraits are."""

        ORDER = 99
        TABLE = "Light"
        MEASURES = {"brightness": "mean brightness of the tuned portrait over the original's"}
        SMALLER = ["brightness"]


        def measure(pair):
            before, after = (picture.mean() for picture in pair.pictures)
            return {"brightness": float(after / before)}
        ''',
    "methods/_draft.py": '"""Not ready."""',
}


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """The registries with one more of each kind."""
    for name, text in FILES.items():
        path = tmp_path / "more" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    monkeypatch.setattr(registry, "FOLDERS", [registry.HOME, tmp_path / "more"])
    return FakeEngine(tmp_path)


def choices(page, place):
    (block,) = (one for one in page.blocks.values() if getattr(one, "elem_id", "") == place)
    return {value: text for text, value in block.choices}


def test_a_method_is_found_everywhere(extended):
    assert list(METHODS)[-1] == "plain" and "_draft" not in METHODS
    assert METHODS["plain"].about == "Plain: what is there stays there."
    assert FinetuneConfig(method="plain").method == "plain"
    assert methods.build("plain-fast").config.learning_rate == 1.0
    assert ABLATIONS["plain-fast"] == ("plain", {"learning_rate": 1.0})
    assert "plain" in every_method(["hat-plain", "hat"])
    page = build(extended, {})
    assert choices(page, "ft-method")["plain"] == "plain"
    assert choices(page, "ft-parts-plain") == {"stillness": "stillness"}
    assert chosen_settings("plain", [], "", "") == {"learning_rate": 1e-6}
    program = typer.Typer(rich_markup_mode=None)
    program.command()(options(FinetuneConfig)(lambda config: None))
    shown = CliRunner(env={"COLUMNS": "300"}).invoke(program, ["--help"]).output
    assert "purecc, spf, plain" in shown and "plain-fast" in shown


def test_a_guide_is_found_everywhere_and_guides(extended):
    assert list(GUIDES)[-1] == "half" and parse("spf+half:0.5").guide == GuideConfig(
        "half", start=0.5
    )
    assert "spf+half" in every_method(["hat"])
    assert freed(GuideConfig("half")) == GuideConfig("half")
    assert choices(build(extended, {}), "guided")["half"] == "Half of each, everywhere."

    base = new_tiny_base()
    prompt = compose("a photo of a woman", ["a hat"])
    draw = {"seeds": [3], "steps": 2}
    free = sample_pair(base, prompt, **draw).tuned["tuned"].latents
    held = sample_pair(base, prompt, guide=GuideConfig("half"), **draw).tuned["tuned"].latents
    assert not torch.equal(torch.from_numpy(free), torch.from_numpy(held))
    with pytest.raises(
        BadInput, match='guided is .third. but must be one of .*half, or "" for none'
    ):
        GenerateConfig("a woman", guided="third")


def test_an_edit_is_found_everywhere(extended):
    assert "nothing" in EDITS and edits.build("nothing").name == "nothing"
    assert GenerateConfig("a woman", edit="nothing").edit == "nothing"
    assert parse("nothing@spf").edit == "nothing" and "nothing" in every_method([])
    assert choices(build(extended, {}), "edit")["nothing"] == "Leaves everything as it is."


def test_a_target_is_one_file_and_is_found_everywhere(tmp_path):
    """The example for contributors, with its attribute, drawing and set, in a process that starts
    with the file.
    """
    text = (registry.HOME.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = re.search(r'```python\n("""Earrings.*?)```', text, re.S)[1]
    path = tmp_path / "more" / "portraits" / "targets" / "earrings.py"
    path.parent.mkdir(parents=True)
    path.write_text(example)
    command = [sys.executable, "tests/new_target.py", str(tmp_path)]
    done = subprocess.run(command, cwd=registry.HOME.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"TEXT": "a ring", "REGIONS": ()}, "the target 'ring' must say its BIAS"),
        (
            {"TEXT": "x", "REGIONS": (), "BIAS": {}, "ATTRIBUTE": "beard", "VALUE": "goatee"},
            "VALUE of the target 'ring' is 'goatee' but beard is one of none, beard, mustache",
        ),
    ],
)
def test_a_target_that_says_too_little_is_refused(facts, said):
    with pytest.raises(BadInput, match=said):
        description._read("ring", facts)
    assert "ring" not in ATTRIBUTES


def test_a_target_of_what_is_drawn_already_is_an_entry():
    made = description._read(
        "pale",
        {
            "TEXT": "pale skin",
            "ATTRIBUTE": "skin",
            "VALUE": "fair",
            "REGIONS": ("face",),
            "BIAS": {"age": "old"},
        },
    )
    assert made == Target("pale", "pale skin", "skin", "fair", ("face",), bias={"age": "old"})


def test_a_tab_is_found(extended):
    assert list(TABS)[-1] == "about"
    page = build(extended, {})
    tabs = [one for one in page.blocks.values() if isinstance(one, gr.Tab)]
    assert [tab.id for tab in tabs][-1] == "about" and tabs[-1].label == "About"
    assert any(getattr(one, "elem_id", "") == "about-text" for one in page.blocks.values())


def test_a_measure_is_found_everywhere(extended):
    grey = np.full((4, 4, 3), 0.25)
    nothing = np.zeros((4, 4), int)
    attributes = dict.fromkeys(ATTRIBUTES, "x")
    pair = Pair(
        TARGETS["hat"],
        attributes,
        attributes,
        set(),
        (grey, 3 * grey),
        (nothing, nothing),
        (np.ones(2), np.ones(2)),
    )
    row = {"method": "spf", "target": "hat", "prompt": 0, "seed": 0} | measured(pair)
    assert row["brightness"] == 3.0

    rows = summary([row, row | {"prompt": 1, "brightness": 1.0}])
    (found,) = (one for one in rows if one["measure"] == "brightness")
    assert found["value"] == 2.0 and found["n"] == 2
    settings = dict.fromkeys(("prompts", "seeds", "steps", "split"), 1)
    results = {"rows": rows, "settings": settings, "measures": dict(MEANINGS), "absent": {}}
    assert "## Light" in document(results) and "mean brightness" in document(results)

    table = Table("x", Path("x"), rows=tuple(rows), measures=results["measures"])
    (shown,) = (
        one for one in tables_shown([table])["tables"][0]["measures"] if "bri" in one["name"]
    )
    assert shown["falling"] and shown["about"]["zh"].startswith("mean brightness")


def test_nothing_is_left_when_the_folder_is_gone():
    assert not {"plain", "half", "nothing", "about", "light"} & {
        *METHODS,
        *GUIDES,
        *EDITS,
        *TABS,
        *MEASURES,
    }


def test_every_file_has_a_class_of_its_name():
    from spf.edits import PlainEdit
    from spf.guides import Guide
    from spf.methods import Method

    for kinds, base in ((METHODS, Method), (GUIDES, Guide), (EDITS, PlainEdit)):
        for name in kinds:
            assert kinds.kind(name, base).name == name
    with pytest.raises(KeyError, match="has no Guide with the name 'naive'"):
        METHODS.kind("naive", Guide)


def test_what_a_file_says_is_read_without_running_it(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "odd.py").write_text(
        '"""Odd one.\n\nMore."""\n\nSIZE: int = 3\nNAME = SIZE\nraise SystemExit\n'
    )
    monkeypatch.setattr(registry, "FOLDERS", [tmp_path])
    (entry,) = Registry("spf.methods").values()
    assert entry.about == "Odd one." and entry.facts == {"SIZE": 3}
