"""Every word that the page shows: one table a language, languages/CODE.json, each with the same
keys and with what describes itself in English alone.

Gradio's own parameters get `label(key)`, which the browser translates; our components read the
tables in the browser; what the server composes is sent in every language (`both`). A thing that is
added without texts of its own shows the description that it brings along.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

FOLDER = Path(__file__).parent / "languages"
FIRST = "en"
"""The language that stands in where another one lacks a text."""


def _tables() -> dict[str, dict[str, str]]:
    paths = sorted(FOLDER.glob("*.json"), key=lambda path: (path.stem != FIRST, path.stem))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


TEXTS: dict[str, dict[str, str]] = _tables()
"""Language -> key -> text."""
LANGUAGES = tuple(TEXTS)


def known(key: str) -> bool:
    return key in TEXTS[FIRST]


def translations() -> gr.I18n:
    """The tables as Gradio wants them at launch."""
    return gr.I18n(**{code: TEXTS[FIRST] | table for code, table in TEXTS.items()})


def label(key: str, instead: str | None = None):
    """A parameter of a Gradio component that the browser translates; `instead` where there is no
    such text.
    """
    if known(key):
        return _ADDRESS(key)
    if instead is not None:
        return instead
    raise KeyError(f"the page has no text {key!r}")


def both(key: str, instead: str = "", **values) -> dict[str, str]:
    """A text in every language with its values filled in; a value may itself be such a text.

    instead: what is shown where there is no such text: things describe themselves in the first
    language.
    """
    first = TEXTS[FIRST].get(key) if instead else TEXTS[FIRST][key]
    given = {code: TEXTS[code].get(key, first) for code in LANGUAGES}
    return {
        code: instead
        if text is None
        else text.format(**{name: said(value, code) for name, value in values.items()})
        for code, text in given.items()
    }


def same(text: str) -> dict[str, str]:
    """A text that is not translated (what the user wrote, an error of the library)."""
    return dict.fromkeys(LANGUAGES, text)


def said(value, code: str):
    """A value in one language."""
    return value[code] if isinstance(value, dict) else value


_ADDRESS = gr.I18n(en={})
