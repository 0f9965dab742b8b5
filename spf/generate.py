"""One comparison as files: both portraits, the target's attention step by step, the control map,
and the report.

config = GenerateConfig(base="a photo of a young woman", targets=("a hat",), adapter="hat")
draw(base, config, "out", judges=judges)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from spf.config import AUTO, JOIN, GenerateConfig
from spf.edits import build
from spf.evaluation.figures import attention_strip, overlay
from spf.evaluation.judges import Judges
from spf.evaluation.report import pair_reading, pair_report
from spf.exchange import fitting, load_adapter
from spf.files import atomic, write_json
from spf.models import Base
from spf.pixels import as_pixels
from spf.sampling import Callback, Edit, GuideConfig, Trace, freed, sample_pair
from spf.shelf import TUNED, Shelf, name_of
from spf.targets import composed, everywhere
from spf.traits import in_words
from spf.traits.telling import Told, completed

log = logging.getLogger(__name__)

ORIGINAL_PICTURE, TUNED_PICTURE = "original.png", "tuned.png"
STRIP, OVERLAY, MAPS, REPORT = "target_attention.png", "sfcm.png", "attention.npz", "report.json"


def draw(
    base: Base,
    config: GenerateConfig,
    out: str | Path,
    *,
    judges: Judges | None = None,
    seconds: Mapping[str, float] | None = None,
    callback: Callback | None = None,
) -> list[dict]:
    """Draws original and tuned from the same noise and writes the files named above; returns the
    reports.

    With a count above 1, image i has seed + i and a folder of that name in `out`. seconds: of
    stages before this one. Raises BadInput before anything is drawn or written, and whatever the
    callback raises.
    """
    fuller = texts_of(base, config)
    prompt = fuller.prompt
    names = adapters_of(base, config)
    adapters = {name: load_adapter(name, base) for name in names}
    made_for = base.weights.strangers({name: one.metadata for name, one in adapters.items()})
    called = JOIN.join(map(name_of, names))
    config = GenerateConfig.from_dict(config.to_dict() | {"adapter": called})
    seeds = [config.seed + i for i in range(config.count)]
    began = time.perf_counter()
    with base.drawn_by(*way_of(config)):
        trace = sample_pair(
            base,
            prompt,
            {TUNED: list(adapters.values())},
            seeds=seeds,
            steps=config.steps,
            guidance=config.guidance,
            negative=config.negative,
            scale=config.strength,
            guide=guide_of(config),
            edit=edit_of(config),
            callback=callback,
        )
    drawn = time.perf_counter()
    judges = judges if base.draws(trace.original.images) else None
    original, tuned = (
        (judges.read(as_pixels(path.images)) if judges else None)
        for path in (trace.original, trace.tuned[TUNED])
    )
    clock = dict(seconds or {}) | {"pair": drawn - began, "judging": time.perf_counter() - drawn}
    reports = []
    for i, seed in enumerate(seeds):
        read = pair_reading(original, i, tuned, i, config.targets) if judges else {}
        said = trace.tuned[TUNED].told[i] if trace.tuned[TUNED].told else ()
        reports.append(
            pair_report(
                config,
                model=base.name,
                seed=seed,
                complete=prompt.complete,
                also=in_words(fuller.traits),
                seconds=clock,
                told=said,
                made_for=list(made_for.values()),
                **read,
            )
        )
        write(trace, i, reports[-1], Path(out) / str(seed) if config.count > 1 else Path(out))
    return reports


def texts_of(base: Base, config: GenerateConfig) -> Told:
    """The texts of a drawing, with what the base text leaves open where the settings complete it.

    Raises BadInput, also when words of the target fall off the end.
    """
    prompt = composed(config)
    prompt.require_targets(base.tokenizer)
    return completed(base, prompt, config.also, config.seed)


def adapters_of(base: Base, config: GenerateConfig) -> list[str]:
    """Names or files of the adapters that a drawing is made with; says so where "auto" finds only
    such as do not belong to the base.
    """
    shelf, where = Shelf.usual(), (config.targets, base.weights, fitting(base))
    if config.adapter == AUTO and (names := shelf.unfit(*where)):
        log.warning(
            "adapter is auto, and of %s none was made for %s, so the original weights draw what"
            " they were tuned for; give a name to use one all the same.",
            ", ".join(names),
            base.name,
        )
    return shelf.chosen(config.adapter, *where)


def guide_of(config: GenerateConfig) -> GuideConfig | None:
    """How a drawing is guided; targets without a place, such as a style, leave nothing to hold."""
    if not config.guided:
        return None
    guide = GuideConfig(config.guided, start=config.guided_from, push=config.push)
    return freed(guide) if everywhere(config.targets) else guide


def way_of(config: GenerateConfig) -> tuple[str, str, int, int]:
    """The settings of a drawing that `Base.drawn_by` takes."""
    return config.sampler, config.perturbed, config.width, config.height


def edit_of(config: GenerateConfig) -> Edit | None:
    return build(config.edit) if config.edit else None


def write(trace: Trace, i: int, report: dict, folder: Path) -> None:
    """The files of image i, the report last: where it is, all others are whole."""
    tuned = trace.tuned[TUNED]
    picture = tuned.images[i]
    _save(Image.fromarray(trace.original.images[i]), folder / ORIGINAL_PICTURE)
    _save(Image.fromarray(picture), folder / TUNED_PICTURE)
    targets = [phrase.text for phrase in trace.prompt.target_phrases]
    if targets:
        steps = range(len(trace.timesteps))
        maps = [np.stack([tuned.map(phrase, step)[i] for step in steps]) for phrase in targets]
        _save(attention_strip(picture, maps), folder / STRIP)
    if tuned.sfcm is not None:
        _save(Image.fromarray(overlay(picture, tuned.mean_sfcm()[i])), folder / OVERLAY)
    with atomic(folder / MAPS) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **arrays(trace, i))
    write_json(folder / REPORT, report)


def arrays(trace: Trace, i: int) -> dict[str, np.ndarray]:
    """attention.npz of image i.

    PATH_maps_SIDE [steps, phrases, side, side] for both paths with PATH_phrases naming the second
    axis; difference [steps, h, w]; timesteps [steps]; base_phrases; held [h, w], the map of a held
    drawing. Where the adapters were trained with a control map also sfcm [steps, h, w], and the
    distances of the base phrases to the target.
    """
    tuned = trace.tuned[TUNED]
    found = {
        "timesteps": np.array(trace.timesteps),
        "base_phrases": np.array(trace.base_phrases, dtype=np.str_),
        "difference": tuned.difference[:, i],
    }
    if tuned.sfcm is not None:
        found |= {"sfcm": tuned.sfcm[:, i], "distances": tuned.distances}
    if tuned.held is not None:
        found["held"] = tuned.held[i]
    for name, path in (("original", trace.original), ("tuned", tuned)):
        found[f"{name}_phrases"] = np.array(path.phrases, dtype=np.str_)
        found |= {f"{name}_maps_{side}": maps[:, i] for side, maps in path.maps.items()}
    return found


def _save(image: Image.Image, path: Path) -> None:
    with atomic(path) as draft:
        image.save(draft)
