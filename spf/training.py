"""The one training loop: AdamW, warm-up and cosine, an average of the weights, and checkpoints
that resume exactly.

    result = fit(module, loss, steps=1000, lr=1e-3, out="runs/unet", save=lambda: export(module))

`loss(step, rng)` is a pure function of the weights, the step number and `rng`, a NumPy generator
seeded with (seed, step, process); all randomness of a step comes from it, so a resumed run needs
one integer to continue as the same run. Every loop of the project goes through `fit`, and `fit`
goes through accelerate: several GPUs or machines are a matter of `accelerate launch`.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from accelerate.state import AcceleratorState
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from spf.errors import BadInput, Cancelled, NotFinite
from spf.files import FULL, load_tensors, read_json, save_tensors, write_json
from spf.relied import require

log = logging.getLogger(__name__)
Terms = dict[str, float]
HALVES = {torch.bfloat16: "bf16", torch.float16: "fp16"}
MEMORY = ("step", "exp_avg", "exp_avg_sq", "state1", "state2")
MEMORY += ("qmap1", "qmap2", "absmax1", "absmax2")
"""What optimisers remember of a parameter: torch's AdamW the first three, bitsandbytes'
the rest.
"""


@dataclasses.dataclass
class Fitted:
    """What a run came to: steps done in all, seconds of training in all, the last smoothed loss
    terms.
    """

    step: int
    seconds: float
    terms: Terms


def make_accelerator(
    tiles: bool = False, device: str = "", dtype: torch.dtype = torch.float32
) -> accelerate.Accelerator:
    """Each process on a device of its own, the best one or `device`; autocast to bf16 on CUDA and
    to the weights' own `dtype` where that is half precision, plain fp32 elsewhere. Parameters a
    step does not use are allowed.

    tiles  bf16 also on a processor that multiplies bf16 matrices in hardware (AMX): 1.6 times
    the images a second for the embedded denoiser, but other digits than on other processors

    Raises BadInput for fp16 weights on a processor, which has no scaling of their gradients.
    """
    unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)
    cuda = torch.cuda.is_available() and device != "cpu"
    half = cuda or (tiles and torch.cpu.get_capabilities().get("amx_bf16", False))
    precision = HALVES.get(dtype) or ("bf16" if half else "no")
    if precision == "fp16" and not cuda:
        raise BadInput("dtype is fp16 but must be bf16 or fp32 for training without CUDA.")
    if cuda and ":" in device:
        torch.cuda.set_device(device)
    require("accelerator")
    shared = AcceleratorState._shared_state
    if shared.get("_mixed_precision", precision) != precision:
        # one for the whole process, or a second run could not choose its precision
        AcceleratorState._reset_state()
    cpu = not cuda and (device == "cpu" or not torch.backends.mps.is_available())
    return accelerate.Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=[unused])


def adam(
    groups: Sequence[dict[str, Any]],
    lr: float,
    betas: tuple[float, float],
    decay: float,
    eight_bit: bool,
) -> torch.optim.Optimizer:
    """AdamW with its memory in 32 bits, or in 8 (Dettmers et al. 2022, arXiv 2110.02861) by
    bitsandbytes. Raises BadInput where that cannot be had.
    """
    how = {"lr": lr, "betas": betas, "weight_decay": decay}
    if not eight_bit:
        return torch.optim.AdamW(groups, fused=True, **how)
    device = groups[0]["params"][0].device.type
    if device != "cuda":
        raise BadInput(f"eight_bit is on but must be off on {device}: it needs CUDA.")
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise BadInput("eight_bit is on but bitsandbytes, which it needs, is missing.") from error
    return AdamW8bit(groups, **how)


def fit(
    module: nn.Module,
    loss: Callable[[int, np.random.Generator], tuple[Tensor, dict]],
    *,
    steps: int | None = None,
    minutes: float | None = None,
    lr: float,
    out: str | os.PathLike | None = None,
    groups: Iterable[tuple[list[nn.Parameter], float]] | None = None,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.01,
    warmup: float = 0.03,
    fall: float = 1.0,
    clip: float = 1.0,
    average: float | None = None,
    seed: int = 0,
    resume: bool = True,
    save: Callable[[], None] | None = None,
    save_every: float = 180.0,
    state_every: float | None = None,
    state_steps: int = 0,
    full: Callable[[int, BaseException | None], None] | None = None,
    keep_each: int = 0,
    callback: Callable[[int, Terms, float], None] | None = None,
    after_step: Callable[[int], dict] | None = None,
    memory: dict[str, Tensor] | None = None,
    accumulate: int = 1,
    eight_bit: bool = False,
    optimizer_of: Callable[..., torch.optim.Optimizer] | None = None,
    accelerator: accelerate.Accelerator | None = None,
    name: str = "training",
) -> Fitted:
    """Train the parameters of `module` that require gradients until `steps` are done or
    `minutes` are used up.

    loss      (step, rng) -> (scalar loss, terms to report); it may close over any part of
              `module`
    lr        the peak; the rate rises over the share `warmup` of the run and falls along a
              cosine to 0 over the last share `fall` of it (0: it stays, for a run that is to be
              continued)
    groups    (parameters, factor on lr); default: all trainable parameters with factor 1
    average   decay of the exponential moving average of the weights, None for none
    out       folder of the resumable state; None keeps nothing. `resume` continues what is there
    save      called with the averaged weights in place every `save_every` seconds of training,
              after each `keep_each` steps (0: never) and at the end
    state_every  seconds of wall time that a kill may cost: the state is kept that often, or as
              often as takes a tenth of the time, beside what `save` does; None keeps it with
              `save` only. state_steps: the same in steps, whatever they take (0: no bound)
    full      (bytes needed, error) called before each state is written, and again when the disk
              was full; returns when there is room, or raises
    accumulate  batches whose gradients make one step
    eight_bit  see `adam`
    optimizer_of  (groups, lr, betas, decay) -> an optimiser in place of AdamW
    callback  (step, smoothed terms, seconds left) after each step; may raise `Cancelled`, which
              saves and stops
    after_step  (step, from 0) -> terms to report unsmoothed; called while the gradients of the
              step are still there
    memory    tensors that the state keeps besides the weights; a run that continues finds them
              in it again

    With `minutes`, the rate follows the time used (of all sittings), otherwise the step. At the
    end `module` holds the averaged weights. Raises NotFinite when the loss is not a number,
    BadInput for an unusable saved state.
    """
    if (steps is None) == (minutes is None):
        raise BadInput("Give exactly one of steps and minutes to fit.")
    if (steps if steps is not None else minutes) <= 0:
        raise BadInput(
            f"steps or minutes must be above 0, not {steps if steps is not None else minutes}."
        )
    accelerator = accelerator or make_accelerator()
    groups = list(groups or [([p for p in module.parameters() if p.requires_grad], 1.0)])
    module.to(accelerator.device)
    rated = [{"params": params, "lr": lr, "factor": factor} for params, factor in groups]
    make = optimizer_of or functools.partial(adam, eight_bit=eight_bit)
    optimizer = make(rated, lr=lr, betas=betas, decay=weight_decay)
    objective, optimizer = accelerator.prepare(_Objective(module, loss), optimizer)
    run = _Run(module, optimizer, average, Path(out) if out is not None else None, seed, memory)
    if resume:
        run.load()

    def write(work: Callable[[], None]) -> None:
        while True:
            try:
                if full:
                    full(run.bytes(), None)
                return work()
            except OSError as error:
                if full is None or error.errno not in FULL:
                    raise
                full(run.bytes(), error)

    def export() -> None:
        with run.averaged():
            save()

    def keep(exported: bool = True) -> None:
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write(run.store)
            if save and exported:
                write(export)

    saved, kept, terms = run.seconds, None, {}
    stored, cost, behind = time.monotonic(), 0.0, 0
    with _progress(name, accelerator.is_main_process) as show:
        while (done := run.seconds / (60 * minutes) if minutes else run.step / steps) < 1:
            began = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = lr * group["factor"] * _schedule(done, warmup, fall)

            found, broken = _gradients(objective, accelerator, run.step, seed, accumulate)
            if not broken:
                broken = _clipped([p for params, _ in groups for p in params], clip, accelerator)
            if broken:
                optimizer.zero_grad()
                if out is not None and run.step and kept != run.step:
                    keep(exported=False)  # the weights are still those of the last good step
                told = f"the state of step {run.step} is kept" if out is not None else "it stops"
                what, number = broken
                raise NotFinite(f"The {what} of {name} is {number} at step {run.step + 1}; {told}.")
            optimizer.step()
            exact = after_step(run.step) if after_step else {}
            optimizer.zero_grad()
            run.advance(_shared_time(time.monotonic() - began, accelerator))

            terms = _smooth(terms, found) | _smooth({}, exact)
            eta = (
                run.seconds * (1 / max(done, 1e-9) - 1)
                if minutes
                else run.seconds / run.step * (steps - run.step)
            )
            show(run.step, min(done, 1.0), eta, terms)
            try:
                if callback:
                    callback(run.step, terms, eta)
            except Cancelled:
                keep()
                raise

            due, behind = keep_each and run.step % keep_each == 0, behind + 1
            if due or (out is not None and run.seconds - saved > save_every):
                keep()
                saved, kept, stored, behind = run.seconds, run.step, time.monotonic(), 0
            elif out is not None and state_every is not None:
                now, last = time.monotonic(), time.monotonic() - began
                late = now - stored + last + cost >= max(state_every, 10 * cost)
                if late or (state_steps and behind >= state_steps):
                    keep(exported=False)
                    stored, behind = time.monotonic(), 0
                    cost, kept = stored - now, None if save else run.step
    if kept != run.step:
        keep()
    run.adopt_average()
    return Fitted(run.step, run.seconds, terms)


def _gradients(
    objective: nn.Module, accelerator: accelerate.Accelerator, step: int, seed: int, batches: int
) -> tuple[Terms, tuple[str, float] | None]:
    """Adds up the gradients of a step: (its loss and terms, None), or what is not finite of it."""
    value, parts = 0.0, {}
    for part in range(batches):
        place = [seed, step, accelerator.process_index, *([part] if part else [])]
        alone = part < batches - 1
        with accelerator.no_sync(objective) if alone else contextlib.nullcontext():
            one, shares = objective(step, np.random.default_rng(place))
            if not math.isfinite(one.item()):
                return {}, ("loss", one.item())
            accelerator.backward(one / batches)
        value += one.detach() / batches
        parts = {k: parts.get(k, 0.0) + _plain(v) / batches for k, v in shares.items()}
    return {"loss": value, **parts}, None


def _clipped(
    parameters: Sequence[nn.Parameter], most: float, accelerator: accelerate.Accelerator
) -> tuple[str, float] | None:
    """Clips the norm of the gradients; what of them is not finite, if it is not fp16's alone."""
    norm = accelerator.clip_grad_norm_(parameters, most)
    lost = norm is not None and not math.isfinite(float(norm))
    return ("gradient", float(norm)) if lost and not _rescaled(accelerator) else None


def _rescaled(accelerator: accelerate.Accelerator) -> bool:
    """Whether a gradient that is not finite is fp16's alone: its scale is halved and the step left
    out, until nothing is left of the scale.
    """
    return accelerator.scaler is not None and accelerator.scaler.get_scale() > 1


class _Objective(nn.Module):
    """The loss as the forward pass of a module, so that accelerate can wrap it (autocast,
    gradient averaging).
    """

    def __init__(self, module: nn.Module, loss: Callable):
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, step: int, rng: np.random.Generator):
        return self.loss(step, rng)


def _schedule(done: float, warmup: float, fall: float = 1.0) -> float:
    """Linear warm-up, then half a cosine to zero over the last share `fall` of the run.

    `done` is the share of the run that is over.
    """
    if done < warmup:
        return max(done / warmup, 0.01)
    begin = max(warmup, 1 - fall)
    return 0.5 * (1 + math.cos(math.pi * (done - begin) / (1 - begin))) if done > begin else 1.0


def _smooth(old: Terms, new: dict, keep: float = 0.98) -> Terms:
    values = {key: _plain(value) for key, value in new.items()}
    return old | {
        key: keep * old[key] + (1 - keep) * value if key in old else value
        for key, value in values.items()
    }


def _plain(value: Tensor | float) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _shared_time(seconds: float, accelerator: accelerate.Accelerator) -> float:
    """All processes must agree when time is up, or one waits for the others for ever."""
    if accelerator.num_processes == 1:
        return seconds
    return accelerator.reduce(torch.tensor(seconds, device=accelerator.device), "mean").item()


@contextlib.contextmanager
def holding(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the block the tensors of these names hold `values`; their own come back on exit."""
    own = {name: tensors[name].detach().clone() for name in values}
    _copy(tensors, values)
    try:
        yield
    finally:
        _copy(tensors, own)


@torch.no_grad()
def _copy(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        tensors[name].copy_(value)


class _Run:
    """Weights, average, optimiser and step of a run, and their files: state-<step>.safetensors,
    then state.json.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer,
        average: float | None,
        folder: Path | None,
        seed: int,
        memory: dict[str, Tensor] | None = None,
    ):
        self.module, self.optimizer, self.decay, self.folder, self.seed = (
            module,
            optimizer,
            average,
            folder,
            seed,
        )
        self.memory = {} if memory is None else memory
        self.step, self.seconds = 0, 0.0
        trainable = {
            name for name, parameter in module.named_parameters() if parameter.requires_grad
        }
        self.frozen = {name for name, _ in module.named_parameters()} - trainable
        self.tensors = {
            k: v for k, v in module.state_dict(keep_vars=True).items() if k not in self.frozen
        }
        self.mean = None
        if average is not None:
            require("average")
            self.mean = {
                k: v.detach().clone() for k, v in self.tensors.items() if v.is_floating_point()
            }

    def advance(self, seconds: float) -> None:
        self.step, self.seconds = self.step + 1, self.seconds + seconds
        if self.mean is None:
            return
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            current = [self.tensors[name].detach() for name in self.mean]
            torch._foreach_lerp_(list(self.mean.values()), current, 1 - decay)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """The averaged weights are in the module; the trained ones come back on exit."""
        return holding(self.tensors, self.mean or {})

    def adopt_average(self) -> None:
        _copy(self.tensors, self.mean or {})

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        """Everything the optimiser remembers, by parameter name."""
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        names = {id(p): name for name, p in self.module.named_parameters()}
        return {
            f"adam.{key}.{names[id(p)]}": torch.as_tensor(value)
            for p, memory in inner.state.items()
            for key, value in memory.items()
            if key in MEMORY
        }

    def bytes(self) -> int:
        """What a state takes on disk, about."""
        held = [*self.tensors.values(), *(self.mean or {}).values(), *self.memory.values()]
        adam = 2 * sum(value.nbytes for value in self.tensors.values() if value.requires_grad)
        return adam + sum(value.nbytes for value in held)

    def store(self) -> None:
        """Write the tensors under a new name, then the small file that names them, then remove
        older tensors.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"module.{k}": v.detach() for k, v in self.tensors.items()
        } | self._optimizer_tensors()
        tensors |= {f"mean.{k}": v for k, v in (self.mean or {}).items()}
        tensors |= {f"memory.{k}": v for k, v in self.memory.items()}
        path = self.folder / f"state-{self.step:08d}.safetensors"
        host = {name: value.to("cpu", copy=True) for name, value in tensors.items()}
        save_tensors(path, host, {"step": str(self.step)})
        state = {"step": self.step, "seconds": self.seconds, "seed": self.seed, "file": path.name}
        write_json(self.folder / "state.json", state | {"bytes": path.stat().st_size})
        for old in self.folder.glob("state-*.safetensors"):
            if old != path:
                old.unlink()

    def load(self) -> None:
        """Continue from the folder's state, if it has one. Raises BadInput when the state does
        not fit this run.
        """
        if self.folder is None or not (self.folder / "state.json").exists():
            return
        state = read_json(self.folder / "state.json")
        path = self.folder / state["file"]
        if not path.exists() or path.stat().st_size != state["bytes"]:
            raise BadInput(f"The saved state {path} is incomplete; start again with --fresh.")
        if state["seed"] != self.seed:
            raise BadInput(
                f"The saved state in {self.folder} was made with seed {state['seed']}, "
                f"not {self.seed}."
            )
        tensors = load_tensors(path)
        shapes = {key: value.shape for key, value in tensors.items() if key.startswith("module.")}
        own = {f"module.{key}": value.shape for key, value in self.module.state_dict().items()}
        frozen = {f"module.{key}" for key in self.frozen}
        if {k: v for k, v in shapes.items() if k not in frozen} != {
            k: v for k, v in own.items() if k not in frozen
        }:
            raise BadInput(
                f"The saved state {path} belongs to a network of other sizes; "
                "start again with --fresh."
            )
        _copy(self.tensors, {k: tensors[f"module.{k}"] for k in self.tensors})
        for name in self.mean or {}:
            self.mean[name].copy_(tensors.get(f"mean.{name}", tensors[f"module.{name}"]))
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        for name, parameter in self.module.named_parameters():
            memory = {
                key: tensors[f"adam.{key}.{name}"].to(parameter.device)
                for key in MEMORY
                if f"adam.{key}.{name}" in tensors
            }
            if memory:
                counts_on_host = "state1" in memory  # bitsandbytes counts in whole numbers
                steps = {"step": int(memory["step"])} if counts_on_host else {}
                inner.state[parameter] = memory | steps
        self.memory |= {
            k.removeprefix("memory."): v for k, v in tensors.items() if k.startswith("memory.")
        }
        self.step, self.seconds = state["step"], state["seconds"]
        log.info("continuing at step %d (%.0f s of training behind it)", self.step, self.seconds)


@contextlib.contextmanager
def _progress(name: str, main: bool) -> Iterator[Callable]:
    """A bar on a terminal; in a log file one plain line every half minute. Both on stderr."""
    if not main:
        yield lambda *_: None
        return
    text = TextColumn("{task.description}"), TextColumn("{task.fields[terms]}")
    columns = text[0], BarColumn(), text[1], TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=1.0, terms="")
        mark = {"time": time.monotonic(), "step": None}

        def show(step: int, done: float, eta: float, terms: Terms) -> None:
            text = " ".join(f"{key} {value:.4g}" for key, value in terms.items())
            bar.update(task, completed=done, terms=f"step {step} {text}")
            now = time.monotonic()
            mark["step"] = step if mark["step"] is None else mark["step"]
            if now - mark["time"] > 30:
                rate = (step - mark["step"]) / (now - mark["time"])
                log.info("%s step %d %.2f/s %.0f s left: %s", name, step, rate, eta, text)
                mark.update(time=now, step=step)

        yield show
