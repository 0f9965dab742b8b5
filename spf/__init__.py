"""SPF-Portrait Studio: fine-tune a portrait model so that only the asked attribute changes (after
arXiv 2504.00396).

import spf
base = spf.load_base()                      # the embedded model
prompt = spf.compose("a photo of a young woman", ["a hat"])
trace = spf.sample_pair(base, prompt, spf.load_adapter("hat", base), seeds=[0])
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "load_base": "bases.reading",
    "compose": "prompts",
    "Adapter": "paths",
    "load_adapter": "exchange",
    "save_adapter": "paths",
    "response": "paths",
    "TunablePaths": "paths",
    "record": "attention",
    "sample": "sampling",
    "sample_pair": "sampling",
    "Trace": "sampling",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Imports a public name when it is first used, so that `import spf` stays instant."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'spf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
