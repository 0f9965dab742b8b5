"""The losses of naive and SPF fine-tuning on the tiny random base: which weights learn, from what,
and what holds them.
"""

import numpy as np
import pytest
import torch
from portrait_world import new_portrait_base

from spf.attention import Record
from spf.control import averaged
from spf.errors import BadInput
from spf.losses import prediction_error
from spf.methods import METHODS, PAD, TARGET, Context, Rows, build, parse_settings
from spf.methods.spf import ABLATIONS, Comparison, SpfConfig, output_alignment, unit_scale
from spf.paths import TunablePaths, cross_attention_names
from spf.portraits.description import TARGETS
from spf.sfcm import SfcmConfig, control_map
from spf.training_data import encoded, with_target

TEXTS = [
    "a photo of a young woman with long red hair",
    "a photo of an old man",
    "a photo of a man with a beard",
    "a photo",
]
LIGHT = {"batch": 4, "enhanced": 0.0, "plain": 0.0, "trainable": "cross-attention"}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture(scope="module")
def rows(base):
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    prompts = [with_target(text, TARGETS["hat"]) for text in TEXTS]
    made = encoded(base, latents, prompts, TARGETS["hat"], SfcmConfig())
    made.image = torch.nn.functional.normalize(
        torch.randn(4, 16, generator=torch.Generator().manual_seed(2)), dim=1
    )
    return made


def context(base, paths=None, step=0, steps=10, seed=5, own=None):
    return Context(
        base, paths, step, steps, np.random.default_rng(seed), base.encode_text([""]), own
    )


def run(base, rows, settings, *, step=0, steps=10, move=0.0, own=None):
    """(value, terms, gradients) of one SPF step; `move` shifts the tuned weights away from the
    original ones.
    """
    method = build("spf", LIGHT | settings)
    with TunablePaths(base.unet, method.parameter_names(base.unet)) as paths:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(9)
            for parameter in paths.parameters.values():
                parameter.add_(move * torch.randn(parameter.shape, generator=generator))
        value, terms = method.loss(
            rows, context(base, paths, step, steps, own=own or (lambda rng, n: rows.take(range(n))))
        )
        value.backward()
        grads = {
            name: p.grad.clone() for name, p in base.unet.named_parameters() if p.grad is not None
        }
    return value.item(), {name: float(term.detach()) for name, term in terms.items()}, grads


def without_target(rows):
    """Rows whose complete text is the base text: nothing was asked for."""
    columns = [dict(row) | {TARGET: []} for row in rows.base_columns]
    return Rows(
        rows.latents,
        rows.base,
        rows.base,
        rows.base_columns,
        columns,
        rows.distances,
        rows.image,
        rows.target,
    )


def test_timesteps_stay_in_their_part_and_lean(base):
    some = context(base).timesteps(4000, 1.0, 0.25, 0.5)
    assert some.min() >= 250 and some.max() < 500
    assert context(base).timesteps(4000, 2.0).float().mean() == pytest.approx(1000 * 2 / 3, abs=15)
    assert context(base).timesteps(4000).max() <= 999


def test_rows_take_and_join(rows):
    both = rows.take([2, 0]).join(rows.take([1]))
    assert torch.equal(both.latents, rows.latents[[2, 0, 1]])
    assert both.complete_columns == [rows.complete_columns[i] for i in (2, 0, 1)]
    narrow = rows.take([3])
    narrow.distances, narrow.image = narrow.distances[:, :1], None
    wide = narrow.join(rows.take([0]))
    assert (
        wide.distances.shape[1] == rows.distances.shape[1]
        and wide.distances[0, 1:].sum() == 0
        and wide.image is None
    )


def test_naive_is_the_diffusion_loss_on_every_weight(base, rows):
    method = build("naive", {"batch": 4})
    with TunablePaths(base.unet, method.parameter_names(base.unet)) as paths:
        value, terms = method.loss(rows, context(base, paths))
        value.backward()
        assert all(p.grad is not None for p in base.unet.parameters())
    ctx = context(base)
    noise, steps = ctx.normal(rows.latents), ctx.timesteps(4)
    latents = ctx.diffusion.noised(rows.latents, noise, steps)
    eps = base.unet(latents, steps, rows.complete).sample
    expected = prediction_error(eps, noise, ctx.diffusion.weights(steps, 5.0))
    assert value.item() == pytest.approx(expected.item(), rel=1e-5) and set(terms) == {"diffusion"}


def test_stage_one_is_naive_fine_tuning_of_the_cross_attention(base, rows):
    value, terms, grads = run(base, rows, {"plain": 0.5, "lean": 1.0}, step=4)
    naive = build("naive", {"batch": 4, "trainable": "cross-attention"})
    with TunablePaths(base.unet, naive.parameter_names(base.unet)) as paths:
        assert naive.loss(rows, context(base, paths))[0].item() == value
    assert set(terms) == {"diffusion"} and set(grads) == set(cross_attention_names(base.unet))
    assert "output" in run(base, rows, {"plain": 0.5}, step=5)[1]


def test_only_the_chosen_weights_learn(base, rows):
    assert set(run(base, rows, {})[2]) == set(cross_attention_names(base.unet))
    assert len(run(base, rows, {"trainable": "all"})[2]) == sum(1 for _ in base.unet.parameters())


def test_a_step_is_two_forward_passes_of_the_batch(base, rows):
    sizes = []
    hook = base.unet.register_forward_hook(
        lambda module, inputs, output: sizes.append(len(inputs[0]))
    )
    run(base, rows, {"latents": "own"})
    hook.remove()
    assert sizes == [4, 4]


def test_nothing_to_align_when_nothing_was_asked_for_and_nothing_moved(base, rows):
    terms = run(base, without_target(rows), {})[1]
    assert terms["text_consistent"] == pytest.approx(0, abs=1e-9)
    assert terms["fine_grained"] == pytest.approx(0, abs=1e-9) and terms["output"] == pytest.approx(
        0, abs=1e-9
    )
    assert terms["sfcm"] == 0


def test_alignment_holds_moved_weights_and_its_gradient_leads_back(base, rows):
    settings = {"diffusion": 0.0, "keep_empty": 0.0}
    for name in ("text_consistent", "fine_grained", "output"):
        alone = (
            settings
            | {other: 0.0 for other in ("text_consistent", "fine_grained", "output")}
            | {name: 1.0}
        )
        value, terms, grads = run(base, without_target(rows), alone, move=0.02)
        assert value == pytest.approx(terms[name]) and value > 0
        generator = torch.Generator().manual_seed(9)
        shift = {
            n: 0.02 * torch.randn(base.unet.get_parameter(n).shape, generator=generator)
            for n in cross_attention_names(base.unet)
        }
        assert sum((grads[n] * shift[n]).sum() for n in grads) > 0, name


def test_complement_none_holds_more_than_the_map_does(base, rows):
    held = run(base, rows, {"complement": "none"}, move=0.02)[1]
    free = run(base, rows, {}, move=0.02)[1]
    assert held["output"] > free["output"] and held["fine_grained"] > free["fine_grained"]


def test_kept_rows_are_held_whatever_the_map_says(base, rows):
    """With every row kept but one, and alignment of that one off, the output term is the retention
    alone.
    """
    settings = {"keep": 0.75, "align_training": 0.0, "keep_empty": 0.0, "latents": "training"}
    still = run(base, rows, settings)[1]
    moved = run(base, rows, settings, move=0.05)[1]
    assert still["output"] == pytest.approx(0, abs=1e-9) and moved["output"] > 1e-6
    doubled = run(base, rows, settings | {"keep_weight": 2.0}, move=0.05)[1]
    assert doubled["output"] == pytest.approx(2 * moved["output"], rel=1e-4)


def test_empty_text_is_kept_too(base, rows):
    settings = {"keep": 0.75, "align_training": 0.0, "keep_empty": 1.0}
    assert run(base, rows, settings)[1]["output"] == pytest.approx(0, abs=1e-9)
    assert run(base, rows, settings, move=0.05)[1]["output"] > 1e-6


def test_masked_diffusion_is_confined_to_the_map(base, rows):
    """Where nothing was asked for the map is empty, so nothing is learnt."""
    assert run(base, without_target(rows), {"masked": 1.0})[1]["diffusion"] == 0
    full, half = (run(base, rows, {"masked": m})[1]["diffusion"] for m in (0.0, 0.5))
    assert 0 < half < full


def test_alignment_outside_its_timesteps_is_off(base, rows):
    settings = {"keep": 0.0, "latents": "training", "align_low": 0.999, "align_high": 1.0}
    terms = run(base, rows, settings, move=0.05)[1]
    assert terms["text_consistent"] == terms["fine_grained"] == terms["output"] == 0


def test_added_rows_come_from_the_chosen_latents(base, rows):
    seen = []
    hook = base.unet.register_forward_hook(
        lambda module, inputs, output: seen.append((inputs[0], inputs[1]))
    )
    asked = []

    def own(rng, n):
        asked.append(n)
        return rows.take(range(n))

    run(base, rows, {"latents": "noise", "averaged": 0, "keep": 0.0, "align_low": 0.95}, own=own)
    run(base, rows, {"latents": "own", "keep": 0.25, "extra": 0.5}, own=own)
    hook.remove()
    latents, steps = seen[0]
    assert (steps[2:] >= 950).all() and asked == [2, 1]
    spread = (1 - context(base).diffusion.signal(steps[2:])).sqrt()
    torch.testing.assert_close(
        latents[2:].flatten(1).std(1), spread, rtol=0.2, atol=0.05
    )  # noise alone, no picture in it


def test_enhancement_reaches_the_weights_through_decoder_and_clip(base, rows):
    alone = {
        "diffusion": 0.0,
        "text_consistent": 0.0,
        "fine_grained": 0.0,
        "output": 0.0,
        "enhanced": 1.0,
        "keep": 0.0,
    }
    for form in ("a", "b", "c", "direct"):
        value, terms, grads = run(
            base, rows, alone | {"form": form, "enhanced_high": 1.0, "enhanced_rows": 2}, move=0.05
        )
        assert (
            value == pytest.approx(terms["enhanced"])
            and sum(g.abs().sum() for g in grads.values()) > 0
        )
    assert "enhanced" not in run(base, rows, alone | {"enhanced_high": 0.0, "diffusion": 1.0})[1]
    assert (
        "enhanced"
        not in run(base, rows, alone | {"enhanced_every": 2, "diffusion": 1.0}, step=1)[1]
    )


def shown(**maps):
    return Record(
        {
            "up_blocks.0.attn2": {
                name.replace("_", " "): torch.tensor(value)[None] for name, value in maps.items()
            }
        },
        {},
    )


def test_control_map_sources():
    eps_res, eps_ref = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    eps_res[0, 0] = torch.tensor(
        [[4.0, 2.0], [2.0, 0.0]]
    )  # differs most at the upper left, half as much beside it
    record = shown(
        phrase_0=[[0.0, 1.0], [0.0, 0.0]],
        target=[[0.2, 0.0], [0.2, 0.0]],
        pad=[[0.0, 0.0], [0.0, 0.0]],
    )
    distances = torch.tensor([[0.5]])

    def control(distances=distances, **settings):
        config = SpfConfig(**{"scale": "min-max", "smooth": 1, "power": 1.0} | settings)
        found = Comparison(eps_res, eps_ref, record, record).evidence(config)
        return control_map(averaged([found]), distances, config)[0]

    torch.testing.assert_close(control(source="noise"), torch.tensor([[1.0, 0.5], [0.5, 0.0]]))
    torch.testing.assert_close(
        control(), torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    )  # the phrase took its share away
    torch.testing.assert_close(control(source="target"), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(control(source="product"), torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
    torch.testing.assert_close(control(distances / 2), torch.tensor([[1.0, 0.25], [0.5, 0.0]]))
    torch.testing.assert_close(control(power=2.0), torch.tensor([[1.0, 0.0], [0.25, 0.0]]))
    assert (
        control(smooth=3, source="noise").eq(0).all()
    )  # averaged over everything, the map is even: nothing stands out


def test_the_papers_row_is_without_anything_of_ours(base, rows):
    paper = build("spf-paper")
    assert paper.map_settings == SfcmConfig(subtract=1.0, embedding="complete")
    assert not paper.wants_own and not paper.wants_control(9, 10)
    terms = run(base, rows, ABLATIONS["spf-paper"])[1]
    assert set(terms) == {"diffusion", "text_consistent", "fine_grained", "sfcm"}


def test_averaging_many_noises_gives_a_steadier_map(base, rows):
    """Maps from different noises agree better with one another when each is the mean of many."""

    def spread(averaged):
        method = build("spf", LIGHT | {"averaged": averaged, "source": "noise"})
        with TunablePaths(base.unet, method.parameter_names(base.unet)) as paths:
            maps = [method.control(rows, context(base, paths, seed=seed)) for seed in range(4)]
        assert maps[0].shape == (4, 8, 8) and not maps[0].requires_grad
        return torch.stack(maps).std(0).mean()

    assert spread(16) < 0.8 * spread(1)  # both are stretched to [0, 1], which hides part of it


def test_a_map_made_beforehand_takes_the_place_of_the_steps_own(base, rows):
    ready = rows.take(range(4))
    ready.control = torch.ones(4, 8, 8)
    terms = run(base, ready, {"averaged": 1, "keep": 0.0}, move=0.05)[1]
    assert (
        terms["sfcm"] == 1
        and terms["output"] == terms["fine_grained"] == terms["text_consistent"] == 0
    )


def test_output_alignment_by_hand():
    res, ref = torch.ones(2, 1, 1, 2), torch.zeros(2, 1, 1, 2)
    weight = torch.tensor([[[1.0, 0.5]], [[0.0, 0.0]]])
    assert output_alignment(res, ref, weight, torch.tensor([2.0, 1.0])).item() == pytest.approx(
        2 * 0.625 / 2
    )


def test_unit_scale_measures_against_the_reference():
    res = Record(
        {"l": {"p": torch.tensor([[[6.0]]]), TARGET: torch.ones(1, 1, 1)}},
        {"l": torch.tensor([[[30.0]]])},
    )
    ref = Record(
        {"l": {"p": torch.tensor([[[2.0]]]), PAD: torch.ones(1, 1, 1)}},
        {"l": torch.tensor([[[10.0]]])},
    )
    a, b = unit_scale(res, ref)
    assert (
        a.maps["l"]["p"].item() == 3 and b.maps["l"]["p"].item() == 1 and TARGET not in a.maps["l"]
    )
    assert a.queries["l"].item() == 3 and b.queries["l"].item() == 1


def test_settings_are_read_and_checked():
    assert parse_settings("spf", ["output=2", "relative=false", "latents=own"]) == {
        "output": 2.0,
        "relative": False,
        "latents": "own",
    }
    for pairs, words in (
        (["outputs=2"], "KEY=VALUE"),
        (["output"], "KEY=VALUE"),
        (["output=much"], "number"),
        (["output=-1"], "0 to"),
        (["latents=mine"], "one of"),
        (["relative=perhaps"], "true or false"),
        (["smooth=2"], "odd"),
        (["plain=1.01"], "plain is 1.01 but must be a number from 0 to 1"),
        (["plain=-0.01"], "0 to 1"),
    ):
        with pytest.raises(BadInput, match=words):
            parse_settings("spf", pairs)
    with pytest.raises(BadInput, match="align_low"):
        SpfConfig(align_low=0.5, align_high=0.5)
    with pytest.raises(BadInput, match="averaged"):
        SpfConfig(averaged=4, latents="noise")
    with pytest.raises(BadInput, match="method"):
        build("dreambooth")
    with pytest.raises(BadInput, match="no setting"):
        build("naive", {"output": 1.0})


def test_every_method_and_every_setting_is_used():
    from pathlib import Path

    import spf.methods

    folder = Path(spf.methods.__file__).parent
    for name in METHODS:
        sources = (
            (folder / f"{name}.py").read_text()
            + (folder / "__init__.py").read_text()
            + (folder.parent / "training_data.py").read_text()
            + (folder.parent / "own_portraits.py").read_text()
            + (folder.parent / "finetune.py").read_text()
        )
        for field in build(name).config.to_dict():
            used = (
                f"config.{field}" in sources
                or f"c.{field}" in sources
                or field in SfcmConfig().to_dict()
            )
            assert used, (name, field)
