"""What a run still takes is told as it turns out."""

import pytest

from spf.methods import build
from spf.pace import Pace


def told(pace, seconds, look):
    """What is told after each step, and its look where one is due, and what was really left."""
    rows, spent = [], 0.0
    for number, took in enumerate(seconds, start=1):
        pace.step(number, took)
        left, spent = pace.left(number), spent + took
        if number in pace.looks:
            pace.look, spent = look, spent + look
        rows.append((left, spent))
    return [(left, spent - at) for left, at in rows]


def test_nothing_is_told_before_a_step_was_timed():
    assert Pace(80).left(0) is None


def test_a_run_of_one_stage_is_told_exactly():
    rows = told(Pace(30), [0.5] * 30, 0)
    assert all(left == pytest.approx(real) for left, real in rows)


def test_looks_and_a_heavier_stage_are_counted_before_they_come():
    pace = Pace(80, border=40, times=2.5, looks=(14, 28, 42, 56, 70, 80), look=4.0)
    rows = told(pace, [1.0] * 40 + [2.5] * 40, 4.0)
    assert all(left == pytest.approx(real) for left, real in rows)


def test_a_guess_about_the_later_stage_is_mended_by_its_first_steps():
    pace = Pace(80, border=40, times=2.5)
    rows = told(pace, [1.0] * 40 + [4.0] * 40, 0)
    assert rows[0][0] == pytest.approx(139) and rows[0][1] == pytest.approx(199)
    assert rows[41][0] == pytest.approx(rows[41][1])


@pytest.mark.parametrize(("steps", "dual"), [(400, 2.2), (1200, 1.7)])
def test_a_run_of_spf_is_told_within_a_tenth_before_its_later_stage(steps, dual):
    border, times = build("spf").later_stage(steps)
    pace = Pace(steps, border=border, times=times)
    pace.step(1, 1.0)
    assert pace.left(1) == pytest.approx(border - 1 + (steps - border) * dual, rel=0.1)


def test_one_slow_step_does_not_upset_what_is_told():
    pace = Pace(40)
    for number in range(1, 20):
        pace.step(number, 30.0 if number == 10 else 1.0)
    assert pace.left(19) == pytest.approx(21)


def test_a_resumed_run_begins_in_its_later_stage():
    pace = Pace(80, border=40, times=2.5)
    pace.step(61, 2.0)
    assert pace.left(61) == pytest.approx(38)
