"""Adapters of other programs as differences to a base: diffusers and peft LoRA, kohya LoRA and
LoCon, whole differences.

Header, names and shapes are judged before any weight is read. What a file scales by alpha / rank is
in `up` afterwards.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY as RECIPE
from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from diffusers.utils.state_dict_utils import StateDictType
from peft import LoraConfig
from torch import Tensor

from spf.errors import BadInput, UnsafeFile
from spf.files import load_tensors, read_header, read_json, require_finite
from spf.models import Base
from spf.paths import DOWN, METADATA, TEXT, TEXT_ROOT, UP, Adapter, check_fit
from spf.shelf import PICKLES, Shelf
from spf.weights import UNKNOWN, said_base

from .names import KOHYA_TEXT, KOHYA_UNET, Layout, flat

log = logging.getLogger(__name__)

OWN, DIFFUSERS, PEFT, KOHYA = "own", "diffusers", "peft", "kohya"
PEFT_PREFIX = "base_model.model."
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
FOLDER_FILES = (PEFT_FILE, "pytorch_lora_weights.safetensors")

MID, ALPHA, WHOLE, BIAS, PAIR_BIAS = "mid", "alpha", "whole", "bias", "pair bias"
SLOTS = {
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora_B.bias": PAIR_BIAS,
    ".lora_down.weight": DOWN,
    ".lora_mid.weight": MID,
    ".lora_up.weight": UP,
    ".alpha": ALPHA,
    ".diff": WHOLE,
    ".diff_b": BIAS,
    ".w_norm": WHOLE,
    ".b_norm": BIAS,
}
"""What a tensor is to its module, by the end of its key."""

NAMED = re.compile(r"(\.lora_[AB])\.\w+(?=\.(weight|bias)$)")
"""peft's pairs with the name of their adapter, of which a file has one."""

COMFY = {
    "diffusion_model.": KOHYA_UNET,
    "text_encoders.clip_l.transformer.": KOHYA_TEXT,
    "text_encoders.clip_h.transformer.": KOHYA_TEXT,
}
"""How ComfyUI begins the names of what it saves, which go on as in a single file; and kohya's own
beginning.
"""

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

VARIANTS = {
    "use_dora": "a DoRA",
    "use_qalora": "a QALoRA",
    "use_bdlora": "a BD-LoRA",
    "alora_invocation_tokens": "an activated LoRA",
}
"""What a LoraConfig says of a LoRA whose pairs are no plain differences."""
SWITCHES = ("use_rslora", "use_dora")
"""What a LoraConfig says with true or false."""
_PLAIN = re.compile(r"\\.|\[[^\]]*\]|\(\?:")
_REPEATED = re.compile(r"\)[*+?{]")
MOST_CHOICES = 3
"""Repeats and groups of a pattern for names of layers; with each the time to match it grows by a
power of their length.
"""
MOVING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""How the ways to begin a LoRA are called that change the base beneath it."""

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
    return _origin(path.name, metadata, shapes)


def read_adapter(path: str | Path, base: Base) -> Adapter:
    """An adapter of any form as differences to the weights of `base`, fp32 where another program
    made it, on the CPU.

    Raises BadInput (not an adapter, of an unreadable kind, made for another base), UnsafeFile or
    NotFinite.
    """
    path = adapter_file(path)
    found, slots, layout = _judged(path, base)
    weights = load_tensors(path)
    if found.form == OWN:
        return Adapter(dict(found.metadata), weights)
    tensors: dict[str, Tensor] = {}
    for module, slot in slots.items():
        for kind, key in slot.keys.items():
            if kind != ALPHA and not weights[key].is_floating_point():
                number = str(weights[key].dtype).removeprefix("torch.")
                raise BadInput(
                    f"{path.name} has {key} in {number}, but a difference must be in floating-point"
                    " numbers."
                )
        tensors |= slot.differences(module, weights, layout.shapes)
    if not tensors:
        raise BadInput(f"{path.name} holds no weights.")
    require_finite(tensors, path.name)
    adapter = Adapter(_metadata(path, found), tensors)
    if not any(_changes(adapter, name) for name in adapter.names()):
        raise BadInput(f"{path.name} changes nothing: all its differences are 0.")
    return adapter


def fitting(base: Base) -> Callable[[Path], bool]:
    """A function that says of a file whether it can be read as an adapter of `base`, as far as its
    header tells; of one that did not change it is asked once.
    """

    @lru_cache(maxsize=256)
    def known(path: Path, _mark: str) -> bool:
        try:
            _judged(adapter_file(path), base)
        except (BadInput, UnsafeFile):
            return False
        return True

    return lambda path: known(path, mark_of_file(path))


def _judged(path: Path, base: Base) -> tuple[Origin, dict[str, _Slot], Layout]:
    """What a file holds, and its keys by module unless it is our own, once names and shapes have
    been compared with the base. Raises BadInput or UnsafeFile.
    """
    metadata, shapes = read_header(path)
    found, layout = _origin(path.name, metadata, shapes), Layout.of(base)
    if found.form != OWN:
        slots = _slots(path.name, shapes, layout, _recipe(path, found), found.base)
        _check_base(path.name, base, found, slots, shapes, layout)
        return found, slots, layout
    if missing := [key for key in METADATA if key not in metadata]:
        raise UnsafeFile(f"{path.name} is not an adapter: its metadata lacks {', '.join(missing)}.")
    made_for = metadata["base_model"]
    other = "" if made_for == base.name else f" (for {made_for}, and this is {base.name})"
    check_fit(base, shapes, path.name + other)
    return found, {}, layout


def _changes(adapter: Adapter, name: str) -> bool:
    """Whether a parameter differs at all."""
    own = name, name + DOWN, name + UP
    return all(bool(adapter.tensors[one].any()) for one in own if one in adapter.tensors)


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


def _origin(name: str, metadata: Mapping[str, str], shapes: Mapping[str, tuple]) -> Origin:
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
    ends = {} if form == OWN else {key: _end(plain) for key, plain in _plain(shapes).items()}
    halves = [shapes[key] for key in shapes if ends.get(key) == DOWN or key.endswith(DOWN)]
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


def _end(key: str) -> str | None:
    return next((slot for end, slot in SLOTS.items() if key.endswith(end)), None)


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


# scales


def _recipe(path: Path, found: Origin) -> dict[str, Any]:
    """The LoraConfig that a diffusers header or the folder of peft holds, by part; empty where
    scales are in the file.
    """
    if found.form == PEFT:
        config = path.with_name(PEFT_CONFIG)
        if not config.is_file():
            raise BadInput(
                f"{path.name} says its strength in {PEFT_CONFIG}, which is not beside it."
            )
        return {"": _checked(config.name, read_json(config))}
    if RECIPE not in found.metadata:
        return {}
    try:
        said = json.loads(found.metadata[RECIPE]).items()
    except (AttributeError, ValueError, RecursionError) as error:
        raise UnsafeFile(f"{path.name} has a damaged {RECIPE} in its header.") from error
    parts: dict[str, dict] = defaultdict(dict)
    for key, value in said:
        part, _, name = key.rpartition(".")
        parts[part][name] = value
    return {part: _checked(path.name, config) for part, config in parts.items()}


def _checked(name: str, config: Any) -> dict[str, Any]:
    """A LoraConfig whose pairs and strengths mean what they mean here, its patterns compiled.
    Raises BadInput.
    """
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise BadInput(f"{name} describes {kind}, but only LoRA is read.")
    for switch in SWITCHES:
        if not isinstance(config.get(switch) or False, bool):
            raise BadInput(f"{name} has {switch} {config[switch]!r} but it must be true or false.")
    if kind := next((kind for key, kind in VARIANTS.items() if config.get(key)), None):
        raise BadInput(f"{name} describes {kind}, but only LoRA is read.")
    begun = str(config.get("init_lora_weights", "")).lower()
    if begun.startswith(MOVING):
        raise BadInput(
            f"{name} has init_lora_weights {begun!r}, which changed the base as well; convert it to"
            " a plain LoRA with peft's path_initial_model_for_weight_conversion."
        )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise BadInput(f"{name} has alpha_pattern {patterns!r} but it must be numbers by pattern.")
    for alpha in (config.get("lora_alpha", 1), *patterns.values()):
        try:
            right = math.isfinite(alpha) and not isinstance(alpha, bool)
        except (TypeError, OverflowError):
            right = False
        if not right:
            raise BadInput(f"{name} has lora_alpha {str(alpha)[:60]!r} but it must be a number.")
    compiled = [(_compiled(name, pattern), alpha) for pattern, alpha in patterns.items()]
    return config | {"alpha_pattern": compiled}


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    """A pattern of names of layers as peft matches it: the end of a path. Raises BadInput for one
    that is none, or that could take for ever.
    """
    plain = _PLAIN.sub("", pattern)
    choices = sum(map(plain.count, "*+?{("))
    if choices > MOST_CHOICES or _REPEATED.search(plain):
        raise BadInput(
            f"{name} has alpha_pattern {pattern[:60]!r}, which could take for ever to match; use"
            " names of layers."
        )
    try:
        return re.compile(rf"(?:.*\.)?(?:{pattern})$")
    except re.error as error:
        raise BadInput(f"{name} has alpha_pattern {pattern!r}, which is no pattern.") from error


def _scale(config: Mapping[str, Any] | None, module: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) if rank-stabilised (arXiv 2312.03732); 1 where there is
    no LoraConfig, and peft's own alpha where one says none.
    """
    if not config:
        return 1.0
    found = (alpha for pattern, alpha in config["alpha_pattern"] if pattern.match(module))
    alpha = next(found, config.get("lora_alpha", LoraConfig.lora_alpha))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


# tensors


@dataclass
class _Slot:
    """The tensors of one module, by what they are to it: their keys in the file."""

    keys: dict[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    bare: str = ""

    def differences(
        self, module: str, weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Tensor]:
        """The differences of the module's parameters, a pair [r,in], [out,r] where the file has
        one.
        """
        here = {kind: weights[key].float() for kind, key in self.keys.items()}
        weight, bias, made = f"{module}.weight", f"{module}.bias", {}
        scale = 1.0
        if DOWN in here:
            down, up = here[DOWN], here[UP].flatten(1)
            rank = max(up.shape[1], 1)  # pruned pairs may have none
            given = here[ALPHA].item() / rank if ALPHA in here else None
            scale = given if given is not None else _scale(self.recipe, self.bare, rank)
            if (
                MID in here
            ):  # a 1x1 down, then a kernel among the ranks (LoCon with CP decomposition)
                down = torch.einsum("abhw,bi->aihw", here[MID], down.flatten(1))
            made = {weight + DOWN: down.flatten(1), weight + UP: scale * up}
        if WHOLE in here:
            whole = here[WHOLE].reshape(shapes[weight])
            if made:
                whole = whole + (made[weight + UP] @ made[weight + DOWN]).reshape(whole.shape)
            made = {weight: whole}
        total = [here[BIAS]] if BIAS in here else []
        total += [scale * here[PAIR_BIAS]] if PAIR_BIAS in here else []
        return made | ({bias: sum(total)} if total else {})


def _slots(
    name: str,
    shapes: Mapping[str, tuple],
    layout: Layout,
    recipe: Mapping[str, Any],
    base: str,
) -> dict[str, _Slot]:
    """The keys of a file by module. base: that it is for, if it says so. Raises BadInput for a key
    without a meaning, or half a pair.
    """
    slots: dict[str, _Slot] = defaultdict(_Slot)
    for key, plain in _plain(shapes).items():
        end = next((end for end in SLOTS if plain.endswith(end)), None)
        if end is None:
            raise BadInput(
                f"{name} has a tensor {key}, which is no part of a LoRA or a difference."
            )
        module, bare, part = _module(plain.removesuffix(end), layout)
        if module is None:
            raise BadInput(
                f"{name} was made for another model: no layer here is"
                f" {plain.removesuffix(end)}.{_made_for(base)}"
            )
        slot = slots[module]
        if SLOTS[end] in slot.keys:
            raise BadInput(
                f"{name} has two tensors for one layer, {slot.keys[SLOTS[end]]} and {key}."
            )
        slot.keys[SLOTS[end]] = key
        slot.recipe, slot.bare = recipe.get(part, recipe.get("")), bare
    for module, slot in slots.items():
        halves, said = {DOWN, UP} & set(slot.keys), set(slot.keys)
        if len(halves) == 1 or (not halves and {MID, PAIR_BIAS} & said):
            raise BadInput(f"{name} has only one half of the pair of {module}.")
        if said == {ALPHA}:
            raise BadInput(f"{name} has {slot.keys[ALPHA]} but no pair that it could scale.")
        if ALPHA in said and math.prod(shape := shapes[slot.keys[ALPHA]]) != 1:
            raise BadInput(
                f"{name} has {slot.keys[ALPHA]} of shape {list(shape)} but it must be one number."
            )
    return slots


def _plain(keys: Iterable[str]) -> dict[str, str]:
    """Each key as kohya's or, whichever of diffusers' spellings it has, as peft's; with its part's
    prefix.
    """
    plain = {}
    for key in keys:
        made = NAMED.sub(r"\1", key.removeprefix(PEFT_PREFIX))
        begun = next((start for start in COMFY if made.startswith(start)), None)
        if begun:
            end = next((end for end in SLOTS if made.endswith(end)), "")
            made = COMFY[begun] + flat(made.removeprefix(begun).removesuffix(end)) + end
        elif not made.startswith((KOHYA_UNET, "lora_te")):
            made = next(iter(_peft(made)))
        plain[key] = made
    return plain


def _peft(key: str) -> dict[str, str]:
    """diffusers' spellings -> peft's, by diffusers."""
    if not key.startswith((TEXT, TEXT_ROOT)):
        key = key.replace(".lora_linear_layer.", ".lora.")  # as text encoders' keys, in the UNet
        return convert_unet_state_dict_to_peft({key: key})
    key = key.replace(".lora.", ".lora_linear_layer.")  # as the UNet's keys, in text encoders
    old = re.search(r"\.to_(q|k|v|out)_lora\.", key)
    kind = StateDictType.DIFFUSERS_OLD if old else StateDictType.DIFFUSERS
    return convert_state_dict_to_peft({key: key}, original_type=kind)


def _module(path: str, layout: Layout) -> tuple[str | None, str, str]:
    """(module, its path in its own part, the part as a recipe names it) of a key without end."""
    if path.startswith((KOHYA_UNET, "lora_te")):
        name = path.replace("lora_te1_", KOHYA_TEXT)
        rooted = name.replace(KOHYA_TEXT, KOHYA_TEXT + flat(TEXT_ROOT))
        return layout.kohya.get(name) or layout.kohya.get(rooted), path, ""
    part, bare = next(
        (
            (part, path.removeprefix(f"{part}."))
            for part in ("unet", "text_encoder")
            if path.startswith(f"{part}.")
        ),
        ("", path),
    )
    found = layout.module(bare)
    if part and found and found.startswith(TEXT) != (part == "text_encoder"):
        found = None
    return found, bare, part


def _check_base(
    name: str,
    base: Base,
    found: Origin,
    slots: Mapping[str, _Slot],
    shapes: Mapping[str, tuple],
    layout: Layout,
) -> None:
    """Raises BadInput unless every tensor has the shape that its module's parameters ask for."""
    for module, slot in slots.items():
        given = {kind: shapes[key] for kind, key in slot.keys.items()}
        weight, bias = (layout.shapes.get(f"{module}.{end}") for end in ("weight", "bias"))
        if not _fits(given, weight, bias):
            shown = {kind.strip("."): list(shape) for kind, shape in given.items() if shape}
            raise BadInput(
                f"{name} was made for another model than {base.name}: {module} is"
                f" {list(weight or ())} here, and the file has {shown}.{_made_for(found.base)}"
            )


def _made_for(base: str) -> str:
    return f" It is for {base}." if base else ""


def _fits(given: Mapping[str, tuple], weight: tuple | None, bias: tuple | None) -> bool:
    if any(kind in given for kind in (DOWN, WHOLE)) and weight is None:
        return False
    if WHOLE in given and not _same(given[WHOLE], weight):
        return False
    if any(given[kind] != bias for kind in (BIAS, PAIR_BIAS) if kind in given):
        return False
    if DOWN not in given:
        return True
    if min(len(weight), len(given[DOWN]), len(given[UP])) < 2:
        return False
    rank, columns, kernel = given[DOWN][0], weight[1:], weight[2:]
    if MID in given:
        if given[MID] != (rank, rank, *kernel):
            return False
        columns = weight[1:2]
    return _same(given[DOWN], (rank, *columns)) and _same(given[UP], (weight[0], rank))


def _same(given: tuple, wanted: tuple) -> bool:
    """Whether a tensor is one of this shape, or a kernel laid out as a row; a matrix may be a
    kernel of 1x1.
    """
    shapes = wanted, (wanted[0], math.prod(wanted[1:]))
    return _without_ones(given) in [_without_ones(shape) for shape in shapes]


def _without_ones(shape: tuple) -> tuple:
    """The shape without the ones at its end."""
    return _without_ones(shape[:-1]) if shape[-1:] == (1,) else shape


def _metadata(path: Path, found: Origin) -> dict[str, str]:
    """METADATA of an adapter that another program made; a file that this library wrote keeps what
    it said.
    """
    metadata = found.metadata
    if all(key in metadata for key in METADATA):
        return {key: value for key, value in metadata.items() if key != RECIPE}
    return {
        "method": "lora" if found.rank else "difference",
        "base_model": found.base or UNKNOWN,
        "target": metadata.get("modelspec.trigger_phrase", ""),
        "steps": metadata.get("ss_steps", ""),
        "losses": "{}",
        "versions": "{}",
        "source": f"{path.name}: {found.sentence()}",
    }


def load_adapter(source: str | Path, base: Base) -> Adapter:
    """Reads an adapter by name (see `Shelf.usual`) or from a file or folder of any form that
    is known here, and checks it against the base.

    Header, names and shapes are judged before any weight is read, weights before anything is
    changed. One that was tuned on other weights is read with a warning. Raises
    BadInput (unknown or made for another model), UnsafeFile or NotFinite.
    """
    path = Shelf.usual().find(source)
    mark = mark_of_file(path)  # before reading: what is exchanged meanwhile has another one then
    adapter = replace(read_adapter(path, base), mark=mark)
    for file, made_for in base.weights.strangers({path.name: adapter.metadata}).items():
        _warn(file, made_for, base.name)
    return adapter


@lru_cache(maxsize=256)
def _warn(file: str, made_for: str, base: str) -> None:
    """Says once of a file that it does not belong to these weights."""
    log.warning(
        "%s was tuned on other weights%s than those of %s that are loaded; what it changes may"
        " differ from what it was taught.",
        file,
        "" if made_for in ("", base) else f" ({made_for})",
        base,
    )


def mark_of_file(path: Path) -> str:
    """Tells a file, or the files of a folder, from what lies there at another time."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    there = [one for one in files if one.exists()]  # a missing one is told where it is read
    return "|".join(
        f"{one.resolve()} {one.stat().st_mtime_ns} {one.stat().st_size}" for one in there
    )
