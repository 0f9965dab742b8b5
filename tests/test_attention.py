"""Recording shows the true attention, leaves every prediction bit-identical, and leaves nothing
behind.
"""

from contextlib import nullcontext

import pytest
import torch

from spf.attention import (
    Grid,
    Record,
    aggregate,
    checkpointed,
    coarse,
    cross_attention_layers,
    eager_attention,
    record,
)
from spf.errors import BadInput
from spf.sfcm import resized

GROUPS = {"woman": [5], "long red hair": [7, 8, 9], "PAD": list(range(20, 77))}


@pytest.fixture
def inputs(tiny_base):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    states = tiny_base.encode_text(
        ["a photo of a woman with long red hair", "a photo of an old man, a hat"]
    )
    return latents, torch.tensor([500, 20]), states


def test_the_prediction_is_bit_identical_with_recording(tiny_base, inputs):
    plain = tiny_base.unet(*inputs).sample
    with record(tiny_base.unet, GROUPS, "maps+queries"):
        recorded = tiny_base.unet(*inputs).sample
    assert torch.equal(plain, recorded)
    assert torch.equal(plain, tiny_base.unet(*inputs).sample)


def test_maps_are_the_softmax_of_every_layer(tiny_base, inputs):
    """Against diffusers' own probabilities, taken by replacing each processor by the plain one."""
    truth = {}
    layers = cross_attention_layers(tiny_base.unet)
    assert len(layers) == 10

    def spy(layer, name):
        scores = layer.get_attention_scores

        def scored(*args):
            truth[name] = scores(*args)  # [B*heads,N,T]
            return truth[name]

        return scored

    from diffusers.models.attention_processor import AttnProcessor

    found = {name: layer.processor for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.processor = AttnProcessor()
        layer.get_attention_scores = spy(layer, name)
    tiny_base.unet(*inputs)
    for name, layer in layers.items():
        layer.processor = found[name]
        del layer.get_attention_scores

    with record(tiny_base.unet, GROUPS) as shown:
        tiny_base.unet(*inputs)
    assert list(shown.maps) == list(truth)
    for name, layer in layers.items():
        expected = truth[name].unflatten(0, (2, layer.heads)).mean(1)
        for group, columns in GROUPS.items():
            torch.testing.assert_close(
                shown.maps[name][group].flatten(1),
                expected[..., columns].sum(-1),
                rtol=1e-5,
                atol=1e-6,
            )


def test_all_columns_together_have_mass_one(tiny_base, inputs):
    with record(tiny_base.unet, {"all": range(77)}) as shown:
        tiny_base.unet(*inputs)
    for groups in shown.maps.values():
        torch.testing.assert_close(groups["all"], torch.ones_like(groups["all"]))


def test_pool_mean_divides_by_the_number_of_tokens(tiny_base, inputs):
    with (
        record(tiny_base.unet, GROUPS) as mass,
        record(tiny_base.unet, GROUPS, pool="mean") as mean,
    ):
        tiny_base.unet(*inputs)
    for name in mass.maps:
        torch.testing.assert_close(mass.maps[name]["PAD"] / 57, mean.maps[name]["PAD"])


def test_rows_groups_per_row_and_missing_phrases(tiny_base, inputs):
    with record(tiny_base.unet, [{"a": [1]}, {"b": [2, 3], "c": []}]) as both:
        tiny_base.unet(*inputs)
    with record(tiny_base.unet, {"b": [2, 3]}, rows=slice(1, None)) as second:
        tiny_base.unet(*inputs)
    for name in both.maps:
        assert both.maps[name]["a"].shape[0] == 2 and second.maps[name]["b"].shape[0] == 1
        assert (
            both.maps[name]["a"][0].sum()
            > 0
            == both.maps[name]["a"][1].sum()
            == both.maps[name]["c"].sum()
        )
        torch.testing.assert_close(both.maps[name]["b"][1:], second.maps[name]["b"])


def test_only_what_is_asked_for_is_kept(tiny_base, inputs):
    with (
        record(tiny_base.unet, keep="queries") as queries,
        record(tiny_base.unet, GROUPS, largest=4) as small,
    ):
        tiny_base.unet(*inputs)
    assert queries.maps == {} and len(queries.queries) == 10
    assert next(iter(queries.queries.values())).shape == (2, 64, 8)
    assert small.queries == {} and small.resolutions == [2, 4]


def test_gradients_reach_the_tuned_weights_through_maps_and_queries(tiny_base, inputs):
    weight = tiny_base.unet.get_parameter(
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    )
    weight.requires_grad_(True)
    try:
        with record(tiny_base.unet, GROUPS, "maps+queries") as shown:
            tiny_base.unet(*inputs)
        maps = shown.maps["mid_block.attentions.0.transformer_blocks.0.attn2"]["woman"]
        assert torch.autograd.grad(maps.sum(), weight, retain_graph=True)[0].abs().sum() > 0
        later = shown.queries["up_blocks.2.attentions.1.transformer_blocks.0.attn2"]
        assert torch.autograd.grad(later.sum(), weight)[0].abs().sum() > 0
    finally:
        weight.requires_grad_(False)


def test_checkpointing_changes_no_gradient_of_what_was_recorded(tiny_base, inputs):
    """The recording is closed before backward, which runs the blocks again."""
    unet, gradients = tiny_base.unet, []
    for keep_less in (False, True):
        with checkpointed(unet) if keep_less else nullcontext():
            unet.requires_grad_(True)
            with record(unet, GROUPS, "maps+queries") as shown:
                predicted = unet(*inputs).sample
            maps = [value for groups in shown.maps.values() for value in groups.values()]
            seen = [*maps, *shown.queries.values(), predicted]
            sum(value.square().mean() for value in seen).backward()
        gradients.append([value.grad for value in unet.parameters()])
        unet.zero_grad()
        unet.requires_grad_(False)
    assert all(map(torch.equal, *gradients)) and gradients[0]
    assert not unet.is_gradient_checkpointing


def test_hooks_are_gone_after_an_error(tiny_base, inputs):
    with pytest.raises(RuntimeError, match="stop"), record(tiny_base.unet, GROUPS):
        raise RuntimeError("stop")  # the fixture looks for hooks


def test_half_precision_and_autocast_keep_maps_in_fp32(tiny_base, inputs):
    with record(tiny_base.unet, {"all": range(77)}) as shown, torch.autocast("cpu", torch.bfloat16):
        tiny_base.unet(*inputs)
    for groups in shown.maps.values():
        assert groups["all"].dtype == torch.float32
        torch.testing.assert_close(groups["all"], torch.ones_like(groups["all"]))


@pytest.mark.parametrize(
    "wrong", [{"groups": {}}, {"groups": GROUPS, "keep": "all"}, {"groups": GROUPS, "pool": "max"}]
)
def test_wrong_requests_are_refused_before_any_hook_is_set(tiny_base, wrong):
    with pytest.raises(BadInput), record(tiny_base.unet, **wrong):
        pass


def test_layers_are_the_levels_of_the_picture():
    grid = Grid((13, 20))
    levels = [grid.of(count) for count in (260, 70, 20, 6)]
    assert levels == [(13, 20), (7, 10), (4, 5), (2, 3)]
    with pytest.raises(BadInput, match="64 positions, which are no level of a picture of 20x13"):
        grid.of(64)


def test_aggregate_averages_resolutions_equally(tiny_base, inputs):
    with record(tiny_base.unet, GROUPS) as shown:
        tiny_base.unet(*inputs)
    assert shown.resolutions == [2, 4, 8] and coarse(shown.resolutions) == [2, 4]
    maps = aggregate(shown, 8)
    assert set(maps) == set(GROUPS) and maps["woman"].shape == (2, 8, 8)
    expected = torch.stack([resized(shown.at(side)["woman"], 8) for side in (2, 4, 8)]).mean(0)
    torch.testing.assert_close(maps["woman"], expected)
    torch.testing.assert_close(aggregate(shown, 4, [4])["PAD"], shown.at(4)["PAD"])
    with pytest.raises(BadInput, match="recorded at"):
        aggregate(shown, 8, [16])
    with pytest.raises(BadInput):
        aggregate(Record(), 8)


def test_resizing_keeps_the_mean():
    maps = torch.rand(2, 8, 8)
    torch.testing.assert_close(resized(maps, 2).mean((1, 2)), maps.mean((1, 2)))
    assert resized(maps, 8) is maps and resized(torch.ones(1, 2, 2), 16).eq(1).all()


def test_eager_attention_is_for_bf16_on_a_processor_and_ends(tiny_base):
    unet = tiny_base.unet
    before = unet.attn_processors
    with eager_attention(unet, "no"):
        assert unet.attn_processors == before
    with eager_attention(unet, "bf16"):
        assert {type(one).__name__ for one in unet.attn_processors.values()} == {"AttnProcessor"}
    assert unet.attn_processors == before
