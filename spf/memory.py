"""How much memory a run takes, counted before any weight is there: the real step of a method is
gone through with tensors that have shapes and no bytes, and every tensor that lives is added up.

The same count over real tensors on a processor is the measurement that this is checked against.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spf.attention import checkpointed, record
from spf.devices import numbers
from spf.geometry import large_clip, new_geometry
from spf.methods import PAD, PHRASE, TARGET, Context, Method, Rows, build
from spf.models import Base
from spf.sampling import LARGEST_MAP

WINDOW, PHRASES = 77, 5
ROWS = {"pair": 2, "held": 5}
"""UNet rows of the largest call of a drawing: guidance alone, and with a told text beside it."""


class Living(TorchDispatchMode):
    """Inside the block, `now` is the bytes of all tensors made in it that are still there, and
    `peak` the most there have been at once. Views count once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self.add(value)
        return found

    def add(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return
        self.now += size
        self.peak = max(self.peak, self.now)
        self._known[place] = weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self.now -= size
        del self._known[place]


def size(*networks: torch.nn.Module | None) -> int:
    """Bytes of the parameters and buffers of networks."""
    return sum(
        value.untyped_storage().nbytes()
        for network in networks
        if network is not None
        for value in [*network.parameters(), *network.buffers()]
    )


def imagined(dtype: torch.dtype, clip: bool = True) -> Base:
    """SD 1.5 with CLIP ViT-L/14; call it inside a FakeTensorMode, which makes tensors without
    bytes.
    """
    with numbers(dtype):
        base = new_geometry("sd15")
        base.clip = large_clip() if clip else None
    base.clip_pixels = (torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
    return base


def training(
    base: Base, method: Method, *, checkpointing: bool, eight_bit: bool, half: bool
) -> dict[str, int]:
    """Bytes by part of a fine-tuning run, with the step that takes the most.

    weights: the base with CLIP, once; of what trains: masters (fp32 copies beside the originals),
    the moving average, gradients, and the optimiser's memory; step: all that a step makes besides.
    """
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=half)
    with (
        method.paths(base.unet, 1) as paths,
        checkpointed(base.unet, base.vae) if checkpointing else nullcontext(),
    ):
        trained = sum(value.numel() for value in paths.parameters.values())
        context = Context(base, paths, 0, 1, np.random.default_rng(0), _states(base, 1))
        context.own = lambda rng, count: rows_like(base, count)
        batch = rows_like(base, method.config.batch)
        with Living() as living:
            with autocast:
                value, _ = method.loss(batch, context)
            value.backward()
            del value
        for parameter in paths.parameters.values():
            parameter.grad = None
    return {
        "weights": size(base.unet, base.vae, base.text_encoder, base.clip),
        "masters": 4 * trained,
        "average": 4 * trained if method.config.average else 0,
        "gradients": 4 * trained,
        "optimiser": (2 if eight_bit else 8) * trained,
        "step": living.peak - 4 * trained,
    }


def drawing(base: Base, kind: str = "held") -> dict[str, int]:
    """Bytes by part of a drawing with maps: the largest call of the UNet, then the picture."""
    weights = size(base.unet, base.vae, base.text_encoder, base.clip)
    groups = {f"{PHRASE}{k}": [k + 1] for k in range(PHRASES)}
    latents = _latents(base, ROWS[kind])
    with torch.no_grad(), Living() as living:
        with record(base.unet, groups, rows=slice(-1, None), largest=LARGEST_MAP):
            base.predict(latents, torch.tensor(1), _states(base, ROWS[kind]))
        base.decode(latents[:1])
    return {"weights": weights, "step": living.peak}


def counted(
    method: str,
    settings: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.bfloat16,
    checkpointing: bool = False,
    eight_bit: bool = False,
) -> dict[str, int]:
    """`training` of a method at SD 1.5 and 512 pixels, without any weights."""
    made = build(method, worst(method, settings))
    with FakeTensorMode(allow_non_fake_inputs=True):
        base = imagined(dtype)
        half = dtype != torch.float32
        return training(base, made, checkpointing=checkpointing, eight_bit=eight_bit, half=half)


def counted_drawing(kind: str = "held", dtype: torch.dtype = torch.bfloat16) -> dict[str, int]:
    """`drawing` at SD 1.5 and 512 pixels, without any weights."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        return drawing(imagined(dtype), kind)


def worst(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under which the first step is the one that takes the most."""
    known = build(method).config.to_dict()
    most = {"plain": 0.0, "enhanced_high": 1.0, "enhanced_every": 1}
    return {**{name: value for name, value in most.items() if name in known}, **settings}


def _latents(base: Base, count: int) -> Tensor:
    shape = count, base.latent_channels, base.latent_size, base.latent_size
    return torch.zeros(shape, device=base.device)


def _states(base: Base, count: int) -> Tensor:
    shape = count, WINDOW, base.unet.config.cross_attention_dim
    return torch.zeros(shape, dtype=base.dtype, device=base.device)


def rows_like(base: Base, count: int) -> Rows:
    """Rows of nothing, where the base is, with control maps and a few phrases."""
    latents, states = _latents(base, count), _states(base, count)
    before = {f"{PHRASE}{k}": [k + 1] for k in range(PHRASES)} | {PAD: [70, 71]}
    seen = (
        latents.new_zeros(count, base.clip.config.projection_dim) if base.clip is not None else None
    )
    return Rows(
        latents,
        states,
        states,
        [before] * count,
        [before | {TARGET: [8]}] * count,
        latents.new_zeros(count, PHRASES),
        image=seen,
        target=seen,
        control=latents[:, 0],
    )
