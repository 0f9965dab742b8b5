"""The receipt of an adapter: over a number of texts, what it adds and what it drags along, free and
held.

receipt(base, load_adapter("hat", base), "out", name="hat",
judges=judges)["drawings"]["held"]["pollution"]

Three portraits are drawn of each text from one noise: the original weights', the adapter's as any
program would draw it, and the adapter's held to the original. And one more with each of the two
ways for the text without the target.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from spf.config import LARGEST_SEED, Config, GenerateConfig, as_in, real, text, whole
from spf.evaluation.figures import strip
from spf.evaluation.judges import Judges
from spf.evaluation.measures import (
    GROW,
    bootstrap_means,
    change_outside,
    cosine,
    interval,
    true_region,
)
from spf.evaluation.plots import labelled
from spf.evaluation.readers import CLIP, JUDGES, Read, Reader, reader_for
from spf.files import atomic, write_json
from spf.models import Base
from spf.paths import Adapter, response
from spf.pixels import as_pixels
from spf.portraits.captions import caption
from spf.portraits.description import sample_portrait
from spf.portraits.texts import base_captions
from spf.prompts import ComposedPrompt, compose, find, overflow
from spf.sampling import GuideConfig, TunedPath, freed, initial_latents, sample
from spf.targets import everywhere, known_targets

FREE, HELD = "free", "held"
PAGE, DATA = "receipt.png", "receipt.json"
INSIDE = 0.5
"""From where on a held drawing's map counts as the target's region, where no judge knows the true
one.
"""
SPARE = 4
"""Texts that are made for each one that is used, as some may be too long."""
SHOWN = 4
"""Texts on the page, the worst first."""
NARROWEST, DPI = 760, 100
"""Least width of the page in pixels, and pixels an inch."""


@dataclass(frozen=True)
class ReceiptConfig(Config):
    """Settings of a receipt."""

    target: str = text(help="what the adapter adds; empty takes what its file says, if anything")
    texts: int = whole(16, 1, 256, "base texts")
    steps: int = whole(25, 1, 200, "denoising steps")
    guidance: float = as_in(GenerateConfig, "guidance")
    strength: float = real(1.0, 0.0, 2.0, "how much of the adapter is applied")
    seed: int = whole(0, 0, LARGEST_SEED, "start of the noise; text i uses seed + i")
    batch: int = whole(4, 1, 64, "texts drawn together")


@dataclass
class Drawn:
    """Pictures uint8 [B,H,W,3] of one way of drawing, of the complete texts and of the base texts
    alone.
    """

    complete: list[np.ndarray] = field(default_factory=list)
    alone: list[np.ndarray] = field(default_factory=list)


def receipt(
    base: Base,
    adapter: Adapter,
    out: str | Path,
    config: ReceiptConfig = ReceiptConfig(),
    *,
    name: str = "adapter",
    judges: Judges | None = None,
    show: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Draws, reads, writes receipt.png and receipt.json into the folder `out`, and returns the
    latter.

    judges are used on the embedded model alone; elsewhere CLIP reads, and where there is none only
    pictures are compared. An adapter that was tuned on other weights is measured, and said to be.
    show: called with (denoising steps done, in all). Raises BadInput before anything is drawn.
    """
    target = config.target or adapter.metadata.get("target", "")
    prompts = _prompts(base, target, adapter.metadata, config)
    for prompt in prompts:
        prompt.require_targets(base.tokenizer)
    reader = reader_for(base, judges, [target] if target else [])
    guide = _guide(target)
    switch = response(base, adapter, config.strength)

    original: list[np.ndarray] = []
    maps: list[np.ndarray] = []
    drawn = {FREE: Drawn(), HELD: Drawn()}
    count = _Count(config.steps * (1 + 2 + 2 * 2) * math.ceil(len(prompts) / config.batch), show)
    for first in range(0, len(prompts), config.batch):
        some = prompts[first : first + config.batch]
        noise = initial_latents(base, [_seed(config, first + i) for i in range(len(some))])
        pictures, known = _original(base, some, noise, config, count)
        original.append(pictures)
        for way, made in drawn.items():
            for texts, kept in ((some, made.complete), ([_alone(p) for p in some], made.alone)):
                how = guide if way == HELD else None
                if texts is not some and not target:
                    kept.append(made.complete[-1])  # the text asks for nothing: it is the same
                    continue
                path = TunedPath(base, texts, guidance=config.guidance, guide=how, compare=False)
                latents = path.draw(
                    switch,
                    noise,
                    config.steps,
                    count.watch,
                    count.step,
                    known if path.follows else None,
                )
                kept.append(base.pictures(latents))
                if path.follows and texts is some:
                    maps.append(path.held.float().cpu().numpy())
    found = _measured(reader, original, drawn, maps, prompts)
    found |= {
        "adapter": name,
        "base": base.name,
        "other_weights": base.weights.strange(adapter.metadata),
        "target": target,
        "source": adapter.metadata.get("source", adapter.metadata.get("method", "")),
        "reader": reader.name,
        "settings": config.to_dict(),
        "texts": [prompt.base for prompt in prompts],
    }
    write_json(Path(out) / DATA, found)
    _page(found, np.concatenate(original), drawn, Path(out) / PAGE)
    return found


# drawing


def _prompts(
    base: Base, target: str, metadata: Mapping[str, str], config: ReceiptConfig
) -> list[ComposedPrompt]:
    """Texts of held-out people, silent about the target; with the words that it replaces, if it
    does.
    """
    count, seed = SPARE * config.texts, config.seed
    replaced = metadata.get("replace", "") if metadata.get("mode") == "replace" else ""
    if known := known_targets([target]):
        texts = [made.text for _, made in base_captions(known[0], count, seed, "dev")]
    else:
        rng = np.random.default_rng([seed, 16])
        people = [sample_portrait(rng, split="dev") for _ in range(count)]
        texts = [caption(person, rng).text for person in people]
        texts = [f"{t}, {replaced}" if replaced and not find(t, replaced) else t for t in texts]
    mode = "replace" if replaced and target else "append"
    prompts = [compose(text, target, mode, replaced if target else "") for text in texts]
    fitting = [prompt for prompt in prompts if not overflow(base.tokenizer, prompt.complete)]
    return (fitting or prompts)[: config.texts]


def _alone(prompt: ComposedPrompt) -> ComposedPrompt:
    return compose(prompt.base)


def _guide(target: str) -> GuideConfig | None:
    """Held, unless the target is known to be everywhere."""
    guide = GuideConfig(HELD)
    return freed(guide) if everywhere([target]) else guide


def _seed(config: ReceiptConfig, index: int) -> int:
    return (config.seed + index) % (LARGEST_SEED + 1)


def _original(
    base: Base,
    prompts: Sequence[ComposedPrompt],
    noise: Tensor,
    config: ReceiptConfig,
    count: _Count,
) -> tuple[np.ndarray, Tensor]:
    """Portraits of the base texts by the original weights, and the predictions [S,B,C,h,w] that led
    there.
    """
    predicted: list[Tensor] = []

    def watch(step) -> None:
        predicted.append(step.predicted)
        count.step()

    texts = [prompt.base for prompt in prompts]
    states, uncond = base.encode_text(texts), base.encode_text([""])
    with torch.inference_mode():
        how = {"steps": config.steps, "guidance": config.guidance, "callback": watch}
        latents = sample(base, noise, states, uncond, **how)
    return base.pictures(latents), torch.stack(predicted)


class _Count:
    """Denoising steps done, of all."""

    def __init__(self, total: int, show: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.show = 0, total, show

    def step(self, *shown) -> None:
        self.done += 1
        if self.show:
            self.show(min(self.done, self.total), self.total)

    watch = step


# measuring


def _measured(
    reader: Reader,
    original: list[np.ndarray],
    drawn: Mapping[str, Drawn],
    maps: list[np.ndarray],
    prompts: Sequence[ComposedPrompt],
) -> dict[str, Any]:
    before = np.concatenate(original)
    first = reader.read(before)
    held = np.concatenate(maps) if maps else None
    found: dict[str, Any] = {"drawings": {}, "measures": describe(reader)}
    for way, made in drawn.items():
        after, alone = np.concatenate(made.complete), np.concatenate(made.alone)
        rows = list(_rows(reader, first, before, after, alone, held, prompts))
        found["drawings"][way] = _summary(rows) | {"rows": rows}
    return found


def describe(reader: Reader) -> dict[str, str]:
    """What each measure is, and by whom it was read; only the measures that could be taken."""
    said = {
        "outside": "mean change of a pixel, 0 to 1, outside the target's region",
        "all": "mean change of a pixel, 0 to 1, everywhere",
    }
    if reader.name in (JUDGES, CLIP):
        sure = "" if reader.name == JUDGES else ", of those that CLIP is sure of in both"
        said |= {
            "response": f"share of portraits in which {reader.name} finds the target",
            "pollution": f"share of other attributes that changed, read by {reader.name}{sure}",
            "retention": f"share of attributes kept where nothing is asked for, {reader.name}",
        }
    if reader.name == JUDGES:
        said["identity"] = "cosine of the judges' identity embeddings"
    return said


def _rows(
    reader: Reader,
    first: Read,
    before: np.ndarray,
    after: np.ndarray,
    alone: np.ndarray,
    held: np.ndarray | None,
    prompts: Sequence[ComposedPrompt],
) -> Iterator[dict[str, Any]]:
    then, kept = reader.read(after), reader.read(alone)
    regions = _regions(reader, before, after, held)
    blank = Reader(reader.base, (), reader.name, reader.judges)
    for i, prompt in enumerate(prompts):
        changes = reader.changes(first, then, i)
        stays = blank.changes(first, kept, i)
        pair = before[i] / 255, after[i] / 255
        row = {
            "base": prompt.base,
            "complete": prompt.complete,
            "response": None if then.target is None else float(then.target[i]),
            "pollution": _share(changes.values()),
            "retention": None if not stays else 1 - _share(stays.values()),
            "outside": None if regions is None else change_outside(*pair, regions[i]),
            "all": float(np.abs(pair[0] - pair[1]).mean()),
            "changed": [name for name, changed in changes.items() if changed],
            "read": list(changes),
        }
        if first.identity is not None:
            row["identity"] = float(cosine(first.identity[i], then.identity[i]))
        yield {name: _plain(value) for name, value in row.items()}


def _regions(
    reader: Reader, before: np.ndarray, after: np.ndarray, held: np.ndarray | None
) -> np.ndarray | None:
    """Where the target may change each picture, bool [B,H,W]: the judges' regions, else the held
    drawing's map.
    """
    if reader.name == JUDGES and reader.known:
        seen = [reader.judges.read(as_pixels(p)).regions.cpu().numpy() for p in (before, after)]
        target = reader.known[0]
        return np.stack([true_region(a, b, target, GROW) for a, b in zip(*seen, strict=True)])
    if held is None:
        return None
    size = before.shape[1:3]
    large = torch.nn.functional.interpolate(torch.from_numpy(held)[:, None], size, mode="bilinear")
    return (large[:, 0] >= INSIDE).numpy()


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means with their 95% intervals over the texts, the attributes by how often they flip, and the
    worst text.
    """
    found: dict[str, Any] = {"intervals": {}}
    for name in ("response", "pollution", "retention", "outside", "all", "identity"):
        values = [math.nan if row.get(name) is None else row[name] for row in rows]
        mean, draws = bootstrap_means(values, range(len(rows)))
        found[name] = _plain(mean)
        found["intervals"][name] = [_plain(value) for value in interval(draws)]
    read = Counter(name for row in rows for name in row["read"])
    flips = Counter(name for row in rows for name in row["changed"])
    shares = {name: round(flips[name] / read[name], 4) for name in read if flips[name]}
    found["flips"] = dict(sorted(shares.items(), key=lambda one: -one[1]))
    found["worst"] = _order(rows)[0]
    return found


def _order(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Numbers of the rows, the most polluted first, then by the change of the picture."""
    return sorted(range(len(rows)), key=lambda i: (-(rows[i]["pollution"] or 0), -rows[i]["all"]))


def _share(flags) -> float:
    flags = list(flags)
    return sum(flags) / len(flags) if flags else math.nan


def _plain(value):
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


# the page


def _page(
    found: Mapping[str, Any], original: np.ndarray, drawn: Mapping[str, Drawn], path: Path
) -> None:
    """One sheet: figures, attributes that flip, and the texts that fare worst where drawn free."""
    rows = found["drawings"][FREE]["rows"]
    made = {"original": original} | {
        way: np.concatenate(one.complete) for way, one in drawn.items()
    }
    bands = []
    for i in _order(rows)[:SHOWN]:
        pictures = labelled(strip([[one[i] for one in made.values()]]), list(made))
        bands.append(labelled(pictures, [f"{i + 1}. {rows[i]['complete']}"]))
    width = max(bands[0].width, NARROWEST)
    bands.insert(0, _figures(found, list(drawn), width))
    sheet = Image.new("RGB", (width, sum(band.height for band in bands)), "white")
    top = 0
    for band in bands:
        sheet.paste(band, (0, top))
        top += band.height
    with atomic(path) as draft:
        sheet.save(draft, format="png")


def _figures(found: Mapping[str, Any], ways: Sequence[str], width: int) -> Image.Image:
    """The measures as a table, and the attributes that flip most as bars."""
    figure = Figure(figsize=(width / DPI, 3.2), dpi=DPI)
    target = f' for "{found["target"]}"' if found["target"] else ""
    title = f"{found['adapter']}{target} on {found['base']}, read by {found['reader']}"
    title += ", tuned on other weights" if found["other_weights"] else ""
    figure.suptitle(title, fontsize=10)
    table = figure.add_axes((0.14, 0.05, 0.42, 0.8))
    table.axis("off")
    names = [n for n in found["measures"] if found["drawings"][FREE].get(n) is not None]
    cells = [[_cell(found["drawings"][way], name) for way in ways] for name in names]
    table.table(cells, rowLabels=names, colLabels=ways, loc="center", cellLoc="center")

    flips = {way: found["drawings"][way]["flips"] for way in ways}
    most = list(dict.fromkeys(n for way in ways for n in list(flips[way])[:6]))[:8][::-1]
    bars = figure.add_axes((0.72, 0.12, 0.26, 0.7))
    bars.set_title("attributes dragged along" if most else "no read attribute changed", fontsize=9)
    for number, way in enumerate(ways):
        places = np.arange(len(most)) + 0.4 * (0.5 - number)
        bars.barh(places, [flips[way].get(name, 0) for name in most], 0.4, label=way)
    bars.set_yticks(range(len(most)), [name.replace("_", " ") for name in most], fontsize=8)
    bars.set_xlim(0, 1)
    if most:
        bars.legend(fontsize=8)
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    return Image.open(drawn).convert("RGB")


def _cell(values: Mapping[str, Any], name: str) -> str:
    low, high = values["intervals"][name]
    if values[name] is None:
        return ""
    return f"{values[name]:.2f}" if low is None else f"{values[name]:.2f} [{low:.2f}, {high:.2f}]"
