"""A base with an adapter merged into it: one checkpoint file as ComfyUI and A1111 hold it, or a
diffusers folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spf.errors import BadInput
from spf.files import require_finite, save_tensors
from spf.models import Base
from spf.paths import TEXT, Adapter, exchanged, parameters_of, text_name
from spf.single_file import CLIP_KEY, UNET_KEY, VAE_KEY, unet_names, vae_names

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


@contextmanager
def merged(base: Base, adapter: Adapter, scale: float = 1.0) -> Iterator[Base]:
    """Inside the block the base's own weights are original + scale * difference; afterwards as they
    were.
    """
    owners = parameters_of(base)
    parameters = {name: owners[name] for name in adapter.names()}
    with torch.no_grad():
        tensors = {
            name: _sum(value, adapter.difference(name, value.shape), scale)
            for name, value in parameters.items()
        }
        require_finite(tensors, "the merged model")
    with exchanged(parameters, tensors):
        yield base


def _sum(value: Tensor, difference: Tensor, scale: float) -> Tensor:
    return value.float().add(difference.to(value.device), alpha=scale).to(value.dtype)


def checkpoint_tensors(base: Base) -> dict[str, Tensor]:
    """The tensors of a single-file checkpoint of SD 1.x. Raises BadInput for a text encoder that
    such a file cannot hold.
    """
    if base.text_encoder.config.num_hidden_layers > 12:
        raise BadInput(
            f"model {base.name} has the text encoder of SD 2.x, whose single files hold a layer"
            " more; write a folder instead."
        )
    unet, vae = unet_names(base.unet), vae_names(base.vae)
    tensors = {UNET_KEY + unet[name]: value for name, value in base.unet.named_parameters()}
    for name, value in base.vae.named_parameters():
        attends = ".attentions." in name and value.ndim == 2  # 1x1 convolutions in the original
        tensors[VAE_KEY + vae[name]] = value[..., None, None] if attends else value
    for name, value in base.text_encoder.named_parameters():
        tensors[CLIP_KEY + text_name(name).removeprefix(TEXT)] = value
    return tensors


def write_checkpoint(
    base: Base,
    adapter: Adapter,
    path: str | Path,
    *,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Writes base and adapter as one .safetensors checkpoint for ComfyUI, A1111 and
    `from_single_file`.
    """
    about = {key: adapter.metadata[key] for key in ("method", "base_model", "target")}
    with merged(base, adapter, scale):
        tensors = checkpoint_tensors(base)
        save_tensors(path, {name: value.to(dtype) for name, value in tensors.items()}, about)
    return Path(path)


def write_folder(
    base: Base,
    adapter: Adapter,
    path: str | Path,
    *,
    scale: float = 1.0,
) -> Path:
    """Writes base and adapter as a new diffusers folder, in the precision of the base. Raises
    BadInput if it is there.
    """
    path = Path(path)
    if path.exists():
        raise BadInput(f"{path} is there already; give a new folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with merged(base, adapter, scale):
            pipeline_of(base).save_pretrained(draft, safe_serialization=True)
        draft.chmod(0o755)  # mkdtemp makes private folders
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def pipeline_of(base: Base) -> StableDiffusionPipeline:
    """The stock pipeline of the parts of a base, which it shares."""
    from diffusers import StableDiffusionPipeline  # which takes a second to import

    return StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=base.unet,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
