"""Adapters for other programs: LoRA of diffusers and of kohya, whole differences, and how much each
form leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spf.errors import BadInput
from spf.files import save_tensors
from spf.paths import DOWN, TEXT, UP, Adapter, save_adapter
from spf.shelf import DIFF, KOHYA, LORA

from .lowrank import Loss, as_pairs
from .names import Layout, kohya_name

Show = Callable[[int, int], None]
RANK = 64
EMBEDDINGS = (".token_embedding", ".position_embedding")
"""Tables and not maps, which no LoRA of the Stable Diffusion family changes."""


@dataclass(frozen=True)
class Form:
    """A way to write an adapter. ending: of its file's name, before `.safetensors`. lossless:
    whether it holds everything.
    """

    ending: str
    title: str
    lossless: bool
    tensors: Callable[[Adapter, Layout], dict[str, Tensor]] = field(repr=False)


@dataclass(frozen=True)
class Written:
    """A file that was written: its form, its largest rank (0: none) and what it leaves out."""

    file: Path
    form: str
    rank: int
    loss: Loss

    def to_dict(self) -> dict[str, Any]:
        loss = {name: value for name, value in asdict(self.loss).items() if name != "worst"}
        worst = {"worst": self.loss.worst[0], "worst_error": self.loss.worst[1]}
        size = self.file.stat().st_size
        return {
            "file": str(self.file),
            "form": self.form,
            "rank": self.rank,
            "bytes": size,
            **loss,
            **worst,
        }


def diffusers_lora(adapter: Adapter, layout: Layout) -> dict[str, Tensor]:
    """Keys of `StableDiffusionPipeline.load_lora_weights`, which takes a scale of 1 where no alpha
    is given.
    """
    made = {}
    for name, down, up in _pairs(adapter, layout):
        module = name.removesuffix(".weight")
        if module.startswith(TEXT):
            ends = ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"
        else:
            module, ends = f"unet.{module}", (".lora_A.weight", ".lora_B.weight")
        made |= {module + ends[0]: down, module + ends[1]: up}
    return made


def kohya_lora(adapter: Adapter, layout: Layout) -> dict[str, Tensor]:
    """Keys of kohya, ComfyUI and A1111, which scale a pair by alpha / rank.

    All alphas are the largest rank, and `up` makes up for it where the rank is smaller: diffusers
    gives the attention maps of a file with several alphas the commonest one.
    """
    pairs, made = [one for one in _pairs(adapter, layout) if len(one[1])], {}
    alpha = max((len(down) for _, down, _ in pairs), default=0)
    for name, down, up in pairs:
        module = kohya_name(name.removesuffix(".weight"))
        made[f"{module}.lora_down.weight"] = down
        made[f"{module}.lora_up.weight"] = up * (len(down) / alpha)
        made[f"{module}.alpha"] = torch.tensor(float(alpha), dtype=down.dtype)
    return made


def differences(adapter: Adapter, layout: Layout) -> dict[str, Tensor]:
    """Everything as it is: whole differences as `.diff` and `.diff_b`, pairs as kohya's."""
    pairs = {name: value for name, value in adapter.tensors.items() if name.endswith((DOWN, UP))}
    made = kohya_lora(Adapter(adapter.metadata, pairs), layout)
    for name, value in adapter.tensors.items():
        if name not in pairs:
            module, _, end = name.rpartition(".")
            made[f"{kohya_name(module)}.{'diff' if end == 'weight' else 'diff_b'}"] = value
    return made


FORMS = {
    "own": Form("", "this program's own file", True, lambda adapter, layout: adapter.tensors),
    "diffusers": Form(LORA, "LoRA for diffusers", False, diffusers_lora),
    "kohya": Form(KOHYA, "LoRA for ComfyUI, A1111, Forge and kohya", False, kohya_lora),
    "diff": Form(DIFF, "whole differences for ComfyUI, A1111 and Forge", True, differences),
}


def write(
    adapter: Adapter,
    layout: Layout,
    form: str,
    path: str | Path,
    *,
    rank: int = RANK,
    dtype: torch.dtype = torch.float16,
    show: Show | None = None,
) -> Written:
    """Writes an adapter in one of FORMS, atomically. rank: the largest of the pairs, where the form
    holds pairs alone.

    Pairs are stored in `dtype`, whole differences as they are. Raises BadInput when nothing of the
    adapter fits the form.
    """
    if form not in FORMS:
        raise BadInput(f"form is {form!r} but must be one of {', '.join(FORMS)}.")
    loss = Loss()
    if form != "own":
        adapter = Adapter(adapter.metadata, _without_bytes(adapter.tensors, dtype))
    if not FORMS[form].lossless:
        adapter, loss = as_pairs(_without_tables(adapter), rank, dtype, show)
    tensors = FORMS[form].tensors(adapter, layout)
    if not tensors:
        raise BadInput(f"the adapter has no matrix that a {FORMS[form].title} could hold.")
    ranks = [len(value) for name, value in adapter.tensors.items() if name.endswith(DOWN)]
    largest = max(ranks, default=0)
    if form == "own":
        save_adapter(adapter, path, torch.float32)
    else:
        about = kohya_metadata(layout, largest) if form != "diffusers" else {}
        save_tensors(path, tensors, adapter.metadata | about)
    return Written(Path(path), form, largest, loss)


def write_for_others(adapter: Adapter, layout: Layout, path: str | Path) -> Written:
    """The adapter in half precision and otherwise without loss for ComfyUI, A1111 and Forge: whole
    differences as they are, pairs as kohya's, and of pairs alone a LoRA that diffusers reads too.
    """
    halves = {name: value.to(torch.float16) for name, value in adapter.tensors.items()}
    adapter = Adapter(adapter.metadata, halves)
    pairs = all(name.endswith((DOWN, UP)) for name in adapter.tensors)
    largest = max((min(value.shape) for value in adapter.tensors.values()), default=1)
    form = "kohya" if pairs else "diff"
    return write(adapter, layout, form, path, rank=largest if pairs else RANK)


def kohya_metadata(layout: Layout, rank: int) -> dict[str, str]:
    """What kohya's tools and A1111 show and sort by; the base's version by the width of its text
    states.
    """
    widths = {
        shape[1] for name, shape in layout.shapes.items() if name.endswith("attn2.to_k.weight")
    }
    version = {768: "sd_v1", 1024: "sd_v2"}.get(widths.pop() if len(widths) == 1 else 0)
    said = {"ss_network_module": "networks.lora", "modelspec.sai_model_spec": "1.0.0"}
    if rank:
        said |= {"ss_network_dim": str(rank), "ss_network_alpha": str(float(rank))}
    if version:
        said |= {
            "ss_base_model_version": version,
            "ss_v2": str(version == "sd_v2"),
            "modelspec.architecture": f"stable-diffusion-{version[-2:]}/lora",
        }
    return said


def _without_bytes(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """8-bit floats, which other programs do not read, in `dtype`."""
    return {
        name: value.to(dtype) if value.element_size() == 1 else value
        for name, value in tensors.items()
    }


def _without_tables(adapter: Adapter) -> Adapter:
    """Embedding tables as vectors, so that they count among what a LoRA leaves out."""
    return Adapter(
        adapter.metadata,
        {
            name: value.flatten() if any(table in name for table in EMBEDDINGS) else value
            for name, value in adapter.tensors.items()
        },
    )


def _pairs(adapter: Adapter, layout: Layout):
    """(parameter, down, up) of each pair in the shapes of its module: 1x1 behind a kernel where
    that is a convolution.
    """
    for name in adapter.names():
        down, up = adapter.tensors[name + DOWN], adapter.tensors[name + UP]
        shape = layout.shapes[name]
        if len(shape) == 4:
            down, up = down.reshape(len(down), *shape[1:]), up[..., None, None]
        yield name, down, up
