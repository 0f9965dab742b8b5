"""Several processes under `accelerate launch` train as one that averages their batches."""

import os
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from spf.training import fit

SCRIPT = """
import sys
import torch
from torch import nn
from safetensors.torch import save_file
sys.path.insert(0, {here!r})
from test_machines import STEPS, error, new_module
from spf.training import fit, make_accelerator

accelerator, module = make_accelerator(device="cpu"), new_module()
assert accelerator.num_processes == 2
fit(module, lambda step, rng: error(module, [rng]), steps=STEPS, lr=0.1, accelerator=accelerator)
save_file(module.state_dict(), f"{{sys.argv[1]}}/{{accelerator.process_index}}.safetensors")
"""
STEPS = 3


def new_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


def error(module, rngs):
    x = torch.from_numpy(
        np.concatenate([r.standard_normal((8, 4), dtype=np.float32) for r in rngs])
    )
    value = (module(x)[:, 0] - x.sum(1)).square().mean()
    return value, {"error": value}


def test_two_processes_are_one_with_both_batches(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT.format(here=os.path.dirname(__file__)))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launch += [
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
        str(tmp_path / "run.py"),
        str(tmp_path),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(launch, capture_output=True, text=True, env=environment, timeout=280)
    assert ran.returncode == 0, ran.stderr[-2000:]

    one = new_module()

    def both(step, rng):
        return error(one, [np.random.default_rng([0, step, process]) for process in (0, 1)])

    fit(one, both, steps=STEPS, lr=0.1)
    found = [load_file(tmp_path / f"{process}.safetensors") for process in (0, 1)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    torch.testing.assert_close(dict(one.state_dict()), found[0])
