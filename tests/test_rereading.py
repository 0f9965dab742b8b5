"""A finished portrait read once more: what is read, and that nothing else is touched."""

import numpy as np
import pytest
import torch

from spf.errors import BadInput
from spf.rereading import FINEST, LEVELS, PLACES, reread
from spf.sampling import initial_latents, sample_pair

TEXT = "a photo of a young woman, a hat"


@pytest.fixture(scope="module")
def drawn(shared_base):
    noise = initial_latents(shared_base, [3])
    return noise, 0.5 * noise.flip(-1)


def test_every_place_looks_at_the_whole_picture_once(shared_base, drawn):
    noise, latents = drawn
    found = reread(shared_base, latents, noise, TEXT, 8)
    assert len(found.steps) == LEVELS and found.word is None
    assert np.allclose(found.looks.sum((-2, -1)), 1, atol=1e-4)
    *_, p, q, h, w = found.looks.shape
    assert max(p, q) <= PLACES and max(h, w) <= FINEST
    assert found.looks.nbytes <= 4 * LEVELS * PLACES**2 * FINEST**2


def test_a_word_beside_the_text_has_a_map_of_its_own(shared_base, drawn):
    noise, latents = drawn
    found = reread(shared_base, latents, noise, TEXT, 8, "glasses")
    assert found.looks is None and found.word.shape[0] == LEVELS
    assert 0 < found.word.min() and found.word.max() < 1
    assert not np.array_equal(
        found.word, reread(shared_base, latents, noise, TEXT, 8, "beard").word
    )


@pytest.mark.parametrize("word", ["<|endoftext|>", "a hat " * 90])
def test_a_word_that_cannot_be_read_gets_a_sentence(shared_base, drawn, word):
    noise, latents = drawn
    with pytest.raises(BadInput):
        reread(shared_base, latents, noise, TEXT, 8, word)


def test_a_short_drawing_is_read_at_the_steps_that_it_has(shared_base, drawn):
    noise, latents = drawn
    assert reread(shared_base, latents, noise, TEXT, 2).steps == (0, 1)


def test_looking_changes_no_pixel_and_leaves_nothing_behind(shared_base, drawn):
    from spf.prompts import compose

    def draw():
        return sample_pair(
            shared_base, compose("a photo of a man", "a hat"), seeds=[1], steps=2
        ).tuned

    def hooks():
        return sum(
            len(one._forward_hooks) + len(one._forward_pre_hooks)
            for one in shared_base.unet.modules()
        )

    noise, latents = drawn
    before, there = draw(), hooks()
    reread(shared_base, latents, noise, TEXT, 4)
    reread(shared_base, latents, noise, TEXT, 4, "glasses")
    after = draw()
    assert hooks() == there
    for name in before:
        assert np.array_equal(before[name].images, after[name].images)
        assert torch.equal(
            torch.from_numpy(before[name].latents), torch.from_numpy(after[name].latents)
        )
