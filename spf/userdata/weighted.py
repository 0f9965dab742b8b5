"""Weights and tags of other programs, as "(hat:1.3)" and "<lora:name:1>", taken off a text."""

from __future__ import annotations

import re
from html import unescape

_LORA = re.compile(r"<\w{1,20}:[^<>]{0,200}>")
_WEIGHT = re.compile(r"\s*:\s*[-+]?(?:\d{1,4}\.?\d{0,6}|\.\d{1,6})\s*$")
_PARTED = re.compile(r"\s*::\s*(?:[-+]?(?:\d+\.?\d*|\.\d+)(?![\w.]))?\s*|(?<!\S)BREAK(?!\S)")
"""Where programs part a text, with the weight of a part."""
_FLAG = re.compile(r"(?<!\S)--(?!no\b)[a-z]{1,9} [\d.:]+(?!\S)")
_AFTER = re.compile(r"[-+]?(?:\d{0,4}\.\d{1,6})(?![\w.])|\+{1,5}|-{1,5}(?!\w)")
_PLUS = re.compile(
    r"(?<=\w)(?:\+{1,5}|-{2,5})(?![\w+-])|(?<=[^\W\d_]):{1,2}[-+]?\d?\.\d{1,3}(?![\w.])"
)
_BLANK = re.compile(r"(?<![^\W_])_+(?![^\W_])")


def unweighted(line: str) -> str:
    """A text without the weights and tags that programs read: "(a hat:1.3)", "((hat))", "hat++",
    "<lora:name:1>", and with the signs that "&amp;" and others stand for. One that has none of
    this is returned as it is.
    """
    bare = unescape(_LORA.sub(" ", line))
    parted = _PARTED.sub(", ", _FLAG.sub(" ", bare))
    bare = parted if bare != bare.upper() else bare
    weighted = bare != line or ":" in bare or "((" in bare or "[[" in bare or "{{" in bare
    if weighted or "\\" in bare or "++" in bare or "--" in bare or _AFTER.search(bare):
        bare = _PLUS.sub("", _unbracketed(bare))
    return tidied(bare) if bare != line else line


def _unbracketed(line: str) -> str:
    """Brackets that carry a weight, or that stand directly in one another, are taken away;
    others stay.
    """
    opened: list[int] = []
    gone: list[tuple[int, int]] = []
    closes = {")": "(", "]": "[", "}": "{"}
    skipped, last = False, (-1, -1)
    for place, mark in enumerate(line):
        if skipped:
            skipped = False
        elif mark == "\\" and line[place + 1 : place + 2] in ("(", ")", "[", "]"):
            gone.append((place, place + 1))
            skipped = True
        elif mark in closes.values():
            opened.append(place)
        elif mark in closes and opened and line[opened[-1]] == closes[mark]:
            start = opened.pop()
            weight = _WEIGHT.search(line, max(start, place - 24), place)
            after = _AFTER.match(line, place + 1)
            nested = last == (start + 1, place - 1)
            if nested:
                gone += [(start + 1, start + 2), (place - 1, place)]
            if weight or after or nested:
                end = after.end() if after else place + 1
                gone += [(start, start + 1), (weight.start() if weight else place, end)]
            last = start, place
    kept, at = [], 0
    for start, end in sorted(gone):
        kept.append(line[at : max(at, start)])
        at = max(at, end)
    return "".join([*kept, line[at:]])


def tidied(line: str) -> str:
    line = re.sub(r"[(\[{«“‘]\s*[,;]*\s*[)\]}»”’]|[—–]\s+(?=[—–])", "", " ".join(line.split()))
    line = " ".join(_BLANK.sub(" ", line).split())
    line = re.sub(r" +([,.;:!?)\]}])", r"\1", line)
    line = re.sub(r"(?:[,;，；、] ?)+([,;.，；、。])", r"\1", line)
    return line.strip(" ,;，；、")
