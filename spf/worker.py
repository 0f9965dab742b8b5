"""The process of a fine-tuning job: `python -m spf.worker FOLDER ADAPTERS` trains what the
request.json of the folder asks for, reports in files beside it, and now and then draws and judges a
few portraits.

`spf.jobs` starts, watches and stops it; a Space runs it in slices of a lent GPU.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from .errors import Cancelled, SpfError, out_of_memory
from .files import FULL, clear_drafts, read_json, write_json
from .jobs import HISTORY, LOCK, LOCK_WAIT, PAUSE, REQUEST, SPARE, STATE, STOP, born, held_in
from .pace import Pace
from .relied import unlike

if TYPE_CHECKING:
    from .engine import Engine
    from .sfcm import SfcmConfig

log = logging.getLogger(__name__)

LOOKS = 6
"""Times in a run at which the portraits beside it are drawn and judged."""
SITTERS = 4
PICTURE_STEPS = 15
MAP_TIMES = (0.35, 0.5, 0.65)
"""Shares of the timesteps at which the control map beside a run is read and averaged."""


def sitter_texts(data: str) -> list[str]:
    """Base texts of the portraits that are watched: held-out ones, or for a set of one's own
    some of its texts.
    """
    from .portraits.texts import base_captions
    from .userdata import is_set, load, target_of

    if is_set(data):
        texts = list(dict.fromkeys(item.base_text for item in load(data).items))
        return [texts[number % len(texts)] for number in range(SITTERS)]
    return [made.text for _, made in base_captions(target_of(data), SITTERS, 0, "dev")]


class Worker:
    """The process side: fine-tunes, reports each step, and now and then draws and judges a few
    portraits.

    engine: with the model that is loaded already; seconds: after so many it pauses between two
    steps and ends, for `SlicedJobs`.
    """

    def __init__(
        self,
        folder: Path,
        adapters: Path,
        engine: Engine | None = None,
        seconds: float | None = None,
    ) -> None:
        self.folder, self.adapters, self.engine = folder, adapters, engine
        self.until = None if seconds is None else time.monotonic() + seconds
        self.request = read_json(folder / REQUEST)
        self.state: dict[str, Any] = {}
        self.written = 0.0

    def tell(self, **changes) -> None:
        self.state |= changes
        write_json(self.folder / STATE, self.state)
        self.written = time.monotonic()

    def run(self) -> int:
        """Exit code: 0 done or stopped, 2 for a failure that explains itself, 1 for any other, 3
        where another is at it.
        """
        try:
            with FileLock(self.folder / LOCK, timeout=LOCK_WAIT):
                return self._run()
        except Timeout:
            log.error("Another process is at work in %s.", self.folder)
            return 3

    def _run(self) -> int:
        # only now, with the lock, whoever started this has said its last word
        self.state = held_in(self.folder / STATE) or {}
        if self.engine is None:
            self.state |= {"pid": os.getpid(), "born": born(os.getpid())}
        for folder in (self.folder, self.folder / "state", self.folder / "steps"):
            clear_drafts(folder)
        clear_drafts(self.adapters, older=3600.0)
        try:
            path = self.work()
        except Cancelled:
            asked = self.until is None or (self.folder / STOP).exists()
            self.tell(phase="stopped" if asked else "paused", left=None)
        except SpfError as error:
            self.tell(phase="failed", left=None, message=str(error))
            return 2
        except BaseException as error:
            log.exception("The job failed.")
            told = f"{type(error).__name__}; the log says more."
            if out_of_memory(error):
                told = (
                    "There was not enough memory; close other programs, or choose a smaller batch."
                )
            elif isinstance(error, OSError) and error.errno in FULL:
                told = _no_room(self.folder, 0)
            elif isinstance(error, ImportError):
                told = str(unlike(error) or told)
            with suppress(OSError):  # on a full disk not even this can be written
                self.tell(phase="failed", left=None, message=told)
            return 1
        else:
            lora = self.exported()
            self.tell(
                phase="done",
                left=0.0,
                step=self.request["steps"],
                adapter=str(path),
                lora=str(lora or ""),
            )
        return 0

    def work(self) -> Path:
        from .engine import Engine
        from .finetune import finetune
        from .methods import build
        from .settings import FinetuneConfig
        from .training import make_accelerator

        engine = self.engine or Engine(self.request["model"])
        base = engine.load()
        request = {
            key: value for key, value in self.request.items() if key not in ("settings", "model")
        }
        config = FinetuneConfig.from_dict(request)
        accelerator = make_accelerator(tiles=True)
        with accelerator.autocast():
            method = build(config.method, self.request["settings"])
            began = time.monotonic()
            sitters = Sitters(engine, config.data, self.folder, method.map_settings)
        every = -(-config.steps // LOOKS)
        looks = tuple(n for n in range(1, config.steps + 1) if n % every == 0 or n == config.steps)
        border, times = method.later_stage(config.steps)
        took = time.monotonic() - began  # the sitters are drawn as at a look
        pace = Pace(config.steps, border=border, times=times, looks=looks, look=took)
        since: float | None = None

        def follow(step: int, terms: Mapping[str, float], _left: float) -> None:
            nonlocal since
            if since is not None:  # the first step also prepares
                pace.step(step, time.monotonic() - since)
            left, terms = pace.left(step), self.noted(step, terms)
            if step in looks:
                with accelerator.autocast():
                    pace.look = self.looked(step, sitters)
            self.heed(step, {"step": step, "terms": terms, "left": left}, config.steps)
            since = time.monotonic()

        self.tell(phase="running", step=self.state.get("step", 0), steps=config.steps)
        path = finetune(
            base,
            config,
            self.folder,
            settings=self.request["settings"],
            callback=follow,
            accelerator=accelerator,
            full=self.wait_for_room,
        )
        path = self.publish(path)
        shutil.rmtree(self.folder / "state", ignore_errors=True)  # nobody continues a finished run
        return path

    def noted(self, step: int, terms: Mapping[str, float]) -> dict[str, float]:
        """Puts the loss terms of a step into the history; returns them as they stand there."""
        terms = {name: round(float(value), 6) for name, value in terms.items()}
        with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **terms}) + "\n")
        return terms

    def looked(self, step: int, sitters: Sitters) -> float:
        """Draws and judges the sitters, and tells what came of it; returns the seconds it took."""
        before = [look for look in self.state.get("looks", []) if look["step"] < step]
        began = time.monotonic()
        look = sitters.look()
        took = time.monotonic() - began
        self.tell(looks=[*before, {"step": step, **look}])
        return took

    def heed(self, step: int, now: Mapping[str, Any], steps: int) -> None:
        """Tells where the run stands, if it is time, and does what was asked meanwhile: waits, or
        raises Cancelled.
        """
        if time.monotonic() - self.written > 0.5 or step == steps:
            self.tell(phase="running", **now)
        if (self.folder / PAUSE).exists() and step < steps:
            self.tell(phase="paused", **now)
            while (self.folder / PAUSE).exists() and not (self.folder / STOP).exists():
                time.sleep(0.1)
            self.tell(phase="running")
        stop = (self.folder / STOP).exists()
        if stop or (self.until and time.monotonic() > self.until and step < steps):
            self.tell(step=step, terms=now["terms"])
            raise Cancelled("Stopped." if stop else "The slice is over.")

    def wait_for_room(self, needed: int, error: BaseException | None) -> None:
        """Returns when the disk has room for a state; until then the job is paused and says how
        much is missing.
        """
        free = shutil.disk_usage(self.folder).free
        if error is None and free >= needed + SPARE:
            return
        (self.folder / PAUSE).touch()
        with suppress(OSError):
            self.tell(phase="paused", message=_no_room(self.folder, needed))
        while (self.folder / PAUSE).exists():
            if (self.folder / STOP).exists():
                raise Cancelled("Stopped.")
            time.sleep(0.1)
        with suppress(OSError):
            self.tell(phase="running", message="")

    def exported(self) -> Path | None:
        """The adapter in the keys that ComfyUI, A1111 and others load, where the run wrote
        one.
        """
        return next(iter(sorted(self.folder.glob("*.lora.safetensors"))), None)

    def publish(self, path: Path) -> Path:
        """Puts the adapter where the page finds it, under the name of the job."""
        from .files import atomic

        with atomic(self.adapters / f"{self.folder.name}.safetensors") as draft:
            draft.write_bytes(path.read_bytes())
        return self.adapters / f"{self.folder.name}.safetensors"


class Sitters:
    """A few base texts: the original model draws their portraits once, the tuned one at every
    look, with control maps if the method makes them (settings).
    """

    def __init__(self, engine, data: str, folder: Path, settings: SfcmConfig | None) -> None:
        import torch

        from .attention import Record, record
        from .prompts import compose
        from .sampling import LARGEST_MAP, initial_latents, said
        from .userdata import target_of

        self.engine, self.base, self.folder, self.target = (
            engine,
            engine.base,
            folder,
            target_of(data),
        )
        texts = sitter_texts(data)
        prompts = [
            compose(text, self.target.text, self.target.mode, self.target.replace) for text in texts
        ]
        base = self.base
        self.noise = initial_latents(base, range(SITTERS))
        self.complete = base.encode_text([prompt.complete for prompt in prompts])
        self.empty = base.encode_text([""] * SITTERS)
        plain = base.encode_text([prompt.base for prompt in prompts])
        latents, self.pictures, self.before = self._draw(plain, "original")
        self.settings, self.largest = settings, LARGEST_MAP
        self.noised, self.reference = [], []
        if settings is None:
            return
        self.said = said(base, prompts, settings)
        with (
            torch.no_grad(),
            record(base.unet, self.said.groups["base"], largest=LARGEST_MAP) as ref,
        ):
            for number, share in enumerate(MAP_TIMES):
                timestep = int(share * base.diffusion.steps)
                noise = initial_latents(
                    base, range(1000 * (number + 1), 1000 * (number + 1) + SITTERS)
                )
                noised = base.diffusion.noised(latents, noise, timestep)
                self.noised.append((noised, timestep))
                predicted = base.predict(noised, timestep, plain)
                self.reference.append((predicted, Record(dict(ref.maps))))

    def _draw(self, states, kind: str):
        """Draws with the weights that are active now; returns latents, pictures, and what the
        judges read, None without them.
        """
        from .sampling import sample

        latents = sample(self.base, self.noise, states, self.empty, steps=PICTURE_STEPS)
        images = self.base.pictures(latents)
        reading = self.engine.read(images)
        images = self.engine.screened(images)
        self._keep(images, kind)
        return latents, images, reading

    def _keep(self, images, kind: str) -> None:
        from PIL import Image

        for number, image in enumerate(images):
            draft = self.folder / f".{kind}-{number}.png"
            Image.fromarray(image).save(draft)
            os.replace(draft, self.folder / f"{kind}-{number}.png")

    def _control(self):
        """The control map [B,h,w] of the weights that are active now, on the original's
        portraits at a few noises.
        """
        import torch

        from .attention import record
        from .control import averaged, evidence
        from .sfcm import control_map

        found = []
        with (
            torch.no_grad(),
            record(self.base.unet, self.said.groups["complete"], largest=self.largest) as shown,
        ):
            for (latents, timestep), (reference, ref) in zip(
                self.noised, self.reference, strict=True
            ):
                predicted = self.base.predict(latents, timestep, self.complete), reference
                names = self.said.names, self.said.targets
                found.append(evidence(predicted, (shown, ref), *names, self.settings))
        distances = self.said.distances.expand(SITTERS, -1)
        return control_map(averaged(found), distances, self.settings).float().cpu().numpy()

    def look(self) -> dict:
        """Draws portraits and maps; response and pollution over the sitters, empty without
        judges.
        """
        from .evaluation.figures import overlay
        from .evaluation.measures import pollution, responded
        from .evaluation.visible import settled

        was_training = self.base.unet.training
        self.base.unet.eval()
        try:
            *_, after = self._draw(self.complete, "tuned")
            if self.settings:
                pairs = zip(self.pictures, self._control(), strict=True)
                self._keep([overlay(*pair) for pair in pairs], "sfcm")
        finally:
            self.base.unet.train(was_training)
        if after is None or self.before is None:
            return {}
        known = (
            [self.target] if self.target.attribute else []
        )  # the judges were never taught other targets
        pairs = [
            (self.before.values[i], settled(self.before.look(i), after.look(i), known).values)
            for i in range(SITTERS)
        ]
        return {
            "response": sum(responded(b, self.target) for _, b in pairs) / len(pairs)
            if known
            else None,
            "pollution": round(sum(pollution(a, b, known) for a, b in pairs) / len(pairs), 4),
        }


def _no_room(folder: Path, needed: int) -> str:
    free = shutil.disk_usage(folder).free
    asked = f" but {(needed + SPARE) / 2**20:.0f} MiB are needed" if needed else ""
    return f"The disk has {free / 2**20:.0f} MiB free{asked}; make room, then resume."


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    sys.exit(Worker(Path(sys.argv[1]), Path(sys.argv[2])).run())
