"""Stable Diffusion as people have it: the exact geometry of SD 1.5 and SD 2.1, and a cut-down one
of the same topology.

All weights are random. The configurations are those of the public repositories.
"""

import torch
from conftest import WORDS
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from spf.models import Base
from spf.tokenizer import new_tokenizer

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
SD21 = SD15 | {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
CUT = BLOCKS | {
    "sample_size": 8,
    "block_out_channels": (8, 16, 16, 16),
    "cross_attention_dim": 32,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
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


def text_config(width: int = 768, layers: int = 12, heads: int = 12, **more) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        **more,
    )


def new_cut_base(seed: int = 0) -> Base:
    """The topology of SD 1.5, narrow: 4x8x8 latents, 64x64 pictures."""
    tokenizer = new_tokenizer(WORDS)
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = Base(
            name="cut",
            folder=None,
            unet=UNet2DConditionModel(**CUT),
            vae=AutoencoderKL(**CUT_VAE),
            text_encoder=CLIPTextModel(
                text_config(32, 2, 2, vocab_size=len(tokenizer), pad_token_id=0, **ends)
            ),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler(**SCHEDULER),
        )
    base.clip = None
    return base


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
