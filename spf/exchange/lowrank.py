"""Differences as low-rank pairs, and what that leaves out.

The nearest matrix of rank r is the truncated singular value decomposition (Eckart and Young 1936);
of large matrices it is found by randomised subspace iteration (Halko et al., arXiv 0909.4061). The
error that is stated is always measured on the pair as it is stored, never estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spf.paths import DOWN, UP, Adapter

OVERSAMPLING, ITERATIONS = 16, 6


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


def factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(up [rows,r], down [r,columns]) of the nearest matrix of that rank, the singular values
    shared between both.
    """
    rank = min(rank, *matrix.shape)
    if min(matrix.shape) <= 4 * (rank + OVERSAMPLING):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            u, s, v = torch.svd_lowrank(matrix, rank + OVERSAMPLING, ITERATIONS)
        vh = v.mT
    half = s[:rank].sqrt()
    return u[:, :rank] * half, half[:, None] * vh[:rank]


def pair_factors(up: Tensor, down: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The same of the product of a pair [rows,R], [R,columns], which is never made."""
    left, small = torch.linalg.qr(up)
    right, other = torch.linalg.qr(down.mT)
    up, down = factors(small @ other.mT, rank)
    return left @ up, down @ right.mT


def low_rank(adapter: Adapter, rank: int) -> Adapter:
    """The adapter with each whole matrix as a pair of at most this rank, where that is smaller;
    pairs and vectors stay.
    """
    tensors = {}
    for name, value in adapter.tensors.items():
        rows, columns = value.shape[0], value[0].numel() if value.ndim > 1 else 0
        if rank * (rows + columns) >= rows * columns or name.endswith((DOWN, UP)):
            tensors[name] = value
            continue
        up, down = factors(value.float().reshape(rows, columns), rank)
        tensors[name + UP], tensors[name + DOWN] = up, down
    return Adapter(adapter.metadata, tensors)


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
