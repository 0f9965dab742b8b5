"""Numbers that a small slip would change: weights other than 0 and 1, keys, limits. `mutate.py`
makes such slips.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import new_tiny_base
from portrait_world import new_portrait_base, random_adapters
from test_methods import LIGHT, base, context, rows, run  # noqa: F401 - fixtures

from spf.config import GenerateConfig
from spf.evaluation.entries import Tuned
from spf.evaluation.plan import EvaluateConfig, plan
from spf.evaluation.summary import summary
from spf.finetune import claim
from spf.generate import guide_of
from spf.losses import fine_grained, prediction_error, text_consistent
from spf.methods import build, in_place
from spf.methods.spf import output_alignment
from spf.own_portraits import OwnPortraits
from spf.paths import TunablePaths
from spf.portraits.description import TARGETS
from spf.training import fit


def test_every_term_counts_as_much_as_its_weight(base, rows):  # noqa: F811
    weights = {"diffusion": 0.7, "text_consistent": 3.0, "fine_grained": 0.02, "output": 0.4}
    value, terms, _ = run(base, rows, {**weights, "keep": 0.0, "latents": "training"}, move=0.05)
    assert all(terms[name] > 0 for name in weights)
    assert value == pytest.approx(sum(w * terms[name] for name, w in weights.items()), rel=1e-5)
    more, again, _ = run(
        base,
        rows,
        {**weights, "enhanced": 0.3, "enhanced_high": 1.0, "keep": 0.0, "latents": "training"},
        move=0.05,
    )
    assert more - value == pytest.approx(0.3 * again["enhanced"], rel=1e-3)


def test_pure_counts_as_much_as_eta(base, rows):  # noqa: F811
    method = build("purecc", {"pure": 2.5, "batch": 4, "rank": 2})
    with method.paths(base.unet, 4) as paths:
        memory = {}
        method.after_step(replace(context(base, paths, 1, 4), memory=memory))
        with torch.no_grad():
            for parameter in paths.parameters.values():
                parameter.add_(0.1 * torch.randn_like(parameter))
        target = base.encode_text(["a hat"])
        ctx = replace(context(base, paths, 2, 4), memory=memory, target=target)
        value, terms = method.loss(rows, ctx)
    assert terms["pure"] > 0
    expected = terms["diffusion"] + 2.5 * terms["pure"]
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_mask_of_the_diffusion_loss_weighs_squares(base, rows):  # noqa: F811
    control = torch.zeros(4, 8, 8)
    control[:, :4] = 1
    masked = replace(rows, control=control)
    settings = LIGHT | {"masked": 0.5, "keep": 0.0, "latents": "training", "align_training": 0.3}
    method = build("spf", settings)
    with TunablePaths(base.unet, method.parameter_names(base.unet)) as paths:
        _, terms = method.loss(masked, context(base, paths))
    ctx = context(base)
    steps = torch.cat((ctx.timesteps(4, method.config.lean), ctx.timesteps(0), ctx.timesteps(0)))
    noise = ctx.normal(rows.latents)
    latents = ctx.diffusion.noised(rows.latents, noise, steps)
    with torch.no_grad():
        predicted = base.predict(latents, steps, rows.complete)
    errors = (predicted - noise).square() * (0.5 + 0.5 * control[:, None])
    by_hand = (errors.mean((1, 2, 3)) * ctx.diffusion.weights(steps, 5.0)).mean()
    assert terms["diffusion"].item() == pytest.approx(by_hand.item(), rel=1e-4)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_kept_rows_are_held_everywhere_and_as_much_as_their_weight(base, rows, weight):  # noqa: F811
    free = replace(rows, control=torch.ones(4, 8, 8))  # the map itself holds nothing
    settings = {"keep": 0.5, "latents": "training", "keep_empty": 0.0}
    own = lambda rng, n: free.take(range(n))  # noqa: E731
    found = [
        run(base, free, {**settings, "keep_weight": w}, move=0.05, own=own)[1]["output"]
        for w in (1.0, weight)
    ]
    assert found[0] > 0 and found[1] == pytest.approx(weight * found[0], rel=1e-4)
    assert run(base, free, {"keep": 0.0, "latents": "training"}, move=0.05)[1]["output"] == 0


def test_nothing_pulls_the_reference():
    res, ref = (torch.randn(1, 4, 3, requires_grad=True) for _ in range(2))
    maps = {"up": {"hair": torch.rand(1, 2, 2, requires_grad=True)}}
    others = {"up": {"hair": torch.rand(1, 2, 2, requires_grad=True)}}
    weight = torch.full((1, 2, 2), 0.5)
    value = fine_grained({"up": res}, {"up": ref}, weight) + text_consistent(maps, others, weight)
    square = [one.mT.reshape(1, 3, 2, 2) for one in (res, ref)]
    (value + output_alignment(*square, weight, torch.ones(1))).backward()
    assert res.grad.abs().sum() > 0 and maps["up"]["hair"].grad.abs().sum() > 0
    assert ref.grad is None and others["up"]["hair"].grad is None


def test_gradients_are_clipped():
    module, norms = torch.nn.Linear(4, 1), []

    def loss(step, rng):
        return 1000 * module(torch.ones(2, 4)).square().mean() + 1e3, {}

    def after(step):
        norms.append(torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item())
        return {}

    fit(module, loss, steps=2, lr=1e-3, clip=0.25, after_step=after)
    assert norms == [pytest.approx(0.25, rel=1e-3)] * 2


def test_a_start_tunes_along_but_trains_no_further():
    base = new_portrait_base()  # noqa: F811
    start = random_adapters(base, size=0.1)[0]
    names = start.names()
    with in_place(base.unet, names[:1], start) as paths:
        assert set(paths.names) == set(names)
        assert [n for n, p in paths.parameters.items() if p.requires_grad] == names[:1]


def test_a_run_that_starts_again_leaves_no_state_to_continue(tmp_path):
    state = tmp_path / "state" / "state.json"
    for resume, stays in ((True, True), (False, False)):
        state.parent.mkdir(exist_ok=True)
        state.write_text("{}")
        claim(tmp_path, {"steps": 4}, resume)
        assert state.exists() == stays


def test_own_portraits_belong_to_the_weights_that_drew_them(tmp_path):
    config = build("spf", {"own_count": 1, "text": "caption"}).config
    first, other = new_portrait_base(), new_portrait_base()
    with torch.no_grad():
        other.unet.conv_in.weight[0, 0] += 1
    file = tmp_path / "own.safetensors"
    one, two = (
        OwnPortraits(each, TARGETS["hat"], config, ["a photo of a man"], 0, file).all.latents
        for each in (first, other)
    )
    assert not torch.allclose(one, two)


JUDGES = torch.nn.Linear(1, 1)


def keys(base, adapters=("a", "b"), judges=None, **settings):  # noqa: F811
    tuned = [Tuned(name, TARGETS["hat"], None, f"key of {name}", name) for name in adapters]
    config = EvaluateConfig(prompts=2, seeds=1, **settings)
    return {work.key for job in plan(base, judges or JUDGES, tuned, config) for work in job.work}


@pytest.mark.parametrize(
    "change",
    [{"strength": 0.5}, {"steps": 9}, {"guidance": 2.0}, {"precision": "bf16"}, {"seed": 1}],
)
def test_rows_of_other_settings_are_other_rows(base, change):  # noqa: F811
    assert len(keys(base)) == 4 and keys(base) == keys(base)
    assert not keys(base) & keys(base, **change)
    assert not keys(base, ("a",)) & keys(base, ("b",))


def test_rows_of_other_judges_are_other_rows(base):  # noqa: F811
    assert not keys(base) & keys(base, judges=torch.nn.Linear(1, 1))


def test_intervals_come_from_texts_and_not_from_pictures():
    row = {"method": "spf", "target": "hat", "pollution": 0.0, "changed": []}
    rows = [  # noqa: F811
        {**row, "prompt": p, "seed": s, "response": float(p % 2)}
        for p in range(8)
        for s in range(50)
    ]
    found = next(one for one in summary(rows) if one["measure"] == "response")
    assert found["value"] == 0.5 and found["n"] == 400
    assert found["high"] - found["low"] > 0.4, "eight texts say little, however many pictures"


def test_a_style_leaves_nothing_to_hold_on_the_page_and_command_line():
    style, hat = TARGETS["watercolor"], TARGETS["hat"]
    config = GenerateConfig("a photo of a man", (hat.text,), guided="held", guided_from=0.25)
    assert guide_of(config).map == "held" and guide_of(config).start == 0.25
    assert guide_of(replace(config, targets=(style.text,))).map == "told"
    assert guide_of(replace(config, targets=(hat.text, style.text))).map == "held"
    assert guide_of(replace(config, targets=("a crown",))).map == "held"
    assert guide_of(replace(config, guided="")) is None


def test_weights_of_images_and_not_of_pixels():
    predicted, ideal = (
        torch.zeros(2, 1, 2, 2),
        torch.stack([torch.ones(1, 2, 2), torch.full((1, 2, 2), 3.0)]),
    )
    assert prediction_error(predicted, ideal, torch.tensor([0.25, 2.0])).item() == 0.5 * (0.25 + 18)


def test_metadata_is_what_a_reader_needs():
    adapter = random_adapters(new_tiny_base())[0]
    assert json.loads(adapter.metadata["settings"])["complement"] == "1-s"
    assert np.isfinite(sum(float(value.sum()) for value in adapter.tensors.values()))
