"""Counted memory is that of the real step: the same count over tensors with and without bytes, and
against what the tensors themselves say.
"""

import pytest
import torch
from real_world import new_cut_base
from torch._subclasses.fake_tensor import FakeTensorMode

from spf import memory as m
from spf.methods import build

SETTINGS = {"batch": 2, "enhanced": 0.0, "trainable": "cross-attention"}


def parts(base, checkpointing=False, eight_bit=False, settings=SETTINGS):
    method = build("spf", m.worst("spf", settings))
    how = {"checkpointing": checkpointing, "eight_bit": eight_bit, "half": False}
    return m.training(base, method, **how)


@pytest.fixture(scope="module")
def measured():
    return {less: parts(new_cut_base(), checkpointing=less) for less in (False, True)}


def test_tensors_live_as_long_as_somebody_holds_them():
    with m.Living() as living:
        one = torch.zeros(1000)
        view = one[:10]
        two = torch.ones(500)
        assert living.now == 6000
        del two, one
        assert living.now == 4000  # the view holds it
        del view
    assert (living.now, living.peak) == (0, 6000)


def test_without_bytes_the_count_is_that_of_the_real_step(measured):
    with FakeTensorMode(allow_non_fake_inputs=True):
        imagined = parts(new_cut_base())
    step = imagined.pop("step")
    real = dict(measured[False])
    assert real.pop("step") == pytest.approx(step, rel=0.05)
    assert real == imagined


def test_parts_are_what_their_tensors_take(measured):
    base, found = new_cut_base(), measured[False]
    trained = sum(v.numel() for n, v in base.unet.named_parameters() if ".attn2." in n)
    assert found["masters"] == found["gradients"] == found["average"] == 4 * trained
    assert found["optimiser"] == 8 * trained
    networks = (base.unet, base.vae, base.text_encoder)
    values = [v for n in networks for v in [*n.parameters(), *n.buffers()]]
    assert found["weights"] == sum(v.numel() * v.element_size() for v in values)


def test_checkpointing_and_smaller_batches_take_less(measured):
    whole, less = measured[False]["step"], measured[True]["step"]
    assert less < 0.8 * whole
    assert parts(new_cut_base(), settings=SETTINGS | {"batch": 1})["step"] < 0.8 * whole
    eight = parts(new_cut_base(), eight_bit=True)
    assert eight["optimiser"] * 4 == measured[False]["optimiser"]


@pytest.mark.slow
def test_the_card_people_have_holds_spf_at_sd15():
    """Goals in GB, at 512 pixels in bf16 with checkpointing."""
    for batch, most in ((1, 8.0), (4, 12.0)):
        found = m.counted("spf", {"batch": batch}, checkpointing=True)
        assert sum(found.values()) / 1e9 < most
    assert sum(m.counted_drawing("held").values()) / 1e9 < 5.0
