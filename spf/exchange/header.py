"""What an adapter file is, by its header alone: its form, the base that it is for, its rank.

Kinds of files that are no differences of these weights are refused here, each by its own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spf.errors import BadInput
from spf.files import read_header
from spf.paths import DOWN, METADATA, TEXT, UP
from spf.shelf import PICKLES
from spf.weights import said_base

from .keys import COMFY, PEFT_PREFIX, SLOTS, ending, plain_keys
from .names import KOHYA_TEXT, KOHYA_UNET

OWN, DIFFUSERS, PEFT, KOHYA = "own", "diffusers", "peft", "kohya"
FOLDER_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
"""The weights in a folder of peft, and in one of diffusers."""

FOREIGN = {
    r"\.(lora_magnitude_vector|dora_scale)": "a DoRA",
    r"\.hada_[wt]": "a LoHa",
    r"\.lokr_[wt]": "a LoKr",
    r"\.(oft_|boft_)": "an OFT adapter",
    r"\.ia3_|\.on_input$": "an IA3 adapter",
    r"\.[ab][12]\.weight$": "a GLoRA",
    r"\.vera_lambda_": "a VeRA",
    r"^(lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.)": (
        "a LoRA for SDXL, which has two text encoders"
    ),
    r"^(transformer\.|lora_transformer_|lora_te3_)": "a LoRA for a transformer",
    r"^(base_model\.model\.)?(double|single|joint|(single_)?transformer)_blocks\.": (
        "a LoRA for a transformer"
    ),
    r"^diffusion_model\.(?!(input_blocks|middle_block|output_blocks|time_embed|out)\.)": (
        "a LoRA for a transformer"
    ),
    r"^lora_unet_(double|single|joint)_(transformer_)?blocks_": "a LoRA for a transformer",
    r"^(image_proj|ip_adapter)\.": "an IP-Adapter",
    r"(^|\.)motion_modules\.": "a motion module",
    r"^\d+\.[01]\.linear\.": "a hypernetwork",
    r"^emb_params$|^\*$|^<.+>$|^clip_[lg]$|^text_encoders_\d$|^bundle_emb\.|^string_to_": (
        "a text embedding"
    ),
    r"^(control_model|controlnet|lora_controlnet|lllite_)": "a ControlNet",
    r"^adapter\.(body|conv_in)\.": "a T2I-Adapter",
    r"^(encoder|decoder)\.(conv_in|mid)[._]": "an autoencoder",
    r"^(model\.diffusion_model|first_stage_model)\.": (
        "a whole checkpoint, which goes where a base is asked for"
    ),
}
"""Kinds of files that cannot be differences of these weights, by their keys."""

WIDTHS = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}
"""The base by the width of its text states."""


@dataclass(frozen=True)
class Origin:
    """Where an adapter file comes from, by its header alone.

    form: own, diffusers, peft or kohya. base: the base that it names, or that its shapes betray;
    empty if neither says. rank: the largest one; 0 when it holds whole differences only. parts:
    what it changes besides the UNet's matrices.
    """

    form: str
    base: str = ""
    rank: int = 0
    parts: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def sentence(self) -> str:
        """In a few words: kohya LoRA of rank 16 for SD 1.x, with text encoder."""
        kind = "own adapter" if self.form == OWN else f"{self.form} LoRA"
        kind = kind if self.rank or self.form == OWN else f"{self.form} file of whole differences"
        rank = f" of rank {self.rank}" if self.rank else ""
        made_for = f" for {self.base}" if self.base else ""
        return kind + rank + made_for + (f", with {' and '.join(self.parts)}" if self.parts else "")


def origin(path: str | Path) -> Origin:
    """What a file or a folder of peft holds. Raises BadInput for a file that is no adapter,
    UnsafeFile if it is damaged.
    """
    path = adapter_file(path)
    metadata, shapes = read_header(path)
    return origin_of(path.name, metadata, shapes)


def adapter_file(path: str | Path) -> Path:
    """The weights of a peft or diffusers folder; a file as it is. Raises BadInput."""
    path = Path(path)
    if path.is_dir():
        there = [path / name for name in FOLDER_FILES if (path / name).is_file()]
        if not there:
            raise BadInput(f"{path} is a folder without {' or '.join(FOLDER_FILES)}.")
        return there[0]
    if path.suffix.lower() in PICKLES:
        raise BadInput(
            f"{path.name} may hold code; only .safetensors files are read, so save it as one."
        )
    return path


def origin_of(name: str, metadata: Mapping[str, str], shapes: Mapping[str, tuple]) -> Origin:
    """What a header says of the file of this name. Raises BadInput."""
    for pattern, kind in FOREIGN.items():
        if any(re.search(pattern, key) for key in shapes):
            raise BadInput(
                f"{name} is {kind}; what can be read are LoRA, LoCon and .diff of SD 1.x and 2.x."
            )
    form = _form(metadata, shapes)
    if form is None:
        one = f", {next(iter(shapes))} for one," if shapes else ""
        raise BadInput(
            f"{name} is no adapter: none of its {len(shapes)} tensors{one} is a LoRA or a"
            " difference."
        )
    kinds = {}
    if form != OWN:
        kinds = {key: SLOTS.get(ending(plain)) for key, plain in plain_keys(shapes).items()}
    halves = [shapes[key] for key in shapes if kinds.get(key) == DOWN or key.endswith(DOWN)]
    ranks = [shape[0] for shape in halves if shape]  # one number is no half, which is told later
    parts = []
    text = KOHYA_TEXT, "lora_te1_", TEXT, "text_encoders."
    if any(key.startswith(text) or ".self_attn." in key for key in shapes):
        parts.append("text encoder")
    if form != OWN and any(len(shape) == 4 and shape[-1] > 1 for shape in halves):
        parts.append("convolutions")
    return Origin(
        form, _declared(metadata, shapes), max(ranks, default=0), tuple(parts), dict(metadata)
    )


def _form(metadata: Mapping[str, str], shapes: Iterable[str]) -> str | None:
    keys = list(shapes)
    if any(key.startswith(PEFT_PREFIX) for key in keys):
        return PEFT
    if any(key.startswith((KOHYA_UNET, "lora_te", *COMFY)) for key in keys):
        return KOHYA
    if any("lora" in key for key in keys):
        return DIFFUSERS
    own = (".weight", ".bias", f".weight{DOWN}", f".weight{UP}")
    said = any(key in metadata for key in METADATA)
    return OWN if keys and said and all(key.endswith(own) for key in keys) else None


def _declared(metadata: Mapping[str, str], shapes: Mapping[str, tuple]) -> str:
    if said := said_base(metadata):
        return said
    widths = {
        shape[1]
        for key, shape in shapes.items()
        if re.search(r"attn2[._](processor\.)?to_[kv]", key) and _down(key) and len(shape) > 1
    }
    return WIDTHS.get(widths.pop(), "") if len(widths) == 1 else ""


def _down(key: str) -> bool:
    return key.endswith((".lora_A.weight", "down.weight", f".weight{DOWN}"))
