"""The two paths through one UNet: the reference path runs on the original weights, the response
path on the tuned ones.

Both share every weight that is not tuned. Switching exchanges tensors behind the parameters, costs
no arithmetic and no second network, and always gives back what it found. An adapter is the
difference tuned minus original, by any method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn import Parameter

from .config import AUTO
from .errors import BadInput
from .files import require_finite, save_tensors
from .models import Base
from .targets import serves

TRAINABLE = (AUTO, "all", "cross-attention")
LARGE = 200_000_000
"""Parameters of a UNet above which training all of them no longer fits the card people have."""
METADATA = ("method", "base_model", "target", "steps", "losses", "versions")
DOWN, UP = ".down", ".up"
TEXT = "text_encoder."
"""Start of the name of a parameter of the text encoder; all others belong to the UNet."""
TEXT_ROOT = "text_model."
"""Older transformers keep this in the text encoder's own names; adapters always have it."""


@dataclass(frozen=True)
class Adapter:
    """Tuned weights of one target, as differences to the original ones.

    tensors: "<parameter>" -> difference of the parameter's shape, or the pair "<parameter>.down"
    [r,in] and "<parameter>.up" [out,r], whose product is the difference. metadata: how it was made
    (see METADATA), as strings. mark: tells the weights from all others; "" where nobody says.
    """

    metadata: dict[str, str]
    tensors: dict[str, Tensor]
    mark: str = ""

    def names(self) -> list[str]:
        """The parameters that differ."""
        return list(
            dict.fromkeys(name.removesuffix(DOWN).removesuffix(UP) for name in self.tensors)
        )

    def difference(self, name: str, shape: Sequence[int]) -> Tensor:
        """The difference of one parameter, fp32."""
        if name in self.tensors:
            return self.tensors[name].float().reshape(*shape)
        return (self.tensors[name + UP].float() @ self.tensors[name + DOWN].float()).reshape(*shape)


def text_name(name: str) -> str:
    """Name in an adapter of a module or parameter of the text encoder."""
    return TEXT + TEXT_ROOT + name.removeprefix(TEXT_ROOT)


def parameters_of(model: Base | UNet2DConditionModel) -> dict[str, Parameter]:
    """The parameters that an adapter may change, by name: of a whole base, or of a UNet alone."""
    if isinstance(model, UNet2DConditionModel):
        return dict(model.named_parameters())
    text = {text_name(name): value for name, value in model.text_encoder.named_parameters()}
    return dict(model.unet.named_parameters()) | text


def cross_attention_names(unet: UNet2DConditionModel) -> list[str]:
    """Parameters of all cross-attention layers, the ones that arXiv 2504.00396 Fig. 2 (v1) marks as
    trained.
    """
    return [name for name, _ in unet.named_parameters() if ".attn2." in name]


def all_names(unet: UNet2DConditionModel) -> list[str]:
    """All parameters, as the v3 figure draws it."""
    return [name for name, _ in unet.named_parameters()]


def trained_names(unet: UNet2DConditionModel, trainable: str = AUTO) -> list[str]:
    """Those that a choice of TRAINABLE stands for."""
    if trainable == AUTO:
        large = sum(value.numel() for value in unet.parameters()) > LARGE
        trainable = "cross-attention" if large else "all"
    return all_names(unet) if trainable == "all" else cross_attention_names(unet)


def others(adapters: Iterable[Adapter], targets: Sequence[str]) -> list[Adapter]:
    """Those that were tuned for none of these targets."""
    made = ((one, one.metadata.get("target", "")) for one in adapters)
    return [one for one, target in made if not any(serves(target, asked) for asked in targets)]


def mark_of(adapters: Iterable[Adapter], scale: float) -> tuple | None:
    """Tells tuned weights from all others of a model; None where an adapter has no mark."""
    marks = tuple(adapter.mark for adapter in adapters)
    return (scale, *marks) if all(marks) else None


@contextmanager
def exchanged(parameters: Mapping[str, Parameter], tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Puts the tensor of its name behind each parameter and, whatever happens, the former ones
    back.
    """
    found = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = tensors[name]
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = found[name]


class response:  # noqa: N801 - used as `with response(unet, adapter):`
    """`with response(base, adapter, scale):` runs the tuned weights: original + scale * difference.

    Several adapters add up. A UNet alone serves adapters that leave the text encoder alone; `reads`
    says whether one of these does not. The tuned tensors are made once, so the same object may be
    entered again at every step. Raises BadInput, before anything changes, when an adapter does not
    fit the network, and NotFinite when the sum is more than the precision of the network holds.
    """

    def __init__(
        self,
        model: Base | UNet2DConditionModel,
        adapters: Adapter | Iterable[Adapter],
        scale: float = 1.0,
    ) -> None:
        adapters = [adapters] if isinstance(adapters, Adapter) else list(adapters)
        self.model, self.adapters, self.scale = model, adapters, scale
        for adapter in adapters:
            check_fit(model, shapes(adapter.tensors), "the adapter")
        there = parameters_of(model)
        self._open: list[AbstractContextManager] = []
        with torch.inference_mode(False), torch.no_grad():
            self.parameters: dict[str, Parameter] = {}
            self.tensors: dict[str, Tensor] = {}
            for adapter in adapters:
                for name in adapter.names():
                    self.parameters[name] = original = there[name]
                    difference = adapter.difference(name, original.shape).to(original.device)
                    current = self.tensors.get(name, original.detach()).float()
                    self.tensors[name] = current.add(difference, alpha=scale).to(original.dtype)
            require_finite(self.tensors, f"the model with adapters at strength {scale:g}")

    @property
    def reads(self) -> bool:
        """Whether texts mean something else under these weights."""
        return any(name.startswith(TEXT) for name in self.parameters)

    @property
    def metadata(self) -> list[dict[str, str]]:
        return [adapter.metadata for adapter in self.adapters]

    @property
    def mark(self) -> tuple | None:
        """See `mark_of`."""
        return mark_of(self.adapters, self.scale)

    def without(self, targets: Sequence[str]) -> response:
        """The same without the adapters that were tuned for any of these targets."""
        kept = others(self.adapters, targets)
        return self if len(kept) == len(self.adapters) else response(self.model, kept, self.scale)

    def __enter__(self) -> Self:
        block = exchanged(self.parameters, self.tensors)
        block.__enter__()
        self._open.append(block)
        return self

    def __exit__(self, *error) -> None:
        self._open.pop().__exit__(*error)


class TunablePaths:
    """Training side of the two paths: the named parameters train in place, their original values
    wait beside them.

    with TunablePaths(unet, cross_attention_names(unet)) as paths:
        with paths.reference():      # original weights, no gradient
            eps_ref = unet(...)
        eps_res = unet(...)          # tuned weights, with gradient
        adapter = paths.adapter(metadata)
    Half-precision parameters train as fp32 masters; autocast makes halves of them. On leaving, the
    network has its very own tensors and training flags again.
    """

    def __init__(self, unet: UNet2DConditionModel, names: Iterable[str]) -> None:
        self.unet = unet
        self.names = list(names)
        known = dict(unet.named_parameters())
        if not self.names or (missing := [name for name in self.names if name not in known]):
            raise BadInput(
                f"names is {(missing if self.names else [])[:1]} but must be parameters of the "
                "unet."
            )
        self.parameters = {name: known[name] for name in self.names}
        self.originals = {name: parameter.data for name, parameter in self.parameters.items()}
        self._flags: dict[str, bool] = {}

    def __enter__(self) -> Self:
        self._flags = {
            name: parameter.requires_grad for name, parameter in self.unet.named_parameters()
        }
        self.unet.requires_grad_(False)
        for name, parameter in self.parameters.items():
            parameter.data = self.originals[name].to(torch.float32, copy=True)
            parameter.requires_grad_(True)
        return self

    def __exit__(self, *error) -> None:
        for name, parameter in self.unet.named_parameters():
            parameter.requires_grad_(self._flags[name])
            parameter.grad = None
        for name, parameter in self.parameters.items():
            parameter.data = self.originals[name]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Original weights and no gradient inside the block."""
        with torch.no_grad(), exchanged(self.parameters, self.originals):
            yield

    @torch.no_grad()
    def restore(self) -> None:
        """Writes the original values back into the parameters."""
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self.originals[name])

    @torch.no_grad()
    def load(self, adapter: Adapter) -> None:
        """Starts from an adapter, such as the result of a first stage."""
        check_fit(self.unet, shapes(adapter.tensors), "the adapter")
        if extra := set(adapter.names()) - set(self.names):
            raise BadInput(
                f"the adapter tunes {min(extra)}, which is not among the parameters trained here."
            )
        self.restore()
        for name in adapter.names():
            self.parameters[name].data += adapter.difference(name, self.parameters[name].shape).to(
                self.parameters[name]
            )

    @torch.no_grad()
    def adapter(self, metadata: Mapping[str, str]) -> Adapter:
        """The differences reached so far, as fp32 copies on the CPU; parameters that did not move
        are left out.
        """
        differences = {
            name: parameter.detach() - self.originals[name]
            for name, parameter in self.parameters.items()
        }
        return Adapter(
            dict(metadata),
            {name: value.float().cpu() for name, value in differences.items() if value.any()},
        )


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def check_fit(
    model: Base | UNet2DConditionModel, given: Mapping[str, tuple[int, ...]], label: str
) -> None:
    """Raises BadInput unless every tensor is a difference, or half of a low-rank pair, of a
    parameter.
    """
    wanted = {name: tuple(value.shape) for name, value in parameters_of(model).items()}
    if not given:
        raise BadInput(f"{label} holds no weights.")
    for key, shape in given.items():
        if key in wanted and key + UP in given:
            raise BadInput(f"{label} has {key} twice, as a whole and as a pair.")
        if key in wanted:
            fits = shape == wanted[key]
        else:
            name = key.removesuffix(DOWN).removesuffix(UP)
            fits = name in wanted and _pair_fits(
                given.get(name + DOWN), given.get(name + UP), wanted[name]
            )
        if not fits:
            raise BadInput(
                f"{label} was made for another model: {key} of shape {list(shape)} does not fit."
            )


def _pair_fits(
    down: tuple[int, ...] | None, up: tuple[int, ...] | None, wanted: tuple[int, ...]
) -> bool:
    if down is None or up is None or len(wanted) < 2 or len(down) != 2 or len(up) != 2:
        return False
    return up[1] == down[0] and up[0] == wanted[0] and up[0] * down[1] == torch.Size(wanted).numel()


def save_adapter(adapter: Adapter, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes an adapter atomically as safetensors, numbers that are wider than `dtype` in that.
    Raises BadInput (metadata missing) or NotFinite.
    """
    if missing := [key for key in METADATA if not isinstance(adapter.metadata.get(key), str)]:
        raise BadInput(f"metadata lacks {', '.join(missing)}; an adapter must say how it was made.")
    narrow = {
        name: value.to(dtype) if value.element_size() > dtype.itemsize else value
        for name, value in adapter.tensors.items()
    }
    save_tensors(path, narrow, adapter.metadata)
