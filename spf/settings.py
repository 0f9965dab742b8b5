"""Settings of a fine-tuning run and of an evaluation; those of a drawing are
`spf.config.GenerateConfig`."""

from __future__ import annotations

from dataclasses import dataclass

from spf.config import (
    LARGEST_SEED,
    Config,
    GenerateConfig,
    as_in,
    choice,
    flag,
    text,
    whole,
)
from spf.portraits.tailored import SIZE
from spf.registry import TRAINED
from spf.rows import MOST


@dataclass(frozen=True)
class FinetuneConfig(Config):
    """One run of `spf.finetune.finetune`; the method's own settings come beside it."""

    method: str = choice("spf", TRAINED, "how to fine-tune: a method, or an ablation of one")
    data: str = text(
        "hat",
        help="the tailored set: name of its target, such as hat, or a folder made by check-data",
        required=True,
    )
    steps: int = whole(600, 1, 1_000_000, "training steps", span=(10, 2000, 10))
    images: int = whole(SIZE, 1, 100_000, "pictures in the tailored set")
    seed: int = whole(0, 0, LARGEST_SEED, "start of all random numbers")
    start: str = text(
        help="adapter to start from, such as the result of a first stage: a name or a file"
    )
    rank: int = whole(
        0, 0, 4096, "size of the stored differences, as of pairs of this rank; 0 stores them whole"
    )
    accumulate: int = whole(1, 1, 1024, "batches whose gradients make one step")
    eight_bit: bool = flag(False, "the optimiser remembers in 8 bits; needs CUDA and bitsandbytes")
    checkpointing: bool = flag(
        False, "keep less for backward and compute it again: less memory, a third more time"
    )
    keep: int = whole(
        0,
        0,
        1_000_000,
        "keep the adapter after each so many steps too, in steps/; 0 keeps the last only",
    )


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """One run of `spf.evaluation.protocol.evaluate`."""

    prompts: int = whole(64, 1, 10_000, "held-out base texts for each target")
    seeds: int = whole(2, 1, MOST, "portraits for each base text")
    steps: int = as_in(GenerateConfig, "steps")
    guidance: float = as_in(GenerateConfig, "guidance")
    strength: float = as_in(GenerateConfig, "strength")
    also: str = as_in(GenerateConfig, "also")
    split: str = choice(
        "test", ("test", "dev"), "identities and texts: test, or dev for choosing settings"
    )
    seed: int = whole(0, 0, 2**20, "start of all random numbers")
    precision: str = choice(
        "fp32", ("fp32", "bf16"), "of the drawing; bf16 is faster where the hardware multiplies it"
    )
    batch: int = whole(8, 1, 1024, "portraits drawn together")
    maps: int = whole(8, 0, 10_000, "base texts for which the control map is judged")
    retention: bool = flag(True, "also let the tuned model draw the base text alone")
    guided: str = as_in(
        GenerateConfig,
        "guided",
        default="",
        help="how to stay near the original, where a method does not say",
    )
    guided_from: float = as_in(GenerateConfig, "guided_from")
    push: float = as_in(GenerateConfig, "push")


@dataclass(frozen=True)
class SheetConfig(Config):
    """Which pairs are drawn: `texts` unseen base texts for each target and method, one seed
    each."""

    texts: int = whole(6, 1, 1000, "unseen base texts for each target")
    seed: int = whole(0, 0, 2**20, "start of all random numbers; another seed gives other texts")
    steps: int = as_in(GenerateConfig, "steps")
    guidance: float = as_in(GenerateConfig, "guidance")
    guided: str = as_in(GenerateConfig, "guided")
