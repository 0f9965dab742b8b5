"""The training loop: same result in one sitting or two, damaged or foreign states refused, NaN
stops.
"""

import errno
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from spf import training
from spf.errors import BadInput, Cancelled, NotFinite
from spf.training import fit, make_accelerator


def new_module(width: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def loss_of(module: nn.Module):
    def loss(step: int, rng: np.random.Generator):
        x = torch.from_numpy(rng.standard_normal((8, 4), dtype=np.float32))
        error = (module(x)[:, 0] - x.sum(1)).square().mean()
        return error, {"error": error}

    return loss


def values(module: nn.Module) -> torch.Tensor:
    return torch.cat([v.flatten().float() for v in module.state_dict().values()])


def stop_at(step: int):
    def callback(now: int, terms: dict, eta: float) -> None:
        if now == step:
            raise Cancelled("enough")

    return callback


@pytest.mark.parametrize("average", [None, 0.9])
def test_two_sittings_equal_one(tmp_path, average):
    straight, paused = new_module(), new_module()
    fit(straight, loss_of(straight), steps=12, lr=0.1, average=average)
    with pytest.raises(Cancelled):
        fit(
            paused,
            loss_of(paused),
            steps=12,
            lr=0.1,
            average=average,
            out=tmp_path,
            callback=stop_at(5),
        )
    again = new_module(3)
    result = fit(again, loss_of(again), steps=12, lr=0.1, average=average, out=tmp_path)
    assert result.step == 12
    assert torch.equal(values(straight), values(again))


def test_learns_and_keeps_one_state(tmp_path):
    module = new_module(16)
    result = fit(module, loss_of(module), steps=150, lr=0.05, out=tmp_path)
    assert result.terms["error"] < 1.5
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "state-00000150.safetensors",
        "state.json",
    ]


def test_fresh_ignores_the_saved_state(tmp_path):
    module = new_module()
    fit(module, loss_of(module), steps=3, lr=0.1, out=tmp_path)
    assert fit(module, loss_of(module), steps=2, lr=0.1, out=tmp_path, resume=False).step == 2


def test_nan_stops_and_keeps_the_last_state(tmp_path):
    module = new_module()
    fit(module, loss_of(module), steps=2, lr=0.1, out=tmp_path)
    with pytest.raises(NotFinite, match="at step 3; the state of step 2 is kept"):
        fit(
            module,
            lambda *_: (module(torch.zeros(2, 4)).sum() * float("nan"), {}),
            steps=4,
            lr=0.1,
            out=tmp_path,
        )
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 2


def test_groups_scale_the_rate_and_leave_others_alone():
    module = new_module()
    before = module[0].weight.clone()
    fit(module, loss_of(module), steps=3, lr=0.1, groups=[([module[2].weight], 2.0)])
    assert torch.equal(before, module[0].weight)


def test_save_sees_the_average_and_training_goes_on_without_it():
    module, seen = new_module(), []
    fit(
        module,
        loss_of(module),
        steps=6,
        lr=0.1,
        average=0.9,
        save=lambda: seen.append(values(module)),
    )
    assert torch.equal(seen[-1], values(module))


def test_damaged_state_is_refused(tmp_path):
    module = new_module()
    fit(module, loss_of(module), steps=2, lr=0.1, out=tmp_path)
    file = tmp_path / "state-00000002.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BadInput, match="incomplete"):
        fit(module, loss_of(module), steps=4, lr=0.1, out=tmp_path)


def test_a_part_may_be_frozen_later(tmp_path):
    module = new_module()
    fit(module, loss_of(module), steps=2, lr=0.1, out=tmp_path)
    later = new_module()
    later[0].requires_grad_(False)
    before = later[0].weight.clone()
    assert fit(later, loss_of(later), steps=4, lr=0.1, out=tmp_path).step == 4
    assert torch.equal(later[0].weight, before) and not torch.equal(module[0].weight, before)


@pytest.mark.parametrize(
    "change, sentence", [({"width": 5}, "other sizes"), ({"seed": 1}, "seed 0")]
)
def test_foreign_state_is_refused(tmp_path, change, sentence):
    module = new_module()
    fit(module, loss_of(module), steps=2, lr=0.1, out=tmp_path)
    other = new_module(change.get("width", 3))
    with pytest.raises(BadInput, match=sentence):
        fit(other, loss_of(other), steps=4, lr=0.1, out=tmp_path, seed=change.get("seed", 0))


@pytest.mark.parametrize(
    "length", [{}, {"steps": 1, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}]
)
def test_length_is_checked(length):
    module = new_module()
    with pytest.raises(BadInput, match="steps"):
        fit(module, loss_of(module), lr=0.1, **length)


def test_minutes_end_a_run():
    module = new_module()
    assert fit(module, loss_of(module), minutes=0.005, lr=0.1).seconds >= 0.3


def test_gradients_of_several_batches_make_one_step():
    """Two batches of one step are one of twice the size; the first has the step's own numbers."""
    one, two = nn.Linear(4, 1), nn.Linear(4, 1)
    two.load_state_dict(one.state_dict())
    drawn = []

    def error(module, x):
        value = (module(x)[:, 0] - x.sum(1)).square().mean()
        return value, {"error": value}

    def half(step, rng):
        drawn.append(torch.from_numpy(rng.standard_normal((8, 4), dtype=np.float32)))
        return error(two, drawn[-1])

    found = fit(two, half, steps=3, lr=0.1, accumulate=2)
    batches = [torch.cat(drawn[i : i + 2]) for i in (0, 2, 4)]
    expected = fit(one, lambda step, rng: error(one, batches[step]), steps=3, lr=0.1)
    torch.testing.assert_close(one.state_dict(), two.state_dict())
    assert found.terms == pytest.approx(expected.terms)
    own = np.random.default_rng([0, 0, 0]).standard_normal((8, 4), dtype=np.float32)
    assert torch.equal(drawn[0], torch.from_numpy(own)) and not torch.equal(drawn[0], drawn[1])


def test_eight_bits_need_cuda():
    module = new_module()
    with pytest.raises(BadInput, match="eight_bit is on but must be off on cpu"):
        fit(module, loss_of(module), steps=1, lr=0.1, eight_bit=True)


def test_half_precision_on_a_processor_is_bf16():
    with pytest.raises(BadInput, match="dtype is fp16 but must be bf16 or fp32"):
        make_accelerator(device="cpu", dtype=torch.float16)
    assert make_accelerator(device="cpu", dtype=torch.bfloat16).mixed_precision == "bf16"
    assert make_accelerator(device="cpu").mixed_precision == "no"


def test_a_broken_gradient_stops_before_the_weights_take_it(tmp_path):
    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan")

    module = new_module()
    whole = loss_of(module)

    def loss(step, rng):
        value, terms = whole(step, rng)
        return (Breaks.apply(value) if step == 3 else value), terms

    with pytest.raises(NotFinite, match="gradient .* at step 4; the state of step 3 is kept"):
        fit(module, loss, steps=6, lr=0.1, out=tmp_path)
    assert torch.isfinite(values(module)).all()
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 3


@pytest.mark.parametrize("bound", [{"state_every": 3.0}, {"state_every": 1e9, "state_steps": 3}])
def test_what_a_kill_costs_is_bounded_by_time_and_by_steps(tmp_path, monkeypatch, bound):
    """Each step takes a second; the process dies within step 8, as a kill would end it."""

    class Killed(BaseException):
        pass

    now = [0.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def second(step, terms, eta):
        now[0] += 1.0

    def dies(step, terms, eta):
        second(step, terms, eta)
        if step == 8:
            raise Killed

    straight, killed = new_module(), new_module()
    fit(straight, loss_of(straight), steps=9, lr=0.1, callback=second)
    saved = []
    with pytest.raises(Killed):
        fit(
            killed,
            loss_of(killed),
            steps=9,
            lr=0.1,
            out=tmp_path,
            save=lambda: saved.append(1),
            callback=dies,
            **bound,
        )
    assert 8 - json.loads((tmp_path / "state.json").read_text())["step"] <= 3 and not saved

    again = new_module()
    assert fit(again, loss_of(again), steps=9, lr=0.1, out=tmp_path, callback=second).step == 9
    assert torch.equal(values(straight), values(again))


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    module, asked = new_module(), []
    whole = training.save_tensors

    def full_once(*args):
        if len(asked) < 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(*args)

    monkeypatch.setattr(training, "save_tensors", full_once)
    fit(
        module,
        loss_of(module),
        steps=3,
        lr=0.1,
        out=tmp_path,
        full=lambda needed, error: asked.append((needed, error)),
    )
    assert asked[0][1] is None and asked[0][0] > 0 and asked[1][1].errno == errno.ENOSPC
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 3
