"""What is asked for again is taken from earlier drawings, and is what one of its own gives."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from portrait_world import new_portrait_base, random_adapters
from test_sampling import Calls

from spf.edits import build
from spf.exchange import load_adapter
from spf.paths import save_adapter
from spf.prompts import compose
from spf.sampling import GuideConfig, Kept, sample_pair
from spf.sampling.kept import LEAST, size

BASE = "a photo of a woman"
HAT = compose(BASE, "a hat")
HOW = {"seeds": [3], "steps": 2}
ORIGINAL, DIFFER, REFERENCE = [2] * 2, [2], 1
HELD = [3, REFERENCE, 3]
"""The rows of a held drawing without maps: every second step narrows what it may change."""


@pytest.fixture(scope="module")
def base():
    """Of which CLIP is sure that every portrait shows somebody old."""
    with pytest.MonkeyPatch.context() as patch:
        look = lambda base, images: [{"age": "old"}] * len(images)  # noqa: E731
        patch.setattr("spf.sampling.tuned.seen", look)
        yield new_portrait_base()


def marked(base, target="a hat", seed=0, **metadata):
    plain = random_adapters(base, seed + 1, target=target, **metadata)[seed]
    return replace(plain, mark=f"{target} {seed}")


def pressed(base, prompt, adapters, kept=None, **how):
    """(rows of each call of the UNet, trace) of one press."""
    guide = GuideConfig("held", push=how.pop("push", 0.0))
    with Calls(base) as calls:
        found = sample_pair(base, prompt, adapters, kept=kept, guide=guide, **{**HOW, **how})
    return calls.rows, found


def assert_alike(one, two):
    for name, value in vars(one).items():
        other = getattr(two, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other, err_msg=name)
        elif isinstance(value, dict):
            assert value.keys() == other.keys(), name
            [np.testing.assert_array_equal(value[k], other[k], err_msg=name) for k in value]
        else:
            assert value == other, name


CHANGES = {
    "another push": (HAT, {"push": 2.5}, 0),
    "another strength": (HAT, {"scale": 0.5}, 1),
    "another target": (compose(BASE, "glasses"), {}, 1),
    "words replaced": (compose(BASE, "a man", "replace", "a woman"), {}, 1),
    "more steps": (HAT, {"steps": 3}, 2),
    "another seed": (HAT, {"seeds": [4]}, 2),
    "another base text": (compose("a photo of a man", "a hat"), {}, 2),
}
"""Second presses, and how many of original and map they have to draw."""


@pytest.mark.parametrize("common", [{}, {"common": '{"skin": "tan"}'}], ids=["plain", "apart"])
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_second_press_draws_what_changed_and_shows_what_a_first_one_would(base, change, common):
    prompt, how, parts = CHANGES[change]
    adapter, kept = marked(base, **common), Kept()
    first, _ = pressed(base, HAT, adapter, kept, maps=[])
    apart = [5, REFERENCE, 4]  # the complete text is asked for where the map is narrowed
    assert first == ORIGINAL + DIFFER + (apart if common else HELD)

    rows, again = pressed(base, prompt, adapter, kept, maps=[], **how)
    all_rows, alone = pressed(base, prompt, adapter, maps=[], **how)
    steps = how.get("steps", 2)
    spared = [steps + math.ceil(steps / 2), steps, 0][parts]
    assert rows == all_rows[spared:], "what comes first is what is spared"
    assert_alike(again.tuned["tuned"], alone.tuned["tuned"])
    assert_alike(again.original, alone.original)


def test_one_original_serves_all_targets_whose_phrases_it_has(base):
    text, kept = "a photo of a young woman", Kept()
    _, first = pressed(base, compose(text, "a hat"), {}, kept)
    for target, words, same in (("a man", "a young woman", True), ("old", "young", False)):
        rows, other = pressed(base, compose(text, target, "replace", words), {}, kept)
        assert (rows == []) == same == (other.original is first.original)
        assert set(other.base_phrases) <= set(other.original.phrases)


def test_other_weights_are_another_drawing(base):
    kept, one, other = Kept(), marked(base), marked(base, seed=1)
    _, first = pressed(base, HAT, one, kept, maps=[])
    rows, second = pressed(base, HAT, other, kept, maps=[])
    assert rows == DIFFER + HELD and second.original is first.original
    assert not np.array_equal(second.tuned["tuned"].latents, first.tuned["tuned"].latents)
    rows = pressed(base, HAT, {"tuned": [one, other]}, kept, maps=[])[0]
    assert rows == DIFFER + HELD
    assert pressed(base, HAT, one, kept, maps=[])[0] == []


def test_weights_without_a_mark_are_drawn_anew(base):
    kept, unknown = Kept(), random_adapters(base)[0]
    pressed(base, HAT, unknown, kept, maps=[])
    rows, found = pressed(base, HAT, unknown, kept, maps=[])
    assert rows == DIFFER + HELD and found.tuned["tuned"].key is None


def test_the_column_beside_is_not_drawn_again_and_has_no_row_for_maps(base):
    kept, both = Kept(), {"tuned": marked(base), "naive": marked(base, seed=1)}
    how = {"free": ["naive"], "maps": ["tuned"]}
    rows, first = pressed(base, HAT, both, kept, **how)
    looked = [3, REFERENCE, REFERENCE, 3, REFERENCE]
    assert rows == ORIGINAL + DIFFER + looked + [2] * 2
    told = []
    rows, second = pressed(
        base, HAT, both, kept, push=3.0, callback=lambda step: told.append(step), **how
    )
    assert rows == looked and second.tuned["naive"] is first.tuned["naive"]
    assert [(s.path, s.done, s.total) for s in told] == [("tuned", 1, 2), ("tuned", 2, 2)]


@pytest.mark.parametrize("common", [{}, {"common": '{"skin": "tan"}'}], ids=["plain", "apart"])
@pytest.mark.parametrize("free", [[], ["tuned"]], ids=["held", "free"])
def test_maps_are_made_when_they_are_asked_for(base, free, common):
    kept, adapter = Kept(), marked(base, **common)
    _, first = pressed(base, HAT, adapter, kept, maps=[], free=free)
    before = first.tuned["tuned"]
    assert before.maps == {} and before.difference is None and before.starts.shape[0] == 2
    told = []
    rows, second = pressed(
        base, HAT, adapter, kept, free=free, callback=lambda step: told.append(step)
    )
    assert rows == [1, REFERENCE] * 2 and [s.clean for s in told] == [None] * 2
    assert [(s.path, s.done, s.total) for s in told] == [("tuned", 1, 2), ("tuned", 2, 2)]
    looked, at_once = (
        second.tuned["tuned"],
        pressed(base, HAT, adapter, free=free)[1].tuned["tuned"],
    )
    np.testing.assert_array_equal(looked.images, before.images)
    close = {"rtol": 2e-3, "atol": 2e-3}  # they are kept in half precision
    assert looked.maps.keys() == at_once.maps.keys() and looked.phrases == at_once.phrases
    for side, maps in at_once.maps.items():
        np.testing.assert_allclose(looked.maps[side], maps, **close)
    for name in ("difference", "sfcm", "removed", "distances"):
        np.testing.assert_allclose(getattr(looked, name), getattr(at_once, name), **close)
    assert pressed(base, HAT, adapter, kept, free=free)[0] == [], "and they are kept as well"


def test_an_edit_and_a_guide_that_blends_look_while_they_draw(base):
    kept, adapter = Kept(), marked(base)
    how = {"guide": GuideConfig("sfcm"), "kept": kept, **HOW}
    found = sample_pair(base, HAT, adapter, maps=[], **how).tuned["tuned"]
    assert found.difference is not None and found.starts is None
    with Calls(base) as calls:
        for _ in range(2):
            sample_pair(base, HAT, adapter, edit=build("p2p"), kept=kept, maps=[], **HOW)
    assert calls.rows == [2, 2] * 4, "nothing of an edit is kept"


def test_of_two_targets_each_press_is_what_it_would_be_alone(base):
    both = compose(BASE, ("a hat", "glasses"))
    adapters = {"tuned": [marked(base), marked(base, "glasses", 1)]}
    kept, counts = Kept(), []
    pressed(base, HAT, adapters["tuned"][0], kept, maps=[])
    count = lambda step: counts.append((step.done, step.total))  # noqa: E731
    for push in (0.0, 2.0):
        counts.clear()
        rows, again = pressed(base, both, adapters, kept, push=push, maps=[], callback=count)
        all_rows, alone = pressed(base, both, adapters, push=push, maps=[])
        assert len(rows) < len(all_rows)
        assert counts == [(k, counts[-1][0]) for k in range(1, counts[-1][0] + 1)]
        assert_alike(again.tuned["tuned"], alone.tuned["tuned"])
    rows, looked = pressed(base, both, adapters, kept, push=2.0)
    assert rows == [1, REFERENCE] * 2
    np.testing.assert_array_equal(looked.tuned["tuned"].held, alone.tuned["tuned"].held)


def test_when_what_was_found_is_gone_maps_are_still_made(base):
    adapter, kept = marked(base), Kept()
    _, first = pressed(base, HAT, adapter, kept, maps=[])
    [kept.pop(key) for key in list(kept) if key[0] == "found"]
    rows, second = pressed(base, HAT, adapter, kept)
    assert rows == DIFFER + [1, REFERENCE] * 2
    np.testing.assert_array_equal(second.tuned["tuned"].held, first.tuned["tuned"].held)


def test_no_more_bytes_are_kept_than_allowed():
    kept = Kept(4 * LEAST)
    kept["a"], kept["b"] = np.zeros(LEAST, np.uint8), [torch.zeros(LEAST // 4)]
    assert kept.currsize == 4 * LEAST and kept.get("a") is not None
    kept["c"] = "a line"
    assert list(kept) == ["a", "c"], "b was not asked for the longest"
    kept["d"] = {"too": (np.zeros(4 * LEAST, np.uint8),)}
    assert "d" not in kept and "a" in kept


def test_an_exchanged_file_has_another_mark(base, tmp_path):
    one, two = random_adapters(base, 2, base_model=base.name)
    file = tmp_path / "hat.safetensors"
    save_adapter(one, file)
    first = load_adapter(file, base).mark
    assert first and load_adapter(file, base).mark == first
    save_adapter(two, file)
    assert load_adapter(file, base).mark != first


def test_a_quarter_of_a_gigabyte_is_kept_and_only_arrays_weigh():
    assert Kept().maxsize == 256 * 2**20
    arrays = {"one": np.zeros((2, 3), np.float32), "two": [torch.zeros(4), (torch.zeros(1),)]}
    assert size(arrays) == 24 + 16 + 4
    assert size({"text": "a hat", "step": 3, "none": None}) == 0
