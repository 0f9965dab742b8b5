"""What else a set of pictures will teach: what nearly all of them have in common and no caption
says.

    found, lessons = look(base, items)         # "old", in 180 of 200 pictures
    items = with_lessons(base, wish, items, lessons)

Read by CLIP as `spf.traits.reading` does, so only what is a trait there is told, and only where
CLIP is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from .models import Base
from .pixels import as_pixels
from .traits import TRAITS, speaks
from .traits.reading import COMMON, seen
from .traits.telling import told
from .userdata import Item, Wish

BATCH = 8


class Lesson(NamedTuple):
    """A value of a trait that `shown` of the pictures have, by their positions, and whose captions
    do not say it.
    """

    trait: str
    value: str
    shown: tuple[int, ...]


def look(
    base: Base, items: Sequence[Item], progress: Callable[[int, int], None] | None = None
) -> tuple[list[dict[str, str]], list[Lesson]]:
    """What is seen in each picture, and what most of them share unsaid, the commonest first.

    Empty for a base without CLIP. progress: called with the pictures looked at and all of them.
    """
    if base.clip is None or not items:
        return [{} for _ in items], []
    embedded = []
    for first in range(0, len(items), BATCH):
        part = items[first : first + BATCH]
        pixels = np.stack([item.pixels(base.image_size) for item in part])
        with torch.no_grad():
            embedded.append(base.clip_images(as_pixels(pixels).to(base.device, base.dtype)))
        if progress:
            progress(first + len(part), len(items))
    found = seen(base, torch.cat(embedded))
    return found, shared(items, found)


def shared(items: Sequence[Item], found: Sequence[dict[str, str]]) -> list[Lesson]:
    """The lessons of pictures in which this was found."""
    lessons = []
    for trait in TRAITS:
        if items and speaks(items[0].target_text, trait):
            continue
        for value in dict.fromkeys(row.get(trait.name, "") for row in found):
            shown = tuple(
                place
                for place, (item, row) in enumerate(zip(items, found, strict=True))
                if value and row.get(trait.name) == value and not speaks(item.complete_text, trait)
            )
            if len(shown) >= COMMON * len(items):
                lessons.append(Lesson(trait.name, value, shown))
    return sorted(lessons, key=lambda lesson: -len(lesson.shown))


def with_lessons(
    base: Base, wish: Wish, items: Sequence[Item], lessons: Sequence[Lesson]
) -> list[Item]:
    """The items with the lessons in the texts of those pictures that show them."""
    fuller = []
    for place, item in enumerate(items):
        new = {lesson.trait: lesson.value for lesson in lessons if place in lesson.shown}
        prompt = told(base, item.prompt(wish), new).prompt
        fuller.append(replace(item, base_text=prompt.base, complete_text=prompt.complete))
    return fuller
