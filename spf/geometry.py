"""Stable Diffusion as people have it, without its weights: the exact geometry of SD 1.5, and
cut-down ones of the same topology, for benches and counts of memory.

The exact configurations are those of the public repositories; all weights are random.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

from .config import check_choice
from .models import Base
from .tokenizer import new_tokenizer

BLOCKS = {
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
}
SD15 = BLOCKS | {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
CUT = BLOCKS | {
    "sample_size": 8,
    "block_out_channels": (8, 16, 16, 16),
    "cross_attention_dim": 32,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}
SLIM = CUT | {
    "sample_size": 32,
    "block_out_channels": (64, 128, 256, 256),
    "attention_head_dim": 8,
    "norm_num_groups": 32,
}
VAE = {
    "latent_channels": 4,
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SD_VAE = VAE | {"block_out_channels": (128, 256, 512, 512), "sample_size": 512}
CUT_VAE = VAE | {"block_out_channels": (8, 8, 16, 16), "sample_size": 64, "norm_num_groups": 4}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
UNETS = {"sd15": SD15, "slim": SLIM, "cut": CUT}
"""By name: SD 1.5; its topology with 35 million parameters at 32x32 latents; and with few thousands
at 8x8.
"""


def text_config(width: int = 768, layers: int = 12, heads: int = 12, **more: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        **more,
    )


def new_geometry(name: str, words: tuple[str, ...] = (), seed: int = 0) -> Base:
    """A base of one of UNETS with random weights, without CLIP. words: of its tokenizer. Raises
    BadInput.
    """
    unet = UNETS[check_choice("geometry", name, UNETS)]
    exact = unet is SD15
    tokenizer = new_tokenizer(list(words))
    ends = {one: getattr(tokenizer, one) for one in ("bos_token_id", "eos_token_id")}
    small = text_config(32, 2, 2, vocab_size=len(tokenizer), pad_token_id=0, **ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = Base(
            name=name,
            folder=None,
            unet=UNet2DConditionModel(**unet),
            vae=AutoencoderKL(**(SD_VAE if exact else CUT_VAE)),
            text_encoder=CLIPTextModel(text_config() if exact else small),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler(**SCHEDULER),
        )
    base.clip = None
    return base


def large_clip() -> CLIPModel:
    """CLIP ViT-L/14 with random weights, whose configuration is that of openai's repository."""
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "projection_dim": 768,
    }
    text = text_config(projection_dim=768).to_dict()
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)
    return CLIPModel(config).requires_grad_(False).eval()
