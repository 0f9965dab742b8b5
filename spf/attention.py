"""Reads cross-attention, phrase by phrase, without touching the picture.

The prediction always comes from the model's own fused attention. Hooks on the query and key
projections compute the probabilities beside it, sum the wanted token columns and average the heads
at once; the full 77 columns are never kept. The output is therefore bit-identical with and without
recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .errors import BadInput
from .relied import gone, require, require_fields
from .sfcm import resized

Groups = Mapping[str, Sequence[int]]
KEEP = ("maps", "queries", "maps+queries")
POOL = ("sum", "mean")


@dataclass
class Record:
    """What the last forward pass inside `record` showed, layer by layer, in the order of the
    network.

    maps[layer][group]: [B,h,w] attention of image positions to the group's tokens, averaged over
    heads, fp32; or [B,heads,h,w] if the heads were asked for. A resolution is the longer side of
    its maps.
    queries[layer]: [B,h*w,C] cross-attention queries. Both carry gradients when the forward pass
    did.
    """

    maps: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    queries: dict[str, Tensor] = field(default_factory=dict)

    def at(self, resolution: int) -> dict[str, Tensor]:
        """Maps averaged over the layers of one resolution: group -> [B,h,w]."""
        layers = [groups for groups in self.maps.values() if max(_sides(groups)) == resolution]
        if not layers:
            return {}
        means = torch.stack([torch.stack(list(groups.values())) for groups in layers]).mean(
            0
        )  # [phrases,B,h,w]
        return dict(zip(layers[0], means, strict=True))

    @property
    def resolutions(self) -> list[int]:
        """Longer sides of the recorded maps, coarse to fine."""
        return sorted({max(_sides(groups)) for groups in self.maps.values()})

    def sides(self, resolution: int) -> tuple[int, int]:
        """Height and width of the maps of a resolution."""
        found = (_sides(groups) for groups in self.maps.values())
        return next(sides for sides in found if max(sides) == resolution)


def _sides(groups: Mapping[str, Tensor]) -> tuple[int, int]:
    """Height and width of a layer's maps."""
    height, width = next(iter(groups.values())).shape[-2:]
    return height, width


@dataclass
class Grid:
    """Height and width of what a UNet is given, from which follow those of its layers."""

    sides: tuple[int, int] = (0, 0)

    def take(self, _module, inputs: tuple, named: Mapping[str, Tensor]) -> None:
        """A hook before each forward pass of the UNet."""
        height, width = (inputs[0] if inputs else named["sample"]).shape[-2:]
        self.sides = height, width

    def of(self, positions: int) -> tuple[int, int]:
        """Those of a layer with so many positions: each level halves them, and rounds up. Raises
        BadInput.
        """
        height, width = self.sides
        while height * width > positions:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != positions:
            raise BadInput(
                f"an attention layer has {positions} positions, which are no level of a picture of"
                f" {self.sides[1]}x{self.sides[0]} latents."
            )
        return height, width


def attention_layers(unet: UNet2DConditionModel) -> dict[str, Attention]:
    """Every attention layer by name: attn1 is self-attention, attn2 looks at the text."""
    found = unet.named_modules()
    return {
        name: module
        for name, module in found
        if name.endswith(("attn1", "attn2")) and isinstance(module, Attention)
    }


def require_layers(unet: UNet2DConditionModel) -> None:
    """Raises ChangedLibrary unless the attention of a UNet can be read as it is read here."""
    require("attention")
    found = cross_attention_layers(unet)
    if not found:
        raise gone("diffusers", "cross-attention in its UNet that is called attn2")
    for layer in found.values():
        require_fields("attention", layer)


def cross_attention_layers(unet: UNet2DConditionModel) -> dict[str, Attention]:
    """The layers in which image positions look at text tokens, by name."""
    return {name: layer for name, layer in attention_layers(unet).items() if name.endswith("attn2")}


@contextmanager
def record(
    unet: UNet2DConditionModel,
    groups: Groups | Sequence[Groups] = (),
    keep: str = "maps",
    *,
    rows: slice = slice(None),
    pool: str = "sum",
    largest: int | None = None,
    heads: bool = False,
) -> Iterator[Record]:
    """Records every forward pass of `unet` inside the block; the record holds the last one. Hooks
    are gone afterwards.

    groups: token columns of each phrase, for all rows or one mapping per row (a phrase missing in a
    row gives zeros).
    keep: maps, queries or maps+queries. rows: which rows of the batch to read, such as the
    conditional half.
    pool: "sum" gives the probability mass of a group, "mean" its mean over tokens. largest: skips
    maps whose shorter side is larger.
    heads: keeps every head's map instead of their mean.
    """
    if keep not in KEEP or pool not in POOL:
        raise BadInput(
            f"keep is {keep!r} and pool {pool!r} but they must be one of {', '.join(KEEP)} and "
            f"{', '.join(POOL)}."
        )
    shown = Record()
    columns = None if keep == "queries" else Columns(groups, pool)
    layers, grid = cross_attention_layers(unet), Grid()

    def probes(kept: Record) -> list[Probe]:
        more = kept, columns, grid, "queries" in keep, rows, largest, heads
        return [Probe(name, layer, *more) for name, layer in layers.items()]

    with _given(unet, grid), _watched(probes(shown)):
        _again.append(lambda: _watched(probes(Record())))
        try:
            yield shown
        finally:
            _again.pop()


@contextmanager
def _given(unet: UNet2DConditionModel, grid: Grid) -> Iterator[None]:
    hook = unet.register_forward_pre_hook(grid.take, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _watched(probes: Sequence[Probe]) -> Iterator[None]:
    with ExitStack() as stack:
        for probe in probes:
            stack.callback(probe.layer.to_q.register_forward_hook(probe.on_query).remove)
            stack.callback(probe.layer.to_k.register_forward_hook(probe.on_key).remove)
        yield


_again: list[Callable[[], AbstractContextManager]] = []
"""For each open recording, what makes the same one again for nobody to see."""


@contextmanager
def checkpointed(*networks: ModelMixin) -> Iterator[None]:
    """Inside the block the networks keep the inputs of their blocks alone for backward, and compute
    the rest once more: about a third more time for a few tenths of the memory. Chen et al. 2016
    (arXiv 1604.06174).

    What was recorded going forward is part of that, so recordings may be closed before backward.
    """
    require("attention")
    for network in networks:
        network.enable_gradient_checkpointing(_checkpoint)
    try:
        yield
    finally:
        for network in networks:
            network.disable_gradient_checkpointing()


def _checkpoint(block: nn.Module, *inputs: Any) -> Any:
    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _repeated(list(_again))

    return checkpoint(
        block, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )


@contextmanager
def _repeated(recordings: Sequence[Callable[[], AbstractContextManager]]) -> Iterator[None]:
    with ExitStack() as stack:
        for again in recordings:
            stack.enter_context(again())
        yield


class Columns:
    """Which token columns belong to which phrase, as a matrix that sums or averages them."""

    def __init__(self, groups: Groups | Sequence[Groups], pool: str) -> None:
        self.rows = [groups] if isinstance(groups, Mapping) else list(groups)
        self.names = list(dict.fromkeys(name for row in self.rows for name in row))
        if not self.names:
            raise BadInput(
                "groups is empty but must name at least one phrase with its token columns."
            )
        self.pool = pool
        self.made: Tensor | None = None

    def matrix(self, tokens: int, device: torch.device) -> Tensor:
        """[1 or B, tokens, phrases], fp32; the same for every layer, so it is made once."""
        if self.made is None or self.made.shape[1] != tokens or self.made.device != device:
            shape = len(self.rows), tokens, len(self.names)
            table = torch.zeros(shape, dtype=torch.float32)
            for index, row in enumerate(self.rows):
                for name, columns in row.items():
                    share = 1 / len(columns) if columns and self.pool == "mean" else 1
                    table[index, list(columns), self.names.index(name)] = share
            self.made = table.to(device)
        return self.made


@dataclass
class Probe:
    """The two hooks of one layer; `to_q` runs before `to_k`, so the query waits for its key."""

    name: str
    layer: Attention
    shown: Record
    columns: Columns | None
    grid: Grid
    queries: bool
    rows: slice
    largest: int | None
    heads: bool = False
    waiting: Tensor | None = None

    def on_query(self, _module, _inputs, query: Tensor) -> None:
        self.waiting = query[self.rows]
        if self.queries:
            self.shown.queries[self.name] = self.waiting

    def on_key(self, _module, _inputs, key: Tensor) -> None:
        query, self.waiting = self.waiting, None
        if self.columns is None:
            return
        sides = self.grid.of(query.shape[1])
        if self.largest and min(sides) > self.largest:
            return
        columns = self.columns.matrix(key.shape[1], key.device)
        maps = phrase_maps(self.layer, query, key[self.rows], columns, self.heads)
        maps = maps.unflatten(-2, sides)  # [...,h*w,P] -> [...,h,w,P]
        self.shown.maps[self.name] = dict(zip(self.columns.names, maps.unbind(-1), strict=True))


def phrase_maps(
    layer: Attention, query: Tensor, key: Tensor, columns: Tensor, heads: bool = False
) -> Tensor:
    """softmax(q k / sqrt(d)) summed over each phrase's columns and averaged over heads, in fp32.

    query [B,N,C], key [B,T,C], columns [1 or B,T,P] -> [B,N,P], or [B,heads,N,P] with all heads.
    """
    with torch.autocast(query.device.type, enabled=False):  # it would round the fp32 products
        attended = probabilities(layer, query, key)
        return attended @ columns[:, None] if heads else attended.mean(1) @ columns


def aggregate(
    shown: Record, size: int | tuple[int, int], resolutions: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """Maps of the given resolutions (all by default), enlarged to `size`, a side or height and
    width, and averaged: group -> [B,h,w].
    """
    chosen = [shown.at(side) for side in resolutions or shown.resolutions]
    if not chosen or not all(chosen):
        raise BadInput(
            f"resolutions is {resolutions} but maps were recorded at {shown.resolutions}."
        )
    return {
        name: torch.stack([resized(groups[name], size) for groups in chosen]).mean(0)
        for name in chosen[0]
    }


def phrase_stack(shown: Record, phrases: Sequence[str], layers: str = "coarse") -> Tensor:
    """Map_p of each phrase for the control map: [B,P,h,w], averaged over layers and resolutions.

    layers: "coarse" takes the two coarsest resolutions, "all" every one, "up" the layers of the
    decoder half. The figures of arXiv 2504.00396 show smooth maps and do not say more.
    """
    if layers == "up":
        shown = Record(
            {name: groups for name, groups in shown.maps.items() if name.startswith("up_blocks")}
        )
    sides = coarse(shown.resolutions) if layers == "coarse" else shown.resolutions
    maps = aggregate(shown, shown.sides(max(sides)) if sides else 0, sides)
    batch = next(iter(maps.values()))
    return (
        torch.stack([maps[phrase] for phrase in phrases], 1)
        if phrases
        else batch.new_zeros(len(batch), 0, *batch.shape[1:])
    )


def coarse(resolutions: Sequence[int]) -> list[int]:
    """The two coarsest resolutions, 8 and 16 for Stable Diffusion at 512 px: smooth as in arXiv
    2504.00396 Fig. 2.
    """
    return sorted(resolutions)[:2]


Heard = dict[str, tuple[Tensor, Tensor]]
"""Queries [B,N,C] and keys [B,T,C] of attention layers in one forward pass."""
Swap = Callable[[str, Tensor, Tensor], "Tensor | None"]
"""swap(layer, own, source): probabilities [B,heads,N,T] to use in place of `own`, or None to leave
the layer alone.
"""


@contextmanager
def hear(
    unet: UNet2DConditionModel, rows: slice = slice(None), largest: int | None = None
) -> Iterator[Heard]:
    """Keeps the queries and keys of every attention layer in the last forward pass inside the
    block.

    rows: which rows of the batch. largest: leaves self-attention of larger sides out. Hooks are
    gone afterwards.
    """
    heard: Heard = {}

    def on_query(name: str, _module, _inputs, query: Tensor) -> None:
        heard[name] = (query[rows], query)

    def on_key(name: str, _module, _inputs, key: Tensor) -> None:
        query = heard[name][0]
        if _fits(name, query.shape[1], largest):
            heard[name] = (query, key[rows])
        else:
            del heard[name]

    with ExitStack() as stack:
        for name, layer in attention_layers(unet).items():
            stack.callback(layer.to_q.register_forward_hook(partial(on_query, name)).remove)
            stack.callback(layer.to_k.register_forward_hook(partial(on_key, name)).remove)
        yield heard


@contextmanager
def swapped(
    unet: UNet2DConditionModel, source: Heard, swap: Swap, rows: slice = slice(None)
) -> Iterator[None]:
    """Inside the block the layers of `source` attend as `swap` says, with the values of their own
    rows.

    (swapped - own) v is added to what the model's own fused attention gives, so equal probabilities
    leave it bit-identical.
    """
    with ExitStack() as stack:
        for name, layer in attention_layers(unet).items():
            if name in source:
                swapper = _Swapper(name, layer, source, swap, rows)
                for part in ("to_q", "to_k", "to_v"):
                    stack.callback(
                        getattr(layer, part)
                        .register_forward_hook(partial(swapper.keep, part))
                        .remove
                    )
                stack.callback(layer.to_out[0].register_forward_pre_hook(swapper.on_out).remove)
        yield


@dataclass
class _Swapper:
    """The hooks of one layer of `swapped`."""

    name: str
    layer: Attention
    source: Heard
    swap: Swap
    rows: slice
    kept: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, part: str, _module, _inputs, value: Tensor) -> None:
        self.kept[part] = value[self.rows]

    def on_out(self, _module, inputs: tuple) -> tuple | None:
        query, key, value = (self.kept.pop(part) for part in ("to_q", "to_k", "to_v"))
        own = probabilities(self.layer, query, key)
        chosen = self.swap(self.name, own, probabilities(self.layer, *self.source[self.name]))
        if chosen is None:
            return None
        values = (
            value.unflatten(-1, (self.layer.heads, -1)).transpose(1, 2).float()
        )  # [B,heads,T,d]
        added = ((chosen - own) @ values).transpose(1, 2).flatten(2)  # [B,N,C]
        given = inputs[0].clone()
        given[self.rows] += added.to(given.dtype)
        return (given, *inputs[1:])


@contextmanager
def unmixed(unet: UNet2DConditionModel, block: str, rows: slice) -> Iterator[None]:
    """Inside the block each place of those rows keeps its own value in the self-attention of the
    layers whose name begins with `block`: the identity in place of the attention map.

    Perturbed self-attention, Ahn et al. 2024 (arXiv 2403.17377, Eq. 15). Hooks are gone afterwards.
    """
    found = attention_layers(unet).items()
    layers = [layer for name, layer in found if name.startswith(block) and name.endswith("attn1")]
    kept: dict[Attention, Tensor] = {}

    def keep(layer: Attention, _module, _inputs, value: Tensor) -> None:
        kept[layer] = value[rows]

    def give(layer: Attention, _module, inputs: tuple) -> tuple:
        given = inputs[0].clone()
        given[rows] = kept.pop(layer).to(given.dtype)
        return (given, *inputs[1:])

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.to_v.register_forward_hook(partial(keep, layer)).remove)
            stack.callback(layer.to_out[0].register_forward_pre_hook(partial(give, layer)).remove)
        yield


def probabilities(layer: Attention, query: Tensor, key: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) [B,heads,N,T] in fp32, of query [B,N,C] and key [B,T,C]."""
    query, key = (
        value.unflatten(-1, (layer.heads, -1)).transpose(1, 2).float() for value in (query, key)
    )
    with torch.autocast(query.device.type, enabled=False):
        return (query * layer.scale @ key.transpose(-1, -2)).softmax(-1)


def _fits(name: str, positions: int, largest: int | None) -> bool:
    return name.endswith("attn2") or largest is None or positions <= largest * largest


@contextmanager
def eager_attention(unet: UNet2DConditionModel, precision: str) -> Iterator[None]:
    """Attention by plain matrix products while a processor trains in bf16: the fused one is slow
    backwards there.
    """
    if precision != "bf16" or next(unet.parameters()).device.type != "cpu":
        yield
        return
    found = unet.attn_processors
    unet.set_attn_processor(AttnProcessor())
    try:
        yield
    finally:
        unet.set_attn_processor(found)
