"""How the weights of a Stable Diffusion are called by this library, by diffusers, by kohya and by
single-file checkpoints.

Kohya, ComfyUI and A1111 call a module of the UNet `lora_unet_` and its diffusers path with `_` for
`.`, or the same of its path in a single-file checkpoint; one of the text encoder `lora_te_` and its
path. So all names are read off the network itself, and no list of them is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from spf.models import Base
from spf.paths import TEXT, parameters_of, text_name
from spf.single_file import unet_modules

KOHYA_UNET, KOHYA_TEXT = "lora_unet_", "lora_te_"


@dataclass(frozen=True)
class Layout:
    """Shape of every parameter of a base that an adapter may change, by name; see TEXT."""

    shapes: Mapping[str, tuple[int, ...]]
    layers: int

    @classmethod
    def of(cls, base: Base) -> Self:
        """The layout of a base; its weights may be on the meta device."""
        shapes = {name: tuple(value.shape) for name, value in parameters_of(base).items()}
        return cls(shapes, base.unet.config.layers_per_block)

    @cached_property
    def modules(self) -> frozenset[str]:
        """Names of the modules that own parameters."""
        return frozenset(name.rpartition(".")[0] for name in self.shapes)

    @cached_property
    def original(self) -> dict[str, str]:
        """Name of each module of the UNet in a single-file checkpoint, without its
        `model.diffusion_model.`.
        """
        unet = [name for name in self.modules if not name.startswith(TEXT)]
        return unet_modules(unet, self.layers)

    @cached_property
    def kohya(self) -> dict[str, str]:
        """Module by kohya's name, in both spellings of the UNet's modules."""
        found = {KOHYA_UNET + flat(name): module for module, name in self.original.items()}
        return found | {kohya_name(module): module for module in self.modules}

    def module(self, name: str) -> str | None:
        """The module that a path without a prefix means: of the UNet, else of the text encoder."""
        return next((one for one in (name, text_name(name)) if one in self.modules), None)


def flat(name: str) -> str:
    return name.replace(".", "_")


def kohya_name(module: str) -> str:
    """A module's name in kohya's files."""
    if module.startswith(TEXT):
        return KOHYA_TEXT + flat(module.removeprefix(TEXT))
    return KOHYA_UNET + flat(module)
