"""Texts in another script than the embedded model reads: what of them it can be told in English."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np

from spf.portraits.captions import compose
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait

from .form import JOINT
from .texts import FOLDER, both, same

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


@cache
def _tables() -> list[dict[str, list[str]]]:
    """Patterns of ways to say each value, languages/words/CODE.json."""
    paths = sorted((FOLDER / "words").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def chinese(text: str) -> bool:
    """Whether a text is written in Chinese characters."""
    return bool(_HAN.search(text))


def understood(text: str) -> dict[str, str]:
    """The values of attributes that a text names in another language of the page, by attribute;
    longer words first.
    """
    words = sorted(
        (
            (word, name, value)
            for table in _tables()
            for name, values in ATTRIBUTES.items()
            for value in values
            for word in table.get(f"{name}.{value}", ())
        ),
        key=lambda one: -len(one[0]),
    )
    found: dict[str, str] = {}
    for word, name, value in words:
        if name not in found and re.search(word, text):
            found[name] = value
            text = re.sub(word, "\n", text, count=1)
    return found


def translated(text: str) -> tuple[str, str]:
    """An English base text and target text of what is understood of another; empty for nothing."""
    found = understood(text)
    asked = [t for t in TARGETS.values() if found.get(t.attribute) == t.value]
    plain = {name: found[name] for name in found if name not in {t.attribute for t in asked}}
    if not plain and not asked:
        return "", ""
    shown = sample_portrait(np.random.default_rng(0), targets="none", fixed=plain)
    together = [target.text for target in asked if target.mode == "append"]
    target = JOINT.join(together or [target.text for target in asked[:1]])
    return compose(shown, {"style", *plain}).text, target


def foreign_notice(text: str) -> list[dict[str, Any]]:
    """What is said to somebody who writes so, with texts to take instead."""
    base, target = translated(text)
    if not base:
        return [{"kind": "warning", "text": both("notice.foreign")}]
    told = both("notice.translated", text=same(" + ".join(filter(None, (base, target)))))
    return [{"kind": "warning", "text": told, "take": {"base": base, "target": target}}]
