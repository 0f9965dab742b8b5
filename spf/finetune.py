"""Fine-tuning of one target by one method: the data encoded once, the loop, and one adapter file
that explains itself.

base = load_base()
config = FinetuneConfig(method="spf", data="hat", steps=600)
path = finetune(base, config, out="runs/hat", settings={"output": 2.0})
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from torch import Tensor

from spf import __version__
from spf.attention import checkpointed, eager_attention
from spf.errors import BadInput
from spf.exchange import Layout, load_adapter, low_rank, write_for_others
from spf.files import load_tensors, read_json, save_tensors, write_json
from spf.methods import Context, Method, Rows, Terms, build, fingerprint
from spf.models import Base
from spf.own_portraits import OwnPortraits
from spf.paths import TunablePaths, save_adapter
from spf.portraits.description import Target
from spf.settings import FinetuneConfig
from spf.shelf import STOCK, adapter_name
from spf.training import fit, make_accelerator
from spf.training_data import Data, batches, read_data
from spf.userdata import target_of
from spf.weights import note

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors")
STATE = "state"
RUN, CONTROL, OWN = f"{STATE}/run.json", f"{STATE}/control.safetensors", f"{STATE}/own.safetensors"
"""In the folder of a run, beside the adapter: what it is, its control maps, the original model's
own portraits.
"""
STEPS = "steps"
"""In the same folder: the adapters on the way, if they are kept."""
STATE_EVERY, STATE_STEPS = 15.0, 200
"""Seconds and steps of work that a kill may cost."""


def finetune(
    base: Base,
    config: FinetuneConfig,
    out: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    resume: bool = True,
    callback: Callable[[int, Terms, float], None] | None = None,
    accelerator: accelerate.Accelerator | None = None,
    full: Callable[[int, BaseException | None], None] | None = None,
) -> Path:
    """Fine-tunes, writes `out`/<adapter name>.safetensors and returns its path; the base is as
    before afterwards.

    With `keep` those on the way stay too, as steps/<adapter name>-<step>.safetensors, out of which
    `evaluate` makes a curve. Beside it lies the same for other programs, see
    `spf.exchange.write_for_others`.

    settings: of the method, by name. callback: (step, smoothed terms, seconds left) after each
    step; may raise Cancelled, which keeps a state that the next call with `resume` continues. full:
    see `spf.training.fit`. Raises BadInput before anything is computed.
    """
    method, target, out = build(config.method, settings), target_of(config.data), Path(out)
    method.check(base, config.steps)
    start = load_adapter(config.start, base) if config.start else None
    weights = note(base.weights.sketch)  # now, while the denoiser has its own
    claim(out, identity(base, config, method), resume)

    accelerator = accelerator or make_accelerator(dtype=base.dtype)
    if base.device != accelerator.device:
        base.to(accelerator.device)
    data, own = read_data(base, config, method, target), None
    if method.wants_own:
        with accelerator.autocast():
            own = OwnPortraits(base, target, method.config, data.texts, config.seed, out / OWN)
    run = _Tuning(base, config, method, target, data, own, weights, out, callback)
    with (
        method.paths(base.unet, config.steps, config.seed, start) as run.paths,
        eager_attention(base.unet, accelerator.mixed_precision),
        checkpointed(base.unet, base.vae) if config.checkpointing else nullcontext(),
    ):
        done = fit(
            base.unet,
            run.loss,
            steps=config.steps,
            lr=method.config.learning_rate,
            out=out / STATE,
            resume=resume,
            average=method.config.average or None,
            seed=config.seed,
            save=run.save,
            keep_each=config.keep,
            state_every=STATE_EVERY,
            state_steps=STATE_STEPS,
            full=full,
            callback=run.follow,
            after_step=run.after_step,
            memory=run.memory,
            accumulate=config.accumulate,
            eight_bit=config.eight_bit,
            accelerator=accelerator,
            name=f"{config.method} {target.name}",
        )
        if not run.last:  # a finished run was continued: nothing was left to train
            run.last.update(step=done.step)
            run.save()
    return run.path


@dataclass
class _Tuning:
    """What a run has, and what `fit` asks of it. weights: the note on those that it tunes; last:
    the step and the terms that were reached; memory: tensors that its state keeps.

    Made before anything of the base is exchanged for the time of the training.
    """

    base: Base
    config: FinetuneConfig
    method: Method
    target: Target
    data: Data
    own: OwnPortraits | None
    weights: Mapping[str, str]
    out: Path
    callback: Callable[[int, Terms, float], None] | None
    last: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)
    paths: TunablePaths = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.base)
        self.empty, self.alone = self.base.encode_text(["", self.target.text]).split(1)

    @property
    def path(self) -> Path:
        """Where the adapter goes."""
        return self.out / f"{adapter_name(self.target.name, self.config.method)}.safetensors"

    def context(self, step: int, rng: np.random.Generator) -> Context:
        where = self.base, self.paths, step, self.config.steps, rng
        own = self.own.rows if self.own else None
        return Context(*where, self.empty, own, self.alone, self.memory)

    def loss(self, step: int, rng: np.random.Generator) -> tuple[Tensor, Terms]:
        rows, batch = self.data.rows, self.method.config.batch
        picks = rng.choice(len(rows), batch, replace=len(rows) < batch)
        ctx = self.context(step, rng)
        if self.method.wants_control(step, self.config.steps) and rows.control is None:
            sets = [rows, self.own.all] if self.own else [rows]
            add_control(self.method, sets, ctx, self.config.seed, self.out / CONTROL)
        return self.method.loss(rows.take(picks), ctx)

    def after_step(self, step: int) -> Terms:
        rng = np.random.default_rng([self.config.seed, step])
        return self.method.after_step(self.context(step, rng))

    def follow(self, step: int, terms: Terms, eta: float) -> None:
        self.last.update(terms, step=step)
        if self.callback:
            self.callback(step, terms, eta)

    def save(self) -> None:
        about = describe(
            self.base, self.config, self.method, self.target, self.last, self.data.common
        )
        made = self.paths.adapter(about | self.weights)
        made = low_rank(made, self.config.rank) if self.config.rank else made
        save_adapter(made, self.path)
        step, keep = int(self.last.get("step", 0)), self.config.keep
        if keep and step and step % keep == 0:
            save_adapter(made, self.out / STEPS / f"{self.path.stem}-{step}.safetensors")
        write_for_others(made, self.layout, self.path.with_suffix(STOCK))


def identity(base: Base, config: FinetuneConfig, method: Method) -> dict[str, Any]:
    """What makes a run this one and no other: its settings, the method's, and the weights."""
    run = config.to_dict() | {"settings": method.config.to_dict(), "base": fingerprint(base.unet)}
    for one in ("keep", "checkpointing"):
        run.pop(one)  # which changes nothing in what is trained
    return run


def claim(out: Path, run: dict[str, Any], resume: bool) -> None:
    """Notes in `out` which run it holds. Raises BadInput when another one would be continued
    there.
    """
    known = read_json(out / RUN) if (out / RUN).is_file() else run
    differ = [name for name in run if known.get(name) != run[name]]
    state = out / STATE / "state.json"
    if resume and differ and state.is_file():
        raise BadInput(
            f"{out} holds a run with other {', '.join(differ)}; give another folder, or --fresh to "
            "start again."
        )
    if differ or not resume:
        # or the new run, killed before its first save, would continue the old one
        state.unlink(missing_ok=True)
        (out / CONTROL).unlink(missing_ok=True)
    write_json(out / RUN, run)


def describe(
    base: Base,
    config: FinetuneConfig,
    method: Method,
    target: Target,
    last: Mapping[str, float],
    common: Mapping[str, str],
) -> dict[str, str]:
    """Metadata of an adapter: how it was made, all as strings, JSON where structured; of folders
    and files the names alone, since an adapter goes to others. common: what the pictures of its
    set have in common, see `spf.traits.reading`.
    """
    made = config.to_dict()
    made |= {name: Path(made[name]).name for name in ("data", "start")}
    return {
        "method": config.method,
        "base_model": base.name,
        "target": target.text,
        "steps": str(int(last.get("step", 0))),
        "losses": json.dumps(
            {name: float(f"{value:.4g}") for name, value in last.items() if name != "step"}
        ),
        "versions": json.dumps({"spf": __version__} | {name: version(name) for name in PACKAGES}),
        "mode": target.mode,
        "replace": target.replace,
        "data": json.dumps(made),
        "settings": json.dumps(method.config.to_dict()),
        **({"common": json.dumps(common)} if common else {}),
        **({"push": f"{method.config.push:g}"} if method.config.push else {}),
    }


def add_control(method: Method, sets: Sequence[Rows], ctx: Context, seed: int, file: Path) -> None:
    """Gives the rows of each set their control maps, made once with the weights of this step and
    kept for a resumed run.
    """
    try:
        maps = load_tensors(file)
    except BadInput:
        ctx = replace(ctx, rng=np.random.default_rng([seed, 1]))
        maps = {
            str(number): torch.cat(
                [method.control(rows.take(part), ctx) for part in batches(len(rows))]
            )
            for number, rows in enumerate(sets)
        }
        save_tensors(file, maps)
    for number, rows in enumerate(sets):
        rows.control = maps[str(number)].to(rows.latents)
