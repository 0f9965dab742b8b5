"""Stable Diffusion's geometry for tests: with the words of the test world, and without bytes."""

import torch
from conftest import WORDS
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from spf.geometry import SCHEDULER, SD15, SD_VAE, new_geometry, text_config
from spf.models import Base

SD21 = SD15 | {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}


def new_cut_base(seed: int = 0) -> Base:
    """The topology of SD 1.5, narrow: 4x8x8 latents, 64x64 pictures."""
    return new_geometry("cut", tuple(WORDS), seed)


def exact_base(unet: dict = SD15, text: CLIPTextConfig | None = None) -> Base:
    """The exact geometry on the meta device: every name and shape, and no bytes."""
    scheduler = DDIMScheduler(**SCHEDULER)
    with torch.device("meta"):
        return Base(
            name="exact",
            folder=None,
            unet=UNet2DConditionModel(**unet),
            vae=AutoencoderKL(**SD_VAE),
            text_encoder=CLIPTextModel(text or text_config()),
            tokenizer=None,
            scheduler=scheduler,
        )
