"""The tensors of an adapter file by the module that they belong to: whether they fit it, and the
differences that they make of its parameters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from spf.errors import BadInput
from spf.models import Base
from spf.paths import DOWN, TEXT, TEXT_ROOT, UP

from .header import Origin
from .keys import ALPHA, BIAS, MID, PAIR_BIAS, SLOTS, WHOLE, ending, plain_keys
from .names import KOHYA_TEXT, KOHYA_UNET, Layout, flat
from .scaling import scale_of


@dataclass
class Slot:
    """The tensors of one module, by what they are to it: their keys in the file."""

    keys: dict[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    bare: str = ""

    def differences(
        self, module: str, weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Tensor]:
        """The differences of the module's parameters, a pair [r,in], [out,r] where the file has
        one.
        """
        here = {kind: weights[key].float() for kind, key in self.keys.items()}
        weight, bias, made = f"{module}.weight", f"{module}.bias", {}
        scale = 1.0
        if DOWN in here:
            down, up = here[DOWN], here[UP].flatten(1)
            rank = max(up.shape[1], 1)  # pruned pairs may have none
            given = here[ALPHA].item() / rank if ALPHA in here else None
            scale = given if given is not None else scale_of(self.recipe, self.bare, rank)
            if (
                MID in here
            ):  # a 1x1 down, then a kernel among the ranks (LoCon with CP decomposition)
                down = torch.einsum("abhw,bi->aihw", here[MID], down.flatten(1))
            made = {weight + DOWN: down.flatten(1), weight + UP: scale * up}
        if WHOLE in here:
            whole = here[WHOLE].reshape(shapes[weight])
            if made:
                whole = whole + (made[weight + UP] @ made[weight + DOWN]).reshape(whole.shape)
            made = {weight: whole}
        total = [here[BIAS]] if BIAS in here else []
        total += [scale * here[PAIR_BIAS]] if PAIR_BIAS in here else []
        return made | ({bias: sum(total)} if total else {})


def slots_of(
    name: str,
    shapes: Mapping[str, tuple],
    layout: Layout,
    recipe: Mapping[str, Any],
    base: str,
) -> dict[str, Slot]:
    """The keys of a file by module. base: that it is for, if it says so. Raises BadInput for a key
    without a meaning, or half a pair.
    """
    slots: dict[str, Slot] = defaultdict(Slot)
    for key, plain in plain_keys(shapes).items():
        end = ending(plain)
        if not end:
            raise BadInput(
                f"{name} has a tensor {key}, which is no part of a LoRA or a difference."
            )
        module, bare, part = _module(plain.removesuffix(end), layout)
        if module is None:
            raise BadInput(
                f"{name} was made for another model: no layer here is"
                f" {plain.removesuffix(end)}.{_made_for(base)}"
            )
        slot = slots[module]
        if SLOTS[end] in slot.keys:
            raise BadInput(
                f"{name} has two tensors for one layer, {slot.keys[SLOTS[end]]} and {key}."
            )
        slot.keys[SLOTS[end]] = key
        slot.recipe, slot.bare = recipe.get(part, recipe.get("")), bare
    for module, slot in slots.items():
        halves, said = {DOWN, UP} & set(slot.keys), set(slot.keys)
        if len(halves) == 1 or (not halves and {MID, PAIR_BIAS} & said):
            raise BadInput(f"{name} has only one half of the pair of {module}.")
        if said == {ALPHA}:
            raise BadInput(f"{name} has {slot.keys[ALPHA]} but no pair that it could scale.")
        if ALPHA in said and math.prod(shape := shapes[slot.keys[ALPHA]]) != 1:
            raise BadInput(
                f"{name} has {slot.keys[ALPHA]} of shape {list(shape)} but it must be one number."
            )
    return slots


def _module(path: str, layout: Layout) -> tuple[str | None, str, str]:
    """(module, its path in its own part, the part as a recipe names it) of a key without end."""
    if path.startswith((KOHYA_UNET, "lora_te")):
        name = path.replace("lora_te1_", KOHYA_TEXT)
        rooted = name.replace(KOHYA_TEXT, KOHYA_TEXT + flat(TEXT_ROOT))
        return layout.kohya.get(name) or layout.kohya.get(rooted), path, ""
    part, bare = next(
        (
            (part, path.removeprefix(f"{part}."))
            for part in ("unet", "text_encoder")
            if path.startswith(f"{part}.")
        ),
        ("", path),
    )
    found = layout.module(bare)
    if part and found and found.startswith(TEXT) != (part == "text_encoder"):
        found = None
    return found, bare, part


def check_base(
    name: str,
    base: Base,
    found: Origin,
    slots: Mapping[str, Slot],
    shapes: Mapping[str, tuple],
    layout: Layout,
) -> None:
    """Raises BadInput unless every tensor has the shape that its module's parameters ask for."""
    for module, slot in slots.items():
        given = {kind: shapes[key] for kind, key in slot.keys.items()}
        weight, bias = (layout.shapes.get(f"{module}.{end}") for end in ("weight", "bias"))
        if not _fits(given, weight, bias):
            shown = {kind.strip("."): list(shape) for kind, shape in given.items() if shape}
            raise BadInput(
                f"{name} was made for another model than {base.name}: {module} is"
                f" {list(weight or ())} here, and the file has {shown}.{_made_for(found.base)}"
            )


def _made_for(base: str) -> str:
    return f" It is for {base}." if base else ""


def _fits(given: Mapping[str, tuple], weight: tuple | None, bias: tuple | None) -> bool:
    if any(kind in given for kind in (DOWN, WHOLE)) and weight is None:
        return False
    if WHOLE in given and not _same(given[WHOLE], weight):
        return False
    if any(given[kind] != bias for kind in (BIAS, PAIR_BIAS) if kind in given):
        return False
    if DOWN not in given:
        return True
    if min(len(weight), len(given[DOWN]), len(given[UP])) < 2:
        return False
    rank, columns, kernel = given[DOWN][0], weight[1:], weight[2:]
    if MID in given:
        if given[MID] != (rank, rank, *kernel):
            return False
        columns = weight[1:2]
    return _same(given[DOWN], (rank, *columns)) and _same(given[UP], (weight[0], rank))


def _same(given: tuple, wanted: tuple) -> bool:
    """Whether a tensor is one of this shape, or a kernel laid out as a row; a matrix may be a
    kernel of 1x1.
    """
    shapes = wanted, (wanted[0], math.prod(wanted[1:]))
    return _without_ones(given) in [_without_ones(shape) for shape in shapes]


def _without_ones(shape: tuple) -> tuple:
    """The shape without the ones at its end."""
    return _without_ones(shape[:-1]) if shape[-1:] == (1,) else shape
