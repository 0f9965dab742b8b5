"""Keys of adapter files: how other programs spell them, and what a tensor is to its module by the
end of its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from diffusers.utils.state_dict_utils import StateDictType

from spf.paths import DOWN, TEXT, TEXT_ROOT, UP

from .names import KOHYA_TEXT, KOHYA_UNET, flat

PEFT_PREFIX = "base_model.model."
MID, ALPHA, WHOLE, BIAS, PAIR_BIAS = "mid", "alpha", "whole", "bias", "pair bias"
SLOTS = {
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora_B.bias": PAIR_BIAS,
    ".lora_down.weight": DOWN,
    ".lora_mid.weight": MID,
    ".lora_up.weight": UP,
    ".alpha": ALPHA,
    ".diff": WHOLE,
    ".diff_b": BIAS,
    ".w_norm": WHOLE,
    ".b_norm": BIAS,
}
"""What a tensor is to its module, by the end of its key."""

NAMED = re.compile(r"(\.lora_[AB])\.\w+(?=\.(weight|bias)$)")
"""peft's pairs with the name of their adapter, of which a file has one."""

COMFY = {
    "diffusion_model.": KOHYA_UNET,
    "text_encoders.clip_l.transformer.": KOHYA_TEXT,
    "text_encoders.clip_h.transformer.": KOHYA_TEXT,
}
"""How ComfyUI begins the names of what it saves, which go on as in a single file; and kohya's own
beginning.
"""


def ending(key: str) -> str:
    """The one of SLOTS with which a key ends, "" if it is none."""
    return next((end for end in SLOTS if key.endswith(end)), "")


def plain_keys(keys: Iterable[str]) -> dict[str, str]:
    """Each key as kohya's or, whichever of diffusers' spellings it has, as peft's; with its part's
    prefix.
    """
    plain = {}
    for key in keys:
        made = NAMED.sub(r"\1", key.removeprefix(PEFT_PREFIX))
        begun = next((start for start in COMFY if made.startswith(start)), None)
        if begun:
            end = ending(made)
            made = COMFY[begun] + flat(made.removeprefix(begun).removesuffix(end)) + end
        elif not made.startswith((KOHYA_UNET, "lora_te")):
            made = next(iter(_peft(made)))
        plain[key] = made
    return plain


def _peft(key: str) -> dict[str, str]:
    """diffusers' spellings -> peft's, by diffusers."""
    if not key.startswith((TEXT, TEXT_ROOT)):
        key = key.replace(".lora_linear_layer.", ".lora.")  # as text encoders' keys, in the UNet
        return convert_unet_state_dict_to_peft({key: key})
    key = key.replace(".lora.", ".lora_linear_layer.")  # as the UNet's keys, in text encoders
    old = re.search(r"\.to_(q|k|v|out)_lora\.", key)
    kind = StateDictType.DIFFUSERS_OLD if old else StateDictType.DIFFUSERS
    return convert_state_dict_to_peft({key: key}, original_type=kind)
