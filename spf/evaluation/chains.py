"""Continuous customisation: one target after another, with the adapters of all links added up.

After each link of a chain: do all targets so far show, and how much else has changed against the
original portrait? The paper shows such chains and gives no numbers; the measures are those of the
single targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from spf.config import JOIN, check_whole
from spf.errors import BadInput
from spf.evaluation import measures as m
from spf.evaluation.entries import Tuned, find_adapters
from spf.evaluation.judges import Judges, Look
from spf.evaluation.plan import drawing, guided_by, guiding, judging, known_rows, row_key
from spf.evaluation.visible import settled
from spf.models import Base
from spf.paths import response
from spf.pixels import as_pixels
from spf.portraits.description import TARGETS
from spf.portraits.texts import open_captions
from spf.prompts import ComposedPrompt, compose
from spf.rows import noise_seed
from spf.sampling import TunedPath, autocast, initial_latents
from spf.settings import EvaluateConfig

ROWS = "chains.jsonl"
LONGEST = 4
ORDER = ("hat", "blonde", "freckles", "necklace", "laughing", "sunglasses")
"""Links in the order in which they are taken: targets that are appended; at most four of those that
have adapters.
"""
FIRST = ("dress", "watercolor")
"""Targets that take the place of words, with which a second chain may begin."""
NOISE = 77_000_000
CHAIN_VERSION = 4
"""Links of another version are measured anew."""


def links(names: Sequence[str], longest: int = LONGEST) -> list[list[str]]:
    """The longest chain out of the given targets that adds one to another, and one that begins with
    a replacement, if there is a target for that. Raises BadInput when fewer than two can be added.
    """
    check_whole("chains", longest, 1, LONGEST)
    found = [name for name in ORDER if name in names][:longest]
    if len(found) < min(2, longest):
        raise BadInput("chains needs adapters of at least two targets that are appended to a text.")
    replacing = [[name, *found[: longest - 1]] for name in FIRST if name in names][:1]
    return [found, *replacing]


def chain_texts(targets: Sequence[str], n: int, seed: int = 0, split: str = "test") -> list[str]:
    """Base texts that say nothing about any attribute of the chain, but the words that its first
    target replaces, if it does.
    """
    rng = np.random.default_rng([seed, 4, *(sum(map(ord, name)) for name in targets)])
    found = open_captions(rng, [TARGETS[name] for name in targets], split)
    return [made.text for _, made in islice(found, n)]


def chains(
    base: Base,
    judges: Judges,
    methods: Sequence[str],
    targets: Sequence[str],
    config: EvaluateConfig,
    out: str | Path,
    folder: str | Path | None = None,
) -> list[dict]:
    """Rows of method, link (1, 2, ...), target (joined by +), measure (response to all, pollution,
    purity), value, low, high, n.

    What is in chains.jsonl of `out` already is not drawn again. Methods
    without all the adapters are left out.
    """
    texts = chain_texts(targets, config.prompts, config.seed, config.split)
    pairs = [(p, s) for p in range(len(texts)) for s in range(config.seeds)]
    places = [pairs[i : i + config.batch] for i in range(0, len(pairs), config.batch)]
    path = Path(out) / ROWS
    path.parent.mkdir(parents=True, exist_ok=True)
    known = known_rows(path.parent, ROWS)
    rows = []
    how = [config.strength, config.seed, config.split]
    drawn = [CHAIN_VERSION, judging(base, judges), *drawing(base, config), *how]
    found = {method: find_adapters(base, [method], targets, folder, []) for method in methods}
    tied = [
        (method, targets[:link], tuned[:link])
        for method, tuned in found.items()
        if len(tuned) == len(targets)
        for link in range(1, len(targets) + 1)
    ]
    with path.open("a", encoding="utf-8") as file:
        for place in places:
            original = None
            for method, some, tuned in tied:
                weights = [one.key for one in tuned]
                same = [*drawn, method, weights, guiding(config, tuned), some]
                keys = [row_key([*same, texts[p], p, s]) for p, s in place]
                if not all(key in known for key in keys):
                    if original is None:
                        plain = [compose(texts[p]) for p, _ in place]
                        original = _readings(base, judges, plain, place, [], config)
                    prompts = [_complete(texts[p], some) for p, _ in place]
                    after = _readings(base, judges, prompts, place, tuned, config)
                    for key, (p, s), *values in zip(keys, place, original, after, strict=True):
                        known[key] = _row(key, method, some, p, s, *values)
                        file.write(json.dumps(known[key]) + "\n")
                    file.flush()
                rows += [known[key] for key in keys]
    return _summary(rows)


def _complete(text: str, names: Sequence[str]) -> ComposedPrompt:
    """A text with several targets, put to it as the first one is."""
    first = TARGETS[names[0]]
    targets = tuple(TARGETS[name].text for name in names)
    return compose(text, targets, first.mode, first.replace)


def _row(
    key: str,
    method: str,
    targets: Sequence[str],
    prompt: int,
    seed: int,
    original: Look,
    tuned: Look,
) -> dict:
    asked = [TARGETS[name] for name in targets]
    before, after = original.values, settled(original, tuned, asked).values
    return {
        "key": key,
        "method": method,
        "target": JOIN.join(targets),
        "link": len(targets),
        "prompt": prompt,
        "seed": seed,
        "response": sum(m.responded(after, one) for one in asked) / len(asked),
        "pollution": m.pollution(before, after, asked),
        "changed": m.changed(before, after, asked),
    }


def _readings(
    base: Base,
    judges: Judges,
    prompts: Sequence[ComposedPrompt],
    place: Sequence[tuple[int, int]],
    tuned: Sequence[Tuned],
    config: EvaluateConfig,
) -> list[Look]:
    """What the judges read where the original or the tuned weights, added up, draw the complete
    texts.
    """
    adapters = [one.adapter for one in tuned if one.adapter]
    guide = guided_by(config, tuned[0].guide) if tuned else None
    path = TunedPath(base, prompts, guidance=config.guidance, guide=guide, compare=False)
    noise = initial_latents(base, [noise_seed(config.seed, p, s, first=NOISE) for p, s in place])
    with autocast(base, config.precision):
        pictures = base.pictures(
            path.draw(response(base, adapters, config.strength), noise, config.steps)
        )
    reading = judges.read(as_pixels(pictures))
    return [reading.look(index) for index in range(len(pictures))]


def _summary(rows: Sequence[Mapping]) -> list[dict]:
    found = []
    for method, link, target in dict.fromkeys(
        (row["method"], row["link"], row["target"]) for row in rows
    ):
        some = [row for row in rows if (row["method"], row["link"]) == (method, link)]
        groups = [row["prompt"] for row in some]
        means = {
            name: m.bootstrap_means([row[name] for row in some], groups)
            for name in ("response", "pollution")
        }
        pure = tuple(
            m.purity(a, b) for a, b in zip(means["response"], means["pollution"], strict=True)
        )
        for name, (value, draws) in (means | {"purity": pure}).items():
            low, high = m.interval(draws)
            numbers = {
                key: round(float(number), 6)
                for key, number in (("value", value), ("low", low), ("high", high))
            }
            found.append(
                {
                    "method": method,
                    "target": target,
                    "link": link,
                    "measure": name,
                    **numbers,
                    "n": len(some),
                }
            )
    return found
