"""SPF-Portrait: the response path learns the target while the reference path holds everything else
(arXiv 2504.00396).

A step compares two predictions for one latent: the response path (tuned weights, complete text) and
the reference path (original weights, base text, no gradient). Text-consistent and fine-grained
alignment are weighted by the complement of the SFCM, the enhancement pulls the one-step picture
towards the target in CLIP, and the diffusion loss stays on. The paper's formulas and recipe were
not available: every open choice is a field of `SpfConfig`, the first one listed being our reading;
fields marked "ours" go beyond the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from spf.attention import POOL, Record, record
from spf.config import AUTO, choice, flag, real, whole
from spf.control import averaged, evidence
from spf.errors import BadInput
from spf.injected import LoraPaths, projections
from spf.losses import (
    COMPLEMENTS,
    ENHANCED,
    LAYERS,
    NORMS,
    complement,
    enhanced,
    fine_grained,
    prediction_error,
    text_consistent,
)
from spf.methods import (
    PAD,
    PHRASE,
    TARGET,
    TEXTS,
    Context,
    Method,
    MethodConfig,
    Paths,
    Rows,
    Terms,
    denoising,
)
from spf.paths import TRAINABLE, Adapter, trained_names
from spf.sfcm import SCALES, Evidence, SfcmConfig, control_map

ORDER = 6
PARTS = {
    "text_consistent": {"text_consistent": 0.0},
    "fine_grained": {"fine_grained": 0.0},
    "control": {"complement": "none"},
    "enhanced": {"enhanced": 0.0},
    "output": {"output": 0.0},
    "keep": {"keep": 0.0},
    "seen": {"text": "caption"},
}
"""Parts of the method and what leaves each of them out: the page has a switch for each."""
DUAL = 2.0
"""Times that a step of both paths takes, to one of stage 1: 2.2 were measured over 400 steps and
1.7 over 1200, so that the time of a run is told within a tenth."""
OWN = "own_count"
"""The setting that says how many portraits the original model draws beforehand."""
ABLATIONS = {
    "spf-no-text": {"text_consistent": 0.0},
    "spf-no-fine": {"fine_grained": 0.0},
    "spf-no-enhanced": {"enhanced": 0.0},
    "spf-no-sfcm": {"complement": "none", "masked": 0.0, "averaged": 0},
    "spf-no-seen": {"text": "caption"},
    "spf-paper": {
        "trainable": "cross-attention",
        "learning_rate": 2e-4,
        "plain": 0.0,
        "latents": "training",
        "relative": False,
        "output": 0.0,
        "keep": 0.0,
        "masked": 0.0,
        "text": "caption",
        "smooth": 1,
        "averaged": 0,
        "power": 1.0,
        "subtract": 1.0,
        "embedding": "complete",
        "scale": "min-max",
        "text_consistent": 2.0,
        "fine_grained": 0.0006,
    },
}
"""The same method with other settings, under names of their own.

The first four are the rows of the paper's ablation, the fifth one is of ours, the last is the
method without anything of ours. There maps and queries are not measured against their own size, so
its two weights are those that weigh on the embedded model, at the start, what spf's own do.
"""


@dataclass(frozen=True)
class SpfConfig(MethodConfig, SfcmConfig):
    """Every open choice of the method, beside those of the control map (`SfcmConfig`) and of
    training.
    """

    average: float = real(0.95, 0.0, 0.9999, MethodConfig.help("average"))
    text: str = choice("seen", TEXTS, "ours: " + MethodConfig.help("text"))
    scale: str = choice(
        "stretch", SCALES, "common scale of noise difference and phrase maps in training"
    )
    trainable: str = choice(
        AUTO,
        (*TRAINABLE, "low-rank"),
        "which weights train (v3 figure: all, v1 figure: cross-attention), or low-rank layers"
        " beside cross-attention (ours); auto is all of a small network, cross-attention of a "
        "large",
    )
    layer_rank: int = whole(16, 1, 1024, "rank of the low-rank layers, if chosen")
    plain: float = real(
        0.6,
        0.0,
        1.0,
        "stage 1: share of the steps with the diffusion loss alone; 0 is one stage (v1)",
    )

    latents: str = choice(
        "own", ("training", "noise", "own"), "latents of the added alignment rows, see `extra`"
    )
    extra: float = real(
        0.5, 0.0, 1.0, "share of the batch that is aligned on noise or own latents, if chosen"
    )
    align_training: float = real(
        1.0, 0.0, 1.0, "how strongly the rows of the tailored set are aligned"
    )
    align_low: float = real(0.0, 0.0, 1.0, "alignment acts from this part of the timestep range")
    align_high: float = real(1.0, 0.0, 1.0, "alignment acts up to this part of the timestep range")

    text_consistent: float = real(0.002, 0.0, 1e4, "w1, weight of the text-consistent loss")
    fine_grained: float = real(0.05, 0.0, 1e4, "w2, weight of the fine-grained loss")
    enhanced: float = real(0.05, 0.0, 1e4, "w3, weight of the response enhancement")
    diffusion: float = real(1.0, 0.0, 1e4, "weight of the diffusion loss in stage 2")
    relative: bool = flag(
        True, "ours: maps and queries are measured against the reference's own size, layer by layer"
    )
    norm: str = choice("l2", NORMS, "norm of both alignment losses")
    layers: str = choice("mean", LAYERS, "layers are averaged or added")
    tokens: str = choice(
        "mean", POOL, "attention to the tokens of a phrase, and of PAD, is averaged or added"
    )
    complement: str = choice(
        "1-s", COMPLEMENTS, "how the SFCM weights the alignment; none is the paper's w/o SFCM row"
    )

    output: float = real(
        1.0,
        0.0,
        1e4,
        "ours: weight of the output alignment, which also holds values and projections",
    )
    keep: float = real(
        0.25,
        0.0,
        0.9,
        "ours: share of the batch that asks for the base text and is held to the reference",
    )
    keep_weight: float = real(1.0, 0.0, 1e4, "ours: weight of that retention")
    keep_empty: float = real(
        0.25, 0.0, 1.0, "ours: part of the kept rows that ask for the empty text, used by guidance"
    )
    masked: float = real(
        0.5, 0.0, 1.0, "ours: how far the diffusion loss of stage 2 is confined to the SFCM"
    )

    smooth: int = whole(3, 1, 15, SfcmConfig.help("smooth"))
    averaged: int = whole(
        4,
        0,
        64,
        "ours: a picture's SFCM is the mean of so many noises as stage 2 begins; 0: each step's "
        "own",
    )
    averaged_low: float = real(
        0.3, 0.0, 1.0, "averaging starts from this part of the timestep range"
    )
    averaged_high: float = real(
        0.8, 0.0, 1.0, "averaging goes up to this part of the timestep range"
    )
    power: float = real(0.5, 0.05, 20.0, SfcmConfig.help("power"))

    form: str = choice("a", ENHANCED, "form of the enhancement; direct is plain CLIP supervision")
    enhanced_rows: int = whole(1, 1, 64, "pictures of a step that are decoded for the enhancement")
    enhanced_every: int = whole(4, 1, 1000, "the enhancement acts at every so-many-th step")
    enhanced_high: float = real(
        0.6, 0.0, 1.0, "the enhancement acts below this part of the timestep range"
    )

    own_texts: str = choice(
        "varied", ("varied", "set"), "own portraits from fresh base texts, or from those of the set"
    )
    own_count: int = whole(64, 1, 100_000, "portraits that the original model draws beforehand")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("align", "averaged"):
            low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
            if low >= high:
                raise BadInput(f"{name}_low is {low:g} but must be below {name}_high, {high:g}.")
        if self.averaged and self.latents == "noise":
            raise BadInput(
                f"averaged is {self.averaged} but must be 0 for latents noise, which show no "
                "picture."
            )


@dataclass
class Comparison:
    """Both paths on the same latents: predictions [B,C,h,w] and what the recorder saw."""

    found_res: Tensor
    found_ref: Tensor
    shown_res: Record
    shown_ref: Record

    def evidence(self, config: SfcmConfig) -> Evidence:
        """What it says about where the target acts."""
        layer = next(iter(self.shown_ref.maps.values()))
        phrases = sorted((name for name in layer if name.startswith(PHRASE)), key=_number)
        predicted, shown = (self.found_res, self.found_ref), (self.shown_res, self.shown_ref)
        return evidence(predicted, shown, phrases, [TARGET], config)


class Spf(Method):
    """Stage 1 is plain fine-tuning of the same weights, stage 2 the dual-path alignment."""

    name: ClassVar[str] = "spf"
    Config = SpfConfig
    config: SpfConfig

    @property
    def wants_own(self) -> bool:
        return self.config.plain < 1 and (self.config.latents == "own" or self.config.keep > 0)

    @property
    def wants_clip(self) -> bool:
        return self.config.plain < 1 and self.config.enhanced > 0

    def parameter_names(self, unet) -> list[str]:
        return trained_names(unet, self.config.trainable)

    def paths(
        self, unet, steps: int, seed: int = 0, start: Adapter | None = None
    ) -> AbstractContextManager[Paths]:
        if self.config.trainable != "low-rank":
            return super().paths(unet, steps, seed, start)
        rank, modules = self.config.layer_rank, projections(unet, "cross-attention")
        return LoraPaths(unet, modules, seed=seed, start=start, rank=rank, alpha=float(rank))

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        if ctx.step < self._border(ctx.steps):
            return denoising(batch, ctx, self.config)
        return self._dual(batch, ctx)

    def _border(self, steps: int) -> int:
        """The first step of stage 2."""
        return round(self.config.plain * steps)

    def later_stage(self, steps: int) -> tuple[int, float]:
        return self._border(steps), DUAL

    def wants_control(self, step: int, steps: int) -> bool:
        return self.config.averaged > 0 and step >= self._border(steps)

    @torch.no_grad()
    def control(self, rows: Rows, ctx: Context) -> Tensor:
        """The mean evidence of several noises, then one map: a single noise leaves a grainy one."""
        c, signs = self.config, []
        for _ in range(max(c.averaged, 1)):
            timesteps = ctx.timesteps(len(rows), 1.0, c.averaged_low, c.averaged_high)
            latents = ctx.diffusion.noised(rows.latents, ctx.normal(rows.latents), timesteps)
            signs.append(self._compare(rows, latents, timesteps, ctx, len(rows)).evidence(c))
        return control_map(averaged(signs), rows.distances, c)

    def _dual(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        """Rows, in this order: of the tailored set (learn), added for alignment, kept to the base
        text.
        """
        c, total = self.config, len(batch)
        kept = round(c.keep * total)
        added = round(c.extra * (total - kept)) if c.latents != "training" else 0
        learnt, asked = total - kept - added, total - kept
        rows = self._rows(batch, ctx, learnt, added, kept)
        times = np.concatenate(
            (
                ctx.times(learnt, c.lean),
                ctx.times(added, 1.0, c.align_low, c.align_high),
                ctx.times(kept, c.lean),
            )
        )
        timesteps = torch.from_numpy(times).to(ctx.empty.device)
        noise = ctx.normal(rows.latents)
        latents = ctx.diffusion.noised(rows.latents, noise, timesteps)
        ideal = ctx.diffusion.ideal(rows.latents, noise, timesteps)
        snr = ctx.diffusion.weights(timesteps, c.snr)
        enhancing = c.enhanced > 0 and ctx.step % c.enhanced_every == 0
        compared = any((c.text_consistent, c.fine_grained, c.output, enhancing))
        both = self._compare(rows, latents, timesteps, ctx, asked, bool(compared))
        control = rows.control
        if control is None:
            control = control_map(averaged([both.evidence(c)]), rows.distances, c)

        inside = (timesteps >= c.align_low * ctx.train_steps) & (
            timesteps <= c.align_high * ctx.train_steps
        )
        strength = inside.float()  # [B], how strongly each row is aligned
        strength[:learnt] *= c.align_training
        strength[asked:] = c.keep_weight
        hold = complement(control, c.complement)
        hold[asked:] = 1  # nothing may change where nothing was asked for
        hold = hold * strength.sqrt().view(-1, 1, 1)  # the losses square it

        res, ref = both.shown_res, both.shown_ref
        if c.relative:
            res, ref = unit_scale(res, ref)
        free = (1 - c.masked * (1 - control[:learnt, None])).sqrt()
        terms = {
            "diffusion": prediction_error(
                free * both.found_res[:learnt], free * ideal[:learnt], snr[:learnt]
            )
        }
        how = {"norm": c.norm, "layers": c.layers}
        if c.text_consistent:
            terms["text_consistent"] = text_consistent(res.maps, ref.maps, hold, **how)
        if c.fine_grained:
            terms["fine_grained"] = fine_grained(res.queries, ref.queries, hold, **how)
        if c.output:
            terms["output"] = output_alignment(both.found_res, both.found_ref, hold, snr)
        if enhancing:
            late = np.flatnonzero(times[:learnt] <= c.enhanced_high * ctx.train_steps)
            if len(picks := late[: c.enhanced_rows].tolist()):
                terms["enhanced"] = self._enhanced(
                    batch.take(picks), both, latents, timesteps, picks, ctx
                )
        weights = {
            "diffusion": c.diffusion,
            "text_consistent": c.text_consistent,
            "fine_grained": c.fine_grained,
            "output": c.output,
            "enhanced": c.enhanced,
        }
        value = sum(weights[name] * term for name, term in terms.items())
        return value, terms | {"sfcm": control[:asked].mean()}

    def _rows(self, batch: Rows, ctx: Context, learnt: int, added: int, kept: int) -> Rows:
        rows = batch.take(range(learnt))
        if added:
            more = (
                ctx.own(ctx.rng, added)
                if self.config.latents == "own"
                else batch.take(range(learnt, learnt + added))
            )
            if self.config.latents == "noise":
                more = replace(more, latents=torch.zeros_like(more.latents))
            rows = rows.join(more)
        return rows.join(ctx.own(ctx.rng, kept)) if kept else rows

    def _compare(
        self,
        rows: Rows,
        latents: Tensor,
        timesteps: Tensor,
        ctx: Context,
        asked: int,
        compared: bool = True,
    ) -> Comparison:
        """Both paths; the first `asked` rows ask for the complete text, the others for the base
        text or nothing. The reference runs where something is compared with it, or a control map
        is to be made.
        """
        empty = ctx.rng.random(len(rows) - asked) < self.config.keep_empty
        bare = torch.from_numpy(empty).to(latents.device).view(-1, 1, 1)
        kept = torch.where(bare, ctx.empty, rows.base[asked:])
        same = [
            {name: columns for name, columns in row.items() if name == PAD or not nothing}
            for row, nothing in zip(rows.base_columns[asked:], empty, strict=True)
        ]

        with self._record(ctx, rows, [*rows.complete_columns[:asked], *same]) as shown_res:
            found_res = ctx.predict(latents, timesteps, torch.cat((rows.complete[:asked], kept)))
        if not compared and rows.control is not None:
            return Comparison(found_res, found_res.detach(), shown_res, Record())
        with (
            ctx.paths.reference(),
            self._record(ctx, rows, [*rows.base_columns[:asked], *same]) as shown_ref,
        ):
            found_ref = ctx.predict(latents, timesteps, torch.cat((rows.base[:asked], kept)))
        return Comparison(found_res, found_ref, shown_res, shown_ref)

    def _record(
        self, ctx: Context, rows: Rows, groups: Sequence[Mapping[str, Sequence[int]]]
    ) -> AbstractContextManager[Record]:
        """Keeps what some term weighs, and what a control map is made of where there is none
        yet.
        """
        c = self.config
        wanted = {
            "maps": c.text_consistent > 0 or rows.control is None,
            "queries": c.fine_grained > 0,
        }
        keep = "+".join(name for name, needed in wanted.items() if needed)
        if not keep:
            return nullcontext(Record())
        return record(ctx.base.unet, groups, keep, pool=c.tokens)

    def _enhanced(
        self,
        rows: Rows,
        both: Comparison,
        latents: Tensor,
        timesteps: Tensor,
        picks: list[int],
        ctx: Context,
    ) -> Tensor:
        """The one-step pictures of both paths, as CLIP sees them, beside the training pictures and
        the target text.
        """

        def seen(found: Tensor) -> Tensor:
            clean = ctx.diffusion.clean(found[picks], latents[picks], timesteps[picks])
            return ctx.base.clip_images(ctx.base.decode(clean))

        with torch.no_grad():
            e_ref = seen(both.found_ref)
        return enhanced(seen(both.found_res), e_ref, rows.image, rows.target, self.config.form)


def _number(phrase: str) -> int:
    return int(phrase.removeprefix(PHRASE))


def output_alignment(found_res: Tensor, found_ref: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """|| W (found_res - found_ref) ||^2, ours: maps and queries leave values and output projections
    free, this does not.

    found_*: the network's own predictions [B,C,h,w]; weight: W [B,h,w]; rows: weight [B] of each
    row's timestep.
    """
    difference = found_res.float() - found_ref.detach().float()
    errors = (weight[:, None] * difference).square().mean((1, 2, 3))
    return (rows * errors).mean()


def unit_scale(res: Record, ref: Record) -> tuple[Record, Record]:
    """Both records in units of the reference's root mean square, for each layer (and phrase), ours:
    then a loss of 0.01 means a change of a tenth, whatever the size of the network or of the
    phrase's attention."""

    def size(value: Tensor, least: float = 1e-4) -> Tensor:
        return value.detach().float().square().mean().sqrt().clamp(min=least)

    even = 1 / 77  # a token that is attended to less than evenly is no yardstick
    maps = {
        layer: {name: size(value, even) for name, value in groups.items()}
        for layer, groups in ref.maps.items()
    }
    queries = {layer: size(value) for layer, value in ref.queries.items()}
    return tuple(
        Record(
            {
                k: {n: v / maps[k][n] for n, v in g.items() if n in maps[k]}
                for k, g in shown.maps.items()
            },
            {k: v / queries[k] for k, v in shown.queries.items()},
        )
        for shown in (res, ref)
    )
