"""Each measure against a case whose answer can be worked out by hand."""

import numpy as np
import pytest
import torch

from spf.errors import BadInput
from spf.evaluation import measures as m
from spf.evaluation.pictures import clear
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.portraits.render import REGIONS

HAT, BLONDE = TARGETS["hat"], TARGETS["blonde"]


@pytest.fixture
def portrait():
    return sample_portrait(
        np.random.default_rng(0), fixed={"hair_style": "long", "hair_color": "red"}
    )


def test_the_renderers_own_pair_responds_without_pollution(portrait):
    before, after = portrait.attributes(), portrait.with_target(HAT).attributes()
    assert not m.responded(before, HAT) and m.responded(after, HAT)
    assert m.changed(before, after, [HAT]) == [] and m.pollution(before, after, [HAT]) == 0
    assert m.changed(before, after, []) == ["hat"]


def test_identical_portraits_have_no_pollution_and_no_purity_and_another_person_neither(portrait):
    before = portrait.attributes()
    assert (
        m.pollution(before, before, [HAT]) == 0
        and m.purity(float(m.responded(before, HAT)), 0.0) == 0
    )
    after = portrait.with_target(HAT).attributes()
    assert m.purity(float(m.responded(after, HAT)), m.pollution(before, after, [HAT])) == 1
    other = {
        name: next(value for value in values if value != before[name])
        for name, values in ATTRIBUTES.items()
    } | {"hat": "none"}
    assert (
        m.pollution(before, other, [HAT]) == 1
        and m.purity(float(m.responded(other, HAT)), 1.0) == 0
    )
    assert (
        m.purity(1.0, m.pollution(before, other | {"hat": "hat"}, [HAT])) == 0
    )  # the target on somebody else is worth nothing


def test_pollution_is_the_share_of_the_other_attributes(portrait):
    before = portrait.attributes()
    after = before | {"hat": "hat", "background": "park", "age": "old"}
    before = before | {"background": "sea", "age": "young"}
    assert m.changed(before, after, [HAT]) == ["age", "background"]
    assert m.pollution(before, after, [HAT]) == pytest.approx(2 / (len(ATTRIBUTES) - 1))
    assert m.pollution(before, after, [HAT], among={"age", "gender"}) == 0.5
    assert np.isnan(m.pollution(before, after, [HAT], among={"hat"}))


def test_hair_colour_counts_only_where_there_is_hair(portrait):
    before = portrait.attributes()
    after = before | {"hair_style": "bald", "hair_color": "black"}
    assert m.changed(before, after) == ["hair_style"]
    assert m.changed(before, before | {"hair_color": "black"}) == ["hair_color"]


def test_hair_under_a_hat_says_nothing_also_of_hair_that_shows_when_the_hat_goes(portrait):
    under = portrait.attributes() | {"hat": "hat", "hair_style": "short"}
    shown = under | {"hat": "none", "hair_style": "long"}
    assert m.changed(under, shown) == ["hat"] == m.changed(shown, under)
    assert m.changed(under | {"hat": "none"}, shown) == ["hair_style"]


def test_purity_needs_both():
    assert (
        m.purity(1.0, 0.0) == 1
        and m.purity(0.0, 0.0) == 0
        and m.purity(1.0, 1.0) == 0
        and m.purity(0.0, 1.0) == 0
    )
    assert m.purity(0.5, 0.5) == pytest.approx(0.5)
    assert m.purity(0.5, 0.75) == pytest.approx(1 / 3)
    np.testing.assert_allclose(m.purity(np.array([1.0, 0.6]), np.array([0.5, 0.1])), [2 / 3, 0.72])


def test_cosine():
    assert m.cosine(np.array([3.0, 0.0]), np.array([0.0, 2.0])) == 0
    np.testing.assert_allclose(m.cosine(np.eye(2), 2 * np.eye(2)), [1, 1])
    assert m.cosine(np.array([0.01, 0.0]), np.array([0.03, 0.04])) == pytest.approx(0.6)
    assert m.cosine(np.zeros(2), np.ones(2)) == 0


def test_true_region_joins_both_portraits_and_grows():
    before, after = np.zeros((5, 5), int), np.zeros((5, 5), int)
    after[2, 2], before[0, 0] = REGIONS.index("hat"), REGIONS.index("hair")
    assert m.true_region(before, after, HAT).sum() == 1
    assert m.true_region(before, after, HAT, grow=1).sum() == 5
    assert m.true_region(before, after, BLONDE)[0, 0]
    assert m.true_region(before, after, TARGETS["watercolor"]).all()


def test_change_outside_leaves_the_region_out():
    before, after = np.zeros((4, 4, 3)), np.zeros((4, 4, 3))
    region = np.zeros((4, 4), bool)
    region[0, 0] = True
    after[0, 0] = 1
    assert m.change_outside(before, after, region) == 0
    after[1, 1] = 0.3
    assert m.change_outside(before, after, region) == pytest.approx(0.3 / 15)
    assert np.isnan(m.change_outside(before, after, np.ones((4, 4), bool)))


def test_the_ratio_is_that_of_the_change_outside_to_that_inside():
    before, after = np.zeros((2, 2, 3)), np.full((2, 2, 3), 0.125)
    region = np.array([[True, False], [False, False]])
    after[region] = 0.5
    assert m.change_ratio(before, after, region) == 0.25


def test_nine_tenths_are_clear_to_the_judges():
    probs = {
        "age": torch.tensor([[0.89, 0.11], [0.08, 0.92]]),
        "hat": torch.tensor([[1.0, 0.0], [0.5, 0.5]]),
    }
    assert clear(probs) == [{"hat"}, {"age"}]


def test_iou_and_average_precision():
    region = np.zeros((4, 4), bool)
    region[:2] = True
    assert (
        m.iou(region.astype(float), region) == 1
        and m.average_precision(region.astype(float), region) == 1
    )
    assert m.iou(np.ones((4, 4)), region) == 0.5
    assert m.average_precision(np.full((4, 4), 0.3), region) == pytest.approx(
        0.5
    )  # a constant map is chance
    assert m.average_precision(1.0 - region, region) == pytest.approx(
        0.5
    )  # everything else first: 8 of 16 at the end
    ranking = np.array([[4.0, 3.0, 2.0, 1.0]])
    hits = np.array([[True, False, True, False]])
    assert m.average_precision(ranking, hits) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(m.iou(ranking, np.zeros((1, 4), bool))) and np.isnan(
        m.average_precision(ranking, hits | True)
    )


def test_bootstrap_resamples_prompts_not_images():
    values, prompts = [1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "b"]
    mean, draws = m.bootstrap_means(values, prompts, resamples=4000)
    assert mean == 0.5
    assert set(np.unique(draws)) == {0.0, 0.5, 1.0}  # two prompts: never a quarter
    assert np.mean(draws == 0.5) == pytest.approx(0.5, abs=0.03)
    assert m.interval(draws) == (0.0, 1.0)


def test_bootstrap_covers_the_truth_and_shares_its_resamples():
    rng = np.random.default_rng(1)
    inside = 0
    for trial in range(200):
        values = rng.random(100) < 0.3
        low, high = m.interval(m.bootstrap_means(values, range(100), resamples=300, seed=trial)[1])
        inside += low <= 0.3 <= high
    assert 180 <= inside <= 200
    a, b = (m.bootstrap_means(v, range(50))[1] for v in (np.arange(50.0), np.arange(50.0) + 1))
    np.testing.assert_allclose(b - a, 1)


def test_bootstrap_leaves_unknown_values_out():
    assert m.bootstrap_means([1.0], [0])[1].shape == (2000,)
    mean, draws = m.bootstrap_means([1.0, np.nan, 1.0], [0, 1, 2])
    assert mean == 1 and np.nanmin(draws) == 1
    mean, draws = m.bootstrap_means([np.nan], [0])
    assert np.isnan(mean) and all(np.isnan(m.interval(draws)))
    with pytest.raises(BadInput, match="one length"):
        m.bootstrap_means([1.0], [])


def test_an_interval_leaves_the_same_share_out_at_both_ends():
    draws = np.arange(1001.0)
    assert m.interval(draws) == pytest.approx((25, 975))
    assert m.interval(np.append(draws, np.nan), level=0.5) == pytest.approx((250, 750))
    assert np.isnan(m.interval(np.array([np.nan]))).all()


def test_a_change_is_a_difference_and_is_counted_from_the_threshold_on():
    before, after = np.full((2, 2, 3), 0.75), np.full((2, 2, 3), 0.5)
    region = np.array([[True, False], [False, False]])
    assert m.change_outside(before, after, region) == 0.25
    assert np.isnan(m.change_ratio(before, np.where(region[..., None], before, after), region))
    assert m.iou(np.array([[0.5, 0.25], [0.75, 0.0]]), region) == 0.5
