"""What an evaluation is to measure: its settings, the pairs of base text and noise, and the keys
that their rows are found by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spf.evaluation.entries import Tuned
from spf.evaluation.judges import Judges
from spf.methods import fingerprint
from spf.models import Base
from spf.portraits.description import Target
from spf.portraits.texts import base_captions
from spf.prompts import ComposedPrompt, compose
from spf.rows import noise_seed, read_rows
from spf.sampling import GuideConfig
from spf.sampling.guides import pushed
from spf.settings import EvaluateConfig
from spf.targets import placed
from spf.traits.telling import completed

ROW_VERSION = 9
"""Rows of another version are measured anew."""


def guided_by(config: EvaluateConfig, own: GuideConfig | None) -> GuideConfig | None:
    """How a method that asks for `own` is guided under the settings of an evaluation."""
    found = own or (GuideConfig(config.guided, start=config.guided_from) if config.guided else None)
    return found and replace(found, push=found.push or config.push)


def drawing(base: Base, config: EvaluateConfig) -> list:
    """What every drawing of an evaluation depends on, beside its text, noise and weights."""
    how = [config.steps, config.guidance, config.precision, base.sampler, base.perturbed]
    return [base.name, fingerprint(base.unet, base.vae, base.text_encoder), *how]


def judging(base: Base, judges: Judges) -> str:
    """The networks that read what was drawn: rows of others are other rows."""
    return fingerprint(judges, *filter(None, [base.clip]))


def guiding(config: EvaluateConfig, tuned: Sequence[Tuned]) -> dict | None:
    """How weights that add up are guided, with the push that their files or the program choose
    where nobody asks for one.
    """
    guide = guided_by(config, tuned[0].guide) if tuned else None
    adapters = [one.adapter.metadata for one in tuned if one.adapter is not None]
    return shown_guide(guide and replace(guide, push=pushed(guide, adapters)))


@dataclass(frozen=True)
class Pair:
    """One base text and one seed, with its noise; original: key of its original portrait."""

    prompt: int
    seed: int
    texts: ComposedPrompt
    noise: int
    original: str


@dataclass(frozen=True)
class Work:
    """One pair to measure with one method's weights. key: everything that the row depends on."""

    pair: Pair
    tuned: Tuned
    key: str


@dataclass(frozen=True)
class Job:
    """Pairs that are drawn together, and what has to be measured on them."""

    pairs: list[Pair]
    work: list[Work]


def plan(
    base: Base,
    judges: Judges,
    tuned: Sequence[Tuned],
    config: EvaluateConfig,
    texts: Sequence[str] = (),
) -> list[Job]:
    """All that is to be measured, target by target. A target goes into a text where `placed` says,
    as on the page.
    """
    targets = dict.fromkeys(one.target for one in tuned)
    judged = judging(base, judges)
    return [
        job for target in targets for job in _of_target(base, judged, target, tuned, config, texts)
    ]


def _of_target(
    base: Base,
    judged: str,
    target: Target,
    tuned: Sequence[Tuned],
    config: EvaluateConfig,
    texts: Sequence[str],
) -> list[Job]:
    drawn = drawing(base, config)
    pairs = []
    for p, text in enumerate(_base_texts(target, config, texts)):
        prompt = compose(text, target.text, *placed(target, text))
        for s in range(config.seeds):
            noise = noise_seed(config.seed, p, s)
            fuller = completed(base, prompt, config.also, noise).prompt
            pairs.append(Pair(p, s, fuller, noise, row_key([*drawn, fuller.base, noise])))
    same = [ROW_VERSION, judged, *drawn, config.strength]
    jobs = []
    for first in range(0, len(pairs), config.batch):
        some = pairs[first : first + config.batch]
        work = [
            Work(
                pair,
                one,
                row_key(
                    [
                        *same,
                        pair.texts.complete,
                        pair.noise,
                        one.method,
                        target.name,
                        one.key,
                        config.retention,
                        guiding(config, [one]),
                        pair.prompt < config.maps,
                    ]
                ),
            )
            for one in tuned
            if one.target == target
            for pair in some
        ]
        jobs.append(Job(some, work))
    return jobs


def _base_texts(target: Target, config: EvaluateConfig, texts: Sequence[str]) -> list[str]:
    """The given texts, or as many held-out captions as are asked for."""
    if texts:
        return list(texts[: config.prompts])
    return [
        made.text for _, made in base_captions(target, config.prompts, config.seed, config.split)
    ]


def shown_guide(guide: GuideConfig | None) -> dict | None:
    return guide and guide.to_dict()


def row_key(values: list) -> str:
    """Key of a row by everything that it depends on."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:24]


def known_rows(out: Path, files: str = "rows*.jsonl") -> dict[str, dict]:
    """Rows measured so far by key."""
    return {row["key"]: row for path in sorted(out.glob(files)) for row in read_rows(path)}
