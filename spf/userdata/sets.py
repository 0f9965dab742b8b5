"""What pictures of one's own are for, one picture with its texts, and a set of them as fine-tuning
takes it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..config import Config, choice, text
from ..errors import BadInput
from ..files import require_room, write_json
from ..images import open_image
from ..portraits.description import TARGETS, Target, get_target
from ..prompts import ComposedPrompt, compose
from ..words import worded
from .captions import written
from .weighted import unweighted

FEWEST, MOST = 4, 500
"""Pictures of a set."""
SCARCE = 16
"""Pictures below which a run learns these people along with the target."""
INDEX, STORED = "dataset.json", 512
"""In a stored set: its texts, and the side in pixels at which pictures are kept."""
PICTURE_ROOM = 1 << 20
"""Bytes that a stored picture takes at most: 3 for a pixel, and the frame around them."""


@dataclass(frozen=True)
class Wish(Config):
    """What the pictures have in common and the model is to learn."""

    target: str = text(
        help="what every picture shows, as a text asks for it, for example: a straw hat"
    )
    mode: str = choice(
        "append",
        ("append", "replace"),
        "the target is added to a base text, or replaces words of it",
    )
    replace: str = text(help="the words of a base text that the target replaces")
    name: str = text("mine", help="name of the set")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not worded(self.target):
            shown = repr(self.target[:60]) if self.target else "empty"
            raise BadInput(
                f"target is {shown} but must say what the pictures show, for example: a straw hat."
            )
        if unweighted(self.target) != self.target:
            raise BadInput(
                f"target is {self.target[:60]!r} but must be words alone, without weights and tags."
            )
        compose("a portrait", self.target)  # refuses what no text may hold
        if self.mode == "replace" and not worded(self.replace):
            shown = repr(self.replace[:60]) if self.replace else "empty"
            raise BadInput(
                f"replace is {shown} but must be the words that the target replaces, "
                "for example: T-shirt."
            )
        if not re.fullmatch(r"[a-z0-9]{1,24}", self.name):
            raise BadInput(
                f"name is {self.name[:40]!r} but must be 1 to 24 small letters or digits."
            )


@dataclass(frozen=True)
class Item:
    """One picture with its texts. image: the file. name: its path within what was given."""

    image: Path
    base_text: str
    target_text: str
    complete_text: str
    name: str = ""

    def pixels(self, size: int) -> np.ndarray:
        """The middle square of the picture, uint8 [size, size, 3]."""
        return np.asarray(squared(open_image(self.image, 2 * size), size))

    def prompt(self, wish: Wish) -> ComposedPrompt:
        """Both texts with their phrases; the complete text is the one that was written, if one
        was.
        """
        made = compose(self.base_text, self.target_text, wish.mode, wish.replace)
        if made.complete == self.complete_text:
            return made
        return written(self.base_text, self.complete_text, self.target_text) or made


@dataclass(frozen=True)
class UserSet:
    """A stored set, as fine-tuning takes it."""

    folder: Path
    wish: Wish
    items: tuple[Item, ...]

    @property
    def target(self) -> Target:
        """The target without an attribute that the judges know, unless it is one of theirs."""
        from ..targets import known_targets

        known = known_targets([self.wish.target])
        values = (known[0].attribute, known[0].value, known[0].regions) if known else ("", "", ())
        return Target(self.wish.name, self.wish.target, *values, self.wish.mode, self.wish.replace)


def keep(items: Sequence[Item], wish: Wish, folder: str | Path) -> Path:
    """Puts checked pictures, squared, and their texts into a new folder, which appears when it
    is whole.

    Raises BadInput for too few or too many of them, a folder that holds something, or a disk
    without room.
    """
    folder = Path(folder)
    if not FEWEST <= len(items) <= MOST:
        raise BadInput(
            f"images is {len(items)} usable pictures but must be from {FEWEST} to {MOST}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"folder is {str(folder)!r} but must be new or empty.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    require_room(folder.parent, len(items) * PICTURE_ROOM)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        rows = []
        for number, item in enumerate(items):
            name = f"{number:03}.png"
            Image.fromarray(item.pixels(STORED)).save(draft / name)
            rows.append(
                {
                    "file_name": name,
                    "base": item.base_text,
                    "text": item.complete_text,
                    "from": item.name,
                }
            )
        write_json(draft / INDEX, {"wish": wish.to_dict(), "items": rows})
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def is_set(place: str | Path) -> bool:
    """Whether a folder holds a stored set."""
    try:
        return bool(str(place)) and (Path(place) / INDEX).is_file()
    except (OSError, ValueError):  # what no system takes as a path
        return False


def target_of(data: str) -> Target:
    """The target of a tailored set by its name, or of a set of one's own by its folder. Raises
    BadInput.
    """
    if is_set(data):
        return load(data).target
    if data not in TARGETS:
        raise BadInput(
            f"data is {data[:200]!r} but must be one of {', '.join(TARGETS)}, or a folder that"
            " check-data made."
        )
    return get_target(data)


def load(folder: str | Path) -> UserSet:
    """A stored set. Raises BadInput for a folder without one."""
    folder = Path(folder)
    try:
        held = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        wish = Wish.from_dict(held["wish"])
        if not all(isinstance(row[key], str) for row in held["items"] for key in ("base", "text")):
            raise ValueError("a text that is none")
        items = tuple(
            Item(
                folder / Path(row["file_name"]).name,
                row["base"],
                wish.target,
                row["text"],
                row.get("from", row["file_name"]),
            )
            for row in held["items"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"data is {str(folder)[:200]!r} but must be the name of a target "
            f"or a folder with {INDEX}."
        ) from error
    return UserSet(folder, wish, items)


def squared(image: Image.Image, size: int) -> Image.Image:
    """The middle square of a picture at the given side."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
