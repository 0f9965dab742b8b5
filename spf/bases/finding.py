"""What the name of a base model stands for."""

from __future__ import annotations

import re
from pathlib import Path

from spf.config import EMBEDDED
from spf.errors import BadInput
from spf.shelf import checkpoints
from spf.single_file import header

from .hub import clip_tokenizer, downloaded, looked_up
from .pinned import LICENCE, PINNED, pinned_name
from .source import TOKENIZER, Source

HUB_ID = re.compile(r"(?P<id>[\w][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def find_base(name: str) -> Source:
    """The source of a base, downloaded if it is a hub id; raises BadInput for a name that stands
    for nothing.
    """
    path, own = Path(name), checkpoints() / "base"
    if name == EMBEDDED or (name and path.resolve() == own.resolve()):
        return Source(EMBEDDED, own, licence=LICENCE)
    if short := pinned_name(name):
        return downloaded(short, PINNED[short])
    if path.is_file():
        return _single_file(path)
    if (path / "model_index.json").is_file():
        return Source(path.resolve().name, path)
    if path.is_dir() and name:
        raise BadInput(f"model is the folder {name!r}, but a model_index.json must be in it.")
    if found := HUB_ID.fullmatch(name):
        return downloaded(name, looked_up(found["id"], found["revision"]))
    raise BadInput(
        f"model is {name!r} but must be one of {', '.join([EMBEDDED, *PINNED])}, a hub id"
        " (owner/name), a folder with a model_index.json, or a .safetensors checkpoint."
    )


def _single_file(path: Path) -> Source:
    """A checkpoint file; a diffusers folder of its name beside it may describe other sizes than
    SD's.
    """
    header(path)
    return Source(path.stem, path.with_suffix(""), path)


def tokenizer_folder(source: Source) -> Path:
    """CLIP's tokenizer for a base: its own, for a checkpoint file one beside it, else that of a
    pinned model.

    Raises BadInput when there is none and the hub cannot be reached.
    """
    places = [source.folder / TOKENIZER, source.folder.parent / TOKENIZER]
    for place in places if source.file else places[:1]:
        if (place / "vocab.json").is_file() or (place / "tokenizer.json").is_file():
            return place
    if source.file is None:
        raise source.damaged(TOKENIZER)
    if found := clip_tokenizer():
        return found
    raise BadInput(
        f"model {source.name} is a single file without a tokenizer, and the hub is not reachable;"
        f" put the folder {TOKENIZER} of a Stable Diffusion beside it, or go online once."
    )
