"""The model card of an adapter: what it is, on what terms, how it was made and how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from spf.bases.pinned import hub_id

from .writing import FORMS, Written

SHOWN = ("response", "pollution", "retention", "outside")
"""Figures of a receipt that a card repeats, in this order, where they were measured."""
USES = {
    "own": '`python -m spf generate --base "{base}" --target "{target}" --adapter {file}`',
    "diffusers": '`pipeline.load_lora_weights("{file}")`',
    "kohya": "in `models/loras` of ComfyUI, or `models/Lora` of A1111 and Forge",
    "diff": "in the same folders; their loaders add `.diff` as it is",
}


def card(
    name: str,
    metadata: Mapping[str, str],
    files: Sequence[Written],
    *,
    licence: str = "",
    receipt: Mapping[str, Any] | None = None,
) -> str:
    """Markdown with the front matter of the Hugging Face hub.

    licence: of the base, whose conditions its adapters carry on; empty if it is not known. receipt:
    what `spf receipt` measured, see `spf.receipt`.
    """
    base, target = metadata["base_model"], metadata["target"]
    parts = [_front(metadata, licence), f"# {name}", _summary(metadata)]
    if not licence:
        parts.append(
            f"**Licence.** That of the base {base} goes on to its adapters; look it up and name it"
            " above before this is passed on."
        )
    parts += ["## Files", _files(files, target)]
    if receipt:
        parts += ["## What it adds and what it drags along", _receipt(receipt)]
    parts += ["## How it was made", _made(metadata)]
    return "\n\n".join(parts) + "\n"


def _front(metadata: Mapping[str, str], licence: str) -> str:
    base = hub_id(metadata["base_model"])
    lines = [f"license: {licence or 'other'}", "library_name: diffusers"]
    if "/" in base:
        lines.append(f"base_model: {base}")
    if metadata["target"]:
        lines.append(f"instance_prompt: {json.dumps(metadata['target'])}")
    lines.append("tags: [text-to-image, stable-diffusion, lora, spf-portrait]")
    return "\n".join(["---", *lines, "---"])


def _summary(metadata: Mapping[str, str]) -> str:
    target = f' for "{metadata["target"]}"' if metadata["target"] else ""
    steps = f", {metadata['steps']} steps" if metadata["steps"] else ""
    source = f" It came from {metadata['source']}." if metadata.get("source") else ""
    return (
        f"An adapter{target} of the base `{metadata['base_model']}`, method"
        f" `{metadata['method']}`{steps}.{source}"
    )


def _files(files: Sequence[Written], target: str) -> str:
    rows = ["| file | what | leaves out | how to use it |", "| --- | --- | --- | --- |"]
    for one in files:
        use = USES[one.form].format(file=one.file.name, base="a photo of a woman", target=target)
        rank = f", rank {one.rank}" if one.rank else ""
        lost = "nothing"
        if not FORMS[one.form].lossless:
            lost = (
                f"{one.loss.error:.1%} of its size ({one.loss.matrices:.1%} by the rank,"
                f" {one.loss.vectors:.1%} biases and norms, which a LoRA cannot hold)"
            )
        rows.append(f"| `{one.file.name}` | {FORMS[one.form].title}{rank} | {lost} | {use} |")
    return "\n".join(rows) + (
        "\n\nSizes are Frobenius norms of the difference to the base; the two parts add up as"
        " squares."
    )


def _receipt(receipt: Mapping[str, Any]) -> str:
    rows = ["| drawing | measure | value | read by |", "| --- | --- | --- | --- |"]
    for way, values in receipt["drawings"].items():
        for measure in SHOWN:
            if values.get(measure) is not None:
                rows.append(f"| {way} | {measure} | {values[measure]:.2f} | {receipt['reader']} |")
    return "\n".join(rows)


def _made(metadata: Mapping[str, str]) -> str:
    lines = []
    for key in ("settings", "data", "losses", "versions"):
        try:
            values = json.loads(metadata.get(key) or "{}")
        except ValueError:
            values = {}
        said = ", ".join(f"{name} {value}" for name, value in values.items() if value != "")
        lines += [f"- {key}: {said}"] if said else []
    return "\n".join(lines) or "The file does not say."
