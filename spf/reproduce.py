"""Everything that is shipped, made again from nothing, step by step.

    python -m spf reproduce --list
    python -m spf reproduce                  # continues where it was stopped
    python -m spf reproduce --only hat-spf

Each step is one command of this project, which resumes by itself; `runs/reproduce/steps.json` keeps
which are done. docs/reproduce.md has the hours.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spf.config import check_choice
from spf.errors import SpfError
from spf.files import atomic, read_json, write_json
from spf.portraits.description import TARGETS
from spf.shelf import adapter_name

log = logging.getLogger(__name__)

DONE = "steps.json"
NETWORKS = {"vae": 2.0, "clip": 0.7, "judges": 0.5, "form": 0.3, "unet": 12.0, "measure": 0.1}
"""Hours of each stage of pre-training on one core."""
TAUGHT = ("naive", "spf")
SHIPPED = {"naive": ("hat", "laughing", "dress"), "spf": tuple(TARGETS)}
"""Of which targets the weights of a method are shipped; all are measured."""
_USUAL = ("--steps", "400", "--rank", "10")
_LONGER = ("--steps", "800", "--images", "480", "--rank", "10")
_WIDER = ("--images", "960", "--rank", "16")
_FASTER = (*_WIDER, "--set", "learning_rate=3e-4")
_SPREAD = ("--images", "960", "--rank", "10", "--set", "learning_rate=3e-4")
_EVENLY = ("--set", "snr=0")
_PEARLS = (*_WIDER, "--set", "learning_rate=4e-4")
_SOFT = ("--set", "output=0.3", "--set", "masked=0")
_GENTLY = (
    *("--steps", "240", *_WIDER, "--set", "learning_rate=2e-4", "--set", "plain=0"),
    *_SOFT,
)
TEACHING = {
    "freckles-naive": ("--steps", "800", *_SPREAD, *_EVENLY),
    "freckles-first": (
        *("--steps", "3200", *_FASTER, *_EVENLY, "--set", "plain=0.75"),
        *("--keep", "800"),
    ),
    "freckles-spf": (*_GENTLY, *_EVENLY, "--set", "push=1.25"),
    "necklace-naive": ("--steps", "1440", *_PEARLS),
    "necklace-first": ("--steps", "2000", *_PEARLS, "--keep", "400"),
    "necklace-spf": (*_GENTLY, "--set", "push=1.75"),
    "dress-naive": ("--steps", "800", *_SPREAD, *_EVENLY),
    "dress-spf": (
        *("--steps", "1600", *_FASTER, *_EVENLY, "--set", "plain=0.85"),
        *(*_SOFT, "--set", "push=1.25"),
    ),
    "sunglasses-spf": (*_USUAL, "--set", "push=1.75"),
    "watercolor-naive": (*_LONGER, *_EVENLY),
    "watercolor-spf": (*_LONGER, *_EVENLY, "--set", "push=1.25"),
}
"""How targets are taught that want more than _USUAL; docs/tried.md has how it was chosen. SPF's
freckles and necklace are taught in two runs: the second starts from where stage 1 of the first
ends."""
FIRST = {"freckles": 2400, "necklace": 1200}
"""The step of the first run that the second one starts from."""
MEASURING = (
    *("--methods", "original,naive,naive+held,spf,spf+held"),
    *("--prompts", "8", "--seeds", "1", "--no-retention", "--batch", "8"),
    *("--targets", ",".join(TARGETS)),
)
"""How the tables of docs/results.md were measured, on full texts and on texts as they stand."""


@dataclass(frozen=True)
class Step:
    """One command and what it leaves.

    command  arguments of `python -m spf`
    hours    on one core of an ordinary processor, measured or (unet) as long as it is given
    keep     (file the command wrote, where it is shipped)
    """

    name: str
    command: tuple[str, ...]
    hours: float
    keep: tuple[tuple[Path, Path], ...] = ()


def steps(out: Path, root: Path = Path(".")) -> Iterator[Step]:
    """All steps in order; `out` receives what is not shipped, `root` is the project."""
    checkpoints, shelf = root / "checkpoints", out / "shelf"
    for stage, hours in NETWORKS.items():
        where = ("--out", str(out / "pretrain"), "--checkpoints", str(checkpoints))
        yield Step(stage, ("pretrain", stage, *where), hours)

    for target in TARGETS:
        for method in TAUGHT:
            yield from _teaching(target, method, out, checkpoints)

    measured, where = out / "evaluate", ("--adapters", str(shelf))
    order = ("evaluate", *MEASURING, "--maps", "4", *where, "--out", str(measured))
    kept = (measured / "results.json", root / "assets/results/embedded.json")
    yield Step("results", order, 0.7, (kept,))

    short = out / "evaluate-short"
    order = ("evaluate", *MEASURING, "--maps", "0", "--also", "", *where, "--out", str(short))
    kept = (short / "results.json", root / "assets/results/short.json")
    yield Step("results-short", order, 0.6, (kept,))
    yield Step("figures", ("figures", "--results", str(measured)), 0.05)
    yield Step("examples", ("examples", "--tries", "6"), 0.3)
    yield Step("screenshot", ("screenshot",), 0.02)


def _teaching(target: str, method: str, out: Path, checkpoints: Path) -> Iterator[Step]:
    """One adapter: the run that makes it, after the run that it starts from if it has one."""
    name = f"{target}-{method}"
    file = f"{adapter_name(target, method)}.safetensors"
    order = ("finetune", "--method", method, "--data", target)

    long = TEACHING.get(name, _USUAL)
    if method == "spf" and target in FIRST:
        first = f"{target}-first"
        folder = out / "adapters" / first
        yield Step(first, (*order, *TEACHING[first], "--out", str(folder)), 0.5)
        long = (*long, "--start", str(folder / "steps" / f"{target}-{FIRST[target]}.safetensors"))

    folder = out / "adapters" / name
    places = [out / "shelf" / file]
    if target in SHIPPED[method]:
        places.append(checkpoints / "adapters" / file)
    hours = 0.4 if name in TEACHING else 0.15
    keep = tuple((folder / file, place) for place in places)
    yield Step(name, (*order, *long, "--out", str(folder)), hours, keep)


def chosen(every: Sequence[Step], only: Sequence[str], since: str) -> list[Step]:
    """The named steps, or those from `since` on, or all. Raises BadInput for any other name."""
    names = tuple(step.name for step in every)
    for name in only:
        check_choice("only", name, names)
    if since:
        every = every[names.index(check_choice("from", since, names)) :]
    return [step for step in every if not only or step.name in only]


def reproduce(
    every: Sequence[Step],
    out: Path,
    *,
    again: bool = False,
    run: Callable[[Sequence[str]], int] | None = None,
) -> None:
    """Run the steps that are not done yet.

    again  run them even if they are done
    run    takes the arguments of `python -m spf` and returns the exit status

    Raises SpfError when a step fails; what was done stays, and the step itself resumes.
    """
    run = run or _run
    file = out / DONE
    done = read_json(file) if file.exists() else {}
    todo = [step for step in every if again or step.name not in done]
    for number, step in enumerate(todo):
        left = sum(later.hours for later in todo[number:])
        log.info("%s: %.2f h; %.1f h left in all", step.name, step.hours, left)

        began = time.monotonic()
        status = run(step.command)
        if status:
            order = " ".join(("python -m spf", *step.command))
            raise SpfError(f"{step.name} ended with status {status}; it resumes with: {order}")
        for made, shipped in step.keep:
            shipped.parent.mkdir(parents=True, exist_ok=True)
            with atomic(shipped) as draft:
                shutil.copyfile(made, draft)

        done[step.name] = {"seconds": round(time.monotonic() - began, 1)}
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, done)


def _run(arguments: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", "spf", *arguments]).returncode
