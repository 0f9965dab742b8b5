"""Low-rank layers that PEFT puts beside the attention projections of a UNet, for the time of one
training.

They offer what `paths.TunablePaths` offers, so a method does not care which of the two it trains.
The projections themselves are never written to: the reference path is the original modules, and on
leaving, after an exception too, those very modules are in their places again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import torch
from diffusers import UNet2DConditionModel
from peft import AdaLoraConfig, AdaLoraModel, LoraConfig, LoraModel
from torch import Tensor, nn

from .devices import numbers
from .errors import BadInput
from .paths import DOWN, UP, Adapter, check_fit, exchanged, response, shapes
from .relied import require, require_fields

NAME = "tuned"
LAYERS = ("attention", "cross-attention")
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
IMPORTANCE, UNCERTAINTY, PATTERN = "importance ", "uncertainty ", "pattern "


def projections(unet: UNet2DConditionModel, layers: str = "attention") -> list[str]:
    """Names of the linear q, k, v and out maps of all attention layers, or of cross-attention
    only.
    """
    kinds = (".attn2.",) if layers == "cross-attention" else (".attn1.", ".attn2.")
    return [
        name
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear)
        and any(f"{kind}{end}" in name for kind in kinds for end in PROJECTIONS)
    ]


class LoraPaths:
    """Training side of the two paths with LoRA: W + (alpha / rank) up down. Hu et al. 2022, Sec.
    4.1, by PEFT.

    with LoraPaths(unet, projections(unet), rank=8, alpha=8.0) as paths:
        with paths.reference():      # the original modules, no gradient
            eps_ref = unet(...)
        eps_res = unet(...)          # with the low-rank layers, which `paths.parameters` train
        adapter = paths.adapter(metadata)
    seed: of the random start of `down` (`up` starts at 0, so the first prediction is the original
    one).
    start: an adapter whose differences lie under the trained layers, and are part of the result.
    """

    kind: type = LoraModel

    def __init__(
        self,
        unet: UNet2DConditionModel,
        modules: Sequence[str],
        *,
        seed: int = 0,
        start: Adapter | None = None,
        **settings,
    ) -> None:
        if not modules:
            raise BadInput("modules is empty but must name at least one projection of the unet.")
        if start:
            check_fit(unet, shapes(start.tensors), "the adapter")
        self.unet, self.seed, self.start = unet, seed, start
        self.config = self._config(target_modules=list(modules), **settings)
        self.originals = {name: unet.get_submodule(name) for name in modules}
        self.injected: dict[str, nn.Module] = {}
        self.parameters: dict[str, nn.Parameter] = {}

    def _config(self, *, rank: int, alpha: float, **more):
        return LoraConfig(r=rank, lora_alpha=alpha, **more)

    def __enter__(self) -> Self:
        flags = [(parameter, parameter.requires_grad) for parameter in self.unet.parameters()]
        with ExitStack() as stack:
            stack.callback(self._give_back, flags)
            self._started = {
                name: self.unet.get_parameter(name)
                for name in (self.start.names() if self.start else ())
            }
            self._untuned = {name: parameter.data for name, parameter in self._started.items()}
            if self.start:
                stack.enter_context(response(self.unet, self.start))
            with torch.random.fork_rng(), numbers(torch.float32):
                torch.manual_seed(self.seed)
                self.tuner = self.kind(self.unet, self.config, NAME)
            self.injected = {name: self.unet.get_submodule(name) for name in self.originals}
            self._require()
            self.parameters = {
                name: value for name, value in self.unet.named_parameters() if value.requires_grad
            }
            for value in self.parameters.values():
                value.data = value.data.float()  # masters, where the base is in half precision
            self._initial = {
                name: value.detach().clone() for name, value in self.parameters.items()
            }
            self._stack = stack.pop_all()
        return self

    def _require(self) -> None:
        """Raises ChangedLibrary unless PEFT's layers have the parts that are read here."""
        for module in self.injected.values():
            require_fields("lora", module)

    def __exit__(self, *error) -> None:
        self._stack.close()

    def _give_back(self, flags: list[tuple[nn.Parameter, bool]]) -> None:
        self._put(self.originals)
        self.unet.__dict__.pop("peft_config", None)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
            parameter.grad = None

    def _put(self, modules: Mapping[str, nn.Module]) -> None:
        for name, module in modules.items():
            self.unet.set_submodule(name, module)

    @property
    def names(self) -> list[str]:
        return list(self.parameters)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """The original modules with their original weights, and no gradient, inside the block."""
        self._put(self.originals)
        try:
            with torch.no_grad(), exchanged(self._started, self._untuned):
                yield
        finally:
            self._put(self.injected)

    @torch.no_grad()
    def restore(self) -> None:
        """Gives the trained parameters the values that they started with."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self._initial[name])

    def pair(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        """(down [r,in], up [out,r]) whose product is the whole difference of a module, its scale
        included.
        """
        return module.lora_A[NAME].weight, module.lora_B[NAME].weight * module.scaling[NAME]

    @torch.no_grad()
    def adapter(self, metadata: Mapping[str, str]) -> Adapter:
        """What was learnt so far, as fp32 copies on the CPU: pairs, and whole differences where
        `start` has some too.

        The metadata gets `ranks`, JSON: module -> rank. A module of rank 0 is left out.
        """
        tensors = dict(self.start.tensors) if self.start else {}
        taken, ranks = set(self.start.names() if self.start else ()), {}
        for name, module in self.injected.items():
            down, up = (part.detach().float().cpu().clone() for part in self.pair(module))
            key, ranks[name] = f"{name}.weight", len(down)
            if key in taken:
                whole = self.start.difference(key, (len(up), down.shape[1])).cpu() + up @ down
                tensors = {
                    old: value
                    for old, value in tensors.items()
                    if old not in (key, key + DOWN, key + UP)
                }
                tensors[key] = whole
            elif len(down):
                tensors |= {key + DOWN: down, key + UP: up}
        return Adapter(dict(metadata) | {"ranks": json.dumps(ranks)}, tensors)


class AdaLoraPaths(LoraPaths):
    """AdaLoRA: W + (alpha / r0) B diag(E) A, where the least important entries of E are zeroed as
    training goes on.

    Zhang et al. 2023 (arXiv 2303.10512), by PEFT. `allocate` must follow every step of the
    optimiser, or nothing is ever zeroed; the orthogonality of A and B is up to the loss
    (`directions`), because PEFT adds it only to models that return a loss.
    """

    kind = AdaLoraModel

    def _config(
        self,
        *,
        rank: int,
        initial: int,
        alpha: float,
        steps: int,
        warm: int,
        final: int,
        every: int,
        **more,
    ):
        return AdaLoraConfig(
            target_r=rank,
            init_r=initial,
            lora_alpha=alpha,
            total_step=steps,
            tinit=warm,
            tfinal=final,
            deltaT=every,
            **more,
        )

    def _require(self) -> None:
        require("adalora")
        require_fields("allocator", self.tuner)
        for module in self.injected.values():
            require_fields("adalora", module)

    def pair(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        values = module.lora_E[NAME][:, 0]
        kept = values != 0
        scale = module.scaling[NAME] / (
            module.ranknum[NAME] + 1e-5
        )  # PEFT's own guard against a rank of 0
        return module.lora_A[NAME][kept], module.lora_B[NAME][:, kept] * values[kept] * scale

    def directions(self) -> list[Tensor]:
        """All A [r0,in] and transposed B [r0,out], with gradients: their rows should be
        orthonormal.
        """
        return [part for m in self.injected.values() for part in (m.lora_A[NAME], m.lora_B[NAME].T)]

    def entries(self) -> Tensor:
        """All entries of E, one after the other; those that are not 0 make up the rank in use."""
        return torch.cat(
            [module.lora_E[NAME].detach().flatten() for module in self.injected.values()]
        )

    @torch.no_grad()
    def allocate(self, step: int, memory: dict[str, Tensor]) -> int:
        """Follows the importance of every entry and zeroes what exceeds the budget, which is
        returned.

        step: of the optimiser, from 1. Call it while the step's gradients are there. memory: where
        importances and the final pattern are kept between steps; filled by the call, it is all that
        a resumed run needs.
        """
        allocator, config = self.tuner.rankallocator, self.tuner.peft_config[NAME]
        device = next(iter(self.parameters.values())).device
        values = {name: value.to(device) for name, value in memory.items()}
        allocator.exp_avg_ipt, allocator.exp_avg_unc = (
            _under(IMPORTANCE, values),
            _under(UNCERTAINTY, values),
        )
        allocator.ipt = dict(
            allocator.exp_avg_ipt
        )  # PEFT starts at 0 what it has no importance of; these values are replaced
        config.rank_pattern = {
            name: value.bool().tolist() for name, value in _under(PATTERN, values).items()
        } or None
        self.tuner.update_and_allocate(step)
        pattern = {
            name: torch.tensor(value, dtype=torch.uint8)
            for name, value in (config.rank_pattern or {}).items()
        }
        memory.clear()
        for key, kept in (
            (IMPORTANCE, allocator.exp_avg_ipt),
            (UNCERTAINTY, allocator.exp_avg_unc),
            (PATTERN, pattern),
        ):
            memory |= {key + name: value for name, value in kept.items()}
        return allocator.budget_schedule(step)[0]


def _under(key: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(key): value for name, value in values.items() if name.startswith(key)}
