"""Where the parts of a base model lie: in a folder as diffusers keeps them, or in one file; and how
a part in a folder is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from spf.errors import BadInput, UnsafeFile
from spf.files import read_json

UNET, VAE, TEXT_ENCODER, TOKENIZER, SCHEDULER = (
    "unet",
    "vae",
    "text_encoder",
    "tokenizer",
    "scheduler",
)
WEIGHTS = {UNET: "diffusion_pytorch_model", VAE: "diffusion_pytorch_model", TEXT_ENCODER: "model"}
VARIANTS = ("", ".fp16", ".bf16")
"""Kinds of weight files, in the order in which they are taken; hub downloads take the smaller one
first.
"""


@dataclass(frozen=True)
class Source:
    """Where the parts of a base lie. file: a single checkpoint, whose `folder` holds
    configurations, if any.
    """

    name: str
    folder: Path
    file: Path | None = None
    licence: str = ""

    def weights(self, part: str) -> tuple[str, list[Path]]:
        """(variant, files) of a part in the folder. Raises UnsafeFile or BadInput when there are
        none that can be read.
        """
        folder, stem = self.folder / part, WEIGHTS[part]
        for variant in VARIANTS:
            one = folder / f"{stem}{variant}.safetensors"
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if one.is_file():
                return variant, [one]
            if index.is_file():
                return variant, [folder / name for name in _shards(index)]
        if any(folder.glob("*.bin")) or any(folder.glob("*.ckpt")):
            raise BadInput(
                f"model {self.name} has its {part} as a .bin file, which may hold code;"
                " save it as .safetensors."
            )
        ends = " or ".join(f"{variant}.safetensors" for variant in VARIANTS)
        raise self.damaged(part, f"{stem}{ends} is not in it")

    def damaged(self, part: str, why: str = "") -> UnsafeFile:
        """What is said where a part is not there or cannot be read."""
        return UnsafeFile(
            f"model {self.name} has a missing or damaged {part} folder{why and ': '}"
            f"{why.removesuffix('.')}; restore it or download it again."
        )


def _shards(index: Path) -> list[str]:
    """The files that an index names. Raises UnsafeFile."""
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        if all(Path(name).name == name for name in names):
            return names
    except (KeyError, TypeError, AttributeError) as error:
        raise UnsafeFile(f"{index} is no index of weights; download the model again.") from error
    raise UnsafeFile(f"{index} names files outside its folder; download the model again.")


def read_part(kind: type, folder: Path, name: str, **options):
    """One part of a model from a local folder, from safetensors only."""
    if "dtype" in options:
        options["use_safetensors"] = True  # without it diffusers falls back to pickles
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UnsafeFile(
            f"model {name} has a missing or damaged {folder.name} folder; restore it or download "
            "it again."
        ) from error
