"""The shelf of adapters: where they lie, what they are called, and which of them a target asks for.

Everybody who says "this adapter" means what is said here: the page, the command line, evaluations
and results. Only the headers of files are read, and torch is not needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from safetensors import SafetensorError, safe_open

from .config import AUTO, JOIN
from .errors import BadInput
from .targets import serves
from .weights import Loaded
from .words import cleaned, normal, parted, without_joiners

log = logging.getLogger(__name__)

Fits = Callable[[Path], bool]
"""Whether a file is an adapter of the loaded base by its tensors, see `spf.exchange.fitting`."""

ORIGINAL, TUNED, NAIVE = "original", "tuned", "naive"
"""Portraits of a comparison, and names of weights: the untouched ones, tuned ones, and those of
naive fine-tuning.
"""
EVERY = "all"
"""In place of a name of a method or target: all that there are."""
SUFFIX = ".safetensors"
FORMS = LORA, KOHYA, DIFF = (".lora", ".kohya", ".diff")
"""Ends of the names of adapters that were converted, see `spf.exchange.FORMS`."""
STOCK = f"{LORA}{SUFFIX}"
"""End of the name of a file for other programs, which lies beside the adapter of the same name."""
OWN = Path("runs/adapters")
"""Where the adapters lie that were tuned from the page, seen from the folder in which the program
was started.
"""


def checkpoints() -> Path:
    """Folder of the embedded model and its adapters: $SPF_CHECKPOINTS, or `checkpoints` beside the
    package.
    """
    return Path(
        os.environ.get("SPF_CHECKPOINTS") or Path(__file__).resolve().parents[1] / "checkpoints"
    )


def adapter_name(target: str, method: str) -> str:
    """Name of the adapter of a target by a method: the target alone for spf, target-method for the
    others, "" for none.
    """
    if method == ORIGINAL:
        return ""
    return target if method == "spf" else f"{target}-{method}"


def called(path: Path) -> str:
    """Name under which a file is chosen: its own, with a hyphen for what cannot stand in a list of
    names.
    """
    name = cleaned(path.stem)
    taken = {letter for letter in without_joiners(name) if not letter.isprintable()} | {JOIN, ","}
    return "".join("-" if letter in taken else letter for letter in name)


def name_of(adapter: str | Path) -> str:
    """What reports and tables call an adapter: a file by its name, without the place where it lies
    here.
    """
    given = isinstance(adapter, Path) or adapter.endswith(SUFFIX) or Path(adapter).name != adapter
    return called(Path(adapter)) if given else adapter


PICKLES = (".pt", ".bin", ".ckpt", ".pth")
"""How files end that hold weights and may hold code."""


@dataclass(frozen=True)
class Shelf:
    """Folders with adapters. A name in one of them is never taken over by a later one."""

    folders: tuple[Path, ...]

    @classmethod
    def shipped(cls, checkpoints_: str | Path | None = None) -> Self:
        """The adapters beside the embedded model, or in another folder of checkpoints."""
        return cls((Path(checkpoints_ or checkpoints()) / "adapters",))

    @classmethod
    def usual(cls) -> Self:
        """The shipped ones, then those that were tuned from the page."""
        return cls((*cls.shipped().folders, OWN))

    def files(self) -> dict[str, Path]:
        """Every adapter file by name; one for other programs only where the adapter itself is not
        beside it.
        """
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stem):
                stock = path.name.endswith(STOCK) and _converted(path)
                if not stock and not path.name.startswith("."):
                    found.setdefault(called(path), path)
        return found

    def file(self, name: str) -> Path:
        """The file of a name. Raises BadInput for a name that is not on the shelf."""
        files = self.files()
        if name not in files:
            there = ", ".join(files) or "none yet"
            raise BadInput(f"adapter is {str(name)[:60]!r} but must be one of: {there}.")
        return files[name]

    def find(self, source: str | Path) -> Path:
        """The file of a name, or one that is given as such: a path or a text that ends in
        .safetensors; and a folder or a file of PICKLES that lies there and has no such name.
        """
        given = isinstance(source, Path) or str(source).lower().endswith(SUFFIX)
        other = os.path.isdir(source) or str(source).lower().endswith(PICKLES)
        lies = not given and other and os.path.exists(source) and source not in self.files()
        return Path(source) if given or lies else self.file(source)

    def metadata(self) -> dict[str, dict[str, str]]:
        """How each adapter was made, by name; a damaged file is left out with a line."""
        found = {}
        for name, path in self.files().items():
            try:
                stamp = path.stat()
                found[name] = dict(_header(path, stamp.st_mtime_ns, stamp.st_size))
            except (SafetensorError, OSError):
                log.warning("%s is no undamaged adapter and is left out.", path.name)
        return found

    def choices(self) -> dict[str, dict[str, str]]:
        """`metadata` without the naive counterparts, which are found through the adapter that they
        mirror.
        """
        files, ending = self.files(), f"-{NAIVE}"
        return {
            name: made
            for name, made in self.metadata().items()
            if not (name.endswith(ending) and name.removesuffix(ending) in files)
        }

    def meant(self, targets: Sequence[str]) -> list[list[str]]:
        """For each target, given as a text, the adapters that it may mean, the best first.

        The one of that very name, then those that say it, then those whose target the text means
        in other words; of these one that was not converted from another beside it, one by spf
        before one by another method, in an earlier folder before a later one, and there the newest.
        """
        files, made = self.files(), self.choices()

        def rank(name: str) -> tuple:
            path, other = files[name], made[name].get("method") != "spf"
            folder = self.folders.index(path.parent)
            return _converted(path), other, folder, -path.stat().st_mtime, name

        best = sorted(made, key=rank)
        found = []
        says = {name: made[name].get("target", "") for name in best}
        for text in targets:
            word = normal(text)
            named = [name for name in best if normal(name) == word]
            said = [name for name in best if normal(says[name]) == word]
            meant = [name for name in best if serves(says[name], text)]
            found.append(list(dict.fromkeys([*named, *said, *meant])))
        return found

    def pick(
        self, targets: Sequence[str], base: Loaded | None = None, fits: Fits | None = None
    ) -> list[str]:
        """The best adapters for these targets; targets without one are left out.

        Left out are also adapters that were tuned on other weights than `base` (None: any), and
        files that are none of its adapters (fits; None: any).
        """
        belongs = self._belongs(base, fits)
        found = [next(filter(belongs, names), None) for names in self.meant(targets)]
        return list(dict.fromkeys(filter(None, found)))

    def unfit(self, targets: Sequence[str], base: Loaded, fits: Fits | None = None) -> list[str]:
        """Adapters for those of these targets for which there are some and none belongs to the
        base.
        """
        belongs = self._belongs(base, fits)
        lost = [names for names in self.meant(targets) if not any(map(belongs, names))]
        return list(dict.fromkeys(name for names in lost for name in names))

    def _belongs(self, base: Loaded | None, fits: Fits | None) -> Callable[[str], bool]:
        files, made = self.files(), self.metadata()

        def belongs(name: str) -> bool:
            known = base is None or not base.strange(made[name])
            return known and (fits is None or fits(files[name]))

        return belongs

    def chosen(
        self,
        adapter: str,
        targets: Sequence[str],
        base: Loaded | None = None,
        fits: Fits | None = None,
    ) -> list[str]:
        """Names or files that a setting means: none for "", those of the targets for "auto" (see
        `pick`), else split at "+".
        """
        if adapter == AUTO:
            return self.pick(targets, base, fits)
        if os.path.exists(adapter):
            return [adapter]  # also where its path has a "+"
        return parted(adapter, JOIN)


@lru_cache(maxsize=256)
def _header(path: Path, changed: int, size: int) -> Mapping[str, str]:
    """What the header of a file says. changed, size: of the file, by which it is known again."""
    with safe_open(path, "numpy") as file:
        return file.metadata() or {}


def _converted(path: Path) -> bool:
    """Whether a file was made, by its name, from an adapter that lies beside it."""
    form = next((end for end in FORMS if path.stem.endswith(end)), "")
    return bool(form) and path.with_name(f"{path.stem.removesuffix(form)}{SUFFIX}").is_file()


def counterparts(names: Iterable[str], files: Mapping[str, Path]) -> list[str]:
    """The naive counterparts of adapters; empty unless every one of them has one."""
    naive = [f"{name}-{NAIVE}" for name in names]
    return naive if set(naive) <= set(files) else []
