"""Fine-tuning in the background: one process a job, its state in files, so that a closed tab or
a crash loses nothing.

    jobs = Jobs("runs/jobs")
    name = jobs.start({"data": "hat", "method": "spf", "steps": 200})
    jobs.status(name)         # what is true now, also after a crash or a restart of this process
    jobs.pause(name)          # waits after the step, ready to go on at once
    jobs.stop(name)           # ends after the step and keeps the state; jobs.resume(name) goes
    on as the same run

The process itself is `spf.worker`: it reads request.json, writes state.json and history.jsonl
beside it. Torch is imported there only.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from .bases.pinned import findable
from .config import EMBEDDED
from .errors import BadInput, Busy, SpfError
from .files import read_json, require_room, write_json
from .rows import read_rows
from .settings import FinetuneConfig
from .shelf import OWN
from .userdata import target_of

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
KINDS = ("original", "tuned", "sfcm")
"""Pictures beside a run: the original model's, the tuned one's now, and the control maps over
the original's.
"""


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

    COMMAND = (sys.executable, "-m", "spf.worker")

    def __init__(self, root: str | Path = "runs/jobs", adapters: str | Path = OWN) -> None:
        self.root, self.adapters = Path(root), Path(adapters)
        self._children: dict[str, subprocess.Popen] = {}

    def start(self, request: Mapping[str, Any]) -> str:
        """Starts a job and returns its name. Raises BadInput, or Busy while another one is
        active.
        """
        from .methods import build  # imports torch, which a page has loaded by now

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
                    "model": findable(request.get("model", EMBEDDED)),
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
        request = held_in(folder / REQUEST)
        if request is None or not isinstance(request.get("steps"), int):
            told = f"{REQUEST} is damaged, so this job cannot go on; delete it."
            return Status(name, "failed", {}, message=told)
        status = Status(name, "starting", request, steps=request.get("steps", 0))
        if (folder / STATE).is_file():
            held = held_in(folder / STATE)
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
            with locked(self.root, "Another job is being started; try again in a moment."):
                yield
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
        with locked(folder, f"Another process is still at work in the job {name}."):
            for asked in (STOP, PAUSE):
                (folder / asked).unlink(missing_ok=True)

            pid = self._begin(name)  # its own first word comes after ours
            begun = {
                "phase": "starting",
                "message": "",
                "left": None,
                "pid": pid,
                "born": born(pid),
            }
            write_json(folder / STATE, (held_in(folder / STATE) or {}) | begun)

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
        return status.born > 0 and born(status.pid) == status.born


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
                write_json(file, (held_in(file) or {}) | {"phase": "stopped", "left": None})

    def _begin(self, name: str) -> int:
        return os.getpid()


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """The folder's lock, for all processes. Raises Busy with that sentence where somebody else
    keeps it."""
    try:
        with FileLock(folder / LOCK, timeout=LOCK_WAIT):
            yield
    except Timeout as error:
        raise Busy(busy) from error


def born(pid: int) -> float:
    """When a process was started, which tells it from a later one of the same number; 0 when
    there is none.
    """
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def held_in(path: Path) -> dict | None:
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


def kept_step(folder: Path) -> int:
    """The step of the last whole state of a job; 0 where there is none."""
    held = held_in(folder / "state" / "state.json") or {}
    try:
        whole = (folder / "state" / held["file"]).stat().st_size == held["bytes"]
        return int(held["step"]) if whole else 0
    except (KeyError, TypeError, ValueError, OSError):
        return 0
