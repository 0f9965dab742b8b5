"""Look inside: every map of every step of the last run; scrubbing asks nobody."""

from __future__ import annotations

import gradio as gr

from ..components import own
from ..page import Page

ORDER = 2


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab; its maps come from `Page.trace`."""
    own("inside")
