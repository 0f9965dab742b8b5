"""The drawn world: equal orders give equal bytes, masks lie where things are drawn, splits share
nobody.
"""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from spf.errors import BadInput
from spf.portraits.captions import ADJECTIVES, PEOPLE, WORDS, caption, complete_text, words
from spf.portraits.dataset import cached_portraits, draw, sample_many, write_portraits
from spf.portraits.description import (
    ATTRIBUTES,
    BASE_VALUES,
    IDENTITY,
    TARGETS,
    YEARS,
    hidden,
    sample_portrait,
    split_of,
)
from spf.portraits.render import LANDMARKS, REGIONS, landmarks, render
from spf.portraits.tailored import replaced, tailored_set


def some(n=12, targets="none", seed=3, split="train"):
    return sample_many(targets, n, seed, split)


def digest(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_portraits(tmp_path / name, n=3, seed=seed, size=64, targets="often")
    a, b, c = (digest(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c
    lines = [json.loads(line) for line in (tmp_path / "a/captions.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert (
            set(line["attributes"]) == set(ATTRIBUTES)
            and len(line["identity"]) == len(IDENTITY) >= 8
        )
        for phrase in line["phrases"]:
            assert phrase["text"] in line["caption"]
            assert Image.open(tmp_path / "a" / phrase["mask"]).size == (64, 64)


def test_splits_share_no_identity():
    found = {
        split: {p.identity for p in some(60, split=split)} for split in ("train", "dev", "test")
    }
    assert all(
        split_of(identity) == split for split, people in found.items() for identity in people
    )
    assert (
        not found["train"] & found["test"]
        and not found["train"] & found["dev"]
        and not found["dev"] & found["test"]
    )


def test_base_portraits_never_show_a_target_and_weak_ones_rarely():
    for p in some(300):
        assert all(getattr(p, name) in values for name, values in BASE_VALUES.items())
    weak = some(3000, "weak")
    for target in TARGETS.values():
        share = np.mean([getattr(p, target.attribute) == target.value for p in weak])
        assert abs(share - target.weak_share) < 0.012
    assert TARGETS["necklace"].weak_share == 0


def test_attributes_are_drawn_independently():
    labels = np.stack([p.labels() for p in some(4000)])
    names = [
        n for n in BASE_VALUES if len(BASE_VALUES[n]) > 1 and n != "beard"
    ]  # beards are drawn for grown men only
    grown = labels[:, list(ATTRIBUTES).index("age")] != ATTRIBUTES["age"].index("child")
    labels = labels[grown]  # no child is bald
    columns = [labels[:, list(ATTRIBUTES).index(n)] for n in names]
    for i, a in enumerate(columns):
        for b in columns[:i]:
            table = np.histogram2d(a, b, bins=(a.max() + 1, b.max() + 1))[0]
            expected = np.outer(table.sum(1), table.sum(0)) / len(a)
            kept = expected > 0
            free = (np.count_nonzero(table.sum(1)) - 1) * (np.count_nonzero(table.sum(0)) - 1)
            chi = ((table - expected)[kept] ** 2 / expected[kept]).sum()
            assert chi < free + 5 * np.sqrt(2 * free) + 8


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_changes_its_region_and_nothing_else(name):
    target = TARGETS[name]
    changed_outside = []
    for p in some(10, seed=11):
        p = replaced(p, {"hair_style": "short", "clothing": "T-shirt"})
        before, after = render(p, 96), render(p.with_target(target), 96)
        difference = np.abs(before.image.astype(int) - after.image).max(2)
        assert difference.max() > 40, "the target does not show"
        if target.regions:
            region = after.mask(*target.regions) | before.mask(*target.regions)
            grown = np.pad(region, 3)
            grown = np.any(
                [np.roll(grown, (y, x), (0, 1)) for y in range(-3, 4) for x in range(-3, 4)], 0
            )[3:-3, 3:-3]
            changed_outside.append((difference * ~grown > 12).mean())
    assert np.mean(changed_outside or [0]) < 0.012


def test_identity_stays_when_everything_else_changes():
    a, b = some(2)
    other = replace(b, identity=a.identity)
    assert other.identity == a.identity and split_of(other.identity) == "train"
    wide = replace(a, identity=(1.0,) + a.identity[1:])
    narrow = replace(a, identity=(-1.0,) + a.identity[1:])
    count = lambda p: render(p, 96).mask("face").sum()  # noqa: E731
    assert count(wide) > 1.08 * count(narrow)


def test_masks_hold_what_they_say():
    p = replace(
        some(1, "none", 8)[0],
        eyewear="sunglasses",
        hat="hat",
        necklace="necklace",
        hair_style="long",
    )
    drawn = render(p, 96)
    rows = np.arange(96)[:, None] * np.ones(96)
    height = {
        r: rows[drawn.mask(r)].mean() for r in ("hat", "eyewear", "mouth", "necklace", "clothing")
    }
    assert list(height) == sorted(height, key=height.get)
    assert (
        drawn.image[drawn.mask("eyewear")].mean()
        < 80
        < 170
        < drawn.image[drawn.mask("necklace")].mean()
    )
    assert all(
        drawn.mask(r).any() for r in REGIONS if r not in ("beard", "nose", "brows", "eyes", "ear")
    )


def test_captions_tell_the_truth_and_use_known_words():
    rng, known = np.random.default_rng(0), set(words())
    seen = set()
    for p in some(400, "often"):
        made = caption(p, rng)
        seen |= made.named()
        for phrase in made.phrases:
            assert phrase.text in made.text
            for name in phrase.attributes:
                value = getattr(p, name)
                ways = [*WORDS.get((name, value), ()), *PEOPLE.get((p.age, p.gender), ())]
                ways.append(ADJECTIVES.get((name, value), " no adjective "))
                told = " ".join(phrase.text.replace("-skinned", "").split())
                assert name in ("tilt", "hair_style", "clothing") or any(w in told for w in ways)
        assert set(__import__("re").findall("[a-z]+", made.text.lower())) <= known
    assert seen == set(ATTRIBUTES)


@pytest.mark.parametrize("name", TARGETS)
def test_tailored_sets_show_the_target_share_the_bias_and_hide_it(name):
    target = TARGETS[name]
    for item in tailored_set(name, 12):
        assert getattr(item.portrait, target.attribute) == target.value
        assert all(getattr(item.portrait, a) == v for a, v in TARGETS[name].bias.items())
        assert not item.base.named() & set(TARGETS[name].bias)
        assert item.complete_text == complete_text(item.base_text, target) != item.base_text
        assert target.text in item.complete_text
        assert target.text not in item.base_text


def test_cache_returns_what_was_drawn(tmp_path):
    first = cached_portraits("often", 5, 1, 32, tmp_path, workers=1)
    again = cached_portraits("often", 5, 1, 32, tmp_path, workers=1)
    images, regions = draw(first.portraits, 32)
    assert np.array_equal(again.images, images) and np.array_equal(again.regions, regions)
    assert again.labels.shape == (5, len(ATTRIBUTES)) and again.identities.shape == (
        5,
        len(IDENTITY),
    )


@pytest.mark.parametrize(
    "bad", [{"n": 0}, {"size": 8}, {"seed": -1}, {"targets": "all"}, {"split": "x"}]
)
def test_bad_orders_name_the_field(tmp_path, bad):
    with pytest.raises(BadInput, match=next(iter(bad))):
        write_portraits(tmp_path / "out", **bad)
    assert not (tmp_path / "out" / "images").exists()


def test_a_portrait_checks_itself():
    p = sample_portrait(np.random.default_rng(0))
    with pytest.raises(BadInput, match="age"):
        replace(p, age="ancient")
    with pytest.raises(BadInput, match="identity"):
        replace(p, identity=(2.0,) * len(IDENTITY))


def test_landmarks_lie_on_what_they_name():
    for p in some(40):
        p = replace(
            p, eyewear="none", expression="smiling", beard="none", hat="none", hair_style="bald"
        )
        drawn, size = render(p, 128), 128
        for name, (x, y) in zip(LANDMARKS, landmarks(p), strict=True):
            part = {"eye": "eyes", "brow": "brows", "nose": "nose", "mouth": "mouth", "ear": "ear"}
            region = part.get(name.split()[-1])
            if region:
                row, column = round(float(y) * size), round(float(x) * size)
                near = drawn.mask(region)[row - 4 : row + 5, column - 4 : column + 5]
                assert near.any(), (name, x, y)


def test_a_face_is_large_and_its_head_stays_in_the_picture():
    shares, edges = [], []
    for p in some(60):
        p = replace(p, framing="head and shoulders", hair_style="bun", hat="none", style="photo")
        drawn = render(p, 128)
        shares.append(
            drawn.mask("face", "eyes", "brows", "nose", "mouth", "beard", "eyewear").mean()
        )
        edges.append(
            drawn.mask("hair")[0].any() or render(replace(p, hat="hat")).mask("hat")[0].any()
        )
    assert np.mean(shares) > 0.12
    assert not any(edges)


def test_years_follow_the_named_age_and_show():
    p = replace(some(1)[0], age="old", years=30.0)
    assert p.years_drawn == YEARS["old"][0]
    smooth, worn = (render(replace(p, age=age)).image.astype(int) for age in ("young", "old"))
    assert np.abs(smooth - worn).max() > 40
    early, late = (
        render(replace(p, age="middle-aged", years=years)).image.astype(int)
        for years in YEARS["middle-aged"]
    )
    assert np.abs(early - late).max() > 5, "years are continuous within an age"


def test_children_are_drawn_and_called_as_such():
    children = [p for p in some(300) if p.age == "child"]
    assert 20 < len(children) < 90
    assert all(p.beard == "none" and p.hair_style != "bald" for p in children)
    rng = np.random.default_rng(4)
    for p in children:
        text = caption(p, rng).text
        assert not set(text.split()) & {"man", "woman", "lady", "gentleman", "guy"}, text


def test_words_that_visitors_try_are_known():
    tried = "girl boy child beach eyes purple sweater ponytail mustache city bald bearded"
    assert set(tried.split()) <= set(words())


def test_what_cannot_be_seen_is_hidden():
    p = some(1)[0].attributes()
    plain = p | {"eyewear": "none", "expression": "neutral", "hat": "none", "condition": "clean"}
    plain |= {"hair_style": "long"}
    assert not hidden(plain)
    assert hidden(plain | {"hair_style": "bald"}) == {"hair_color"}
    assert hidden(plain | {"eyewear": "sunglasses"}) == {"eye_color"}
    assert "hair_style" in hidden(plain | {"hat": "hat", "hair_style": "bun"})
    assert "hair_style" not in hidden(plain | {"hat": "hat", "hair_style": "long"})
    assert "hair_color" in hidden(plain | {"condition": "old photo"})
