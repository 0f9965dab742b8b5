"""The sole owner of the loaded model: one request at a time, a stream of progress, one result.

Whoever holds the lock sets all state that its work depends on (adapter, recorder, scheduler copy)
through context managers and trusts nothing that the last one left. Nothing here knows of a page;
torch is imported with the model, so that a page can be served before.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .answers import Column, Paper, Progress, Result, Words
from .config import AUTO, EMBEDDED, JOIN, MODEL, GenerateConfig, follows
from .errors import BadInput, SpfError, Withheld
from .evaluation.report import pair_reading, pair_report
from .loading import load, load_judges
from .prompts import (
    Spelling,
    known_words,
    near_words,
    overflow,
    spelling,
    unknown_words,
)
from .shelf import NAIVE, ORIGINAL, TUNED, Fits, Shelf, checkpoints, counterparts
from .streaming import Check, Tell, streamed
from .targets import composed, known_targets, target_region
from .traits import in_words
from .watching import Watch
from .weights import Loaded
from .words import parted

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CLIPTokenizer

    from .models import Base
    from .paths import Adapter
    from .rereading import Reading
    from .safety import Checker
    from .sampling import Kept, Trace

log = logging.getLogger(__name__)

KEPT = 2**28
"""Bytes of earlier drawings that are kept, so that a part that is asked for again is there."""
BESIDE = 2
"""Tuned models that are drawn beside the first one at most: with the original, four columns."""
ROW, SPARE, LONGEST = 0.04, 8, 120
"""Seconds of a lent GPU: for a row of the UNet before one was timed, beside the rows, at most."""


class Engine:
    """A base model, its adapters and its judges, behind one lock.

    model: embedded, a folder, or a known hub id. folder: where adapters and judges lie. own: where
    the adapters that are tuned here are put. filtered: whether the safety checker looks at what a
    real model draws.
    Nothing is loaded until `start`, `load` or the first request.
    """

    def __init__(
        self,
        model: str = MODEL,
        device: str | None = None,
        folder: Path | None = None,
        own: Path | None = None,
        filtered: bool = True,
    ) -> None:
        self.model, self.device, self.filtered = model, device, filtered
        self.folder = Path(folder or checkpoints())
        self.shelf = Shelf((self.folder / "adapters", *([own] if own else [])))
        self.base: Base | None = None
        self.problem = ""
        self._timed: deque[float] = deque(maxlen=5)
        self._copied: tuple[Any, Any] = (None, None)
        self._tried = threading.Event()
        self._unlock()
        _ENGINES.add(self)

    def _unlock(self) -> None:
        """New locks, which nobody holds."""
        self._lock = threading.Lock()
        self._spelling = threading.Lock()

    # loading

    @property
    def state(self) -> str:
        """loading, ready or failed (then `problem` says why)."""
        return "ready" if self.base else "failed" if self.problem else "loading"

    def start(self) -> None:
        """Loads in the background."""
        threading.Thread(target=self._try_load, name="load", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Returns once loading has ended, well or not; False after the timeout."""
        return self._tried.wait(timeout)

    def _try_load(self) -> None:
        try:
            self.load()
        except SpfError as error:
            log.error("The model was not loaded: %s", error)
        except Exception:
            log.exception("The model was not loaded.")

    def load(self) -> Base:
        """The base model, loaded once. Raises BadInput or UnsafeFile; the next call tries again."""
        with self._lock:
            return self._load()

    def _load(self) -> Base:
        if self.base is None:
            try:
                base = load(self.model, device=self.device)
                _ = base.weights  # now, while the denoiser has its own
                self.base, self.problem = base, ""
            except Exception as error:
                self.problem = str(error)
                raise
            finally:
                self._tried.set()
        return self.base

    def load_all(self) -> None:
        """The base with CLIP and the judges: all that a drawing reads, for a process that is copied
        before it draws.
        """
        self.load()
        _ = self.base.clip, self.judges, self.checker

    @cached_property
    def kept(self) -> Kept:
        """What later drawings take from earlier ones."""
        from .sampling import Kept

        return Kept(KEPT)

    @contextmanager
    def borrowed(self, check: Callable[[], None] = lambda: None) -> Iterator[Base]:
        """The model, while nobody else works with it. check: called while one waits; may raise."""
        while not self._lock.acquire(timeout=0.1):
            check()
        try:
            yield self._load()
        finally:
            self._lock.release()

    @cached_property
    def judges(self):
        """The networks that read attributes and identity; None where there are none
        for this base.
        """
        return load_judges(self.base, self.folder)

    @cached_property
    def checker(self) -> Checker | None:
        """What looks at a real model's pictures; None for drawings, unfiltered, or where there is
        none.
        """
        if not self.filtered or self.base.name == EMBEDDED:
            return None
        from .safety import load_checker

        return load_checker(self.base.folder, self.base.device)

    def screened(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 pictures [B,H,W,3] on the way, those that the safety checker finds as mosaics."""
        if self.checker is None:
            return pictures
        from .safety import mosaic

        pairs = zip(pictures, self.checker.finds(pictures), strict=True)
        return np.stack([mosaic(one) if found else one for one, found in pairs])

    def _picture(self, latents: Tensor) -> np.ndarray:
        """uint8 [H,W,3] on the way, of latents [1,C,h,w]."""
        return self.screened(self.base.pictures(latents))[0]

    def require_shown(self, pictures: Sequence[np.ndarray]) -> None:
        """Raises Withheld where the safety checker finds one of the pictures [H,W,3]."""
        if self.checker is not None and self.checker.finds(np.stack(list(pictures))).any():
            raise Withheld(
                "The picture is withheld: the model's safety checker found it; change the text or"
                " the seed."
            )

    # adapters

    @property
    def name(self) -> str:
        """What the base is called; before it is loaded, as far as its model's name says."""
        if self.base:
            return self.base.name
        path = Path(self.model)
        return path.stem if path.is_file() else path.resolve().name if path.is_dir() else self.model

    @property
    def weights(self) -> Loaded:
        """What draws here; only its name before it is loaded."""
        return self.base.weights if self.base else Loaded(self.name)

    @cached_property
    def _fitting(self) -> Fits:
        from .exchange import fitting

        return fitting(self.base)

    @property
    def fits(self) -> Fits | None:
        """Which files are adapters of what draws here; None before it is loaded."""
        return self._fitting if self.base else None

    def adapters(self) -> dict[str, dict[str, str]]:
        """Metadata of every tuned model that can be chosen, by name."""
        return self.shelf.choices()

    def files(self) -> dict[str, Path]:
        """Every adapter file by name."""
        return self.shelf.files()

    def pick(self, targets: Sequence[str]) -> str:
        """The adapters that were tuned for these targets, joined; empty when there is none."""
        return JOIN.join(self.shelf.pick(targets, self.weights, self.fits))

    def resolved(self, config: GenerateConfig) -> GenerateConfig:
        """The settings with AUTO replaced by names."""
        return (
            changed(config, adapter=self.pick(config.targets)) if config.adapter == AUTO else config
        )

    def variants(self, config: GenerateConfig) -> dict[str, list[str]]:
        """Adapter names of each role beside the original: the tuned ones, then those that are asked
        for beside them.

        The naive counterparts have a role of their own, and are there only where every adapter has
        one; the role of others is their name. Raises BadInput for more than BESIDE of them.
        """
        names = parted(self.resolved(config).adapter, JOIN)
        naive = counterparts(names, self.shelf.files())
        found = {TUNED: names}
        for one in parted(config.beside, ","):
            asked = naive if one == AUTO else parted(one, JOIN)
            if asked and asked not in found.values():
                found[NAIVE if asked == naive else JOIN.join(asked)] = asked
        if len(found) > 1 + BESIDE:
            many = len(found) - 1
            raise BadInput(f"beside has {many} tuned models but at most {BESIDE} are allowed.")
        return found

    def columns(self, config: GenerateConfig) -> dict[str, Column]:
        """How each role beside the original is drawn."""
        from .generate import guide_of

        made, guide = self.shelf.metadata(), guide_of(config)
        return {
            role: Column(
                JOIN.join(dict.fromkeys(made.get(name, {}).get("method") or name for name in names))
                or ORIGINAL,
                guide.map if guide and (role == TUNED or config.others == "alike") else "",
            )
            for role, names in self.variants(config).items()
        }

    def strangers(self, config: GenerateConfig) -> dict[str, str]:
        """The adapters of a drawing that were tuned on other weights than the loaded ones, by name,
        and the bases that they say.
        """
        made = self.shelf.metadata()
        names = (name for some in self.variants(config).values() for name in some)
        return self.weights.strangers({name: made.get(name, {}) for name in names})

    def unfit(self, config: GenerateConfig) -> tuple[str, ...]:
        """The adapters for targets of a drawing that "auto" passes over, see `Shelf.unfit`."""
        if config.adapter != AUTO:
            return ()
        return tuple(self.shelf.unfit(config.targets, self.weights, self.fits))

    def roles(self, config: GenerateConfig) -> list[str]:
        """The portraits that `compare` will draw, in order."""
        return [ORIGINAL, *self.variants(config)]

    # requests

    def words(self, config: GenerateConfig) -> Words:
        """What the model makes of the texts. Raises BadInput, also when words of the target fall
        off the end.
        """
        if self.base is None:
            return Words(composed(config))
        from .generate import texts_of

        with self._speller(self.base) as tokenizer:
            fuller = texts_of(changed(self.base, tokenizer=tokenizer), config)
            prompt = fuller.prompt
            texts = (prompt.base, prompt.complete, config.negative)
            unknown = dict.fromkeys(
                word for text in texts for word in unknown_words(tokenizer, text)
            )
            known = known_words(tokenizer) if unknown else ()
            near = {word: near_words(word, known) for word in unknown}
            beyond = tuple(overflow(tokenizer, prompt.complete))
            return Words(prompt, tuple(unknown), beyond, near, known, in_words(fuller.traits))

    def spelling(self, text: str) -> Spelling | None:
        """What the model's tokenizer makes of a text; None while there is no model."""
        if self.base is None:
            return None
        with self._speller(self.base) as tokenizer:
            return spelling(tokenizer, text)

    @contextmanager
    def _speller(self, base: Base) -> Iterator[CLIPTokenizer]:
        """A copy of the model's tokenizer for hints, one at a time: a tokenizer keeps the settings
        of its last call, and a drawing must not find those of somebody who types.
        """
        with self._spelling:
            if self._copied[0] is not base:
                self._copied = base, copy.deepcopy(base.tokenizer)
            yield self._copied[1]

    def rows(self, config: GenerateConfig, maps: bool = False) -> int:
        """Rows of the UNet in one step of all that `compare` draws, at most."""
        free = 2
        if follows(config.guided):
            where, drawing, narrowing = 1, 4, 1
            tuned = (where + drawing + narrowing) * max(1, len(config.targets))
        else:
            tuned = 2 * free if config.guided else free
        beside = len(self.variants(config)) - 1
        others = beside * (tuned if config.others == "alike" else free)
        sources = free * (1 + beside) if config.edit else 0
        return free + tuned + others + sources + 2 * maps

    def seconds(self, config: GenerateConfig, maps: bool = False) -> int:
        """Seconds of a lent GPU that `compare` will need at most."""
        area = self.base.area_of(config.width, config.height) if self.base else 1
        drawing = config.steps * self.rows(config, maps) * self.row_seconds * area
        return int(min(LONGEST, SPARE + 1.5 * drawing))

    @property
    def row_seconds(self) -> float:
        """Seconds of a row of the UNet: the longest of the last drawings that `learn`
        was told of.
        """
        return max(self._timed, default=ROW)

    def learn(self, result: Result) -> None:
        """Follows how long a row takes, in the process that asks for seconds."""
        if result.row_seconds:
            self._timed.append(result.row_seconds)

    def compare(self, config: GenerateConfig, maps: bool = True) -> Iterator[Progress | Result]:
        """Draws the portraits of `roles`: progress, then one Result. Closing the iterator stops
        the work within a step.

        maps: whether those of the original and the tuned model are made. What was drawn before
        with the same settings is taken as it is, so maps can be asked for later at the cost of
        these alone. Raises BadInput, NotFinite and other SpfErrors, or Crashed.
        """
        composed(config)  # refuse before anything is loaded
        if self.base is None:
            yield Progress("loading")
        yield from streamed(lambda tell, check: self._compare(config, maps, tell, check))

    def _compare(self, config: GenerateConfig, maps: bool, tell: Tell, check: Check) -> None:
        with self.borrowed(check) as base:
            unfit, config = self.unfit(config), self.resolved(config)
            words = self.words(config)
            clock, portraits, watch, trace = self._draw(base, config, words, maps, tell, check)
            check()
            self.require_shown(list(portraits.values()))
            tell(Progress("judging", previews=portraits))
            told = {role: path.told[0] for role, path in trace.tuned.items() if path.told}
            strangers = self.strangers(config)
            reports, regions = self._reports(config, words, portraits, clock, told, strangers)
            targets = known_targets(config.targets)
            frames = {
                role: np.stack(pictures)
                for role, pictures in watch.frames.items()
                if role in portraits
            }
            known = tuple(targets) if len(targets) == len(config.targets) else ()
            region = target_region(regions, known)
            tell(
                Result(
                    config,
                    words,
                    known,
                    portraits,
                    frames,
                    watch.frame_steps,
                    trace,
                    reports,
                    region,
                    self.columns(config),
                    watch.row_seconds,
                    strangers,
                    unfit,
                )
            )

    def _draw(
        self,
        base: Base,
        config: GenerateConfig,
        words: Words,
        maps: bool,
        tell: Tell,
        check: Check,
    ):
        from .generate import edit_of, guide_of, way_of
        from .sampling import counting, sample_pair

        watch = Watch(config.steps, self._picture, self.kept, tell, check)
        adapters = {
            role: self._adapters(base, names) for role, names in self.variants(config).items()
        }
        began = time.perf_counter()
        with base.drawn_by(*way_of(config)), counting(base) as watch.calls:
            watch.area = base.area_of(config.width, config.height)
            trace = sample_pair(
                base,
                words.prompt,
                adapters,
                seeds=[config.seed],
                steps=config.steps,
                guidance=config.guidance,
                negative=config.negative,
                scale=config.strength,
                guide=guide_of(config),
                free=[role for role in adapters if role != TUNED and config.others == "free"],
                edit=edit_of(config),
                maps=[TUNED] if maps else [],
                kept=self.kept,
                known=watch.known,
                callback=watch,
            )
        paths = {ORIGINAL: trace.original} | trace.tuned
        portraits = {role: path.images[0] for role, path in paths.items()}
        for role, path in paths.items():
            if path.key:
                self.kept["frames", *path.key] = watch.frames[role]
        return {"pair": time.perf_counter() - began}, portraits, watch, trace.shown(maps)

    def _reports(
        self,
        config: GenerateConfig,
        words: Words,
        portraits: Mapping[str, np.ndarray],
        clock: dict,
        told: Mapping[str, Sequence[str]],
        strangers: Mapping[str, str],
    ) -> tuple[dict[str, dict], np.ndarray | None]:
        """report.json of every role beside the original, read in one batch; regions [2,H,W] of
        original and tuned.
        """
        began = time.perf_counter()
        reading = self.read(np.stack(list(portraits.values())))
        clock = clock | {"judging": time.perf_counter() - began}
        reports = {}
        for index, (role, names) in enumerate(self.variants(config).items(), start=1):
            read = pair_reading(reading, 0, reading, index, config.targets) if reading else {}
            used = changed(config, adapter=JOIN.join(names))
            texts = {
                "complete": words.prompt.complete,
                "also": words.also,
                "told": told.get(role, ()),
                "made_for": [strangers[one] for one in names if one in strangers],
            }
            reports[role] = pair_report(
                used, model=self.name, seed=config.seed, seconds=clock, **texts, **read
            )
        seen = reading.regions if reading else None
        return reports, None if seen is None else np.asarray(seen[:2].cpu(), np.uint8)

    def _adapters(self, base: Base, names: Sequence[str]) -> list[Adapter]:
        from .exchange import load_adapter

        return [load_adapter(self.shelf.file(name), base) for name in names]

    def reread(
        self, config: GenerateConfig, word: str = ""
    ) -> Iterator[Progress | dict[str, Reading]]:
        """Reads the original and the tuned portrait of a comparison once more, see
        `spf.rereading`: progress where they have to be drawn, then one dict of readings by role.
        Edits that act while drawing do not act here.

        Closing the iterator stops the work within a step. Raises BadInput and other SpfErrors, or
        Crashed.
        """
        if self.base is None:
            yield Progress("loading")
        yield from streamed(lambda tell, check: self._reread(config, word, tell, check))

    def _reread(self, config: GenerateConfig, word: str, tell: Tell, check: Check) -> None:
        with self.borrowed(check) as base:
            config = changed(self.resolved(config), beside="")
            words = self.words(config)
            trace = self._draw(base, config, words, False, tell, check)[-1]
            check()
            tell(self._readings(base, config, words, trace, word))

    def _readings(
        self, base: Base, config: GenerateConfig, words: Words, trace: Trace, word: str
    ) -> dict[str, Reading]:
        import torch

        from .generate import way_of
        from .paths import response
        from .rereading import reread
        from .sampling import initial_latents

        tuned = response(base, self._adapters(base, self.variants(config)[TUNED]), config.strength)
        paths = {
            ORIGINAL: (response(base, []), trace.original, words.prompt.base),
            TUNED: (tuned, trace.tuned[TUNED], words.prompt.complete),
        }
        found = {}
        with base.drawn_by(*way_of(config)):
            noise = initial_latents(base, trace.seeds)
            for role, (weights, path, text) in paths.items():
                with weights:
                    latents = torch.from_numpy(path.latents).to(noise)
                    found[role] = reread(base, latents, noise, text, config.steps, word)
        return found

    def receipt(self, name: str, texts: int) -> Iterator[Progress | Paper]:
        """Makes the receipt of an adapter over so many base texts, see `spf.receipt`: progress,
        then one Paper.

        Closing the iterator stops the work within a step. Raises BadInput for a name that is not on
        the shelf.
        """
        self.shelf.file(name)
        if self.base is None:
            yield Progress("loading")
        yield from streamed(lambda tell, check: self._receipt(name, texts, tell, check))

    def _receipt(self, name: str, texts: int, tell: Tell, check: Check) -> None:
        from . import receipt
        from .exchange import load_adapter

        with self.borrowed(check) as base:
            began = time.perf_counter()

            def show(done: int, total: int) -> None:
                check()
                left = (total - done) * (time.perf_counter() - began) / done
                tell(Progress("receipt", done, total, left))

            config = receipt.ReceiptConfig(texts=texts)
            adapter = load_adapter(self.shelf.file(name), base)
            with tempfile.TemporaryDirectory() as out:
                how = {"name": name, "judges": self.judges, "show": show}
                found = receipt.receipt(base, adapter, out, config, **how)
                tell(Paper(found, (Path(out) / receipt.PAGE).read_bytes()))

    def read(self, images: np.ndarray):
        """What the judges read in uint8 [B,H,W,3]; None without judges, and of pictures of a size
        that they do not know.
        """
        if self.judges is None or not self.base.draws(images):
            return None
        from .pixels import as_pixels

        return self.judges.read(as_pixels(images))


_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def _forked() -> None:
    """In a copy of this process nobody is left who would give back a lock that was held."""
    for engine in list(_ENGINES):
        engine._unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
