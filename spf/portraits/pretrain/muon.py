"""Muon: steps of matrices turned so that all their directions count alike.

    Muon(groups, lr=6e-4, betas=(0.9, 0.99), decay=0.01)

K. Jordan et al. 2024, kellerjordan.github.io/posts/muon; the size of a step follows AdamW's as in
arXiv 2502.16982, so that one learning rate serves both. torch.optim.Muon takes plain matrices
alone and multiplies whole ones at every iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
SMALLEST = 13
"""Fewer rows or columns than that (the image side of the first and last layers) are AdamW's."""


class Muon(torch.optim.AdamW):
    """Muon for weights that are matrices or convolutions, AdamW for all others.

    After a step the gradients of Muon's weights are gone.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: float = 0.01,
    ):
        super().__init__(groups, lr=lr, betas=betas, weight_decay=decay)

    @torch.no_grad()
    def step(self, closure=None):
        """One step; `closure` as in torch."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and is_matrix(weight):
                    self._turn(weight, group["lr"], group["weight_decay"])
                    weight.grad = None
        return super().step(closure)

    def _turn(self, weight: Tensor, lr: float, decay: float) -> None:
        memory = self.state[weight]
        if "exp_avg" not in memory:
            memory["exp_avg"] = torch.zeros_like(weight)
        mean = memory["exp_avg"].lerp_(weight.grad, 1 - MOMENTUM)
        ahead = weight.grad.lerp(mean, MOMENTUM).flatten(1)  # Nesterov's
        size = 0.2 * max(ahead.shape) ** 0.5
        weight.mul_(1 - lr * decay)
        weight.add_(orthogonal(ahead).view_as(weight), alpha=-lr * size)


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon takes it: at least two dimensions, none of the two that count too small."""
    return weight.ndim >= 2 and min(weight.shape[0], weight[0].numel()) >= SMALLEST


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly U V' of the singular value decomposition U S V' of [m,n]: values between 0.7 and 1.2.

    The iterations only meet the smaller of the two Gram matrices G: X_k = Q_k X with Q_k a
    polynomial of G, which on small matrices costs a third of multiplying X each time.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    matrix = matrix / (matrix.norm() + 1e-7)
    gram = matrix @ matrix.T
    a, b, c = QUINTIC
    turned = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(ITERATIONS):
        own = turned @ turned @ gram
        turned = torch.addmm(turned, torch.addmm(own, own, own, beta=b, alpha=c), turned, beta=a)
    return turned @ matrix
