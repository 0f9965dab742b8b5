"""Votes are stored whole or not at all, and intervals are Wilson's."""

import threading

import pytest

from spf.errors import BadInput
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
