"""What is relied on in libraries beyond what they promise: private names, inner parts, the order of
parameters. On the day when one of them is gone that is one sentence, and no traceback.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import Any

from .errors import ChangedLibrary

QUEUE, STATE, PARTS = "gradio.queueing:Queue", "accelerate.state:AcceleratorState", "diffusers"
ATTENTION = f"{PARTS}.models.attention_processor"

NAMES: dict[str, dict[str, str | None]] = {
    "queue": {
        f"{QUEUE}.push": "self body request username",
        f"{QUEUE}.send_message": "self event event_message",
        f"{QUEUE}.start_processing": "self",
        f"{QUEUE}.start_progress_updates": "self",
        f"{QUEUE}.notify_clients": "self",
        f"{QUEUE}.close": "self",
        "gradio.queueing:Event": None,
        "gradio.blocks:Blocks.process_api": "self block_fn inputs",
    },
    "visits": {
        "gradio.state_holder:StateHolder.__getitem__": "self session_id",
        "gradio.state_holder:SessionState": "blocks",
        "gradio.state_holder:SessionState._update_config": "self key",
        "gradio.state_holder:SessionState._update_value_in_config": "self key value",
    },
    "look": {
        "gradio.themes.utils.colors:Color": None,
        "gradio.themes.utils.fonts:LocalFont": "name weights",
    },
    "accelerator": {f"{STATE}._shared_state": None, f"{STATE}._reset_state": ""},
    "average": {"torch:_foreach_lerp_": None},
    "muon": {f"torch:_foreach_{name}": None for name in ("lerp", "lerp_", "mul_", "add_", "copy_")},
    "memory": {
        "torch._subclasses.fake_tensor:FakeTensorMode": "",
        "torch.utils._python_dispatch:TorchDispatchMode.__torch_dispatch__": "self func types",
        "torch.utils._pytree:tree_leaves": "tree",
        "torch:UntypedStorage._cdata": None,
    },
    "attention": {
        f"{ATTENTION}:Attention": None,
        f"{ATTENTION}:AttnProcessor": "",
        f"{PARTS}:ModelMixin.enable_gradient_checkpointing": "self gradient_checkpointing_func",
        f"{PARTS}:ModelMixin.disable_gradient_checkpointing": "self",
    },
    "exchange": {
        f"{PARTS}.loaders.lora_base:LORA_ADAPTER_METADATA_KEY": None,
        f"{PARTS}.utils:convert_unet_state_dict_to_peft": "state_dict",
        f"{PARTS}.utils:convert_state_dict_to_peft": "state_dict original_type",
        f"{PARTS}.utils.state_dict_utils:StateDictType.DIFFUSERS": None,
        f"{PARTS}.utils.state_dict_utils:StateDictType.DIFFUSERS_OLD": None,
    },
    "safety": {
        f"{PARTS}.pipelines.stable_diffusion.safety_checker:StableDiffusionSafetyChecker.forward": (
            "self clip_input images"
        ),
    },
    "adalora": {"peft:AdaLoraModel.update_and_allocate": "self global_step"},
}
"""By what they are for: module:name -> its first parameters, after which none may be required; None
where the name is all that matters.
"""

FIELDS: dict[str, tuple[str, str, str]] = {
    "page": ("gradio", "Blocks", "_queue fns"),
    "queue": (
        "gradio",
        "Queue",
        "event_queue_per_concurrency_id active_jobs pending_messages_per_session"
        " pending_event_ids_session event_ids_to_events blocks stopped",
    ),
    "attention": (PARTS, "attention layer", "to_q to_k to_v to_out heads scale"),
    "lora": ("peft", "LoRA layer", "lora_A lora_B scaling"),
    "adalora": ("peft", "AdaLoRA layer", "lora_A lora_B lora_E ranknum scaling"),
    "allocator": (
        "peft",
        "AdaLoRA model",
        "peft_config rankallocator.ipt rankallocator.exp_avg_ipt rankallocator.exp_avg_unc"
        " rankallocator.budget_schedule",
    ),
}
"""By what they are for: library, what has them, and the attributes that an object only has once it
is made.
"""


def require(purpose: str) -> None:
    """Raises ChangedLibrary unless every one of NAMES for a purpose is there and is called so."""
    for place, parameters in NAMES[purpose].items():
        module, _, name = place.partition(":")
        library = module.partition(".")[0]
        try:
            found = attrgetter(name)(import_module(module))
        except (ImportError, AttributeError):
            raise gone(library, name) from None
        if parameters is not None and not _takes(found, parameters.split()):
            raise gone(library, f"{name}({', '.join(parameters.split())})")


def require_fields(purpose: str, made: Any) -> None:
    """Raises ChangedLibrary unless an object has every one of FIELDS for a purpose."""
    library, what, names = FIELDS[purpose]
    for name in names.split():
        try:
            attrgetter(name)(made)
        except AttributeError:
            raise gone(library, f"{what} with {name}") from None


def gone(library: str, what: str) -> ChangedLibrary:
    """What is said of something that is not there any more."""
    return ChangedLibrary(
        f"{library} {version(library)} has no {what}, on which this program relies; install the"
        " versions that requirements.txt names."
    )


def unlike(error: ImportError) -> ChangedLibrary | None:
    """The same of a failed import from one of these libraries, or of one that is missing; None of
    any other.
    """
    library = (error.name or "").partition(".")[0]
    known = {place.partition(":")[0].partition(".")[0] for some in NAMES.values() for place in some}
    if library not in known | {"transformers", "tokenizers"}:
        return None
    name = re.search(r"cannot import name '(\w+)'", str(error))
    try:
        return gone(library, f"{name[1]} in {error.name}" if name else error.name)
    except PackageNotFoundError:
        return ChangedLibrary(
            f"{library} is not installed; python -m pip install -r requirements.txt"
        )


@contextmanager
def explained() -> Iterator[None]:
    """Inside the block a failed import from these libraries ends the program with one sentence on
    stderr, exit code 2.
    """
    try:
        yield
    except ImportError as error:
        if (told := unlike(error)) is None:
            raise
        sys.stderr.write(f"{told}\n")
        raise SystemExit(2) from None


def _takes(function: Any, wanted: list[str]) -> bool:
    """Whether a function can be called with parameters of these names, in this order."""
    there = list(inspect.signature(function).parameters.values())
    named = [one.name for one in there[: len(wanted)]]
    needs_no_more = all(
        one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in there[len(wanted) :]
    )
    return named == wanted and needs_no_more
