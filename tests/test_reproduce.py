"""The run sheet: every step in order, resumed, and what it makes put where it is shipped."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spf.cli import app
from spf.errors import BadInput, SpfError
from spf.portraits.description import TARGETS
from spf.portraits.pretrain import STAGES
from spf.reproduce import SHIPPED, TAUGHT, chosen, reproduce, steps


@pytest.fixture
def sheet(tmp_path):
    return list(steps(tmp_path / "out", tmp_path))


def test_all_that_is_shipped_has_a_step(sheet):
    names = [step.name for step in sheet]
    assert names[: len(STAGES)] == list(STAGES)
    assert {f"{t}-{m}" for t in TARGETS for m in TAUGHT} <= set(names)
    assert names[-4:] == ["results", "figures", "examples", "screenshot"]
    places = [place for step in sheet for _, place in step.keep]
    shelf = [place for place in places if "checkpoints" in place.parts]
    assert len(shelf) == sum(len(some) for some in SHIPPED.values()) == len(set(shelf))


def test_every_command_is_one_of_ours(sheet):
    for step in sheet:
        shown = CliRunner().invoke(app, [step.command[0], "--help"])
        assert shown.exit_code == 0, step.command
        for word in step.command:
            assert not word.startswith("--") or word in shown.output, (step.name, word)


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
