"""The rival methods on the tiny random base: each one's equations by hand, what it trains, and what
it leaves behind.
"""

import json
import math

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from portrait_world import new_portrait_base
from test_finetune import config, weights  # noqa: F401 - the fixture that checks that the base comes back to the bit

from spf.attention import Record, cross_attention_layers, record
from spf.devices import numbers
from spf.errors import BadInput, Cancelled
from spf.exchange import load_adapter
from spf.files import load_tensors
from spf.finetune import finetune
from spf.injected import AdaLoraPaths, LoraPaths, projections
from spf.losses import (
    orthogonality,
    pixel_grounding,
    prediction_error,
    projection,
    pure_goal,
    token_grounding,
)
from spf.methods import (
    ABLATIONS,
    NAMES,
    Context,
    Word,
    build,
    config_of,
    parse_settings,
)
from spf.methods.purecc import EXTRACTOR, representation_bias
from spf.methods.tokencompose import grounding, supervised
from spf.paths import DOWN, UP, Adapter, response, save_adapter
from spf.portraits.captions import Caption, Phrase
from spf.portraits.description import TARGETS
from spf.portraits.grounding import noun_span, places
from spf.portraits.render import REGIONS
from spf.prompts import compose
from spf.sfcm import SfcmConfig
from spf.shelf import STOCK, Shelf, adapter_name
from spf.training import fit
from spf.training_data import encoded, grounded, tailored_rows, with_target

TEXTS = ["a photo of a young woman with long red hair", "a photo of an old man"]
SETTINGS = {
    "lora": {"batch": 2, "learning_rate": 1e-2},
    "adalora": {"batch": 2, "learning_rate": 1e-2, "initial": 6, "rank": 3, "every": 1},
    "tokencompose": {"batch": 2, "learning_rate": 1e-3},
    "purecc": {"batch": 2, "learning_rate": 1e-2},
}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture(scope="module")
def rows(base):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    prompts = [with_target(text, TARGETS["hat"]) for text in TEXTS]
    return encoded(base, latents, prompts, TARGETS["hat"], SfcmConfig())


def context(base, paths=None, step=0, steps=10, seed=5, memory=None):
    empty, alone = base.encode_text(["", "a hat"]).split(1)
    return Context(
        base,
        paths,
        step,
        steps,
        np.random.default_rng(seed),
        empty,
        None,
        alone,
        {} if memory is None else memory,
    )


def inputs(base):
    return (
        torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3)),
        torch.tensor(400),
        base.encode_text(["a man, a hat"]),
    )


def predicted(base):
    with torch.no_grad():
        return base.unet(*inputs(base)).sample


def shaken(paths, size=0.1):
    """Moves everything that trains away from its start."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in paths.parameters.values():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def low_rank_paths(unet, kind, **more):
    modules = projections(unet)
    if kind == "lora":
        return LoraPaths(unet, modules, rank=2, alpha=4.0, **more)
    return AdaLoraPaths(
        unet, modules, rank=2, initial=4, alpha=4.0, steps=10, warm=1, final=4, every=1, **more
    )


# every method


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stopped_run_continues_as_the_same_run(base, weights, tmp_path, name):  # noqa: F811
    whole = finetune(
        base, config(method=name, steps=5), tmp_path / "whole", settings=SETTINGS[name]
    )

    def stop(step, terms, eta):
        if step == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        finetune(
            base,
            config(method=name, steps=5),
            tmp_path / "parts",
            settings=SETTINGS[name],
            callback=stop,
        )
    assert (
        load_adapter(tmp_path / "parts" / f"hat-{name}.safetensors", base).metadata["steps"] == "3"
    )
    parts = finetune(
        base, config(method=name, steps=5), tmp_path / "parts", settings=SETTINGS[name]
    )
    one, two = load_tensors(whole), load_tensors(parts)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    adapter = load_adapter(whole, base)
    assert (
        adapter.metadata["method"] == name
        and adapter.metadata["steps"] == "5"
        and "peft" in adapter.metadata["versions"]
    )
    with response(base.unet, adapter):
        tuned = predicted(base)
    assert not torch.equal(tuned, predicted(base))
    whole_differences = any(".diff" in key for key in load_tensors(whole.with_suffix(STOCK)))
    assert whole_differences == (name == "tokencompose")


def test_ablations_are_the_method_with_other_settings():
    assert set(ABLATIONS) >= {
        "spf-no-text",
        "spf-no-fine",
        "spf-no-enhanced",
        "spf-no-sfcm",
        "spf-paper",
    }
    full = build("spf").config.to_dict()
    for name, (method, preset) in ABLATIONS.items():
        made = build(name).config.to_dict()
        assert {key for key in full if made[key] != full[key]} == set(preset) and config_of(
            name
        ) is config_of(method), name
    assert (
        build("spf-no-text", {"batch": 3}).config.text_consistent == 0
        and build("spf-no-text", {"batch": 3}).config.batch == 3
    )
    assert not build("spf-no-enhanced").wants_clip and not build("spf-no-sfcm").wants_control(9, 10)
    paper = build("spf-paper")
    assert (
        not paper.wants_own
        and not paper.config.relative
        and paper.config.output == paper.config.masked == 0
    )
    assert adapter_name("hat", "spf-no-sfcm") == "hat-spf-no-sfcm" and parse_settings(
        "spf-paper", ["batch=2"]
    ) == {"batch": 2.0}
    with pytest.raises(BadInput, match="spf-no-sfcm"):
        build("spf-no-map")


def test_an_ablation_writes_an_adapter_under_its_own_name(base, weights, tmp_path):  # noqa: F811
    settings = {"batch": 2, "own_count": 2}
    path = finetune(
        base, config(method="spf-no-sfcm", steps=1, images=2), tmp_path, settings=settings
    )
    about = load_adapter(path, base).metadata
    assert path.name == "hat-spf-no-sfcm.safetensors" and about["method"] == "spf-no-sfcm"
    assert json.loads(about["settings"])["complement"] == "none" and set(NAMES) > {"naive", "lora"}


# the training loop


def test_the_loop_keeps_a_memory_and_calls_while_gradients_are_there(tmp_path):
    def made():
        torch.manual_seed(0)
        return torch.nn.Linear(2, 1)

    def go(module, out, stop=None):
        memory, seen = {}, []

        def after(step):
            memory["sum"] = memory.get("sum", torch.zeros(2)) + module.weight.grad[0]
            return {"exact": float(step)}

        def callback(step, terms, eta):
            seen.append(terms["exact"])
            if step == stop:
                raise Cancelled

        def loss(step, rng):
            return (
                module(torch.from_numpy(rng.random((4, 2), np.float32))) - 1
            ).square().mean(), {}

        try:
            fit(
                module,
                loss,
                steps=4,
                lr=0.1,
                out=out,
                after_step=after,
                memory=memory,
                callback=callback,
            )
        except Cancelled:
            pass
        return memory["sum"], seen

    whole, seen = go(made(), tmp_path / "a")
    go(made(), tmp_path / "b", stop=2)
    parts, rest = go(made(), tmp_path / "b")
    assert torch.equal(whole, parts) and seen == [0, 1, 2, 3] and rest == [2, 3]


# low-rank layers


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["lora", "adalora"])
def test_injected_layers_start_alike_whatever_torch_makes(base, weights, kind, dtype):  # noqa: F811
    with low_rank_paths(base.unet, kind) as paths:
        first = {name: value.detach().clone() for name, value in paths.parameters.items()}
    with numbers(dtype), low_rank_paths(base.unet, kind) as paths:
        other = paths.parameters
        assert first.keys() == other.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", ["lora", "adalora"])
def test_injected_layers_start_as_the_original_and_leave_nothing(base, weights, kind):  # noqa: F811
    before, modules = predicted(base), dict(base.unet.named_modules())
    with low_rank_paths(base.unet, kind) as paths:
        assert torch.equal(predicted(base), before)  # the first prediction is the original one
        assert len(paths.injected) == 8 * len(cross_attention_layers(base.unet))
        assert all(
            value.requires_grad == (name in paths.parameters)
            for name, value in base.unet.named_parameters()
        )
        shaken(paths)
        tuned = predicted(base)
        assert not torch.allclose(tuned, before, atol=1e-3)
        with paths.reference():
            assert torch.equal(predicted(base), before)
        assert torch.equal(predicted(base), tuned)
        base.unet(*inputs(base)).sample.square().mean().backward()
        assert {name for name, p in base.unet.named_parameters() if p.grad is not None} == set(
            paths.parameters
        )
        made = paths.adapter({"method": kind})
        paths.restore()
        assert torch.equal(predicted(base), before)
    assert dict(base.unet.named_modules()) == modules and not hasattr(base.unet, "peft_config")
    assert torch.equal(predicted(base), before)
    with response(base.unet, made):  # what was in memory is what the adapter brings
        torch.testing.assert_close(predicted(base), tuned, rtol=1e-4, atol=1e-5)
    assert all(key.endswith((DOWN, UP)) for key in made.tensors)


def test_an_exception_takes_the_layers_out_again(base, weights, monkeypatch):  # noqa: F811
    modules = dict(base.unet.named_modules())
    for where in ("inside", "reference", "entering"):
        with pytest.raises(RuntimeError), monkeypatch.context() as patch:
            if where == "entering":
                patch.setattr(
                    base.unet,
                    "named_parameters",
                    lambda *a, **k: (_ for _ in ()).throw(RuntimeError("half way")),
                )
            with low_rank_paths(base.unet, "lora") as paths:
                shaken(paths)
                if where == "reference":
                    with paths.reference():
                        raise RuntimeError
                raise RuntimeError
        assert dict(base.unet.named_modules()) == modules and not hasattr(
            base.unet, "peft_config"
        ), where


def test_only_the_chosen_projections_get_layers_and_seeds_differ(base, weights):  # noqa: F811
    cross = projections(base.unet, "cross-attention")
    assert (
        cross
        and all(".attn2." in name for name in cross)
        and set(cross) < set(projections(base.unet))
    )
    starts = []
    for seed in (0, 0, 1):
        state = torch.random.get_rng_state()
        with LoraPaths(base.unet, cross[:1], rank=2, alpha=2.0, seed=seed) as paths:
            starts.append(
                next(value for name, value in paths.parameters.items() if "lora_A" in name)
                .detach()
                .clone()
            )
        assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    with pytest.raises(BadInput, match="modules"):
        LoraPaths(base.unet, [], rank=2, alpha=2.0)


def test_a_start_lies_under_the_layers_and_is_part_of_the_result(base, weights):  # noqa: F811
    modules = projections(base.unet)
    key, other = f"{modules[0]}.weight", "conv_in.weight"
    shape = base.unet.get_parameter(key).shape
    start = Adapter(
        {},
        {
            key: torch.full(shape, 0.1),
            other: torch.full(base.unet.get_parameter(other).shape, 0.05),
        },
    )
    before = predicted(base)
    with response(base.unet, start):
        started = predicted(base)
    with LoraPaths(base.unet, modules, rank=2, alpha=2.0, start=start) as paths:
        assert torch.equal(predicted(base), started)
        with paths.reference():
            assert torch.equal(predicted(base), before)
        shaken(paths)
        tuned, made = predicted(base), paths.adapter({})
    assert made.tensors[key].shape == shape and key + DOWN not in made.tensors
    with response(base.unet, made):
        torch.testing.assert_close(predicted(base), tuned, rtol=1e-4, atol=1e-5)
    assert torch.equal(predicted(base), before)


@pytest.mark.parametrize("name", ["lora", "adalora"])
def test_stock_diffusers_reads_the_result(tmp_path, name):
    base = new_portrait_base()
    path = finetune(
        base,
        config(method=name, steps=4),
        tmp_path,
        settings=SETTINGS[name] | {"learning_rate": 0.05},
    )
    adapter = load_adapter(path, base)
    with response(base.unet, adapter):
        ours = predicted(base)
    before = predicted(base)
    pipe = StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=base.unet,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.load_lora_weights(tmp_path, weight_name=f"hat-{name}.lora.safetensors")
    change = (ours - before).abs().max()
    error = (predicted(base) - ours).abs().max()
    assert change > 0.02 and error < 0.01 * change, (change, error)  # halves in the file
    pipe.unload_lora_weights()
    assert torch.equal(predicted(base), before)


def test_a_stock_file_is_no_adapter_of_ours(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tmp_path))
    about = dict.fromkeys(("method", "base_model", "target", "steps", "losses", "versions"), "x")
    pair = {"a.weight" + DOWN: torch.ones(1, 2), "a.weight" + UP: torch.ones(2, 1)}
    for name in ("hat", "hat.lora"):
        save_adapter(Adapter(about, pair), tmp_path / "adapters" / f"{name}.safetensors")
    assert list(Shelf.usual().files()) == ["hat"]


# AdaLoRA


def test_orthogonality_by_hand():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # A A^T - I = diag(0, 3)
    b = torch.tensor([[0.6, 0.8]])  # one row of length 1
    assert orthogonality([a]).item() == pytest.approx(3) and orthogonality(
        [a, b]
    ).item() == pytest.approx(1.5)


def test_the_budget_follows_the_cubic_and_zeroed_entries_stay_zero(base, rows, weights):  # noqa: F811
    method = build("adalora", SETTINGS["adalora"] | {"orthogonal": 0.1, "warm": 0.2, "final": 0.3})
    steps, memory, log = 10, {}, []
    with method.paths(base.unet, steps) as paths:
        n = len(paths.injected)
        optimizer = torch.optim.AdamW(paths.parameters.values(), lr=0.02)
        for step in range(steps):
            ctx = context(base, paths, step, steps, seed=step, memory=memory)
            value, terms = method.loss(rows, ctx)
            assert value.item() == pytest.approx(
                float((terms["diffusion"] + 0.1 * terms["orthogonality"]).detach()), rel=1e-5
            )
            value.backward()
            optimizer.step()
            log.append(
                method.after_step(ctx)
                | {"orthogonality": terms["orthogonality"].item(), "zero": paths.entries() == 0}
            )
            optimizer.zero_grad()
        made = paths.adapter({})
    for step, row in enumerate(log, 1):
        share = 1 - (step - 2) / (10 - 3 - 2)
        expected = 6 * n if step <= 2 else 3 * n if step >= 7 else int(3 * n * share**3 + 3 * n)
        assert row["budget"] == expected and (step <= 2 or row["in use"] == expected), step
    settled = log[6]["zero"]
    assert all(torch.equal(row["zero"], settled) for row in log[6:]) and settled.sum() == 3 * n
    assert log[-1]["orthogonality"] < log[0]["orthogonality"]
    ranks = json.loads(made.metadata["ranks"])
    assert sum(ranks.values()) == 3 * n and len(set(ranks.values())) > 1 and len(ranks) == n
    assert {len(value) for key, value in made.tensors.items() if key.endswith(DOWN)} == set(
        ranks.values()
    ) - {0}


def test_the_penalty_reaches_the_directions_alone(base, weights):  # noqa: F811
    with low_rank_paths(base.unet, "adalora") as paths:
        orthogonality(paths.directions()).backward()
        moved = {
            name.split(".")[-2]
            for name, value in paths.parameters.items()
            if value.grad is not None and value.grad.any()
        }
    assert moved == {"lora_A", "lora_B"}


def test_adalora_refuses_what_would_fail_silently(base, tmp_path):
    for wrong, words in (
        ({"initial": 8}, "above rank"),
        ({"warm": 0.6, "final": 0.5}, "add up"),
        ({"average": 0.9}, "average"),
    ):
        with pytest.raises(BadInput, match=words):
            build("adalora", wrong)
    with pytest.raises(BadInput, match="steps is 2 but must be at least 3"):
        finetune(base, config(method="adalora", steps=2), tmp_path / "out")
    with pytest.raises(BadInput, match="steps is 1 but must be at least 2"):
        finetune(base, config(method="purecc", steps=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# TokenCompose


def test_grounding_losses_of_an_even_map():
    """Even over L tokens and all positions, mask of area a: (1 - a)^2 for each map, and BCE(1/L,
    M).
    """
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :4] = True  # a = 1/4
    maps = torch.full((3, 2, 1, 8, 8), 1 / 77)
    assert token_grounding(maps, mask).item() == pytest.approx(3 * 0.75**2)
    expected = -(0.25 * math.log(1 / 77) + 0.75 * math.log(1 - 1 / 77))
    assert pixel_grounding(maps, mask).item() == pytest.approx(expected, rel=1e-5)
    two = torch.full(
        (3, 2, 2, 8, 8), 1 / 77
    )  # two tokens: averaged in one loss, added in the other
    assert token_grounding(two, mask).item() == pytest.approx(3 * 0.75**2)
    expected = -(0.25 * math.log(2 / 77) + 0.75 * math.log(1 - 2 / 77))
    assert pixel_grounding(two, mask).item() == pytest.approx(expected, rel=1e-5)


def test_token_loss_sees_only_the_share_inside():
    mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    inside, outside = torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    inside[..., 0, 0], outside[..., 1, 1] = 0.3, 0.3
    for factor in (1.0, 0.1):
        assert token_grounding(factor * inside, mask).item() == pytest.approx(0, abs=1e-9)
        assert token_grounding(factor * outside, mask).item() == pytest.approx(1)
    both = torch.cat((inside, outside), 1)  # two heads: the mean is taken before the square
    assert token_grounding(both, mask).item() == pytest.approx(0.25)
    tokens = torch.cat((inside, outside), 2)  # two tokens: after it
    assert token_grounding(tokens, mask).item() == pytest.approx(0.5)


def test_words_of_several_tokens_rows_without_words_and_levels():
    even = torch.full((2, 1, 2, 2), 0.25)
    left = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).expand(2, 1, 2, 2) / 2
    layer = {"4": even, "5": left}
    shown = Record(
        {
            f"{level}.attentions.0.transformer_blocks.0.attn2": layer
            for level in ("down_blocks.0", "mid_block", "up_blocks.0", "up_blocks.1")
        }
        | {"up_blocks.1.attentions.1.transformer_blocks.0.attn2": layer},
        {},
    )
    assert {level: len(maps) for level, maps in supervised(shown).items()} == {
        "mid_block": 1,
        "up_blocks.0": 1,
        "up_blocks.1": 2,
    }
    mask = torch.tensor([[True, False], [True, False]])
    token, pixel, maps, levels = grounding(shown, [[((4, 5), mask)], []])
    # token 4 has half of its mass inside, token 5 all: (0.25 + 0) / 2 for each of 4 maps; the
    # second row adds nothing
    assert token.item() == pytest.approx(4 * 0.125 / 2, rel=1e-4) and (maps, levels) == (4, 3)
    expected = (
        3 * -(2 * math.log(0.75) + 2 * math.log(0.75)) / 4 / 2
    )  # P is 0.75 inside and 0.25 outside
    assert pixel.item() == pytest.approx(expected, rel=1e-4)
    assert [float(x) for x in grounding(shown, [[], []])[:2]] == [0, 0]


def test_every_heads_map_averages_to_the_usual_one(base):
    groups = {"hat": [7], "man": [5, 6]}
    with torch.no_grad(), record(base.unet, groups) as mean:
        base.unet(*inputs(base))
    with torch.no_grad(), record(base.unet, groups, heads=True) as every:
        base.unet(*inputs(base))
    for layer, maps in mean.maps.items():
        for name in groups:
            assert every.maps[layer][name].ndim == 4
            torch.testing.assert_close(every.maps[layer][name].mean(1), maps[name])


@pytest.fixture(scope="module")
def worded(rows):
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:3] = True
    made = rows.take([0, 1])
    made.words = [[Word((5,), (4, 5), mask), Word((7,), (7,), ~mask)], []]
    return made


def tokencompose_step(base, rows, **settings):
    method = build("tokencompose", {"batch": 2} | settings)
    with method.paths(base.unet, 10) as paths:
        value, terms = method.loss(rows, context(base, paths))
        value.backward()
        return (
            value.detach(),
            terms,
            {
                name: p.grad.clone()
                for name, p in base.unet.named_parameters()
                if p.grad is not None
            },
        )


def test_without_its_losses_a_step_is_the_naive_one(base, worded, weights):  # noqa: F811
    value, terms, grads = tokencompose_step(base, worded, token=0.0, pixel=0.0)
    naive = build("naive", {"batch": 2})
    with naive.paths(base.unet, 10) as paths:
        expected = naive.loss(worded, context(base, paths))[0]
        expected.backward()
        assert torch.equal(value, expected.detach()) and set(terms) == {"diffusion"}
        assert all(torch.equal(grads[name], p.grad) for name, p in base.unet.named_parameters())
    nothing = worded.take([1])  # a row without words, such as one whose words were all cut off
    assert set(tokencompose_step(base, nothing)[1]) == {"diffusion"}


def test_grounding_is_scaled_to_the_network_and_leaves_downward_maps_alone(base, worded, weights):  # noqa: F811
    value, terms, _ = tokencompose_step(base, worded, token=1e-3, pixel=5e-5)
    maps = sum(not name.startswith("down") for name in cross_attention_layers(base.unet))
    expected = (
        terms["diffusion"] + 1e-3 * 10 / maps * terms["token"] + 5e-5 * 4 / 4 * terms["pixel"]
    )
    assert value.item() == pytest.approx(float(expected.detach()), rel=1e-6) and maps == 7
    words = [[(word.noun, word.mask) for word in row] for row in worded.words]
    with torch.no_grad(), record(base.unet, {"5": [5], "7": [7]}, heads=True) as shown:
        base.unet(worded.latents, torch.tensor(400), worded.complete)
    leaves = {
        layer: {key: value.clone().requires_grad_() for key, value in groups.items()}
        for layer, groups in shown.maps.items()
    }
    sum(grounding(Record(leaves, {}), words)[:2]).backward()
    reached = {
        layer
        for layer, groups in leaves.items()
        if any(value.grad is not None for value in groups.values())
    }
    assert reached == {
        name
        for name in cross_attention_layers(base.unet)
        if name.startswith(("mid_block", "up_blocks"))
    }


def test_training_moves_attention_into_the_mask(base, worded, weights):  # noqa: F811
    method = build("tokencompose", {"batch": 2, "token": 1.0, "pixel": 0.1})
    with method.paths(base.unet, 10) as paths:
        optimizer, seen = torch.optim.AdamW(paths.parameters.values(), lr=2e-3), []
        for _ in range(6):
            value, terms = method.loss(worded, context(base, paths))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            seen.append(terms["token"].item())
    assert seen[-1] < 0.9 * seen[0]


def picture():
    regions = np.zeros((16, 16), np.uint8)
    for name, part in (
        ("hair", np.s_[2:4, 4:12]),
        ("face", np.s_[4:9, 4:12]),
        ("clothing", np.s_[10:, :]),
        ("hat", np.s_[0:1, 5:11]),
    ):
        regions[part] = REGIONS.index(name)
    return regions


def spoken(text, target, *phrases, **replaced):
    made = Caption(text, tuple(Phrase(words, names) for words, names in phrases))
    goal = TARGETS[target]
    return made, compose(text, goal.text, goal.mode, goal.replace), goal


def test_places_of_nouns_by_hand():
    made, prompt, target = spoken(
        "a photo of a smiling man, smiling, with brown hair in a bun and a red shirt, head tilted "
        "to the left",
        "hat",
        ("a photo", ("style",)),
        ("smiling", ("expression",)),
        ("brown hair in a bun", ("hair_color", "hair_style")),
        ("a red shirt", ("clothing_color", "clothing")),
        ("head tilted to the left", ("tilt",)),
    )
    found = {
        prompt.complete[slice(*noun)]: (prompt.complete[slice(*phrase)], mask)
        for noun, phrase, mask in places(prompt, made, target, picture())
    }
    assert {noun: phrase for noun, (phrase, _) in found.items()} == {
        "hair": "brown hair",
        "shirt": "red shirt",
        "head": "head tilted to the left",
        "hat": "a hat",
    }
    assert (
        found["hair"][1].sum() == 16
        and found["shirt"][1].sum() == 6 * 16
        and found["hat"][1].sum() == 6
    )
    assert noun_span("a big laugh", (0, 11)) == (6, 11) and noun_span("surprised", (0, 9)) is None


def test_places_in_replace_mode_and_of_targets_that_are_no_noun():
    made, prompt, target = spoken(
        "a man in a white T-shirt with hair",
        "dress",
        ("a white T-shirt", ("clothing",)),
        ("hair", ("hair_style",)),
    )
    found = [
        prompt.complete[slice(*noun)] for noun, _, _ in places(prompt, made, target, picture())
    ]
    assert found == ["hair", "dress"]  # of the replaced phrase only the target is left
    made, prompt, target = spoken("a man", "laughing")
    assert [
        prompt.complete[slice(*noun)] for noun, _, _ in places(prompt, made, target, picture())
    ] == ["laughing"]
    made, prompt, target = spoken("a photo of a man", "watercolor")
    assert not list(places(prompt, made, target, picture()))  # the whole picture is no place


def test_grounded_words_leave_out_what_is_cut_off_or_not_there(base):
    short, _, target = spoken(
        "a man with hair and a beard", "hat", ("hair", ("hair_style",)), ("a beard", ("beard",))
    )
    words = grounded(base, short, target, picture())
    tokens = base.tokenizer.convert_ids_to_tokens(
        base.tokens(["a man with hair and a beard, a hat"])[0]
    )
    assert [tokens[word.noun[0]] for word in words] == [
        "hair</w>",
        "hat</w>",
    ]  # no beard in the picture
    assert (
        words[0].mask.shape == (8, 8)
        and words[0].mask.sum() == 4
        and words[1].phrase[-1] == words[1].noun[-1]
    )
    spelt = Caption("a man with xylophone", (Phrase("xylophone", ("hair_style",)),))
    several = grounded(base, spelt, target, picture())[0]
    assert len(several.noun) > 1 and list(several.noun) == list(
        range(several.noun[0], several.noun[-1] + 1)
    )
    long = "a man in a T-shirt" + " with glasses" * 40 + " with hair"
    cut, _, dress = spoken(long, "dress", ("hair", ("hair_style",)), ("a T-shirt", ("clothing",)))
    assert [word.noun for word in grounded(base, cut, dress, picture())] == [
        (5,)
    ]  # the hair fell off the end


def test_a_tailored_set_knows_its_words(base):
    data = tailored_rows(base, TARGETS["hat"], 3, 0, build("tokencompose").config, words=True)
    assert [len(row) > 0 for row in data.rows.words] == [True] * 3
    assert all(row[-1].mask.any() and not row[-1].mask.all() for row in data.rows.words)  # the hat
    assert [len(row) for row in data.rows.take([2, 0]).words] == [
        len(data.rows.words[i]) for i in (2, 0)
    ]
    assert tailored_rows(base, TARGETS["hat"], 1, 0, build("naive").config).rows.words is None


# PureCC


def test_projection_and_goal_by_hand():
    bias = torch.tensor([[[[2.0, 0.0]]], [[[1.0, 1.0]]], [[[0.0, 0.0]]]])
    learnt = torch.tensor([[[[3.0, 5.0]]], [[[1.0, -1.0]]], [[[1.0, 1.0]]]])
    lam = projection(learnt, bias)
    torch.testing.assert_close(lam, torch.tensor([1.5, 0.0, 0.0]))
    torch.testing.assert_close(
        pure_goal(torch.ones_like(bias), bias, lam)[0], torch.tensor([[[4.0, 1.0]]])
    )
    # so the loss is the part of what was learnt that does not point along the bias
    assert prediction_error(
        learnt, pure_goal(torch.zeros_like(bias), bias, lam)
    ).item() == pytest.approx((12.5 + 1 + 1) / 3)


def test_the_projection_needs_no_detaching():
    """The residual is orthogonal to the bias, so the gradient through lambda is 0: with it or
    without it is the same.
    """
    generator = torch.Generator().manual_seed(0)
    learnt, bias = (
        torch.randn(2, 1, 2, 2, generator=generator, requires_grad=True) for _ in range(2)
    )
    grads = []
    for held in (False, True):
        lam = projection(learnt, bias.detach())
        value = prediction_error(
            learnt, pure_goal(torch.zeros(2, 1, 2, 2), bias.detach(), lam.detach() if held else lam)
        )
        grads.append(torch.autograd.grad(value, learnt)[0])
    torch.testing.assert_close(*grads)


def test_purecc_second_stage_starts_anew_and_measures_against_the_first(base, rows, weights):  # noqa: F811
    before = predicted(base)
    method = build("purecc", SETTINGS["purecc"] | {"extract": 0.5, "snr": 1e9})
    with method.paths(base.unet, 4) as paths:
        shaken(paths, 0.2)
        first, memory = predicted(base), {}
        method.after_step(context(base, paths, 0, 4, memory=memory))
        assert not memory and torch.equal(predicted(base), first)
        method.after_step(context(base, paths, 1, 4, memory=memory))  # the last step of stage 1
        assert torch.equal(predicted(base), before) and all(
            name.startswith(EXTRACTOR) for name in memory
        )
        kept = {name: value.clone() for name, value in memory.items()}

        ctx = context(base, paths, 2, 4, memory=memory)
        latents, steps = inputs(base)[0], torch.tensor([400])
        bias = representation_bias(latents, steps, ctx)
        assert (
            torch.equal(predicted(base), before)
            and not bias.requires_grad
            and bias.abs().max() > 1e-3
        )
        shaken(paths, 0.1)
        value, terms = method.loss(rows, ctx)
        assert set(terms) == {"diffusion", "pure", "lambda"} and value.item() == pytest.approx(
            float((terms["diffusion"] + terms["pure"]).detach())
        )
        value.backward()
        assert all(torch.equal(memory[name], kept[name]) for name in kept)

        ctx = context(base, paths, 2, 4, memory=memory)  # once more by hand
        noise, steps = ctx.normal(rows.latents), ctx.timesteps(2)
        latents = ctx.diffusion.noised(rows.latents, noise, steps)
        complete, plain = (
            base.unet(latents, steps, states).sample for states in (rows.complete, rows.base)
        )
        bias = representation_bias(latents, steps, ctx)
        goal = pure_goal(plain, bias, projection(complete - plain, bias))
        weight = ctx.diffusion.weights(steps, 1e9)
        assert terms["pure"].item() == pytest.approx(
            prediction_error(complete, goal, weight).item(), rel=1e-4
        )


def test_purecc_options_of_the_base_text_and_the_scale(base, rows, weights):  # noqa: F811
    grads, memory = {}, {}
    for choice in ("trained", "detached", "original"):
        method = build("purecc", SETTINGS["purecc"] | {"base": choice, "extract": 0.5})
        with method.paths(base.unet, 4) as paths:
            if not memory:
                shaken(paths, 0.2)
                method.after_step(context(base, paths, 1, 4, memory=memory))
            shaken(paths, 0.1)
            _, terms = method.loss(rows, context(base, paths, 2, 4, memory=memory))
            terms["pure"].backward()
            grads[choice] = torch.cat(
                [p.grad.flatten() for p in paths.parameters.values() if p.grad is not None]
            )
            if choice == "original":
                fixed = build("purecc", SETTINGS["purecc"] | {"scale": "fixed", "fixed": 2.0})
                assert (
                    fixed.loss(rows, context(base, paths, 2, 4, memory=memory))[1]["lambda"].item()
                    == 2
                )
    assert not torch.allclose(grads["trained"], grads["detached"]) and not torch.allclose(
        grads["detached"], grads["original"]
    )
    with pytest.raises(BadInput, match="average"):
        build("purecc", {"average": 0.9})
