"""What an eye sees of what the judges read: by hand, and on pairs that a person has counted."""

from pathlib import Path

import numpy as np
import pytest
from portrait_world import sure_reading

from spf import sheet
from spf.evaluation import visible as v
from spf.evaluation.judges import Look
from spf.evaluation.measures import compared
from spf.loading import find_judges
from spf.models import as_pixels
from spf.portraits.dataset import draw
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.portraits.render import REGIONS

HAT, GLASSES, BLONDE = (TARGETS[name] for name in ("hat", "sunglasses", "blonde"))


@pytest.fixture
def person():
    fixed = {"hair_style": "short", "hair_color": "red", "eye_color": "green", "condition": "clean"}
    return sample_portrait(np.random.default_rng(3), fixed=fixed)


def look(portrait) -> Look:
    """A drawing, read without doubt."""
    images, regions = draw([portrait], 64)
    return sure_reading([portrait.attributes()], as_pixels(images), regions).look(0)


def changed_by(look: Look, part: str, amount: float, **values) -> Look:
    """The same look with a part of the picture lighter or darker by an amount."""
    place = look.regions == REGIONS.index(part)
    picture = look.picture.copy()
    darker = picture[place] > 0.5
    picture[place] += np.where(darker, -amount, amount)
    return Look(look.values | values, look.probs, look.regions, picture, look.formed)


def doubtful(look: Look, name: str, value: str, apart: float) -> Look:
    """The same picture, in which another value is read now by a distance of `apart`."""
    probs = look.probs[name] * (1 - apart)
    probs[ATTRIBUTES[name].index(value)] += apart
    values = look.values | {name: value}
    return Look(values, look.probs | {name: probs}, look.regions, look.picture, look.formed)


def test_what_the_renderer_changes_is_seen(person):
    before, after = look(person), look(person.with_target(BLONDE))
    assert v.visible("hair_color", before, after)
    assert v.settled(before, after, []).values["hair_color"] == "blonde"


def test_a_reading_that_flips_over_the_same_picture_is_no_change(person):
    before = look(person)
    after = doubtful(before, "eye_color", "brown", 0.95)
    assert not v.visible("eye_color", before, after)
    assert v.settled(before, after, [HAT]).values == before.values


@pytest.mark.parametrize(("apart", "seen"), [(0.69, False), (0.71, True)])
def test_readings_have_to_be_far_apart(person, apart, seen):
    before = look(person)
    after = changed_by(doubtful(before, "eye_color", "brown", apart), "eyes", 0.3)
    assert v.visible("eye_color", before, after) == seen


@pytest.mark.parametrize(("amount", "seen"), [(0.07, False), (0.09, True)])
def test_the_picture_has_to_change_where_the_attribute_shows(person, amount, seen):
    before = look(person)
    after = changed_by(doubtful(before, "background", "gray", 1.0), "background", amount)
    assert v.visible("background", before, after) == seen


def test_what_a_target_covers_cannot_have_changed(person):
    before, after = look(person), look(person.with_target(HAT))
    hair, hat = REGIONS.index("hair"), REGIONS.index("hat")
    over = np.where(before.regions == hair, hat, after.regions)
    under = doubtful(after, "hair_color", "black", 1.0)
    under = Look(under.values, under.probs, over, under.picture)
    assert not v.visible("hair_color", before, under, [HAT])
    assert v.visible("hair_color", before, under), "without a target it is gone, and that is seen"


def test_a_target_keeps_what_was_read_of_it(person):
    before = look(person)
    after = doubtful(before, "hat", "hat", 0.51)
    assert v.settled(before, after, [HAT]).values["hat"] == "hat"
    assert v.settled(before, after, []).values["hat"] == "none"


@pytest.mark.parametrize("part", v.REDRAWN)
def test_a_part_of_the_face_is_drawn_anew_from_its_bound_on(person, part):
    before = look(person)
    assert v.redrawn(before, before) == ()
    less, more = (changed_by(before, part, v.REDRAWN[part] + d) for d in (-0.02, 0.02))
    assert v.redrawn(before, less, [HAT]) == ()
    assert v.redrawn(before, more, [HAT]) == (part,)


def test_a_face_that_moved_by_a_pixel_is_the_same(person):
    before = look(person)
    moved = Look(
        before.values,
        before.probs,
        np.roll(before.regions, (1, -1), (0, 1)),
        np.roll(before.picture, (1, -1), (0, 1)),
    )
    assert v.redrawn(before, moved, [HAT]) == ()


def test_what_a_target_may_change_is_not_drawn_anew(person):
    before = look(person)
    eyes = changed_by(before, "eyes", 0.4)
    assert v.redrawn(before, eyes, [HAT]) == ("eyes",)
    assert v.redrawn(before, eyes, [TARGETS["laughing"]]) == ()
    assert v.redrawn(before, eyes, [TARGETS["watercolor"]]) == (), "a style is everywhere"


def test_a_face_that_falls_apart_is_drawn_anew(person):
    one = look(person)
    whole, torn, worn = (
        Look(one.values, one.probs, one.regions, one.picture, formed) for formed in (0.9, 0.2, 0.4)
    )
    assert v.redrawn(whole, torn, [HAT]) == ("face",)
    assert v.redrawn(whole, worn, [HAT]) == v.redrawn(torn, whole, [HAT]) == ()
    assert v.redrawn(whole, torn, [GLASSES]) == (), "eyes behind glasses are no spoilt face"
    assert v.redrawn(one, torn, [HAT]) == (), "nothing is known of the original"


def test_short_hair_under_a_hat_is_not_compared_whoever_wears_it():
    before = {"hair_style": "short", "hat": "none", "eyewear": "none", "condition": "clean"}
    after = before | {"hat": "hat", "hair_style": "ponytail"}
    for pair in ((before, after), (after, before)):
        assert "hair_style" not in compared(*pair, [HAT])
    long = before | {"hair_style": "long"}
    assert "hair_style" in compared(long, long | {"hat": "hat"}, [HAT])


def test_verdicts_agree_with_who_counted_the_pairs():
    folder = Path("assets/pairs")
    counts, pairs = sheet.read_counts(folder)
    found = sheet.summary(counts, sheet.read_again(folder, pairs, find_judges()))["spf"]
    assert found["pairs"] == 72
    assert found["false_unchanged"] <= 7
    assert found["invisible"] <= 0.1 * found["named"]
