"""An adapter is told by the weights that it was tuned on, and nobody is warned for nothing."""

import base64

import numpy as np
import pytest
import torch
from conftest import new_tiny_base
from portrait_world import random_adapters

from spf.bases.reading import empty_base, load_base
from spf.exchange import Layout, load_adapter, reading, write
from spf.paths import Adapter, response, save_adapter
from spf.shelf import Shelf
from spf.weights import FAMILIES, KEY, Loaded, note, said_base, sketch


@pytest.fixture
def other():
    """The same architecture under the same name with other weights."""
    return new_tiny_base(seed=1)


@pytest.fixture
def warned(caplog):
    reading._warn.cache_clear()

    def sentences():
        return [one.getMessage() for one in caplog.records if one.name == reading.__name__]

    return sentences


def saved(base, folder, **about):
    file = folder / "hat.safetensors"
    made = random_adapters(base)[0]
    save_adapter(Adapter(made.metadata | {"base_model": base.name} | about, made.tensors), file)
    return file


def test_the_same_weights_are_the_same_in_every_precision(other):
    single = sketch(other.unet)
    matrices = [value for value in other.unet.parameters() if value.ndim > 1]
    assert single.shape == (len(matrices),) and len(single) > 50
    for dtype in (torch.float16, torch.bfloat16):
        half = sketch(new_tiny_base(seed=1).unet.to(dtype))
        assert not np.array_equal(half, single)
        assert not Loaded("tiny", half).strange(note(single))
        assert not Loaded("tiny", single).strange(note(half))


def test_one_tuned_matrix_is_seen(other):
    before = note(sketch(other.unet))
    with torch.no_grad():
        other.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight.mul_(1.01)
    assert Loaded("tiny", sketch(other.unet)).strange(before)
    assert not new_tiny_base(seed=1).weights.strange(before)


def test_who_says_nothing_that_can_be_read_is_not_doubted(other):
    values = other.weights.sketch
    three = base64.b64encode(b"abc").decode()
    for said in ({}, {KEY: ""}, {KEY: "&%"}, {KEY: "\u00e4"}, {KEY: three}):
        assert not other.weights.strange(said)
        assert other.weights.strange(said | {"base_model": "elsewhere"}), "then the name decides"
        for family in FAMILIES:
            assert not other.weights.strange(said | {"base_model": family})
    alone = Loaded("tiny")
    assert not alone.strange(note(values + 1)), "a base of shapes alone has no weights to compare"
    assert other.weights.strange(note(values[:-1])), "another architecture has other weights"


def test_a_note_decides_and_not_the_name(other):
    same, elsewhere = note(other.weights.sketch), note(other.weights.sketch + 1)
    for name in ("tiny", "a copy of tiny", "SD 1.x", ""):
        assert not other.weights.strange(same | {"base_model": name})
        assert other.weights.strange(elsewhere | {"base_model": name})


@pytest.mark.parametrize(
    "said, base, strange",
    [
        ({}, "", False),
        ({"base_model": "tiny"}, "tiny", False),
        ({"base_model": "photos", "ss_base_model_version": "sd_v1"}, "photos", True),
        ({"ss_base_model_version": "sd_v1.5"}, "SD 1.x", False),
        ({"ss_base_model_version": "SDXL_base_v1-0"}, "SDXL", False),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "SD 2.x", False),
        ({"ss_base_model_version": "", "modelspec.architecture": "flux-1-dev"}, "Flux", False),
        ({"ss_base_model_version": "a finetune of mine"}, "a finetune of mine", True),
    ],
)
def test_a_base_is_read_in_the_words_of_any_program(said, base, strange):
    assert said_base(said) == base
    assert Loaded("tiny").strange(said) is strange
    assert Loaded("tiny").strangers({"a": said, "b": {}}) == ({"a": base} if strange else {})


def test_a_base_of_shapes_alone_has_no_note(tiny_folder, monkeypatch):
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tiny_folder))
    assert empty_base().weights.sketch is None and note(None) == {}


def test_other_weights_are_told_once_in_one_sentence(tiny_base, other, tmp_path, warned):
    file = saved(tiny_base, tmp_path, **note(tiny_base.weights.sketch))
    load_adapter(file, tiny_base)
    assert warned() == []
    for _ in range(2):
        adapter = load_adapter(file, other)
    assert warned() == [
        "hat.safetensors was tuned on other weights than those of tiny that are loaded; what it "
        "changes may differ from what it was taught."
    ]
    with response(other, adapter):
        pass  # a warning and no refusal


@pytest.mark.parametrize("form", ["diffusers", "kohya", "diff"])
def test_the_note_goes_along_to_other_programs_and_back(tiny_base, other, tmp_path, warned, form):
    adapter = load_adapter(saved(tiny_base, tmp_path, **note(tiny_base.weights.sketch)), tiny_base)
    write(adapter, Layout.of(tiny_base), form, tmp_path / "for-others.safetensors")
    load_adapter(tmp_path / "for-others.safetensors", tiny_base)
    assert warned() == []
    load_adapter(tmp_path / "for-others.safetensors", other)
    assert len(warned()) == 1


def test_files_without_a_note_are_told_by_the_name_of_their_base(
    tiny_base, other, tmp_path, warned
):
    load_adapter(saved(tiny_base, tmp_path), other)
    assert warned() == []
    load_adapter(saved(tiny_base, tmp_path, base_model="somebody's"), other)
    assert "other weights (somebody's) than those of tiny" in warned()[0]


def test_what_is_shipped_was_tuned_on_the_weights_that_are_shipped(other):
    base = load_base()
    made = Shelf.shipped().metadata().values()
    assert not any(base.weights.strange(one) for one in made)
    assert all(other.weights.strange(one) for one in made if KEY in one)
