"""Draws the pairs of an evaluation, lets the judges read them and measures what they see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spf.control import settings_of
from spf.edits import build
from spf.evaluation.columns import perceptual
from spf.evaluation.entries import Tuned
from spf.evaluation.judges import Judges
from spf.evaluation.measured import Looks, measured
from spf.evaluation.measured import Pair as Looked
from spf.evaluation.pictures import Album, Seen, see
from spf.evaluation.plan import EvaluateConfig, Job, Pair, Work, guided_by, shown_guide
from spf.evaluation.visible import settled
from spf.files import atomic
from spf.models import Base
from spf.paths import response
from spf.portraits.description import Target
from spf.prompts import compose
from spf.sampling import (
    GuideConfig,
    Shown,
    Step,
    TunedPath,
    autocast,
    freed,
    initial_latents,
    sample,
)


@dataclass(frozen=True)
class Desk:
    """Where pairs are drawn and measured, job by job."""

    base: Base
    judges: Judges
    config: EvaluateConfig
    originals: Album
    pictures: Album
    maps: Path

    def measured(self, job: Job, missing: Sequence[Work]) -> Iterator[dict]:
        """Rows of a job, method by method; originals are drawn once for all of them, and what a
        model keeps once for its weights.
        """
        spots = {pair.original: index for index, pair in enumerate(job.pairs)}
        guides = {work.tuned: self.guide(work.tuned) for work in missing}
        portraits, predicted = self.original(
            job.pairs, follow=any(guide and guide.follows for guide in guides.values())
        )
        original = see(self.base, self.judges, portraits)
        said = self.said(missing)
        kept: dict[str, dict[str, dict[str, str]]] = {}
        for tuned in dict.fromkeys(work.tuned for work in missing):
            works = [work for work in missing if work.tuned is tuned]
            pairs = [work.pair for work in works]
            known = None
            if predicted is not None:
                known = predicted[:, [spots[pair.original] for pair in pairs]]
            pictures, looks = self.draw(tuned, pairs, known)
            self.pictures.keep([work.key for work in works], pictures)
            after = see(self.base, self.judges, pictures)
            far = None
            if original.features:
                before = [
                    level[[spots[pair.original] for pair in pairs]] for level in original.features
                ]
                far = perceptual(before, after.features)
            if self.config.retention and tuned.adapter is not None:
                self.keep(tuned, pairs, kept.setdefault(_keeper(tuned, guides[tuned]), {}))
            keeps = kept.get(_keeper(tuned, guides[tuned]), {})
            for index, look in looks.items():
                _store_maps(look.maps, self.maps / f"{works[index].key}.npz")
            for index, (pair, work) in enumerate(zip(pairs, works, strict=True)):
                spot = spots[pair.original]
                row = _pair_row(work, guides[tuned], pair.original in keeps)
                looked = looked_at(
                    original,
                    spot,
                    after,
                    index,
                    tuned.target,
                    kept=keeps.get(pair.original),
                    texts=[said.get(text) for text in (pair.texts.complete, pair.texts.target)],
                    far=None if far is None else float(far[index]),
                    looks=looks.get(index),
                )
                yield row | measured(looked)

    def said(self, missing: Sequence[Work]) -> dict[str, np.ndarray]:
        """CLIP embeddings of the texts; none without CLIP."""
        if self.base.clip is None:
            return {}
        texts = list(
            dict.fromkeys(
                text
                for work in missing
                for text in (work.pair.texts.complete, work.pair.texts.target)
            )
        )
        return dict(zip(texts, self.base.clip_texts(texts).float().cpu().numpy(), strict=True))

    def guide(self, tuned: Tuned) -> GuideConfig | None:
        """How a method is guided; a target without a place, such as a style, leaves nothing to
        hold.
        """
        guide = guided_by(self.config, tuned.guide)
        return guide if guide is None or tuned.target.regions else freed(guide)

    def original(
        self, pairs: Sequence[Pair], follow: bool
    ) -> tuple[np.ndarray, torch.Tensor | None]:
        """(the original portraits uint8 [B,H,W,3], the predictions [S,B,C,h,w] that led to them if
        `follow`).

        Portraits that an earlier run has drawn are not drawn again, unless they are followed.
        """
        found = {pair.original: self.originals.get(pair.original) for pair in pairs}
        absent = [pair for pair in pairs if follow or found[pair.original] is None]
        predicted: list[torch.Tensor] = []
        if absent:
            drawn = self.plain(
                [pair.texts.base for pair in absent],
                absent,
                lambda step: predicted.append(step.predicted),
            )
            new = {
                pair.original: picture
                for pair, picture in zip(absent, drawn, strict=True)
                if found[pair.original] is None
            }
            self.originals.keep(list(new), list(new.values()))
            found |= new
        portraits = np.stack([found[pair.original] for pair in pairs])
        return portraits, torch.stack(predicted) if follow else None

    def plain(
        self,
        texts: Sequence[str],
        pairs: Sequence[Pair],
        watch: Callable[[Step], None] | None = None,
    ) -> np.ndarray:
        """What the active weights draw for one text and one noise each."""
        states, uncond = self.base.encode_text(list(texts)), self.base.encode_text([""])
        noise = initial_latents(self.base, [pair.noise for pair in pairs])
        with autocast(self.base, self.config.precision):
            drawn = sample(
                self.base,
                noise,
                states,
                uncond,
                steps=self.config.steps,
                guidance=self.config.guidance,
                callback=watch,
            )
            return self.base.pictures(drawn)

    def keep(self, tuned: Tuned, pairs: Sequence[Pair], kept: dict[str, dict[str, str]]) -> None:
        """Adds what the judges see where the tuned weights draw the base texts alone."""
        absent, guide = [pair for pair in pairs if pair.original not in kept], self.guide(tuned)
        if absent and guide and guide.follows:
            alone = [replace(pair, texts=compose(pair.texts.base)) for pair in absent]
            drawn = self.draw(tuned, alone, look=False)[0]
        elif absent:
            with response(self.base, tuned.adapter, self.config.strength):
                drawn = self.plain([pair.texts.base for pair in absent], absent)
        if absent:
            self.pictures.keep([_kept(_keeper(tuned, guide), pair) for pair in absent], drawn)
            seen = see(self.base, self.judges, drawn, closely=False)
            kept |= dict(zip([pair.original for pair in absent], seen.values, strict=True))

    def draw(
        self,
        tuned: Tuned,
        pairs: Sequence[Pair],
        known: torch.Tensor | None = None,
        look: bool = True,
    ) -> tuple[np.ndarray, dict[int, Looks]]:
        """Pictures of the complete texts, and the maps of those pairs for which they are judged, by
        number.

        known [S,B,C,h,w]: predictions of the originals' drawing, if they are known.
        """
        guide = self.guide(tuned)
        looked = [i for i, pair in enumerate(pairs) if look and pair.prompt < self.config.maps]
        others = [i for i in range(len(pairs)) if i not in looked]
        adapters = [tuned.adapter] if tuned.adapter is not None else []
        switch = response(self.base, adapters, self.config.strength)
        pictures: dict[int, np.ndarray] = {}
        looks: dict[int, Looks] = {}
        for rows, compare in ((looked, True), (others, False)):
            if rows:
                path = TunedPath(
                    self.base,
                    [pairs[i].texts for i in rows],
                    guidance=self.config.guidance,
                    settings=settings_of([adapter.metadata for adapter in adapters]),
                    guide=guide,
                    edit=build(tuned.edit) if tuned.edit else None,
                    compare=compare,
                )
                watch = _Watch()
                noise = initial_latents(self.base, [pairs[i].noise for i in rows])
                with autocast(self.base, self.config.precision):
                    followed = known[:, rows] if known is not None and path.follows else None
                    latents = path.draw(
                        switch, noise, self.config.steps, watch if compare else None, known=followed
                    )
                    pictures |= dict(zip(rows, self.base.pictures(latents), strict=True))
                looks |= (
                    {row: watch.looks(place, path.held) for place, row in enumerate(rows)}
                    if compare
                    else {}
                )
        return np.stack([pictures[i] for i in range(len(pairs))]), looks


def _keeper(tuned: Tuned, guide: GuideConfig | None) -> str:
    """What the base text alone is drawn by: weights, following the original or not."""
    return f"{guide.map}-{tuned.weights}" if guide and guide.follows else tuned.weights


def _kept(keeper: str, pair: Pair) -> str:
    """Key of what is drawn for the base text alone."""
    return f"kept-{keeper}-{pair.original}"


def _pair_row(work: Work, guide: GuideConfig | None, kept: bool) -> dict[str, Any]:
    """What a row says of its pair before anything is measured. kept: whether the base text alone
    was drawn as well.
    """
    tuned, pair = work.tuned, work.pair
    return {
        "key": work.key,
        "method": tuned.method,
        "target": tuned.target.name,
        "prompt": pair.prompt,
        "seed": pair.seed,
        "text": pair.texts.complete,
        "base": pair.texts.base,
        "noise": pair.noise,
        "adapter": tuned.name,
        "original": pair.original,
        "edit": tuned.edit,
        "guided": shown_guide(guide),
        "kept": _kept(_keeper(tuned, guide), pair) if kept else "",
    }


def _store_maps(maps: Mapping[str, np.ndarray], path: Path) -> None:
    with atomic(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **{name: one.astype(np.float16) for name, one in maps.items()})


class _Watch:
    """Keeps the maps of every step."""

    def __init__(self) -> None:
        self.timesteps: list[int] = []
        self.maps: dict[str, list[np.ndarray]] = {"sfcm": [], "difference": [], "attention": []}

    def __call__(self, step: Step, shown: Shown) -> None:
        self.timesteps.append(step.timestep)
        for name, kept in self.maps.items():
            if (map_ := getattr(shown, name)) is not None:
                kept.append(map_.float().cpu().numpy())

    def looks(self, row: int, held: torch.Tensor | None) -> Looks:
        """held: the map of a held drawing, which has no steps."""
        maps = {
            name: np.stack([step[row] for step in steps])
            for name, steps in self.maps.items()
            if steps
        }
        return Looks(
            self.timesteps,
            maps if held is None else maps | {"held": held[row : row + 1].float().cpu().numpy()},
        )


def looked_at(
    original: Seen,
    spot: int,
    after: Seen,
    index: int,
    target: Target,
    *,
    kept: Mapping[str, str] | None,
    texts: Sequence[np.ndarray | None],
    far: float | None,
    looks: Looks | None,
) -> Looked:
    """The pair of an original portrait (at `spot`) and a tuned one (at `index`) as the measures
    take it.
    """
    seen = settled(original.reading.look(spot), after.reading.look(index), [target])
    with_clip = original.clip is not None and after.clip is not None
    known = with_clip and all(text is not None for text in texts)
    return Looked(
        target,
        original.values[spot],
        seen.values,
        original.clear[spot],
        (original.images[spot], after.images[index]),
        (original.regions[spot], after.regions[index]),
        (original.identity[spot], after.identity[index]),
        redrawn=seen.redrawn,
        kept=kept,
        clip=(original.clip[spot], after.clip[index]) if known else None,
        texts=tuple(texts) if known else None,
        perceptual=far,
        looks=looks,
    )
