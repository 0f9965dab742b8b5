"""The command line: `python -m spf COMMAND --help`. Exit code 0 on success, 1 where a trial found
something, 2 on bad input with one sentence on stderr.

Commands import what they need when they run, so that help comes at once.
"""

import codecs
import json
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from spf import bench_commands, commands, model_commands, relied
from spf.config import MODEL
from spf.errors import BadInput, Cancelled, SpfError
from spf.portraits.pretrain.presets import told

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run a command; errors that the library explains become one sentence on stderr."""
    _as_typed()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    codecs.register_error(escaped.__name__, escaped)
    sys.stdout.reconfigure(errors=escaped.__name__)
    try:
        with relied.explained():
            code = app(standalone_mode=False)  # of typer.Exit, which is raised no further
    except Cancelled:
        pass
    except (SpfError, typer.TyperException) as error:
        sentence = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        sys.stderr.write(f"{sentence}\n")
        sys.exit(2)
    except OSError as error:  # of the system: a disk that is full, a file that cannot be written
        if not error.filename:
            raise
        sys.stderr.write(f"{error.filename2 or error.filename}: {error.strerror}.\n")
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
    else:
        sys.exit(code)


def _as_typed() -> None:
    """Starts again in Python's UTF-8 mode where the locale cannot read what was typed, so that
    texts and names of files are what they were meant to be.
    """
    unread = any("\udc80" <= letter <= "\udcff" for word in sys.argv for letter in word)
    if unread and sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def escaped(error: UnicodeError) -> tuple[str, int]:
    """What the encoding of the output lacks, written as JSON writes it."""
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


@app.callback()
def _group() -> None:
    """Portraits by text, and fine-tuning that changes nothing but the target."""


@app.command()
def pretrain(
    stage: Annotated[
        str,
        typer.Argument(help="vae, clip, judges, form, unet, or measure (writes the model card)"),
    ],
    preset: Annotated[str, typer.Option(help=told())] = "small",
    steps: Annotated[int | None, typer.Option(help="train so many steps")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="train so long; default: the preset's")
    ] = None,
    data: Annotated[
        int | None, typer.Option(help="drawn portraits to train on; default: the preset's")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="states, drawn portraits, samples", callback=commands.into_folder)
    ] = Path("runs/pretrain"),
    checkpoints: Annotated[Path, typer.Option(help="receives the usable folders")] = Path(
        "checkpoints"
    ),
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="continue what is in --out, or start again")
    ] = True,
    seed: Annotated[int, typer.Option(help="start of all random numbers")] = 0,
    threads: Annotated[
        int, typer.Option(help="processor threads; more than one needs an idle machine")
    ] = 1,
) -> None:
    """Train a part of the embedded model on drawn portraits. Order: vae, clip, judges, unet,
    measure.
    """
    import torch

    from spf.portraits import pretrain as trainers

    torch.set_num_threads(threads)
    trainers.run(
        stage,
        preset,
        steps=steps,
        minutes=minutes,
        portraits=data,
        out=out,
        checkpoints=checkpoints,
        resume=resume,
        seed=seed,
    )


@app.command()
def examples(
    names: Annotated[
        list[str] | None, typer.Argument(help="which; all for which there are adapters by default")
    ] = None,
    tries: Annotated[
        int, typer.Option(help="seeds to draw for each, of which the clearest is kept")
    ] = 1,
) -> None:
    """Draw the page's ready examples again and store them in assets/examples."""
    from spf.engine import Engine
    from spf.ui.examples import make

    engine = Engine()
    engine.load()
    for name in make(engine, names=names or (), tries=tries):
        typer.echo(name)


@app.command()
def screenshot(
    out: Annotated[Path, typer.Option(help="the PNG", callback=commands.into_file)] = Path(
        "assets/page.png"
    ),
) -> None:
    """Take the picture of the page that the README shows; needs a Chromium and the test extra."""
    from spf.ui.screenshot import shoot

    typer.echo(str(shoot(out)))


@app.command()
def reproduce(
    only: Annotated[list[str] | None, typer.Option(help="these steps alone")] = None,
    since: Annotated[str, typer.Option("--from", help="the first step; default: all")] = "",
    again: Annotated[bool, typer.Option("--again", help="also what is done")] = False,
    show: Annotated[bool, typer.Option("--list", help="show the steps and end")] = False,
    out: Annotated[
        Path,
        typer.Option(
            help="what is not shipped, and which steps are done", callback=commands.into_folder
        ),
    ] = Path("runs/reproduce"),
) -> None:
    """Make everything that is shipped again: networks, adapters, results, figures, pictures."""
    from spf import reproduce as sheet

    steps = sheet.chosen(list(sheet.steps(out)), only or (), since)
    if show:
        for step in steps:
            typer.echo(
                f"{step.hours:6.2f} h  {step.name:20} python -m spf {' '.join(step.command)}"
            )
        return
    sheet.reproduce(steps, out, again=again)


@app.command()
def space(
    out: Annotated[Path, typer.Option(help="a new folder", callback=commands.into_folder)],
    model: Annotated[str, typer.Option(help="a pinned base that the Space is to draw with")] = "",
) -> None:
    """Put together exactly what is uploaded to a Hugging Face Space."""
    from spf.space import assemble

    preload = {}
    if model:
        from spf.bases.pinned import preloaded

        preload = preloaded(model)
    files = assemble(out, preload)
    typer.echo(
        f"{len(files)} files, {sum((out / file).stat().st_size for file in files) / 2**20:.1f} MiB"
    )
    if model:
        typer.echo(f"Set the variable SPF_MODEL to {model} in the settings of the Space.")


@app.command()
def manual() -> None:
    """Write the parts of docs/ that are made from the code: the list of modules, and every
    setting.
    """
    from spf.manual import write

    for path in write():
        typer.echo(str(path))


@app.command()
def check_data(
    source: Annotated[Path, typer.Argument(help="a folder with pictures and captions")],
    target: Annotated[str, typer.Option(help="what they all show, as a text asks for it")],
    replace: Annotated[
        str, typer.Option(help="the words that the target replaces; empty if it is added")
    ] = "",
    name: Annotated[str, typer.Option(help="of the set, small letters or digits")] = "mine",
    out: Annotated[
        Path | None,
        typer.Option(
            help="a new folder for the set, which finetune --data takes",
            callback=commands.into_folder,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="an HTML file with every finding and a contact sheet", callback=commands.into_file
        ),
    ] = None,
    model: commands.Model = MODEL,
) -> None:
    """Check pictures of your own for fine-tuning, and with --out store what can be used."""
    from spf import userdata
    from spf.bases.reading import load_tokenizer
    from spf.prompts import spelling
    from spf.ui.texts import both
    from spf.userdata.sheet import write_report

    def sentence(finding: userdata.Finding) -> str:
        return both(f"check.{finding.key}", **finding.values)["en"]

    wish = userdata.Wish(target, "replace" if replace else "append", replace, name)
    tokenizer = load_tokenizer(model)
    with commands.progress("reading") as show:
        found = userdata.check(source, wish, partial(spelling, tokenizer), progress=show)
    for finding in found.findings:
        typer.echo(f"{finding.level}: {sentence(finding)}")
    if report:
        typer.echo(str(write_report(found, report, f"{source.name}: {target}", sentence)))
    if out:
        typer.echo(str(userdata.keep(found.items, wish, out)))


@app.command()
def stress(
    inputs: Annotated[int, typer.Option(help="broken inputs for each reader")] = 1000,
    kills: Annotated[int, typer.Option(help="kills of one fine-tuning job")] = 0,
    threads: Annotated[int, typer.Option(help="threads that draw and ask at once")] = 0,
    requests: Annotated[int, typer.Option(help="requests of each thread")] = 50,
    clients: Annotated[
        int,
        typer.Option(
            help="visitors of the page, which a process of its own serves on this machine"
        ),
    ] = 0,
    minutes: Annotated[float, typer.Option(help="how long they stay")] = 10.0,
    seed: commands.Seed = 0,
) -> None:
    """Try to break the readers, the jobs, the engine and the page, and print what came of it as
    JSON.
    """
    import tempfile

    from spf import stress as trials
    from spf.engine import Engine

    told = {}
    with commands.progress("broken inputs") as show:
        told["inputs"] = trials.fuzz(inputs, seed, show)
    if kills:
        with tempfile.TemporaryDirectory() as place, commands.progress("kills") as show:
            told["kills"] = trials.kills(kills, place, seed=seed, show=show)
    if threads:
        with commands.progress("requests") as show:
            told["threads"] = trials.threads(Engine(), threads, requests, show)
    if clients:
        with trials.served() as (url, server), commands.progress("seconds") as show:
            told["clients"] = trials.clients(url, clients, 60 * minutes, show, server)
    typer.echo(json.dumps(told, indent=2))
    bad = sum(row["failed"] for row in told["inputs"].values())
    bad += sum(
        told.get(part, {}).get(key, 0)
        for part in ("threads", "clients")
        for key in ("wrong", "failed")
    )
    if bad or not told.get("kills", {}).get("equal", True):
        raise typer.Exit(1)


@app.command()
def votes(
    file: Annotated[Path, typer.Option(help="the page's votes")] = Path("runs/votes.sqlite"),
) -> None:
    """Print what the blind votes add up to, as JSON."""
    from spf.votes import Votes

    if not file.is_file():
        raise BadInput(f"file is {str(file)!r} but no votes are there; the page makes it.")
    typer.echo(json.dumps({"count": Votes(file).count(), "rows": Votes(file).tally()}, indent=2))


for command in (
    commands.generate,
    commands.finetune,
    commands.evaluate,
    commands.figures,
    commands.portraits,
    model_commands.models,
    model_commands.convert,
    model_commands.receipt,
    model_commands.make_data,
    commands.sheet,
    commands.faces,
    bench_commands.bench,
    bench_commands.memory,
):
    app.command()(command)


if __name__ == "__main__":
    main()
