"""Votes of the blind comparison, kept in one local SQLite file, and what they add up to.

    votes = Votes("runs/votes.sqlite")
    winners = {"keeps": "spf", "shows": "", "nicer": "spf"}
    votes.add("hat", "a woman, a hat", 7, ("spf", "naive"), winners)
    votes.tally()             # per method and question: won, lost, share with its interval

A vote compares two methods on one pair of portraits; nothing about the voter is stored.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .errors import BadInput, SpfError

QUESTIONS = ("keeps", "shows", "nicer")
"""Which keeps the original better, which shows the target, which is nicer: the questions of the
paper's user study.
"""
Z = 1.959964
"""Two-sided 95% quantile of the normal distribution."""
_HEAD = b"SQLite format 3\0"
"""How a file of votes begins; SQLite itself would write into a short text."""
_TABLE = """CREATE TABLE IF NOT EXISTS votes (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    target TEXT NOT NULL, text TEXT NOT NULL, seed INTEGER NOT NULL, first TEXT NOT NULL,
    second TEXT NOT NULL, question TEXT NOT NULL, winner TEXT NOT NULL,
    CHECK (first <> second), CHECK (winner IN (first, second, '')))"""


def wilson(won: int, n: int, z: float = Z) -> tuple[float, float]:
    """Score interval of a share won / n (Wilson 1927); (0, 1) without any vote. Raises BadInput
    unless 0 <= won <= n.
    """
    if not 0 <= won <= n:
        raise BadInput(f"won is {won} but must be from 0 to n, {n}.")
    if n == 0:
        return 0.0, 1.0
    share, square = won / n, z * z / n
    middle, half = share + square / 2, z * math.sqrt((share * (1 - share) + square / 4) / n)
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


class Votes:
    """The votes in one file, which is made with the first of them. Threads and processes may share
    it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def add(
        self,
        target: str,
        text: str,
        seed: int,
        methods: tuple[str, str],
        winners: Mapping[str, str],
    ) -> None:
        """Stores the answers to all questions at once; a winner is one of the two methods, or ""
        for no difference.

        Raises BadInput for a missing question or a winner that did not take part.
        """
        if len(methods) != 2 or methods[0] == methods[1] or not all(methods):
            raise BadInput(f"methods is {methods!r} but must be two different names.")
        for question in QUESTIONS:
            if winners.get(question) not in (*methods, ""):
                raise BadInput(
                    f"{question} is {winners.get(question)!r} but must be one of the two, or no "
                    "difference."
                )
        rows = [
            (target, text, seed, *methods, question, winners[question]) for question in QUESTIONS
        ]
        with self._open() as file:
            file.executemany(
                "INSERT INTO votes (target, text, seed, first, second, question, winner) VALUES "
                "(?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def count(self) -> int:
        """Pairs that were voted on."""
        if not self.path.is_file():
            return 0
        with self._open() as file:
            return file.execute(
                "SELECT COUNT(*) FROM votes WHERE question = ?", QUESTIONS[:1]
            ).fetchone()[0]

    def tally(self) -> list[dict[str, Any]]:
        """One row a method and question: won, lost, same, share of the decided votes with its 95%
        interval.
        """
        if not self.path.is_file():
            return []
        with self._open() as file:
            votes = file.execute(
                "SELECT first, second, question, winner FROM votes ORDER BY id"
            ).fetchall()
        rows = []
        for method in dict.fromkeys(
            name for first, second, *_ in votes for name in (first, second)
        ):
            for question in QUESTIONS:
                winners = [
                    winner for *two, asked, winner in votes if asked == question and method in two
                ]
                won, same = winners.count(method), winners.count("")
                lost = len(winners) - won - same
                low, high = wilson(won, won + lost)
                share = won / (won + lost) if won + lost else None
                numbers = {
                    "won": won,
                    "lost": lost,
                    "same": same,
                    "share": share,
                    "low": low,
                    "high": high,
                }
                rows.append({"method": method, "question": question, **numbers})
        return rows

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, whose changes are kept when the block ends. Raises SpfError for one that cannot
        be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                file.seek(0)
                if file.read(len(_HEAD)) not in (b"", _HEAD):
                    raise OSError(None, "it holds something else")
            with closing(sqlite3.connect(self.path, timeout=10)) as file, file:
                file.execute(_TABLE)
                yield file
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or error
            raise SpfError(
                f"{self.path.name} cannot be used ({why}), so votes cannot be kept; start the page"
                " in a folder of your own."
            ) from error
