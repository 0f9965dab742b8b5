"""Things that grow by a file: methods, targets, guides, edits, groups of measures, tabs.

METHODS = Registry("spf.methods") list(METHODS)                  # names, which are those of the
files METHODS["naive"].about         # what the file says it is: the first sentence of its docstring
METHODS["naive"].facts         # what it assigns to names as plain values, at its top and in its
classes METHODS.load("naive")          # the module

Names, descriptions and facts are read without running the files, so that the command line and the
page know of them before torch is there. Files whose name starts with an underscore are none of
them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

HOME = Path(__file__).parent
FOLDERS: list[Path] = [HOME]
"""Where registries look: in the folder of their package below each of these."""


@dataclass(frozen=True)
class Entry:
    """One file of a registry, as it can be known without running it."""

    name: str
    path: Path
    about: str
    facts: Mapping[str, Any]


class Registry(Mapping[str, Entry]):
    """The files of a package by name: in the order of their fact ORDER, then by name."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.folder = Path(*package.split(".")[1:])

    def _entries(self) -> dict[str, Entry]:
        files = [
            path
            for folder in FOLDERS
            for path in (folder / self.folder).glob("[!_]*.py")
            if path.is_file()
        ]
        found = [_read(path, path.stat().st_mtime_ns) for path in files]
        found.sort(key=lambda entry: (entry.facts.get("ORDER", 0), entry.name))
        return {entry.name: entry for entry in found}

    def __getitem__(self, name: str) -> Entry:
        return self._entries()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def fact(self, name: str, fact: str, otherwise: Any = None) -> Any:
        """A fact of one file; what else, where there is no such file or it says nothing."""
        entry = self.get(name)
        return entry.facts.get(fact, otherwise) if entry else otherwise

    def load(self, name: str) -> ModuleType:
        """The module of that name. Raises KeyError for a name that is none."""
        path, full = self[name].path, f"{self.package}.{name}"
        if path.is_relative_to(HOME):
            return import_module(full)

        known = sys.modules.get(full)
        if known is not None and Path(known.__file__) == path:
            return known
        spec = spec_from_file_location(full, path)
        module = sys.modules[full] = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def kind(self, name: str, base: type) -> type:
        """The class of that file: the subclass of `base` that has its name. Raises KeyError."""
        found = (
            one
            for one in vars(self.load(name)).values()
            if isinstance(one, type) and issubclass(one, base) and getattr(one, "name", "") == name
        )
        for one in found:
            return one
        raise KeyError(f"{self[name].path} has no {base.__name__} with the name {name!r}")


def described(path: Path) -> str:
    """What a module says it is: the first sentence of its docstring."""
    return _read(path, path.stat().st_mtime_ns).about


@lru_cache(None)
def _read(path: Path, _changed: int) -> Entry:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    first = " ".join((ast.get_docstring(tree) or path.stem).partition("\n\n")[0].split())
    about = re.split(r"(?<=\.)(?<!et al\.) ", first)[0]
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    facts = {name: value for body in bodies for name, value in _assigned(body)}
    return Entry(path.stem, path, about, facts)


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """(name, value) of every assignment of a plain value."""
    for node in body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


class Ablations(Mapping[str, tuple[str, dict[str, Any]]]):
    """Methods that are another one with other settings: name -> (method, settings), from the files'
    ABLATIONS.
    """

    def __init__(self, methods: Registry) -> None:
        self.methods = methods

    def _all(self) -> dict[str, tuple[str, dict[str, Any]]]:
        return {
            name: (method, settings)
            for method, entry in self.methods.items()
            for name, settings in entry.facts.get("ABLATIONS", {}).items()
        }

    def __getitem__(self, name: str) -> tuple[str, dict[str, Any]]:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


METHODS = Registry("spf.methods")
ABLATIONS = Ablations(METHODS)
TRAINED = ChainMap(ABLATIONS, METHODS)
"""Everything that fine-tuning can be asked for by name: methods, then their ablations."""
GUIDES = Registry("spf.guides")
EDITS = Registry("spf.edits")
MEASURES = Registry("spf.evaluation.measured")
TABS = Registry("spf.ui.tabs")
TAUGHT = Registry("spf.portraits.targets")
