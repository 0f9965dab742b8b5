"""Pairs to be judged by eye: zoomed sheets without a verdict, and what a person counted on them.

    draw_pairs(base, judges, SheetConfig(texts=6), "out")    # out/sheet-1.png, counts.csv, key.json
    summary(*read_counts("out"))                             # after counts.csv was filled in

Each pair stands on a sheet as a number and the target it was asked for, in shuffled order; which
weights drew it and what the judges read of it is in key.json, which is opened by the count alone.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spf.config import GenerateConfig
from spf.errors import BadInput
from spf.evaluation.judges import Judges
from spf.evaluation.measures import changed, responded
from spf.evaluation.report import pair_reading
from spf.files import atomic, read_json, write_json
from spf.generate import ORIGINAL_PICTURE, REPORT, TUNED_PICTURE, draw
from spf.models import Base
from spf.pixels import as_pixels
from spf.portraits.description import TARGETS, Target
from spf.portraits.texts import base_captions
from spf.settings import SheetConfig
from spf.shelf import Shelf, adapter_name
from spf.targets import known_targets

COUNTS, KEY, PAIRS = "counts.csv", "key.json", "pairs"
QUESTIONS = {
    "clean": "the original shows a clean face",
    "target": "the target is clearly there",
    "kept": "nothing else visibly changed",
    "share": "one would share it",
}
"""What is asked of each pair: 1 for yes, 0 for no."""

_COLUMNS, _ROWS, _ZOOM, _GAP, _LABEL = 2, 3, 3, 12, 26


def requests(
    config: SheetConfig, targets: Sequence[Target], methods: Sequence[str]
) -> list[tuple[str, GenerateConfig]]:
    """(method, drawing) of every pair, shuffled by the seed. BadInput without the adapters."""
    there = Shelf.usual().files()
    found = []
    for target in targets:
        texts = base_captions(target, config.texts, seed=config.seed + 7919)
        for method in methods:
            adapter = adapter_name(target.name, method)
            if adapter not in there:
                raise BadInput(f"targets has {target.name} but there is no adapter {adapter}.")
            for number, (_, caption) in enumerate(texts):
                drawing = GenerateConfig(
                    base=caption.text,
                    targets=(target.text,),
                    adapter=adapter,
                    seed=1000 * (config.seed + 1) + number,
                    steps=config.steps,
                    guidance=config.guidance,
                    guided=config.guided,
                )
                found.append((method, drawing))
    random.Random(config.seed).shuffle(found)
    return found


def draw_pairs(
    base: Base,
    judges: Judges | None,
    config: SheetConfig,
    out: str | Path,
    *,
    targets: Sequence[Target] = tuple(TARGETS.values()),
    methods: Sequence[str] = ("spf",),
    callback: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draws what is not there yet and writes sheets, an empty count and the key; returns the
    sheets.

    callback: (pairs done, pairs in all) after each one.
    """
    out, asked = Path(out), requests(config, targets, methods)
    key = {"settings": config.to_dict(), "pairs": {}}
    for number, (method, drawing) in enumerate(asked, start=1):
        folder = out / PAIRS / f"{number:03d}"
        known = read_json(folder / REPORT) if (folder / REPORT).is_file() else None
        same = known and (known["base"], known["seed"], known["adapter"]) == (
            drawing.base,
            drawing.seed,
            drawing.adapter,
        )
        report = known if same else draw(base, drawing, folder, judges=judges)[0]
        key["pairs"][str(number)] = {"method": method, "report": report}
        if callback:
            callback(number, len(asked))

    write_json(out / KEY, key)
    if not (out / COUNTS).exists():
        _write_counts(out / COUNTS, key["pairs"])
    return _write_sheets(out, [", ".join(drawing.targets) for _, drawing in asked])


def _write_counts(path: Path, pairs: Mapping[str, Any]) -> None:
    """The empty count: a line for each pair, with its target and a column for each question."""
    with atomic(path) as draft, open(draft, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["number", "asked", *QUESTIONS])
        for number, pair in pairs.items():
            rows.writerow([number, ", ".join(pair["report"]["target"]), *[""] * len(QUESTIONS)])


def _write_sheets(out: Path, targets: Sequence[str]) -> list[Path]:
    """sheet-1.png, sheet-2.png, ...: six pairs each, original to the left, three times enlarged."""
    per_sheet, written = _COLUMNS * _ROWS, []
    for first in range(0, len(targets), per_sheet):
        some = range(first, min(first + per_sheet, len(targets)))
        path = out / f"sheet-{first // per_sheet + 1}.png"
        tiles = [
            _tile(out / PAIRS / f"{index + 1:03d}", f"{index + 1}   {targets[index]}")
            for index in some
        ]
        with atomic(path) as draft:
            _page(tiles).save(draft, format="PNG")
        written.append(path)
    return written


def _tile(folder: Path, label: str) -> Image.Image:
    """One pair with its number and target above."""
    pair = [Image.open(folder / name).convert("RGB") for name in (ORIGINAL_PICTURE, TUNED_PICTURE)]
    width, height = pair[0].width * _ZOOM, pair[0].height * _ZOOM
    tile = Image.new("RGB", (2 * width + 4, height + _LABEL), "white")
    ImageDraw.Draw(tile).text((2, 4), label, "black", ImageFont.load_default(16))
    for place, image in enumerate(pair):
        enlarged = image.resize((width, height), Image.BICUBIC)
        tile.paste(enlarged, (place * (width + 4), _LABEL))
    return tile


def _page(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    rows = -(-len(tiles) // _COLUMNS)
    size = (_COLUMNS * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP)
    page = Image.new("RGB", size, "white")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, _COLUMNS)
        page.paste(tile, (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    return page


def read_counts(out: str | Path) -> tuple[dict[str, dict[str, bool]], dict[str, Any]]:
    """What was counted, by number, and the pairs of the key.

    Raises BadInput for an answer that is neither 0 nor 1, a pair left out or one that is unknown.
    """
    out = Path(out)
    for name in (COUNTS, KEY):
        if not (out / name).is_file():
            raise BadInput(f"{out / name} is missing; run: python -m spf sheet --out {out}.")
    pairs = read_json(out / KEY)["pairs"]
    with open(out / COUNTS, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))

    counts = {}
    for line in lines:
        number = (line.get("number") or "").strip()
        if number not in pairs:
            raise BadInput(f"{COUNTS} has a pair {number!r} but there are 1 to {len(pairs)}.")
        counts[number] = {}
        for question in QUESTIONS:
            answer = (line.get(question) or "").strip()
            if answer not in ("0", "1"):
                raise BadInput(
                    f"{question} of pair {number} in {COUNTS} is {answer!r} but must be 0 or 1."
                )
            counts[number][question] = answer == "1"
    missing = [number for number in pairs if number not in counts]
    if missing:
        raise BadInput(f"{COUNTS} leaves out pair {', '.join(missing[:8])}.")
    return counts, pairs


def read_again(
    out: str | Path, pairs: Mapping[str, Any], judges: Judges | None
) -> dict[str, dict[str, Any]]:
    """The pairs with what the judges of today read in the kept pictures; without judges or pictures
    as they are.
    """
    found = {}
    for number, pair in pairs.items():
        folder, report = Path(out) / PAIRS / f"{int(number):03d}", pair["report"]
        files = [folder / name for name in (ORIGINAL_PICTURE, TUNED_PICTURE)]
        if judges is not None and all(file.is_file() for file in files):
            pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
            reading, targets = judges.read(as_pixels(pictures)), known_targets(report["target"])
            read = pair_reading(reading, 0, reading, 1, report["target"])
            before, after = read["before"], read["after"]
            report = report | {
                "changed": changed(before, after, targets),
                "redrawn": list(read["redrawn"]),
                "response": sum(responded(after, t) for t in targets) / len(targets),
            }
        found[number] = pair | {"report": report}
    return found


def summary(
    counts: Mapping[str, Mapping[str, bool]], pairs: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """For each method: how many of the pairs a person said yes of, and how the verdict agrees.

    all: clean, target and kept at once. false_unchanged: pairs in which the person saw another
    change and the verdict names none. named: changes that verdicts name, parts of the face that
    were drawn anew included; invisible: those of pairs in which the person saw none.
    response_agrees: pairs in which eye and verdict agree about the target; of those whose verdict
    says anything about it.
    """
    found = {}
    for method in dict.fromkeys(pair["method"] for pair in pairs.values()):
        mine = {n: pair["report"] for n, pair in pairs.items() if pair["method"] == method}
        said = [counts[n] for n in mine]
        row: dict[str, Any] = {"pairs": len(mine)}
        row |= {question: sum(one[question] for one in said) for question in QUESTIONS}
        row["all"] = sum(one["clean"] and one["target"] and one["kept"] for one in said)

        judged = {n: report for n, report in mine.items() if report["changed"] is not None}
        named = {n: [*r["changed"], *(r.get("redrawn") or ())] for n, r in judged.items()}
        row["false_unchanged"] = sum(
            not some and not counts[n]["kept"] for n, some in named.items()
        )
        row["named"] = sum(map(len, named.values()))
        row["invisible"] = sum(len(some) for n, some in named.items() if counts[n]["kept"])
        known = {n: r["response"] for n, r in judged.items() if r["response"] is not None}
        agree = [(response > 0.5) == counts[n]["target"] for n, response in known.items()]
        row["response_agrees"] = f"{sum(agree)} of {len(agree)}"
        found[method] = row
    return found
