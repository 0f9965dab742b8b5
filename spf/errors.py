"""What can go wrong, in words for the person at the keyboard. Each message is one sentence that
says what to do.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""(["'])(?:[A-Za-z]:)?[\\/][^"']*[\\/]([^"'\\/]+)\1""")
_PLACE = re.compile(r"""(?<![\w:/.…])(?:[A-Za-z]:)?(?:[\\/][^\\/\s"':]+)+(?=[\\/])""")
_TOKEN = re.compile(r"\bhf_\w+")


class SpfError(Exception):
    """Any failure that this library explains itself; everything else is a bug."""


class BadInput(SpfError):
    """A value outside its range: names the field, the value and what is allowed."""


class UnsafeFile(SpfError):
    """A file that is not what it claims to be, or a name that would leave its folder."""


class NotFinite(SpfError):
    """NaN or infinity in weights, latents, images or a loss."""


class Withheld(SpfError):
    """A picture that the safety checker found; nothing of it is shown."""


class Cancelled(SpfError):
    """Stopped on request; not a failure."""


class ChangedLibrary(SpfError):
    """A library that is not there, or not as it was when this was written."""


class Busy(SpfError):
    """The model is working for somebody else."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a failure is for want of memory, of the processor's or of a card's."""
    words = str(error).lower()
    told = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError) or told


def placeless(text: object) -> str:
    """A failure or a line of a log for those who do not own the machine: files by their names
    alone, and no access tokens.
    """
    return _TOKEN.sub("…", _PLACE.sub("…", _QUOTED.sub(r"\1…/\2\1", str(text))))
