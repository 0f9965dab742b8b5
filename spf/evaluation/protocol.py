"""The protocol: for each target, held-out base texts and seeds; original against each method from the same noise.

    results = evaluate(base, judges, find_adapters(base, ["naive", "spf"], ["hat"]), EvaluateConfig(prompts=64), "runs/table")

Every pair becomes a line of rows.jsonl as soon as it is read, so a stopped evaluation continues where it was, and its
pictures lie in pictures/. The original portrait of a base text and a noise is drawn once for all methods, and found again in
later runs. The numbers go to results.json and results.md, with bootstrap intervals over prompts. Under `accelerate launch`
the processes share the work.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import accelerate
import numpy as np
import torch

from spf.config import GUIDES, LARGEST_SEED, PUSH, Config, GenerateConfig, check_text, choice, flag, real, whole
from spf.edits import build
from spf.errors import BadInput
from spf.evaluation import measures as m
from spf.evaluation.columns import NOT_OFFLINE, perceptual, region_agreement
from spf.evaluation.entries import ORIGINAL, Tuned, find_adapters
from spf.evaluation.judges import Judges
from spf.evaluation.pictures import Album, Seen, see
from spf.evaluation.published import COLUMNS, absent, published
from spf.evaluation.summary import MEASURES, THRESHOLDS, curves, document, packed, summary, table, timesteps
from spf.files import atomic, write_json
from spf.methods import fingerprint
from spf.models import Base
from spf.paths import response
from spf.portraits.description import Target
from spf.portraits.render import REGIONS
from spf.portraits.tailored import BIAS
from spf.portraits.texts import base_captions
from spf.prompts import ComposedPrompt, compose, find
from spf.sampling import GuideConfig, Shown, Step, TunedPath, autocast, freed, initial_latents, sample

__all__ = ["MEASURES", "ORIGINAL", "EvaluateConfig", "Tuned", "evaluate", "find_adapters", "summary", "table"]
GROW = 2
"""Pixels by which the true region is grown before the change outside it is taken."""
SEED_STEP = 64
ROW_VERSION = 6
"""Rows of another version are measured anew."""


@dataclass(frozen=True)
class EvaluateConfig(Config):
    prompts: int = whole(64, 1, 10_000, "held-out base texts for each target")
    seeds: int = whole(2, 1, SEED_STEP, "portraits for each base text")
    steps: int = whole(25, 1, 200, "denoising steps")
    guidance: float = real(4.0, 1.0, 20.0, "classifier-free guidance")
    strength: float = real(1.0, 0.0, 2.0, "how much of an adapter is applied")
    split: str = choice("test", ("test", "dev"), "identities and texts: test, or dev for choosing settings")
    seed: int = whole(0, 0, 2**20, "start of all random numbers")
    precision: str = choice("fp32", ("fp32", "bf16"), "of the drawing; bf16 is faster where the hardware multiplies it")
    batch: int = whole(8, 1, 1024, "portraits drawn together")
    maps: int = whole(8, 0, 10_000, "base texts for which the control map is judged")
    retention: bool = flag(True, "also let the tuned model draw the base text alone")
    guided: str = choice("", ("", *GUIDES), "SFCM-guided sampling where a method does not say, or none")
    guided_from: float = real(0.0, 0.0, 1.0, "share of the steps after which it begins, where a method does not say")
    push: float = real(0.0, *PUSH, GenerateConfig.help("push"))

    def guide(self, own: GuideConfig | None) -> GuideConfig | None:
        """How a method that asks for `own` is guided under these settings."""
        found = own or (GuideConfig(self.guided, start=self.guided_from) if self.guided else None)
        return found and replace(found, push=found.push or self.push)


def evaluate(
    base: Base,
    judges: Judges,
    tuned: Sequence[Tuned],
    config: EvaluateConfig,
    out: str | Path,
    *,
    texts: Sequence[str] = (),
    originals: str | Path | None = None,
    chained: Callable[[], list[dict]] | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> dict:
    """Draws, reads and measures every pair that rows.jsonl lacks, then writes results.json and results.md.

    texts: base texts to use instead of the held-out captions (config.prompts of them at most). originals: a folder in which
    the original portraits are kept, for several evaluations to share; `out`/originals by default. chained: gives the rows of
    `spf.evaluation.chains`, if they are wanted.
    callback: (pairs done, pairs in all); may raise Cancelled, and what was measured stays. Returns what results.json holds.
    Raises BadInput for a text into which a target cannot be put.
    """
    out, state = Path(out), accelerate.PartialState(cpu=not torch.cuda.is_available())
    jobs = [job for target in dict.fromkeys(one.target for one in tuned) for job in _jobs(base, target, tuned, config, texts)]
    out.mkdir(parents=True, exist_ok=True)
    known = _known(out)
    done = sum(work.key in known for job in jobs for work in job.work)
    total = sum(len(job.work) for job in jobs)
    desk = _Desk(base, judges, config, Album(Path(originals or out / "originals")), Album(out / "pictures"), out / "maps")
    name = f"rows{'' if state.num_processes == 1 else f'-{state.process_index}'}.jsonl"
    with (out / name).open("a", encoding="utf-8") as file:
        for number, job in enumerate(jobs):
            missing = [work for work in job.work if work.key not in known]
            if not missing or number % state.num_processes != state.process_index:
                continue
            for row in desk.measured(job, missing):
                file.write(json.dumps(row) + "\n")
                file.flush()
                done += 1
                if callback:
                    callback(done, total)
    state.wait_for_everyone()
    known = _known(out)
    rows = [known[work.key] for job in jobs for work in job.work if work.key in known]
    extra = published(rows, desk.originals, desk.pictures) if state.is_main_process else []
    results = {
        "settings": config.to_dict() | {"model": base.name},
        "measures": MEASURES | {row["measure"]: COLUMNS[row["measure"]] for row in extra},
        "rows": summary(rows) + extra,
        "timesteps": timesteps(rows),
        "absent": NOT_OFFLINE | absent(),
    }
    results["curves"] = curves(results["rows"], {one.method: (one.curve, one.step) for one in tuned if one.step is not None})
    if chained and state.is_main_process:
        results["chains"] = chained()
    if state.is_main_process:
        write_json(out / "results.json", results)
        (out / "results.md").write_text(document(results), encoding="utf-8")
    return results


def read_texts(path: str | Path) -> list[str]:
    """Base texts from a file, one a line; empty lines and those that begin with # are left out. Raises BadInput."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"prompts is {str(path)!r} but must be a number or a text file with one base text a line.") from error
    found = [check_text("prompts", line) for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise BadInput(f"prompts is {str(path)!r} but that file holds no text.")
    return found


@dataclass(frozen=True)
class _Pair:
    """One base text and one seed, with its noise; original: key of its original portrait."""

    prompt: int
    seed: int
    texts: ComposedPrompt
    noise: int
    original: str


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


def _jobs(base: Base, target: Target, tuned: Sequence[Tuned], config: EvaluateConfig, texts: Sequence[str]) -> list[_Job]:
    drawn = [base.name, fingerprint(base.unet), config.steps, config.guidance, config.precision]
    pairs = []
    for p, text in enumerate(_base_texts(target, config, texts)):
        prompt = compose(text, target.text, target.mode, target.replace)
        for s in range(config.seeds):
            noise = _noise_seed(config.seed, p, s)
            pairs.append(_Pair(p, s, prompt, noise, _key([*drawn, prompt.base, noise])))
    same = [ROW_VERSION, *drawn, config.strength]
    jobs = []
    for first in range(0, len(pairs), config.batch):
        some = pairs[first : first + config.batch]
        work = [
            _Work(pair, one, _key([*same, pair.texts.complete, pair.noise, one.method, target.name, one.key, config.retention,
                                   _shown(config.guide(one.guide)), pair.prompt < config.maps]))
            for one in tuned if one.target == target for pair in some
        ]  # fmt: skip
        jobs.append(_Job(some, work))
    return jobs


def _base_texts(target: Target, config: EvaluateConfig, texts: Sequence[str]) -> list[str]:
    """The given texts that the target fits into, or as many held-out captions as are asked for."""
    if not texts:
        return [made.text for _, made in base_captions(target, config.prompts, config.seed, config.split)]
    fits = [text for text in texts if target.mode == "append" or find(text, target.replace)]
    if not fits:
        raise BadInput(f'prompts has no text with the word "{target.replace}", which the target {target.name} replaces.')
    return fits[: config.prompts]


def _shown(guide: GuideConfig | None) -> dict | None:
    return guide and guide.to_dict()


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
class _Looks:
    """Maps of one pair over the steps: name -> [S,h,w], or [1,h,w] for one that is the same in all, and the timesteps."""

    timesteps: list[int] = field(default_factory=list)
    maps: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Desk:
    """Where pairs are drawn and measured, job by job."""

    base: Base
    judges: Judges
    config: EvaluateConfig
    originals: Album
    pictures: Album
    maps: Path

    def measured(self, job: _Job, missing: Sequence[_Work]) -> Iterator[dict]:
        """Rows of a job, method by method; originals are drawn once for all of them, and what a model keeps once for its weights."""
        spots = {pair.original: index for index, pair in enumerate(job.pairs)}
        guides = {work.tuned: self.guide(work.tuned) for work in missing}
        portraits, eps = self.original(job.pairs, follow=any(guide and guide.follows for guide in guides.values()))
        original = see(self.base, self.judges, portraits)
        said = self.said(missing)
        kept: dict[str, dict[str, dict[str, str]]] = {}
        for tuned in dict.fromkeys(work.tuned for work in missing):
            works = [work for work in missing if work.tuned is tuned]
            pairs = [work.pair for work in works]
            known = None if eps is None else eps[:, [spots[pair.original] for pair in pairs]]
            pictures, looks = self.draw(tuned, pairs, known)
            self.pictures.keep([work.key for work in works], pictures)
            after = see(self.base, self.judges, pictures)
            far = None
            if original.features:
                before = [level[[spots[pair.original] for pair in pairs]] for level in original.features]
                far = perceptual(before, after.features)
            if self.config.retention and tuned.adapter is not None:
                self.keep(tuned, pairs, kept.setdefault(_keeper(tuned, guides[tuned]), {}))
            keeps = kept.get(_keeper(tuned, guides[tuned]), {})
            for index, look in looks.items():
                with atomic(self.maps / f"{works[index].key}.npz") as draft, draft.open("wb") as file:
                    np.savez_compressed(file, **{name: maps.astype(np.float16) for name, maps in look.maps.items()})
            for index, (pair, work) in enumerate(zip(pairs, works)):
                spot = spots[pair.original]
                row = {
                    "key": work.key, "method": tuned.method, "target": tuned.target.name, "prompt": pair.prompt, "seed": pair.seed,
                    "text": pair.texts.complete, "base": pair.texts.base, "noise": pair.noise, "adapter": tuned.name,
                    "original": pair.original, "edit": tuned.edit, "guided": _shown(guides[tuned]),
                    "kept": _kept(_keeper(tuned, guides[tuned]), pair) if pair.original in keeps else "",
                }  # fmt: skip
                row |= _measure(original, spot, after, keeps.get(pair.original), index, looks.get(index), tuned.target)
                row |= _clip(original.clip, spot, after.clip, index, [said.get(text) for text in (pair.texts.complete, pair.texts.target)])
                if far is not None:
                    row["perceptual_judges"] = round(float(far[index]), 6)
                yield row

    def said(self, missing: Sequence[_Work]) -> dict[str, np.ndarray]:
        """CLIP embeddings of the texts; none without CLIP."""
        if self.base.clip is None:
            return {}
        texts = list(dict.fromkeys(text for work in missing for text in (work.pair.texts.complete, work.pair.texts.target)))
        return dict(zip(texts, self.base.clip_texts(texts).float().cpu().numpy()))

    def guide(self, tuned: Tuned) -> GuideConfig | None:
        """How a method is guided; a target without a place, such as a style, leaves nothing to hold."""
        guide = self.config.guide(tuned.guide)
        return guide if guide is None or tuned.target.regions else freed(guide)

    def original(self, pairs: Sequence[_Pair], follow: bool) -> tuple[np.ndarray, torch.Tensor | None]:
        """(the original portraits uint8 [B,H,W,3], the predictions [S,B,C,h,w] that led to them if `follow`).

        Portraits that an earlier run has drawn are not drawn again, unless they are followed.
        """
        found = {pair.original: self.originals.get(pair.original) for pair in pairs}
        absent = [pair for pair in pairs if follow or found[pair.original] is None]
        eps: list[torch.Tensor] = []
        if absent:
            drawn = self.plain([pair.texts.base for pair in absent], absent, lambda step: eps.append(step.eps))
            new = {pair.original: picture for pair, picture in zip(absent, drawn) if found[pair.original] is None}
            self.originals.keep(list(new), list(new.values()))
            found |= new
        return np.stack([found[pair.original] for pair in pairs]), torch.stack(eps) if follow else None

    def plain(self, texts: Sequence[str], pairs: Sequence[_Pair], watch: Callable[[Step], None] | None = None) -> np.ndarray:
        """What the active weights draw for one text and one noise each."""
        states, uncond = self.base.encode_text(list(texts)), self.base.encode_text([""])
        noise = initial_latents(self.base, [pair.noise for pair in pairs])
        with autocast(self.base, self.config.precision):
            drawn = sample(self.base, noise, states, uncond, steps=self.config.steps, guidance=self.config.guidance, callback=watch)
            return self.base.pictures(drawn)

    def keep(self, tuned: Tuned, pairs: Sequence[_Pair], kept: dict[str, dict[str, str]]) -> None:
        """Adds what the judges see where the tuned weights draw the base texts alone."""
        absent, guide = [pair for pair in pairs if pair.original not in kept], self.guide(tuned)
        if absent and guide and guide.follows:
            alone = [replace(pair, texts=compose(pair.texts.base)) for pair in absent]
            drawn = self.draw(tuned, alone, look=False)[0]
        elif absent:
            with response(self.base.unet, tuned.adapter, self.config.strength):
                drawn = self.plain([pair.texts.base for pair in absent], absent)
        if absent:
            self.pictures.keep([_kept(_keeper(tuned, guide), pair) for pair in absent], drawn)
            seen = see(self.base, self.judges, drawn, closely=False)
            kept |= dict(zip([pair.original for pair in absent], seen.values))

    def draw(
        self, tuned: Tuned, pairs: Sequence[_Pair], known: torch.Tensor | None = None, look: bool = True
    ) -> tuple[np.ndarray, dict[int, _Looks]]:
        """Pictures of the complete texts, and the maps of those pairs for which they are judged, by number.

        known [S,B,C,h,w]: predictions of the originals' drawing, if they are known.
        """
        guide = self.guide(tuned)
        looked = [i for i, pair in enumerate(pairs) if look and pair.prompt < self.config.maps]
        others = [i for i in range(len(pairs)) if i not in looked]
        adapters = [tuned.adapter] if tuned.adapter is not None else []
        switch = response(self.base.unet, adapters, self.config.strength)
        pictures: dict[int, np.ndarray] = {}
        looks: dict[int, _Looks] = {}
        for rows, compare in ((looked, True), (others, False)):
            if rows:
                path = TunedPath(
                    self.base, [pairs[i].texts for i in rows], guidance=self.config.guidance, guide=guide,
                    edit=build(tuned.edit) if tuned.edit else None, compare=compare,
                )  # fmt: skip
                watch = _Watch()
                noise = initial_latents(self.base, [pairs[i].noise for i in rows])
                with autocast(self.base, self.config.precision):
                    followed = known[:, rows] if known is not None and path.follows else None
                    latents = path.draw(switch, noise, self.config.steps, watch if compare else None, known=followed)
                    pictures |= dict(zip(rows, self.base.pictures(latents)))
                looks |= {row: watch.looks(place, path.held) for place, row in enumerate(rows)} if compare else {}
        return np.stack([pictures[i] for i in range(len(pairs))]), looks


def _keeper(tuned: Tuned, guide: GuideConfig | None) -> str:
    """What the base text alone is drawn by: weights, following the original or not."""
    return f"{guide.map}-{tuned.weights}" if guide and guide.follows else tuned.weights


def _kept(keeper: str, pair: _Pair) -> str:
    """Key of what is drawn for the base text alone."""
    return f"kept-{keeper}-{pair.original}"


class _Watch:
    """Keeps the maps of every step."""

    def __init__(self) -> None:
        self.timesteps: list[int] = []
        self.maps: dict[str, list[np.ndarray]] = {"sfcm": [], "difference": [], "attention": []}

    def __call__(self, step: Step, shown: Shown) -> None:
        self.timesteps.append(step.timestep)
        for name, kept in self.maps.items():
            kept.append(getattr(shown, name).float().cpu().numpy())

    def looks(self, row: int, held: torch.Tensor | None) -> _Looks:
        """held: the map of a held drawing, which has no steps."""
        maps = {name: np.stack([step[row] for step in steps]) for name, steps in self.maps.items()}
        return _Looks(self.timesteps, maps if held is None else maps | {"held": held[row : row + 1].float().cpu().numpy()})


def _measure(
    original: Seen, spot: int, after: Seen, kept: Mapping[str, str] | None, index: int, looks: _Looks | None, target: Target
) -> dict:
    """All measures of one pair but CLIP's; None where one is not defined or was not taken."""
    before, now, bias = original.values[spot], after.values[index], BIAS.get(target.name, {})
    free = [name for name in m.compared(before, now, [target]) if name in bias and before[name] != bias[name]]
    pictures = original.images[spot], after.images[index]
    regions = original.regions[spot], after.regions[index]
    grown = m.true_region(*regions, target, REGIONS, GROW)
    found = {
        "response": float(m.responded(now, target)),
        "pollution": m.pollution(before, now, [target]),
        "pollution_bias": m.pollution(before, now, [target], among=bias.keys()),
        "pollution_other": m.pollution(before, now, [target], among=now.keys() - bias.keys()),
        "pollution_clear": m.pollution(before, now, [target], among=original.clear[spot]),
        "bias": sum(now[name] == bias[name] for name in free) / len(free) if free else math.nan,
        "identity": float(m.cosine(original.identity[spot], after.identity[index])),
        "outside": m.change_outside(*pictures, grown),
        "outside_ratio": m.change_ratio(*pictures, grown),
        "region_agreement": region_agreement(*regions),
    }
    if kept is not None:
        found["retention"] = 1 - m.pollution(before, kept)
    more: dict = {"changed": m.changed(before, now, [target])}
    if looks is not None:
        region = m.true_region(*regions, target, REGIONS)
        more |= {"timesteps": looks.timesteps, "steps": {}}
        for name, maps in looks.maps.items():
            quality = _quality(maps.mean(0), region)
            found |= {f"{name}_{kind}": value for kind, value in quality.items()}
            more[f"{name}_ious"] = [_rounded(value) for value in _overlaps(maps.mean(0), region)]
            if len(maps) < len(looks.timesteps):
                continue
            each = [_quality(one, region) for one in maps]
            more["steps"] |= {f"{name}_{kind}": [_rounded(step[kind]) for step in each] for kind in quality}
    return {name: _rounded(value) for name, value in found.items()} | more


def _quality(found: np.ndarray, region: np.ndarray) -> dict[str, float]:
    """Overlap (at half the maximum) and average precision of a map [h,w] for the true region [H,W]."""
    large = enlarged(found, region.shape)
    return {"iou": m.iou(large, region, max(large.max() / 2, 1e-6)), "ap": m.average_precision(large, region)}


def _overlaps(found: np.ndarray, region: np.ndarray) -> list[float]:
    """Overlap of a map [h,w] with the true region [H,W] at each of THRESHOLDS, which are parts of its maximum."""
    large = enlarged(found, region.shape)
    return [m.iou(large, region, max(large.max() * part, 1e-6)) for part in THRESHOLDS]


def _clip(before: np.ndarray | None, spot: int, after: np.ndarray | None, index: int, texts: Sequence[np.ndarray | None]) -> dict:
    """CLIP's measures of one pair and its two embeddings; empty without CLIP."""
    if before is None or after is None or any(text is None for text in texts):
        return {}
    found = {"clip_image": m.cosine(before[spot], after[index])}
    found |= {name: m.cosine(after[index], text) for name, text in zip(("clip_complete", "clip_target"), texts)}
    return {name: _rounded(float(value)) for name, value in found.items()} | {
        "clip_before": packed(before[spot]), "clip": packed(after[index])
    }  # fmt: skip


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def enlarged(control: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map [h,w] at the size of the picture, bilinear."""
    map_ = torch.from_numpy(np.ascontiguousarray(control, np.float32))[None, None]
    return torch.nn.functional.interpolate(map_, shape, mode="bilinear", align_corners=False)[0, 0].numpy()
