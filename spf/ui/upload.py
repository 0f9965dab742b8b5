"""Pictures of one's own on the Fine-tune tab: their fields, the check before anything is trained,
and the store.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from spf import userdata
from spf.errors import BadInput, SpfError
from spf.images import FORMATS
from spf.words import normal

from .components import own, webp
from .gpu import on_zero_gpu
from .page import Page
from .refusals import called, worded
from .texts import both, label

ENDINGS = [ending for endings in FORMATS.values() for ending in endings]
SAMPLES = 6
"""Pictures of a set that are shown at a glance."""
SHEET = 96
"""Side in pixels of a picture on the contact sheet."""

TITLES = called(
    data="finetune.data",
    images="own.files",
    learning_rate="finetune.rate",
    method="finetune.method",
    replace="own.replace",
    settings="finetune.set",
    steps="finetune.steps",
    target="own.target",
)
"""What the page calls the settings of a run."""


class Upload:
    """The fields, and what is done with what lies in them. page: whose jobs keep their sets beside
    them.
    """

    def __init__(self, page: Page, allowed: bool) -> None:
        self.page = page
        with gr.Column(visible=False, elem_id="ft-own", elem_classes="spf-upload") as self.column:
            own("hints", {"notices": [note("own.consent")]}, name="ft-consent")
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
            self.write = gr.Button(label("lesson.write"), visible=False, elem_id="ft-write")
        self.written = gr.State(False)
        self.inputs = [self.files, self.target, self.replace, self.written]

    def check(self, files, target, replace, written=False):
        """Reads what was uploaded and says what is wrong with it, then what else it will teach,
        before anything is trained."""
        hidden = gr.update(visible=False)
        if not files:
            yield {}, {"notices": [note("own.nothing")]}, hidden
            return
        folder = self._inbox() / f".look-{secrets.token_hex(4)}"
        try:
            chosen = wish(target, replace)
            report = self._checked(files, folder, chosen)
            value = told(report)
            yield value, {"notices": []}, hidden
            if self._can_look() and report.items:
                items, lessons = self._taught(report.items, chosen, written)
                if written:
                    value |= {"items": [_shown(item) for item in items]}
                value |= {"lessons": [_lesson(one, items) for one in lessons], "written": written}
                yield value, {"notices": []}, gr.update(visible=bool(lessons) and not written)
        except SpfError as error:
            yield {}, {"notices": [note(text=worded(error, TITLES))]}, hidden
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def stored(self, files, target, replace, written=False) -> str:
        """The folder of the uploaded set, checked and kept for this and later runs. Raises
        BadInput.
        """
        if not files:
            raise BadInput("images is empty but must be 4 to 500 pictures with captions.")
        chosen, token = wish(target, replace), secrets.token_hex(3)
        folder = self._inbox() / f".look-{token}"
        try:
            place = self._inbox() / f"{chosen.name}-{token}"
            items = self._checked(files, folder, chosen).items
            if written:
                items, _ = self._taught(items, chosen, written)
            return str(userdata.keep(items, chosen, place).resolve())
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _can_look(self) -> bool:
        """Whether CLIP is there to look: the model is loaded, and in this process."""
        return self.page.engine.state == "ready" and not on_zero_gpu()

    def _taught(self, items, chosen: userdata.Wish, written: bool):
        """The items, with what they share in their texts if that is wanted, and what they share."""
        from spf import lessons

        with self.page.engine.borrowed() as base:
            _, shared = lessons.look(base, items)
            if written and shared:
                items = lessons.with_lessons(base, chosen, items, shared)
        return items, shared

    def _inbox(self) -> Path:
        return self.page.jobs.root.parent / "data"

    def _checked(self, files, folder: Path, chosen: userdata.Wish) -> userdata.Report:
        """The report on what was uploaded, with what the model makes of its texts."""
        return userdata.check(userdata.unpacked(files, folder), chosen, self.page.engine.spelling)


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
    return {
        "findings": [
            {"level": one.level, "text": both(f"check.{one.key}", **one.values)}
            for one in report.findings
        ],
        "items": [_shown(item) for item in report.items],
        "entries": [
            {"name": one.name, "state": both(f"entry.{one.state}")} for one in report.entries
        ],
    }


def _shown(item: userdata.Item) -> dict[str, str]:
    """A picture of the contact sheet with its texts."""
    picture = webp(item.pixels(SHEET), quality=70)
    return {"src": picture, "base": item.base_text, "complete": item.complete_text}


def _lesson(lesson, items: Sequence[userdata.Item]) -> dict[str, Any]:
    """Something that the set will teach besides, in numbers and faces."""
    faces = [webp(items[place].pixels(SHEET), quality=70) for place in lesson.shown[:SAMPLES]]
    words = both("lesson.shared", value=lesson.value, n=len(lesson.shown), all=len(items))
    return {"text": words, "faces": faces}


def note(key: str = "", text: dict | None = None) -> dict:
    """A warning beside the fields."""
    return {"kind": "warning", "text": text or both(key)}
