"""Pictures of real models go past their safety checker, on the way and at the end."""

import json

import numpy as np
import pytest
import torch
from conftest import new_tiny_base
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig

import app
from spf.answers import Progress
from spf.config import GenerateConfig
from spf.engine import Engine
from spf.errors import UnsafeFile, Withheld
from spf.safety import checker_folder, load_checker, mosaic

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def put_checker(folder, finds):
    """A checker that finds everything or nothing: cosines lie between -1 and 1."""
    vision = SMALL | {"image_size": 8, "patch_size": 4}
    config = CLIPConfig(vision_config=vision, text_config=SMALL, projection_dim=8)
    model = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        model.concept_embeds_weights.fill_(-2.0 if finds else 2.0)
        model.special_care_embeds_weights.fill_(2.0)
    model.save_pretrained(folder / "safety_checker")
    scales = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "feature_extractor").mkdir(exist_ok=True)
    (folder / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(scales))
    return folder


@pytest.fixture
def real(tmp_path, monkeypatch):
    """An engine with a model that is not the embedded one, and its folder."""
    base = new_tiny_base()
    base.folder = tmp_path
    monkeypatch.setattr("spf.bases.reading.load_base", lambda name, **_: base)
    return Engine(folder=tmp_path / "none"), tmp_path


def test_what_the_checker_finds_is_withheld_with_its_own_words(real):
    engine, folder = real
    put_checker(folder, finds=True)
    config, seen = GenerateConfig("a photo of a woman", steps=4), []
    with pytest.raises(Withheld, match="safety checker"):
        for event in engine.compare(config):
            seen.append(event)
    previews = [one for event in seen for one in event.previews.values()]
    assert previews and all(isinstance(event, Progress) for event in seen)
    assert all(len(np.unique(one.reshape(-1, 3), axis=0)) <= 36 for one in previews)

    engine.__dict__.pop("checker")
    put_checker(folder, finds=False)
    assert list(engine.compare(config))[-1].portraits


def test_drawings_and_unfiltered_pages_are_not_looked_at(real):
    engine, folder = real
    put_checker(folder, finds=True)
    engine.filtered = False
    assert list(engine.compare(GenerateConfig("a man", steps=2)))[-1].portraits
    assert engine.checker is None
    embedded = Engine()
    embedded.base = new_tiny_base()
    embedded.base.name = "embedded"
    assert embedded.checker is None


def test_a_mosaic_hides_what_it_hints_at():
    picture = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    shown = mosaic(picture)
    assert shown.shape == picture.shape and len(np.unique(shown.reshape(-1, 3), axis=0)) <= 36
    assert abs(shown.mean() - picture.mean()) < 2


def test_a_damaged_checker_is_no_reason_to_show_everything(real):
    engine, folder = real
    put_checker(folder, finds=False)
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnsafeFile, match="fetch it again"):
        load_checker(folder, "cpu")
    with pytest.raises(UnsafeFile):
        list(engine.compare(GenerateConfig("a man", steps=2)))


def test_a_page_for_others_needs_a_checker_for_a_real_model(tmp_path, capsys, monkeypatch, caplog):
    monkeypatch.setattr("spf.safety.checker_source", lambda: None)
    app.require_filter("embedded", unfiltered=False, public=True)
    for unfiltered, words in ((False, "needs a safety checker"), (True, "this machine alone")):
        with pytest.raises(SystemExit) as ended:
            app.require_filter(str(tmp_path), unfiltered, public=True)
        assert ended.value.code == 2 and words in capsys.readouterr().err

    app.require_filter(str(tmp_path), unfiltered=False, public=False)
    assert "No safety checker" in caplog.text

    put_checker(tmp_path, finds=False)
    assert checker_folder(tmp_path) == tmp_path
    app.require_filter(str(tmp_path), unfiltered=False, public=True)
