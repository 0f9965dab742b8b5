"""Votes are stored whole or not at all, and intervals are Wilson's."""

import sqlite3
import threading

import pytest

from spf.errors import BadInput, SpfError
from spf.votes import QUESTIONS, Votes, wilson


def test_wilson_agrees_with_published_values():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for won, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(won, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(BadInput, match="won is 3"):
        wilson(3, 2)


def test_votes_add_up_and_ties_stay_out_of_the_share(tmp_path):
    votes = Votes(tmp_path / "in" / "votes.sqlite")
    assert votes.tally() == [] and votes.count() == 0 and not votes.path.exists()
    for keeps in ("spf", "spf", "naive", ""):
        votes.add(
            "hat",
            "a woman, a hat",
            7,
            ("spf", "naive"),
            {"keeps": keeps, "shows": "", "nicer": "naive"},
        )
    votes.add(
        "hat", "a man, a hat", 8, ("lora", "spf"), {"keeps": "lora", "shows": "spf", "nicer": ""}
    )
    rows = {(row["method"], row["question"]): row for row in Votes(votes.path).tally()}
    assert set(rows) == {
        (method, question) for method in ("spf", "naive", "lora") for question in QUESTIONS
    }
    spf = rows["spf", "keeps"]
    assert (spf["won"], spf["lost"], spf["same"], spf["share"]) == (2, 2, 1, 0.5)
    assert (spf["low"], spf["high"]) == wilson(2, 4) and rows["naive", "shows"]["share"] is None
    assert votes.count() == 5


@pytest.mark.parametrize(
    "methods, winners",
    [
        (("spf", "spf"), dict.fromkeys(QUESTIONS, "spf")),
        (("spf", "naive"), {"keeps": "spf", "shows": "spf"}),
        (("spf", "naive"), dict.fromkeys(QUESTIONS, "lora")),
    ],
)
def test_a_wrong_vote_leaves_nothing_behind(tmp_path, methods, winners):
    votes = Votes(tmp_path / "votes.sqlite")
    with pytest.raises(BadInput):
        votes.add("hat", "text", 1, methods, winners)
    assert votes.count() == 0 and votes.tally() == []


def test_many_may_vote_at_once(tmp_path):
    votes = Votes(tmp_path / "votes.sqlite")
    one = lambda: votes.add("hat", "text", 1, ("a", "b"), dict.fromkeys(QUESTIONS, "a"))  # noqa: E731
    threads = [threading.Thread(target=one) for _ in range(8)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert votes.count() == 8


@pytest.mark.parametrize("fault", ["a file for a folder", "no database", "a folder for a file"])
def test_a_file_that_cannot_be_used_is_told(tmp_path, fault):
    votes = Votes(tmp_path / "in" / "votes.sqlite")
    if fault == "a file for a folder":
        votes.path.parent.write_text("")
    elif fault == "no database":
        votes.path.parent.mkdir()
        votes.path.write_text("something else, and longer than a header of a hundred bytes" * 9)
    else:
        votes.path.mkdir(parents=True)
    winners = dict.fromkeys(QUESTIONS, "spf")
    with pytest.raises(SpfError, match=r"^votes.sqlite cannot be used \(.+\), so votes") as told:
        votes.add("hat", "a woman, a hat", 7, ("spf", "naive"), winners)
    assert str(tmp_path) not in str(told.value)


def test_a_disk_that_is_full_keeps_no_half_of_a_vote(tmp_path, monkeypatch):
    votes = Votes(tmp_path / "votes.sqlite")
    winners = dict.fromkeys(QUESTIONS, "spf")
    votes.add("hat", "a woman, a hat", 7, ("spf", "naive"), winners)
    connect = sqlite3.connect

    def small(*arguments, **options):
        file = connect(*arguments, **options)
        file.execute("PRAGMA max_page_count = 2")
        return file

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(SpfError, match="full"):
            votes.add("hat", "a woman, a hat " * 1000, 7, ("spf", "naive"), winners)
    assert votes.count() == 1 and len(votes.tally()) == 2 * len(QUESTIONS)


def test_a_file_of_something_else_is_never_written_into(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("x")
    with pytest.raises(SpfError, match="it holds something else"):
        Votes(other).count()
    assert other.read_text() == "x"
