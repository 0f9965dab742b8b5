"""The commands generate, finetune, evaluate and portraits; `spf.cli` registers them. What is heavy
is imported when one runs.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spf.config import MODEL, GenerateConfig
from spf.errors import BadInput
from spf.files import require_folder
from spf.options import options
from spf.portraits.description import get_target
from spf.registry import EDITS
from spf.settings import EvaluateConfig, FinetuneConfig, SheetConfig
from spf.words import parted

log = logging.getLogger(__name__)

Model = Annotated[
    str,
    typer.Option(help="base model: embedded, a folder, a .safetensors checkpoint, or a hub id"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; the best one by default")]
Dtype = Annotated[str, typer.Option(help="of the weights: fp32, bf16 or fp16")]


def into_folder(param: typer.CallbackParam, value: Path | None) -> Path | None:
    """Refuses a folder that cannot be made or written, before anything is computed for it."""
    if value is not None:
        require_folder(value, param.name)
    return value


def into_file(param: typer.CallbackParam, value: Path | None) -> Path | None:
    """The same of a file."""
    if value is not None:
        if value.is_dir():
            raise BadInput(f"{param.name} is {str(value)!r} but must be a file, not a folder.")
        require_folder(value.parent, param.name)
    return value


Out = Annotated[Path, typer.Option(help="folder for the results", callback=into_folder)]
Seed = Annotated[int, typer.Option(help="start of all random numbers")]
Threads = Annotated[int, typer.Option(help="processor threads; 0 leaves the choice to torch")]


@options(GenerateConfig, without=["beside", "others"])
def generate(
    config: GenerateConfig,
    out: Out = Path("out"),
    threads: Threads = 0,
    device: Device = "",
    dtype: Dtype = "fp32",
) -> None:
    """Draw the original model's portrait and the tuned one's from the same noise, with every map
    behind them.
    """
    if not config.targets:
        raise BadInput("target is empty but must say what to add, for example: a hat.")
    began = time.perf_counter()
    loaded, judges = _load(config.model, threads, device=device, dtype=dtype)
    from spf.generate import draw

    with progress("drawing") as show:
        reports = draw(
            loaded,
            config,
            out,
            judges=judges,
            seconds={"loading": time.perf_counter() - began},
            callback=lambda step: show(step.done, step.total),
        )
    typer.echo(
        json.dumps(reports[0] if config.count == 1 else reports, indent=2, ensure_ascii=False)
    )


@options(FinetuneConfig)
def finetune(
    config: FinetuneConfig,
    out: Out = Path("runs/finetune"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of the method; may be given several times"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="continue what is in --out, or start again")
    ] = True,
    model: Model = MODEL,
    threads: Threads = 1,
    device: Device = "",
    dtype: Dtype = "fp32",
) -> None:
    """Fine-tune on a tailored set; the result is one adapter file in --out."""
    from spf.devices import best_device, dtype_of
    from spf.finetune import finetune as run
    from spf.methods import parse_settings
    from spf.training import make_accelerator
    from spf.userdata import target_of

    target_of(config.data)
    chosen = parse_settings(config.method, settings or [])
    accelerator = make_accelerator(tiles=True, device=best_device(device), dtype=dtype_of(dtype))
    base = _load(model, threads, judged=False, device=str(accelerator.device), dtype=dtype)[0]
    path = run(base, config, out, settings=chosen, resume=resume, accelerator=accelerator)
    typer.echo(str(path))


@options(EvaluateConfig, without=["prompts"])
def evaluate(
    config: EvaluateConfig,
    methods: Annotated[
        str,
        typer.Option(
            help="joined by commas: original, spf, naive, p2p, magnet@naive, spf+held, "
            "LABEL=FILE with {target} or {step} in it; or all"
        ),
    ] = "all",
    targets: Annotated[
        str, typer.Option(help="names joined by commas, or all that have adapters")
    ] = "all",
    prompts: Annotated[
        str,
        typer.Option(help="held-out base texts a target: how many, or a file with one text a line"),
    ] = str(EvaluateConfig.prompts),
    out: Out = Path("runs/evaluate"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="a smoke run: 2 texts, 1 seed, 6 steps, at most 3 targets of all"
        ),
    ] = False,
    adapters: Annotated[
        Path | None, typer.Option(help="folder with the adapters, instead of checkpoints/adapters")
    ] = None,
    originals: Annotated[
        Path | None,
        typer.Option(
            help="folder of original portraits that several evaluations share; default: in --out"
        ),
    ] = None,
    chains: Annotated[
        int,
        typer.Option(
            help="also chains of up to so many targets, with their adapters added up; 0 is none"
        ),
    ] = 0,
    model: Model = MODEL,
    threads: Threads = 1,
) -> None:
    """Measure response, pollution, retention and maps on held-out texts; continues where it was
    stopped.
    """
    import torch
    from accelerate import PartialState

    from spf.evaluation.chains import chains as run_chains
    from spf.evaluation.chains import links
    from spf.evaluation.plots import write_figures
    from spf.evaluation.protocol import evaluate as run
    from spf.evaluation.protocol import find_adapters, read_texts
    from spf.evaluation.summary import TABLES, table
    from spf.shelf import EVERY, ORIGINAL

    texts = [] if _is_whole(prompts) else read_texts(prompts)
    config = replace(config, prompts=len(texts) or int(prompts))
    if quick:
        few = {"prompts": min(2, config.prompts), "maps": min(1, config.maps)}
        config = replace(config, seeds=1, steps=6, **few)
    labels, names = _methods_and_targets(methods, targets, adapters, most=3 if quick else None)
    state = PartialState(cpu=not torch.cuda.is_available())
    loaded, judges = _load(model, threads, device=str(state.device))
    if judges is None:
        raise BadInput(
            f"nothing can be measured on {loaded.name}: there are no judges for it, "
            "which know the drawings of the embedded model alone; `receipt` lets CLIP read."
        )
    missing: list[str] | None = [] if EVERY in (methods, targets) else None
    tuned = find_adapters(loaded, labels, names, adapters, missing)
    if missing:
        log.info("Rows without an adapter are left out: %s.", ", ".join(dict.fromkeys(missing)))
    chained = None
    if chains:
        plain = [label for label in labels if label == ORIGINAL or not set(label) & set("@=")]
        plain = [label for label in plain if label not in EDITS]
        tied = links(names, chains)

        def chained() -> list[dict]:
            how = config, out, adapters
            return [row for one in tied for row in run_chains(loaded, judges, plain, one, *how)]

    with progress("measuring") as show:
        results = run(
            loaded,
            judges,
            tuned,
            config,
            out,
            texts=texts,
            originals=originals,
            chained=chained,
            callback=show,
        )
    if state.is_main_process:
        write_figures(out, originals=originals)
    typer.echo(table(results["rows"], TABLES["Response and pollution"]), nl=False)


def _methods_and_targets(
    methods: str, targets: str, adapters: Path | None, most: int | None
) -> tuple[list[str], list[str]]:
    """The methods and targets that an evaluation asks for; most: of all targets so many."""
    from spf.evaluation import entries
    from spf.shelf import EVERY

    there = entries.shelf_of(adapters).files()
    labels = entries.every_method(there) if methods == EVERY else _listed("methods", methods)
    if targets != EVERY:
        return labels, _listed("targets", targets)
    names = entries.every_target(labels, there)[:most]
    if not names:
        raise BadInput(
            "targets is all but no target has an adapter of any of the methods; name targets "
            "or fine-tune first."
        )
    return labels, names


def figures(
    results: Annotated[Path, typer.Option(help="the --out of an evaluation")] = Path(
        "runs/evaluate"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for the figures; default: figures in --results", callback=into_folder
        ),
    ] = None,
    originals: Annotated[
        Path | None,
        typer.Option(help="folder of the original portraits, if it was given to evaluate"),
    ] = None,
) -> None:
    """Draw the counterparts of the paper's figures from the folder of an evaluation; no model is
    needed.
    """
    from spf.evaluation.plots import FIGURES, write_figures

    for path in write_figures(results, out, originals):
        typer.echo(f"{path}  {FIGURES[path.name]}")


@options(SheetConfig)
def sheet(
    config: SheetConfig,
    targets: Annotated[
        str, typer.Option(help="names joined by commas, or all that have adapters")
    ] = "all",
    methods: Annotated[str, typer.Option(help="methods joined by commas")] = "spf",
    out: Out = Path("runs/sheet"),
    count: Annotated[
        bool, typer.Option("--count", help="add up the counts.csv in --out, when it is filled in")
    ] = False,
    model: Model = "embedded",
    threads: Threads = 1,
) -> None:
    """Draw pairs onto zoomed sheets without verdicts, to be judged by eye; or add up the count."""
    from spf.loading import find_judges
    from spf.sheet import COUNTS, draw_pairs, read_again, read_counts, summary

    if count:
        counts, pairs = read_counts(out)
        found = summary(counts, read_again(out, pairs, find_judges()))
        typer.echo(json.dumps(found, indent=2))
        return
    from spf.evaluation.entries import every_target
    from spf.shelf import EVERY, Shelf

    labels = _listed("methods", methods)
    there = Shelf.usual().files()
    names = every_target(labels, there) if targets == EVERY else _listed("targets", targets)
    loaded, judges = _load(model, threads)
    with progress("drawing") as show:
        chosen = [get_target(name) for name in names]
        pages = draw_pairs(
            loaded, judges, config, out, targets=chosen, methods=labels, callback=show
        )
    typer.echo("\n".join(map(str, pages)))
    typer.echo(f"Look at the sheets, write 1 or 0 into {out / COUNTS}, then run it with --count.")


def faces(
    out: Annotated[
        Path, typer.Option(help="folder of pictures and labels", callback=into_folder)
    ] = Path("assets/faces"),
    n: Annotated[int, typer.Option(min=12, max=10_000, help="faces to draw")] = 120,
    count: Annotated[
        bool, typer.Option("--count", help="how the judge of form agrees with the labels in --out")
    ] = False,
    threads: Threads = 1,
) -> None:
    """Draw faces to be labelled by eye, or compare the judge of form with the labels."""
    from spf.evaluation.faces import LABELS, agreement, draw_faces, read_faces, write_faces
    from spf.evaluation.form import FormJudge
    from spf.shelf import checkpoints

    if count:
        judge = FormJudge.load(checkpoints() / "form")
        typer.echo(json.dumps(agreement(judge, *read_faces(out)), indent=2))
        return
    base = _load("embedded", threads, judged=False)[0]
    typer.echo(str(write_faces(draw_faces(base, n), out)))
    typer.echo(f"Look at the sheet, write 1 or 0 into {out / LABELS}, then run it with --count.")


def portraits(
    n: Annotated[int, typer.Option(help="how many")] = 32,
    seed: Seed = 0,
    out: Out = Path("out"),
    size: Annotated[int, typer.Option(help="side in pixels")] = 128,
    targets: Annotated[
        str, typer.Option(help="none, weak (as the base model's training set), or often")
    ] = "none",
    split: Annotated[str, typer.Option(help="identities: train, dev or test")] = "train",
) -> None:
    """Draw portraits: images, captions.jsonl, one mask per phrase, and a contact sheet."""
    from spf.portraits.dataset import write_portraits

    typer.echo(str(write_portraits(out, n=n, seed=seed, size=size, targets=targets, split=split)))


def _is_whole(value: str) -> bool:
    return value.strip().removeprefix("-").isdecimal()


def _listed(name: str, value: str) -> list[str]:
    parts = parted(value, ",")
    if not parts:
        raise BadInput(f"{name} is {value!r} but must be names joined by commas.")
    return parts


def _load(model: str, threads: int, judged: bool = True, device: str = "", dtype: str = "fp32"):
    """(base, judges or None) on a device, the best one by default."""
    from spf.loading import load, load_judges

    base = load(model, device=device, dtype=dtype, threads=threads)
    return base, load_judges(base) if judged else None


@contextmanager
def progress(name: str):
    """A bar on stderr; yields show(done, total)."""
    import sys

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
