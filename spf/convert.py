"""Adapters from one program's form to another's, with a model card that says what each form leaves
out.

convert(base, load_adapter("hat", base), "hat", ["kohya", "diff"], "out", rank=32)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spf.bases.pinned import licence_of
from spf.config import check_choice, check_real, check_whole
from spf.exchange import FORMS, RANK, Layout, Written, write
from spf.exchange.card import card
from spf.exchange.checkpoint import write_checkpoint, write_folder
from spf.files import atomic, inside
from spf.models import Base
from spf.paths import Adapter

CHECKPOINT, FOLDER = "checkpoint", "folder"
MERGED = {
    CHECKPOINT: "base and adapter as one .safetensors for ComfyUI, A1111 and Forge",
    FOLDER: "base and adapter as a diffusers folder",
}
CARD = "README.md"
LARGEST_RANK, STRENGTHS = 4096, (-4.0, 4.0)


def convert(
    base: Base,
    adapter: Adapter,
    name: str,
    forms: Sequence[str],
    out: str | Path,
    *,
    rank: int = RANK,
    strength: float = 1.0,
    receipt: dict | None = None,
    show: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Writes an adapter in every one of `forms` (FORMS and MERGED) and its card into the folder
    `out`.

    rank: the largest of the pairs of a LoRA. strength: with which it is merged. receipt: for the
    card. show: called with (done, total) while a LoRA is made. Raises BadInput before anything is
    written.
    """
    for form in forms:
        check_choice("to", form, (*FORMS, *MERGED))
    check_whole("rank", rank, 1, LARGEST_RANK)
    check_real("strength", strength, *STRENGTHS)
    out, layout = Path(out), Layout.of(base)
    inside(out, f"{name}.safetensors")

    written: list[Written] = []
    made: list[dict[str, Any]] = []
    for form in dict.fromkeys(forms):
        if form == CHECKPOINT:
            path = out / f"{name}.checkpoint.safetensors"
            made.append({"file": str(write_checkpoint(base, adapter, path, scale=strength))})
        elif form == FOLDER:
            path = out / f"{name}-merged"
            made.append({"file": str(write_folder(base, adapter, path, scale=strength))})
        else:
            path = out / f"{name}{FORMS[form].ending}.safetensors"
            written.append(write(adapter, layout, form, path, rank=rank, show=show))
            made.append(written[-1].to_dict())
    licence = licence_of(adapter.metadata["base_model"])
    with atomic(out / CARD) as draft:
        text = card(name, adapter.metadata, written, licence=licence, receipt=receipt)
        draft.write_text(text, encoding="utf-8")
    return [*made, {"file": str(out / CARD)}]
