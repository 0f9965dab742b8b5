"""The commands bench and memory: how long things take beside one another, and what they need;
`spf.cli` registers them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spf import commands
from spf.config import EMBEDDED, check_choice
from spf.files import write_json
from spf.registry import TRAINED

WHAT = ("pair", "finetune", "capture")
KINDS = ("draw", *TRAINED)

Rounds = Annotated[int, typer.Option(min=1, max=1000, help="rounds of which the median is taken")]


def bench(
    what: Annotated[str, typer.Argument(help="pair, finetune or capture")],
    model: Annotated[
        str,
        typer.Option(help="random weights of sd15, slim or cut, or any base as elsewhere"),
    ] = EMBEDDED,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="of a drawing")] = 10,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="of a training step")] = 2,
    rounds: Rounds = 5,
    threads: commands.Threads = 1,
    device: commands.Device = "",
    dtype: commands.Dtype = "fp32",
) -> None:
    """Time variants in one process, round by round, and print medians and ratios as Markdown."""
    check_choice("what", what, WHAT)
    import torch

    from spf import bench as benches
    from spf.devices import best_device, dtype_of

    torch.set_num_threads(threads or torch.get_num_threads())
    base = benches.base_of(model, best_device(device), dtype_of(dtype))
    if what == "finetune":
        typer.echo(benches.table(benches.finetune(base, batch, rounds=rounds)))
    elif what == "pair":
        typer.echo(benches.table(benches.pair(base, steps, rounds)))
    else:
        timings, changed, kept = benches.capture(base, steps, rounds)
        typer.echo(benches.table(timings))
        typer.echo(f"\n{changed} values changed; {kept / 1024:.0f} KiB of maps for {steps} steps.")


def memory(
    what: Annotated[
        str, typer.Argument(help="draw, or a method of fine-tuning such as spf")
    ] = "spf",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of the method; may be given several times"),
    ] = None,
    dtype: commands.Dtype = "bf16",
    checkpointing: Annotated[bool, typer.Option(help="as in finetune")] = False,
    eight_bit: Annotated[bool, typer.Option(help="as in finetune")] = False,
    out: Annotated[
        Path | None, typer.Option(help="a JSON file for the bytes", callback=commands.into_file)
    ] = None,
) -> None:
    """Count what a run takes at Stable Diffusion 1.5 and 512 pixels, part by part, without any
    weights.
    """
    check_choice("what", what, KINDS)
    from spf import memory as counts
    from spf.devices import dtype_of
    from spf.methods import parse_settings

    kind = dtype_of(dtype)
    if what == "draw":
        parts = counts.counted_drawing(dtype=kind)
    else:
        chosen = parse_settings(what, settings or [])
        how = {"checkpointing": checkpointing, "eight_bit": eight_bit}
        parts = counts.counted(what, chosen, dtype=kind, **how)
    for name, value in (parts | {"all": sum(parts.values())}).items():
        typer.echo(f"{name:10} {value / 1e9:6.2f} GB")
    if out:
        write_json(out, parts)
