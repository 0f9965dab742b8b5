"""Sizes of the embedded model: `small` is trained on a laptop's processor, `small-gpu` is the same
in the large batches of a data-centre GPU, `large` needs one.

Only the trainers read these; everything that uses a trained model reads sizes from its folder.
"""

import dataclasses

from spf.errors import BadInput


@dataclasses.dataclass(frozen=True)
class VaeSizes:
    channels: tuple[int, ...] = (24, 32, 64, 96)
    latent_channels: int = 12
    norm_groups: int = 4
    batch: int = 4
    crop: int = 64
    lr: float = 2e-3
    kl: float = 1e-5
    edges: tuple[float, float] = (0.7, 0.5)


@dataclasses.dataclass(frozen=True)
class ClipSizes:
    text_hidden: int = 160
    text_layers: int = 4
    text_heads: int = 4
    image_channels: tuple[int, ...] = (32, 64, 128, 192)
    image_depths: tuple[int, ...] = (1, 1, 3, 1)
    joint: int = 128
    text_batch: int = 32
    image_batch: int = 64
    lr: float = 1e-3


@dataclasses.dataclass(frozen=True)
class JudgeSizes:
    channels: tuple[int, ...] = (24, 48, 96, 144, 192)
    batch: int = 32
    lr: float = 2e-3


@dataclasses.dataclass(frozen=True)
class FormSizes:
    channels: tuple[int, ...] = (24, 48, 96, 128)
    batch: int = 32
    lr: float = 2e-3


@dataclasses.dataclass(frozen=True)
class UnetSizes:
    channels: tuple[int, ...] = (64, 96, 160)
    heads: int = 4
    layers: int = 1
    norm_groups: int = 32
    batch: int = 16
    lr: float = 6e-4
    crossing: float = 2.0
    """Factor on the learning rate of the cross-attention layers."""
    layout: float = 0.05
    """Weight of the cross-entropy of where a portrait's regions lie; 0 trains without it."""
    fall: float = 0.15
    """Share of the run over whose end the learning rate falls to 0."""
    mean: float = 0.0
    """Share that the weights which a run began with have in those it saves: the mean of both errs
    less than either (Wortsman et al. 2022, arXiv 2203.05482)."""
    portraits: int = 20_000


@dataclasses.dataclass(frozen=True)
class Preset:
    """
    machine  what it is made for, as the help of the command says it
    """

    image_size: int = 128
    machine: str = "a processor"
    portraits: int = 12_000
    minutes: dict[str, float] = dataclasses.field(
        default_factory=lambda: {
            "vae": 90.0,
            "clip": 20.0,
            "judges": 15.0,
            "form": 10.0,
            "unet": 600.0,
        }
    )
    vae: VaeSizes = VaeSizes()
    clip: ClipSizes = ClipSizes()
    judges: JudgeSizes = JudgeSizes()
    form: FormSizes = FormSizes()
    unet: UnetSizes = UnetSizes()


SMALL = Preset()

PRESETS = {
    "small": SMALL,
    "small-longer": dataclasses.replace(
        SMALL,
        machine="a processor that goes on with a trained denoiser",
        minutes=SMALL.minutes | {"unet": 40.0},
        unet=dataclasses.replace(SMALL.unet, lr=2.5e-4, fall=0.5, mean=0.5, portraits=12_000),
    ),
    "small-gpu": dataclasses.replace(
        SMALL,
        machine="a GPU",
        minutes={"vae": 2.0, "clip": 1.5, "judges": 1.5, "form": 1.0, "unet": 8.0},
        vae=dataclasses.replace(SMALL.vae, batch=128),
        unet=dataclasses.replace(SMALL.unet, batch=512, lr=1.4e-3, fall=0.6, portraits=112_000),
    ),
    "large": Preset(
        image_size=256,
        machine="a GPU",
        portraits=40_000,
        minutes={"vae": 10.0, "clip": 6.0, "judges": 6.0, "form": 4.0, "unet": 30.0},
        vae=VaeSizes(channels=(64, 128, 192, 256), norm_groups=32, batch=64, crop=128, lr=6e-4),
        clip=ClipSizes(
            text_hidden=256, text_layers=6, image_channels=(64, 128, 192, 256), image_batch=256
        ),
        judges=JudgeSizes(channels=(32, 64, 128, 192, 256), batch=128),
        unet=UnetSizes(
            channels=(128, 256, 384), heads=8, layers=2, batch=128, lr=3e-4, portraits=60_000
        ),
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name; BadInput for any other name."""
    if name not in PRESETS:
        raise BadInput(f"preset must be one of {', '.join(PRESETS)}, not {name!r}.")
    return PRESETS[name]


def told() -> str:
    """All presets in one line, each with its pixels and its machine."""
    return ", ".join(
        f"{name} ({found.image_size} pixels, {found.machine})" for name, found in PRESETS.items()
    )
