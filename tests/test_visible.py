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
from spf.pixels import as_pixels
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


@pytest.mark.parametrize(("apart", "seen"), [(0.79, False), (0.81, True)])
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


def test_what_a_target_draws_is_no_sign_of_something_else(person):
    before, after = look(person), doubtful(look(person.with_target(GLASSES)), "age", "old", 1.0)
    assert before.values["age"] != "old"
    assert v.visible("age", before, after) and not v.visible("age", before, after, [GLASSES])


def test_what_a_target_may_change_of_itself_is_seen(person):
    before = look(person)
    after = changed_by(doubtful(before, "hair_style", "long", 1.0), "hair", 0.5)
    assert v.visible("hair_style", before, after, [BLONDE])


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
    assert found["false_unchanged"] <= 9
    assert found["invisible"] <= 0.1 * found["named"]


# at the bounds


def flat(part: str, pixels: int, shade: float = 0.25, size: int = 16, **values) -> Look:
    """A grey picture with `pixels` of a part in rows from the middle on, of another shade."""
    regions = np.full((size, size), REGIONS.index("background"))
    at = slice(size * size // 2, size * size // 2 + pixels)
    regions.reshape(-1)[at] = REGIONS.index(part)
    picture = np.full((size, size, 3), 0.25, np.float32)
    picture.reshape(-1, 3)[at] = shade
    sure = {name: np.eye(len(known))[0] for name, known in ATTRIBUTES.items()}
    return Look(
        {name: known[0] for name, known in ATTRIBUTES.items()} | values, sure, regions, picture
    )


def other(look: Look, name: str, apart: float) -> Look:
    return doubtful(look, name, ATTRIBUTES[name][1], apart)


def test_readings_count_from_the_bound_on(monkeypatch):
    monkeypatch.setattr(v, "CERTAIN", 0.5)
    before, light = flat("eyes", 40), flat("eyes", 40, 0.75)
    assert v.visible("eye_color", before, other(light, "eye_color", 0.5))
    assert not v.visible("eye_color", before, other(light, "eye_color", 0.49))
    assert not v.visible("eye_color", before, other(before, "eye_color", 0.5)), "the picture counts"
    few = flat("eyes", 3)
    assert v.visible("eye_color", few, other(few, "eye_color", 0.5))
    assert not v.visible("eye_color", few, other(few, "eye_color", 0.49))


def test_of_a_few_pixels_the_readings_decide():
    for pixels, seen in ((8, True), (9, False)):
        before = flat("eyes", pixels)
        assert v.visible("eye_color", before, other(before, "eye_color", 1.0)) == seen


def test_a_change_of_the_picture_counts_from_the_bound_on(monkeypatch):
    monkeypatch.setattr(v, "VISIBLE", 0.5)
    before = flat("eyes", 40)
    assert v.visible("eye_color", before, other(flat("eyes", 40, 0.75), "eye_color", 1.0))
    assert not v.visible("eye_color", before, other(flat("eyes", 40, 0.7), "eye_color", 1.0))


@pytest.mark.parametrize(("covered", "seen"), [(11, True), (12, False)])
def test_a_target_hides_from_six_tenths_on(covered, seen):
    before, after = flat("hair", 20), other(flat("hair", 0), "hair_color", 1.0)
    after.regions.reshape(-1)[128 : 128 + covered] = REGIONS.index("hat")
    after.picture[...] = 0.75
    assert v.visible("hair_color", before, after, [HAT]) == seen


@pytest.mark.parametrize("pixels", [1, 5, 8])
def test_of_a_part_of_few_pixels_nothing_is_said(pixels):
    before = flat("nose", pixels, 1.0)
    assert v.redrawn(before, before, [HAT]) == v.redrawn(before, flat("nose", pixels, 0.0)) == ()
    assert v.part_moved("nose", before, flat("nose", pixels, 0.0), before.regions < 0) == 0


def test_a_part_of_more_pixels_is_looked_at_from_its_bound_on(monkeypatch):
    monkeypatch.setattr(v, "REDRAWN", {"nose": 0.5})
    before = flat("nose", 16, 0.25)
    assert v.redrawn(before, flat("nose", 9, 0.25)) == ()
    dark, near, light = (flat("nose", 0) for _ in range(3))
    for one, shade in ((dark, 0.25), (near, 0.74), (light, 0.75)):
        one.regions[...], one.picture[...] = REGIONS.index("nose"), shade
    assert v.redrawn(dark, light) == ("nose",) and v.redrawn(dark, near) == ()


def test_a_face_that_moved_by_two_pixels_is_another():
    rng = np.random.default_rng(0)
    before = flat("nose", 128)
    before.picture[...] = rng.random(before.picture.shape)
    for far, same in ((1, True), (2, False)):
        for way in ((far, 0), (0, -far)):
            moved = np.roll(before.picture, way, (0, 1)), np.roll(before.regions, way, (0, 1))
            after = Look(before.values, before.probs, moved[1], moved[0])
            assert (v.part_moved("nose", before, after, before.regions < 0) == 0) == same


@pytest.mark.parametrize(("formed", "found"), [(0.25, ("face",)), (0.3, ())])
def test_a_face_is_spoilt_from_the_bound_on(monkeypatch, formed, found):
    monkeypatch.setattr(v, "SPOILT", 0.5)
    one = flat("eyes", 0)
    whole, torn = (Look(one.values, one.probs, one.regions, one.picture, f) for f in (0.75, formed))
    assert v.redrawn(whole, torn) == found


@pytest.mark.parametrize(("far", "found"), [(2, ()), (3, ("nose",))])
def test_what_lies_within_two_pixels_of_a_target_is_spared(far, found):
    before, after = flat("nose", 0), flat("nose", 0)
    for one, shade in ((before, 0.0), (after, 1.0)):
        one.regions[0] = REGIONS.index("hat")
        one.regions[far] = REGIONS.index("nose")
        one.picture[...] = shade
    assert v.redrawn(before, after, [HAT]) == found
