"""The settings of a config on the page: widgets, and the ways from and to links, pictures and
programs.

Nothing here knows a setting by name: what a field says about itself (`spf.config.Setting`) is all
there is.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr

from spf.config import Config, GenerateConfig, Options, Setting
from spf.errors import BadInput
from spf.words import parted

from .components import Number, Slider
from .texts import both, known, label

JOINT = " + "
"""Between several texts in one field."""
LIST = ", "
"""Between several choices of one field."""
TRUE = {"true": True, "1": True, "false": False, "0": False}


class Form:
    """The settings that a page shows, by the name of their field, in the order of declaration."""

    def __init__(self, config: type[Config] = GenerateConfig) -> None:
        self.config = config
        self.settings = {name: one for name, one in config.settings().items() if one.place}

    def at(self, place: str) -> list[str]:
        """The settings of one part of the page."""
        return [name for name, setting in self.settings.items() if setting.place == place]

    def outside(self, name: str) -> str:
        """What a setting is called outside."""
        return self.settings[name].name or name

    def titles(self) -> dict[str, dict[str, str]]:
        """What stands above the field of each setting, by its name and by the one outside."""
        outside = {name: self.outside(name) for name in self.settings}
        above = {name: both(f"field.{one}", one.replace("_", " ")) for name, one in outside.items()}
        return above | {outside[name]: text for name, text in above.items()}

    # the page

    def start(self) -> dict[str, Any]:
        """What the fields hold before anybody says another, as the page holds it."""
        return {name: _shown(setting, setting.start) for name, setting in self.settings.items()}

    def shown(self, config: Config) -> dict[str, Any]:
        """A config as the fields hold it."""
        return {name: _shown(one, getattr(config, name)) for name, one in self.settings.items()}

    def read(self, *values: Any, **named: Any) -> Config:
        """The fields as a checked config: in their order, or by the names they have outside. Raises
        BadInput.
        """
        names = list(self.settings)
        given = dict(zip(names, values, strict=False))
        inside = {self.outside(name): name for name in names}
        given |= {inside[name]: value for name, value in named.items()}
        return self.config.from_dict(
            {name: self._read(name, value) for name, value in (self.start() | given).items()}
        )

    def _read(self, name: str, value: Any) -> Any:
        if self.settings[name].widget == "many" and isinstance(value, list | tuple):
            return LIST.join(map(str, value))
        if self.settings[name].kind is not tuple:
            return value
        if not isinstance(value, str):
            raise BadInput(f"{self.outside(name)} must be text.")
        return tuple(part.strip() for part in value.split(JOINT.strip()))

    def widget(self, name: str, value: Any, choices: list | None = None, **more: Any):
        """The Gradio component of one setting; choices: of a dropdown whose options are not the
        setting's own.
        """
        setting, outside = self.settings[name], self.outside(name)
        text = {
            "label": label(f"field.{outside}", outside.replace("_", " ")),
            "info": _about(outside, setting),
        }
        return _WIDGETS[setting.widget or _usual(setting)](
            setting, value, choices or _choices(outside, setting), elem_id=outside, **text, **more
        )

    # links and programs

    def linked(self, query: Any) -> dict[str, Any]:
        """What a link says about the settings, not checked yet; `query` as the web server reads
        it.
        """
        found = {}
        for name, setting in self.settings.items():
            key = next((key for key in (name, self.outside(name)) if key in query), None)
            if setting.kind is tuple:
                found[name] = query.getlist(key) if key else []
            elif key:
                found[name] = _typed(setting.kind, query[key])
        return found

    def parameters(self, places: Sequence[str] = ()) -> list[inspect.Parameter]:
        """The settings of some places, or of all, as parameters of a function for programs."""
        return [
            inspect.Parameter(
                self.outside(name),
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if setting.required else _text_of(setting.start),
                annotation=str if setting.kind is tuple else setting.kind,
            )
            for name, setting in self.settings.items()
            if not places or setting.place in places
        ]

    def function(self, made, places: Sequence[str] = ()):
        """`made` (a function of **settings) with the settings as its parameters and in its
        docstring.
        """
        parameters = self.parameters(places)
        names = {self.outside(name): name for name in self.settings}
        lines = [f"    {one.name}: {about(self.settings[names[one.name]])}" for one in parameters]

        def called(*values: Any, **named: Any) -> Any:
            return made(**inspect.signature(called).bind(*values, **named).arguments)

        summary, _, returns = inspect.cleandoc(made.__doc__).partition("\n\n")
        called.__name__ = made.__name__
        called.__doc__ = "\n".join([summary, "", "Parameters:", *lines, returns])
        result = inspect.signature(made, eval_str=True).return_annotation
        called.__signature__ = inspect.Signature(parameters, return_annotation=result)
        called.__annotations__ = {one.name: one.annotation for one in parameters} | {
            "return": result
        }
        return called


def about(setting: Setting) -> str:
    """What a setting means and may be, in one line."""
    if isinstance(setting.limits, Options):
        options = ", ".join(f'"{option}"' for option in setting.limits)
        return f"{setting.help}: {options}"
    if setting.kind in (int, float):
        return f"{setting.help}, {setting.limits[0]} to {setting.limits[1]}"
    return f"{setting.help} (joined with +)" if setting.kind is tuple else setting.help


def _about(outside: str, setting: Setting):
    """What is said beside a field; a field that has a title of its own may go without."""
    silent = known(f"field.{outside}") and not known(f"field.{outside}.info")
    return None if silent else label(f"field.{outside}.info", setting.help)


def _shown(setting: Setting, value: Any) -> Any:
    """A value as the widget holds it."""
    if setting.widget == "many":
        return parted(value, LIST)
    return _text_of(value)


def _text_of(value: Any) -> Any:
    return JOINT.join(value) if isinstance(value, tuple) else value


def _typed(kind: type, text: str) -> Any:
    """A value of a link; what cannot be read stays text, which the config refuses in words."""
    if kind is bool:
        return TRUE.get(text.lower(), text)
    if kind in (int, float):
        with suppress(ValueError):
            return float(text)
    return text


def _usual(setting: Setting) -> str:
    if isinstance(setting.limits, Options):
        return "dropdown"
    return {int: "slider", float: "slider", bool: "checkbox"}.get(setting.kind, "text")


def _choices(outside: str, setting: Setting) -> list[tuple[Any, str]]:
    """Options of a choice with their texts: OUTSIDE.OPTION, else what the file of the option says,
    else its name.
    """
    if not isinstance(setting.limits, Options):
        return []
    known = setting.limits.options
    about = {name: known[name].about for name in known} if isinstance(known, Mapping) else {}
    return [
        (label(f"{outside}.{option or 'none'}", about.get(option) or option or "–"), option)
        for option in setting.limits
    ]


def _text(setting: Setting, value: Any, choices: list, **more: Any):
    return gr.Textbox(value, **{"max_lines": 1} | more)


def _slider(setting: Setting, value: Any, choices: list, **more: Any):
    low, high = setting.limits
    span = setting.span or (low, high, 1 if setting.kind is int else (high - low) / 100)
    return Slider(*span[:2], value=value, step=span[2], **{"min_width": 160} | more)


def _number(setting: Setting, value: Any, choices: list, **more: Any):
    low, high = setting.limits
    return Number(value, minimum=low, maximum=high, **{"min_width": 100} | more)


def _dropdown(setting: Setting, value: Any, choices: list, **more: Any):
    return gr.Dropdown(choices, value=value, **{"min_width": 200} | more)


def _many(setting: Setting, value: Any, choices: list, **more: Any):
    more = {"multiselect": True, "max_choices": 2, "min_width": 200} | more
    return gr.Dropdown(choices, value=value, **more)


def _radio(setting: Setting, value: Any, choices: list, **more: Any):
    return gr.Radio(choices, value=value, **more)


def _checkbox(setting: Setting, value: Any, choices: list, **more: Any):
    return gr.Checkbox(value, **more)


_WIDGETS = {
    "text": _text,
    "slider": _slider,
    "number": _number,
    "dropdown": _dropdown,
    "many": _many,
    "radio": _radio,
    "checkbox": _checkbox,
}
