"""From the engine's events to what the stage shows: plain data, ready for JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from spf.answers import Column, Progress, Result, Words
from spf.config import EMBEDDED, JOIN
from spf.evaluation.named import contradicted
from spf.shelf import ORIGINAL, TUNED
from spf.userdata.weighted import unweighted
from spf.words import parted

from .components import enlarged, png, webp
from .texts import both, same
from .verdict import attribute, listed, obeys_of, value_of, words_of

PATIENCE = 1.5
"""Seconds of work left above which the time is worth telling."""


def waiting(
    progress: Progress,
    roles: Sequence[str],
    pictures: Mapping[str, str],
    link: int = 0,
    links: int = 1,
    key: str = "status.link",
) -> dict:
    """The stage while the model works; pictures: the previews so far.

    link of links: place in a chain or a series, 0 outside one. key: of the text that says so.
    """
    if progress.what == "loading":
        return {"phase": "loading", "status": both("status.loading")}
    value = {"phase": "running", "roles": list(roles), "portraits": dict(pictures)}
    if progress.what == "judging":
        return value | {"status": both("status.judging"), "progress": 1.0}
    left = progress.seconds_left
    told = (
        both("status.left", s=max(1, round(left))) if left is not None and left > PATIENCE else ""
    )
    status = both("status.step", what=role(progress.what), **_place(progress), left=told)
    share = progress.step / max(1, progress.steps)
    if link:
        status, share = (
            both(key, k=link, n=links, rest=status),
            (link - 1 + share) / links,
        )
    return value | {"status": status, "progress": share}


def link(result: Result) -> dict:
    """One portrait of a chain, as the strip shows it."""
    request = result.config.carried()
    judged = words_of(result.reports[TUNED])
    return {
        "title": same(f"+ {result.config.targets[-1]}")
        if result.config.targets
        else both("role.original"),
        "complete": result.words.prompt.complete,
        "portrait": png(result.portraits[TUNED], request | {"role": TUNED}),
        "display": enlarged(result.portraits[TUNED]),
        "verdict": judged,
    }


def previews(progress: Progress) -> dict[str, str]:
    return {role: webp(image) for role, image in progress.previews.items()}


def finished(result: Result) -> dict:
    """The stage with a result: pictures with their settings inside, verdicts, words and notices."""
    request = result.config.carried()
    prompt = result.words.prompt
    return {
        "phase": "done",
        "roles": list(result.portraits),
        "request": request,
        "texts": {"base": prompt.base, "complete": prompt.complete},
        "portraits": {
            role: png(image, request | {"role": role}) for role, image in result.portraits.items()
        },
        "display": {role: enlarged(image) for role, image in result.portraits.items()},
        **read(result.reports),
        "labels": {
            ORIGINAL: both("score.base"),
            **({} if result.config.adapter else {TUNED: both("no adapter")}),
        },
        "columns": {name: column(drawn) for name, drawn in result.columns.items()},
        "status": both("status.size" if _unread(result) else "status.done"),
        "words": marked(result.words),
        "notices": [
            *notices(result.words),
            *_strange(result),
            *_lacking(result),
            *_completed(result.words),
            *_told(result),
        ],
        "report": dict(result.reports),
    }


def read(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the judges read in a comparison, in words of today: stored ones grow old."""
    verdicts = {role: said for role, report in reports.items() if (said := words_of(report))}
    return {"verdicts": verdicts, "own": obeys_of(reports[TUNED])}


def role(name: str) -> dict[str, str]:
    """What a portrait is called before one knows how it was drawn."""
    return both(f"role.{name}", name)


def column(drawn: Column) -> dict:
    """How a portrait was drawn, in words: its weights and its drawing."""
    weights = both(f"method.{drawn.method}", drawn.method)
    way = both(f"way.{drawn.guide or 'free'}", drawn.guide)
    text = both("column", weights=weights, way=way)
    return {"method": drawn.method, "guide": drawn.guide, "label": text}


def _place(progress: Progress) -> dict[str, int]:
    """Where a drawing stands, in the steps that were asked for."""
    if progress.of:
        return {"k": progress.at, "n": progress.of}
    return {"k": progress.step, "n": progress.steps}


def failed(text: Mapping[str, str]) -> dict:
    return {"phase": "failed", "status": dict(text)}


def stopped(progress: Progress | None) -> dict:
    if progress is None or not progress.steps:
        return {"phase": "stopped", "status": both("status.stopped.early")}
    what = {"what": role(progress.what)} | _place(progress)
    return {"phase": "stopped", "status": both("status.stopped", **what)}


def swaps(words: Words) -> list[dict]:
    """Unknown words with known ones to put in their place."""
    return [{"word": word, "near": list(near)} for word, near in words.near.items()]


def notices(words: Words) -> list[dict]:
    """What one should know about the text before trusting the pictures."""
    found = [("unknown", words.unknown), ("dropped", words.dropped)]
    told = [notice(kind, "warning", words=", ".join(these)) for kind, these in found if these]
    if unweighted(words.prompt.complete) != words.prompt.complete:
        told.append(notice("weights", "warning"))
    for name, values in contradicted(words.prompt.base).items():
        each = listed([value_of(name, value) for value in values])
        told.append(notice("both", "warning", values=each, what=attribute(name)))
    return told


def _strange(result: Result) -> list[dict]:
    """That adapters are of other weights, with the bases that they say."""
    names = [f"{name} ({base})" if base else name for name, base in result.strangers.items()]
    return [notice("other_weights", "warning", names=", ".join(names))] if names else []


def _lacking(result: Result) -> list[dict]:
    used = parted(result.config.adapter, JOIN)
    if result.unfit:
        return [notice("unfit", "info", names=", ".join(result.unfit))]
    if not used and result.config.targets:
        return [notice("no_adapter", "info")]
    if 0 < len(used) < len(result.config.targets):
        return [notice("few_adapters", "info", names=", ".join(used))]
    return []


def _completed(words: Words) -> list[dict]:
    return [notice("also", "info", words=words.also)] if words.also else []


def _told(result: Result) -> list[dict]:
    said = result.reports.get(TUNED, {}).get("told")
    return [notice("told", "info", words=", ".join(said))] if said else []


def _unread(result: Result) -> bool:
    """Whether the embedded model's judges do not know pictures of this size."""
    report, asked = result.reports[TUNED], result.config.width or result.config.height
    return bool(asked) and report["model"] == EMBEDDED and not report["attributes"]


def notice(key: str, kind: str, **values) -> dict:
    """A short notice beside the fields or under the portraits; kind: warning or info."""
    return {"kind": kind, "text": both(f"notice.{key}", **values)}


def marked(words: Words) -> list[dict]:
    """The complete text in pieces {text, kind}: phrase, target, unknown, dropped, or plain text in
    between.
    """
    text = words.prompt.complete
    label: list[tuple[str, int] | None] = [None] * len(text)
    spans = [("phrase", span) for phrase in words.prompt.phrases for span in phrase.complete]
    spans += [
        ("target", span) for phrase in words.prompt.target_phrases for span in phrase.complete
    ]
    for word in words.unknown:
        spans += [
            ("unknown", match.span())
            for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
        ]
    if words.dropped:
        spans += [("dropped", (text.rfind(" ".join(words.dropped)), len(text)))]
    for kind, (start, end) in spans:  # later ones win, so the most telling kind comes last
        label[start:end] = [(kind, start)] * (end - start)
    pieces: list[dict] = []
    for index, character in enumerate(text):
        if index and label[index] == label[index - 1]:
            pieces[-1]["text"] += character
        else:
            pieces.append({"text": character, "kind": label[index][0] if label[index] else "text"})
    return pieces
