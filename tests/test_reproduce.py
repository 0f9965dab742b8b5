"""The run sheet: every step in order, resumed, and what it makes put where it is shipped."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from spf.cli import app
from spf.errors import BadInput, SpfError
from spf.portraits.description import TARGETS
from spf.portraits.pretrain import STAGES
from spf.reproduce import SHIPPED, TAUGHT, chosen, reproduce, steps
from spf.shelf import adapter_name

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def sheet(tmp_path):
    return list(steps(tmp_path / "out", tmp_path))


def test_all_that_is_shipped_has_a_step(sheet):
    names = [step.name for step in sheet]
    assert names[: len(STAGES)] == list(STAGES)
    assert {f"{t}-{m}" for t in TARGETS for m in TAUGHT} <= set(names)
    assert names[-5:] == ["results", "results-short", "figures", "examples", "screenshot"]
    places = [place for step in sheet for _, place in step.keep]
    shelf = [place for place in places if "checkpoints" in place.parts]
    assert len(shelf) == sum(len(some) for some in SHIPPED.values()) == len(set(shelf))


def test_every_command_is_one_of_ours(sheet):
    for step in sheet:
        shown = CliRunner().invoke(app, [step.command[0], "--help"])
        assert shown.exit_code == 0, step.command
        for word in step.command:
            assert not word.startswith("--") or word in shown.output, (step.name, word)


def test_the_orders_are_those_that_made_what_ships(sheet):
    """The header of each shipped adapter says how it was made."""
    orders = {step.name: step.command for step in sheet}
    for method, targets in SHIPPED.items():
        for target in targets:
            file = ROOT / f"checkpoints/adapters/{adapter_name(target, method)}.safetensors"
            with safe_open(file, "np") as shipped:
                header = shipped.metadata()
            order = orders[f"{target}-{method}"]
            made = json.loads(header["data"])

            for name in ("method", "data", "steps", "rank"):
                assert order[order.index(f"--{name}") + 1] == str(made[name]), (target, name)
            own, asked = json.loads(header["settings"]), zip(order, order[1:], strict=False)
            wanted = dict(value.split("=") for word, value in asked if word == "--set")
            assert wanted.get("push") == header.get("push"), target
            assert {name: own[name] for name in wanted} == {
                name: float(value) for name, value in wanted.items()
            }, target
            started = order[order.index("--start") + 1] if "--start" in order else ""
            assert bool(started) == bool(made["start"]), target


def test_the_table_is_measured_as_its_page_says(sheet):
    (step,) = [step for step in sheet if step.name == "results"]
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    told = page[page.index("python -m spf evaluate") : page.index("64 pairs")].replace("\\\n", " ")
    folders = {"DIR": "--adapters", "OUT": "--out"}
    at = {word: step.command[step.command.index(option) + 1] for word, option in folders.items()}
    assert [at.get(word, word) for word in told.split()[3:]] == list(step.command)


def test_a_step_that_fails_keeps_what_was_done(sheet, tmp_path):
    few = chosen(sheet, ["vae", "hat-spf", "figures"], "")
    ran = []

    def run(command, failing=""):
        ran.append(command[0])
        if command[0] == "finetune":
            folder = Path(command[command.index("--out") + 1])
            folder.mkdir(parents=True)
            (folder / "hat.safetensors").write_bytes(b"weights")
        return int(command[0] == failing)

    with pytest.raises(SpfError, match="figures ended with status 1"):
        reproduce(few, tmp_path / "out", run=lambda command: run(command, "figures"))
    assert (tmp_path / "checkpoints/adapters/hat.safetensors").read_bytes() == b"weights"
    assert set(json.loads((tmp_path / "out/steps.json").read_text())) == {"vae", "hat-spf"}

    ran.clear()
    reproduce(few, tmp_path / "out", run=run)
    assert ran == ["figures"]


def test_steps_are_chosen_by_name(sheet):
    assert [step.name for step in chosen(sheet, (), "examples")] == ["examples", "screenshot"]
    with pytest.raises(BadInput, match="only"):
        chosen(sheet, ["paint"], "")
    with pytest.raises(BadInput, match="from"):
        chosen(sheet, (), "paint")
