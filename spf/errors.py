"""What can go wrong, in words for the person at the keyboard. Each message is one sentence that
says what to do.
"""


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
