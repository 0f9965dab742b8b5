"""The report on a set as one page of HTML: what was found, a contact sheet with both texts, what
became of every file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from pathlib import Path

from PIL import Image

from ..files import atomic
from ..words import legible
from .checking import Finding, Report
from .sets import Item

SIDE = 160
"""Of a picture on the sheet, in pixels."""
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1200px }}
body {{ margin: 2rem auto; padding: 0 1rem }}
.sheet {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 1rem }}
figure {{ margin: 0 }} figcaption {{ font-size: 13px; overflow-wrap: anywhere }}
img {{ width: 100%; border-radius: 4px }}
b, span, small {{ display: block }} small {{ opacity: .6 }}
.error {{ color: #b3261e; font-weight: 600 }} .warning {{ color: #8a5a00 }}
td {{ padding: 2px 12px 2px 0; vertical-align: top; overflow-wrap: anywhere }}
</style>
<h1>{title}</h1>
<ul>{findings}</ul>
<h2>What will be trained on</h2>
<div class="sheet">{figures}</div>
<h2>Every file that was seen</h2>
<table>{entries}</table>
</html>
"""


def write_report(
    report: Report, path: str | Path, title: str, sentence: Callable[[Finding], str]
) -> Path:
    """Writes the page. sentence: a finding in words."""
    findings = [
        f'<li class="{finding.level}">{escape(sentence(finding))}</li>'
        for finding in report.findings
    ]
    entries = [
        f"<tr><td>{escape(entry.name)}<td>{entry.state}<td>{escape(', '.join(entry.why))}"
        for entry in report.entries
    ]
    page = PAGE.format(
        title=escape(title),
        findings="\n".join(findings),
        figures="\n".join(map(_figure, report.items)),
        entries="\n".join(entries),
    )
    with atomic(path) as draft:
        draft.write_text(legible(page), encoding="utf-8")
    return Path(path)


def _figure(item: Item) -> str:
    texts = f"<span>{escape(item.base_text)}</span><b>{escape(item.complete_text)}</b>"
    source = f"data:image/webp;base64,{base64.b64encode(thumbnail(item)).decode()}"
    return (
        f'<figure><img src="{source}" alt=""><figcaption>{texts}'
        f"<small>{escape(item.name)}</small></figcaption></figure>"
    )


def thumbnail(item: Item, side: int = SIDE) -> bytes:
    """The middle square of a picture as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(item.pixels(side)).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()
