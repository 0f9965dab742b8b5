"""Loading a base: what is read, what is refused, and that text, images and CLIP have the promised
shapes.
"""

import numpy as np
import pytest
import torch
from conftest import VELOCITY, ZERO_SNR, new_tiny_base, save_base

from spf.bases.pinned import PINNED, Pinned
from spf.bases.reading import load_base
from spf.errors import BadInput, NotFinite, UnsafeFile


@pytest.fixture
def embedded(tiny_folder, monkeypatch):
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tiny_folder))
    return load_base()


def test_the_embedded_model_is_loaded_frozen_with_the_same_weights(embedded):
    original = new_tiny_base()
    assert (
        embedded.name == "embedded"
        and embedded.dtype == torch.float32
        and embedded.device.type == "cpu"
    )
    assert (embedded.latent_channels, embedded.latent_size, embedded.image_size) == (4, 8, 16)
    for part in ("unet", "vae", "text_encoder", "clip"):
        old, new = getattr(original, part).state_dict(), getattr(embedded, part).state_dict()
        assert all(torch.equal(old[name], new[name]) for name in old)
        assert not any(p.requires_grad for p in getattr(embedded, part).parameters())
    assert torch.equal(embedded.tokens(["a photo of a hat"]), original.tokens(["a photo of a hat"]))


def test_a_folder_may_be_given_and_half_precision_asked_for(tiny_folder):
    base = load_base(str(tiny_folder / "base"), dtype=torch.float16)
    assert base.name == "base" and base.dtype == torch.float16
    assert base.clip.dtype == torch.float16


def test_texts_are_padded_and_cut_to_77(tiny_base):
    states = tiny_base.encode_text(["", "woman " * 200])
    assert states.shape == (2, 77, 32) and not states.requires_grad and torch.isfinite(states).all()


def test_an_appended_target_leaves_the_base_tokens_alone(tiny_base):
    short, long = tiny_base.encode_text(["a photo of a woman", "a photo of a woman, a hat"])
    torch.testing.assert_close(short[:6], long[:6], rtol=0, atol=1e-5)
    assert not torch.allclose(short[6:], long[6:], atol=1e-2)


def test_images_go_to_latents_and_back(tiny_base):
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    latents = tiny_base.encode(images)
    assert latents.shape == (2, 4, 8, 8)
    one, two = (tiny_base.encode(images, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(one, two)
    latents.requires_grad_()
    decoded = tiny_base.decode(latents)
    decoded.sum().backward()
    assert (
        decoded.shape == images.shape and decoded.abs().max() <= 1 and latents.grad.abs().sum() > 0
    )
    pictures = tiny_base.pictures(latents.detach())
    assert pictures.shape == (2, 16, 16, 3) and pictures.dtype == np.uint8


def test_clip_compares_images_and_texts(tiny_base):
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    pictures, texts = (
        tiny_base.clip_images(images),
        tiny_base.clip_texts(["a hat", "a dress", "laughing"]),
    )
    assert (pictures @ texts.T).shape == (2, 3)
    torch.testing.assert_close(pictures.norm(dim=-1), torch.ones(2))
    pictures[:, 0].sum().backward()
    assert images.grad.abs().sum() > 0


def test_a_base_without_clip_says_so(tiny_folder, tmp_path):
    (tmp_path / "base").symlink_to(tiny_folder / "base")
    base = load_base(str(tmp_path / "base"))
    assert base.clip is None
    with pytest.raises(BadInput, match="no clip folder"):
        base.clip_texts(["a hat"])


@pytest.mark.parametrize("name", ["", "nothing", "../..", "/etc", "a/b/c", "x@y"])
def test_an_unknown_model_is_refused(name):
    with pytest.raises(BadInput, match="must be (one of embedded, stable-diffusion-v1-5|in it)"):
        load_base(name)


@pytest.mark.parametrize("name", ["far", "someone/somewhere", "someone/somewhere@v1"])
def test_a_model_on_the_hub_out_of_reach_says_what_to_do(monkeypatch, tmp_path, name):
    pinned = Pinned("someone/somewhere", "0" * 40, "mit", 1)
    monkeypatch.setitem(PINNED, "far", pinned)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match="someone/somewhere is neither in the cache nor reachable"):
        load_base(name)


DAMAGES = {
    "cut": (UnsafeFile, "is not an undamaged safetensors file"),
    "missing": (UnsafeFile, "missing or damaged unet folder"),
    "pickle": (BadInput, "has its unet as a .bin file, which may hold code"),
    "config": (UnsafeFile, "missing or damaged unet folder"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_named(tmp_path, damage):
    from conftest import save_base

    save_base(new_tiny_base(), tmp_path)
    weights = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "config":
        (weights.parent / "config.json").write_text("{")
    else:
        weights.unlink()
        if damage == "pickle":
            (weights.parent / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    kind, sentence = DAMAGES[damage]
    with pytest.raises(kind, match=sentence):
        load_base(str(tmp_path / "base"))


@pytest.mark.parametrize("schedule", [VELOCITY, ZERO_SNR, {"prediction_type": "sample"}])
def test_a_model_that_predicts_something_else_is_read(tmp_path, schedule):
    save_base(new_tiny_base(**schedule), tmp_path)
    base = load_base(str(tmp_path / "base"))
    assert base.diffusion.prediction == schedule["prediction_type"]
    assert base.diffusion.ends_in_noise == schedule.get("rescale_betas_zero_snr", False)
    assert base.new_scheduler(4).config.prediction_type == schedule["prediction_type"]


def test_a_model_that_says_nothing_of_the_picture_at_its_last_timestep_is_refused():
    with pytest.raises(BadInput, match="ends at zero signal"):
        new_tiny_base(rescale_betas_zero_snr=True)
    with pytest.raises(BadInput, match="prediction_type is 'flow'"):
        new_tiny_base(prediction_type="flow")


def test_clip_trains_through_pictures_after_a_drawing_has_asked_it_first():
    base = new_tiny_base()
    with torch.inference_mode():
        base.clip_images(torch.zeros(1, 3, 16, 16))
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    base.clip_images(images)[0, 0].backward()
    assert images.grad.abs().sum() > 0


def test_nan_never_becomes_a_black_picture():
    base = new_tiny_base()
    latents = torch.full((1, 4, 8, 8), float("nan"))
    with pytest.raises(NotFinite, match="vae"):
        base.pictures(latents)


def test_an_overflow_of_the_vae_in_half_precision_is_repaired(monkeypatch):
    base = new_tiny_base()
    base.vae.half()
    decode = base.vae.decode

    def overflow(latents):
        out = decode(latents)
        if base.vae.dtype == torch.float16:
            out.sample[:] = float("inf") - float("inf")
        return out

    monkeypatch.setattr(base.vae, "decode", overflow)
    assert base.pictures(torch.zeros(1, 4, 8, 8)).shape == (1, 16, 16, 3)
    assert base.vae.dtype == torch.float16
