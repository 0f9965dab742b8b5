"""How the pairs of a LoRA are scaled: the LoraConfig that diffusers keeps in the header and peft
beside the file, checked before it is followed.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY as RECIPE
from peft import LoraConfig

from spf.errors import BadInput, UnsafeFile
from spf.files import read_json

from .header import PEFT, Origin

PEFT_CONFIG = "adapter_config.json"
VARIANTS = {
    "use_dora": "a DoRA",
    "use_qalora": "a QALoRA",
    "use_bdlora": "a BD-LoRA",
    "alora_invocation_tokens": "an activated LoRA",
}
"""What a LoraConfig says of a LoRA whose pairs are no plain differences."""
SWITCHES = ("use_rslora", "use_dora")
"""What a LoraConfig says with true or false."""
_PLAIN = re.compile(r"\\.|\[[^\]]*\]|\(\?:")
_REPEATED = re.compile(r"\)[*+?{]")
MOST_CHOICES = 3
"""Repeats and groups of a pattern for names of layers; with each the time to match it grows by a
power of their length.
"""
MOVING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""How the ways to begin a LoRA are called that change the base beneath it."""


def recipe_of(path: Path, found: Origin) -> dict[str, Any]:
    """The LoraConfig that a diffusers header or the folder of peft holds, by part; empty where
    scales are in the file.
    """
    if found.form == PEFT:
        config = path.with_name(PEFT_CONFIG)
        if not config.is_file():
            raise BadInput(
                f"{path.name} says its strength in {PEFT_CONFIG}, which is not beside it."
            )
        return {"": _checked(config.name, read_json(config))}
    if RECIPE not in found.metadata:
        return {}
    try:
        said = json.loads(found.metadata[RECIPE]).items()
    except (AttributeError, ValueError, RecursionError) as error:
        raise UnsafeFile(f"{path.name} has a damaged {RECIPE} in its header.") from error
    parts: dict[str, dict] = defaultdict(dict)
    for key, value in said:
        part, _, name = key.rpartition(".")
        parts[part][name] = value
    return {part: _checked(path.name, config) for part, config in parts.items()}


def _checked(name: str, config: Any) -> dict[str, Any]:
    """A LoraConfig whose pairs and strengths mean what they mean here, its patterns compiled.
    Raises BadInput.
    """
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else type(config).__name__
        raise BadInput(f"{name} describes {kind}, but only LoRA is read.")
    for switch in SWITCHES:
        if not isinstance(config.get(switch) or False, bool):
            raise BadInput(f"{name} has {switch} {config[switch]!r} but it must be true or false.")
    if kind := next((kind for key, kind in VARIANTS.items() if config.get(key)), None):
        raise BadInput(f"{name} describes {kind}, but only LoRA is read.")
    begun = str(config.get("init_lora_weights", "")).lower()
    if begun.startswith(MOVING):
        raise BadInput(
            f"{name} has init_lora_weights {begun!r}, which changed the base as well; convert it to"
            " a plain LoRA with peft's path_initial_model_for_weight_conversion."
        )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise BadInput(f"{name} has alpha_pattern {patterns!r} but it must be numbers by pattern.")
    for alpha in (config.get("lora_alpha", 1), *patterns.values()):
        try:
            right = math.isfinite(alpha) and not isinstance(alpha, bool)
        except (TypeError, OverflowError):
            right = False
        if not right:
            raise BadInput(f"{name} has lora_alpha {str(alpha)[:60]!r} but it must be a number.")
    compiled = [(_compiled(name, pattern), alpha) for pattern, alpha in patterns.items()]
    return config | {"alpha_pattern": compiled}


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    """A pattern of names of layers as peft matches it: the end of a path. Raises BadInput for one
    that is none, or that could take for ever.
    """
    plain = _PLAIN.sub("", pattern)
    choices = sum(map(plain.count, "*+?{("))
    if choices > MOST_CHOICES or _REPEATED.search(plain):
        raise BadInput(
            f"{name} has alpha_pattern {pattern[:60]!r}, which could take for ever to match; use"
            " names of layers."
        )
    try:
        return re.compile(rf"(?:.*\.)?(?:{pattern})$")
    except re.error as error:
        raise BadInput(f"{name} has alpha_pattern {pattern!r}, which is no pattern.") from error


def scale_of(config: Mapping[str, Any] | None, module: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) if rank-stabilised (arXiv 2312.03732); 1 where there is
    no LoraConfig, and peft's own alpha where one says none.
    """
    if not config:
        return 1.0
    found = (alpha for pattern, alpha in config["alpha_pattern"] if pattern.match(module))
    alpha = next(found, config.get("lora_alpha", LoraConfig.lora_alpha))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
