"""The report on one pair of portraits: what `generate` writes to report.json and the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spf.config import GenerateConfig
from spf.evaluation.measures import Attributes, changed, pollution, responded
from spf.evaluation.visible import settled
from spf.targets import known_targets

if TYPE_CHECKING:
    from spf.evaluation.judges import Reading


def pair_reading(
    before: Reading, i: int, after: Reading, j: int, targets: Sequence[str] = ()
) -> dict[str, Any]:
    """What the judges see in portrait i of one reading and j of another, for which targets were
    asked, as `pair_report` takes it.
    """
    seen = settled(before.look(i), after.look(j), known_targets(targets))
    similar = float((before.identity[i] * after.identity[j]).sum())
    sure = {
        name: min(float(before.probs[name][i].max()), float(after.probs[name][j].max()))
        for name in before.values[i]
        if before.probs.get(name) is not None
    }
    return {
        "before": before.values[i],
        "after": seen.values,
        "redrawn": seen.redrawn,
        "identity": similar,
        "sure": sure,
    }


def pair_report(
    config: GenerateConfig,
    *,
    model: str,
    seed: int,
    complete: str,
    seconds: Mapping[str, float],
    before: Attributes | None = None,
    after: Attributes | None = None,
    identity: float | None = None,
    sure: Mapping[str, float] | None = None,
    redrawn: Sequence[str] = (),
    told: Sequence[str] = (),
    also: str = "",
    made_for: Sequence[str] = (),
) -> dict[str, Any]:
    """report.json of one pair: settings, texts, readings and measures; None where nothing could be
    read.

    model: what the base is called, wherever it lies; the adapter is named by its settings. also:
    what both texts were completed with. told: what the complete text was told of the original
    portrait. made_for: bases of the adapters that were tuned on other weights than drew. before,
    after: what the judges read in the original and in the tuned portrait, None without judges;
    sure: their probability of each value, the smaller one of both portraits. redrawn: parts of the
    face that are another unasked. response is the share
    of the targets that are there (1.0 or 0.0 for one), None when the judges do not know every
    target.
    """
    targets = known_targets(config.targets)
    read = before is not None and after is not None
    known = read and config.targets and len(targets) == len(config.targets)
    return {
        "base": config.base,
        "target": list(config.targets),
        "complete": complete,
        "told": list(told),
        "also": also,
        "seed": seed,
        "steps": config.steps,
        "guidance": config.guidance,
        "model": model,
        "adapter": config.adapter,
        "made_for": list(dict.fromkeys(made_for)),
        "response": sum(responded(after, t) for t in targets) / len(targets) if known else None,
        "pollution": round(pollution(before, after, targets), 4) if read else None,
        "changed": changed(before, after, targets) if read else None,
        "redrawn": list(redrawn) if read else None,
        "identity": None if identity is None else round(float(identity), 4),
        "attributes": {n: {"original": before[n], "tuned": after[n]} for n in before}
        if read
        else None,
        "sure": {name: round(value, 3) for name, value in (sure or {}).items()} if read else None,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
