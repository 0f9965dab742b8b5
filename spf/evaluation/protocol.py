"""The protocol: for each target, held-out base texts and seeds; original against each method from
the same noise.

    adapters = find_adapters(base, ["naive", "spf"], ["hat"])
    results = evaluate(base, judges, adapters, EvaluateConfig(prompts=64), "runs/table")

Every pair becomes a line of rows.jsonl as soon as it is read, so a stopped evaluation continues
where it was, and its pictures lie in pictures/. The original portrait of a base text and a noise is
drawn once for all methods, and found again in later runs. The numbers go to results.json and
results.md, with bootstrap intervals over prompts. Under `accelerate launch` the processes share the
work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import accelerate
import torch

from spf.config import check_text
from spf.encodings import read_text
from spf.errors import BadInput
from spf.evaluation.columns import NOT_OFFLINE
from spf.evaluation.desk import Desk
from spf.evaluation.entries import Tuned, find_adapters
from spf.evaluation.judges import Judges
from spf.evaluation.pictures import Album
from spf.evaluation.plan import EvaluateConfig, known_rows, plan
from spf.evaluation.published import COLUMNS, absent, published
from spf.evaluation.summary import MEASURES, curves, document, summary, table, timesteps
from spf.files import write_json
from spf.models import Base

__all__ = [
    "MEASURES",
    "EvaluateConfig",
    "Tuned",
    "evaluate",
    "find_adapters",
    "summary",
    "table",
]


def evaluate(
    base: Base,
    judges: Judges,
    tuned: Sequence[Tuned],
    config: EvaluateConfig,
    out: str | Path,
    *,
    texts: Sequence[str] = (),
    originals: str | Path | None = None,
    chained: Callable[[], list[dict]] | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> dict:
    """Draws, reads and measures every pair that rows.jsonl lacks, then writes results.json and
    results.md.

    texts: base texts to use instead of the held-out captions (config.prompts of them at most).
    originals: a folder in which the original portraits are kept, for several evaluations to share;
    `out`/originals by default. chained: gives the rows of `spf.evaluation.chains`, if they are
    wanted.
    callback: (pairs done, pairs in all); may raise Cancelled, and what was measured stays. Returns
    what results.json holds. Raises BadInput for a text into which a target cannot be put.
    """
    out, state = Path(out), accelerate.PartialState(cpu=not torch.cuda.is_available())
    jobs = plan(base, judges, tuned, config, texts)
    out.mkdir(parents=True, exist_ok=True)
    known = known_rows(out)
    done = sum(work.key in known for job in jobs for work in job.work)
    total = sum(len(job.work) for job in jobs)
    desk = Desk(
        base,
        judges,
        config,
        Album(Path(originals or out / "originals")),
        Album(out / "pictures"),
        out / "maps",
    )
    name = f"rows{'' if state.num_processes == 1 else f'-{state.process_index}'}.jsonl"
    with (out / name).open("a", encoding="utf-8") as file:
        for number, job in enumerate(jobs):
            missing = [work for work in job.work if work.key not in known]
            if not missing or number % state.num_processes != state.process_index:
                continue
            for row in desk.measured(job, missing):
                file.write(json.dumps(row) + "\n")
                file.flush()
                done += 1
                if callback:
                    callback(done, total)
    state.wait_for_everyone()
    known = known_rows(out)
    rows = [known[work.key] for job in jobs for work in job.work if work.key in known]
    extra = published(rows, desk.originals, desk.pictures) if state.is_main_process else []
    results = {
        "settings": config.to_dict() | {"model": base.name},
        "measures": dict(MEASURES) | {row["measure"]: COLUMNS[row["measure"]] for row in extra},
        "rows": summary(rows) + extra,
        "timesteps": timesteps(rows),
        "absent": NOT_OFFLINE | absent(),
    }
    results["curves"] = curves(
        results["rows"],
        {one.method: (one.curve, one.step) for one in tuned if one.step is not None},
    )
    if chained and state.is_main_process:
        results["chains"] = chained()
    if state.is_main_process:
        write_json(out / "results.json", results)
        (out / "results.md").write_text(document(results), encoding="utf-8")
    return results


def read_texts(path: str | Path) -> list[str]:
    """Base texts from a file, one a line; empty lines and those that begin with # are left out.
    Raises BadInput.
    """
    try:
        lines = read_text(path)[0].split("\n")
    except BadInput as error:
        raise BadInput(
            f"prompts is {str(path)!r} but must be a number or a text file with one base text a "
            "line: "
            f"{error}"
        ) from error
    found = [
        check_text("prompts", line) for line in lines if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise BadInput(f"prompts is {str(path)!r} but that file holds no text.")
    return found
