"""The page's own components: each is one `gr.HTML` whose behaviour lives in a file under
static/.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from .texts import TEXTS

STATIC = Path(__file__).parent / "static"
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How an event is connected that is answered at once."""
HEAVY: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_id": "gpu",
    "concurrency_limit": 1,
}
"""How an event is connected that draws: one at a time."""


@cache
def static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


class Free:
    """A field that refuses nothing by itself: the settings judge every value, with one set of
    limits and in words.
    """

    def preprocess(self, payload: Any) -> Any:
        try:
            return super().preprocess(payload)
        except (gr.Error, TypeError, ValueError):
            return payload


class Slider(Free, gr.Slider):
    """A slider that also takes what a link asks for beyond its ends."""


class Number(Free, gr.Number):
    """A number, or what somebody typed instead."""


def own(
    script: str, value: Any = None, *, name: str | None = None, classes: str = "", **kwargs
) -> gr.HTML:
    """A component drawn by static/SCRIPT.js from a value of plain data; nothing of it is rendered
    on the server.
    """
    name = name or script
    return gr.HTML(
        value,
        html_template=f'<div class="spf-{script} {classes}" data-name="{name}"></div>',
        js_on_load=static(f"{script}.js"),
        apply_default_css=False,
        elem_id=name,
        elem_classes=["spf-own"],
        **kwargs,
    )


def anew(value: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to somebody's press for one of our own components, with a name of its own: of a
    value that equals the last the browser hears nothing, whatever it shows by then."""
    return {**value, "answer": secrets.token_hex(4)}


def head() -> str:
    """What the page needs before Gradio starts: the table of texts and the shared helpers,
    inline.
    """
    table = json.dumps(TEXTS, ensure_ascii=False).replace("</", "<\\/")
    return f"<script>window.SPF_TEXTS = {table};</script>\n<script>{static('common.js')}</script>"


def png(image: np.ndarray, settings: Mapping[str, Any] | None = None) -> str:
    """Data URI of uint8 [H, W, 3] as PNG; `settings` travel in its text chunk "spf" and can be
    recalled from it.
    """
    info = PngInfo()
    if settings is not None:
        info.add_itxt("spf", json.dumps(settings, ensure_ascii=False))
    return _uri(image, "PNG", pnginfo=info, optimize=True)


def webp(image: np.ndarray, quality: int = 82) -> str:
    """Data URI of uint8 [H, W, 3], a few KB: for previews and for the frames behind the maps."""
    return _uri(image, "WEBP", quality=quality, method=2)


def enlarged(image: np.ndarray, side: int = 512) -> str:
    """Data URI of a small picture, smoothly enlarged for the screen so that its longer side has
    `side` pixels; browsers only do that coarsely.
    """
    small = Image.fromarray(image)
    times = side / max(small.size)
    if times <= 1:
        return webp(image, 90)
    size = tuple(round(times * one) for one in small.size)
    return webp(np.asarray(small.resize(size, Image.Resampling.LANCZOS)), 90)


def webp_of(uri: str, side: int = 96) -> str:
    """A small square of the picture in a data URI, from its middle."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        small = ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    return webp(np.asarray(small))


def _uri(image: np.ndarray, kind: str, **options) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
