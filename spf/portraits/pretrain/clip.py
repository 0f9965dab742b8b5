"""The embedded text encoder and its image partner: a VisionTextDualEncoderModel brought up with our
labels.

    python -m spf pretrain clip --preset small

Contrast alone learns slowly from a small world, so each tower first learns to name the attributes:
the text tower from every token (what has been said so far), the image tower from portraits. Then
both learn to meet. The text tower is causal, as in Stable Diffusion: words appended to a text leave
the states of the words before them alone.
"""

import functools
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    ConvNextConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from spf.files import load_tensors, write_json
from spf.pixels import as_pixels
from spf.portraits.captions import caption, compose, words
from spf.portraits.dataset import PortraitSet
from spf.portraits.description import ATTRIBUTES, Portrait, sample_portrait
from spf.portraits.pretrain.common import Stage, replaced_folder, save_half, start_from
from spf.portraits.pretrain.presets import ClipSizes
from spf.portraits.pretrain.spoil import returned_portraits, spoilt_batch
from spf.portraits.pretrain.texts import (
    UNREAD,
    encode_readings,
    read_caption,
    token_ids,
    training_text,
)
from spf.tokenizer import build_tokenizer
from spf.training import Fitted, fit, make_accelerator

log = logging.getLogger(__name__)


def new_clip(
    sizes: ClipSizes, image_size: int, tokenizer: CLIPTokenizer
) -> VisionTextDualEncoderModel:
    """Untrained towers; the text tower's end token is the tokenizer's, so that its pooled state is
    read there."""
    vision = ConvNextConfig(
        hidden_sizes=list(sizes.image_channels),
        depths=list(sizes.image_depths),
        hidden_size=sizes.image_channels[-1],  # the dual encoder asks for it
        layer_scale_init_value=1.0,  # the default, 1e-6, is for deep networks and long training
        image_size=image_size,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.text_hidden,
        intermediate_size=3 * sizes.text_hidden,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=sizes.joint,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision, text, projection_dim=sizes.joint
    )
    return VisionTextDualEncoderModel(config)


class Towers(nn.Module):
    """The dual encoder with attribute heads, which only training needs.

    Every text head has one class more than the attribute has values: "the text does not say".
    """

    def __init__(self, clip: VisionTextDualEncoderModel):
        super().__init__()
        self.clip = clip
        sizes = [len(values) for values in ATTRIBUTES.values()]
        self.text_head = nn.Linear(clip.text_model.config.hidden_size, sum(sizes) + len(sizes))
        self.image_head = nn.Linear(clip.vision_model.config.hidden_size, sum(sizes))

    def text_loss(self, states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """states [B,T,D], labels [B,T,A] -> mean cross-entropy, share of end tokens that read
        everything right."""
        parts = self.text_head(states).split([len(v) + 1 for v in ATTRIBUTES.values()], dim=-1)
        losses = [
            F.cross_entropy(p.flatten(0, 1).float(), labels[..., i].flatten(), ignore_index=UNREAD)
            for i, p in enumerate(parts)
        ]
        last = torch.stack([p[:, -1].argmax(-1) for p in parts], 1) == labels[:, -1]
        return sum(losses) / len(losses), last.all(1).float().mean()

    def image_loss(self, pooled: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """pooled [B,D], labels [B,A] -> mean cross-entropy, share of right attributes."""
        return values_loss(self.image_head(pooled), labels)


def values_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """logits [B, values of all attributes], labels [B,A] -> mean cross-entropy of the attributes,
    share of right values."""
    parts = logits.split([len(values) for values in ATTRIBUTES.values()], dim=-1)
    loss = sum(F.cross_entropy(part.float(), labels[:, i]) for i, part in enumerate(parts)) / len(
        parts
    )
    right = torch.stack([part.argmax(-1) for part in parts], 1) == labels
    return loss, right.float().mean()


def contrastive(image: Tensor, text: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's symmetric loss (arXiv 2103.00020, Fig. 3) of embeddings [B,D]; and the share of right
    captions."""
    logits = scale.exp().clamp(max=100) * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    own = torch.arange(len(logits), device=logits.device)
    right = (logits.argmax(1) == own).float().mean()
    return (
        F.cross_entropy(logits.float(), own) + F.cross_entropy(logits.T.float(), own)
    ) / 2, right


def naming(rng: np.random.Generator) -> list[list[str]]:
    """For each attribute a text for each of its values that says this alone, as zero-shot
    classification asks."""
    other = sample_portrait(rng).to_dict() | {
        "style": "photo",
        "hair_style": "short",
    }  # a bald head has no hair color
    return [
        [compose(Portrait(**(other | {name: value})), {name}, rng).text for value in values]
        for name, values in ATTRIBUTES.items()
    ]


def named(image: Tensor, texts: Tensor, labels: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of zero-shot classification (arXiv 2103.00020, section 3.1), mean over the
    attributes; share of right values. image [B,D], texts [values of all attributes, D], labels
    [B,A]."""
    logits = scale.exp().clamp(max=100) * F.normalize(image, dim=-1) @ F.normalize(texts, dim=-1).T
    return values_loss(logits, labels)


def save_clip(
    clip: VisionTextDualEncoderModel, tokenizer: CLIPTokenizer, checkpoints: Path
) -> None:
    """Write checkpoints/clip, base/text_encoder (the same text tower) and base/tokenizer in half
    precision."""
    size = clip.config.vision_config.image_size
    # or the files would say how the last texts were cut and padded
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    with replaced_folder(checkpoints / "clip") as part:
        save_half(clip, part)
        tokenizer.save_pretrained(part)
        write_json(
            part / "preprocessor_config.json",
            {
                "image_processor_type": "CLIPImageProcessor",
                "size": {"shortest_edge": size},
                "crop_size": {"height": size, "width": size},
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            },
        )
    with replaced_folder(checkpoints / "base" / "text_encoder") as part:
        save_half(clip.text_model, part)
    with replaced_folder(checkpoints / "base" / "tokenizer") as part:
        tokenizer.save_pretrained(part)


def train_clip(stage: Stage) -> Fitted:
    """Text tower alone (30 % of the time), image tower alone (35 %), then both together; trained
    towers go on together."""
    sizes = stage.preset.clip
    data, unseen = stage.data("often"), stage.data("often", split="dev")
    accelerator = make_accelerator(tiles=True)
    device = accelerator.device
    returned = functools.cache(lambda: returned_portraits(stage, data, device))
    torch.manual_seed(stage.seed)
    tokenizer = build_tokenizer(words(), stage.out / "tokenizer")
    towers = Towers(new_clip(sizes, stage.preset.image_size, tokenizer))
    clip = towers.clip
    begun = stage.resume and start_from(clip, stage.checkpoints / "clip" / "model.safetensors")
    settled = (stage.checkpoints / "base" / "unet").exists()
    if settled:  # a denoiser has learnt to read this text tower
        log.info("%s has a unet, so its text encoder stays as it is", stage.checkpoints / "base")
        clip.text_model.load_state_dict(
            load_tensors(stage.checkpoints / "base" / "text_encoder" / "model.safetensors")
        )
        clip.text_model.requires_grad_(False)
        towers.text_head.requires_grad_(False)

    def read_texts(rng: np.random.Generator, step: int, portraits: list) -> tuple[Tensor, Tensor]:
        """The text tower's loss on one text for each portrait; every eighth batch has all 77
        positions."""
        length = tokenizer.model_max_length if step % 8 == 0 else None
        ids, labels = encode_readings(tokenizer, [training_text(p, rng) for p in portraits], length)
        states = clip.text_model(input_ids=ids.to(device))[0]
        return towers.text_loss(states, labels.to(device))

    def text_loss(step: int, rng: np.random.Generator):
        portraits = [sample_portrait(rng, targets="often") for _ in range(sizes.text_batch)]
        loss, right = read_texts(rng, step, portraits)
        return loss, {"all_read": right}

    def pictures(rng: np.random.Generator) -> tuple[Tensor, Tensor, list[Portrait]]:
        """A batch of portraits, some of them as the autoencoder returns them: pixels, labels,
        descriptions."""
        chosen, images = spoilt_batch(data, returned(), sizes.image_batch, rng, device)
        return (
            images,
            torch.from_numpy(data.labels[chosen]).to(device),
            [data.portraits[i] for i in chosen],
        )

    def image_loss(step: int, rng: np.random.Generator):
        images, labels, _ = pictures(rng)
        loss, right = towers.image_loss(clip.vision_model(pixel_values=images)[1], labels)
        return loss, {"right": right}

    def joint_loss(step: int, rng: np.random.Generator):
        images, labels, portraits = pictures(rng)
        readings = [read_caption(caption(p, rng), p) for p in portraits]
        ids, said = encode_readings(
            tokenizer, readings, tokenizer.model_max_length if step % 8 == 0 else None
        )
        states, end = clip.text_model(input_ids=ids.to(device), return_dict=False)[:2]
        values = tokenizer(
            [text for texts in naming(rng) for text in texts], padding=True, return_tensors="pt"
        )
        values = clip.text_model(input_ids=values["input_ids"].to(device))[1]
        pooled = clip.vision_model(pixel_values=images)[1]
        image = clip.visual_projection(pooled)
        meet, right = contrastive(image, clip.text_projection(end), clip.logit_scale)
        name, known = named(image, clip.text_projection(values), labels, clip.logit_scale)
        seen, _ = towers.image_loss(pooled, labels)
        read, _ = towers.text_loss(states, said.to(device))
        return meet + name + seen + read, {
            "contrast": meet,
            "right_caption": right,
            "named": name,
            "right_value": known,
            "seen": seen,
            "read": read,
        }

    def save() -> None:
        save_clip(clip, tokenizer, stage.checkpoints)
        right = right_caption(clip, tokenizer, unseen)
        log.info("saved %s: right caption among 64 %.3f", stage.checkpoints / "clip", right)

    text = [*clip.text_model.parameters(), *towers.text_head.parameters()]
    joint = [
        *clip.visual_projection.parameters(),
        *clip.text_projection.parameters(),
        clip.logit_scale,
    ]
    image = [*clip.vision_model.parameters(), *towers.image_head.parameters()]

    def phase(name: str, loss, groups: list, lr: float, share: float) -> Fitted:
        return fit(
            towers,
            loss,
            groups=groups,
            lr=lr,
            average=0.998,
            name=f"clip, {name}",
            save=save,
            save_every=120.0,
            accelerator=accelerator,
            **stage.order("clip", f"clip-{name}", share),
        )

    if not settled:
        phase("text", text_loss, [(text, 1.0)], sizes.lr, 0.3)
    if not begun:
        phase("image", image_loss, [(image, 1.0)], 2 * sizes.lr, 0.35)
    both = [(image + joint, 1.0)] if settled else [(image + joint, 1.0), (text, 0.15)]
    return phase("joint", joint_loss, both, sizes.lr, 1.0 if begun else 0.35)


@torch.no_grad()
def embed_images(clip: VisionTextDualEncoderModel, images: np.ndarray, batch: int = 64) -> Tensor:
    """uint8 [N,H,W,3] -> unit embeddings [N,D] on the CPU."""
    device = clip.logit_scale.device
    parts = [as_pixels(images[i : i + batch], device) for i in range(0, len(images), batch)]
    pooled = torch.cat([clip.vision_model(pixel_values=part)[1] for part in parts])
    return F.normalize(clip.visual_projection(pooled).float(), dim=-1).cpu()


@torch.no_grad()
def embed_texts(
    clip: VisionTextDualEncoderModel, tokenizer: CLIPTokenizer, texts: list[str], batch: int = 64
) -> Tensor:
    """Texts -> unit embeddings [N,D] on the CPU."""
    device = clip.logit_scale.device
    parts = [
        token_ids(tokenizer, texts[i : i + batch]).to(device) for i in range(0, len(texts), batch)
    ]
    pooled = torch.cat([clip.text_model(input_ids=part)[1] for part in parts])
    return F.normalize(clip.text_projection(pooled).float(), dim=-1).cpu()


def right_caption(
    clip: VisionTextDualEncoderModel, tokenizer: CLIPTokenizer, data: PortraitSet, among: int = 64
) -> float:
    """Share of portraits whose own caption scores highest among those of `among` portraits."""
    rng = np.random.default_rng(7)
    count = len(data) // among * among or len(data)
    image = embed_images(clip, data.images[:count])
    text = embed_texts(clip, tokenizer, [data.caption(i, rng).text for i in range(count)])
    groups = [slice(i, i + among) for i in range(0, count, among)]
    right = [(image[g] @ text[g].T).argmax(1) == torch.arange(len(image[g])) for g in groups]
    return torch.cat(right).float().mean().item()
