"""Each term of the objective against numbers worked out by hand, and its gradients."""

import math

import pytest
import torch

from spf.errors import BadInput
from spf.losses import (
    COMPLEMENTS,
    ENHANCED,
    NORMS,
    complement,
    cosine,
    distance,
    enhanced,
    fine_grained,
    pixel_grounding,
    prediction_error,
    projection,
    text_consistent,
    token_grounding,
)


def test_complements_by_hand():
    sfcm = torch.tensor([[[0.0, 0.25], [0.5, 1.0]]])
    expected = {
        "1-s": [1, 0.75, 0.5, 0],
        "exp": [1, 0.7788, 0.6065, 0.3679],
        "threshold": [1, 1, 0, 0],
        "none": [1] * 4,
    }
    assert set(expected) == set(COMPLEMENTS)
    for form, values in expected.items():
        torch.testing.assert_close(
            complement(sfcm, form).flatten(),
            torch.tensor(values, dtype=torch.float32),
            atol=1e-4,
            rtol=0,
        )


def test_text_consistent_by_hand():
    """Two layers, one of a single position; W is 1 left and 0 right, so only the left column
    counts.
    """
    weight = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    zero, one = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    res = {
        "fine": {"woman": one, "PAD": 2 * one, "hat": 9 * one},
        "coarse": {"woman": torch.ones(1, 1, 1), "PAD": zero[:, :1, :1]},
    }
    ref = {
        "fine": {"woman": zero, "PAD": zero},
        "coarse": {"woman": zero[:, :1, :1], "PAD": zero[:, :1, :1]},
    }
    # fine: woman 2/4, PAD 4*2/4; coarse: W = 0.5, woman 0.25, PAD 0
    assert text_consistent(res, ref, weight).item() == pytest.approx((0.5 + 2 + 0.25) / 2)
    assert text_consistent(res, ref, weight, layers="sum").item() == pytest.approx(2.75)
    assert text_consistent(res, ref, weight, phrases=["woman"]).item() == pytest.approx(0.375)
    assert text_consistent(res, ref, weight, norm="l1").item() == pytest.approx((0.5 + 1 + 0.5) / 2)


def test_fine_grained_by_hand():
    weight = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    res, ref = (
        {"a": torch.full((1, 4, 3), 2.0), "b": torch.ones(1, 1, 2)},
        {"a": torch.zeros(1, 4, 3), "b": torch.ones(1, 1, 2)},
    )
    assert fine_grained(res, ref, weight).item() == pytest.approx((4 / 2 + 0) / 2)
    assert fine_grained(res, ref, weight, norm="cosine").item() == pytest.approx(0.5 * 0.5)


@pytest.mark.parametrize("norm", NORMS)
def test_alignment_vanishes_for_equal_paths_and_where_the_map_is_open(norm):
    maps, queries = {"l": {"woman": torch.rand(2, 4, 4)}}, {"l": torch.randn(2, 16, 8)}
    other = {"l": {"woman": torch.rand(2, 4, 4)}}, {"l": torch.randn(2, 16, 8)}
    weight = torch.rand(2, 8, 8)
    for term, res, ref in ((text_consistent, maps, other[0]), (fine_grained, queries, other[1])):
        assert term(res, res, weight, norm=norm).item() == pytest.approx(0, abs=1e-6)
        assert term(res, ref, weight, norm=norm) > 0
        if (
            term is fine_grained or norm != "cosine"
        ):  # a cosine along positions has no value for an empty map
            assert term(res, ref, torch.zeros(2, 8, 8), norm=norm) == 0


def test_only_the_response_is_pulled():
    res, ref = torch.rand(1, 4, 4, requires_grad=True), torch.rand(1, 4, 4, requires_grad=True)
    text_consistent({"l": {"p": res}}, {"l": {"p": ref}}, torch.ones(1, 4, 4)).backward()
    assert res.grad.abs().sum() > 0 and ref.grad is None


def test_nothing_recorded_is_no_loss():
    assert (
        text_consistent({}, {}, torch.ones(1, 4, 4))
        == 0
        == fine_grained({}, {}, torch.ones(1, 4, 4))
    )


def test_enhanced_by_hand():
    x, y, z = torch.eye(3).unbind()
    batch = lambda v: v[None]  # noqa: E731
    ref, image, target = batch(x), batch(y), batch(z)
    assert enhanced(image, ref, image, target, "a").item() == pytest.approx(0, abs=1e-6)
    assert enhanced(ref + (image - ref) / 2, ref, image, target, "a").item() == pytest.approx(
        0, abs=1e-6
    )
    assert enhanced(2 * ref - image, ref, image, target, "a").item() == pytest.approx(2)
    assert enhanced(image, ref, image, target, "b").item() == pytest.approx(1)
    between = batch(0.6 * y + 0.8 * z)  # between - ref is (-1, 0.6, 0.8), of length sqrt(2)
    assert enhanced(between, ref, image, target, "b").item() == pytest.approx(1.4 - 0.8 / 2**0.5)
    assert enhanced(image, ref, image, target, "c").item() == pytest.approx(0, abs=1e-6)
    assert enhanced(target, ref, image, target, "direct").item() == pytest.approx(0)
    halved = enhanced(
        torch.cat([image, 2 * ref - image]),
        torch.cat([ref] * 2),
        torch.cat([image] * 2),
        target,
        "a",
        torch.tensor([1.0, 0.5]),
    )
    assert halved.item() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("form", ENHANCED)
def test_enhanced_pulls_the_response_alone(form):
    given = torch.nn.functional.normalize(torch.randn(4, 2, 8), dim=-1).unbind()
    for one in given:
        one.requires_grad_()
    enhanced(*given, form).backward()
    assert [one.grad is not None for one in given] == [True, False, False, False]


@pytest.mark.parametrize("form", ENHANCED)
def test_enhanced_has_a_bounded_gradient_even_where_the_paths_agree(form):
    ref, image, target = torch.nn.functional.normalize(torch.randn(3, 2, 8), dim=-1)
    res = ref.clone().requires_grad_()
    enhanced(res, ref, image, target, form).backward()
    assert torch.isfinite(res.grad).all() and 0 < res.grad.norm() < 2e3


def test_cosine_is_the_cosine():
    a, b = torch.randn(2, 5, 7)
    torch.testing.assert_close(cosine(a, b), torch.nn.functional.cosine_similarity(a, b))


def test_halves_are_compared_in_full_precision():
    """Half precision ends at 65504, and neither squares nor lengths may reach it."""
    large = torch.full((1, 2, 4), 6e4, dtype=torch.float16)
    for one, other in ((large, large.float()), (large.float(), large), (large, large)):
        assert distance(one, other, torch.ones(1, 2), "cosine").item() == pytest.approx(0, abs=1e-6)
    apart = distance(large, torch.zeros_like(large), torch.ones(1, 2).half())
    assert apart.item() == pytest.approx(6e4**2, rel=1e-3)
    errors = prediction_error(large[..., None], torch.zeros_like(large)[..., None])
    assert errors.item() == pytest.approx(6e4**2, rel=1e-3)


def test_words_that_nothing_looks_at_and_maps_that_are_full_have_their_bounds():
    nowhere, mask = torch.zeros(2, 1, 1, 2, 2), torch.ones(2, 2)
    assert token_grounding(nowhere, mask) == 2, "1 of each layer, as where all lies outside"
    assert pixel_grounding(nowhere, mask).item() == pytest.approx(-math.log(1e-6), rel=1e-3)
    full = pixel_grounding(torch.ones(1, 1, 1, 2, 2), 0 * mask)
    assert full.item() == pytest.approx(-math.log(1e-6), rel=1e-2)


def test_a_small_bias_is_a_bias():
    bias = torch.tensor([[0.25, 0.0], [0.0, 0.0]])
    assert projection(0.5 * bias, bias).tolist() == [0.5, 0.0]


def test_prediction_error_by_hand():
    eps, noise = (
        torch.zeros(2, 1, 2, 2),
        torch.stack([torch.ones(1, 2, 2), 2 * torch.ones(1, 2, 2)]),
    )
    assert prediction_error(eps, noise).item() == 2.5
    assert prediction_error(eps, noise, torch.tensor([1.0, 0.0])).item() == 0.5


def test_unknown_forms_are_refused():
    for call in (
        lambda: complement(torch.zeros(1, 2, 2), "square"),
        lambda: enhanced(*torch.zeros(4, 1, 3), "d"),
        lambda: fine_grained(
            {"l": torch.zeros(1, 4, 2)},
            {"l": torch.zeros(1, 4, 2)},
            torch.zeros(1, 2, 2),
            norm="l3",
        ),
        lambda: fine_grained({}, {}, torch.zeros(1, 2, 2), layers="max"),
    ):
        with pytest.raises(BadInput):
            call()
