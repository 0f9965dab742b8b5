"""The models that are known by name: one revision each, their licences, and what is fetched of
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spf.config import EMBEDDED, check_choice

from .source import TEXT_ENCODER, UNET, VAE

LICENCE = "apache-2.0"
"""Of the embedded model."""


@dataclass(frozen=True)
class Pinned:
    """One revision of a hub repository. bytes: of what is downloaded, about."""

    repository: str
    revision: str
    licence: str
    bytes: int

    def sentence(self) -> str:
        """What is told before a download."""
        return (
            f"{self.repository} at revision {self.revision[:12]}, licence {self.licence},"
            f" {self.bytes / 1e9:.1f} GB"
        )


PIPELINE_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"tokenizer/{one}" for one in ("merges.txt", "vocab.json")),
    *(f"tokenizer/{one}.json" for one in ("special_tokens_map", "tokenizer_config")),
    *(f"{part}/config.json" for part in (UNET, VAE, TEXT_ENCODER)),
    *(f"{part}/diffusion_pytorch_model.fp16.safetensors" for part in (UNET, VAE)),
    f"{TEXT_ENCODER}/model.fp16.safetensors",
)
"""What a Space fetches of a pinned base when it is built."""
PINNED = {
    "stable-diffusion-v1-5": Pinned(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        "creativeml-openrail-m",
        2_140_000_000,
    ),
    "stable-diffusion-2-1": Pinned(
        "stabilityai/stable-diffusion-2-1",
        "5cae40e6a2745ae2b01ad92ae5043f95f23644d6",
        "openrail++",
        2_590_000_000,
    ),
}
PINNED_CLIP = Pinned(
    "openai/clip-vit-large-patch14",
    "32bd64288804d66eefd0ccbe215aa642df71cc41",
    "mit",
    1_720_000_000,
)
PINNED_CHECKER = Pinned(
    PINNED["stable-diffusion-v1-5"].repository,
    PINNED["stable-diffusion-v1-5"].revision,
    PINNED["stable-diffusion-v1-5"].licence,
    610_000_000,
)
CHECKER_FILES = (
    "safety_checker/config.json",
    "safety_checker/model.fp16.safetensors",
    "feature_extractor/*",
)
CLIP_FILES = ("*.json", "merges.txt", "model.safetensors")
CLIP_PRELOADED = (
    *("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.json", "merges.txt", "model.safetensors"),
)


def preloaded(name: str) -> dict[str, str]:
    """A pinned base and its CLIP as `space.front_matter` writes them. Raises BadInput."""
    pinned = PINNED[check_choice("model", name, PINNED)]
    files = {pinned: PIPELINE_FILES, PINNED_CLIP: CLIP_PRELOADED}
    return {one.repository: f"{','.join(what)} {one.revision}" for one, what in files.items()}


def findable(name: str) -> str:
    """The name under which a program in another folder finds the same base."""
    known = name == EMBEDDED or pinned_name(name)
    return name if known or not (name and Path(name).exists()) else str(Path(name).resolve())


def pinned_name(name: str) -> str | None:
    """The short name of a pinned base, by that or by its repository."""
    return next((key for key, one in PINNED.items() if name in (key, one.repository)), None)


def hub_id(name: str) -> str:
    """The repository of a base by its name, or by its family; the name itself where none is known
    here.
    """
    short = "stable-diffusion-v1-5" if name == "SD 1.x" else pinned_name(name)
    return PINNED[short].repository if short else name


def licence_of(name: str) -> str:
    """Licence of a base by its name, as far as it is known here; else empty."""
    if name == EMBEDDED:
        return LICENCE
    short = pinned_name(name)
    return PINNED[short].licence if short else ""
