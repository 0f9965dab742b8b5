"""Fine-tuning methods: one file each, one interface, and what they share.

A method says which weights train and what the loss of one batch is; `spf.finetune` brings the data,
the loop and the saved adapter. Adding a method is adding a file here; a set of settings with a name
of its own is a line of ABLATIONS in the file of its method. What the page has to know before torch
is there stands in the file as plain values (`spf.registry`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from spf.config import PUSH, Config, check_choice, choice, real, whole
from spf.control import settings_of
from spf.diffusion import Diffusion
from spf.errors import BadInput
from spf.losses import prediction_error
from spf.models import Base
from spf.paths import Adapter, TunablePaths
from spf.registry import ABLATIONS, METHODS
from spf.registry import TRAINED as NAMES
from spf.sfcm import SfcmConfig

TEXTS = ("caption", "seen", "full")
PHRASE, PAD, TARGET = "phrase ", "pad", "target"
"""Names of token groups in rows: "phrase 0", "phrase 1" ... of the base text, PAD, and the target.
"""

Terms = dict[str, Tensor | float]
Columns = Sequence[Mapping[str, Sequence[int]]]


@dataclass(frozen=True)
class MethodConfig(Config):
    """Settings that every trained method has; a method adds its own in a subclass."""

    learning_rate: float = real(1e-4, 1e-8, 1.0, "peak learning rate")
    batch: int = whole(8, 1, 4096, "pictures in a step")
    average: float = real(0.0, 0.0, 0.9999, "decay of the moving average of the weights; 0 is none")
    text: str = choice(
        "caption",
        TEXTS,
        "texts of the set as they are, with what CLIP sees besides, or naming every attribute",
    )
    snr: float = real(
        5.0,
        0.0,
        1e9,
        "gamma of the min-SNR weights; a huge one is the plain error of the noise, 0 that of what"
        " the network predicts",
    )
    lean: float = real(1.0, 0.1, 10.0, "timesteps are T * u^(1/lean): above 1 leans to high noise")
    push: float = real(
        0.0,
        *PUSH,
        "noted for held drawings: how many times the guidance goes to the target; 0: as usual",
    )


class Word(NamedTuple):
    """A noun of the complete text, the phrase around it, as token columns, and mask bool [h,w],
    where its object is.
    """

    noun: tuple[int, ...]
    phrase: tuple[int, ...]
    mask: Tensor


@dataclass
class Rows:
    """Pictures with both texts, encoded: what a step is made of.

    latents [B,C,h,w]; base, complete [B,77,D] text states; base_columns, complete_columns: token
    columns of "phrase 0" ... (the same phrases in both), "pad", and "target" in the complete text;
    distances [B,P] of each phrase to the target, 0 where a row has fewer; image, target [B,E] CLIP
    embeddings of the picture and of the target text (None for a base without CLIP); control [B,h,w]
    a control map of the picture, if one was made beforehand; words: for each row the words of the
    complete text whose place in the picture is known, if a method wants them.
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
    words: Sequence[Sequence[Word]] | None = None

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
    if (
        a.ndim == 2 and a.shape[1] != b.shape[1]
    ):  # distances: rows with fewer phrases are filled with 0
        width = max(a.shape[1], b.shape[1])
        a, b = (torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (a, b))
    return torch.cat((a, b))


@dataclass
class Context:
    """What a method may use in a step: the base, its two paths, where the run stands, and all its
    randomness.

    empty [1,77,D]: text states of the empty text, which guidance compares with; target [1,77,D]: of
    the target's text alone. `own(rng, n)` gives rows of the original model's own portraits, drawn
    from base texts alone. memory: tensors that a method keeps from step to step; a resumed run gets
    them back.
    """

    base: Base
    paths: Paths
    step: int
    steps: int
    rng: np.random.Generator
    empty: Tensor
    own: Callable[[np.random.Generator, int], Rows] | None = None
    target: Tensor | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)

    @property
    def train_steps(self) -> int:
        return self.diffusion.steps

    @property
    def diffusion(self) -> Diffusion:
        """The noise schedule of the base, and what its UNet predicts."""
        return self.base.diffusion

    def normal(self, like: Tensor) -> Tensor:
        """Standard noise in the shape of `like`, from the CPU generator of the step."""
        return torch.from_numpy(self.rng.standard_normal(like.shape, np.float32)).to(like)

    def times(self, n: int, lean: float = 1.0, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """`n` timesteps, int64, in the part [low, high) of the range; leaning to high noise for
        lean > 1.
        """
        share = low + (high - low) * self.rng.random(n) ** (1 / lean)
        return np.minimum(share * self.train_steps, self.train_steps - 1).astype(np.int64)

    def timesteps(self, n: int, lean: float = 1.0, low: float = 0.0, high: float = 1.0) -> Tensor:
        """The same where the model is."""
        return torch.from_numpy(self.times(n, lean, low, high)).to(self.empty.device)

    def predict(self, latents: Tensor, timesteps: Tensor, states: Tensor) -> Tensor:
        """What the UNet predicts [B,C,h,w] with the weights that are active now, see
        `Base.predict`.
        """
        return self.base.predict(latents, timesteps, states)


class Paths(Protocol):
    """What trains, and the way back to the original weights: `paths.TunablePaths` or
    `injected.LoraPaths`.
    """

    parameters: Mapping[str, torch.nn.Parameter]

    def reference(self) -> AbstractContextManager:
        """Original weights and no gradient inside the block."""

    def restore(self) -> None:
        """Gives the trained parameters the values that they started with."""

    def adapter(self, metadata: Mapping[str, str]) -> Adapter:
        """What was learnt so far."""


class Method:
    """A way to fine-tune: what trains, and the loss of a step. Everything but the loss has a usual
    form.

    wants_own: rows of the original model's own portraits; wants_clip: embeddings; wants_words:
    words with their places.
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    wants_own: bool = False
    wants_clip: bool = False
    wants_words: bool = False

    def __init__(self, config: MethodConfig) -> None:
        self.config = config

    def check(self, base: Base, steps: int) -> None:
        """Raises BadInput when a run of so many steps cannot be made with this base."""
        if self.config.text == "seen" and self.wants_words:
            raise BadInput(
                f"text is 'seen' but must be caption or full for {self.name}, which must know "
                "where each word shows."
            )
        if (self.wants_clip or self.config.text == "seen") and base.clip is None:
            raise BadInput(
                f"model {base.name} has no clip folder beside it, so set enhanced to 0 and text to "
                f"caption for method {self.name}."
            )

    def parameter_names(self, unet) -> list[str]:
        """Names of the UNet parameters that train in place."""
        raise NotImplementedError

    def paths(
        self, unet, steps: int, seed: int = 0, start: Adapter | None = None
    ) -> AbstractContextManager[Paths]:
        """Opens the two paths for a run of so many steps. start: an adapter to begin with, which
        the result contains.
        """
        return in_place(unet, self.parameter_names(unet), start)

    def loss(self, batch: Rows, ctx: Context) -> tuple[Tensor, Terms]:
        """(scalar loss, its terms for the log) of one step; a pure function of the weights, the
        rows and the context.
        """
        raise NotImplementedError

    def after_step(self, ctx: Context) -> Terms:
        """What a step still does once the optimiser is through, gradients being there; terms that
        the log shows as they are.
        """
        return {}

    @property
    def map_settings(self) -> SfcmConfig | None:
        """Settings of the control maps that a run makes; None for a method without them."""
        return settings_of([{"settings": json.dumps(self.config.to_dict())}])

    def later_stage(self, steps: int) -> tuple[int, float]:
        """Steps before a stage whose steps take longer, and about how many times as long."""
        return steps, 1.0

    def wants_control(self, step: int, steps: int) -> bool:
        """Whether rows need their control map from this step on."""
        return False

    def control(self, rows: Rows, ctx: Context) -> Tensor:
        """Control maps [B,h,w] of the rows, with the weights as they are now."""
        raise NotImplementedError


@contextmanager
def in_place(unet, names: Sequence[str], start: Adapter | None = None) -> Iterator[TunablePaths]:
    """The named parameters train; what else `start` tunes is on in the response path, but trained
    no further.
    """
    with TunablePaths(unet, dict.fromkeys([*names, *(start.names() if start else ())])) as paths:
        if start:
            paths.load(start)
            for name in set(paths.names) - set(names):
                paths.parameters[name].requires_grad_(False)
        yield paths


def denoising(batch: Rows, ctx: Context, config: MethodConfig) -> tuple[Tensor, Terms]:
    """Plain fine-tuning: the diffusion loss on the complete text, with min-SNR weights.

    The error is that of the network's own prediction. With these weights it is the same loss for
    every parametrisation.
    """
    noise, timesteps = ctx.normal(batch.latents), ctx.timesteps(len(batch), config.lean)
    latents = ctx.diffusion.noised(batch.latents, noise, timesteps)

    predicted = ctx.predict(latents, timesteps, batch.complete)
    ideal = ctx.diffusion.ideal(batch.latents, noise, timesteps)
    value = prediction_error(predicted, ideal, ctx.diffusion.weights(timesteps, config.snr))
    return value, {"diffusion": value}


def fingerprint(*networks: torch.nn.Module) -> str:
    """Tells networks from others: a hash of the first values of every parameter."""
    parts = (
        p.detach().flatten()[:16].float().cpu().numpy().tobytes()
        for network in networks
        for p in network.parameters()
    )
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def build(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The method or ablation of that name with the given settings. Raises BadInput for unknown
    names, settings or values.
    """
    kind, preset = _kind(name)
    return kind(kind.Config.from_dict({**preset, **(settings or {})}))


def config_of(name: str) -> type[MethodConfig]:
    """The settings class of a method or ablation."""
    return _kind(name)[0].Config


def _kind(name: str) -> tuple[type[Method], dict[str, Any]]:
    check_choice("method", name, NAMES)
    method, preset = ABLATIONS.get(name, (name, {}))
    return METHODS.kind(method, Method), preset


def parse_settings(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Settings of a method from "key=value" texts, each value read as the kind of its default."""
    kind = config_of(name)
    defaults = kind().to_dict()
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in defaults:
            raise BadInput(
                f"set is {pair!r} but must be KEY=VALUE with a key among {', '.join(defaults)}."
            )
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
