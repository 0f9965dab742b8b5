"""Settings check themselves and say what is allowed."""

import json
import math
from dataclasses import FrozenInstanceError, dataclass

import pytest

from spf.config import Config, GenerateConfig, choice, flag, real, text, texts, whole
from spf.errors import BadInput


@dataclass(frozen=True)
class Example(Config):
    steps: int = whole(30, 1, 200, "denoising steps")
    guidance: float = real(4.0, 1.0, 20.0)
    words: str = text("", 10)
    targets: tuple[str, ...] = texts((), 2)
    mode: str = choice("append", ("append", "replace"))
    guided: bool = flag(False)


BAD = {
    "steps": [0, 201, 3.5, math.nan, math.inf, None, "abc", "3", True, 10**400, [1]],
    "guidance": [0.9, 20.1, math.nan, -math.inf, None, "4", False],
    "words": ["12345678901", None, 3, "a\x00b", "a\u202eb"],
    "targets": [["a", "b", "c"], [3], 4, None],
    "mode": ["Append", "", None, ["append"]],
    "guided": [1, "yes", None],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_bad_value_is_refused_in_one_sentence_that_names_the_setting(name, value):
    with pytest.raises(BadInput) as caught:
        Example(**{name: value})
    message = str(caught.value)
    assert message.startswith(name) and message.endswith(".") and "\n" not in message


def test_good_values_are_cleaned():
    example = Example(
        steps=3.0, guidance=5, words="  a \n b ", targets="  a hat ", mode="replace", guided=True
    )
    assert example == Example(3, 5.0, "a b", ("a hat",), "replace", True)
    assert isinstance(example.steps, int) and isinstance(example.guidance, float)


def test_settings_cannot_be_changed_and_pass_through_json():
    example = Example(targets=("a hat", "laughing"))
    with pytest.raises(FrozenInstanceError):
        example.steps = 1
    assert Example.from_dict(json.loads(json.dumps(example.to_dict()))) == example


def test_an_unknown_setting_is_refused():
    with pytest.raises(BadInput, match='no setting "stepz"; the settings are steps, guidance'):
        Example.from_dict({"stepz": 3})


def test_limits_and_help_can_be_shown():
    assert Example.limits("steps") == (1, 200) and Example.help("steps") == "denoising steps"
    assert Example.limits("mode") == ("append", "replace")


def test_generate_needs_a_portrait_and_a_complete_replacement():
    assert GenerateConfig(
        base="a woman", mode="replace", replace="woman", targets="man"
    ).targets == ("man",)
    with pytest.raises(BadInput, match="base is empty"):
        GenerateConfig(base="  ")
    with pytest.raises(BadInput, match="mode is replace"):
        GenerateConfig(base="a woman", mode="replace", targets="man")
