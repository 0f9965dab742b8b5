"""The paper's figures from the folder of an evaluation: no model is needed, everything was kept
while it was measured.

write_figures("runs/evaluate", "figures")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from spf.errors import BadInput
from spf.evaluation.figures import GAP, attention_strip, overlay, strip
from spf.evaluation.pictures import Album
from spf.evaluation.plan import known_rows
from spf.files import atomic, read_json

LABEL = 14
MOST = 6
"""Rows of a grid."""
FIGURES = {
    "attention_over_steps.png": "Fig. 1: attention to the target over the denoising steps, by "
    "method",
    "over_alignment.png": "Fig. 3: response against kept attributes; bottom right is "
    "over-alignment, top left pollution",
    "curves.png": "Fig. 4: measures over training steps",
    "grid.png": "Fig. 5: original and methods, from the same noise",
    "ablation.png": "Fig. 6: the method and its ablations, from the same noise",
    "reconstruction.png": "Fig. 8: the base text alone, drawn by the original and by the tuned "
    "models",
    "maps_over_steps.png": "average precision of the control map and its parts over the denoising "
    "steps",
    "control_maps.png": "control map, noise difference and attention over the tuned portraits",
    "chains.png": "response and pollution along chains of targets",
}
"""Files, with the figure of arXiv 2504.00396 that each is the counterpart of; those whose data are
missing are left out.
"""


def write_figures(
    folder: str | Path, out: str | Path | None = None, originals: str | Path | None = None
) -> list[Path]:
    """Every figure for which `folder`, the --out of an evaluation, holds the data. Raises BadInput
    without results.
    """
    folder = Path(folder)
    if not (folder / "results.json").is_file():
        raise BadInput(
            f"results is {str(folder)!r} but that folder holds no results.json; run evaluate first."
        )
    results, rows = read_json(folder / "results.json"), _rows(folder)
    album = Albums(
        Album(Path(originals or folder / "originals")), Album(folder / "pictures"), folder / "maps"
    )
    methods = list(dict.fromkeys(row["method"] for row in results["rows"]))
    rows = sorted(_measured(rows, results), key=lambda row: methods.index(row["method"]))
    ablated = [
        name for name in methods if name.partition("+")[0] == "spf" or name.startswith("spf-")
    ]
    makers: dict[str, Callable] = {
        "attention_over_steps.png": lambda: _attention(rows, album),
        "over_alignment.png": lambda: _plane(results["rows"]),
        "curves.png": lambda: _curves(results.get("curves", [])),
        "grid.png": lambda: _grid(
            rows, [name for name in methods if not name.startswith("spf-")], album
        ),
        "ablation.png": lambda: _grid(rows, ablated, album) if len(ablated) > 1 else None,
        "reconstruction.png": lambda: _reconstruction(rows, album),
        "maps_over_steps.png": lambda: _steps(results.get("timesteps", [])),
        "control_maps.png": lambda: _control(rows, album),
        "chains.png": lambda: _chains(results.get("chains", [])),
    }
    written = []
    for name, make in makers.items():
        made = make()
        if made is not None:
            path = Path(out or folder / "figures") / name
            with atomic(path) as draft:
                made.savefig(draft, dpi=150, bbox_inches="tight") if isinstance(
                    made, Figure
                ) else made.save(draft)
            written.append(path)
    return written


class Albums:
    """Where an evaluation's pictures and maps lie."""

    def __init__(self, originals: Album, pictures: Album, maps: Path) -> None:
        self.originals, self.pictures, self.maps = originals, pictures, maps

    def look(self, key: str) -> dict[str, np.ndarray] | None:
        path = self.maps / f"{key}.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name].astype(np.float32) for name in held.files}


def _rows(folder: Path) -> list[dict]:
    found = {
        (row["method"], row["target"], row["prompt"], row["seed"]): row
        for row in known_rows(folder).values()
    }
    return list(found.values())


def _measured(rows: Sequence[dict], results: Mapping) -> list[dict]:
    """Those of a folder's rows that went into its results; other runs may have left more there."""
    cells = {(row["method"], row["target"]) for row in results["rows"]}
    prompts, seeds = (results["settings"][name] for name in ("prompts", "seeds"))
    return [
        row
        for row in rows
        if (row["method"], row["target"]) in cells
        and row["prompt"] < prompts
        and row["seed"] < seeds
    ]


def _spots(rows: Sequence[Mapping]) -> list[tuple]:
    """(target, prompt, seed) of the rows of a grid: the first pairs of each target in turn."""
    spots = sorted({(row["prompt"], row["seed"], row["target"]) for row in rows})
    return [(target, prompt, seed) for prompt, seed, target in spots][:MOST]


def labelled(sheet: Image.Image, names: Sequence[str], cells: Sequence[str] = ()) -> Image.Image:
    """A sheet of `strip` with the names of its columns above and of its rows at the left."""
    left = 6 * max((len(name) for name in cells), default=0) + (GAP if cells else 0)
    width = (sheet.width - GAP) // max(len(names), 1)
    tall = Image.new("RGB", (sheet.width + left, sheet.height + LABEL), "white")
    tall.paste(sheet, (left, LABEL))
    pen = ImageDraw.Draw(tall)
    for number, name in enumerate(names):
        pen.text((left + GAP + number * width, 1), name, fill="black")
    height = (sheet.height - GAP) // max(len(cells), 1)
    for number, name in enumerate(cells):
        pen.text((2, LABEL + GAP + number * height), name, fill="black")
    return tall


def _grid(rows: Sequence[Mapping], methods: Sequence[str], album: Albums) -> Image.Image | None:
    by = {(row["method"], row["target"], row["prompt"], row["seed"]): row for row in rows}
    sheet, names = [], []
    for target, prompt, seed in _spots(rows):
        line = [by.get((method, target, prompt, seed)) for method in methods]
        first = next((row for row in line if row), None)
        before = album.originals.get(first["original"]) if first else None
        if before is not None:
            pictures = [album.pictures.get(row["key"]) if row else None for row in line]
            sheet.append(
                [
                    before,
                    *(
                        np.full_like(before, 235) if picture is None else picture
                        for picture in pictures
                    ),
                ]
            )
            names.append(target)
    return labelled(strip(sheet), ["base text", *methods], names) if sheet else None


def _reconstruction(rows: Sequence[Mapping], album: Albums) -> Image.Image | None:
    kept = [row for row in rows if row.get("kept")]
    methods = list(
        dict.fromkeys(row["method"] for row in kept if not row["edit"] and not row["guided"])
    )
    by = {(row["method"], row["target"], row["prompt"], row["seed"]): row for row in kept}
    sheet, names = [], []
    for target, prompt, seed in _spots(kept):
        line = [by.get((method, target, prompt, seed)) for method in methods]
        first = next((row for row in line if row), None)
        before = album.originals.get(first["original"]) if first else None
        if before is not None:
            pictures = [album.pictures.get(row["kept"]) if row else None for row in line]
            sheet.append(
                [
                    before,
                    *(
                        np.full_like(before, 235) if picture is None else picture
                        for picture in pictures
                    ),
                ]
            )
            names.append(target)
    return labelled(strip(sheet), ["original", *methods], names) if sheet else None


def _looked(
    rows: Sequence[Mapping], album: Albums
) -> list[tuple[Mapping, np.ndarray, dict[str, np.ndarray]]]:
    """The first pair with maps of each method, of the first target that has one."""
    found: dict[str, tuple] = {}
    for row in sorted(rows, key=lambda row: (row["prompt"], row["seed"])):
        look, picture = album.look(row["key"]), album.pictures.get(row["key"])
        if look is not None and picture is not None and row["method"] not in found:
            if not found or next(iter(found.values()))[0]["target"] == row["target"]:
                found[row["method"]] = (row, picture, look)
    return list(found.values())


def _attention(rows: Sequence[Mapping], album: Albums) -> Image.Image | None:
    looked = _looked(rows, album)
    if not looked:
        return None
    strips = [attention_strip(picture, [look["attention"]]) for _, picture, look in looked]
    sheet = Image.new(
        "RGB", (max(one.width for one in strips), sum(one.height for one in strips)), "white"
    )
    y = 0
    for one in strips:
        sheet.paste(one, (0, y))
        y += one.height
    return labelled(sheet, [], [row["method"] for row, _, _ in looked])


def _control(rows: Sequence[Mapping], album: Albums) -> Image.Image | None:
    kinds = ("sfcm", "difference", "attention")
    sheet = []
    looked = _looked(rows, album)
    for _, picture, look in looked:
        row = [picture]
        for kind in kinds:
            if kind not in look:  # trained without a control map
                row.append(np.full_like(picture, 255))
                continue
            mean = look[kind].mean(0)
            row.append(overlay(picture, (mean - mean.min()) / max(float(np.ptp(mean)), 1e-8)))
        sheet.append(row)
    return (
        labelled(strip(sheet), ["portrait", *kinds], [row["method"] for row, _, _ in looked])
        if sheet
        else None
    )


def _plane(rows: Sequence[Mapping]) -> Figure | None:
    targets = {row["target"] for row in rows}
    chosen = "all" if "all" in targets else next(iter(targets), None)
    cells = {(row["method"], row["measure"]): row for row in rows if row["target"] == chosen}
    methods = [
        method
        for method, measure in cells
        if measure == "pollution" and (method, "response") in cells
    ]
    if not methods:
        return None
    figure = Figure(figsize=(6, 5))
    axes = figure.subplots()
    axes.set_prop_cycle(color=colormaps["tab20" if len(methods) > 10 else "tab10"].colors)
    for method in methods:
        a, b = cells[method, "response"], cells[method, "pollution"]
        axes.errorbar(
            1 - b["value"],
            a["value"],
            xerr=[[max(b["high"] - b["value"], 0)], [max(b["value"] - b["low"], 0)]],
            yerr=[[max(a["value"] - a["low"], 0)], [max(a["high"] - a["value"], 0)]],
            fmt="o",
            capsize=2,
            lw=0.8,
            label=method,
        )
    axes.legend(fontsize=8)
    axes.set(
        xlabel="1 - pollution", ylabel="response", title=f"target: {chosen}", ylim=(-0.05, 1.05)
    )
    return figure


def _lines(
    rows: Sequence[Mapping], across: str, names: Sequence[str], xlabel: str
) -> Figure | None:
    """One panel for each of `names`, one line for each method; targets are averaged."""
    names = [name for name in names if any(row["measure"] == name for row in rows)]
    if not names:
        return None
    columns = min(3, len(names))
    figure = Figure(figsize=(4 * columns, 3.2 * math.ceil(len(names) / columns)))
    panels = figure.subplots(math.ceil(len(names) / columns), columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for method in dict.fromkeys(row["method"] for row in rows):
            points: dict[float, list[float]] = {}
            for row in rows:
                if (row["method"], row["measure"]) == (method, name) and row["target"] != "all":
                    points.setdefault(row[across], []).append(row["value"])
            places = sorted(points)
            panel.plot(
                places, [np.mean(points[place]) for place in places], marker="o", ms=3, label=method
            )
        panel.set(title=name, xlabel=xlabel)
    panels[0].legend(fontsize=7)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    figure.tight_layout()
    return figure


def _curves(rows: Sequence[Mapping]) -> Figure | None:
    names = ("purity", "response", "pollution", "retention", "clip_target", "identity")
    return _lines(rows, "step", names, "training step")


def _steps(rows: Sequence[Mapping]) -> Figure | None:
    figure = _lines(
        rows,
        "timestep",
        ("sfcm_ap", "difference_ap", "attention_ap"),
        "timestep, from noise to picture",
    )
    if figure is not None:
        for panel in figure.axes:
            panel.invert_xaxis()
    return figure


def _chains(rows: Sequence[Mapping]) -> Figure | None:
    begins = [row["target"].split("+")[0] for row in rows]
    if len(set(begins)) > 1:
        rows = [
            row | {"method": f"{row['method']}, {first} first"}
            for row, first in zip(rows, begins, strict=True)
        ]
    return _lines(rows, "link", ("response", "pollution", "purity"), "targets in the chain")
