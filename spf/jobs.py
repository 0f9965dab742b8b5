"""Fine-tuning in the background: one process a job, its state in files, so that a closed tab or
a crash loses nothing.

    jobs = Jobs("runs/jobs")
    name = jobs.start({"data": "hat", "method": "spf", "steps": 200})
    jobs.status(name)         # what is true now, also after a crash or a restart of this process
    jobs.pause(name)          # waits after the step, ready to go on at once
    jobs.stop(name)           # ends after the step and keeps the state; jobs.resume(name) goes
    on as the same run

`python -m spf.jobs FOLDER` is the process itself: it reads request.json, writes state.json and
history.jsonl beside it.
Torch is imported there only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock, Timeout

from .config import EMBEDDED
from .errors import BadInput, Busy, Cancelled, SpfError
from .files import FULL, clear_drafts, read_json, require_room, write_json
from .pace import Pace
from .relied import unlike
from .rows import read_rows
from .shelf import OWN

if TYPE_CHECKING:
    from .engine import Engine
    from .sfcm import SfcmConfig

log = logging.getLogger(__name__)

REQUEST, STATE, HISTORY, LOG, STOP, PAUSE = (
    "request.json",
    "state.json",
    "history.jsonl",
    "log.txt",
    "stop",
    "pause",
)
LOCK = ".lock"
LOCK_WAIT = 10.0
"""Seconds to wait for somebody else who starts, resumes or deletes."""
ROOM, SPARE = 400 << 20, 32 << 20
"""Bytes of disk that a job needs to begin, and that are left over beside each state."""
ENDED = ("stopped", "interrupted", "failed")
ACTIVE = ("starting", "running", "pausing", "paused", "stopping")
PHASES = (*ACTIVE, *ENDED, "done")
LOG_LINES = 40
LOOKS = 6
"""Times in a run at which the portraits beside it are drawn and judged."""
SITTERS = 4
KINDS = ("original", "tuned", "sfcm")
"""Pictures beside a run: the original model's, the tuned one's now, and the control maps over
the original's.
"""
PICTURE_STEPS = 15
MAP_TIMES = (0.35, 0.5, 0.65)
"""Shares of the timesteps at which the control map beside a run is read and averaged."""


@dataclass
class Status:
    """What is true about a job. phase: starting, running, pausing, paused, stopping, stopped,
    done, interrupted (its process is gone without a word) or failed. kept: the step of the last
    whole state, from which it can go on.

    left: seconds, None while unknown. terms: smoothed losses. looks: {step, response, pollution}
    so far.
    message: what went wrong. adapter: the finished file. lora: the same for other programs,
    where the method allows it.
    """

    name: str
    phase: str
    request: dict[str, Any]
    step: int = 0
    steps: int = 0
    left: float | None = None
    terms: dict[str, float] = field(default_factory=dict)
    looks: list[dict] = field(default_factory=list)
    message: str = ""
    adapter: str = ""
    lora: str = ""
    pid: int = 0
    born: float = 0.0
    kept: int = 0


class Jobs:
    """The jobs under one folder; at most one is active. Pages may share the folder: the truth is
    in the files.
    """

    COMMAND = (sys.executable, "-m", "spf.jobs")

    def __init__(self, root: str | Path = "runs/jobs", adapters: str | Path = OWN) -> None:
        self.root, self.adapters = Path(root), Path(adapters)
        self._children: dict[str, subprocess.Popen] = {}

    def start(self, request: Mapping[str, Any]) -> str:
        """Starts a job and returns its name. Raises BadInput, or Busy while another one is
        active.
        """
        from .bases import settled
        from .finetune import (
            FinetuneConfig,
            target_of,
        )  # imports torch, which a page has loaded by now
        from .methods import build

        settings = request.get("settings")
        if not isinstance(settings or {}, Mapping):
            raise BadInput(f"settings is {str(settings)[:40]!r} but must be names with values.")
        config = FinetuneConfig.from_dict(
            {key: request[key] for key in request if key not in ("settings", "model")}
        )
        target = target_of(config.data)
        build(config.method, settings or {})
        with self._alone():
            self._require_idle()
            require_room(self.root, ROOM)
            folder = self._new_folder(target.name, config.method)
            write_json(
                folder / REQUEST,
                config.to_dict()
                | {
                    "settings": dict(settings or {}),
                    "model": settled(request.get("model", EMBEDDED)),
                },
            )
            self._run(folder.name)
        return folder.name

    def resume(self, name: str) -> None:
        """Continues a paused job, or one that ended early where its last whole state is. Raises
        Busy or BadInput.
        """
        with self._alone():
            status = self.status(name)
            if status.phase in ("paused", "pausing"):
                (self._folder(name) / PAUSE).unlink(missing_ok=True)
                return
            if status.phase not in ENDED:
                raise BadInput(
                    f"job {name} is {status.phase} but only a paused, stopped, interrupted or "
                    "failed one "
                    "can be resumed."
                )
            if not status.request:
                raise BadInput(
                    f"job {name} cannot be resumed: its {REQUEST} is damaged; delete it."
                )
            self._require_idle()
            require_room(self.root, ROOM)
            self._run(name)

    def attend(self, name: str) -> Iterator[None]:
        """Yields while somebody has to stay for the job to go on: never, for it has its process."""
        self._folder(name)
        yield from ()

    def delete(self, name: str) -> None:
        """Removes a job that is not at work, with its state; its finished adapter stays. Raises
        Busy or BadInput.
        """
        with self._alone():
            folder = self._folder(name)
            if self.status(name).phase in ACTIVE:
                raise Busy(f"The job {name} is still at work; stop it first.")
            gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
            os.replace(folder, gone)
            shutil.rmtree(gone, ignore_errors=True)

    def pause(self, name: str) -> None:
        """Asks a job to wait after its current step. It keeps its memory; a stopped one gives it
        back.
        """
        if self.status(name).phase in ("starting", "running"):
            (self._folder(name) / PAUSE).touch()

    def stop(self, name: str) -> None:
        """Asks a job to end after its current step; its state is kept."""
        if self.status(name).phase in ACTIVE:
            (self._folder(name) / STOP).touch()

    def names(self) -> list[str]:
        """All jobs, newest first."""
        found = [
            path.parent
            for path in self.root.glob(f"*/{REQUEST}")
            if not path.parent.name.startswith(".")
        ]
        return [
            path.name
            for path in sorted(
                found, key=lambda path: (path / REQUEST).stat().st_mtime, reverse=True
            )
        ]

    def status(self, name: str) -> Status:
        """What is true about a job, whatever its process last wrote. Raises BadInput for an
        unknown name.
        """
        folder = self._folder(name)
        request = _held(folder / REQUEST)
        if request is None or not isinstance(request.get("steps"), int):
            told = f"{REQUEST} is damaged, so this job cannot go on; delete it."
            return Status(name, "failed", {}, message=told)
        status = Status(name, "starting", request, steps=request.get("steps", 0))
        if (folder / STATE).is_file():
            held = _held(folder / STATE)
            if held is None or held.get("phase") not in PHASES:
                status.phase, status.kept = "interrupted", kept_step(folder)
                status.message = f"{STATE} was damaged."
                return status
            known = {one.name for one in fields(Status)} - {"name", "request"}
            status = replace(status, **{key: held[key] for key in held if key in known})
        status.kept = kept_step(folder)
        if status.phase in ACTIVE and not self._alive(name, status):
            child = self._children.get(name)
            code = child.returncode if child and child.pid == status.pid else None
            status.phase, status.left = ("failed" if code and code > 0 else "interrupted"), None
            where = f"at step {status.step} of {status.steps}"
            status.message = f"The process {_ending(code)} {where}."
        elif status.phase in ("running", "paused") and (folder / STOP).exists():
            status.phase = "stopping"
        elif status.phase == "running" and (folder / PAUSE).exists():
            status.phase = "pausing"
        return status

    def active(self) -> str | None:
        """The job that is at work, if any."""
        return next((name for name in self.names() if self.status(name).phase in ACTIVE), None)

    def latest(self) -> str | None:
        """The job that is at work, else the newest one."""
        return self.active() or next(iter(self.names()), None)

    def history(self, name: str, most: int = 240) -> list[dict]:
        """Loss terms over the steps, thinned to at most `most` rows."""
        file = self._folder(name) / HISTORY
        found = list(read_rows(file)) if file.is_file() else []
        # a resumed run repeats the steps after its last saved state
        rows = {row["step"]: row for row in found[:: max(1, len(found) // most)]}
        return [rows[step] for step in sorted(rows)]

    def log(self, name: str) -> list[str]:
        """The last lines that the process wrote."""
        file = self._folder(name) / LOG
        return (
            file.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            if file.is_file()
            else []
        )

    def pictures(self, name: str) -> dict[str, list[Path]]:
        """Portraits of the original model, of the tuned one at its last look, and its control
        maps over the originals.
        """
        folder = self._folder(name)
        return {kind: sorted(folder.glob(f"{kind}-*.png")) for kind in KINDS}

    def _folder(self, name: str) -> Path:
        if (
            not (isinstance(name, str) and re.fullmatch(r"[\w-]{1,80}", name))
            or not (self.root / name / REQUEST).is_file()
        ):
            raise BadInput(
                f"job is {str(name)[:40]!r} but must be one of: "
                f"{', '.join(self.names()[:5]) or 'none yet'}."
            )
        return self.root / name

    def _new_folder(self, data: str, method: str) -> Path:
        """Makes the folder of the next job of this kind; nobody else can have it."""
        stem, number = f"{data}-{method}", 1
        while True:
            try:
                (self.root / f"{stem}-{number}").mkdir()
                return self.root / f"{stem}-{number}"
            except FileExistsError:
                number += 1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One start, resume or deletion at a time, of all processes that share the folder.
        Raises BadInput or Busy.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / LOCK, timeout=LOCK_WAIT):
                yield
        except Timeout as error:
            raise Busy("Another job is being started; try again in a moment.") from error
        except OSError as error:
            raise BadInput(
                f"{self.root} cannot be written ({error.strerror}), so no job can be started; "
                "start the page in a folder of your own."
            ) from error

    def _require_idle(self) -> None:
        if name := self.active():
            raise Busy(f"The job {name} is still at work; stop it or wait for it.")

    def _run(self, name: str) -> None:
        """Forgets what was asked of an earlier run, begins, and notes who works."""
        folder = self.root / name
        for asked in (STOP, PAUSE):
            (folder / asked).unlink(missing_ok=True)
        pid = self._begin(name)
        begun = {"phase": "starting", "message": "", "left": None, "pid": pid, "born": _born(pid)}
        write_json(folder / STATE, (_held(folder / STATE) or {}) | begun)

    def _begin(self, name: str) -> int:
        """Starts the process of a job; returns its number."""
        folder = self.root / name
        threads = str(
            max(1, (os.cpu_count() or 2) // 2)
        )  # more would fight with the page's own drawing
        environment = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
        environment["PYTHONIOENCODING"] = "utf-8"  # of the log, whatever this machine writes
        command = [*self.COMMAND, str(folder.resolve()), str(self.adapters.resolve())]
        with (folder / LOG).open("ab") as out:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=Path(__file__).parents[1],
                env=environment,
                start_new_session=True,
            )
        self._children[name] = child
        return child.pid

    def _alive(self, name: str, status: Status) -> bool:
        child = self._children.get(name)
        if child and child.pid == status.pid:
            return child.poll() is None
        return status.born > 0 and _born(status.pid) == status.born


class SlicedJobs(Jobs):
    """Jobs on a card that is lent for a little while at a time: they have no process of their own,
    but are trained while somebody attends, slice after slice, each going on where the last one was.

    lend: (folder, adapters) -> iterator, one slice of `Worker` with the model that is loaded here.
    What it raises ends the attendance, and the job can be resumed.
    """

    def __init__(
        self, root: str | Path, adapters: str | Path, lend: Callable[[str, str], Iterator]
    ) -> None:
        super().__init__(root, adapters)
        self.lend = lend

    def pause(self, name: str) -> None:
        """As `stop`: nobody waits on a lent card."""
        self.stop(name)

    def attend(self, name: str) -> Iterator[None]:
        places = str(self._folder(name).resolve()), str(self.adapters.resolve())
        try:
            while self.status(name).phase in ("starting", "paused"):
                for _ in self.lend(*places):
                    yield
        finally:
            if self.status(name).phase in ACTIVE:
                file = self.root / name / STATE
                write_json(file, (_held(file) or {}) | {"phase": "stopped", "left": None})

    def _begin(self, name: str) -> int:
        return os.getpid()


def _born(pid: int) -> float:
    """When a process was started, which tells it from a later one of the same number; 0 when
    there is none.
    """
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def _held(path: Path) -> dict | None:
    """The object in a JSON file; None where there is none that can be read."""
    try:
        held = read_json(path)
    except (SpfError, RecursionError):
        return None
    return held if isinstance(held, dict) else None


def _ending(code: int | None) -> str:
    """How a process ended that did not say so itself. code: its exit code, None if another
    process had started it.
    """
    if code is None:
        return "was interrupted"
    if code == -9:
        return "was killed, by hand or by the system for want of memory,"
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _no_room(folder: Path, needed: int) -> str:
    free = shutil.disk_usage(folder).free
    asked = f" but {(needed + SPARE) / 2**20:.0f} MiB are needed" if needed else ""
    return f"The disk has {free / 2**20:.0f} MiB free{asked}; make room, then resume."


def out_of_memory(error: BaseException) -> bool:
    """Whether a failure is for want of memory, of the processor's or of a card's."""
    words = str(error).lower()
    told = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError) or told


def kept_step(folder: Path) -> int:
    """The step of the last whole state of a job; 0 where there is none."""
    held = _held(folder / "state" / "state.json") or {}
    try:
        whole = (folder / "state" / held["file"]).stat().st_size == held["bytes"]
        return int(held["step"]) if whole else 0
    except (KeyError, TypeError, ValueError, OSError):
        return 0


def sitter_texts(data: str) -> list[str]:
    """Base texts of the portraits that are watched: held-out ones, or for a set of one's own
    some of its texts.
    """
    from .finetune import target_of
    from .portraits.texts import base_captions
    from .userdata import is_set, load

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
        self.state: dict[str, Any] = _held(folder / STATE) or {}
        if engine is None:
            self.state |= {"pid": os.getpid(), "born": _born(os.getpid())}
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
        from .finetune import FinetuneConfig, finetune
        from .methods import build
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
            seen(step, terms, pace.left(step))
            since = time.monotonic()

        def seen(step: int, terms: Mapping[str, float], left: float | None) -> None:
            terms = {name: round(float(value), 6) for name, value in terms.items()}
            with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **terms}) + "\n")
            if step in looks:
                before = [look for look in self.state.get("looks", []) if look["step"] < step]
                began = time.monotonic()
                with accelerator.autocast():
                    look = sitters.look()
                pace.look = time.monotonic() - began
                self.tell(looks=[*before, {"step": step, **look}])
            if time.monotonic() - self.written > 0.5 or step == config.steps:
                self.tell(phase="running", step=step, terms=terms, left=left)
            if (self.folder / PAUSE).exists() and step < config.steps:
                self.tell(phase="paused", step=step, terms=terms, left=left)
                while (self.folder / PAUSE).exists() and not (self.folder / STOP).exists():
                    time.sleep(0.1)
                self.tell(phase="running")
            if (self.folder / STOP).exists():
                self.tell(step=step, terms=terms)
                raise Cancelled("Stopped.")
            if self.until and time.monotonic() > self.until and step < config.steps:
                self.tell(step=step, terms=terms)
                raise Cancelled("The slice is over.")

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
        from .finetune import target_of
        from .prompts import compose
        from .sampling import LARGEST_MAP, initial_latents, said

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
        judges read or None.
        """
        from .sampling import sample

        latents = sample(self.base, self.noise, states, self.empty, steps=PICTURE_STEPS)
        images = self.base.pictures(latents)
        reading = self.engine.read(images)
        images = self.engine.screened(images)
        self._keep(images, kind)
        return latents, images, reading.values if reading else None

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
        pairs = list(zip(self.before, after, strict=True))
        known = (
            [self.target] if self.target.attribute else []
        )  # the judges were never taught other targets
        return {
            "response": sum(responded(b, self.target) for _, b in pairs) / len(pairs)
            if known
            else None,
            "pollution": round(sum(pollution(a, b, known) for a, b in pairs) / len(pairs), 4),
        }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    sys.exit(Worker(Path(sys.argv[1]), Path(sys.argv[2])).run())
