"""The commands models, convert and receipt: bases and adapters of other programs; `spf.cli`
registers them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spf import commands
from spf.config import GUIDANCE, MODEL
from spf.errors import BadInput

Adapter = Annotated[
    str, typer.Argument(help="an adapter: its name, or a file or folder of any form")
]


def models(
    get: Annotated[
        str,
        typer.Option(
            help="fetch one of them, clip or checker, after its licence and size were shown"
        ),
    ] = "",
    check: Annotated[
        str, typer.Option(help="say what a base is and whether it can be used, without its weights")
    ] = "",
) -> None:
    """List the bases with revision, licence and size; check or fetch one."""
    from spf.bases.finding import find_base
    from spf.bases.hub import checker_source, clip_source
    from spf.bases.pinned import PINNED, PINNED_CHECKER, PINNED_CLIP
    from spf.bases.reading import empty_base

    if get and check:
        raise BadInput("get and check cannot both be given; fetch one first, then check it.")
    known = PINNED | {"clip": PINNED_CLIP, "checker": PINNED_CHECKER}
    beside = {"clip": clip_source, "checker": checker_source}
    if check:
        base = empty_base(check)
        count = sum(value.numel() for value in base.unet.parameters())
        typer.echo(
            f"{base.name}: {base.image_size} pixels, predicts {base.diffusion.prediction}, drawn"
            f" with {base.sampler}, a unet of {count / 1e6:.1f} million parameters"
        )
    elif get:
        if get not in known:
            raise BadInput(f"get is {get!r} but must be one of {', '.join(known)}.")
        typer.echo(known[get].sentence())
        typer.echo(str(beside[get](download=True) if get in beside else find_base(get).folder))
    else:
        typer.echo("embedded: apache-2.0, beside the program")
        for name, pinned in known.items():
            typer.echo(f"{name}: {pinned.sentence()}")


def convert(
    adapter: Adapter,
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="own, diffusers, kohya (ComfyUI, A1111, Forge), diff (whole differences for"
            " these), checkpoint or folder (merged into the base); may be given several times; "
            "without it"
            " only what the file is, is said"
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="folder for the files and their model card", callback=commands.into_folder
        ),
    ] = Path("out"),
    rank: Annotated[int, typer.Option(help="largest rank of a LoRA's pairs")] = 64,
    strength: Annotated[float, typer.Option(help="with which it is merged")] = 1.0,
    receipt: Annotated[
        Path | None, typer.Option(help="a receipt.json, whose figures go into the model card")
    ] = None,
    model: commands.Model = MODEL,
) -> None:
    """Write an adapter in the forms of other programs, and say what each form leaves out."""
    from spf.bases.reading import empty_base, load_base
    from spf.convert import MERGED, convert
    from spf.exchange import load_adapter, origin
    from spf.files import read_json
    from spf.shelf import Shelf

    path = Shelf.usual().find(adapter)
    if not to:
        typer.echo(f"{path.name}: {origin(path).sentence()}")
        return
    base = load_base(model) if set(to) & set(MERGED) else empty_base(model)
    with commands.progress("converting") as show:
        written = convert(
            base,
            load_adapter(path, base),
            path.stem,
            to,
            out,
            rank=rank,
            strength=strength,
            receipt=read_json(receipt) if receipt else None,
            show=show,
        )
    for one in written:
        typer.echo(json.dumps(one, ensure_ascii=False))


def receipt(
    adapter: Adapter,
    target: Annotated[
        str, typer.Option(help="what it adds; empty takes what the file says, if anything")
    ] = "",
    out: Annotated[
        Path,
        typer.Option(help="folder for receipt.png and receipt.json", callback=commands.into_folder),
    ] = Path("out"),
    texts: Annotated[int, typer.Option(help="base texts")] = 16,
    steps: Annotated[int, typer.Option(help="denoising steps")] = 25,
    guidance: Annotated[float, typer.Option(help="classifier-free guidance")] = GUIDANCE,
    strength: Annotated[float, typer.Option(help="how much of the adapter is applied")] = 1.0,
    batch: Annotated[int, typer.Option(help="texts drawn together")] = 4,
    seed: commands.Seed = 0,
    model: commands.Model = MODEL,
    threads: commands.Threads = 0,
    device: commands.Device = "",
    dtype: commands.Dtype = "fp32",
) -> None:
    """Measure what an adapter adds and what it drags along, drawn free and held to the original."""
    from spf.config import AUTO
    from spf.exchange import load_adapter
    from spf.receipt import ReceiptConfig
    from spf.receipt import receipt as run
    from spf.shelf import Shelf

    config = ReceiptConfig(
        target=target,
        texts=texts,
        steps=steps,
        guidance=guidance,
        strength=strength,
        batch=batch,
        seed=seed,
    )
    if adapter == AUTO:
        raise BadInput("adapter is 'auto' but must be the name or file of one adapter.")
    base, judges = commands._load(model, threads, device=device, dtype=dtype)
    path = Shelf.usual().find(adapter)
    with commands.progress("drawing") as show:
        found = run(
            base, load_adapter(path, base), out, config, name=path.stem, judges=judges, show=show
        )
    shown = ("response", "pollution", "retention", "outside")
    for way, values in found["drawings"].items():
        said = [f"{name} {values[name]:.2f}" for name in shown if values[name] is not None]
        typer.echo(f"{way}, read by {found['reader']}: {', '.join(said)}")
    typer.echo(str(out / "receipt.png"))


def make_data(
    target: Annotated[str, typer.Option(help="what all pictures are to show")],
    n: Annotated[int, typer.Option("--n", min=1, max=100_000, help="pictures to keep")] = 300,
    out: commands.Out = Path("runs/made"),
    sure: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="how sure CLIP must be of the target")
    ] = 0.6,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="of each drawing")] = 30,
    guidance: Annotated[float, typer.Option(min=1.0, max=30.0, help="of each drawing")] = 7.0,
    batch: Annotated[int, typer.Option(min=1, max=256, help="portraits drawn together")] = 4,
    seed: commands.Seed = 0,
    model: commands.Model = MODEL,
    threads: commands.Threads = 0,
    device: commands.Device = "",
    dtype: commands.Dtype = "fp32",
) -> None:
    """Let the model draw a set for fine-tuning, which CLIP looks through; goes on where it was
    stopped.
    """
    from spf.made_data import make_set

    base, _ = commands._load(model, threads, judged=False, device=device, dtype=dtype)
    how = {"sure": sure, "steps": steps, "guidance": guidance, "batch": batch, "seed": seed}
    with commands.progress("drawing") as show:
        made = make_set(base, target, out, count=n, callback=show, **how)
    typer.echo(f"{made.kept} of {made.drawn} drawings kept in {out}; next: check-data {out}")
