"""How long things take beside one another: all variants in one process, one after the other in
every round in an order of its own, medians over the rounds, ratios within them.

CPU time where the model is on a processor, which other programs do not disturb; else wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from spf.attention import record
from spf.bases.reading import load_base
from spf.config import GUIDANCE
from spf.exchange.checkpoint import pipeline_of
from spf.geometry import UNETS, new_geometry
from spf.memory import rows_like
from spf.methods import Context, build
from spf.models import Base
from spf.packing import Blob
from spf.paths import Adapter
from spf.prompts import compose
from spf.sampling import (
    LARGEST_MAP,
    GuideConfig,
    Kept,
    counting,
    initial_latents,
    sample,
    sample_pair,
)
from spf.shelf import TUNED

TEXT = "a photo of a young woman with long red hair"
TARGET, OTHER = "a hat", "glasses"
PRESSES = {
    "free pair, another target": "free pair",
    **{f"held pair, {one}": "held pair" for one in ("another push", "another strength")},
    **{f"held pair, {one}": "held pair" for one in ("another target", "its maps")},
}
"""Second presses with the same original, and the first press that each is compared with."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a variant, median over the rounds, and its ratio to the variant `to` within a
    round: median, least, most. rows: of the UNet in one run.
    """

    seconds: float
    ratio: float
    least: float
    most: float
    rows: int
    to: str


def interleaved(
    base: Base,
    variants: Mapping[str, Callable[[], Any]],
    rounds: int = 5,
    seed: int = 0,
    against: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Timing]:
    """Timings of all variants; the first one is what the others are compared with, unless
    `against` names another. One run of each goes before and is not counted.
    """
    rng, names = np.random.default_rng(seed), list(variants)
    spent: dict[str, list[float]] = {name: [] for name in names}
    rows = {}
    for name, run in variants.items():
        with counting(base) as found:
            run()
        rows[name] = sum(found)
    for _ in range(rounds):
        for index in rng.permutation(len(names)):
            began = _clock(base)
            variants[names[index]]()
            spent[names[index]].append(_clock(base) - began)
    made = {}
    for name, times in spent.items():
        to = against.get(name, names[0])
        ratios = np.array(times) / np.array(spent[to])
        found = (float(end(ratios)) for end in (np.median, np.min, np.max))
        made[name] = Timing(float(np.median(times)), *found, rows=rows[name], to=to)
    return made


def _clock(base: Base) -> float:
    if base.device.type == "cuda":
        torch.cuda.synchronize(base.device)
    return time.process_time() if base.device.type == "cpu" else time.perf_counter()


def base_of(name: str, device: str = "", dtype: torch.dtype = torch.float32) -> Base:
    """The embedded model, one of `geometry.UNETS` with random weights, or any base."""
    if name not in UNETS:
        return load_base(name, device=device or None, dtype=dtype)
    base = new_geometry(name, (TEXT, TARGET, OTHER))
    return base if dtype == torch.float32 and device == "cpu" else base.to(device or None, dtype)


def pair(base: Base, steps: int = 10, rounds: int = 5) -> dict[str, Timing]:
    """First and second presses of a pair against two calls of the stock pipeline with as many
    guided steps.
    """
    prompt, other, adapter = compose(TEXT, TARGET), compose(TEXT, OTHER), shaken(base)
    how = {"steps": steps, "guidance": GUIDANCE, "guide": GuideConfig("held")}
    stock = pipeline_of(base)
    stock.set_progress_bar_config(disable=True)

    def two() -> None:
        for text in (prompt.base, prompt.complete):
            noise = initial_latents(base, [0]).to(base.dtype)
            stock(text, latents=noise, num_inference_steps=steps, guidance_scale=GUIDANCE)

    def first(**more: Any) -> Callable[[], Any]:
        return lambda: sample_pair(base, prompt, adapter, **how | {"maps": []} | more)

    def second(drawn: Mapping[str, Any], **more: Any) -> Callable[[], Any]:
        """A press after one with the settings `drawn`, each time as if it were the first one."""
        earlier, drawn = Kept(), how | {"maps": []} | drawn
        sample_pair(base, prompt, adapter, kept=earlier, **drawn)

        def press() -> None:
            kept = Kept()
            kept.update(earlier)
            text = more.get("prompt", prompt)
            changed = {name: value for name, value in more.items() if name != "prompt"}
            sample_pair(base, text, adapter, kept=kept, **drawn | changed)

        return press

    free, third = {"free": [TUNED]}, {TUNED: adapter, "beside": shaken(base, seed=2)}
    variants = {
        "two stock pictures": two,
        "free pair": first(**free),
        "free pair with maps": first(maps=None, **free),
        "free pair, another target": second(free, prompt=other),
        "held pair": first(),
        "held pair with maps": first(maps=None),
        "held pair and a free third": lambda: sample_pair(
            base, prompt, third, free=["beside"], maps=[], **how
        ),
        "held pair, another push": second({}, guide=GuideConfig("held", push=2.5)),
        "held pair, another strength": second({}, scale=0.5),
        "held pair, another target": second({}, prompt=other),
        "held pair, its maps": second({}, maps=None),
    }
    return interleaved(base, variants, rounds, against=PRESSES)


def capture(base: Base, steps: int = 10, rounds: int = 5) -> tuple[dict[str, Timing], int, int]:
    """(timings of a drawing without and with maps, values of its latents that differ, bytes of its
    maps as they are sent).
    """
    prompt = compose(TEXT, TARGET)
    with torch.inference_mode():
        states, empty = base.encode_text([prompt.complete, ""]).split(1)
    groups = prompt.groups(base.tokenizer, "complete")

    def drawn(maps: bool) -> torch.Tensor:
        rows = {"rows": slice(-1, None), "largest": LARGEST_MAP}
        with record(base.unet, groups, **rows) if maps else nullcontext():
            noise = initial_latents(base, [0])
            return sample(base, noise, states, empty, steps=steps, guidance=GUIDANCE)

    changed = int((drawn(True) != drawn(False)).sum())
    found = sample_pair(base, prompt, {}, steps=steps, guidance=GUIDANCE).original.maps
    blob = Blob()
    for side, maps in found.items():
        each = maps[:, 0].astype(np.float32)  # [S,G,side,side]
        low, high = (end(each, (0, 2, 3), keepdims=True) for end in (np.min, np.max))
        blob.add(str(side), (each - low) / np.maximum(high - low, 1e-8))
    kept = len(blob.packed())
    variants = {"without maps": lambda: drawn(False), "with maps": lambda: drawn(True)}
    return interleaved(base, variants, rounds), changed, kept


DUAL = {"plain": 0.0, "enhanced": 0.0, "keep": 0.0, "extra": 0.0, "averaged": 0}
"""Settings under which each row of a step is compared with the reference once, and nothing else."""


def finetune(base: Base, batch: int = 2, rank: int = 8, rounds: int = 5) -> dict[str, Timing]:
    """A dual step against a plain step of the same low-rank layers, backward and optimiser
    included.
    """
    plain = build("lora", {"batch": batch, "rank": rank, "layers": "cross-attention"})
    low = {"batch": batch, "trainable": "low-rank", "layer_rank": rank}
    weightless = {"text_consistent": 0.0, "fine_grained": 0.0, "output": 0.0}
    methods = {
        "lora": plain,
        "lora again": plain,
        "dual": build("spf", low | DUAL),
        "dual, no term weighs": build("spf", low | DUAL | weightless),
    }
    rows, states = rows_like(base, batch), rows_like(base, 1).base
    with plain.paths(base.unet, 1) as paths:
        optimizer = torch.optim.AdamW(paths.parameters.values(), lr=1e-4)

        def step(name: str) -> None:
            context = Context(base, paths, 0, 1, np.random.default_rng(0), states)
            methods[name].loss(rows, context)[0].backward()
            optimizer.step()
            optimizer.zero_grad()

        return interleaved(base, {name: partial(step, name) for name in methods}, rounds)


def shaken(base: Base, size: float = 0.02, seed: int = 1) -> Adapter:
    """An adapter of small random differences in every cross-attention key, that notes what its set
    has in common as the shipped ones do.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: size * torch.randn(value.shape, generator=generator)
        for name, value in base.unet.named_parameters()
        if name.endswith("attn2.to_k.weight")
    }
    made = {"target": TARGET, "method": "random", "common": '{"age": "old"}'}
    return Adapter(made, tensors, mark=f"random {seed}")


def table(timings: Mapping[str, Timing]) -> str:
    """A table in Markdown."""
    lines = [
        "| | seconds | ratio | to | rows of the UNet |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {one.seconds:.3f} | {one.ratio:.2f} [{one.least:.2f}..{one.most:.2f}] |"
            f" {one.to} | {one.rows} |"
            for name, one in timings.items()
        ),
    ]
    return "\n".join(lines)
