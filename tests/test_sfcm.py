"""The control map against numbers worked out by hand."""

import math

import pytest
import torch

from spf.errors import BadInput
from spf.sfcm import (
    CHANNELS,
    DISTANCES,
    ENDS,
    SCALES,
    SOURCES,
    Evidence,
    SfcmConfig,
    control_map,
    noise_difference,
    phrase_distances,
    scaled,
    subtracted,
)


def sfcm(eps_res, eps_ref, phrase_maps, distances, channels="mean-abs", **how):
    """The chain from two predictions."""
    return subtracted(noise_difference(eps_res, eps_ref, channels), phrase_maps, distances, **how)


def field(*rows):
    return torch.tensor(rows, dtype=torch.float32)[None]


def test_noise_difference_by_hand():
    res, ref = torch.tensor([[[[3.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[4.0]]]])
    assert noise_difference(res, ref).item() == 3.5
    assert noise_difference(res, ref, "l2").item() == 5


def test_the_chain_by_hand():
    """N = [0 1; 2 4] -> [0 .25; .5 1]; the phrase lies right, D = 0.5 -> [0 -.25; .5 .5] -> clip ->
    divide by 0.5.
    """
    eps_res, eps_ref = field([0, 1], [2, 4])[:, None], torch.zeros(1, 1, 2, 2)
    phrase = field([0, 3], [0, 3])[:, None]
    control, chain = sfcm(eps_res, eps_ref, phrase, torch.tensor([[0.5]]), steps=True)
    expected = [field([0, 0.25], [0.5, 1]), field([0, -0.25], [0.5, 0.5]), field([0, 0], [1, 1])]
    assert [step.phrase for step in chain] == [None, 0, None]
    for step, map_ in zip(chain, expected, strict=True):
        torch.testing.assert_close(step.map, map_)
    torch.testing.assert_close(control, expected[-1])
    torch.testing.assert_close(
        sfcm(eps_res, eps_ref, phrase, torch.tensor([[0.5]]), end="clip"), field([0, 0], [0.5, 0.5])
    )
    torch.testing.assert_close(sfcm(eps_res, eps_ref, phrase, torch.tensor([[0.0]])), expected[0])
    assert sfcm(eps_res, eps_ref, phrase, torch.tensor([[0.0]]), threshold=0.5).tolist() == [
        [[0, 0], [1, 1]]
    ]


def test_an_unrelated_phrase_is_removed_and_a_related_one_stays():
    eps_res = torch.zeros(1, 4, 8, 8)
    eps_res[..., :4] = 1  # hair, left
    eps_res[..., 6:] = 0.8  # jacket, right: pollution
    maps = torch.zeros(1, 2, 4, 4)
    maps[:, 0, :, :2], maps[:, 1, :, 3:] = 1, 1
    control = sfcm(eps_res, torch.zeros(1, 4, 8, 8), maps, torch.tensor([[0.1, 1.0]]))
    assert control[0, 4, 1] > 0.95 and control[0, 4, 7] < 0.05


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("end", ENDS)
def test_every_form_is_finite_and_in_range_and_rows_do_not_mix(channels, scale, end):
    generator = torch.Generator().manual_seed(0)
    eps_res, eps_ref = torch.rand(2, 3, 4, 8, 8, generator=generator)
    maps, distances = (
        torch.rand(3, 5, 4, 4, generator=generator),
        torch.rand(3, 5, generator=generator) * 0.2,
    )
    options = {"channels": channels, "scale": scale, "end": end}
    control = sfcm(eps_res, eps_ref, maps, distances, **options)
    assert control.shape == (3, 8, 8) and control.min() >= 0 and control.max() <= 1.0001
    alone = torch.cat(
        [
            sfcm(*(value[i : i + 1] for value in (eps_res, eps_ref, maps, distances)), **options)
            for i in range(3)
        ]
    )
    torch.testing.assert_close(control, alone)


@pytest.mark.parametrize("scale", SCALES)
def test_equal_predictions_give_an_empty_map(scale):
    eps = torch.randn(2, 4, 8, 8)
    control = sfcm(eps, eps, torch.zeros(2, 3, 4, 4), torch.ones(2, 3), scale=scale)
    assert control.eq(0).all()


def test_without_phrases_the_map_is_the_scaled_noise_difference():
    eps_res, eps_ref = torch.randn(2, 1, 4, 8, 8)
    control, chain = sfcm(eps_res, eps_ref, torch.zeros(1, 0, 4, 4), torch.zeros(1, 0), steps=True)
    torch.testing.assert_close(control, scaled(noise_difference(eps_res, eps_ref)))
    assert len(chain) == 2


@pytest.mark.parametrize("source", SOURCES)
def test_distances_beyond_the_phrases_of_a_batch_count_for_nothing(source):
    generator = torch.Generator().manual_seed(1)
    maps = (torch.rand(2, *shape, generator=generator) for shape in ((8, 8), (3, 4, 4), (4, 4)))
    found, distances = Evidence(*maps), torch.rand(2, 9, generator=generator)
    config = SfcmConfig(source=source)
    for more in (3, 4, 9):
        assert torch.equal(
            control_map(found, distances[:, :more], config),
            control_map(found, distances[:, :3], config),
        )


def test_the_map_carries_no_gradient():
    eps_res = torch.randn(1, 4, 8, 8, requires_grad=True)
    maps = torch.rand(1, 1, 8, 8)
    found = Evidence(noise_difference(eps_res, torch.zeros(1, 4, 8, 8)), maps, maps[:, 0])
    assert not control_map(found, torch.ones(1, 1), SfcmConfig()).requires_grad


def test_half_precision_is_computed_in_full():
    eps_res, eps_ref = torch.randn(2, 1, 4, 8, 8).half()
    assert (
        sfcm(eps_res, eps_ref, torch.rand(1, 1, 4, 4).half(), torch.ones(1, 1)).dtype
        == torch.float32
    )


def test_scales_by_hand():
    maps = torch.arange(100.0).reshape(1, 10, 10) + 10
    assert scaled(maps).flatten()[[0, -1]].tolist() == [0, 1]
    torch.testing.assert_close(scaled(maps, "max").flatten()[0], torch.tensor(10 / 109))
    stretched = scaled(maps, "stretch").flatten()
    assert (
        stretched[:50].eq(0).all()
        and stretched[97:].eq(1).all()
        and 0 < stretched[60] < stretched[90] < 1
    )
    assert scaled(torch.full((2, 3, 3), 7.0)).eq(0).all()


def test_distances_by_hand():
    states = torch.tensor([[9.0, 9], [1, 0], [0, 1], [-1, 0], [0, 3]])
    cases = {
        "1-cos": [1, 2, 1 - math.sqrt(0.5)],
        "half(1-cos)": [0.5, 1, 0.5 - math.sqrt(0.5) / 2],
        "arccos": [math.pi / 2, math.pi, math.pi / 4],
        "arccos/pi": [0.5, 1, 0.25],
    }
    assert set(cases) == set(DISTANCES)
    for form, expected in cases.items():
        found = phrase_distances(states, [[2], [3], [1, 2]], [1], form)
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        phrase_distances(states, [[1, 2]], [3, 4], pool="last"), torch.tensor([0.0])
    )
    assert phrase_distances(states, [[1], [2]], []).tolist() == [1, 1] and phrase_distances(
        states, [], [1]
    ).shape == (0,)


@pytest.mark.parametrize("wrong", [{"channels": "max"}, {"scale": "log"}, {"end": "none"}])
def test_unknown_forms_are_refused(wrong):
    with pytest.raises(BadInput):
        sfcm(*torch.zeros(2, 1, 4, 8, 8), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1), **wrong)


def test_a_phrase_that_is_the_target_is_no_distance_away_however_it_is_rounded():
    """The cosine of a vector with itself may come out a little above 1."""
    states = torch.randn(200, 37, generator=torch.Generator().manual_seed(0))
    for form in DISTANCES:
        found = torch.cat([phrase_distances(states, [[n]], [n], form) for n in range(200)])
        assert found.isfinite().all() and found.ge(0).all() and found.max() < 1e-3


def test_smoothing_averages_over_what_is_there():
    """An even map stays even up to its border, and a single bright point is shared out evenly."""
    how = SfcmConfig(source="noise", scale="none", end="clip", smooth=3, power=1.0)
    none = torch.zeros(1, 0, 4, 4)

    def smoothed(difference):
        return control_map(Evidence(difference, none, none.sum(1)), torch.zeros(1, 0), how)[0]

    torch.testing.assert_close(smoothed(torch.full((1, 4, 4), 0.5)), torch.full((4, 4), 0.5))
    point = torch.zeros(1, 4, 4)
    point[0, 0, 0] = 0.9
    expected = torch.zeros(4, 4)
    expected[:2, :2] = torch.tensor([[0.9 / 4, 0.9 / 6], [0.9 / 6, 0.9 / 9]])
    torch.testing.assert_close(smoothed(point), expected)


def test_the_noise_alone_has_nothing_subtracted_from_it():
    difference, phrases = field([0, 1], [2, 4]), field([0, 3], [0, 3])[:, None]
    found, distances = Evidence(difference, phrases, phrases[:, 0]), torch.tensor([[0.5]])
    control, chain = control_map(found, distances, SfcmConfig(source="noise"), steps=True)
    torch.testing.assert_close(control, difference / 4)
    assert [step.phrase for step in chain] == [None, None]
    paper = control_map(found, distances, SfcmConfig(), steps=True)
    assert [step.phrase for step in paper[1]] == [None, 0, None]
    torch.testing.assert_close(paper[0], field([0, 0], [1, 1]))


def test_nothing_is_smoothed_unless_asked_for_and_up_to_15_cells():
    assert SfcmConfig().smooth == 1 and SfcmConfig(smooth=15).smooth == 15
    for wrong in (-1, 0, 2, 14, 16, 17):
        with pytest.raises(BadInput, match="smooth is"):
            SfcmConfig(smooth=wrong)
