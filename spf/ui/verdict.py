"""What the judges read in two portraits, said in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spf.evaluation.measures import changed, compared, responded
from spf.evaluation.named import disobeyed
from spf.portraits.description import Target
from spf.targets import known_targets, unread

from .form import JOINT
from .texts import FIRST, LANGUAGES, both, said, same

_PLURAL = ("glasses",)


def verdict(
    before: Mapping[str, str],
    after: Mapping[str, str],
    targets: Sequence[Target],
    *,
    redrawn: Sequence[str] = (),
    tuned: bool = True,
    asked: bool = True,
    beyond: Sequence[str] = (),
) -> dict:
    """The verdict on one portrait against the original model's, ready for the page.

    before, after: value of each attribute. targets: the known targets that were asked for; empty
    when the judges were never taught them. redrawn: parts of the face that are
    another unasked. tuned: False when no adapter was active, asked: False
    without any target. beyond: what else was said of them, which nobody reads.
    """
    there = [target for target in targets if responded(after, target)]
    missing = [target for target in targets if target not in there]
    others, moved = compared(before, after, targets), changed(before, after, targets)
    parts = [] if tuned else [both("verdict.same_model")]
    parts += [_response(there, missing)] if targets else [both("verdict.plain")] if asked else []
    parts += [both("verdict.unread", words=words) for words in beyond]
    counts = {"n": len(others), "same": len(others) - len(moved), "k": len(moved)}
    parts += [
        both("verdict.changed", **counts, what=listed([attribute(n) for n in moved]))
        if moved
        else both("verdict.kept", **counts)
    ]
    if redrawn:
        names = listed([both(f"face.{part}") for part in redrawn])
        parts.append(
            both(
                "verdict.redrawn",
                what=names,
                verb="were" if len(redrawn) > 1 or "eyes" in redrawn else "was",
            )
        )
    score = _score(targets, missing, moved, redrawn)
    return {
        "sentence": _joined(parts, both("joint.sentences")),
        "score": both(f"score.{score}", **counts),
        "clean": score == "clean",
        "changed": [
            {"label": attribute(n), "from": value_of(n, before[n]), "to": value_of(n, after[n])}
            for n in moved
        ]
        + [
            {"label": both(f"face.{part}"), "from": None, "to": both("face.redrawn")}
            for part in redrawn
        ],
        "unchanged": [
            {"label": attribute(n), "value": value_of(n, after[n])}
            for n in others
            if n not in moved
        ],
    }


def words_of(report: Mapping[str, Any], tuned: bool | None = None) -> dict | None:
    """The verdict on the pair of a report; None when nothing was read. tuned: as `verdict` takes
    it.
    """
    if not report["attributes"]:
        return None
    before, after = (
        {name: pair[side] for name, pair in report["attributes"].items()}
        for side in ("original", "tuned")
    )
    targets = known_targets(report["target"])
    known = targets if len(targets) == len(report["target"]) else []
    tuned = bool(report["adapter"]) if tuned is None else tuned
    redrawn = report.get("redrawn") or ()
    asked = bool(report["target"])
    beyond = [words for target in report["target"] if known and (words := unread(target))]
    return verdict(before, after, known, redrawn=redrawn, tuned=tuned, asked=asked, beyond=beyond)


def _score(
    targets: Sequence[Target],
    missing: Sequence[Target],
    moved: Sequence[str],
    redrawn: Sequence[str],
) -> str:
    """Which of the one-line scores fits."""
    if not targets:
        return "plain"
    if missing:
        return "missing"
    return "changed" if moved else "redrawn" if redrawn else "clean"


def obeys(base: str, shown: Mapping[str, str], targets: Sequence[Target] = ()) -> dict | None:
    """Whether the original shows what its own text names; None for a text that names nothing which
    the judges read.
    """
    asked, missed = disobeyed(base, shown, targets)
    if not asked:
        return None
    if not missed:
        return {"text": both("own.fine", n=len(asked)), "fine": True}
    wrong = [
        both(
            "own.wrong",
            what=attribute(name),
            asked=value_of(name, asked[name]),
            shown=value_of(name, shown[name]),
        )
        for name in missed
    ]
    return {"text": both("own.missed", what=listed(wrong)), "fine": False}


def obeys_of(report: Mapping[str, Any]) -> dict | None:
    """`obeys` of the original of a report; None when nothing was read."""
    if not report.get("attributes"):
        return None
    shown = {name: pair["original"] for name, pair in report["attributes"].items()}
    return obeys(report["base"], shown)


def _response(there: Sequence[Target], missing: Sequence[Target]) -> dict[str, str]:
    if there and missing:
        key, named = "verdict.some", there
    else:
        key, named = ("verdict.there", there) if there else ("verdict.missing", missing)
    text = listed([_named(target) for target in named])
    one = len(named) == 1 and not named[0].text.endswith(_PLURAL)
    return both(
        key,
        target=text,
        Target={code: said(text, code)[:1].upper() + said(text, code)[1:] for code in LANGUAGES},
        verb="is" if one else "are",
        missing=listed([_named(target) for target in missing]) if missing else "",
    )


def asked_for(target: Target) -> dict[str, str]:
    """What a target is called; the model reads its text, which is English."""
    if target.beside:
        return same(target.text)
    return both(f"target.{target.name}", target.text)


def titled(text: str) -> dict[str, str]:
    """Targets that are joined in one text, each called as the page calls it."""
    parts = [(part, known_targets((part,))) for part in text.split(JOINT)]
    return _joined([asked_for(one[0]) if one else same(part) for part, one in parts], same(JOINT))


def _named(target: Target) -> dict[str, str]:
    """The target of a verdict, in the first language with its article."""
    return asked_for(target) | {FIRST: _with_article(target)}


def _with_article(target: Target) -> str:
    """ "a hat" becomes "the hat", "dress" too when it replaces a noun; "freckled skin" stays as it
    is.
    """
    first, _, rest = target.text.partition(" ")
    if first in ("a", "an"):
        return f"the {rest}"
    return (
        f"the {target.text}"
        if target.mode == "replace" or target.text.endswith(_PLURAL)
        else target.text
    )


def attribute(name: str) -> dict[str, str]:
    """What an attribute is called."""
    return both(f"attribute.{name}", name.replace("_", " "))


def value_of(name: str, value: str) -> dict[str, str]:
    """What a value of an attribute is called."""
    return both(f"value.{name}.{value}", value)


def listed(items: Sequence[dict[str, str]]) -> dict[str, str]:
    """ "a", "a and b", "a, b and c" in either language."""
    *most, last = items
    return _joined([_joined(most, both("joint.list")), last], both("and")) if most else last


def _joined(parts: Sequence[dict[str, str]], by: dict[str, str]) -> dict[str, str]:
    return {code: by[code].join(part[code] for part in parts) for code in LANGUAGES}
