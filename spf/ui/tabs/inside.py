"""Look inside: every map of every step of the last run; scrubbing asks nobody. Only where a place
looks, and where a word acts that is not in the text, is read when somebody asks.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import gradio as gr

from spf.answers import Progress

from .. import maps, stage
from ..components import HEAVY, own
from ..gpu import lent_reading
from ..page import Page
from ..refusals import worded

ORDER = 2


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab; its maps come from `Page.trace`."""
    view = own("inside")
    read = lent_reading(page.engine)

    def reread(event: gr.EventData):
        """Streams a reading of a pair; answers: what was asked."""
        yield from answers(page, read, event.ask, event.request, str(event.word or ""))

    view.reread(reread, None, view, trigger_mode="always_last", **HEAVY)


def answers(page: Page, read, ask: str, request: Any, word: str):
    """A reading as static/inside.js takes it, after what is said while it is made."""
    asked = {"answers": ask, "word": word}
    try:
        config = page.form.config.from_dict(dict(request))
        with closing(read(config, word)) as events:
            for one in events:
                if isinstance(one, Progress):
                    yield asked | {"status": stage.waiting(one, [], {})["status"]}
                else:
                    yield asked | maps.reread(one)
    except Exception as error:
        yield asked | {"status": worded(error, page.form.titles()), "failed": True}
