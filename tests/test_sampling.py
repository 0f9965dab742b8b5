"""The denoising loop and the pair: right pictures, right maps, nothing left behind, nothing
computed twice.
"""

import json
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import VELOCITY, ZERO_SNR, new_tiny_base
from diffusers import StableDiffusionPipeline
from portrait_world import new_portrait_base, random_adapters

from spf.attention import aggregate, record
from spf.diffusion import noise_from_clean
from spf.errors import BadInput, Cancelled, NotFinite
from spf.guides import Guide
from spf.guides.held import HELD, LARGEST, NARROWS, bordered, held_map
from spf.paths import METADATA, Adapter, cross_attention_names, response
from spf.prompts import PAD, compose
from spf.sampling import (
    GuideConfig,
    Kept,
    TunedPath,
    freed,
    guides,
    initial_latents,
    loop,
    prompt_distances,
    sample,
    sample_pair,
)
from spf.sampling.guides import pushed
from spf.sampling.tuned import Found
from spf.sfcm import Evidence, SfcmConfig, control_map, noise_difference

PROMPT = compose("a photo of a young woman with long red hair, glasses", "a hat")
HOW = {"steps": 3, "guidance": 3.0}


def new_adapter(base, seed=1, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    names = cross_attention_names(base.unet)
    tensors = {
        name: size * torch.randn(base.unet.get_parameter(name).shape, generator=generator)
        for name in names
    }
    made = json.dumps(SfcmConfig().to_dict() | {"complement": "1-s"})
    return Adapter(dict.fromkeys(METADATA, "x") | {"settings": made}, tensors)


def drawn(base, text, seeds, **how):
    blank, states = base.encode_text(["", text]).split(1)
    return sample(base, initial_latents(base, seeds), states, blank, **{**HOW, **how})


class Calls:
    """Counts the rows that the UNet sees."""

    def __init__(self, base):
        self.rows, self.hook = [], base.unet.register_forward_pre_hook(self.see)

    def see(self, _module, inputs):
        self.rows.append(len(inputs[0]))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.hook.remove()


@pytest.mark.parametrize(
    "schedule", [{}, VELOCITY, ZERO_SNR, {"prediction_type": "sample"}], ids=lambda s: str([*s])
)
def test_the_picture_is_that_of_the_diffusers_pipeline(schedule):
    base = new_tiny_base(**schedule)
    pipeline = StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=base.unet,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    for guidance in (1.0, 3.0):
        theirs = pipeline(
            "a hat",
            num_inference_steps=4,
            guidance_scale=guidance,
            latents=initial_latents(base, [7]),
            output_type="latent",
        ).images
        assert torch.isfinite(theirs).all()
        torch.testing.assert_close(
            drawn(base, "a hat", [7], steps=4, guidance=guidance), theirs, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("schedule", [{}, VELOCITY, ZERO_SNR], ids=lambda s: str([*s]))
def test_a_network_that_knows_the_picture_draws_it(schedule, monkeypatch):
    base = new_tiny_base(**schedule)
    picture = torch.randn(1, 4, 8, 8)

    def knowing(latents, timestep, states):
        signal = base.diffusion.signal(timestep)
        noise = noise_from_clean(picture, latents, signal)
        return SimpleNamespace(sample=base.diffusion.ideal(picture, noise, timestep))

    monkeypatch.setattr(base, "unet", Mock(side_effect=knowing, device=torch.device("cpu")))
    base.unet.config, base.unet.dtype = new_tiny_base().unet.config, torch.float32
    clean = []
    found = drawn(base, "a hat", [7], guidance=1.0, callback=lambda step: clean.append(step.clean))
    for each in clean:
        torch.testing.assert_close(each, picture, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        found, picture, rtol=0, atol=0.2
    )  # the last step leaves a little noise


@pytest.mark.parametrize("way", ["held", "told", "untold", "sfcm", "difference", "attention"])
@pytest.mark.parametrize("schedule", [VELOCITY, ZERO_SNR], ids=["v", "zero-snr"])
def test_every_guide_draws_with_a_network_that_predicts_v(schedule, way):
    base = new_tiny_base(**schedule)
    trace = sample_pair(base, PROMPT, new_adapter(base), guide=GuideConfig(way), **HOW)
    path = trace.tuned["tuned"]
    assert np.isfinite(path.latents).all() and not np.allclose(path.latents, trace.original.latents)
    assert (path.difference.max((1, 2, 3)) > 0).all(), "also where nothing is left but noise"
    assert (path.sfcm.max((1, 2, 3)) > 0).all() and path.sfcm.max() <= 1


def test_an_image_depends_on_its_seed_and_not_on_the_batch(tiny_base):
    batch = drawn(tiny_base, "a hat", [3, 4, 5])
    for row, seed in enumerate([3, 4, 5]):
        torch.testing.assert_close(
            drawn(tiny_base, "a hat", [seed])[0], batch[row], rtol=1e-4, atol=1e-4
        )
    assert not torch.allclose(batch[0], batch[1])


def test_the_callback_sees_every_step_and_can_stop(tiny_base):
    seen = []
    drawn(tiny_base, "a hat", [0], callback=seen.append)
    assert [(step.index, step.done, step.total) for step in seen] == [
        (0, 1, 3),
        (1, 2, 3),
        (2, 3, 3),
    ]
    assert [step.timestep for step in seen] == [667, 334, 1]
    assert tiny_base.pictures(seen[0].clean).shape == (1, 16, 16, 3)

    def stop(step):
        if step.index == 1:
            raise Cancelled("Stopped at step 2.")

    with Calls(tiny_base) as calls, pytest.raises(Cancelled, match="step 2"):
        drawn(tiny_base, "a hat", [0], callback=stop)
    assert len(calls.rows) == 2


def test_nan_stops_at_its_step():
    base = new_tiny_base()
    base.unet.conv_out.weight.data[0] = float("nan")
    with pytest.raises(NotFinite, match="unet gave NaN or infinity at step 1"):
        sample_pair(base, PROMPT, **HOW)


def test_a_pair_is_what_each_path_draws_alone(tiny_base):
    adapter = new_adapter(tiny_base)
    trace = sample_pair(tiny_base, PROMPT, adapter, seeds=[3, 4], **HOW)
    alone = drawn(tiny_base, PROMPT.base, [3, 4])
    with response(tiny_base.unet, adapter):
        tuned = drawn(tiny_base, PROMPT.complete, [3, 4])
    np.testing.assert_array_equal(trace.original.latents, alone.numpy())
    np.testing.assert_array_equal(trace.tuned["tuned"].latents, tuned.numpy())
    np.testing.assert_array_equal(trace.original.images, tiny_base.pictures(alone))
    assert not np.allclose(trace.original.latents, trace.tuned["tuned"].latents, atol=1e-2)
    assert trace.timesteps == (667, 334, 1) and trace.seeds == (3, 4)


def test_the_trace_has_every_map_of_every_step(tiny_base):
    trace = sample_pair(tiny_base, PROMPT, new_adapter(tiny_base), seeds=[3, 4], **HOW)
    assert trace.base_phrases == ("photo", "young woman", "long red hair", "glasses")
    assert trace.original.phrases == (*trace.base_phrases, PAD)
    assert trace.tuned["tuned"].phrases == (*trace.base_phrases, "a hat", PAD)
    for path in (trace.original, trace.tuned["tuned"]):
        for side in (2, 4, 8):
            assert (
                path.maps[side].shape == (3, 2, len(path.phrases), side, side)
                and path.maps[side].dtype == np.float16
            )
        assert path.map("glasses").shape == (2, 8, 8) and path.map(PAD, step=1, side=4).shape == (
            2,
            4,
            4,
        )
    tuned = trace.tuned["tuned"]
    assert tuned.difference.shape == tuned.sfcm.shape == (3, 2, 8, 8) and tuned.removed.shape == (
        3,
        2,
        4,
        4,
        4,
    )
    assert tuned.mean_sfcm().shape == (2, 8, 8) and 0 <= tuned.sfcm.min() < tuned.sfcm.max() <= 1
    assert trace.original.sfcm is None is trace.original.mean_sfcm()
    with pytest.raises(BadInput, match="must be one of photo"):
        trace.original.map("a hat")


def test_maps_and_sfcm_of_the_first_step_are_those_of_the_equations(tiny_base):
    adapter = new_adapter(tiny_base)
    trace = sample_pair(tiny_base, PROMPT, adapter, seeds=[3], **HOW)
    with torch.inference_mode():
        noise, timestep = initial_latents(tiny_base, [3]), torch.tensor(667)
        plain, complete = tiny_base.encode_text([PROMPT.base, PROMPT.complete]).split(1)
        with (
            response(tiny_base.unet, adapter),
            record(tiny_base.unet, PROMPT.groups(tiny_base.tokenizer, "complete")) as shown,
        ):
            eps_res = tiny_base.unet(noise, timestep, complete).sample
        eps_ref = tiny_base.unet(noise, timestep, plain).sample
        names, distances = prompt_distances(tiny_base, PROMPT)
        maps = torch.stack([aggregate(shown, 4, [2, 4])[name] for name in names], 1)
        found = Evidence(noise_difference(eps_res, eps_ref), maps, maps[:, 0])
        control = control_map(found, distances[None], SfcmConfig())
    tuned = trace.tuned["tuned"]
    close = {"rtol": 2e-3, "atol": 2e-3}  # stored in half precision
    np.testing.assert_allclose(tuned.map("a hat", 0, 8), shown.at(8)["a hat"], **close)
    np.testing.assert_allclose(tuned.removed[0], maps, **close)
    np.testing.assert_allclose(tuned.difference[0], noise_difference(eps_res, eps_ref), **close)
    np.testing.assert_allclose(tuned.sfcm[0], control, **close)


def test_the_chain_can_be_shown_again(tiny_base):
    trace = sample_pair(tiny_base, PROMPT, new_adapter(tiny_base), seeds=[3, 4], **HOW)
    chain = trace.chain("tuned", step=1, image=1)
    assert [name for name, _ in chain] == ["noise difference", *trace.base_phrases, "SFCM"]
    np.testing.assert_allclose(chain[-1][1], trace.tuned["tuned"].sfcm[1, 1], atol=5e-3)
    removed = chain[0][1] - chain[1][1]
    assert removed.min() >= -1e-6 and removed.max() == pytest.approx(
        trace.tuned["tuned"].distances[0], abs=1e-3
    )


def test_variants_share_the_noise_and_a_known_original_is_not_drawn_again(tiny_base):
    variants = {"spf": new_adapter(tiny_base, 1), "naive": [new_adapter(tiny_base, 2)], "asked": ()}
    kept = Kept()
    with Calls(tiny_base) as calls:
        trace = sample_pair(tiny_base, PROMPT, variants, seeds=[3, 4], kept=kept, **HOW)
    assert (
        calls.rows == [4] * 3 + [4, 2] * 9
    )  # original: guided pair; variant: guided pair and the reference
    seen = []
    with Calls(tiny_base) as calls:
        again = sample_pair(
            tiny_base,
            PROMPT,
            variants,
            seeds=[3, 4],
            kept=kept,
            callback=seen.append,
            **HOW,
        )
    assert calls.rows == [4, 2] * 6, "of the original weights, which have a mark, nothing is drawn"
    assert again.original is trace.original and again.tuned["asked"] is trace.tuned["asked"]
    assert [step.done for step in seen] == list(range(1, 7)) and {step.total for step in seen} == {
        6
    }
    for name in variants:
        np.testing.assert_array_equal(again.tuned[name].images, trace.tuned[name].images)
    other = sample_pair(tiny_base, PROMPT, {}, seeds=[3, 5], kept=kept, **HOW)
    assert other.original is not trace.original and other.tuned == {}


def test_progress_counts_all_paths(tiny_base):
    seen = []
    sample_pair(tiny_base, PROMPT, {"a": (), "b": ()}, callback=seen.append, **HOW)
    assert [step.path for step in seen] == ["original"] * 3 + ["a"] * 3 + ["b"] * 3
    assert [step.done for step in seen] == list(range(1, 10))
    assert seen[0].difference is None and seen[3].difference.shape == (1, 8, 8)
    assert seen[3].sfcm is None, "nothing was trained with a control map"


def test_without_adapter_and_target_both_paths_agree(tiny_base):
    settings = SfcmConfig()
    trace = sample_pair(tiny_base, compose("a photo of a woman"), settings=settings, **HOW)
    tuned = trace.tuned["tuned"]
    np.testing.assert_allclose(tuned.latents, trace.original.latents, atol=1e-4)
    assert tuned.distances.tolist() == pytest.approx([settings.subtract] * 2)

    without = sample_pair(tiny_base, compose("a photo of a woman"), **HOW).tuned["tuned"]
    np.testing.assert_array_equal(without.latents, tuned.latents)
    assert without.distances is None and without.sfcm is None


def test_guiding_follows_the_reference_where_the_map_is_closed_and_the_response_where_it_is_open(
    tiny_base,
):
    """A threshold of 1 opens the map at its maximum only; an adapter of nothing makes both
    predictions equal.
    """
    adapter = new_adapter(tiny_base)
    with Calls(tiny_base) as calls:
        guided = sample_pair(
            tiny_base,
            PROMPT,
            adapter,
            guide=GuideConfig("sfcm"),
            settings=SfcmConfig(threshold=1),
            **HOW,
        )
    assert calls.rows == [2] * 3 + [2, 2] * 3
    free = sample_pair(tiny_base, PROMPT, adapter, **HOW)
    distance = lambda trace: np.abs(trace.tuned["tuned"].latents - trace.original.latents).mean()  # noqa: E731
    assert 0 < distance(guided) < 0.5 * distance(free)


def test_both_passes_of_a_held_drawing_are_told_and_counted_and_the_free_are_free(tiny_base):
    told = []
    trace = sample_pair(
        tiny_base,
        PROMPT,
        {"tuned": (), "other": ()},
        steps=2,
        guide=GuideConfig(),
        free=["other"],
        callback=lambda step: told.append((step.path, step.index, step.done, step.total)),
    )
    assert [done for _, _, done, _ in told] == list(range(1, 9)) and {
        total for *_, total in told
    } == {8}
    assert [(path, index) for path, index, *_ in told[2:6]] == [("tuned", 0), ("tuned", 1)] * 2
    alone = sample_pair(tiny_base, PROMPT, {"other": ()}, steps=2)
    assert np.array_equal(trace.tuned["other"].latents, alone.tuned["other"].latents)
    assert (
        trace.tuned["other"].held is None
        and trace.tuned["tuned"].held.shape
        == trace.tuned["tuned"].latents.shape[:1] + trace.tuned["tuned"].latents.shape[2:]
    )


def test_a_held_drawing_is_the_original_to_the_bit_outside_its_map(tiny_base):
    adapter, noise = new_adapter(tiny_base), initial_latents(tiny_base, [0, 1])
    switch, path = (
        response(tiny_base.unet, adapter),
        TunedPath(tiny_base, [PROMPT], guide=GuideConfig()),
    )
    held = path.draw(switch, noise, 3)
    original = sample(tiny_base, noise, path.plain, path.uncond, steps=3)
    free = TunedPath(tiny_base, [PROMPT]).draw(switch, noise, 3)
    outside = (path.held == 0)[:, None].expand_as(held)
    assert 0.1 < outside.float().mean() < 0.9
    assert torch.equal(held[outside], original[outside]) and not torch.equal(
        free[outside], original[outside]
    )
    assert not torch.allclose(held[~outside], original[~outside])


def test_guiding_begins_at_its_step(tiny_base):
    switch, noise = (
        response(tiny_base.unet, new_adapter(tiny_base)),
        initial_latents(tiny_base, [0]),
    )

    def course(**how):
        path, found = TunedPath(tiny_base, [PROMPT], **how), []
        path.draw(switch, noise, 4, lambda step, shown: found.append(step.latents))
        return path, found

    _, free = course()
    _, late = course(guide=GuideConfig("sfcm", start=0.5))
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(free, late, strict=True)]
    assert same == [True, True, False, False]

    original = []
    path, late = course(guide=GuideConfig("held", start=0.5))
    watch = lambda step: original.append(step.latents)  # noqa: E731
    sample(tiny_base, noise, path.plain, path.uncond, steps=4, callback=watch)
    outside = (path.held == 0)[:, None].expand_as(noise)
    same = [torch.equal(a[outside], b[outside]) for a, b in zip(original, late, strict=True)]
    assert outside.any() and same == [False, False, True, True]


def test_the_map_along_the_original_is_where_the_tuned_weights_tell_the_texts_apart(tiny_base):
    """Asked at every second step."""
    adapter, noise, seen = new_adapter(tiny_base), initial_latents(tiny_base, [0, 1]), []
    switch, path = (
        response(tiny_base.unet, adapter),
        TunedPath(tiny_base, [PROMPT], guide=GuideConfig()),
    )
    course = path.follow(switch, switch, noise, 3)
    steps = [*zip(tiny_base.new_scheduler(3).timesteps, [noise, *course], strict=False)]
    for timestep, latents in steps[::2]:
        with switch, torch.inference_mode():
            complete, base = (
                tiny_base.unet(latents, timestep, states.expand(2, -1, -1)).sample
                for states in (path.complete, path.plain)
            )
        seen.append((complete - base).abs().mean(1))
    assert len(seen) == 2
    torch.testing.assert_close(path.held, by_hand(seen), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        course[-1], sample(tiny_base, noise, path.plain, path.uncond, steps=3)
    )


def by_hand(differences):
    """The map of noise differences [B,h,w], written out."""
    (low, high), parts = HELD, [one / one.mean((1, 2), keepdim=True) for one in differences]
    mean = sum(parts) / len(parts)
    largest = torch.stack([one.flatten().quantile(LARGEST) for one in mean])[:, None, None]
    return ((mean / largest - low) / (high - low)).clamp(0, 1)


@pytest.mark.parametrize("compare", [False, True], ids=["alone", "with maps"])
def test_a_held_drawing_narrows_its_map_to_where_it_differs_from_the_reference(tiny_base, compare):
    """On its own latents at every second step, from NARROWS of the steps on, and never back;
    outside it keeps the original's.
    """
    steps, noise, adapter = 5, initial_latents(tiny_base, [0, 1]), new_adapter(tiny_base)
    switch = response(tiny_base.unet, adapter)
    path = TunedPath(tiny_base, [PROMPT], guide=GuideConfig(push=3.0), compare=compare)
    course = path.follow(switch, switch, noise, steps)
    widest, free, seen, before = path.held, [], [], []

    def watch(step, shown):
        before.append(step.latents)
        free.append(path.held)
        outside = (path.held == 0)[:, None].expand_as(step.latents)
        torch.testing.assert_close(step.latents[outside], course[step.index][outside])

    path.draw(switch, noise, steps, watch)
    timesteps = tiny_base.new_scheduler(steps).timesteps
    expected, found = widest, []
    for index, (timestep, latents) in enumerate(zip(timesteps, [noise, *before], strict=False)):
        with torch.inference_mode():
            reference = tiny_base.predict(latents, timestep, path.plain.expand(2, -1, -1))
            with switch:
                tuned = tiny_base.predict(latents, timestep, path.complete.expand(2, -1, -1))
        if index % 2 == 0:
            seen.append((tuned - reference).abs().mean(1))
        if index >= NARROWS * steps:
            expected = torch.minimum(expected, bordered(by_hand(seen)))
        found.append(expected)
    assert index >= NARROWS * steps > 1
    for one, other in zip(free, found, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-3)
    assert torch.equal(free[0], widest) and torch.equal(free[0], free[1])


def test_what_a_drawing_is_told_is_no_difference_to_the_one_that_it_follows(monkeypatch):
    """Else the map would open where only the text says more, and close where the target is."""
    base = new_portrait_base()
    look = lambda base, images: [{"age": "old"}] * len(images)  # noqa: E731
    monkeypatch.setattr("spf.sampling.tuned.seen", look)
    path = TunedPath(base, [compose("a photo of a woman", "a hat")], guide=GuideConfig())
    path.draw(response(base.unet, random_adapters(base)[0]), initial_latents(base, [0]), 2)
    assert path.told[0].prompt.base == "a photo of an old woman"
    torch.testing.assert_close(path.heard, base.encode_text(["a photo of an old woman"]))
    torch.testing.assert_close(path.heard, path.asked[0])


def test_of_two_targets_the_last_is_compared_with_the_drawing_that_it_follows(tiny_base):
    """What the first one changed is no part of the last one's map."""
    hat, scarf = tuned_for(tiny_base, "a hat", 1), tuned_for(tiny_base, "a scarf", 2)
    both, noise = compose(PROMPT.base, ("a hat", "a scarf")), initial_latents(tiny_base, [0])
    switch = response(tiny_base.unet, [hat, scarf])
    path = TunedPath(tiny_base, [both], guide=GuideConfig(push=1.0), compare=False)
    path.read(switch)
    path.heed(Found(torch.ones(1, 8, 8)), switch.without(path.targets[:-1]))
    states, timestep = path.complete, tiny_base.new_scheduler(3).timesteps[1]
    with torch.inference_mode():
        with switch:
            found = tiny_base.predict(noise, timestep, states)
        with response(tiny_base.unet, hat):
            before = tiny_base.predict(noise, timestep, path.before)
        difference = path.differing(switch, found, noise, timestep)
    torch.testing.assert_close(difference, (found - before).abs().mean(1), atol=1e-5, rtol=1e-4)


def test_a_small_target_frees_a_small_place_and_one_cell_alone_decides_nothing():
    """What differs by a tenth of the rest of the target stays held, however small the target."""
    faint = torch.full((2, 16, 16), 0.1)
    faint[0, 4:8, 4:8] = faint[1, 2:14, 2:14] = 1.0
    assert held_map([faint] * 3).sum((1, 2)).tolist() == [16, 144]

    faint[0, 0, 0] = 50.0
    assert held_map([faint])[0, 4:8, 4:8].min() == 1
    assert held_map([torch.zeros(1, 8, 8)]).abs().max() == 0


def test_a_narrowed_map_has_a_soft_border_of_a_cell():
    control = torch.zeros(1, 9, 9)
    control[0, :, 4] = 1.0
    torch.testing.assert_close(bordered(control)[0, 0, 4:8], torch.tensor([1.0, 1 / 3, 0.0, 0.0]))
    assert bordered(torch.ones(1, 4, 4)).eq(1).all(), "no edge of the picture is a border"


def test_a_held_drawing_takes_the_known_predictions_of_the_original_instead_of_drawing_it_again(
    tiny_base,
):
    with Calls(tiny_base) as calls:
        trace = sample_pair(tiny_base, PROMPT, new_adapter(tiny_base), guide=GuideConfig(), **HOW)
    assert calls.rows == [2] * 3 + [2] * 2 + [
        3,
        1,
        1,
        3,
        1,
        3,
        1,
        1,
    ]  # original; both texts, every second step; empty, base and complete; the references
    path = TunedPath(tiny_base, [PROMPT], guide=GuideConfig(), guidance=HOW.get("guidance", 4.0))
    latents = path.draw(
        response(tiny_base.unet, new_adapter(tiny_base)),
        initial_latents(tiny_base, HOW["seeds"])
        if "seeds" in HOW
        else initial_latents(tiny_base, [0]),
        3,
    )
    np.testing.assert_allclose(trace.tuned["tuned"].latents, latents.numpy(), atol=1e-4)


def tuned_for(base, target, seed):
    plain = new_adapter(base, seed)
    return Adapter(plain.metadata | {"target": target, "push": str(seed)}, plain.tensors)


def test_of_two_targets_the_second_follows_the_drawing_of_the_first(tiny_base):
    hat, scarf = tuned_for(tiny_base, "a hat", 1), tuned_for(tiny_base, "a scarf", 2)
    both, seen, noise = (
        compose(PROMPT.base, ("a hat", "a scarf")),
        [],
        initial_latents(tiny_base, [0, 1]),
    )
    first = TunedPath(tiny_base, [PROMPT], guide=GuideConfig(), compare=False)
    alone = first.draw(response(tiny_base.unet, hat), noise, 3)
    path = TunedPath(tiny_base, [both], guide=GuideConfig())
    latents = path.draw(
        response(tiny_base.unet, [hat, scarf]), noise, 3, lambda step, shown: None, seen.append
    )
    assert (
        path.passes([hat, scarf], 1.0) == 3
        and len(seen) == 6
        and (path.earlier.push, path.push) == (1, 2)
    )
    assert torch.equal(seen[-1].latents, alone) and torch.equal(
        path.held, torch.maximum(path.free, first.held)
    )
    kept = (path.free == 0)[:, None].expand_as(latents)
    assert (
        kept.any()
        and torch.equal(latents[kept], alone[kept])
        and not torch.allclose(latents[~kept], alone[~kept])
    )
    counts = []
    trace = sample_pair(
        tiny_base,
        both,
        [hat, scarf],
        seeds=[0, 1],
        steps=3,
        guide=GuideConfig(),
        callback=lambda step: counts.append((step.path, step.done, step.total)),
    )
    assert counts == [("original" if done < 4 else "tuned", done, 12) for done in range(1, 13)]
    np.testing.assert_allclose(trace.tuned["tuned"].latents, latents.numpy(), atol=1e-3)
    np.testing.assert_allclose(trace.tuned["tuned"].held, path.held.numpy(), atol=1e-3)


def test_the_last_targets_direction_is_that_of_its_own_adapter(tiny_base):
    hat, scarf, other = (
        tuned_for(tiny_base, "a hat", 1),
        tuned_for(tiny_base, "A scarf", 2),
        new_adapter(tiny_base, 3),
    )
    switch = response(tiny_base.unet, [hat, scarf, other], 0.5)
    assert switch.without([]) is switch and switch.without(["a veil"]) is switch
    own = switch.without(["a scarf"])
    assert own.adapters == [hat, other] and own.scale == 0.5
    expected = response(tiny_base.unet, [hat, other], 0.5).tensors
    assert all(torch.equal(value, expected[name]) for name, value in own.tensors.items())
    path = TunedPath(
        tiny_base, [compose(PROMPT.base, ("a hat", "a scarf"))], guide=GuideConfig(), compare=False
    )
    noise = initial_latents(tiny_base, [0])
    timestep = tiny_base.new_scheduler(3).timesteps[0]
    path.draw(switch, noise, 3)
    last = switch.without(["a hat"])
    with torch.inference_mode():
        found = path.step(switch, last, noise, timestep, 0.0)[0]
        with switch:
            blank, before = (
                tiny_base.unet(noise, timestep, states).sample
                for states in (path.uncond, path.before)
            )
        with last:
            less, more = (
                tiny_base.unet(noise, timestep, states).sample
                for states in (path.before, path.complete)
            )
    torch.testing.assert_close(
        found, blank + 3 * (before - blank) + 3 * 2 * (more - less), atol=1e-3, rtol=1e-3
    )


def test_what_a_target_does_not_change_is_held_whole(tiny_base):
    same = compose(PROMPT.base)
    path = TunedPath(tiny_base, [same], guide=GuideConfig())
    noise = initial_latents(tiny_base, [5])
    held = path.draw(response(tiny_base.unet, ()), noise, 3)
    assert (
        torch.equal(held, sample(tiny_base, noise, path.plain, path.uncond, steps=3))
        and not path.held.any()
    )


@pytest.mark.parametrize("path", ["response", "reference", "mean"])
@pytest.mark.parametrize("layers", ["coarse", "all", "up"])
def test_every_reading_of_the_phrase_maps(tiny_base, path, layers):
    settings = SfcmConfig(map_path=path, map_layers=layers)
    trace = sample_pair(
        tiny_base, PROMPT, new_adapter(tiny_base), settings=settings, steps=1, guidance=1.0
    )
    side = 4 if layers == "coarse" else 8
    assert trace.tuned["tuned"].removed.shape == (1, 1, 4, side, side)


@pytest.mark.parametrize("embedding", ["complete", "base", "alone", "said"])
def test_distances_to_the_target(tiny_base, embedding):
    settings = SfcmConfig(embedding=embedding)
    prompt = compose("a photo of a woman with red hair, glasses", "blonde hair")
    names, distances = prompt_distances(tiny_base, prompt, settings)
    assert names == ["photo", "woman", "red hair", "glasses"] and distances.shape == (4,)
    assert (distances >= 0).all() and (distances <= 2).all() and distances.std() > 0
    same, zero = prompt_distances(
        tiny_base, compose("glasses", "glasses"), SfcmConfig(embedding="said")
    )
    assert same == ["glasses"] and zero.item() == pytest.approx(0, abs=1e-5)


def test_a_target_that_is_cut_off_is_refused_before_anything_is_drawn(tiny_base):
    with Calls(tiny_base) as calls, pytest.raises(BadInput, match="shorten the base text"):
        sample_pair(tiny_base, compose("woman " * 75, "a hat"), **HOW)
    with pytest.raises(BadInput, match="seeds is empty"):
        sample_pair(tiny_base, PROMPT, seeds=[], **HOW)
    assert calls.rows == []


@pytest.mark.parametrize("path", ["original", "tuned"])
def test_stopping_in_either_path_restores_the_model(tiny_base, path):
    def stop(step):
        if step.path == path:
            raise Cancelled

    with pytest.raises(Cancelled):
        sample_pair(
            tiny_base, PROMPT, new_adapter(tiny_base), callback=stop, **HOW
        )  # the fixture compares weights, hooks


def test_half_precision_draws_too():
    base = new_tiny_base().to(dtype=torch.bfloat16)
    trace = sample_pair(base, PROMPT, new_adapter(base, size=0.1), **HOW)
    assert (
        trace.tuned["tuned"].images.shape == (1, 16, 16, 3)
        and np.isfinite(trace.tuned["tuned"].sfcm).all()
    )


def test_the_push_is_the_guides_then_the_adapters_then_the_ordinary_one(tiny_base):
    weak, strong, silent = {"push": "2"}, {"push": "3.5"}, {"common": "{}"}
    held = GuideConfig()
    assert pushed(held, []) == pushed(held, [silent, {}]) == Guide.ordinary
    assert (
        pushed(held, [weak, strong, silent]) == 3.5
        and pushed(GuideConfig(push=1.2), [strong]) == 1.2
    )
    for foreign in ("", "x", "1e9", "-1", "nan"):
        assert pushed(held, [{"push": foreign}]) == Guide.ordinary
    plain = new_adapter(tiny_base)
    noting = Adapter(plain.metadata | strong, plain.tensors)
    path = TunedPath(tiny_base, [PROMPT], guide=held, compare=False)
    asked = TunedPath(tiny_base, [PROMPT], guide=GuideConfig(push=3.5), compare=False)
    noise = initial_latents(tiny_base, [0])
    noted = path.draw(response(tiny_base.unet, noting), noise, 2)
    assert torch.equal(noted, asked.draw(response(tiny_base.unet, plain), noise, 2))
    assert not torch.equal(noted, path.draw(response(tiny_base.unet, plain), noise, 2))


def test_a_target_that_is_everywhere_leaves_nothing_to_hold():
    for kind in ("held", "told"):
        assert freed(GuideConfig(kind)) == GuideConfig("told")
    assert pushed(GuideConfig("told"), []) == 1 < pushed(GuideConfig("told"), [{"push": "1.2"}])
    assert freed(GuideConfig("held", push=2)) == GuideConfig("told", push=2)
    assert freed(GuideConfig("untold")) is None
    assert freed(GuideConfig("sfcm", start=0.2)) == GuideConfig("sfcm", start=0.2)


def test_a_target_is_guided_on_its_own(monkeypatch):
    """By hand: the empty text predicts 1, the base text 3, two other texts 4 and 9, the complete
    text 7; guidance 2, push 5."""
    monkeypatch.setattr(guides, "predictions", lambda base, latents, t, texts: torch.stack(texts))
    base = SimpleNamespace(away=lambda rows, timestep: nullcontext())
    empty, plain, less, more, full = (
        torch.full((1,), value) for value in (1.0, 3.0, 4.0, 9.0, 7.0)
    )

    def guided(states, **second):
        one = torch.zeros(1)
        found, last = guides.composed(base, one, one, empty, plain, states, 2.0, 5.0, **second)
        return found.item(), last.item()

    assert guided(full) == (1 + 2 * 2 + 2 * 5 * 4, 7)
    assert guided(full, apart=(less, more)) == (1 + 2 * 2 + 2 * 5 * 5, 7)
    assert guided(None, apart=(less, more)) == (1 + 2 * 2 + 2 * 5 * 5, 9)
    assert guided(None, added=torch.full((1,), 0.5)) == (1 + 2 * 2 + 2 * 5 * 0.5, 3)


@pytest.mark.parametrize(("precision", "on"), [("bf16", True), ("fp32", False)])
def test_matrices_are_multiplied_in_the_precision_that_is_asked_for(precision, on):
    with loop.autocast(SimpleNamespace(device=torch.device("cpu")), precision):
        assert torch.is_autocast_enabled("cpu") == on
