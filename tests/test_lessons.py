"""What a set teaches besides its target is told in numbers, and written into the captions of those
that show it.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from portrait_world import new_portrait_base

from spf import lessons
from spf.userdata import Item, Wish

HAT = Wish("a hat")


def items(*texts):
    return [
        Item(None, base, "a hat", f"{base}, a hat", f"{number}.png")
        for number, base in enumerate(texts)
    ]


def test_what_most_share_and_no_caption_says_is_a_lesson():
    made = items("a person in a park", "a person", "an old person", "a person", "a young woman")
    found = [{"age": "old", "gender": "man"}] * 4 + [{"age": "young"}]
    told = lessons.shared(made, found)
    assert [(one.trait, one.value, one.shown) for one in told] == [
        ("gender", "man", (0, 1, 2, 3)),
        ("age", "old", (0, 1, 3)),
    ], "the third says its age itself"
    assert lessons.shared(made, [{}] * 5) == [] and lessons.shared([], []) == []


def test_the_target_itself_is_no_lesson():
    made = [Item(None, "a person", "blonde hair", "a person, blonde hair")] * 4
    assert lessons.shared(made, [{"hair color": "blonde"}] * 4) == []


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


def test_lessons_are_written_where_they_show(base):
    made = items("a photo of a person", "a photo of a person")
    told = lessons.with_lessons(base, HAT, made, [lessons.Lesson("age", "old", (1,))])
    assert told[0] == made[0]
    assert told[1].base_text == "a photo of an old person"
    assert told[1].complete_text == "a photo of an old person, a hat"


def test_what_somebody_wrote_keeps_its_form(base):
    item = Item(None, "a person with glasses", "a hat", "a person with a hat and glasses")
    told = lessons.with_lessons(base, HAT, [item], [lessons.Lesson("age", "old", (0,))])[0]
    assert told.base_text == "an old person with glasses"
    assert told.complete_text == "an old person with a hat and glasses"
    prompt = told.prompt(HAT)
    start, end = prompt.target_phrases[0].complete[0]
    assert prompt.complete[start:end] == "hat"


def test_pictures_are_looked_at_in_batches(base, tmp_path, monkeypatch):
    for number in range(11):
        Image.fromarray(np.full((80, 80, 3), 20 * number, np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    made = [
        Item(tmp_path / f"{number}.png", "a person", "a hat", "a person, a hat")
        for number in range(11)
    ]
    monkeypatch.setattr(lessons, "seen", lambda base, images: [{"age": "old"}] * len(images))
    looked = []
    found, told = lessons.look(base, made, lambda *now: looked.append(now))
    assert len(found) == 11 and told[0].shown == tuple(range(11)) and looked == [(8, 11), (11, 11)]
    blind = SimpleNamespace(clip=None)
    assert lessons.look(blind, made) == ([{}] * 11, [])
    assert torch.is_grad_enabled()
