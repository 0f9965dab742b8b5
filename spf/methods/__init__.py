"""Fine-tuning methods: one file each, one interface, and what they share.

A method says which weights train and what the loss of one batch is; `spf.finetune` brings the data, the loop and the
saved adapter. Adding a method means one new file and one line in `METHODS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from spf.config import Config, check_choice, choice, real, whole
from spf.errors import BadInput
from spf.losses import diffusion, min_snr
from spf.models import Base
from spf.paths import TunablePaths

METHODS = {"naive": "Naive", "spf": "Spf"}
PHRASE, PAD, TARGET = "phrase ", "pad", "target"
"""Names of token groups in rows: "phrase 0", "phrase 1" ... of the base text, PAD, and the target."""

Terms = dict[str, Tensor | float]
Columns = Sequence[Mapping[str, Sequence[int]]]


@dataclass(frozen=True)
class MethodConfig(Config):
    """Settings that every trained method has; a method adds its own in a subclass."""

    learning_rate: float = real(1e-4, 1e-8, 1.0, "peak learning rate")
    batch: int = whole(8, 1, 4096, "pictures in a step")
    average: float = real(0.0, 0.0, 0.9999, "decay of the moving average of the weights; 0 is none")
    text: str = choice("caption", ("caption", "full"), "texts of the set as they are, or naming every attribute")
    snr: float = real(5.0, 0.01, 1e9, "gamma of the min-SNR weights on the noise prediction; a huge one is none")
    lean: float = real(1.0, 0.1, 10.0, "timesteps are T * u^(1/lean): above 1 leans to high noise")


@dataclass
class Rows:
    """Pictures with both texts, encoded: what a step is made of.

    latents [B,C,h,w]; base, complete [B,77,D] text states; base_columns, complete_columns: token columns of
    "phrase 0" ... (the same phrases in both), "pad", and "target" in the complete text; distances [B,P] of each phrase
    to the target, 0 where a row has fewer; image, target [B,E] CLIP embeddings of the picture and of the target text
    (None for a base without CLIP); control [B,h,w] a control map of the picture, if one was made beforehand.
    """

    latents: Tensor
    base: Tensor
    complete: Tensor
    base_columns: Columns
    complete_columns: Columns
    distances: Tensor
    image: Tensor | None = None
    target: Tensor | None = None
    control: Tensor | None = None

    def __len__(self) -> int:
        return len(self.latents)

    def take(self, picks: Sequence[int]) -> Rows:
        """The rows of the given numbers, in that order."""
        return Rows(*(_take(getattr(self, one.name), picks) for one in fields(self)))

    def join(self, other: Rows) -> Rows:
        """These rows, then the other's; embeddings and control maps only if both have them."""
        pairs = [(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)]
        return Rows(*(_join(a, b) for a, b in pairs))

    def to(self, device: torch.device, dtype: torch.dtype) -> Rows:
        values = (getattr(self, one.name) for one in fields(self))
        return Rows(*(v.to(device, dtype) if isinstance(v, Tensor) else v for v in values))


def _take(value, picks):
    if isinstance(value, Tensor):
        return value[torch.as_tensor(np.asarray(picks, dtype=np.int64), device=value.device)]
    return None if value is None else [value[i] for i in picks]


def _join(a, b):
    if a is None or b is None:
        return None
    if not isinstance(a, Tensor):
        return [*a, *b]
    if a.ndim == 2 and a.shape[1] != b.shape[1]:  # distances: rows with fewer phrases are filled with 0
        width = max(a.shape[1], b.shape[1])
        a, b = (torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (a, b))
    return torch.cat((a, b))


@dataclass
class Context:
    """What a method may use in a step: the base, its two paths, where the run stands, and all its randomness.

    empty [1,77,D]: text states of the empty text, which guidance compares with. `own(rng, n)` gives rows of the original model's own portraits, drawn from base texts alone.
    """

    base: Base
    paths: TunablePaths
    step: int
    steps: int
    rng: np.random.Generator
    empty: Tensor
    own: Callable[[np.random.Generator, int], Rows] | None = None

    @property
    def train_steps(self) -> int:
        return self.base.scheduler.config.num_train_timesteps

    def normal(self, like: Tensor) -> Tensor:
        """Standard noise in the shape of `like`, from the CPU generator of the step."""
        return torch.from_numpy(self.rng.standard_normal(like.shape, np.float32)).to(like)

    def timesteps(self, n: int, lean: float = 1.0, low: float = 0.0, high: float = 1.0) -> Tensor:
        """`n` timesteps, int64, in the part [low, high) of the range; leaning to high noise for lean > 1."""
        share = low + (high - low) * self.rng.random(n) ** (1 / lean)
        chosen = np.minimum(share * self.train_steps, self.train_steps - 1).astype(np.int64)
        return torch.from_numpy(chosen).to(self.empty.device)

    def signal(self, timesteps: Tensor) -> Tensor:
        """alpha-bar [B] of the timesteps: the share of signal in the variance."""
        return self.base.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]

    def predict(self, latents: Tensor, timesteps: Tensor, states: Tensor) -> Tensor:
        """The noise [B,C,h,w] that the UNet, with the weights that are active now, sees in the latents."""
        return self.base.unet(latents, timesteps, states).sample


class Method(Protocol):
    """A way to fine-tune. `loss` is a pure function of the weights, the rows and the context."""

    name: ClassVar[str]
    config: MethodConfig
    wants_own: bool
    wants_clip: bool

    def parameter_names(self, unet) -> list[str]:
        """Names of the UNet parameters that train."""

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        """(scalar loss, its terms for the log) of one step."""

    def wants_control(self, step: int, steps: int) -> bool:
        """Whether rows need their control map from this step on."""

    def control(self, rows: Rows, ctx: Context) -> Tensor:
        """Control maps [B,h,w] of the rows, with the weights as they are now."""


def noisy(latents: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """Forward diffusion x_t = sqrt(a) x_0 + sqrt(1 - a) noise (Ho et al. 2020, Eq. 4); signal is alpha-bar [B]."""
    signal = signal.view(-1, 1, 1, 1).to(latents)
    return signal.sqrt() * latents + (1 - signal).sqrt() * noise


def denoising(batch: Rows, ctx: Context, config: MethodConfig) -> tuple[Tensor, Terms]:
    """Plain fine-tuning: the diffusion loss on the complete text, with min-SNR weights."""
    noise, timesteps = ctx.normal(batch.latents), ctx.timesteps(len(batch), config.lean)
    signal = ctx.signal(timesteps)
    eps = ctx.predict(noisy(batch.latents, noise, signal), timesteps, batch.complete)
    value = diffusion(eps, noise, min_snr(signal, config.snr))
    return value, {"diffusion": value}


def adapter_name(target: str, method: str) -> str:
    """Name of an adapter in checkpoints/adapters: the target alone for spf, target-method for the others."""
    return target if method == "spf" else f"{target}-{method}"


def fingerprint(unet: torch.nn.Module) -> str:
    """Tells one network from another: a hash of the first values of every parameter."""
    parts = (p.detach().flatten()[:16].float().cpu().numpy().tobytes() for p in unet.parameters())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def build(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The method of that name with the given settings. Raises BadInput for unknown names, settings or values."""
    kind = _kind(name)
    return kind(kind.Config.from_dict(settings or {}))


def config_of(name: str) -> type[MethodConfig]:
    """The settings class of a method."""
    return _kind(name).Config


def _kind(name: str):
    check_choice("method", name, tuple(METHODS))
    return getattr(import_module(f"spf.methods.{name}"), METHODS[name])


def parse_settings(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Settings of a method from "key=value" texts, each value read as the kind of its default."""
    kind = config_of(name)
    defaults = kind().to_dict()
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in defaults:
            raise BadInput(f"set is {pair!r} but must be KEY=VALUE with a key among {', '.join(defaults)}.")
        found[key] = _read(key, value, defaults[key])
    return kind.from_dict(found).to_dict() and found


def _read(key: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(default, (int, float)):
        try:
            return float(value)
        except ValueError:
            raise BadInput(f"set {key} is {value!r} but must be a number.") from None
    return value
