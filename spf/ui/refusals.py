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
from .texts import both, known, same

Titles = Mapping[str, Mapping[str, str]]
"""Name of a setting -> what the page calls it, in every language."""

_IS, _BUT = r"(?P<field>\w+) (?P<verb>is|has) (?P<value>.+?) but ", r"at most (?P<most>\d+) are"
_STEP = r"at step (?P<k>\d+) of (?P<n>\d+)"
_NEEDED = r"(?P<needed>\d+) MiB are needed"
_RULES = tuple(
    (key, re.compile(pattern, re.DOTALL))
    for key, pattern in (
        ("job.busy", r"The job (?P<name>\S+) is still at work; .+"),
        ("job.other", r"Another process is still at work in the job (?P<name>\S+)"),
        ("job.starting", r"Another job is being started; .+"),
        ("job.phase", r"job (?P<name>\S+) is (?P<phase>\w+) but only a paused, .+"),
        ("job.damaged", r"(?:job \S+ cannot be resumed: its )?\S+ is damaged\b.*; delete it"),
        ("job.state", r"\S+ was damaged"),
        ("job.killed", rf"The process was killed, .+ {_STEP}"),
        ("job.gone", rf"The process was interrupted {_STEP}"),
        ("job.signal", rf"The process was ended by signal (?P<code>\d+) {_STEP}"),
        ("job.code", rf"The process ended with code (?P<code>\d+) {_STEP}"),
        ("job.memory", r"There was not enough memory; .+"),
        ("job.log", r"(?P<kind>\w+); the log says more"),
        ("job.room", rf"(?:The disk|.+) has (?P<free>\d+) MiB free but {_NEEDED}.*"),
        ("job.full", r"The disk has (?P<free>\d+) MiB free; .+"),
        ("job.closed", r".+ cannot be written \(.+\), so no job can be started; .+"),
        ("job.nan", r"The (?P<what>.+) of \S+ is (?P<value>\S+) at step (?P<k>\d+); .+"),
        ("job.saved", r"The saved state .+ (?:is incomplete; .+|belongs to .+|was made with .+)"),
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
        if "phase" in values:
            values["phase"] = both(f"phase.{values['phase']}", values["phase"])
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


def retold(text: str) -> dict[str, str]:
    """What a job or a process of its own has left in words, in those of the page."""
    return worded(SpfError(text), {}) if text else same("")


def called(**keys: str) -> dict[str, dict[str, str]]:
    """Titles by the keys of their texts."""
    return {name: both(key) for name, key in keys.items()}
