"""Pictures of one's own on the Fine-tune tab: their fields, the check before anything is trained, and the store."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import gradio as gr

from spf import userdata
from spf.errors import BadInput, SpfError
from spf.files import FORMATS
from spf.words import normal

from .components import webp
from .page import Page, wanted
from .texts import both, label, same

ENDINGS = [ending for endings in FORMATS.values() for ending in endings]
SAMPLES = 6
"""Pictures of a set that are shown."""


class Upload:
    """The fields, and what is done with what lies in them. page: whose jobs keep their sets beside them."""

    def __init__(self, page: Page, allowed: bool) -> None:
        self.page = page
        with gr.Column(visible=False, elem_id="ft-own", elem_classes="spf-upload") as self.column:
            self.files = gr.File(
                file_count="multiple",
                file_types=[*ENDINGS, ".zip", *userdata.CAPTIONS, ".jsonl", ".csv"],
                label=label("own.files"),
                elem_id="ft-files",
                height=150,
            )
            self.target = gr.Textbox(
                label=label("own.target"),
                info=label("own.target.info"),
                max_lines=1,
                elem_id="ft-target",
            )
            self.replace = gr.Textbox(
                label=label("own.replace"),
                info=label("own.replace.info"),
                max_lines=1,
                elem_id="ft-replace",
            )
            self.look = gr.Button(label("own.check"), elem_id="ft-check", interactive=allowed)
        self.inputs = [self.files, self.target, self.replace]

    def check(self, files, target, replace):
        """Reads what was uploaded and says what is wrong with it, before anything is trained."""
        if not files:
            return {}, {"notices": [note("own.nothing")]}
        folder = self._inbox() / f".look-{secrets.token_hex(4)}"
        try:
            found = userdata.unpacked(files, folder)
            report = userdata.check(found, wish(target, replace), self._lacking)
            return told(report), {"notices": []}
        except SpfError as error:
            return {}, {"notices": [note(text=same(str(error)))]}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def stored(self, files, target, replace) -> str:
        """The folder of the uploaded set, checked and kept for this and later runs. Raises BadInput."""
        if not files:
            raise BadInput("images is empty but must be 4 to 500 pictures with captions.")
        chosen, token = wish(target, replace), secrets.token_hex(3)
        folder = self._inbox() / f".look-{token}"
        try:
            place = self._inbox() / f"{chosen.name}-{token}"
            return str(userdata.store(userdata.unpacked(files, folder), chosen, place).resolve())
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _inbox(self) -> Path:
        return self.page.jobs.root.parent / "data"

    def _lacking(self, text: str) -> tuple[str, ...]:
        """Words that the model does not know; none while it loads."""
        return self.page.engine.words(wanted(self.page.form, text, "")).unknown


def wish(target: str | None, replace: str | None) -> userdata.Wish:
    """What a set is to teach, from its two fields."""
    target, replace = target or "", replace or ""
    mode = "replace" if replace.strip() else "append"
    return userdata.Wish(target=target, mode=mode, replace=replace, name=short_name(target))


def short_name(target: str) -> str:
    """A name for the set of a target: "a straw hat" is "strawhat"."""
    return re.sub(r"[^a-z0-9]", "", normal(target))[:24] or "mine"


def told(report: userdata.Report) -> dict[str, Any]:
    """A check report as static/check.js shows it."""
    shown = report.items[:SAMPLES]
    return {
        "findings": [
            {"level": one.level, "text": both(f"check.{one.key}", **one.values)}
            for one in report.findings
        ],
        "items": [
            {"src": webp(item.pixels(128)), "base": item.base_text, "complete": item.complete_text}
            for item in shown
        ],
        "more": len(report.items) - len(shown),
    }


def note(key: str = "", text: dict | None = None) -> dict:
    """A warning beside the fields."""
    return {"kind": "warning", "text": text or both(key)}
