"""Guidance that leads away from a prediction without self-attention."""

import pytest
import torch

from spf.attention import attention_layers, unmixed
from spf.bases.reading import load_base
from spf.errors import BadInput
from spf.sampling.loop import denoise


@pytest.fixture
def rows(tiny_base):
    side, channels = tiny_base.latent_size, tiny_base.latent_channels
    latents = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(3))
    return latents, tiny_base.encode_text(["a man", "a woman"]), tiny_base.encode_text([""])


def test_places_of_the_chosen_rows_alone_keep_their_own_values(tiny_base, rows):
    latents, states, _ = rows
    last = f"up_blocks.{len(tiny_base.unet.config.up_block_types) - 1}."
    layers = attention_layers(tiny_base.unet)
    layer = next(v for k, v in layers.items() if k.startswith(last) and k.endswith("attn1"))
    seen = []
    hook = layer.register_forward_hook(
        lambda one, inputs, output: seen.append((inputs[0], output)), always_call=True
    )
    try:
        with torch.no_grad(), unmixed(tiny_base.unet, last, slice(1)):
            tiny_base.predict(latents, 900, states)
        with torch.no_grad():
            tiny_base.predict(latents, 900, states)
    finally:
        hook.remove()
    (given, out), (same, plain) = seen
    with torch.no_grad():
        alone = layer.to_out[0](layer.to_v(given[:1]))
    torch.testing.assert_close(out[:1], alone)
    torch.testing.assert_close(out[1:], plain[1:])
    assert not torch.allclose(out[:1], plain[:1])
    assert torch.equal(given, same)


@pytest.mark.parametrize("block", ["mid", "last"])
def test_only_what_guidance_leads_away_from_is_perturbed_and_only_in_much_noise(
    tiny_base, rows, block
):
    latents, states, blank = rows
    with torch.no_grad():
        plain = denoise(tiny_base, latents, torch.tensor(900), states, blank, 3.0)
        with tiny_base.drawn_by(perturbed=block):
            led = denoise(tiny_base, latents, torch.tensor(900), states, blank, 3.0)
            late = denoise(tiny_base, latents, torch.tensor(200), states, blank, 3.0)
            bare = denoise(tiny_base, latents, torch.tensor(900), states, blank, 1.0)
        clean = denoise(tiny_base, latents, torch.tensor(200), states, blank, 3.0)
        same = denoise(tiny_base, latents, torch.tensor(900), states, blank, 1.0)
    torch.testing.assert_close(led[1], plain[1])
    assert not torch.allclose(led[0], plain[0])
    assert torch.equal(late[0], clean[0]) and torch.equal(bare[0], same[0])


def test_a_base_says_how_it_is_drawn_and_a_drawing_may_say_otherwise(tiny_base):
    assert load_base().perturbed == "last" and tiny_base.perturbed == "off"
    with tiny_base.drawn_by(perturbed="mid"):
        assert tiny_base.perturbed == "mid"
    assert tiny_base.perturbed == "off"
    with pytest.raises(BadInput, match="perturbed is 'all' but must be one of off, mid, last"):
        with tiny_base.drawn_by(perturbed="all"):
            pass
