"""What a visitor is told of an error that nobody foresaw."""

from __future__ import annotations

import logging
import secrets
import traceback

from spf.engine import Crashed

from .texts import both

log = logging.getLogger(__name__)


def reported(error: Exception) -> dict[str, str]:
    """A sentence with a code; the traceback is in the log under the same code and nowhere else."""
    code = secrets.token_hex(2)
    story = error if isinstance(error, Crashed) else "".join(traceback.format_exception(error))
    log.error("error %s: %s", code, story)
    return both("error.bug", code=code)
