"""Benches count rows, compare like with like, and take ratios within a round."""

import pytest
from typer.testing import CliRunner

from spf import bench as b
from spf.cli import app


@pytest.fixture(scope="module")
def base():
    return b.base_of("cut", "cpu")


def test_ratios_are_taken_within_rounds(base, monkeypatch):
    clock = iter([0, 1, 0, 3, 0, 2, 0, 4, 0, 1, 0, 5])  # three rounds of two variants
    monkeypatch.setattr(b, "_clock", lambda base: next(clock))
    monkeypatch.setattr(b.np.random, "default_rng", lambda seed: Fixed())
    found = b.interleaved(base, {"one": lambda: None, "two": lambda: None}, rounds=3)
    assert (found["one"].seconds, found["two"].seconds) == (1, 4)
    assert (found["two"].least, found["two"].ratio, found["two"].most) == (2, 3, 5)
    assert found["two"].to == "one"
    clock = iter([0, 1, 0, 4, 0, 2])
    names = ("one", "two", "three")
    how = {"rounds": 1, "against": {"three": "two"}}
    found = b.interleaved(base, dict.fromkeys(names, lambda: None), **how)
    assert [found[name].ratio for name in names] == [1, 4, 0.5]
    assert "| three | 2.000 | 0.50 [0.50..0.50] | two | 0 |" in b.table(found)


class Fixed:
    def permutation(self, n):
        return range(n)


def test_rows_of_a_pair(base):
    found = b.pair(base, steps=2, rounds=1)
    rows = {name: one.rows / 2 for name, one in found.items()}
    assert rows["two stock pictures"] == 4
    assert all(one.to == b.PRESSES.get(name, "two stock pictures") for name, one in found.items())
    assert rows["free pair"] == 4 and rows["free pair, another target"] == 2
    assert rows["free pair with maps"] == 5, "the reference beside the tuned path"
    differ, held = 1, 3.5  # both texts at every second step; empty, base and complete text
    assert rows["held pair"] == 2 + differ + held, "and the reference at every second step"
    assert rows["held pair with maps"] == rows["held pair"] + 1
    assert rows["held pair and a free third"] == rows["held pair"] + 2
    assert rows["held pair, another push"] == held
    assert rows["held pair, another strength"] == rows["held pair, another target"] == differ + held
    assert rows["held pair, its maps"] == 2


def test_capture_changes_nothing(base):
    _, changed, kept = b.capture(base, steps=2, rounds=1)
    assert changed == 0 and 0 < kept < 2**20


def test_what_weighs_nothing_asks_for_no_reference(base):
    found = b.finetune(base, batch=2, rounds=1)
    rows = {name: one.rows for name, one in found.items()}
    assert rows == {"lora": 2, "lora again": 2, "dual": 4, "dual, no term weighs": 2}


def test_the_command_prints_a_table():
    ran = CliRunner().invoke(app, ["bench", "capture", "--model", "cut", "--rounds", "1"])
    assert ran.exit_code == 0 and "| with maps |" in ran.stdout and "0 values changed" in ran.stdout
