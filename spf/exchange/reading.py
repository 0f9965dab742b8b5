"""Adapters of other programs as differences to a base: diffusers and peft LoRA, kohya LoRA and
LoCon, whole differences.

Header, names and shapes are judged before any weight is read. What a file scales by alpha / rank is
in `up` afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from spf.errors import BadInput, UnsafeFile
from spf.files import load_tensors, read_header, require_finite
from spf.models import Base
from spf.paths import DOWN, METADATA, UP, Adapter, check_fit
from spf.shelf import Shelf
from spf.weights import UNKNOWN

from .header import OWN, Origin, adapter_file, origin_of
from .keys import ALPHA
from .modules import Slot, check_base, slots_of
from .names import Layout
from .scaling import RECIPE, recipe_of

log = logging.getLogger(__name__)


def load_adapter(source: str | Path, base: Base) -> Adapter:
    """Reads an adapter by name (see `Shelf.usual`) or from a file or folder of any form that
    is known here, and checks it against the base.

    Header, names and shapes are judged before any weight is read, weights before anything is
    changed. One that was tuned on other weights is read with a warning. Raises
    BadInput (unknown or made for another model), UnsafeFile or NotFinite.
    """
    path = Shelf.usual().find(source)
    mark = mark_of_file(path)  # before reading: what is exchanged meanwhile has another one then
    adapter = replace(read_adapter(path, base), mark=mark)
    for file, made_for in base.weights.strangers({path.name: adapter.metadata}).items():
        _warn(file, made_for, base.name)
    return adapter


@lru_cache(maxsize=256)
def _warn(file: str, made_for: str, base: str) -> None:
    """Says once of a file that it does not belong to these weights."""
    log.warning(
        "%s was tuned on other weights%s than those of %s that are loaded; what it changes may"
        " differ from what it was taught.",
        file,
        "" if made_for in ("", base) else f" ({made_for})",
        base,
    )


def read_adapter(path: str | Path, base: Base) -> Adapter:
    """An adapter of any form as differences to the weights of `base`, fp32 where another program
    made it, on the CPU.

    Raises BadInput (not an adapter, of an unreadable kind, made for another base), UnsafeFile or
    NotFinite.
    """
    path = adapter_file(path)
    found, slots, layout = _judged(path, base)
    weights = load_tensors(path)
    if found.form == OWN:
        return Adapter(dict(found.metadata), weights)
    tensors: dict[str, Tensor] = {}
    for module, slot in slots.items():
        for kind, key in slot.keys.items():
            if kind != ALPHA and not weights[key].is_floating_point():
                number = str(weights[key].dtype).removeprefix("torch.")
                raise BadInput(
                    f"{path.name} has {key} in {number}, but a difference must be in floating-point"
                    " numbers."
                )
        tensors |= slot.differences(module, weights, layout.shapes)
    if not tensors:
        raise BadInput(f"{path.name} holds no weights.")
    require_finite(tensors, path.name)
    adapter = Adapter(_metadata(path, found), tensors)
    if not any(_changes(adapter, name) for name in adapter.names()):
        raise BadInput(f"{path.name} changes nothing: all its differences are 0.")
    return adapter


def fitting(base: Base) -> Callable[[Path], bool]:
    """A function that says of a file whether it can be read as an adapter of `base`, as far as its
    header tells; of one that did not change it is asked once.
    """

    @lru_cache(maxsize=256)
    def known(path: Path, _mark: str) -> bool:
        try:
            _judged(adapter_file(path), base)
        except (BadInput, UnsafeFile):
            return False
        return True

    return lambda path: known(path, mark_of_file(path))


def _judged(path: Path, base: Base) -> tuple[Origin, dict[str, Slot], Layout]:
    """What a file holds, and its keys by module unless it is our own, once names and shapes have
    been compared with the base. Raises BadInput or UnsafeFile.
    """
    metadata, shapes = read_header(path)
    found, layout = origin_of(path.name, metadata, shapes), Layout.of(base)
    if found.form != OWN:
        slots = slots_of(path.name, shapes, layout, recipe_of(path, found), found.base)
        check_base(path.name, base, found, slots, shapes, layout)
        return found, slots, layout
    if missing := [key for key in METADATA if key not in metadata]:
        raise UnsafeFile(f"{path.name} is not an adapter: its metadata lacks {', '.join(missing)}.")
    made_for = metadata["base_model"]
    other = "" if made_for == base.name else f" (for {made_for}, and this is {base.name})"
    check_fit(base, shapes, path.name + other)
    return found, {}, layout


def _changes(adapter: Adapter, name: str) -> bool:
    """Whether a parameter differs at all."""
    own = name, name + DOWN, name + UP
    return all(bool(adapter.tensors[one].any()) for one in own if one in adapter.tensors)


def _metadata(path: Path, found: Origin) -> dict[str, str]:
    """METADATA of an adapter that another program made; a file that this library wrote keeps what
    it said.
    """
    metadata = found.metadata
    if all(key in metadata for key in METADATA):
        return {key: value for key, value in metadata.items() if key != RECIPE}
    return {
        "method": "lora" if found.rank else "difference",
        "base_model": found.base or UNKNOWN,
        "target": metadata.get("modelspec.trigger_phrase", ""),
        "steps": metadata.get("ss_steps", ""),
        "losses": "{}",
        "versions": "{}",
        "source": f"{path.name}: {found.sentence()}",
    }


def mark_of_file(path: Path) -> str:
    """Tells a file, or the files of a folder, from what lies there at another time."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    there = [one for one in files if one.exists()]  # a missing one is told where it is read
    return "|".join(
        f"{one.resolve()} {one.stat().st_mtime_ns} {one.stat().st_size}" for one in there
    )
