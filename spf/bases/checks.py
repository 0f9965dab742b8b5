"""Whether a base model can be used: checks of its configurations and of the names and shapes of
its weights, none of which is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import CLIPTextConfig, CLIPTextModel

from spf.errors import BadInput, UnsafeFile
from spf.files import read_formats, read_header, read_json
from spf.single_file import (
    CHANNELS,
    CLIP_KEY,
    OPEN_CLIP_KEY,
    SD1,
    SD2,
    UNET_KEY,
    VAE_KEY,
    check_kind,
    expected,
    header,
    prediction_of,
    refused,
    said_prediction,
    standard,
)

from .source import SCHEDULER, TEXT_ENCODER, TOKENIZER, UNET, VAE, WEIGHTS, Source

CLASSES = {UNET: "UNet2DConditionModel", VAE: "AutoencoderKL"}
PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
)
"""Pipelines of diffusers whose networks are those of the first one, unless their sizes differ."""
PARTS = (*WEIGHTS, TOKENIZER, SCHEDULER, "safety_checker", "feature_extractor", "image_encoder")
"""What a folder may hold, with what only checks pictures or reads them."""
SCHEDULES = {one.name for one in KarrasDiffusionSchedulers} - {"EDMEulerScheduler"}
"""Schedulers that have the noise schedule of SD in common; diffusers says which."""
BETAS = ("beta_start", "beta_end", "beta_schedule")
FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Formats in which weights are themselves, and not numbers for a table or a scale."""
TRAINING = (f"{VAE_KEY}loss.", f"{VAE_KEY}model_ema.")
"""What an autoencoder's training leaves in a checkpoint."""
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
        prediction = prediction_of(source.file, metadata, shapes, width)
        return standard(width, prediction, silent="ztsnr" in shapes)
    _check_pipeline(source)
    found = {}
    for part in (*WEIGHTS, SCHEDULER):
        file = "scheduler_config.json" if part == SCHEDULER else "config.json"
        try:
            found[part] = read_json(source.folder / part / file)
        except (BadInput, UnsafeFile) as error:
            raise source.damaged(part) from error
        if not isinstance(found[part], dict):
            raise UnsafeFile(f"model {source.name} has a damaged {part}/{file}.")
    if source.file:
        metadata, shapes = header(source.file)
        check_kind(source.name, shapes)
        said = said_prediction(source.file, metadata, shapes)
        if said and said != (beside := found[SCHEDULER].get("prediction_type", "epsilon")):
            raise BadInput(
                f"model {source.name} predicts {said}, and the folder beside it says {beside}; they"
                " must say the same."
            )
    return found


def check_configurations(source: Source, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises BadInput, in one sentence, for a model that is no text-to-image Stable Diffusion of
    one CLIP encoder.
    """
    unet, vae, text, schedule = (parts[one] for one in (UNET, VAE, TEXT_ENCODER, SCHEDULER))
    for part, kind in CLASSES.items():
        if (found := parts[part].get("_class_name", kind)) != kind:
            raise refused(source.name, f"has a {part} of kind {found}")
    if unet.get("addition_embed_type") == "text_time":
        raise refused(source.name, "is SDXL, which has two text encoders")
    for part in WEIGHTS:
        if parts[part].get("quantization_config"):
            raise refused(source.name, f"has a {part} that is quantised")
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
    kind = text.get("model_type") or text.get("architectures") or "unknown"
    kind = kind if isinstance(kind, str) else " ".join(map(str, kind))
    if kind not in ("clip_text_model", "CLIPTextModel", "CLIPTextModelWithProjection"):
        raise refused(source.name, f"has a text encoder of kind {kind} and not CLIP's")
    width, wanted = text.get("hidden_size", 512), unet.get("cross_attention_dim", 1280)
    if width != wanted:
        raise refused(source.name, f"has text states of {width} where its unet wants {wanted}")
    _check_numbers(source.name, unet, vae)
    _check_schedule(source.name, schedule)


def _check_numbers(name: str, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Raises BadInput for a size or a scale of latents that is none."""
    if type(size := unet.get("sample_size")) is not int or size < 1:
        raise BadInput(
            f"model {name} has sample_size {size!r} in unet/config.json but it must be a whole"
            " number, 64 for pictures of 512 pixels."
        )
    scale = vae.get("scaling_factor", 0.18215)
    if type(scale) not in (int, float) or not (scale > 0 and math.isfinite(scale)):
        raise BadInput(
            f"model {name} has scaling_factor {scale!r} in vae/config.json but it must be a number"
            " above 0."
        )


def _check_schedule(name: str, schedule: Mapping[str, Any]) -> None:
    """Raises BadInput for another way to add noise than SD's."""
    kind = str(schedule.get("_class_name", "DDIMScheduler"))
    flows = kind.startswith("FlowMatch")
    prediction = "a flow" if flows else schedule.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise refused(name, f"predicts {prediction}")
    if kind not in SCHEDULES:
        raise refused(name, f"is drawn with {kind}, whose noise or steps are others")
    missing = [key for key in BETAS if key not in schedule]
    if missing and not schedule.get("trained_betas"):
        raise BadInput(
            f"model {name} has no {' and no '.join(missing)} in scheduler/scheduler_config.json,"
            " which make its noise schedule."
        )


def _check_pipeline(source: Source) -> None:
    """Raises BadInput for a folder of another pipeline than SD's, or of one with more parts."""
    index = source.folder / "model_index.json"
    said = read_json(index) if index.is_file() else {}
    said = said if isinstance(said, dict) else {}
    kind = said.get("_class_name") or "pipeline of no kind"
    if "StableDiffusionXL" in str(kind):
        raise refused(source.name, "is SDXL, which has two text encoders")
    if isinstance(kind, list):
        raise refused(source.name, f"is drawn by code of its own, {' '.join(map(str, kind))}")
    if kind not in PIPELINES:
        raise refused(source.name, f"is a {kind}")
    for part, given in said.items():
        network = given[-1] if isinstance(given, list) and given else None
        if network and part not in PARTS and not part.startswith("_"):
            raise refused(source.name, f"has a part {part} of kind {network}")
        if network and network != CLASSES.get(part, network):
            raise refused(source.name, f"has a {part} of kind {network}")


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
    except Exception as error:  # diffusers and transformers raise all kinds here
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
    there, formats = header(source.file)[1], read_formats(source.file)
    text = [(name, tuple(value.shape)) for name, value in made.text_encoder.named_parameters()]
    starts = {UNET: UNET_KEY, VAE: VAE_KEY, TEXT_ENCODER: CLIP_KEY}
    for part, wanted in expected(made.unet, made.vae, text).items():
        own = {
            key: shape
            for key, shape in there.items()
            if key.startswith(starts[part]) and not key.startswith(TRAINING)
        }
        if part != TEXT_ENCODER or not any(key.startswith(OPEN_CLIP_KEY) for key in there):
            compare(source.name, part, wanted, own, formats)


def _check_tensors(source: Source, part: str, network: torch.nn.Module) -> None:
    """Raises UnsafeFile unless the headers of a part's files have every tensor of its network in
    its shape.
    """
    there: dict[str, tuple[int, ...]] = {}
    formats: dict[str, str] = {}
    for file in source.weights(part)[1]:
        try:
            shapes, kinds = read_header(file)[1], read_formats(file)
        except (BadInput, UnsafeFile) as error:
            raise source.damaged(part, str(error)) from error
        there |= {_spelt(part, name): shape for name, shape in shapes.items()}
        formats |= {_spelt(part, name): kind for name, kind in kinds.items()}
    wanted = {_spelt(part, name): tuple(value.shape) for name, value in network.named_parameters()}
    compare(source.name, part, wanted, there, formats)


def compare(
    name: str,
    part: str,
    wanted: Mapping[str, Sequence[int]],
    there: Mapping[str, Sequence[int]],
    formats: Mapping[str, str],
) -> None:
    """Raises UnsafeFile when tensors of a part are missing, of another shape or of no network that
    its configuration makes, BadInput when they are quantised.
    """
    if missing := [key for key in wanted if key not in there]:
        raise UnsafeFile(
            f"model {name} lacks {len(missing)} of the {len(wanted)} tensors of its {part},"
            f" {missing[0]} for one; download it again."
        )
    if whole := [key for key in wanted if formats[key] not in FLOATS]:
        raise BadInput(
            f"model {name} has {whole[0]} of its {part} as {formats[whole[0]]}, but weights must be"
            f" one of {', '.join(FLOATS)}."
        )
    if part != TEXT_ENCODER and (extra := [key for key in there if key not in wanted]):
        raise UnsafeFile(
            f"model {name} has {extra[0]} in its {part}, which the {part} of its configuration does"
            " not have."
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
