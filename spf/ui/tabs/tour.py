"""Tour: semantic pollution in five steps, on the outputs of a stored example."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from spf.packing import unpacked
from spf.portraits.description import TARGETS
from spf.portraits.render import render
from spf.portraits.tailored import tailored_set
from spf.shelf import NAIVE, ORIGINAL, TUNED

from ..components import QUICK, enlarged, own, webp
from ..examples import Example
from ..page import Page
from ..texts import both, same
from ..verdict import asked_for

SHOWN = 6
"""Pictures of the tailored set: enough to see what they have in common."""
HEAT = np.array(
    [[24, 15, 61], [92, 22, 109], [165, 44, 96], [225, 89, 57], [251, 155, 6], [250, 252, 160]],
    float,
)
"""The colours of static/common.js."""
ORDER = 0


def build(page: Page, tab: gr.Tab) -> None:
    """Lays out the tab; its pictures are drawn and sent when it is opened."""
    guide = own("tour")

    @cache
    def shown() -> dict[str, Any]:
        return {"steps": steps(page.examples)}

    tab.select(shown, None, guide, **QUICK)
    guide.finish(lambda: gr.Tabs(selected="compare"), None, page.tabs, **QUICK)


def steps(examples: Mapping[str, Example]) -> list[dict[str, Any]]:
    """The steps as static/tour.js shows them, of the example that tells most: plain fine-tuning
    changed much that nobody asked for, and SPF little. None without a naive counterpart.
    """
    compared = {
        name: one
        for name, one in examples.items()
        if name in TARGETS and NAIVE in one.stage["roles"]
    }
    if not compared:
        return []
    name, example = max(compared.items(), key=lambda one: polluted(one[1]))
    shown, target = example.stage, asked_for(TARGETS[name])
    naive, tuned = (shown["verdicts"].get(role, {}) for role in (NAIVE, TUNED))

    def portrait(role: str) -> dict:
        drawn = shown["columns"].get(role)
        caption = drawn["label"] if drawn else both(f"role.{role}")
        return {"src": shown["display"][role], "caption": caption, "tone": role}

    tailored = [
        {"src": webp(render(item.portrait, 128).image), "caption": ""}
        for item in tailored_set(name, SHOWN, 0)
    ]

    def step(number: int, pictures: list[dict], chips: list[dict] = (), way="", **values) -> dict:
        title, text = both(f"tour.{number}.title", **values), both(f"tour.{number}{way}", **values)
        return {"title": title, "text": text, "pictures": pictures, "chips": list(chips)}

    return [
        step(1, [portrait(ORIGINAL)], text=same(shown["texts"]["base"])),
        step(2, tailored, target=target),
        step(3, [portrait(ORIGINAL), portrait(NAIVE)], naive.get("changed", []), target=target),
        step(4, [portrait(ORIGINAL), control(example)], way=".held" if held(example) else ""),
        step(
            5,
            [portrait(role) for role in (ORIGINAL, TUNED, NAIVE)],
            tuned.get("changed", []),
            verdict=tuned.get("sentence", ""),
        ),
    ]


def polluted(example: Example) -> int:
    """How many more attributes the naive portrait changed than the tuned one."""
    naive, tuned = (
        len(example.stage["verdicts"].get(role, {}).get("changed", ())) for role in (NAIVE, TUNED)
    )
    return naive - tuned


def held(example: Example) -> bool:
    """Whether an example's drawing was held by one map."""
    return any(layer["key"] == "held" for layer in example.inside["layers"])


def control(example: Example) -> dict[str, Any]:
    """The control map of an example, averaged over its steps, over the tuned portrait."""
    data = example.inside
    name = both("layer.held" if held(example) else "layer.sfcm")
    maps = unpacked(data["blob"], data["arrays"])["chain"]  # [S,P+2,h,w]
    heat = maps[:, -1].mean(0) / 255
    portrait = Image.open(
        io.BytesIO(base64.b64decode(example.stage["portraits"][TUNED].partition(",")[2]))
    ).convert("RGB")
    heat = (
        np.asarray(
            Image.fromarray((heat / max(heat.max(), 1e-6) * 255).astype(np.uint8)).resize(
                portrait.size, Image.Resampling.BICUBIC
            )
        )
        / 255
    )
    colours = np.stack(
        [np.interp(heat, np.linspace(0, 1, len(HEAT)), HEAT[:, c]) for c in range(3)], -1
    )
    veil = (0.75 * np.clip(0.25 + 0.95 * heat, 0, 1))[..., None]
    mixed = np.asarray(portrait) * (1 - veil) + colours * veil
    return {"src": enlarged(mixed.astype(np.uint8)), "caption": name, "tone": TUNED}
