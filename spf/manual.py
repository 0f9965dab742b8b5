"""The parts of docs/ that are made from the code: the list of modules, and every setting with what
it may be.

`python -m spf manual` writes them; a test checks that they are as the code says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .config import Config, GenerateConfig, Options, Setting
from .files import atomic
from .registry import EDITS, GUIDES, HOME, METHODS, described
from .settings import EvaluateConfig, FinetuneConfig

ROOT = HOME.parent
ARCHITECTURE, SETTINGS = Path("docs/architecture.md"), Path("docs/settings.md")
START, END = "<!-- modules -->\n", "<!-- end -->\n"
"""Around the list of modules in docs/architecture.md."""


def modules(root: Path = ROOT) -> dict[str, str]:
    """Every module of the package by its path, with the first sentence of its docstring."""
    paths = [root / "app.py", *sorted((root / "spf").rglob("*.py"))]
    return {path.relative_to(root).as_posix(): described(path) for path in paths}


def written(root: Path = ROOT) -> dict[Path, str]:
    """The files as they should be."""
    text = (root / ARCHITECTURE).read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    lines = "".join(f"- `{path}`: {about}\n" for path, about in modules(root).items())
    return {
        ARCHITECTURE: f"{before}{START}\n{lines}\n{END}{after}",
        SETTINGS: settings(),
    }


def write(root: Path = ROOT) -> list[Path]:
    """Writes what has changed; returns those files."""
    changed = []
    for path, text in written(root).items():
        file = root / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            with atomic(file) as draft:
                draft.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def settings() -> str:
    """docs/settings.md: every setting of a drawing, a run and an evaluation, and of each method and
    edit.
    """
    parts = [
        "# Settings\n\nWritten by `python -m spf manual` from the fields that declare them. "
        "On the command line a setting is `--name` with dashes; those of a method are "
        "`--set name=value`.\n",
        *_section("A drawing: generate, the page, links and programs", GenerateConfig),
        *_section("A fine-tuning run: finetune", FinetuneConfig),
        *_section("An evaluation: evaluate", EvaluateConfig),
    ]
    from .edits import PlainEdit
    from .methods import Method

    for kinds, base, what in ((METHODS, Method, "method"), (EDITS, PlainEdit, "edit")):
        for name in kinds:
            parts += _section(f"The {what} {name}", kinds.kind(name, base).Config)
    guides = "".join(f"- `{name}`: {entry.about}\n" for name, entry in GUIDES.items())
    return "\n".join([*parts, f"## Guides\n\n{guides}"])


def _section(title: str, config: type[Config]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| setting | usual | allowed | meaning |\n| --- | --- | --- | --- |"
    for name, setting in config.settings().items():
        cells = (name, _value(setting.start), allowed(setting), setting.help)
        yield f"| {' | '.join(_cells(cells))} |"
    yield ""


def _cells(values: Iterable[str]) -> Iterator[str]:
    return (re.sub(r"\s+", " ", value).replace("|", "\\|") for value in values)


def _value(value: object) -> str:
    return f"`{value}`" if value not in ("", ()) else "none"


def allowed(setting: Setting) -> str:
    """What a setting may be, in a few words."""
    if isinstance(setting.limits, Options):
        return ", ".join(f"`{option}`" if option else "none" for option in setting.limits)
    low, high = setting.limits
    if setting.kind is bool:
        return "yes or no"
    if setting.kind is str:
        return f"text of up to {high} characters"
    if setting.kind is tuple:
        return f"up to {high} texts"
    return f"{low:,} to {high:,}" if setting.kind is int else f"{low:g} to {high:g}"
