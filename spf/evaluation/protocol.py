"""The protocol: for each target, held-out base texts and seeds; original against each method from the same noise.

    results = evaluate(base, judges, find_adapters(base, ["naive", "spf"], ["hat"]), EvaluateConfig(prompts=64), "runs/table")

Every pair becomes a line of rows.jsonl as soon as it is read, so a stopped evaluation continues where it was. The numbers
go to results.json and results.md, with bootstrap intervals over prompts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import accelerate
import numpy as np
import torch
from torch import Tensor

from spf.config import LARGEST_SEED, Config, choice, flag, real, whole
from spf.errors import BadInput
from spf.evaluation import measures as m
from spf.evaluation.judges import Judges
from spf.files import write_json
from spf.methods import adapter_name, fingerprint
from spf.models import Base
from spf.paths import Adapter, adapter_path, load_adapter, response
from spf.portraits.description import Target
from spf.portraits.render import REGIONS
from spf.portraits.tailored import BIAS, get_target
from spf.portraits.texts import base_captions
from spf.prompts import ComposedPrompt, compose
from spf.sampling import PathTrace, initial_latents, sample, sample_pair

ORIGINAL = "original"
"""As a method: the original weights asked for the complete text."""
MEASURES = {
    "response": "the target is there",
    "pollution": "share of the other attributes that changed",
    "purity": "harmonic mean of response and 1 - pollution",
    "pollution_bias": "pollution among the attributes that the tailored set has in common",
    "pollution_other": "pollution among the remaining attributes",
    "bias": "share of the attributes without the set's value that took it on",
    "identity": "cosine of the identity embeddings",
    "outside": "mean absolute change of the picture outside the target's true region",
    "retention": "share of all attributes unchanged when the tuned model draws the base text alone",
    "sfcm_iou": "overlap of the control map, at half its maximum, with the target's true region",
    "sfcm_ap": "average precision of the control map for that region",
}
GROW = 2
"""Pixels by which the true region is grown before the change outside it is taken."""
SEED_STEP = 64


@dataclass(frozen=True)
class EvaluateConfig(Config):
    prompts: int = whole(64, 1, 10_000, "held-out base texts for each target")
    seeds: int = whole(2, 1, SEED_STEP, "portraits for each base text")
    steps: int = whole(25, 1, 200, "denoising steps")
    guidance: float = real(4.0, 1.0, 20.0, "classifier-free guidance")
    strength: float = real(1.0, 0.0, 2.0, "how much of an adapter is applied")
    split: str = choice("test", ("test", "dev"), "identities and texts: test, or dev for choosing settings")
    seed: int = whole(0, 0, 2**20, "start of all random numbers")
    batch: int = whole(8, 1, 1024, "portraits drawn together")
    maps: int = whole(8, 0, 10_000, "base texts for which the control map is judged")
    retention: bool = flag(True, "also let the tuned model draw the base text alone")
    guided: bool = flag(False, "SFCM-guided sampling")


@dataclass(frozen=True, eq=False)
class Tuned:
    """One method's weights for one target; no adapter stands for the original weights. key: what they are."""

    method: str
    target: Target
    adapter: Adapter | None
    key: str


def find_adapters(base: Base, methods: Sequence[str], targets: Sequence[str], folder: str | Path | None = None) -> list[Tuned]:
    """The weights of each method for each target, read and checked.

    A method is a name ("spf", "naive", "original"), looked up in `folder` or checkpoints/adapters, or LABEL=FILE, where
    {target} in FILE stands for the target's name. Raises BadInput for what is not there.
    """
    found = []
    for target in map(get_target, targets):
        for method in methods:
            label, _, file = method.partition("=")
            if label == ORIGINAL and not file:
                found.append(Tuned(label, target, None, ""))
                continue
            name = adapter_name(target.name, label)
            source = file.replace("{target}", target.name) or (Path(folder) / f"{name}.safetensors" if folder else name)
            adapter, path = load_adapter(source, base), adapter_path(source)
            found.append(Tuned(label, target, adapter, hashlib.sha256(path.read_bytes()).hexdigest()[:16]))
    if len({(one.method, one.target.name) for one in found}) < len(found):
        raise BadInput("methods and targets must each be named once.")
    return found


def evaluate(
    base: Base,
    judges: Judges,
    tuned: Sequence[Tuned],
    config: EvaluateConfig,
    out: str | Path,
    *,
    callback: Callable[[int, int], None] | None = None,
) -> dict:
    """Draws, reads and measures every pair that rows.jsonl lacks, then writes results.json and results.md.

    callback: (pairs done, pairs in all); may raise Cancelled, and what was measured stays. Returns what results.json holds.
    """
    out, state = Path(out), accelerate.PartialState()
    out.mkdir(parents=True, exist_ok=True)
    jobs = [job for target in dict.fromkeys(one.target for one in tuned) for job in _jobs(base, target, tuned, config)]
    known = _known(out)
    done = sum(work.key in known for job in jobs for work in job.work)
    total = sum(len(job.work) for job in jobs)
    with (out / f"rows{'' if state.num_processes == 1 else f'-{state.process_index}'}.jsonl").open("a", encoding="utf-8") as file:
        for number, job in enumerate(jobs):
            missing = [work for work in job.work if work.key not in known]
            if not missing or number % state.num_processes != state.process_index:
                continue
            for row in _measured(base, judges, job, missing, config):
                file.write(json.dumps(row) + "\n")
                file.flush()
                done += 1
                if callback:
                    callback(done, total)
    state.wait_for_everyone()
    known = _known(out)
    rows = [known[work.key] for job in jobs for work in job.work if work.key in known]
    results = {"settings": config.to_dict() | {"model": base.name}, "measures": MEASURES, "rows": summary(rows)}
    if state.is_main_process:
        write_json(out / "results.json", results)
        (out / "results.md").write_text(table(results["rows"]), encoding="utf-8")
    return results


@dataclass(frozen=True)
class _Pair:
    """One base text and one seed, with its noise."""

    prompt: int
    seed: int
    texts: ComposedPrompt
    noise: int


@dataclass(frozen=True)
class _Work:
    """One pair to measure with one method's weights. key: everything that the row depends on."""

    pair: _Pair
    tuned: Tuned
    key: str


@dataclass(frozen=True)
class _Job:
    """Pairs that are drawn together, and what has to be measured on them."""

    pairs: list[_Pair]
    work: list[_Work]


def _jobs(base: Base, target: Target, tuned: Sequence[Tuned], config: EvaluateConfig) -> list[_Job]:
    captions = base_captions(target, config.prompts, config.seed, config.split)
    pairs = [
        _Pair(p, s, compose(made.text, target.text, target.mode, target.replace), _noise_seed(config.seed, p, s))
        for p, (_, made) in enumerate(captions)
        for s in range(config.seeds)
    ]
    same = [base.name, fingerprint(base.unet), config.steps, config.guidance, config.strength, config.guided]
    jobs = []
    for first in range(0, len(pairs), config.batch):
        some = pairs[first : first + config.batch]
        work = [
            _Work(pair, one, _key([*same, pair.texts.complete, pair.noise, one.method, target.name, one.key, config.retention,
                                   pair.prompt < config.maps]))
            for one in tuned if one.target == target for pair in some
        ]  # fmt: skip
        jobs.append(_Job(some, work))
    return jobs


def _noise_seed(seed: int, prompt: int, number: int) -> int:
    """Another seed for each pair, the same however many prompts and seeds are asked for."""
    return (seed * 1_000_003 + prompt * SEED_STEP + number) % (LARGEST_SEED + 1)


def _key(values: list) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:24]


def _known(out: Path) -> dict[str, dict]:
    """Rows measured so far by key; the last line of a killed process may be cut short and is left out."""
    rows = {}
    for path in sorted(out.glob("rows*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            rows[row["key"]] = row
    return rows


@dataclass
class _Read:
    """Pictures [B,H,W,3] in [0,1] and what the judges see in them."""

    images: np.ndarray
    values: list[dict[str, str]]
    identity: np.ndarray
    regions: np.ndarray


def _measured(base: Base, judges: Judges, job: _Job, missing: list[_Work], config: EvaluateConfig):
    """Rows of a job, method by method; the original portraits are drawn once for all of them."""
    spots = {(pair.prompt, pair.seed): index for index, pair in enumerate(job.pairs)}
    original = _read(base, judges, _draw(base, [pair.texts.base for pair in job.pairs], job.pairs, config))
    paths: dict[_Pair, PathTrace] = {}
    for tuned in dict.fromkeys(work.tuned for work in missing):
        pairs = [work.pair for work in missing if work.tuned is tuned]
        keys = [work.key for work in missing if work.tuned is tuned]
        latents, maps = _draw_tuned(base, tuned, pairs, config, paths)
        after, kept = _read(base, judges, latents), None
        if config.retention and tuned.adapter is not None:
            with response(base.unet, tuned.adapter, config.strength):
                kept = _read(base, judges, _draw(base, [pair.texts.base for pair in pairs], pairs, config))
        for index, (pair, key) in enumerate(zip(pairs, keys)):
            spot = spots[pair.prompt, pair.seed]
            yield {"key": key, "method": tuned.method, "target": tuned.target.name, "prompt": pair.prompt, "seed": pair.seed,
                   "text": pair.texts.complete} | _measure(original, spot, after, kept, index, maps.get(index), tuned.target)  # fmt: skip


def _draw(base: Base, texts: Sequence[str], pairs: Sequence[_Pair], config: EvaluateConfig) -> Tensor:
    """Latents that the active weights draw for one text and one noise each."""
    states, uncond = base.encode_text(list(texts)), base.encode_text([""])
    noise = initial_latents(base, [pair.noise for pair in pairs])
    return sample(base, noise, states, uncond, steps=config.steps, guidance=config.guidance)


def _draw_tuned(
    base: Base, tuned: Tuned, pairs: Sequence[_Pair], config: EvaluateConfig, paths: dict[_Pair, PathTrace]
) -> tuple[Tensor, dict[int, np.ndarray]]:
    """Latents of the complete texts, and the control map of those pairs for which it is judged, by number.

    paths: the original paths that were traced for other methods; new ones are added.
    """
    traced = [i for i, pair in enumerate(pairs) if config.guided or pair.prompt < config.maps]
    plain = [i for i in range(len(pairs)) if i not in traced]
    latents, maps = {}, {}
    adapters = [tuned.adapter] if tuned.adapter is not None else []
    if plain:
        some = [pairs[i] for i in plain]
        with response(base.unet, adapters, config.strength):
            latents |= dict(zip(plain, _draw(base, [pair.texts.complete for pair in some], some, config)))
    for i in traced:
        trace = sample_pair(
            base, pairs[i].texts, {tuned.method: adapters}, seeds=[pairs[i].noise], steps=config.steps,
            guidance=config.guidance, scale=config.strength, sfcm_guided=config.guided, original=paths.get(pairs[i]),
        )  # fmt: skip
        paths[pairs[i]] = trace.original
        path = trace.tuned[tuned.method]
        latents[i] = torch.from_numpy(path.latents[0]).to(base.device, base.dtype)
        if pairs[i].prompt < config.maps:
            maps[i] = path.mean_sfcm()[0]
    return torch.stack([latents[i] for i in range(len(pairs))]), maps


def _read(base: Base, judges: Judges, latents: Tensor) -> _Read:
    pictures = base.pictures(latents)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1  # [B,3,H,W]
    seen = judges.read(pixels)
    return _Read(pictures / 255, seen.values, seen.identity.cpu().numpy(), seen.regions.cpu().numpy())


def _measure(
    original: _Read, spot: int, after: _Read, kept: _Read | None, index: int, control: np.ndarray | None, target: Target
) -> dict:
    """All measures of one pair; None where one is not defined or was not taken."""
    before, now, bias = original.values[spot], after.values[index], BIAS[target.name]
    free = [name for name in m.compared(before, now, [target]) if name in bias and before[name] != bias[name]]
    found = {
        "response": float(m.responded(now, target)),
        "pollution": m.pollution(before, now, [target]),
        "pollution_bias": m.pollution(before, now, [target], among=bias.keys()),
        "pollution_other": m.pollution(before, now, [target], among=now.keys() - bias.keys()),
        "bias": sum(now[name] == bias[name] for name in free) / len(free) if free else math.nan,
        "identity": float(m.cosine(original.identity[spot], after.identity[index])),
        "outside": m.change_outside(
            original.images[spot], after.images[index],
            m.true_region(original.regions[spot], after.regions[index], target, REGIONS, GROW),
        ),
    }  # fmt: skip
    if kept is not None:
        found["retention"] = 1 - m.pollution(before, kept.values[index])
    if control is not None:
        region = m.true_region(original.regions[spot], after.regions[index], target, REGIONS)
        large = enlarged(control, region.shape)
        found |= {"sfcm_iou": m.iou(large, region, max(large.max() / 2, 1e-6)), "sfcm_ap": m.average_precision(large, region)}
    return {name: None if math.isnan(value) else round(value, 6) for name, value in found.items()} | {
        "changed": m.changed(before, now, [target])
    }


def enlarged(control: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map [h,w] at the size of the picture, bilinear."""
    map_ = torch.from_numpy(np.ascontiguousarray(control, np.float32))[None, None]
    return torch.nn.functional.interpolate(map_, shape, mode="bilinear", align_corners=False)[0, 0].numpy()


def summary(rows: Sequence[Mapping], resamples: int = 2000) -> list[dict]:
    """Rows of results.json: each measure for each method and target, and for all targets together, with 95% intervals."""
    found = []
    methods = list(dict.fromkeys(row["method"] for row in rows))
    targets = list(dict.fromkeys(row["target"] for row in rows))
    for target in targets + (["all"] if len(targets) > 1 else []):
        for method in methods:
            some = [row for row in rows if row["method"] == method and target in (row["target"], "all")]
            means = {name: _mean(some, name, resamples) for name in MEASURES if name != "purity"}
            for name in MEASURES:
                if name == "purity":
                    (a, first), (b, second) = means["response"][:2], means["pollution"][:2]
                    value, draws, n = m.purity(a, b), m.purity(first, second), means["response"][2]
                else:
                    value, draws, n = means[name]
                if n:
                    low, high = m.interval(draws)
                    numbers = {key: round(float(number), 6) for key, number in (("value", value), ("low", low), ("high", high))}
                    found.append({"method": method, "target": target, "measure": name, **numbers, "n": n})
    return found


def _mean(rows: Sequence[Mapping], name: str, resamples: int) -> tuple[float, np.ndarray, int]:
    values = [math.nan if row.get(name) is None else row[name] for row in rows]
    groups = [f"{row['target']} {row['prompt']}" for row in rows]
    if all(map(math.isnan, values)):
        return math.nan, np.full(resamples, math.nan), 0
    mean, draws = m.bootstrap_means(values, groups, resamples=resamples)
    return mean, draws, sum(not math.isnan(value) for value in values)


def table(rows: Sequence[Mapping]) -> str:
    """The summary as Markdown, one line for each method and target."""
    names = [name for name in MEASURES if any(row["measure"] == name for row in rows)]
    lines = ["| target | method | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for target, method in dict.fromkeys((row["target"], row["method"]) for row in rows):
        cells = []
        for name in names:
            row = next((r for r in rows if (r["target"], r["method"], r["measure"]) == (target, method, name)), None)
            cells.append(f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if row else "")
        lines.append(f"| {target} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
