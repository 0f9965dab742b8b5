"""What a page keeps stays within bounds however long it is used, and what it drops is gone."""

import gc
import weakref
from types import SimpleNamespace

import fake_engine
import pytest
from cachetools import LRUCache

from spf.answers import Result
from spf.config import AUTO
from spf.ui import runs, stage
from spf.ui.tabs import vote
from spf.votes import Votes


class Watched(dict):
    """A dictionary that can be watched."""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """No picture is written as a file and maps have one size, which would take most of the time."""
    monkeypatch.setattr(fake_engine, "SIDES", (8,))
    for name in ("png", "webp", "enlarged"):
        monkeypatch.setattr(stage, name, lambda image, *_: f"{image.mean()}")
    monkeypatch.setattr(vote, "enlarged", lambda image, *_: f"{image.mean()}")
    return fake_engine.FakeEngine(tmp_path, adapters=("hat", "hat-naive"))


def alive(watched) -> int:
    gc.collect()
    return sum(one() is not None for one in watched)


def fields(seed, steps=2):
    return "a woman", "a hat", "append", "", AUTO, AUTO, seed, steps, 4.0


def test_a_page_that_draws_all_day_keeps_its_last_drawings_alone(engine, tmp_path, monkeypatch):
    (tmp_path / "adapters" / "hat-naive.safetensors").unlink()
    desk = runs.Runs(engine)
    made = {"finished": [], "link": [], "payload": [], "heavy": []}

    def watched(place, name):
        make = getattr(place, name)

        def wrapped(result):
            value = Watched(make(result))
            made[name].append(weakref.ref(value))
            return value

        monkeypatch.setattr(place, name, wrapped)

    watched(stage, "finished"), watched(stage, "link"), watched(runs, "payload")
    draw = desk.draw

    def drawn(*arguments):
        for event in draw(*arguments):
            if isinstance(event, Result):
                heavy = [event, event.trace, *event.portraits.values(), *event.frames.values()]
                made["heavy"] += map(weakref.ref, heavy)
            yield event
            del event

    desk.draw = drawn
    count = desk.LINKS + desk.PAIRS // 2
    for seed in range(count):
        request = SimpleNamespace(session_hash=f"visitor {seed}")
        *_, (shown, inside, *_) = desk.run(request, False, *fields(seed))
        assert shown["phase"] == "done"
        if seed % 4 == 0:
            *_, maps = desk.maps(SimpleNamespace(ask=inside["ask"], request=inside["request"]))
            assert "blob" in maps
        if seed % 4 == 1:  # one who leaves in the middle
            run = desk.run(request, False, *fields(seed + 10_000, steps=50))
            next(run), next(run), next(run)
            run.close()
    del shown, inside, maps, run, _

    assert len(made["finished"]) == len(made["link"]) == count > desk.LINKS > desk.PAIRS
    assert (len(desk.drawn), len(desk.links), desk.runs) == (desk.PAIRS, desk.LINKS, {})
    assert alive(made["heavy"]) == 0, "results, traces and pictures as arrays are never kept"
    assert alive(made["finished"]) == desk.PAIRS
    assert alive(made["link"]) == desk.LINKS
    assert alive(made["payload"]) == desk.PAIRS // 4 < len(made["payload"])

    desk.drawn.clear(), desk.links.clear()
    assert alive(made["finished"] + made["link"] + made["payload"]) == 0


def test_chains_and_series_keep_nothing_else(engine):
    desk = runs.Runs(engine)
    request = SimpleNamespace(session_hash="s")
    chain = ("a woman", "a hat + a crown", *fields(0)[2:])
    for seed in range(6):
        *_, (shown, *_) = desk.run(request, True, *chain[:6], seed, *chain[7:])
        assert len(shown["strip"]) == 2
    *_, (shown, *_) = desk.series(request, "seeds", 5, "", *fields(100))
    assert len(shown["items"]) == 5
    assert (len(desk.links), len(desk.drawn), desk.runs) == (12, 6, {})


def test_pairs_drawn_for_votes_make_room_for_later_ones(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(vote, "DRAWN", 3), monkeypatch.setattr(vote, "STEPS", 5)
    booth = vote.Booth(engine, {}, Votes(tmp_path / "votes.sqlite"), seed=0)
    booth.out, entries, seen = LRUCache(2), [], []
    for _ in range(6):
        *_, ballot = booth.next(seen)
        assert ballot["phase"] == "asking"
        entries.append(weakref.ref(booth.pool[-1]))
    assert len(seen) == len(set(seen)) == 6, "each visitor sees a pair once"
    assert [entry() for entry in entries[-3:]] == booth.pool
    assert alive(entries) == 3
