"""Prompt-to-Prompt and Magnet do what their papers say, and nothing where they should do
nothing.
"""

import math

import pytest
import torch
from portrait_world import new_portrait_base, random_adapters

from spf.attention import attention_layers, hear, probabilities, swapped
from spf.edits import build, magnet, p2p
from spf.errors import BadInput, Cancelled
from spf.paths import response
from spf.prompts import columns_of, compose, find
from spf.sampling import GuideConfig, TunedPath, initial_latents, sample, sample_pair

TEXT = "a photo of a young woman with long red hair"
PROMPT = compose(TEXT, "a hat")
SWAP = compose("a photo of a woman wearing a T-shirt", "dress", "replace", "T-shirt")
HOW = {"steps": 3, "guidance": 3.0}


def columns(tokenizer, text, phrase):
    """Token columns of the first occurrence of a phrase."""
    return columns_of(tokenizer, text, [find(text, phrase)])


@pytest.fixture(scope="module")
def base():
    base = new_portrait_base()
    before = {name: value.detach().clone() for name, value in base.unet.named_parameters()}
    yield base
    assert all(torch.equal(value, before[name]) for name, value in base.unet.named_parameters())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in base.unet.modules()
    )


@pytest.fixture(scope="module")
def adapter(base):
    return random_adapters(base, size=0.3)[0]


def plain(base, text, seeds=(3,)):
    blank, states = base.encode_text(["", text]).split(1)
    return sample(base, initial_latents(base, seeds), states, blank, **HOW)


def drawn(base, prompt, edit, adapters=(), seeds=(3,), **more):
    path = TunedPath(base, [prompt], guidance=HOW["guidance"], edit=edit, compare=False)
    return path.draw(
        response(base.unet, adapters), initial_latents(base, seeds), HOW["steps"], **more
    )


# Prompt-to-Prompt


def test_with_the_base_text_alone_nothing_changes(base):
    same = compose(TEXT)
    assert torch.equal(
        drawn(base, same, build("p2p", {"cross": 1.0, "own": 1.0, "side": 1.0})), plain(base, TEXT)
    )


def test_without_swapped_steps_it_is_plain_sampling(base, adapter):
    none = {"cross": 0.0, "own": 0.0}
    assert torch.equal(drawn(base, PROMPT, build("p2p", none)), plain(base, PROMPT.complete))
    with response(base.unet, adapter):
        tuned = plain(base, PROMPT.complete)
    assert torch.equal(drawn(base, PROMPT, build("p2p", none), adapter), tuned)
    assert not torch.allclose(drawn(base, PROMPT, build("p2p"), adapter), tuned, atol=1e-3)


def test_more_swapped_steps_are_nearer_to_the_original(base):
    original = plain(base, TEXT, (3, 4, 5))
    far = [
        (
            drawn(
                base,
                PROMPT,
                build("p2p", {"cross": cross, "own": cross, "side": 1.0}),
                seeds=(3, 4, 5),
            )
            - original
        )
        .abs()
        .mean()
        for cross in (0.0, 1.0)
    ]
    assert far[0] > far[1] > 0  # the weights are random: attention weighs little in them


def test_the_source_is_never_written_to(base, adapter):
    """What the edit hears beside a tuned drawing is the original model's own way: its last latents
    are the original's.
    """
    seen = []
    edit = build("p2p", {"blend": 0.3})
    adjust = edit.adjust
    edit.adjust = lambda source, latents, done: (
        seen.append(source),
        adjust(source, latents, done),
    )[1]
    drawn(base, PROMPT, edit, adapter)
    assert len(seen) == 3 and torch.equal(seen[-1], plain(base, TEXT))


def test_shared_words_get_exactly_the_maps_of_the_base_text(base):
    with torch.inference_mode():
        plain_states, complete = base.encode_text([TEXT, PROMPT.complete]).split(1)
        noise, timestep = initial_latents(base, [3]), torch.tensor(500)
        edit = build("p2p")
        edit.begin(base, [PROMPT], 1)
        with edit.hear():
            base.unet(noise, timestep, plain_states)
        with hear(base.unet) as own:
            base.unet(noise, timestep, complete)
        layer_name = next(name for name in edit.heard if name.endswith("attn2"))
        layer = attention_layers(base.unet)[layer_name]
        source, mine = (probabilities(layer, *heard[layer_name]) for heard in (edit.heard, own))
        swapped_maps = p2p.replaced(mine, source, edit.moves, edit.fresh)
    words = len(base.tokenizer(TEXT).input_ids) - 1  # begin and words; the end token moves on
    hat = columns(base.tokenizer, PROMPT.complete, "a hat")
    assert torch.equal(swapped_maps[..., :words], source[..., :words])
    assert torch.equal(swapped_maps[..., hat], mine[..., hat])
    assert torch.equal(swapped_maps[..., -1], source[..., -1]) and not torch.equal(
        mine[..., :words], source[..., :words]
    )


def test_swapping_is_added_to_the_models_own_attention(base):
    """Equal probabilities leave every bit; others give (swapped v) exactly where a layer's output
    is made.
    """
    with torch.inference_mode():
        states = base.encode_text([TEXT])
        noise, timestep = initial_latents(base, [3, 4]), torch.tensor(500)
        states = states.expand(2, -1, -1)
        with hear(base.unet) as heard:
            free = base.unet(noise, timestep, states).sample
        with swapped(base.unet, heard, lambda name, own, source: source):
            assert torch.equal(base.unet(noise, timestep, states).sample, free)
        name = next(name for name in heard if name.endswith("attn2"))
        layer, seen = attention_layers(base.unet)[name], {}
        hooks = [
            layer.to_v.register_forward_hook(lambda module, args, out: seen.update(v=out)),
            layer.to_out[0].register_forward_hook(
                lambda module, args, out: seen.update(given=args[0])
            ),
        ]

        def even(where, own, source):
            return torch.full_like(own, 1 / own.shape[-1]) if where == name else None

        try:
            with swapped(base.unet, heard, even, slice(-1, None)):
                half = base.unet(noise, timestep, states).sample
        finally:
            [hook.remove() for hook in hooks]
        torch.testing.assert_close(
            seen["given"][1], seen["v"][1].mean(0).expand_as(seen["given"][1]), rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(half[0], free[0], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(half[1], free[1], atol=1e-3)


@pytest.mark.parametrize(
    "source, edited, places",
    [
        ("abc", "abcx", [0, 1, 2, None]),
        ("abc", "xabc", [None, 0, 1, 2]),
        ("abc", "abxyc", [0, 1, None, None, 2]),
        ("abc", "ac", [0, 2]),
        ("abc", "xyz", [None] * 3),
        ("ab", "abab", [0, 1, None, None]),
    ],
)
def test_alignment(source, edited, places):
    assert p2p.aligned(list(map(ord, source)), list(map(ord, edited))) == places


def test_mapping_of_replaced_words(base):
    tokenizer = base.tokenizer
    for before, after in (
        ("photo", "watercolor painting"),
        ("long", "watercolor painting"),
        ("red", "gray"),
    ):
        prompt = compose(TEXT, after, "replace", before)
        moves, fresh = p2p.mapping(tokenizer, prompt)
        old, new = (
            columns(tokenizer, prompt.base, before),
            columns(tokenizer, prompt.complete, after),
        )
        share = moves[old][:, new]
        torch.testing.assert_close(
            share,
            torch.eye(len(old)) if len(old) == len(new) else torch.full_like(share, 1 / len(new)),
        )
        assert not fresh.any() and moves.sum(0).allclose(
            torch.ones(77) if len(old) == 1 == len(new) else moves.sum(0)
        )
        last = len(tokenizer(prompt.complete).input_ids)
        assert (
            moves[len(tokenizer(prompt.base).input_ids) - 1, last - 1] == 1 and moves[-1, -1] == 1
        )  # end token, PAD


def test_local_blend_keeps_the_latents_outside(base, adapter, monkeypatch):
    mass = torch.zeros(2, 1, 4, 4)
    mass[1, 0, 0, 0] = 1
    mask = p2p.blend_mask(mass, 0.3, (8, 8))
    assert mask.shape == (1, 8, 8) and mask[0, 0, 0] and not mask[0, 5:, 5:].any()
    seen = []
    outside = torch.zeros(8, 8, dtype=torch.bool)
    outside[:4] = True
    monkeypatch.setattr(
        p2p,
        "blend_mask",
        lambda mass, threshold, sides: (
            seen.append((mass.clone(), threshold, sides)),
            ~outside[None],
        )[1],
    )
    latents, original = (
        drawn(base, SWAP, build("p2p", {"blend": 0.3}), adapter),
        plain(base, SWAP.base),
    )
    assert (
        seen[0][0].shape == (2, 1, 2, 2)
        and seen[0][1:] == (0.3, (8, 8))
        and (seen[-1][0] > seen[0][0]).all()
    )
    assert torch.equal(latents[0][:, outside], original[0][:, outside])
    assert not torch.allclose(latents[0][:, ~outside], original[0][:, ~outside], atol=1e-3)


def test_a_batch_of_texts_is_edited_row_by_row(base, adapter):
    prompts = [
        PROMPT,
        compose("a photo of an old man wearing a T-shirt", "dress", "replace", "T-shirt"),
    ]
    for name in ("p2p", "magnet"):
        path = TunedPath(base, prompts, edit=build(name), guide=GuideConfig("attention"))
        both = path.draw(response(base.unet, adapter), initial_latents(base, [3, 4]), 2)
        for row, (prompt, seed) in enumerate(zip(prompts, (3, 4), strict=True)):
            alone = TunedPath(base, [prompt], edit=build(name), guide=GuideConfig("attention"))
            one = alone.draw(response(base.unet, adapter), initial_latents(base, [seed]), 2)[0]
            torch.testing.assert_close(both[row], one, rtol=1e-3, atol=1e-3)


def test_stopping_leaves_nothing_behind(base):
    def stop(step, shown):
        raise Cancelled

    with pytest.raises(Cancelled):
        drawn(base, PROMPT, build("p2p"), watch=stop)  # the fixture looks at hooks and weights


def test_a_pair_can_be_drawn_with_an_edit(base, adapter):
    free, edited = (
        sample_pair(base, PROMPT, adapter, seeds=[3], edit=edit, **HOW)
        for edit in (None, build("p2p"))
    )
    assert (edited.original.latents == free.original.latents).all()
    assert edited.tuned["tuned"].latents.shape == free.tuned[
        "tuned"
    ].latents.shape and edited.tuned["tuned"].sfcm.shape == (3, 1, 8, 8)
    assert abs(edited.tuned["tuned"].latents - free.tuned["tuned"].latents).max() > 1e-3


# Magnet


class Stub:
    """A text tower whose states can be worked out: each word adds its own direction to all that
    follow.
    """

    def __init__(self, base):
        self.tokenizer = base.tokenizer

    def encode_text(self, texts):
        ids = torch.tensor(
            [
                self.tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids
                for text in texts
            ]
        )
        return torch.nn.functional.one_hot(ids, len(self.tokenizer)).float().cumsum(1)


def word(stub, text):
    column = torch.zeros(len(stub.tokenizer))
    for token in stub.tokenizer(text).input_ids[1:-1]:
        column[token] += 1
    return column


def test_strengths_are_those_of_the_paper():
    assert (
        magnet.alpha(0.6) == pytest.approx(1)
        and magnet.alpha(1.0) == pytest.approx(math.exp(-0.4))
        and magnet.beta(0.5) == 0.75
    )


def test_objects_are_pulled_by_their_own_attribute_and_pushed_from_the_others(base):
    stub, edit = Stub(base), build("magnet", {"fit": False})
    text = "a red hat, a blue jacket"
    states = stub.encode_text([text])[0]
    result = edit.edited(stub, text, states)
    hat, jacket = (columns(base.tokenizer, text, noun)[-1] for noun in ("hat", "jacket"))
    others = [column for column in range(77) if column not in (hat, jacket)]
    assert torch.equal(result[others], states[others])
    for column, own, other in ((hat, "red hat", "blue"), (jacket, "blue jacket", "red")):
        omega = edit.known[own][1]
        expected = magnet.alpha(omega) * word(stub, own.split()[0]) - magnet.beta(omega) * word(
            stub, other
        )
        torch.testing.assert_close(result[column] - states[column], expected, rtol=1e-4, atol=1e-4)
    same = [
        edit.edited(stub, text, states, pairs)
        for pairs in ([("red", "hat"), ("blue", "jacket")], [("blue", "jacket"), ("red", "hat")])
    ]
    assert torch.equal(same[0], same[1]) and torch.equal(same[0], result)


def test_one_attribute_has_no_push_and_a_bare_object_nothing(base):
    stub, edit = Stub(base), build("magnet", {"fit": False})
    states = stub.encode_text(["a red hat"])[0]
    change = (
        edit.edited(stub, "a red hat", states)[columns(base.tokenizer, "a red hat", "hat")[-1]]
        - states[3]
    )
    torch.testing.assert_close(
        change, magnet.alpha(edit.known["red hat"][1]) * word(stub, "red"), rtol=1e-4, atol=1e-4
    )
    bare = stub.encode_text(["a hat"])[0]
    assert torch.equal(edit.edited(stub, "a hat", bare), bare) and edit.skipped == 1


def test_texts_are_taken_apart(base):
    text = (
        "a photo of an old woman, head tilted to the left, "
        "wearing a white T-shirt with freckled skin, laughing"
    )
    found = magnet.parsed(base.tokenizer, text)
    assert [(one.attribute, one.noun) for one in found] == [
        ("old", "woman"),
        ("", "head"),
        ("white", "T-shirt"),
        ("freckled", "skin"),
    ]
    assert found[2].column == columns(base.tokenizer, text, "T-shirt")[-1]


def test_neighbours_begin_with_the_object_itself(base):
    edit = build("magnet")
    edit.edited(base, "a red hat", base.encode_text(["a red hat"])[0])
    nouns = [noun for noun in magnet.NOUNS if noun in edit.known]
    near = edit.nearest("hat", nouns, 5)
    assert len(nouns) >= magnet.SMALL_BANK and near[0] == "hat" and len(set(near)) == 5
    omegas = torch.tensor([edit.known[f"red {noun}"][1] for noun in nouns[:8]])
    strength = edit.fitted(base, nouns, ["red"])
    assert torch.exp(strength - omegas).mean() == pytest.approx(1, abs=1e-4)


def test_without_strength_the_picture_is_the_plain_one(base, monkeypatch):
    monkeypatch.setattr(magnet, "alpha", lambda omega, strength: 0.0)
    monkeypatch.setattr(magnet, "beta", lambda omega: 0.0)
    assert torch.equal(drawn(base, PROMPT, build("magnet")), plain(base, PROMPT.complete))
    monkeypatch.undo()
    assert not torch.equal(drawn(base, PROMPT, build("magnet")), plain(base, PROMPT.complete))


def test_unknown_edits_and_settings_are_refused():
    for name, settings in (
        ("wish", {}),
        ("p2p", {"crosses": 1}),
        ("p2p", {"cross": 2}),
        ("magnet", {"neighbours": 0}),
    ):
        with pytest.raises(BadInput):
            build(name, settings)
