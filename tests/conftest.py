"""The tiny world of the tests: a whole Stable Diffusion with random weights that draws 16x16
pictures, and no network.

Nothing here is downloaded and nothing has meaning; what is tested is that every part does what it
says.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from spf.models import Base
from spf.tokenizer import new_tokenizer

torch.set_num_threads(1)

WORDS = [
    "a photo of a young old woman man with long short red brown hair and glasses, wearing a white "
    "T-shirt,",
    "before a gray background; a hat laughing freckled skin blonde dress watercolor painting pearl "
    "necklace",
]


VELOCITY = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}
ZERO_SNR = VELOCITY | {"rescale_betas_zero_snr": True}


def new_tiny_base(seed: int = 0, **schedule) -> Base:
    """Random weights; 4x8x8 latents, cross-attention at 8, 4 and 2, 16x16 pictures, about 0.1 s for
    four steps.

    schedule: settings of the scheduler, such as `VELOCITY`, other than those of Stable Diffusion
    1.5.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = new_tokenizer(WORDS)
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        vision = CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
            projection_dim=16,
        )
        text_encoder = CLIPTextModel(text)
        base = Base(
            name="tiny",
            folder=None,
            unet=UNet2DConditionModel(
                sample_size=8,
                in_channels=4,
                out_channels=4,
                layers_per_block=1,
                block_out_channels=(8, 16, 16),
                down_block_types=("CrossAttnDownBlock2D",) * 3,
                up_block_types=("CrossAttnUpBlock2D",) * 3,
                cross_attention_dim=32,
                attention_head_dim=2,
                norm_num_groups=4,
            ),
            vae=AutoencoderKL(
                block_out_channels=(8, 16),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=4,
                norm_num_groups=4,
                sample_size=16,
            ),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
                **schedule,
            ),
        )
        settings = VisionTextDualEncoderConfig.from_vision_text_configs(
            vision, text, projection_dim=16
        )
        clip = VisionTextDualEncoderModel(
            settings, vision_model=CLIPVisionModel(vision), text_model=text_encoder
        )
        base.clip = clip.requires_grad_(False).eval()
        wake(base.unet)
    return base


def wake(unet) -> None:
    """Gives cross-attention a voice, so that text and tuned weights visibly change the
    prediction.
    """
    for name, parameter in unet.named_parameters():
        if "attn2" in name and parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.5)


def save_base(base: Base, folder) -> None:
    """Writes the layout of checkpoints/: base/ as a diffusers folder and clip/ beside it."""
    StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=base.unet,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "base", safe_serialization=True)
    base.clip.save_pretrained(folder / "clip", safe_serialization=True)


@pytest.fixture(scope="session")
def shared_base() -> Base:
    """One tiny base for tests that leave it as they found it; `tiny_base` checks that they do."""
    return new_tiny_base()


@pytest.fixture
def tiny_base(shared_base):
    """The tiny base; afterwards every weight, hook and training flag must be as before."""
    before = {
        name: (value.data_ptr(), value.detach().clone())
        for name, value in shared_base.unet.named_parameters()
    }
    yield shared_base
    for name, value in shared_base.unet.named_parameters():
        address, original = before[name]
        assert value.data_ptr() == address and torch.equal(value, original), (
            f"{name} was left changed"
        )
    assert not any(value.requires_grad for value in shared_base.unet.parameters())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in shared_base.unet.modules()
    )


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """checkpoints/ of the tiny base on disk."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_base(new_tiny_base(), folder)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any connection that leaves this machine fails at once."""
    import socket

    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
