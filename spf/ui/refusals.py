"""Refusals of the library in words of the page: a field is called what stands above it, and every
language says it.

worded("steps is 0 but must be a whole number from 1 to 200.", FORM.titles())
# {"en": "“Steps” is 0 but must be a whole number from 1 to 200.", "zh": "“步数”是 0，……"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from spf.errors import SpfError

from .boundary import Worded, sentence
from .texts import both, known

Titles = Mapping[str, Mapping[str, str]]
"""Name of a setting -> what the page calls it, in every language."""

_IS, _BUT = r"(?P<field>\w+) (?P<verb>is|has) (?P<value>.+?) but ", r"at most (?P<most>\d+) are"
_RULES = tuple(
    (key, re.compile(pattern, re.DOTALL))
    for key, pattern in (
        ("fit", r'the complete text is too long: of (?P<n>\d+) .+ all of "(?P<target>.*)"; .+'),
        ("place", r'replace is "(?P<value>.*)" but must be words of the base text, .+'),
        ("swap", r"mode is replace, so both replace .+"),
        ("blank", r"targets has an entry without words; .+"),
        ("marks", r"base and targets must not contain <\| or \|>.*"),
        ("masks", r"method is (?P<value>\S+) but must be one that needs no exact .+"),
        ("pictures", r"images is (?P<n>\d+) .+ but must be from (?P<low>\d+) to (?P<high>\d+)"),
        ("lines", r"texts has (?P<n>\d+) lines but must have (?P<low>\d+) to (?P<high>\d+)"),
        ("long", rf"(?P<field>\w+) has (?P<n>\d+) characters but {_BUT} allowed"),
        ("many", rf"(?P<field>\w+) has (?P<n>\d+) [a-z ]+ but {_BUT} allowed"),
        ("control", rf"{_IS}control characters are not allowed in it"),
        ("number", rf"{_IS}must be a number from (?P<low>\S+) to (?P<high>\S+)"),
        ("whole", rf"{_IS}must be a whole number from (?P<low>\S+) to (?P<high>\S+)"),
        ("options", rf"{_IS}must be one of (?P<options>.+)"),
        ("other", rf"{_IS}(?P<rule>.+)"),
    )
)
"""Text `error.KEY` -> the sentence that it stands for; the first that fits counts."""


def worded(error: Exception, titles: Titles) -> dict[str, str]:
    """A failure as the page tells it; one that is about no field of it keeps its words."""
    if isinstance(error, Worded) or not isinstance(error, SpfError):
        return sentence(error)
    text = str(error).removesuffix(".")
    for key, pattern in _RULES:
        found = pattern.fullmatch(text)
        if not found:
            continue
        values = found.groupdict()
        name = values.pop("field", None)
        if name is None:
            return both(f"error.{key}", **values)
        if name not in titles:
            break
        if values.get("value") == "empty":
            if known(f"error.empty.{name}"):
                return both(f"error.empty.{name}", field=titles[name])
            values["value"] = both("error.bare")
        return both(f"error.{key}", field=titles[name], **values)
    return sentence(error)


def called(**keys: str) -> dict[str, dict[str, str]]:
    """Titles by the keys of their texts."""
    return {name: both(key) for name, key in keys.items()}
