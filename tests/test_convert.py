"""Adapters go out in every form, with a card that says what each leaves out; the commands say so in
one line each.
"""

import json

import pytest
import torch
from portrait_world import random_adapters
from real_world import exact_base

from spf.bases.pinned import licence_of
from spf.convert import CARD, convert
from spf.errors import BadInput
from spf.exchange import load_adapter
from spf.exchange.card import card
from spf.files import write_json
from spf.paths import METADATA, Adapter, save_adapter

KEY = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture
def adapter(tiny_base):
    made = random_adapters(tiny_base)[0]
    about = {"base_model": "embedded", "target": "a hat", "settings": json.dumps({"push": 2})}
    return Adapter(made.metadata | about, made.tensors)


def test_every_form_is_written_with_a_card_that_states_the_losses(tiny_base, adapter, tmp_path):
    forms = ["kohya", "diff", "own", "diffusers", "checkpoint", "kohya"]
    made = convert(tiny_base, adapter, "hat", forms, tmp_path, rank=2)
    files = {name: tmp_path / f"hat{name}.safetensors" for name in ("", ".kohya", ".lora", ".diff")}
    assert {one["file"] for one in made} == {
        *map(str, files.values()),
        str(tmp_path / "hat.checkpoint.safetensors"),
        str(tmp_path / CARD),
    }
    by_form = {one["form"]: one for one in made if "form" in one}
    assert (
        by_form["diff"]["error"] == 0 < by_form["kohya"]["vectors"] < by_form["kohya"]["error"] < 1
    )
    text = (tmp_path / CARD).read_text()
    assert text.startswith("---\nlicense: apache-2.0\n") and 'instance_prompt: "a hat"' in text
    assert f"{by_form['kohya']['error']:.1%} of its size" in text and "- settings: push 2" in text
    for file in files.values():
        load_adapter(file, tiny_base)


def test_nothing_is_written_for_a_setting_out_of_range(tiny_base, adapter, tmp_path):
    for bad, sentence in (
        ({"forms": ["gguf"]}, "to is 'gguf' but must be one of own, diffusers, kohya, diff, check"),
        ({"forms": ["own"], "rank": 0}, "rank is 0 but must be a whole number from 1 to 4096"),
        ({"forms": ["own"], "strength": 9}, "strength is 9 but must be a number from -4 to 4"),
        ({"forms": ["own"], "name": "../x"}, "plain file name"),
    ):
        with pytest.raises(BadInput, match=sentence):
            convert(tiny_base, adapter, **({"name": "hat", "out": tmp_path / "o"} | bad))
    assert not (tmp_path / "o").exists()


def test_a_card_names_what_it_does_not_know(adapter):
    about = dict.fromkeys(METADATA, "") | {
        "base_model": "SD 1.x",
        "method": "lora",
        "source": "x: y",
    }
    text = card("mine", about, [], licence=licence_of("SD 1.x"))
    assert "license: other" in text and "That of the base SD 1.x goes on to its adapters" in text
    assert "base_model: stable-diffusion-v1-5/stable-diffusion-v1-5" in text
    assert "instance_prompt" not in text and "The file does not say." in text and "x: y" in text
    receipt = {"reader": "CLIP", "drawings": {"free": {"response": 0.5, "pollution": None}}}
    assert "| free | response | 0.50 | CLIP |" in card("mine", about, [], receipt=receipt)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ("stable-diffusion-v1-5", "base_model: stable-diffusion-v1-5/stable-diffusion-v1-5\n"),
        ("stable-diffusion-2-1", "base_model: stabilityai/stable-diffusion-2-1\n"),
        ("stabilityai/stable-diffusion-2-1", "base_model: stabilityai/stable-diffusion-2-1\n"),
        ("someone/photos", "base_model: someone/photos\n"),
        ("embedded", ""),
        ("SD 2.x", ""),
        ("unknown", ""),
    ],
)
def test_a_card_names_the_base_as_the_hub_does(base, line):
    text = card("mine", dict.fromkeys(METADATA, "") | {"base_model": base}, [])
    assert line in text if line else "base_model:" not in text


@pytest.mark.slow
def test_whole_differences_of_the_exact_size_become_pairs_in_minutes(tmp_path):
    """Every cross-attention matrix of SD 1.5, biases too, at rank 32."""
    base, generator = exact_base(), torch.Generator().manual_seed(0)
    base.name = "stable-diffusion-v1-5"
    tensors = {
        name: 1e-3 * torch.randn(value.shape, generator=generator)
        for name, value in base.unet.named_parameters()
        if ".attn2." in name
    }
    made = convert(
        base, Adapter(dict.fromkeys(METADATA, "x"), tensors), "a", ["kohya"], tmp_path, rank=32
    )
    assert made[0]["rank"] == 32 and 0.5 < made[0]["error"] < 1  # noise has no low rank


def run(capsys, *arguments):
    from spf import cli

    capsys.readouterr()
    cli.app([str(one) for one in arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_commands_say_what_a_file_is_and_what_was_written(
    tiny_folder, adapter, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tiny_folder))
    file = tmp_path / "hat.safetensors"
    save_adapter(adapter, file)
    assert "own adapter for embedded" in run(capsys, "convert", file)
    write_json(tmp_path / "r.json", {"reader": "judges", "drawings": {"free": {"response": 1.0}}})
    options = [
        "--to",
        "kohya",
        "--rank",
        3,
        "--out",
        tmp_path / "o",
        "--receipt",
        tmp_path / "r.json",
    ]
    lines = run(capsys, "convert", file, *options).splitlines()
    assert json.loads(lines[0])["rank"] == 3 and json.loads(lines[1])["file"].endswith(CARD)
    assert "| free | response | 1.00 | judges |" in (tmp_path / "o" / CARD).read_text()
    kohya = tmp_path / "o" / "hat.kohya.safetensors"
    assert "kohya LoRA of rank 3 for embedded" in run(capsys, "convert", kohya)
    said = run(capsys, "receipt", kohya, "--texts", 1, "--steps", 1, "--out", tmp_path / "r")
    assert "free, read by CLIP: response" in said and (tmp_path / "r" / "receipt.png").is_file()


def test_the_models_are_listed_and_checked(tiny_folder, monkeypatch, capsys):
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tiny_folder))
    listed = run(capsys, "models")
    assert "stable-diffusion-v1-5 at revision 451f4fe16113, licence creativeml-openrail-m" in listed
    assert "embedded: 16 pixels, predicts epsilon, drawn with ddim" in run(
        capsys, "models", "--check", "embedded"
    )
    with pytest.raises(BadInput, match="get is 'other' but must be one of"):
        run(capsys, "models", "--get", "other")
