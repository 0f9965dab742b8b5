"""Single-file checkpoints of SD 1.x and 2.x: how their tensors are called, what they hold, and how
they are read.

They are read by diffusers' own single-file loader; the names here serve the checks before that, and
the way back.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel

from .errors import BadInput, UnsafeFile
from .files import read_header

UNET_KEY, VAE_KEY = "model.diffusion_model.", "first_stage_model."
CLIP_KEY, OPEN_CLIP_KEY = "cond_stage_model.transformer.", "cond_stage_model.model."

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Module names of a UNet in diffusers, and in the checkpoints of the original Stable Diffusion
code.
"""

VAE_PARTS = [
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"conv_norm_out\.", "norm_out."),
    (r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
]
"""The same inside an autoencoder, whose way up counts from the other end in the original."""


def unet_modules(modules: Iterable[str], layers: int) -> dict[str, str]:
    """Name of each module of a UNet in a checkpoint, without UNET_KEY. layers: blocks a level, one
    more on the way up.
    """
    modules = frozenset(modules)
    return {name: _unet_module(name, layers, modules) for name in modules}


def unet_names(unet: UNet2DConditionModel) -> dict[str, str]:
    """Name of every tensor of a UNet in a checkpoint, without UNET_KEY."""
    names = [name.rpartition(".") for name, _ in unet.named_parameters()]
    modules = unet_modules((module for module, _, _ in names), unet.config.layers_per_block)
    return {f"{module}.{end}": f"{modules[module]}.{end}" for module, _, end in names}


def _unet_module(name: str, layers: int, modules: frozenset[str]) -> str:
    if name in ENDS:
        return ENDS[name]
    side, *rest = name.split(".")
    if side == "mid_block":
        kind, number, *inner = rest
        place = f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}"
        return ".".join([place, *_inner(kind, inner)])
    level, kind, number, *inner = rest
    if kind == "downsamplers":
        return f"input_blocks.{(int(level) + 1) * (layers + 1)}.0.op"
    if kind == "upsamplers":
        behind = 1 + any(one.startswith(f"up_blocks.{level}.attentions.") for one in modules)
        return f"output_blocks.{int(level) * (layers + 1) + layers}.{behind}.conv"
    block, first = ("input_blocks", 1) if side == "down_blocks" else ("output_blocks", 0)
    number = first + int(level) * (layers + 1) + int(number)
    return ".".join([f"{block}.{number}.{int(kind == 'attentions')}", *_inner(kind, inner)])


def _inner(kind: str, inner: list[str]) -> list[str]:
    return [RESNET[inner[0]]] if kind == "resnets" else inner


def vae_names(vae: AutoencoderKL) -> dict[str, str]:
    """Name of every tensor of an autoencoder in a checkpoint, without VAE_KEY."""
    last = len(vae.config.block_out_channels) - 1
    up = [
        (r"up_blocks\.(\d)\.resnets\.(\d)", lambda f: f"up.{last - int(f[1])}.block.{f[2]}"),
        (r"up_blocks\.(\d)\.upsamplers\.0", lambda f: f"up.{last - int(f[1])}.upsample"),
    ]
    return {name: _renamed(name, VAE_PARTS + up) for name, _ in vae.named_parameters()}


def _renamed(name: str, rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


# what a file is

OTHERS = {
    "conditioner.": "is SDXL, which has two text encoders",
    f"{UNET_KEY}joint_blocks.": "is SD 3, a transformer",
    f"{UNET_KEY}double_blocks.": "is Flux, a transformer",
    "double_blocks.": "is Flux, a transformer",
    "control_model.": "is a ControlNet",
    "lora_": "is a LoRA, which goes where an adapter is asked for",
    "unet.": "is a LoRA, which goes where an adapter is asked for",
}
CHANNELS = {9: "is for inpainting", 8: "edits pictures by instruction", 5: "follows a depth map"}
PREDICTIONS = {
    "": "",
    "eps": "epsilon",
    "epsilon": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
}
"""What other programs call what a checkpoint predicts."""
SD1, SD2 = 768, 1024
"""Widths of the text states."""


def check_kind(name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Width of a checkpoint's text states. Raises BadInput, in one sentence, for any that is not
    text-to-image SD.
    """
    for start, why in OTHERS.items():
        if any(key.startswith(start) for key in shapes):
            raise refused(name, why)
    if not any(key.startswith(UNET_KEY) for key in shapes):
        raise refused(name, "is no checkpoint of Stable Diffusion")
    for key, part in ((VAE_KEY, "autoencoder"), ("cond_stage_model.", "text encoder")):
        if not any(one.startswith(key) for one in shapes):
            raise refused(name, f"has no {part} in it")
    if any(key.startswith(f"{CLIP_KEY}embeddings.") for key in shapes):
        raise BadInput(
            f"model {name} has its text encoder under older names, which diffusers does not read;"
            f" put text_model. behind {CLIP_KEY} in them."
        )
    first = shapes.get(f"{UNET_KEY}input_blocks.0.0.weight", (0, 4))
    if first[1] in CHANNELS:
        raise refused(name, CHANNELS[first[1]])
    widths = {shape[1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")}
    return widths.pop() if len(widths) == 1 else 0


def refused(name: str, why: str) -> BadInput:
    """What is said of a base model that cannot be used."""
    return BadInput(
        f"model {name} {why}; what can be used is text-to-image Stable Diffusion 1.x and 2.x."
    )


def said_prediction(file: Path, metadata: Mapping[str, str], keys: Iterable[str]) -> str:
    """What a checkpoint says that it predicts, in diffusers' words: in its header, in a .yaml
    beside it or by a key of its own; "" where it does not say. Raises BadInput for anything else.
    """
    said = metadata.get("modelspec.prediction_type", "").lower()
    beside = file.with_suffix(".yaml")
    if not said and beside.is_file():
        found = re.search(
            r"""parameterization:\s*["']?(\w+)""", beside.read_text("utf-8", "replace")
        )
        said = found[1].lower() if found else "eps"
    if not said and "v_pred" in keys:
        said = "v"
    if said not in PREDICTIONS:
        raise BadInput(
            f"model {file.stem} says that it predicts {said[:60]!r} but it must be one of"
            f" {', '.join(filter(None, PREDICTIONS))}."
        )
    return PREDICTIONS[said]


def prediction_of(file: Path, metadata: Mapping[str, str], keys: Iterable[str], width: int) -> str:
    """What a checkpoint predicts, as it says; SD 1.x else predicts noise.

    Raises BadInput for an SD 2.x that does not say.
    """
    said = said_prediction(file, metadata, keys)
    if not said and width == SD2:
        beside = file.with_suffix(".yaml")
        raise BadInput(
            f"model {file.stem} is SD 2.x and does not say what it predicts; put {beside.name}"
            ' beside it, with the line parameterization: "v" (768 pixels) or "eps" (512 pixels).'
        )
    return said or "epsilon"


_UNET = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
_VAE = {
    "sample_size": 512,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "scaling_factor": 0.18215,
}
_TEXT = {
    "model_type": "clip_text_model",
    "architectures": ["CLIPTextModel"],
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""The configurations of SD 1.5; those of SD 2.1 differ as below."""


def standard(width: int, prediction: str, silent: bool = False) -> dict[str, dict[str, Any]]:
    """Configurations of SD 1.x or 2.x, by part. silent: whether its noise ends without signal."""
    scheduler = _SCHEDULER | {"prediction_type": prediction}
    if silent:
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if width == SD1:
        return {"unet": _UNET, "vae": _VAE, "text_encoder": _TEXT, "scheduler": scheduler}
    unet = _UNET | {
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
        "sample_size": 96 if prediction == "v_prediction" else 64,
    }
    text = _TEXT | {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
        "projection_dim": 512,
    }
    return {"unet": unet, "vae": _VAE, "text_encoder": text, "scheduler": scheduler}


def expected(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text: Iterable[tuple[str, tuple[int, ...]]]
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes that a checkpoint of these networks must hold, by part; of an OpenCLIP
    encoder none.
    """
    unet_named, vae_named = unet_names(unet), vae_names(vae)
    return {
        "unet": {
            UNET_KEY + unet_named[name]: tuple(value.shape)
            for name, value in unet.named_parameters()
        },
        "vae": {
            VAE_KEY + vae_named[name]: tuple(value.shape) for name, value in vae.named_parameters()
        },
        "text_encoder": {
            f"{CLIP_KEY}text_model.{name.removeprefix('text_model.')}": shape
            for name, shape in text
        },
    }


@contextmanager
def described(parts: Mapping[str, Mapping[str, Any]], tokenizer: Path) -> Iterator[Path]:
    """A folder of configurations for the time of the block, as diffusers' single-file loader wants
    them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        classes = {
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
        }
        index = {"_class_name": "StableDiffusionPipeline", **classes}
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
        for part, config in parts.items():
            (folder / part).mkdir()
            file = "scheduler_config.json" if part == "scheduler" else "config.json"
            (folder / part / file).write_text(json.dumps(dict(config)), encoding="utf-8")
        (folder / "tokenizer").symlink_to(tokenizer.resolve(), target_is_directory=True)
        yield folder


def header(file: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """(metadata, shapes) of a checkpoint. Raises BadInput for one that may hold code, UnsafeFile if
    it is damaged.
    """
    if file.suffix.lower() != ".safetensors":
        raise BadInput(
            f"model is the file {file.name}, which may hold code; only .safetensors are read."
        )
    try:
        return read_header(file)
    except UnsafeFile as error:
        raise UnsafeFile(f"model {file.name} is damaged or cut off; download it again.") from error
