"""What noise makes of a latent and what a prediction says about it: by hand, against diffusers, and
at both ends.
"""

import pytest
import torch
from conftest import VELOCITY, ZERO_SNR, new_tiny_base
from diffusers import DDIMScheduler

from spf.diffusion import (
    PREDICTIONS,
    Diffusion,
    clean_from_noise,
    clean_from_velocity,
    min_snr,
    noise_from_clean,
    noise_from_velocity,
    noised,
    velocity,
)
from spf.errors import BadInput
from spf.losses import prediction_error

SCHEDULES = [{}, VELOCITY, ZERO_SNR, {"prediction_type": "sample"}]


def of(**schedule):
    how = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**how, **schedule)


def test_every_equation_by_hand():
    signal = torch.tensor([0.36])
    clean, noise = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0)
    latents, v = noised(clean, noise, signal), velocity(clean, noise, signal)
    assert latents.item() == pytest.approx(0.6 * 2 - 0.8)
    assert v.item() == pytest.approx(-0.6 - 0.8 * 2)
    for found in (
        noise_from_velocity(v, latents, signal),
        noise_from_clean(clean, latents, signal),
    ):
        assert found.item() == pytest.approx(-1)
    for found in (
        clean_from_velocity(v, latents, signal),
        clean_from_noise(noise, latents, signal),
    ):
        assert found.item() == pytest.approx(2)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: str([*s.values()]))
def test_it_is_the_schedulers_process(schedule):
    scheduler = of(**schedule)
    diffusion = Diffusion.of(scheduler)
    clean, noise = torch.randn(2, 4, 4, 8, 8)
    steps = torch.tensor([0, 10, 500, 999])
    torch.testing.assert_close(
        diffusion.noised(clean, noise, steps), scheduler.add_noise(clean, noise, steps)
    )
    if diffusion.prediction == "v_prediction":
        torch.testing.assert_close(
            diffusion.ideal(clean, noise, steps), scheduler.get_velocity(clean, noise, steps)
        )
    assert diffusion.steps == 1000 and diffusion.prediction in PREDICTIONS
    assert diffusion.signal(7) == scheduler.alphas_cumprod[7]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: str([*s.values()]))
def test_a_network_that_is_right_tells_noise_and_picture(schedule):
    base = new_tiny_base(**schedule)
    clean, noise = torch.randn(2, 5, 4, 8, 8)
    steps = torch.tensor([0, 10, 500, 998, 999])
    latents, ideal = (
        act(clean, noise, steps) for act in (base.diffusion.noised, base.diffusion.ideal)
    )
    base.unet.forward = lambda *_: type("Out", (), {"sample": ideal})

    predicted = base.predict(latents, steps, torch.zeros(5, 77, 32))
    rows = slice(None) if base.diffusion.prediction != "sample" else slice(1, None)
    torch.testing.assert_close(
        base.diffusion.noise(predicted, latents, steps)[rows], noise[rows], rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        base.diffusion.clean(predicted, latents, steps), clean, rtol=1e-3, atol=1e-4
    )


def test_where_nothing_is_left_but_noise_v_is_minus_the_picture():
    diffusion = Diffusion.of(of(**ZERO_SNR))
    clean, noise = torch.randn(2, 1, 4, 8, 8)
    latents, v = diffusion.noised(clean, noise, 999), diffusion.ideal(clean, noise, 999)
    assert diffusion.ends_in_noise and torch.equal(latents, noise) and torch.equal(v, -clean)
    assert torch.equal(diffusion.clean(v, latents, 999), clean)
    assert torch.equal(diffusion.noise(v, latents, 999), noise)
    assert not Diffusion.of(of(**VELOCITY)).ends_in_noise


def test_min_snr_by_hand():
    signal = torch.tensor([0.5, 10 / 11, 0.0])  # SNR 1, 10 and 0
    expected = {"epsilon": [1, 0.5, 1], "v_prediction": [0.5, 5 / 11, 0], "sample": [1, 5, 0]}
    for prediction, weights in expected.items():
        found = min_snr(signal, 5.0, prediction)
        torch.testing.assert_close(found, torch.tensor(weights, dtype=torch.float))
    for gamma, weights in ((2.0, [1, 0.2, 1]), (0.5, [0.5, 0.05, 1])):
        found = min_snr(signal, gamma, "epsilon")
        torch.testing.assert_close(found, torch.tensor(weights, dtype=torch.float))
    for prediction in expected:
        assert torch.equal(min_snr(signal, 0.0, prediction), torch.ones(3))
    with pytest.raises(BadInput, match="prediction"):
        min_snr(signal, 5.0, "flow")


def test_the_weighted_loss_is_one_loss_whatever_is_predicted():
    clean, noise, error = torch.randn(3, 6, 4, 8, 8)
    steps = torch.tensor([1, 100, 300, 600, 900, 999])
    values = []
    for prediction in PREDICTIONS:
        diffusion = Diffusion.of(of(prediction_type=prediction))
        latents, signal = diffusion.noised(clean, noise, steps), diffusion.signal(steps)
        wrong = clean + 0.1 * error  # the same mistake, said in each of the three ways
        said = {
            "epsilon": noise_from_clean(wrong, latents, signal),
            "v_prediction": velocity(wrong, noise_from_clean(wrong, latents, signal), signal),
            "sample": wrong,
        }[prediction]
        ideal, weights = diffusion.ideal(clean, noise, steps), diffusion.weights(steps, 5.0)
        values.append(prediction_error(said, ideal, weights).item())
    snr = Diffusion.of(of()).signal(steps) / (1 - Diffusion.of(of()).signal(steps))
    by_hand = (snr.clamp(max=5.0) * (0.1 * error).square().mean((1, 2, 3))).mean().item()
    assert values == [pytest.approx(by_hand, rel=1e-3)] * 3


def test_half_precision_keeps_the_little_noise_of_the_first_timesteps():
    diffusion = Diffusion.of(of())
    clean, noise = torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8)
    exact = diffusion.noised(clean, noise, torch.tensor([0]))
    rough = diffusion.noised(clean.bfloat16(), noise.bfloat16(), torch.tensor([0]))
    assert rough.float().mean().item() == pytest.approx(exact.mean().item(), rel=1e-2)
