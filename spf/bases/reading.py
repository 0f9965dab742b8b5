"""A base model read into one `Base`: its networks, its tokenizer and its noise schedule.

Only safetensors weights are read and no remote code is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from spf.attention import require_layers
from spf.config import EMBEDDED, PERTURBED, GenerateConfig, check_choice
from spf.errors import UnsafeFile
from spf.files import read_json
from spf.models import OFF, Base
from spf.single_file import SD2, described
from spf.solvers import DDIM, DPM, EULER

from .checks import configurations, skeleton
from .finding import find_base, tokenizer_folder
from .source import Source, read_part

SAMPLED = {
    "EulerDiscreteScheduler": EULER,
    "EulerAncestralDiscreteScheduler": EULER,
    "DPMSolverMultistepScheduler": DPM,
    "DPMSolverSinglestepScheduler": DPM,
}
"""The sampler that a scheduler of diffusers stands for; all others are drawn with DDIM."""
MOST_STEPS = GenerateConfig.limits("steps")[1]
"""Of a drawing; every schedule must reach so many noise levels."""
DRAWING = "drawing.json"
"""In the folder of a base: how it is drawn best, as {"perturbed": one of config.PERTURBED}."""


def load_base(
    name: str = EMBEDDED,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Base:
    """Loads a base model, frozen and in eval mode; fp32 on the CPU unless told otherwise.

    `name` is what `spf.bases.finding` takes. Everything that can be told from names, configurations
    and headers is checked before any weight is read. Raises BadInput (nothing of that name, no
    connection, another kind of model), UnsafeFile (a part is missing or damaged) or ChangedLibrary.
    """
    source, dtype = find_base(name), dtype or torch.float32
    made, words = skeleton(source), tokenizer_folder(source)
    scheduler = scheduler_of(made.scheduler, source.name)
    tokenizer = _tokenizer(source, words, made.text_encoder.config)
    networks = _from_file if source.file else _from_folder
    unet, vae, text_encoder = networks(source, words, dtype)
    require_layers(unet)
    for part in (unet, vae):
        part.register_to_config(_name_or_path=source.name)  # or copies of it would tell its place
    if source.file and made.unet.config.cross_attention_dim == SD2:
        tokenizer.pad_token = "!"  # as SD 2.x was trained
    base = Base(
        name=source.name,
        folder=source.folder,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        sampler=sampler_of(made.scheduler),
        perturbed=perturbed_of(source),
    )
    return base.to(device) if device else base


def load_tokenizer(name: str = EMBEDDED) -> CLIPTokenizer:
    """The tokenizer of a base alone, see `load_base`."""
    source = find_base(name)
    return _tokenizer(source, tokenizer_folder(source), skeleton(source).text_encoder.config)


def empty_base(name: str = EMBEDDED) -> Base:
    """The base on the meta device: every name and shape and no weights, in well under a second. No
    tokenizer, no CLIP.
    """
    source = find_base(name)
    made = skeleton(source)
    scheduler = scheduler_of(made.scheduler, source.name)
    sampler = sampler_of(made.scheduler)
    return Base(source.name, None, made.unet, made.vae, made.text_encoder, None, scheduler, sampler)


def _from_folder(source: Source, words: Path, dtype: torch.dtype) -> list[Any]:
    """UNet, autoencoder and text encoder of a folder, each in the variant that is there."""
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    return [
        read_part(
            kind, source.folder / part, source.name, dtype=dtype, variant=_variant(source, part)
        )
        for part, kind in kinds.items()
    ]


def _variant(source: Source, part: str) -> str | None:
    return source.weights(part)[0].removeprefix(".") or None


def _from_file(source: Source, words: Path, dtype: torch.dtype) -> list[Any]:
    """The same of a checkpoint file, by diffusers' single-file loader."""
    from diffusers import StableDiffusionPipeline  # which takes a second to import

    try:
        with described(configurations(source), words) as folder:
            pipeline = StableDiffusionPipeline.from_single_file(
                str(source.file), config=str(folder), torch_dtype=dtype, local_files_only=True
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UnsafeFile(
            f"model {source.name} could not be read from {source.file.name}; download it again."
        ) from error
    parts = [pipeline.unet, pipeline.vae, pipeline.text_encoder]
    if any(value.is_meta for part in parts for value in part.parameters()):
        raise UnsafeFile(f"model {source.name} lacks tensors; download it again.")
    return parts


def _tokenizer(source: Source, folder: Path, text: CLIPTextConfig) -> CLIPTokenizer:
    """The tokenizer of a base, whose window is that of its text encoder. Raises UnsafeFile."""
    made = read_part(CLIPTokenizer, folder, source.name)
    longest = made.model_max_length
    if not isinstance(longest, (int, float)) or longest < 3:
        raise UnsafeFile(
            f"model {source.name} has model_max_length {longest!r} in {folder.name}/"
            "tokenizer_config.json but it must be a number from 3, 77 for CLIP."
        )
    made.model_max_length = min(int(longest), text.max_position_embeddings)
    if len(made) > text.vocab_size:
        raise UnsafeFile(
            f"model {source.name} has a tokenizer of {len(made)} words, and its text encoder knows"
            f" {text.vocab_size}; give it the tokenizer that it was trained with."
        )
    return made


def scheduler_of(config: Mapping[str, Any], name: str = "") -> DDIMScheduler:
    """The noise schedule of any scheduler's configuration, drawn with DDIM. Raises UnsafeFile.

    What DDIM has and other schedulers do not must not fall back to its own defaults, which clip
    latents to [-1,1].
    """
    missing = {"set_alpha_to_one": False, "steps_offset": 1}
    clipped = {"clip_sample": False, "thresholding": False}
    try:
        made = DDIMScheduler.from_config(missing | dict(config) | clipped)
        drawn = DDIMScheduler.from_config(made.config)
        drawn.set_timesteps(MOST_STEPS)
        there = bool(((drawn.timesteps >= 0) & (drawn.timesteps < len(made.betas))).all())
    except (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError) as error:
        raise UnsafeFile(_unscheduled(name)) from error
    if not there or not ((made.betas >= 0) & (made.betas <= 1)).all():  # NaN is neither
        raise UnsafeFile(_unscheduled(name))
    return made


def _unscheduled(name: str) -> str:
    return f"model {name} has a scheduler whose configuration makes no noise schedule."


def sampler_of(config: Mapping[str, Any]) -> str:
    """The sampler that a scheduler's configuration asks for, see SAMPLED."""
    return SAMPLED.get(config.get("_class_name"), DDIM)


def perturbed_of(source: Source) -> str:
    """The one of `config.PERTURBED` with which a base is drawn best, as its folder says."""
    file = source.folder / DRAWING if source.folder else None
    said = read_json(file) if file and file.is_file() else {}
    if not isinstance(said, dict):
        raise UnsafeFile(f"model {source.name} has a damaged {DRAWING}.")
    return check_choice("perturbed", said.get("perturbed", OFF), PERTURBED)
