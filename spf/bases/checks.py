"""Whether a base model can be used: checks of its configurations and of the names and shapes of
its weights, none of which is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from spf.errors import BadInput, UnsafeFile
from spf.files import read_header, read_json
from spf.single_file import (
    CHANNELS,
    OPEN_CLIP_KEY,
    SD1,
    SD2,
    check_kind,
    expected,
    header,
    prediction_of,
    refused,
    standard,
)

from .source import SCHEDULER, TEXT_ENCODER, UNET, VAE, WEIGHTS, Source

CLASSES = {UNET: "UNet2DConditionModel", VAE: "AutoencoderKL"}
OLD_VAE = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""How older autoencoders call the layers of an attention."""


@dataclass(frozen=True)
class Skeleton:
    """The networks of a base on the meta device: every name and shape, and no bytes."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    scheduler: dict[str, Any] = field(default_factory=dict)


def configurations(source: Source) -> dict[str, dict[str, Any]]:
    """Configuration of each part of a source. Raises UnsafeFile when one is missing or damaged,
    BadInput for a checkpoint file that is none of SD 1.x or 2.x.
    """
    if source.file and not (source.folder / "model_index.json").is_file():
        metadata, shapes = header(source.file)
        width = check_kind(source.name, shapes)
        if width not in (SD1, SD2):
            raise refused(source.name, f"has text states of {width or 'several widths'}")
        return standard(width, prediction_of(source.file, metadata, shapes, width))
    if source.file:
        check_kind(source.name, header(source.file)[1])
    found = {}
    for part in (*WEIGHTS, SCHEDULER):
        file = "scheduler_config.json" if part == SCHEDULER else "config.json"
        try:
            found[part] = read_json(source.folder / part / file)
        except (BadInput, UnsafeFile) as error:
            kind = _pipeline(source)
            if not kind.startswith("StableDiffusion") or "Diffusion3" in kind:
                raise refused(source.name, f"is a {kind or 'pipeline of no kind'}") from error
            raise source.damaged(part) from error
        if not isinstance(found[part], dict):
            raise UnsafeFile(f"model {source.name} has a damaged {part}/{file}.")
    return found


def check_configurations(source: Source, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises BadInput, in one sentence, for a model that is no text-to-image Stable Diffusion of
    one CLIP encoder.
    """
    unet, vae, text = parts[UNET], parts[VAE], parts[TEXT_ENCODER]
    for part, kind in CLASSES.items():
        if (found := parts[part].get("_class_name", kind)) != kind:
            raise refused(source.name, f"has a {part} of kind {found}")
    if "XL" in _pipeline(source) or unet.get("addition_embed_type") == "text_time":
        raise refused(source.name, "is SDXL, which has two text encoders")
    latents = vae.get("latent_channels", 4)
    if (channels := unet.get("in_channels", 4)) != latents:
        kind = CHANNELS.get(channels) if latents == 4 else None
        other = f"takes {channels} channels where its latents have {latents}"
        raise refused(source.name, kind or other)
    for key in (
        "addition_embed_type",
        "class_embed_type",
        "encoder_hid_dim_type",
        "num_class_embeds",
        "time_cond_proj_dim",
    ):
        if unet.get(key) is not None:
            raise refused(source.name, f"has a unet with {key} {unet[key]}")
    kind = text.get("model_type") or "".join(text.get("architectures") or ["unknown"])
    if kind not in ("clip_text_model", "CLIPTextModel", "CLIPTextModelWithProjection"):
        raise refused(source.name, f"has a text encoder of kind {kind} and not CLIP's")
    width, wanted = text.get("hidden_size", 512), unet.get("cross_attention_dim", 1280)
    if width != wanted:
        raise refused(source.name, f"has text states of {width} where its unet wants {wanted}")
    flows = str(parts[SCHEDULER].get("_class_name", "")).startswith("FlowMatch")
    prediction = "a flow" if flows else parts[SCHEDULER].get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise refused(source.name, f"predicts {prediction}")


def _pipeline(source: Source) -> str:
    """The pipeline that a folder says it is for; empty where it says none."""
    index = source.folder / "model_index.json"
    said = read_json(index) if index.is_file() else {}
    return str(said.get("_class_name", "")) if isinstance(said, dict) else ""


def skeleton(source: Source) -> Skeleton:
    """The networks of a source, after every check that needs no weights. Raises BadInput or
    UnsafeFile.
    """
    parts = configurations(source)
    check_configurations(source, parts)
    try:
        with torch.device("meta"):
            text = CLIPTextConfig.from_dict(dict(parts[TEXT_ENCODER]))
            made = Skeleton(
                UNet2DConditionModel.from_config(parts[UNET]),
                AutoencoderKL.from_config(parts[VAE]),
                CLIPTextModel(text),
                dict(parts[SCHEDULER]),
            )
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise UnsafeFile(
            f"model {source.name} has a configuration that makes no network."
        ) from error
    if source.file:
        _check_file(source, made)
    else:
        for part in WEIGHTS:
            _check_tensors(source, part, getattr(made, part))
    return made


def _check_file(source: Source, made: Skeleton) -> None:
    """The same for a checkpoint file. OpenCLIP's names are left to diffusers, which refuses a lack
    of them.
    """
    there = header(source.file)[1]
    text = [(name, tuple(value.shape)) for name, value in made.text_encoder.named_parameters()]
    for part, wanted in expected(made.unet, made.vae, text).items():
        if part != TEXT_ENCODER or not any(key.startswith(OPEN_CLIP_KEY) for key in there):
            compare(source.name, part, wanted, there)


def _check_tensors(source: Source, part: str, network: torch.nn.Module) -> None:
    """Raises UnsafeFile unless the headers of a part's files have every tensor of its network in
    its shape.
    """
    there: dict[str, tuple[int, ...]] = {}
    for file in source.weights(part)[1]:
        shapes = read_header(file)[1]
        there |= {_spelt(part, name): shape for name, shape in shapes.items()}
    wanted = {_spelt(part, name): tuple(value.shape) for name, value in network.named_parameters()}
    compare(source.name, part, wanted, there)


def compare(
    name: str, part: str, wanted: Mapping[str, Sequence[int]], there: Mapping[str, Sequence[int]]
) -> None:
    """Raises UnsafeFile when tensors of a part are missing or of another shape."""
    if missing := [key for key in wanted if key not in there]:
        raise UnsafeFile(
            f"model {name} lacks {len(missing)} of the {len(wanted)} tensors of its {part},"
            f" {missing[0]} for one; download it again."
        )
    for key, shape in wanted.items():
        same_size = tuple(there[key]) == tuple(shape) or (
            part == VAE and [n for n in there[key] if n > 1] == [n for n in shape if n > 1]
        )
        if not same_size:
            raise UnsafeFile(
                f"model {name} has {key} of its {part} as {list(there[key])}, where its"
                f" configuration says {list(shape)}."
            )


def _spelt(part: str, name: str) -> str:
    """A tensor's name in one spelling: older files of CLIP have a prefix, older autoencoders other
    names.
    """
    if part == TEXT_ENCODER:
        return name.removeprefix("text_model.")
    if part == VAE:
        for old, new in OLD_VAE.items():
            name = name.replace(old, new)
    return name
