"""Blind vote: two portraits by unnamed methods beside the original, three questions, and what the
votes add up to.

Which method drew which side is known to the server alone until the vote is in.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import gradio as gr
from cachetools import LRUCache

from spf.answers import Result
from spf.config import AUTO, GenerateConfig
from spf.engine import Engine
from spf.errors import SpfError
from spf.portraits.description import TARGETS
from spf.portraits.texts import base_captions
from spf.shelf import NAIVE, ORIGINAL, TUNED, adapter_name
from spf.votes import QUESTIONS, Votes

from ..boundary import sentence
from ..components import HEAVY, QUICK, enlarged, own
from ..examples import Example
from ..gpu import lent_drawing, on_space
from ..page import Page
from ..texts import both

ORDER = 5

NAMES = {TUNED: "spf", NAIVE: NAIVE}
"""Methods by their role in a comparison."""
OPEN = 500
"""Ballots that may be out at a time; the oldest are forgotten."""
DRAWN = 200
"""Entries that were drawn for earlier visitors and are kept for later ones."""
STEPS, TEXTS_EACH = 20, 40


def offered() -> bool:
    """On a Space only with SPF_VOTES=1: its disk is not kept, and its visitors are not asked by
    default.
    """
    return not on_space() or os.environ.get("SPF_VOTES") == "1"


@dataclass(frozen=True)
class Entry:
    """Portraits of one text and noise to vote on, as data URIs by method; the original beside
    them.
    """

    target: str
    base: str
    complete: str
    seed: int
    original: str
    portraits: Mapping[str, str]


@dataclass(frozen=True)
class Ballot:
    """Two methods on one entry; the first is shown on the left."""

    entry: Entry
    methods: tuple[str, str]


class Booth:
    """Hands out ballots and takes them back once. Stored examples come first, then pairs are drawn
    from held-out texts.
    """

    def __init__(
        self, engine: Engine, examples: Mapping[str, Example], votes: Votes, seed: int | None = None
    ) -> None:
        self.engine, self.votes, self.rng = engine, votes, random.Random(seed)
        self.pool = [
            entry for name, example in examples.items() if (entry := _stored(name, example))
        ]
        self.stored = len(self.pool)
        self.out: LRUCache[str, Ballot] = LRUCache(OPEN)
        self.lock = threading.Lock()

        self.draw = lent_drawing(engine)

    def methods(self) -> dict[str, list[str]]:
        """Targets for which two methods or more have weights, with those methods."""
        there = self.engine.files()
        found = {
            name: [m for m in ("spf", *_others(there, name)) if adapter_name(name, m) in there]
            for name in TARGETS
        }
        return {name: methods for name, methods in found.items() if len(methods) > 1}

    def possible(self) -> bool:
        return bool(self.pool or self.methods())

    def next(self, seen: list[str]) -> Iterator[dict[str, Any]]:
        """Values of static/vote.js up to the next ballot; seen: entries that this visitor had, to
        which the new one is added.
        """
        fresh = [entry for entry in self.pool if _key(entry) not in seen]
        if not fresh:
            drawn = None
            for event in self._drawn():
                if isinstance(event, Entry):
                    drawn = event
                else:
                    yield event
            if drawn is None:
                yield {"phase": "over", "status": both("vote.over"), "tally": self.tally()}
                return
            fresh = [drawn]
        with self.lock:
            entry = self.rng.choice(fresh)
            pairs = list(combinations(entry.portraits, 2))
            methods = list(self.rng.choice(pairs))
            self.rng.shuffle(methods)
            ballot, name = Ballot(entry, tuple(methods)), secrets.token_urlsafe(12)
            self.out[name] = ballot
        seen.append(_key(entry))
        yield {
            "phase": "asking",
            "ballot": name,
            "base": entry.base,
            "complete": entry.complete,
            "target": TARGETS[entry.target].text,
            "original": entry.original,
            "left": entry.portraits[methods[0]],
            "right": entry.portraits[methods[1]],
        }

    def _drawn(self) -> Iterator[dict | Entry]:
        """Progress, then one entry from a held-out text. It joins the pool for later visitors, in
        which the oldest drawn one makes room.
        """
        possible = self.methods()
        if not possible:
            return
        name = self.rng.choice(list(possible))
        methods = self.rng.sample(possible[name], 2)
        target = TARGETS[name]
        base = base_captions(target, TEXTS_EACH, 0, "test")[self.rng.randrange(TEXTS_EACH)][1].text
        seed, portraits, original = self.rng.randrange(2**31), {}, ""
        methods.sort(
            key=lambda method: method != "spf"
        )  # its drawing may bring the naive counterpart along
        for number, method in enumerate(methods):
            if method in portraits:
                continue
            config = GenerateConfig(
                base,
                (target.text,),
                seed=seed,
                steps=STEPS,
                adapter=adapter_name(name, method),
                beside=AUTO if NAIVE in methods else "",
                others="alike",
            )
            with closing(self.draw(config)) as events:
                for event in events:
                    if isinstance(event, Result):
                        portraits[method] = enlarged(event.portraits[TUNED], 384)
                        if NAIVE in methods and NAIVE in event.portraits:
                            portraits[NAIVE] = enlarged(event.portraits[NAIVE], 384)
                        original = enlarged(event.portraits[ORIGINAL], 384)
                        complete = event.words.prompt.complete
                    else:
                        share = (number + event.step / max(1, event.steps)) / len(methods)
                        yield {
                            "phase": "drawing",
                            "status": both("vote.drawing"),
                            "progress": share,
                        }
        entry = Entry(name, base, complete, seed, original, portraits)
        with self.lock:
            self.pool = [*self.pool, entry]
            if len(self.pool) > self.stored + DRAWN:
                del self.pool[self.stored]
        yield entry

    def take(self, name: Any, answers: Any) -> dict[str, Any] | None:
        """Counts a ballot once and says what was what; None for one that is not out (any more) or
        not whole.
        """
        answers = answers if isinstance(answers, dict) else {}
        if any(answers.get(question) not in ("left", "right", "same") for question in QUESTIONS):
            return None
        with self.lock:
            ballot = self.out.pop(name, None) if isinstance(name, str) else None
        if ballot is None:
            return None
        side = {"left": ballot.methods[0], "right": ballot.methods[1], "same": ""}
        winners = {question: side[answers[question]] for question in QUESTIONS}
        entry = ballot.entry
        try:
            self.votes.add(entry.target, entry.complete, entry.seed, ballot.methods, winners)
        except SpfError:
            with self.lock:
                self.out[name] = ballot  # it was not counted and can be sent again
            raise
        return {"left": ballot.methods[0], "right": ballot.methods[1]}

    def tally(self) -> dict[str, Any]:
        return {
            "count": self.votes.count(),
            "rows": self.votes.tally(),
            "questions": list(QUESTIONS),
        }


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab and connects it."""
    booth = Booth(page.engine, page.examples, page.votes)
    view = own("vote", {"phase": "start"}, name="vote")
    seen = gr.State([])

    def following(seen, said):
        try:
            for value in booth.next(seen):
                yield said | value, seen
        except Exception as error:
            yield {"phase": "over", "status": sentence(error), "tally": booth.tally()}, seen

    def ask(seen):
        """Shows the next pair."""
        yield from following(list(seen), {})

    def answer(event: gr.EventData):
        """Counts the vote and reveals the methods and the tally."""
        revealed = booth.take(event.ballot, event.answers)
        status = {} if revealed else {"status": both("vote.lost")}
        return {"phase": "answered", "revealed": revealed, "tally": booth.tally()} | status

    def look():
        """The tally without a vote."""
        return {"phase": "start", "tally": booth.tally()}

    view.ask(ask, seen, [view, seen], **HEAVY)
    view.answer(answer, None, view, **QUICK)
    view.tally(look, None, view, **QUICK)


def _others(there: Mapping[str, Any], target: str) -> list[str]:
    """Methods beside spf with shipped weights; names with a number at the end are one's own
    runs.
    """
    return [
        method
        for name in there
        if (method := name.removeprefix(f"{target}-")) != name and "-" not in method
    ]


def _stored(name: str, example: Example) -> Entry | None:
    """An example with portraits of two methods or more; composed targets and others have none."""
    shown = example.stage
    roles = {NAMES[role]: role for role in shown["roles"] if role in NAMES}
    guides = {column["guide"] for column in shown["columns"].values()}
    if name not in TARGETS or len(roles) < 2 or len(guides) > 1:
        return None  # like is compared with like: all held, or all free
    pictures = {method: shown["display"][role] for method, role in roles.items()}
    texts, seed = shown["texts"], example.request["seed"]
    return Entry(name, texts["base"], texts["complete"], seed, shown["display"][ORIGINAL], pictures)


def _key(entry: Entry) -> str:
    return f"{entry.target} {entry.seed} {entry.base}"
