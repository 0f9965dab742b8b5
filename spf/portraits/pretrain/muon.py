"""Muon: steps of matrices turned so that all their directions count alike.

    Muon(groups, lr=6e-4, betas=(0.9, 0.99), decay=0.01)

K. Jordan et al. 2024, kellerjordan.github.io/posts/muon; the size of a step follows AdamW's as in
arXiv 2502.16982, so that one learning rate serves both. torch.optim.Muon takes plain matrices
alone and multiplies whole ones at every iteration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spf.relied import require

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
        require("muon")
        super().__init__(groups, lr=lr, betas=betas, weight_decay=decay)
        self._replays: dict[int, Replay] = {}

    @torch.no_grad()
    def step(self, closure=None):
        """One step; `closure` as in torch."""
        for number, group in enumerate(self.param_groups):
            weights = [w for w in group["params"] if w.grad is not None and is_matrix(w)]
            if weights:
                self._turn(number, weights, group["lr"], group["weight_decay"])
        return super().step(closure)

    def _turn(self, number: int, weights: list[nn.Parameter], lr: float, decay: float) -> None:
        for weight in weights:
            if "exp_avg" not in self.state[weight]:
                self.state[weight]["exp_avg"] = torch.zeros_like(weight)
        means = [self.state[weight]["exp_avg"] for weight in weights]
        gradients = [weight.grad for weight in weights]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, means, MOMENTUM)  # Nesterov's

        if weights[0].device.type == "cuda":
            if number not in self._replays:
                self._replays[number] = Replay(turns, ahead)
            turned = self._replays[number](ahead)
        else:
            turned = turns(ahead)
        torch._foreach_mul_(weights, 1 - lr * decay)
        torch._foreach_add_(weights, turned, alpha=-lr)
        for weight in weights:
            weight.grad = None


class Replay:
    """A function of tensors as one CUDA graph: hundreds of small kernels for one call.

    Inputs are always of the shapes of the first ones; outputs are valid until the next call.
    """

    def __init__(self, function: Callable[[list[Tensor]], list[Tensor]], inputs: list[Tensor]):
        self.inputs = [tensor.clone() for tensor in inputs]
        stream, now = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(now)
        with torch.cuda.stream(stream):
            function(self.inputs)  # warms libraries up, which is forbidden while recording
        now.wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(self.inputs)

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        torch._foreach_copy_(self.inputs, inputs)
        self.graph.replay()
        return self.outputs


def turns(ahead: list[Tensor]) -> list[Tensor]:
    """The steps of weights at learning rate 1; those of one shape are computed together.

    Always in full float32: a Gram matrix rounded to TF32 may have negative eigenvalues, from which
    the iterations run away.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, matrix in enumerate(ahead):
        alike.setdefault(tuple(matrix.shape), []).append(place)

    steps = list(ahead)
    with full_precision():
        for shape, places in alike.items():
            stack = torch.stack([ahead[place] for place in places]).flatten(2)
            size = 0.2 * max(stack.shape[1:]) ** 0.5
            turned = (size * orthogonal(stack)).view(len(places), *shape)
            for place, step in zip(places, turned, strict=True):
                steps[place] = step
    return steps


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Products of float32 matrices in float32, whatever the program chose for speed."""
    held = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(held)


def is_matrix(weight: Tensor) -> bool:
    """Whether Muon takes it: at least two dimensions, none of the two that count too small."""
    return weight.ndim >= 2 and min(weight.shape[0], weight[0].numel()) >= SMALLEST


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly U V' of the singular value decomposition U S V' of each [...,m,n]: values between 0.7
    and 1.2.

    The iterations only meet the smaller of the two Gram matrices G: X_k = Q_k X with Q_k a
    polynomial of G, which on small matrices costs a third of multiplying X each time.
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        return orthogonal(matrix.mT).mT
    matrix = matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = matrix @ matrix.mT
    a, b, c = QUINTIC
    turned = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    for _ in range(ITERATIONS):
        own = turned @ turned @ gram
        turned = a * turned + (b * own + c * own @ own) @ turned
    return turned @ matrix
