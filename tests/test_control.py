"""One control map: the settings of the run that made the weights, wherever the map is shown; none
where there is none.
"""

import json

import pytest
import torch
from test_sampling import HOW, PROMPT, new_adapter

from spf.attention import Record
from spf.control import averaged, evidence, settings_of, uses_map
from spf.methods import build
from spf.paths import Adapter
from spf.sampling import GuideConfig, sample_pair
from spf.sfcm import Evidence, SfcmConfig, control_map


def made(name="spf", **settings):
    return {"method": name, "settings": json.dumps(build(name, settings).config.to_dict())}


def test_the_settings_of_a_run_travel_with_its_adapter():
    found = settings_of([made(smooth=5, power=0.7, source="product", scale="max")])
    assert found == SfcmConfig(smooth=5, power=0.7, source="product", scale="max")
    assert settings_of([made()]) == SfcmConfig(scale="stretch", smooth=3, power=0.5)
    assert settings_of([made(smooth=5), made("naive"), made(smooth=7)]).smooth == 7


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        made("naive"),
        made("purecc"),
        made("spf-no-sfcm"),
        made(plain=1.0),
        {"settings": "no json"},
        {"settings": '"text"'},
        {"settings": '{"complement": "1-s", "smooth": 2}'},
    ],
)
def test_a_run_without_a_map_has_none_to_show(metadata):
    assert settings_of([metadata]) is None


def test_methods_say_whether_they_make_maps():
    assert build("spf", {"smooth": 5}).map_settings.smooth == 5
    assert build("spf-no-sfcm").map_settings is None is build("lora").map_settings
    assert build("spf-no-sfcm", {"masked": 0.5}).map_settings is not None


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ({"complement": "1-s"}, True),
        ({"complement": "1-s", "plain": 0.99}, True),
        ({"complement": "1-s", "plain": 1.0}, False),
        ({"complement": "none"}, False),
        ({"complement": "none", "masked": 0.5}, True),
        ({"complement": "none", "masked": 0.5, "plain": 1.0}, False),
        ({"masked": 0.5}, False),
        ({}, False),
    ],
)
def test_a_run_makes_maps_in_its_second_stage_where_something_weighs_them(made, used):
    assert uses_map(made) is used


def test_phrase_maps_of_two_paths_are_averaged_and_those_of_targets_added_row_by_row():
    names = ("hair", "jacket", "a hat", "a scarf")
    res, ref = torch.rand(2, len(names), 2, 3, 3, generator=torch.Generator().manual_seed(0))
    shown = [
        Record({"up_blocks.0.attn2": dict(zip(names, one.unbind(0), strict=True))}, {})
        for one in (res, ref)
    ]
    for path, expected in (("response", res), ("reference", ref), ("mean", (res + ref) / 2)):
        found = evidence(
            tuple(torch.zeros(2, 2, 4, 3, 3)),
            tuple(shown),
            names[:2],
            names[2:],
            SfcmConfig(map_path=path),
        )
        torch.testing.assert_close(found.phrases, expected[:2].transpose(0, 1))
        torch.testing.assert_close(found.target, res[2] + res[3])


def test_the_mean_of_noises_weighs_each_alike():
    small, large = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[600.0, 200.0]]])
    phrases = torch.tensor([[[[1.0, 0.0]]]])
    some = [Evidence(one, phrases * n, phrases[:, 0] * n) for n, one in enumerate((small, large))]
    found = averaged(some)
    torch.testing.assert_close(found.difference, torch.tensor([[[1.0, 1.0]]]))
    torch.testing.assert_close(found.phrases, phrases / 2)
    assert averaged([Evidence(0 * small, phrases, phrases[:, 0])]).difference.eq(0).all()


def test_drawings_show_the_map_of_the_run(tiny_base):
    plain = new_adapter(tiny_base)
    variants = {
        "spf": Adapter(plain.metadata | made(smooth=5, power=2.0), plain.tensors),
        "naive": Adapter(plain.metadata | made("naive"), plain.tensors),
    }
    trace = sample_pair(tiny_base, PROMPT, variants, **HOW)
    mine, naive = trace.tuned["spf"], trace.tuned["naive"]
    assert naive.sfcm is None is naive.mean_sfcm() and naive.settings is None
    assert [name for name, _ in trace.chain("naive", 0)] == ["noise difference"]
    assert mine.settings == SfcmConfig(scale="stretch", smooth=5, power=2.0)

    difference, removed = torch.from_numpy(mine.difference[1]), torch.from_numpy(mine.removed[1])
    expected = control_map(
        Evidence(difference, removed, removed[:, 0]),
        torch.from_numpy(mine.distances)[None],
        mine.settings,
    )
    torch.testing.assert_close(torch.from_numpy(mine.sfcm[1]).float(), expected, atol=5e-3, rtol=0)
    assert torch.allclose(
        torch.from_numpy(naive.difference[0]), torch.from_numpy(mine.difference[0])
    )

    guided = sample_pair(tiny_base, PROMPT, variants["naive"], guide=GuideConfig("sfcm"), **HOW)
    assert guided.tuned["tuned"].settings == SfcmConfig(), "it guides, so there is one"
