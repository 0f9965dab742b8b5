"""Reference and response share one network, give back what they found, and adapters are checked
before they act.
"""

from copy import deepcopy

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import mse_loss

from spf import files
from spf.errors import BadInput, NotFinite
from spf.exchange import load_adapter
from spf.paths import (
    DOWN,
    METADATA,
    UP,
    Adapter,
    TunablePaths,
    all_names,
    cross_attention_names,
    response,
    save_adapter,
)
from spf.shelf import Shelf

ABOUT = dict.fromkeys(METADATA, "x")
KEY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"  # [16,32]


def difference(unet, names=None, seed=1, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    names = names or cross_attention_names(unet)
    return {
        name: size * torch.randn(unet.get_parameter(name).shape, generator=generator)
        for name in names
    }


@pytest.fixture
def inputs(tiny_base):
    return (
        torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)),
        300,
        tiny_base.encode_text(["a woman, a hat"]),
    )


def test_response_uses_the_tuned_weights_and_gives_back_the_original_ones(tiny_base, inputs):
    unet = tiny_base.unet
    adapter = Adapter(ABOUT, difference(unet))
    with torch.no_grad():
        before = unet(*inputs).sample
        original = {name: unet.get_parameter(name).clone() for name in adapter.names()}
        with response(unet, adapter):
            tuned = unet(*inputs).sample
            for name, value in adapter.tensors.items():
                torch.testing.assert_close(unet.get_parameter(name), original[name] + value)
        assert torch.equal(before, unet(*inputs).sample)
    assert not torch.allclose(before, tuned, atol=1e-3)


def test_scale_zero_is_the_original_and_adapters_add_up(tiny_base, inputs):
    unet = tiny_base.unet
    one, two = difference(unet, seed=1), difference(unet, seed=2)
    both = Adapter(ABOUT, {name: one[name] + two[name] for name in one})
    with torch.no_grad():
        before = unet(*inputs).sample
        with response(unet, both, scale=0):
            assert torch.equal(before, unet(*inputs).sample)
        with response(unet, both, scale=0.5):
            together = unet(*inputs).sample
        with response(unet, [Adapter(ABOUT, one), Adapter(ABOUT, two)], scale=0.5):
            torch.testing.assert_close(unet(*inputs).sample, together)


def test_a_low_rank_pair_is_its_product(tiny_base):
    down, up = torch.randn(2, 32), torch.randn(16, 2)
    before = tiny_base.unet.get_parameter(KEY).clone()
    with response(
        tiny_base.unet, Adapter(ABOUT, {KEY + ".down": down, KEY + ".up": up}), scale=0.5
    ):
        torch.testing.assert_close(
            tiny_base.unet.get_parameter(KEY).detach(), before + 0.5 * up @ down
        )


def test_original_weights_return_after_an_error_and_after_nesting(tiny_base):
    switch = response(tiny_base.unet, Adapter(ABOUT, difference(tiny_base.unet)))
    weight = tiny_base.unet.get_parameter(KEY)
    original, tuned = weight.clone(), switch.tensors[KEY]
    with pytest.raises(RuntimeError), switch:
        with response(tiny_base.unet, Adapter(ABOUT, {KEY: torch.ones(16, 32)})):
            torch.testing.assert_close(
                weight.detach(), tuned + 1, msg="an inner response starts from what is active"
            )
        with switch:
            assert weight.data_ptr() == tuned.data_ptr()
        assert weight.data_ptr() == tuned.data_ptr()
        raise RuntimeError
    assert torch.equal(weight, original)


def test_response_works_in_inference_mode(tiny_base, inputs):
    with (
        torch.inference_mode(),
        response(tiny_base.unet, Adapter(ABOUT, difference(tiny_base.unet))),
    ):
        tiny_base.unet(*inputs)


def test_no_second_network_is_held(tiny_base):
    switch = response(tiny_base.unet, Adapter(ABOUT, difference(tiny_base.unet)))
    held = sum(value.numel() for value in switch.tensors.values())
    assert held == sum(
        tiny_base.unet.get_parameter(name).numel() for name in cross_attention_names(tiny_base.unet)
    )


def test_training_moves_the_response_and_never_the_reference(tiny_base, inputs):
    unet, names = tiny_base.unet, cross_attention_names(tiny_base.unet)
    before = unet(*inputs).sample.detach()
    with TunablePaths(unet, names) as path:
        optimizer = torch.optim.AdamW(path.parameters.values(), lr=0.01)
        for _ in range(3):
            with path.reference():
                reference = unet(*inputs).sample
            predicted = unet(*inputs).sample
            with (
                path.reference()
            ):  # a switch between forward and backward must not disturb the gradient
                unet(*inputs)
            loss = mse_loss(predicted, torch.zeros_like(predicted))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert not reference.requires_grad and torch.equal(reference, before)
        trained = unet(*inputs).sample.detach()
        adapter = path.adapter(ABOUT)
        assert {name for name, value in unet.named_parameters() if value.grad is not None} == set(
            names
        )
    assert set(adapter.names()) <= set(names) and not torch.allclose(trained, before, atol=1e-3)
    assert torch.equal(unet(*inputs).sample, before)
    with response(unet, adapter):
        torch.testing.assert_close(unet(*inputs).sample, trained)
    with TunablePaths(unet, names) as path:
        path.load(adapter)
        torch.testing.assert_close(unet(*inputs).sample.detach(), trained)
        torch.testing.assert_close(path.adapter(ABOUT).tensors, adapter.tensors)


def test_halves_train_as_fp32_masters_beside_the_very_tensors_of_the_base(tiny_base):
    unet = deepcopy(tiny_base.unet).bfloat16()
    names = cross_attention_names(unet)
    own = {name: unet.get_parameter(name).data_ptr() for name in names}
    with TunablePaths(unet, names) as path:
        assert {value.dtype for value in path.parameters.values()} == {torch.float32}
        assert all(path.originals[name].data_ptr() == own[name] for name in names)
        path.parameters[KEY].data += 1e-6  # lost in halves of about 1
        assert path.adapter(ABOUT).tensors[KEY].abs().max() > 0
        with path.reference():
            assert unet.get_parameter(KEY).dtype == torch.bfloat16
    assert unet.get_parameter(KEY).data_ptr() == own[KEY]


def test_gradients_with_a_switch_in_between_are_those_without(tiny_base, inputs):
    unet = tiny_base.unet
    with TunablePaths(unet, [KEY]) as path:
        path.parameters[KEY].data += 0.1
        plain = torch.autograd.grad(unet(*inputs).sample.sum(), path.parameters[KEY])[0]
        predicted = unet(*inputs).sample.sum()
        with path.reference():
            unet(*inputs)
        assert torch.equal(torch.autograd.grad(predicted, path.parameters[KEY])[0], plain)


def test_names_of_both_readings(tiny_base):
    cross = cross_attention_names(tiny_base.unet)
    assert len(cross) == 10 * 5 and all(".attn2." in name for name in cross)
    assert set(cross) < set(all_names(tiny_base.unet))
    with pytest.raises(BadInput, match="nobody"):
        TunablePaths(tiny_base.unet, ["nobody"])
    with pytest.raises(BadInput):
        TunablePaths(tiny_base.unet, [])


@pytest.fixture
def adapters(tmp_path, monkeypatch):
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tmp_path))
    return tmp_path / "adapters"


def test_an_adapter_is_saved_and_found_by_name_or_file(tiny_base, adapters):
    adapter = Adapter({**ABOUT, "target": "a hat"}, difference(tiny_base.unet, [KEY]))
    save_adapter(adapter, adapters / "hat.safetensors", torch.float32)
    assert list(Shelf.usual().files()) == ["hat"]
    for source in ("hat", adapters / "hat.safetensors", str(adapters / "hat.safetensors")):
        loaded = load_adapter(source, tiny_base)
        assert loaded.metadata["target"] == "a hat" and torch.equal(
            loaded.tensors[KEY], adapter.tensors[KEY]
        )
    save_adapter(adapter, adapters / "half.safetensors")
    torch.testing.assert_close(
        load_adapter("half", tiny_base).tensors[KEY].float(),
        adapter.tensors[KEY],
        rtol=1e-3,
        atol=0,
    )


@pytest.mark.parametrize("name", ["../hat", "/etc/passwd", "nothing", "", "a\x00b"])
def test_an_unknown_or_tricky_name_is_refused(tiny_base, adapters, name):
    with pytest.raises(BadInput):
        load_adapter(name, tiny_base)


def test_an_adapter_must_say_how_it_was_made(tiny_base, adapters):
    with pytest.raises(BadInput, match="metadata lacks losses"):
        save_adapter(
            Adapter({key: "x" for key in METADATA if key != "losses"}, {KEY: torch.ones(16, 32)}),
            adapters / "a",
        )
    save_file({KEY: torch.ones(16, 32)}, str(adapters.parent / "a.safetensors"))
    with pytest.raises(BadInput, match="is no adapter"):
        load_adapter(adapters.parent / "a.safetensors", tiny_base)


WRONG = {
    "empty": {},
    "shape": {KEY: torch.ones(32, 16)},
    "name": {"nobody": torch.ones(1)},
    "lonely": {KEY + ".down": torch.ones(2, 32)},
    "ranks": {KEY + ".down": torch.ones(2, 32), KEY + ".up": torch.ones(16, 3)},
    "sides": {KEY + ".down": torch.ones(2, 16), KEY + ".up": torch.ones(32, 2)},
    "bias pair": {"conv_in.bias.down": torch.ones(1, 1), "conv_in.bias.up": torch.ones(8, 1)},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_adapter_of_another_model_is_refused_before_anything_changes(tiny_base, adapters, wrong):
    with pytest.raises(BadInput):
        response(tiny_base.unet, Adapter(ABOUT, wrong))
    files.save_tensors(adapters / "a.safetensors", wrong, ABOUT)
    with pytest.raises(BadInput):
        load_adapter("a", tiny_base)


def test_an_adapter_with_nan_is_neither_written_nor_read(tiny_base, adapters):
    broken = {KEY: torch.full((16, 32), float("nan"))}
    with pytest.raises(NotFinite):
        save_adapter(Adapter(ABOUT, broken), adapters / "a.safetensors")
    adapters.mkdir()
    save_file(broken, str(adapters / "a.safetensors"), ABOUT)
    with pytest.raises(NotFinite):
        load_adapter("a", tiny_base)


@pytest.mark.parametrize("dtype, values", [("float32", (1e25, 1e25)), ("float16", (600.0, 600.0))])
def test_finite_pairs_whose_sum_no_precision_holds_are_refused(tiny_base, dtype, values):
    unet = deepcopy(tiny_base.unet).to(getattr(torch, dtype))
    name = KEY
    rows, columns = unet.get_parameter(name).shape
    up, down = torch.full((rows, 1), values[0]), torch.full((1, columns), values[1])
    adapter = Adapter({}, {name + UP: up, name + DOWN: down})
    with pytest.raises(NotFinite, match=f"adapters at strength 1 has NaN or infinity in {name}"):
        response(unet, adapter)
