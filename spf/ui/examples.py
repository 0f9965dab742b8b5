"""Ready examples: finished comparisons in assets/examples/, drawn once by `make` and shown at once
ever after.

Each is a folder with its portraits as PNG and example.json, which holds what the page's components
show beside them.
"""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spf.answers import Column, Result
from spf.config import GenerateConfig
from spf.engine import Engine
from spf.shelf import NAIVE, TUNED

from . import stage
from .components import enlarged
from .maps import payload

log = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"
WANTED: dict[str, GenerateConfig] = {
    "hat": GenerateConfig(
        "a photo of a young woman with long red hair, by the sea", "a hat", also="", seed=1
    ),
    "sunglasses": GenerateConfig(
        "a photo of a young man with short red hair, wearing a yellow T-shirt, before a window",
        "sunglasses",
        seed=3,
    ),
    "laughing": GenerateConfig(
        "a photo of a woman with short black hair, wearing a white shirt",
        "laughing",
        also="",
        seed=2,
    ),
    "necklace": GenerateConfig(
        "a photo of a young woman with short black hair, wearing a green sweater, before a window",
        "a pearl necklace",
        seed=1,
    ),
    "blonde": GenerateConfig(
        "a photo of a woman with curly hair, wearing a red jacket, in a park",
        "blonde hair",
        seed=2,
    ),
    "dress": GenerateConfig(
        "a photo of a young woman with long brown hair, wearing a blue T-shirt, by the sea",
        "a red dress",
        seed=1,
    ),
    "watercolor": GenerateConfig(
        "a photo of a young woman with brown hair, wearing a green shirt, by the sea",
        "watercolor painting",
        "replace",
        "photo",
        seed=1,
    ),
    "two": GenerateConfig(
        "a photo of a young woman with long brown hair, wearing a blue T-shirt, in a park",
        ("a hat", "laughing"),
        seed=5,
    ),
}
"""Settings of each example; the adapters are picked from the targets. Hat and laughing leave open
what their texts do not say, where plain fine-tuning brings most along."""


@dataclass(frozen=True)
class Example:
    """What the page shows of one finished comparison. request: the settings that drew it."""

    title: str
    request: Mapping[str, Any]
    stage: Mapping[str, Any]
    inside: Mapping[str, Any]

    @classmethod
    def of(cls, result: Result) -> Example:
        shown = stage.finished(result)
        return cls(" + ".join(result.config.targets), shown["request"], shown, payload(result))

    def save(self, folder: Path) -> None:
        """Writes the folder; the portraits stay ordinary pictures for whoever looks there."""
        folder.mkdir(parents=True, exist_ok=True)
        for role, uri in self.stage["portraits"].items():
            (folder / f"{role}.png").write_bytes(base64.b64decode(uri.partition(",")[2]))
        shown = {
            key: value for key, value in self.stage.items() if key not in ("portraits", "display")
        }
        rest = {"title": self.title, "stage": shown, "inside": self.inside}
        (folder / "example.json").write_text(json.dumps(rest, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Example:
        rest = json.loads((folder / "example.json").read_text(encoding="utf-8"))
        shown = rest["stage"]
        pictures = {role: (folder / f"{role}.png").read_bytes() for role in shown["roles"]}
        shown["display"] = {
            role: enlarged(np.asarray(Image.open(io.BytesIO(data))))
            for role, data in pictures.items()
        }
        shown["portraits"] = {
            role: f"data:image/png;base64,{base64.b64encode(data).decode()}"
            for role, data in pictures.items()
        }
        shown.setdefault("columns", _columns(shown))
        shown |= stage.read(shown["report"])
        return cls(rest["title"], shown["request"], shown, rest["inside"])


def _columns(shown: Mapping[str, Any]) -> dict[str, dict]:
    """How the portraits of an example were drawn that does not say it: those beside the first were
    free then.
    """
    guide = shown["request"].get("guided", GenerateConfig.settings()["guided"].default)
    drawn = {TUNED: Column("spf", guide), NAIVE: Column(NAIVE, "")}
    return {role: stage.column(drawn[role]) for role in shown["roles"] if role in drawn}


def load(folder: Path = FOLDER) -> dict[str, Example]:
    """The stored examples in the order of WANTED; a damaged one is left out, with a line in the
    log.
    """
    found = {}
    order = list(WANTED)
    places = [path.parent for path in folder.glob("*/example.json")]
    for place in sorted(
        places,
        key=lambda path: (order.index(path.name) if path.name in order else len(order), path.name),
    ):
        try:
            found[place.name] = Example.load(place)
        except (OSError, ValueError, KeyError) as error:
            log.warning("The example %s is damaged and is left out: %s", place.name, error)
    return found


def make(
    engine: Engine, folder: Path = FOLDER, names: Sequence[str] = (), tries: int = 1
) -> dict[str, Example]:
    """Draws and stores the examples for which the engine has adapters; all of them, or the named
    ones.

    tries: seeds, from the given one on, of which the clearest is kept: the target is there, no
    part of the face is another, and little else changed.
    """
    made = {}
    for name, config in WANTED.items():
        config = replace(config, adapter=engine.pick(config.targets))
        if (names and name not in names) or not config.adapter:
            continue
        drawn = [
            _drawn(engine, replace(config, seed=config.seed + number)) for number in range(tries)
        ]
        made[name] = Example.of(max(drawn, key=clarity))
        made[name].save(folder / name)
        log.info(
            "example %s: %s",
            name,
            made[name].stage["verdicts"].get("tuned", {}).get("sentence", {}).get("en", "drawn"),
        )
    return made


def _drawn(engine: Engine, config: GenerateConfig) -> Result:
    return next(event for event in engine.compare(config) if isinstance(event, Result))


def clarity(result: Result) -> tuple[float, ...]:
    """How well a comparison shows what it is about; larger is better."""
    report = result.reports[TUNED]
    naive = result.reports.get(NAIVE) or {}
    return (
        report["response"] or 0.0,
        -float(len(report["redrawn"] or ())),
        -(report["pollution"] or 0.0),
        naive.get("pollution") or 0.0,
        report["identity"] or 0.0,
    )
