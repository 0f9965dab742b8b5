"""Differences as low-rank pairs, and what that leaves out.

The nearest matrix of rank r is the truncated singular value decomposition (Eckart and Young 1936);
of large matrices it is found by randomised subspace iteration (Halko et al., arXiv 0909.4061). The
error that is stated is always measured on the pair as it is stored, never estimated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spf.paths import DOWN, UP, Adapter

OVERSAMPLING, ITERATIONS = 16, 6
WIDEST = 4
"""Times the rank that is asked for, which one matrix may take of the room of the others."""


@dataclass(frozen=True)
class Loss:
    """How much of an adapter a form leaves out: each the share |left out| / |whole adapter| in the
    Frobenius norm.

    error: of everything; matrices and vectors: its two parts, of which the squares add up. Vectors
    are biases and normalisation weights, which no low-rank pair can hold. worst: the matrix that
    fares worst, with its own error.
    """

    error: float = 0.0
    matrices: float = 0.0
    vectors: float = 0.0
    worst: tuple[str, float] = ("", 0.0)


def components(matrix: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """(u [rows,r], s [r], vh [r,columns]): its largest singular values, at most so many, with their
    vectors.
    """
    most = min(most, *matrix.shape)
    if min(matrix.shape) <= 4 * (most + OVERSAMPLING):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            u, s, v = torch.svd_lowrank(matrix, most + OVERSAMPLING, ITERATIONS)
        vh = v.mT
    return u[:, :most], s[:most], vh[:most]


def factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(up [rows,r], down [r,columns]) of the nearest matrix of that rank, the singular values
    shared between both.
    """
    u, s, vh = components(matrix, rank)
    half = s.sqrt()
    return u * half, half[:, None] * vh


def pair_factors(up: Tensor, down: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The same of the product of a pair [rows,R], [R,columns], which is never made."""
    left, small = torch.linalg.qr(up)
    right, other = torch.linalg.qr(down.mT)
    up, down = factors(small @ other.mT, rank)
    return left @ up, down @ right.mT


def low_rank(adapter: Adapter, rank: int) -> Adapter:
    """The adapter with its whole matrices as pairs that together take no more room than pairs of
    this rank in half precision would; pairs, vectors and matrices that are smaller stay.

    The `down` of a pair is of 8 bits, and the rank of a matrix, up to WIDEST times the given one,
    goes where it explains most for its size (our choice).
    """
    tensors, found, room = {}, {}, 0
    for name, value in adapter.tensors.items():
        rows, columns = value.shape[0], value[0].numel()  # a vector has one, and stays
        if rank * (rows + columns) >= rows * columns or name.endswith((DOWN, UP)):
            tensors[name] = value
            continue
        found[name] = components(value.float().reshape(rows, columns), WIDEST * rank)
        room += 2 * rank * (rows + columns)

    for name, count in ranks(found, room).items():
        u, s, vh = found[name]
        tensors[name + UP], tensors[name + DOWN] = eight_bits((u * s)[:, :count], vh[:count])
    return Adapter(adapter.metadata, tensors)


def ranks(found: Mapping[str, tuple[Tensor, Tensor, Tensor]], room: int) -> dict[str, int]:
    """How many components each matrix keeps in so many bytes: those first that explain most for
    their size; what keeps none is left out.
    """
    worth = []
    for name, (u, s, vh) in found.items():
        size = 2 * len(u) + vh.shape[1]
        worth += [(value**2 / size, size, name) for value in s.tolist()]
    kept: Counter[str] = Counter()
    for _, size, name in sorted(worth, reverse=True):
        if size <= room:
            kept[name] += 1
            room -= size
    return dict(kept)


def eight_bits(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """The same pair with `down` in 8-bit floats, which keep most of rows that reach to 1; `up`
    bears the scale.
    """
    scale = down.abs().amax(1)
    return up * scale, (down / scale[:, None]).to(torch.float8_e4m3fn)


@torch.no_grad()
def as_pairs(
    adapter: Adapter,
    rank: int,
    dtype: torch.dtype = torch.float16,
    show: Callable[[int, int], None] | None = None,
) -> tuple[Adapter, Loss]:
    """(pairs of at most this rank alone, what they leave out). Pairs of no higher rank stay as they
    are.

    dtype: of the stored pairs; rounding to it is part of the error. show: called with (done,
    total).
    """
    tensors: dict[str, Tensor] = {}
    names, whole, lost, lost_vectors, worst = adapter.names(), 0.0, 0.0, 0.0, ("", 0.0)
    for done, name in enumerate(names):
        if name in adapter.tensors and adapter.tensors[name].ndim < 2:
            size = _square(adapter.tensors[name].float())
            whole, lost_vectors = whole + size, lost_vectors + size
        else:
            up, down, exact = _pair(adapter, name, rank)
            up, down = up.to(dtype), down.to(dtype)
            tensors[name + UP], tensors[name + DOWN] = up, down
            size, gone = _square(exact), _square(exact - up.float() @ down.float())
            whole, lost = whole + size, lost + gone
            share = (gone / size) ** 0.5 if size else 0.0
            worst = max(worst, (name, share), key=lambda one: one[1])
        if show:
            show(done + 1, len(names))
    if not whole:
        return Adapter(adapter.metadata, tensors), Loss()
    shares = [(part / whole) ** 0.5 for part in (lost + lost_vectors, lost, lost_vectors)]
    return Adapter(adapter.metadata, tensors), Loss(*shares, worst)


def _pair(adapter: Adapter, name: str, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """(up, down, the exact difference as a matrix), fp32."""
    if name in adapter.tensors:
        exact = adapter.tensors[name].float().flatten(1)
        return *factors(exact, rank), exact
    up, down = adapter.tensors[name + UP].float(), adapter.tensors[name + DOWN].float()
    exact = up @ down
    return *((up, down) if len(down) <= rank else pair_factors(up, down, rank)), exact


def _square(value: Tensor) -> float:
    return value.double().square().sum().item()
