"""Options of the command line, made from what the fields of a config say.

@options(GenerateConfig)
def generate(config: GenerateConfig, out: Out = Path("out")) -> None: ...

gives a command with one option for each field, then those of the function. The function gets the
config.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, get_type_hints

import typer

from spf.config import Config, Options, Setting


def options(config: type[Config], without: Collection[str] = ()) -> Callable:
    """Decorates a function whose first parameter is a config; `without`: fields that get no
    option.
    """
    settings = {name: one for name, one in config.settings().items() if name not in without}

    def decorate(function: Callable) -> Callable:
        hints = get_type_hints(function, include_extras=True)
        _, *own = inspect.signature(function).parameters.values()
        own = [one.replace(annotation=hints[one.name], kind=Parameter.KEYWORD_ONLY) for one in own]

        @wraps(function)
        def command(**given: Any) -> Any:
            values = {name: given.pop(name) for name in settings}
            return function(config.from_dict(values), **given)

        made = [_parameter(name, setting) for name, setting in settings.items()]
        command.__signature__ = inspect.Signature([*made, *own])
        command.__annotations__ = {one.name: one.annotation for one in (*made, *own)}
        return command

    return decorate


def _parameter(name: str, setting: Setting) -> Parameter:
    flag = f"--{(setting.name or name).replace('_', '-')}"
    names = [] if setting.kind is bool else [flag]
    kind = list[str] if setting.kind is tuple else setting.kind
    asked = setting.required or setting.kind is tuple
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if asked else setting.start,
        annotation=Annotated[kind, typer.Option(*names, help=described(setting))],
    )


def described(setting: Setting) -> str:
    """The help of a setting with what it may be."""
    help = setting.help
    if isinstance(setting.limits, Options):
        help += f": {', '.join(setting.limits.options)}"
        help += ', or "" for none' if setting.limits.none else ""
    elif setting.kind in (int, float):
        low, high = setting.limits
        help += f" ({low} to {high})" if setting.kind is int else f" ({low:g} to {high:g})"
    elif setting.kind is tuple:
        help += "; may be given several times"
    return help
