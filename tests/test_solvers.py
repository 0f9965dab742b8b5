"""Samplers: the same pictures as the stock pipeline with the same scheduler, and the right end for
a perfect network.
"""

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler
from real_world import new_cut_base

from spf.bases.reading import scheduler_of
from spf.config import SAMPLERS, GenerateConfig
from spf.errors import BadInput
from spf.exchange.checkpoint import pipeline_of
from spf.prompts import compose
from spf.sampling import GuideConfig, Kept, initial_latents, sample, sample_pair

TEXT = "a photo of a woman"


@pytest.fixture(scope="module")
def base():
    return new_cut_base()


def drawn(base, noise, steps=4, **how):
    with torch.inference_mode():
        states = base.encode_text([TEXT]), base.encode_text([""])
        return sample(base, noise, *states, steps=steps, guidance=4.0, **how)


def test_dpm_draws_what_the_stock_pipeline_draws(base):
    noise = initial_latents(base, [1])
    with base.drawn_by("dpm++"):
        ours = drawn(base, noise)
    pipeline = pipeline_of(base)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(base.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": 4, "guidance_scale": 4.0, "output_type": "latent"}
    theirs = pipeline(TEXT, latents=noise, **how).images
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_dpm_is_of_second_order_by_hand(base):
    """Its third step, from the clean pictures that the second and the third prediction mean."""
    with base.drawn_by("dpm++"):
        run = base.new_scheduler(20)
    x = initial_latents(base, [1])
    moved = [x]
    for number in range(3):
        noise = initial_latents(base, [10 + number])
        step = run.step(noise, run.timesteps[number], x)
        x = step.prev_sample
        moved.append((step.pred_original_sample, x))
    sigma = run.scheduler.sigmas[1:4].double()
    alpha = 1 / (1 + sigma**2).sqrt()
    lam = -sigma.log()
    (m1, _), (m0, after) = moved[2:]
    h, before = lam[2] - lam[1], lam[1] - lam[0]
    slope = (m0 - m1) * h / before
    spread = sigma * alpha
    wanted = spread[2] / spread[1] * moved[2][1] - alpha[2] * torch.expm1(-h) * (m0 + slope / 2)
    torch.testing.assert_close(after, wanted.float(), atol=1e-4, rtol=1e-4)


def test_euler_draws_what_the_stock_pipeline_draws_at_the_same_timesteps(base):
    noise = initial_latents(base, [1])
    with base.drawn_by("euler"):
        ours, run = drawn(base, noise), base.new_scheduler(4)
    assert run.timesteps.dtype == torch.int64
    pipeline = pipeline_of(base)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(base.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    start = noise * (1 + run.sigmas[0] ** 2) ** 0.5 / pipeline.scheduler.init_noise_sigma
    how = {"timesteps": run.timesteps.tolist(), "guidance_scale": 4.0, "output_type": "latent"}
    theirs = pipeline(TEXT, latents=start, **how).images
    torch.testing.assert_close(ours, theirs, atol=2e-2, rtol=1e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_network_that_knows_the_picture_leads_to_it(base, sampler, prediction):
    """Of one picture alone every solver is exact, up to the noise of the first timestep of all."""
    noise, clean = initial_latents(base, [1]), torch.full((1, 4, 8, 8), 0.7)
    found, config = [], base.scheduler.config
    kept = base.scheduler
    base.scheduler = scheduler_of(dict(config) | {"prediction_type": prediction})
    try:
        process = base.diffusion

        def predict(latents, timestep):
            signal = process.signal(timestep)
            seen = (latents - signal.sqrt() * clean) / (1 - signal).sqrt()
            return process.ideal(clean, seen, timestep)

        with base.drawn_by(sampler):
            end = drawn(base, noise, 8, predict=predict, callback=lambda s: found.append(s.clean))
    finally:
        base.scheduler = kept
    for one in found:
        torch.testing.assert_close(one, clean, atol=1e-2, rtol=0)
    left = (1 - process.signal(torch.tensor(0))).sqrt().item()
    torch.testing.assert_close(end, clean, atol=5 * left, rtol=0)


def test_held_drawings_and_repeats_work_with_every_sampler(base):
    images = {}
    for sampler in SAMPLERS:
        with base.drawn_by(sampler):
            how = {"steps": 3, "guide": GuideConfig("held")}
            one, two = (sample_pair(base, compose(TEXT), **how) for _ in range(2))
        assert (one.original.images == two.original.images).all()
        assert (one.tuned["tuned"].images == one.original.images).all()
        images[sampler] = one.original.latents
    assert abs(images["ddim"] - images["dpm++"]).max() > 1e-3
    assert abs(images["ddim"] - images["euler"]).max() > 1e-3
    assert base.sampler == "ddim"


@pytest.mark.parametrize("guided", ["", "held"])
def test_guidance_leads_both_drawings_away_from_a_negative_text(base, guided):
    """Away from the base text itself guidance leads nowhere: its drawing is the unguided one, to
    the rounding of g (e - e)."""
    prompt, how = compose(TEXT, "a hat"), {"steps": 3, "guide": GuideConfig("held")}
    how |= {} if guided else {"guide": None}
    away = sample_pair(base, prompt, guidance=6.0, negative=TEXT, **how).original
    alone = sample_pair(base, prompt, guidance=1.0, **how).original
    assert abs(away.latents - alone.latents).max() < 1e-4

    plain, other = (
        sample_pair(base, prompt, guidance=4.0, negative=text, **how) for text in ("", "a man")
    )
    for path in ("original", "tuned"):
        drawn = [
            (one.original if path == "original" else one.tuned["tuned"]).latents
            for one in (plain, other)
        ]
        assert abs(drawn[0] - drawn[1]).max() > 1e-3


def test_a_drawing_away_from_a_text_is_the_stock_pipelines(base):
    noise = initial_latents(base, [1])
    asked = {"seeds": (1,), "steps": 4, "guidance": 4.0, "negative": "a man"}
    ours = sample_pair(base, compose(TEXT), **asked).original.latents
    pipeline = pipeline_of(base)
    pipeline.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": 4, "guidance_scale": 4.0, "output_type": "latent"}
    theirs = pipeline(TEXT, negative_prompt="a man", latents=noise, **how).images
    torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-3, rtol=1e-3)


def test_a_drawing_away_from_another_text_is_not_taken_for_this_one(base):
    kept = Kept()
    first = sample_pair(base, compose(TEXT), steps=2, kept=kept).original
    again = sample_pair(base, compose(TEXT), steps=2, negative="a man", kept=kept).original
    assert again is not first and again.key != first.key


def test_an_original_by_another_sampler_is_not_taken_for_this_one(base):
    kept = Kept()
    first = sample_pair(base, compose(TEXT), steps=2, kept=kept).original
    for how in ({"sampler": "dpm++"}, {"perturbed": "mid"}):
        with base.drawn_by(**how):
            again = sample_pair(base, compose(TEXT), steps=2, kept=kept).original
        assert again is not first and again.key != first.key


@pytest.mark.parametrize(
    "name, sampler", [("EulerDiscreteScheduler", "euler"), ("DPMSolverMultistepScheduler", "dpm++")]
)
def test_only_the_noise_schedule_of_a_configuration_is_taken(base, name, sampler):
    """Other sigmas, orders and clipping belong to samplers that these are not."""
    strange = {"use_karras_sigmas": True, "interpolation_type": "log_linear", "solver_order": 3}
    strange |= {"use_exponential_sigmas": False, "use_beta_sigmas": True, "thresholding": True}
    strange |= {"variance_type": "learned", "final_sigmas_type": "sigma_min", "clip_sample": True}
    kept, found = base.scheduler, []
    try:
        for more in ({}, strange):
            base.scheduler = scheduler_of(dict(kept.config) | {"_class_name": name} | more)
            with base.drawn_by(sampler):
                found.append(drawn(base, initial_latents(base, [1]), 4))
    finally:
        base.scheduler = kept
    assert torch.equal(*found)


def test_other_samplers_are_refused(base):
    with pytest.raises(BadInput, match="sampler is 'lms' but must be one of"):
        GenerateConfig(base="a man", sampler="lms")
    with pytest.raises(BadInput, match="sampler is 'lms'"), base.drawn_by("lms"):
        pass
    assert base.sampler == "ddim"
