"""Assembles exactly what is uploaded to a Hugging Face Space: `python -m spf space --out DIR`.

The Space installs Gradio itself (README front matter), runs Python 3.12 and, on ZeroGPU, a torch
that ZeroGPU lists.
"""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from .errors import BadInput

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("app.py", "spf", "assets", "checkpoints", "README.md", "LICENSE")
LEFT_OUT = ("__pycache__", "*.pyc", "*.pyi", ".*")
TORCH = "torch==2.11.0"
"""The newest release that ZeroGPU's documentation lists."""


CODE = ("app.py", "spf", "docs", "tests", "*.md", "LICENSE", "pyproject.toml", "requirements.txt")
"""What somebody needs to read and change the code, beside the weights and pictures."""


@cache
def packed_code() -> bytes:
    """The code that runs here, as a ZIP archive."""
    paths = [
        path for name in CODE for place in ROOT.glob(name) for path in [place, *place.rglob("*")]
    ]
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in paths if path.is_file()):
                inside = path.relative_to(ROOT)
                if not any(fnmatch(part, left) for part in inside.parts for left in LEFT_OUT):
                    archive.write(path, inside)
        return buffer.getvalue()


def requirements(text: str) -> str:
    """requirements.txt as the Space needs it: its torch, no Gradio (sdk_version brings it), and
    `spaces`.
    """
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith("#") and not re.match(r"(torch|gradio)\b", line)
    ]
    return "\n".join([TORCH, "spaces>=0.51,<1", *kept]) + "\n"


def front_matter(readme: str, preload: Mapping[str, str]) -> str:
    """README.md as the Space needs it. preload: hub repository -> "FILE,FILE REVISION", fetched
    when the Space is built instead of when the first visitor comes.
    """
    if not preload:
        return readme
    names = [f"  - {name}" for name in preload]
    files = [f"  - {name} {what}" for name, what in preload.items()]
    head, mark, rest = readme.partition("\n---\n")
    return "\n".join([head, "models:", *names, "preload_from_hub:", *files]) + mark + rest


def assemble(out: str | Path, preload: Mapping[str, str] | None = None) -> list[Path]:
    """Copies the Space's files into a new folder; returns their paths in it. preload: see
    `front_matter`. Raises BadInput when the folder is not empty.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise BadInput(f"out is {str(out)!r} but must be a new or empty folder.")
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, out / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
        elif source.is_file():
            out.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, out / name)
    (out / "requirements.txt").write_text(
        requirements((ROOT / "requirements.txt").read_text(encoding="utf-8")), encoding="utf-8"
    )
    readme = out / "README.md"
    text = front_matter(readme.read_text(encoding="utf-8"), preload or {})
    readme.write_text(text, encoding="utf-8")
    return sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
