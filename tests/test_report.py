"""report.json says what was asked, what was read and what follows from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spf.config import GenerateConfig
from spf.evaluation.measures import compared, responded
from spf.evaluation.report import pair_report
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.targets import composed, known_targets, placed, serves, unread

KEYS = [
    "base",
    "target",
    "complete",
    "told",
    "also",
    "seed",
    "steps",
    "guidance",
    "model",
    "adapter",
    "made_for",
    "response",
    "pollution",
    "changed",
    "redrawn",
    "identity",
    "attributes",
    "sure",
    "seconds",
]


@pytest.fixture
def before():
    return sample_portrait(
        np.random.default_rng(0), fixed={"hair_style": "long", "background": "sea"}
    ).attributes()


def report(config, **more):
    return pair_report(
        config, model="tiny", seed=7, complete="x", seconds={"pair": 1.23456}, **more
    )


def test_targets_are_known_by_name_and_by_text():
    assert known_targets(["hat", "Blonde hair "]) == [TARGETS["hat"], TARGETS["blonde"]]
    assert known_targets(["a crown"]) == []


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("hat", "wearing a red hat;hats;with a hat;the big straw hat;and a hat on his head"),
        ("sunglasses", "shades;dark sunglasses;a pair of sunglasses;wearing sunglasses"),
        ("blonde", "blond hair;golden hair;with blonde hair;blonde"),
        ("freckles", "freckles;with many freckles;freckled skin"),
        ("dress", "a dress;in a summer dress;dresses;a gown"),
        ("watercolor", "as a watercolor;a watercolor portrait"),
        ("necklace", "pearls;wearing a gold necklace"),
        ("", "no hat;without a hat;hatless;a hat and sunglasses;a hat rack;dress shoes;glasses"),
        ("", "smiling;an old hat;a hat and a red dress;take off the hat"),
    ],
)
def test_a_target_is_known_in_other_words(name, ways):
    for way in ways.split(";"):
        assert known_targets([way]) == ([TARGETS[name]] if name else []), way


@pytest.mark.parametrize(
    ("asked", "name", "beside"),
    [
        ("a red dress", "dress", {"clothing_color": "red"}),
        ("wearing a long yellow gown", "dress", {"clothing_color": "yellow"}),
        ("a pink dress", "dress", {"clothing_color": ""}),
        ("long blonde hair", "blonde", {"hair_style": "long"}),
        ("curly golden hair", "blonde", {"hair_style": "curly"}),
    ],
)
def test_a_target_may_ask_for_more_of_its_thing(asked, name, beside):
    (target,) = known_targets([asked])
    assert (target.name, target.beside, target.text) == (name, beside, asked)
    assert serves(TARGETS[name].text, asked) and not serves(asked, TARGETS[name].text)

    seen = dict.fromkeys(ATTRIBUTES, "none") | {target.attribute: target.value}
    ((other, value),) = beside.items()
    assert responded(seen, target) == (not value)
    assert responded(seen | {other: value}, target)
    assert other not in compared(seen, seen, [target])
    assert other in compared(seen, seen, [TARGETS[name]])


def test_a_described_target_takes_the_place_of_a_described_word():
    def complete(base, target):
        return composed(GenerateConfig(base=base, targets=(target,))).complete

    assert complete("a woman in a blue T-shirt", "a red dress") == "a woman in a red dress"
    assert complete("a woman in a blue T-shirt", "dress") == "a woman in a blue dress"
    assert complete("a woman in a big T-shirt", "red dress") == "a woman in a big red dress"
    assert complete("T-shirt", "red dress") == "red dress"
    assert complete("a woman in a Blue T-shirt", "red dress") == "a woman in a red dress"


@pytest.mark.parametrize(
    ("asked", "beyond"),
    [
        ("a red dress", ""),
        ("a pink dress", "pink"),
        ("wearing a red hat", "red"),
        ("two big hats", "big"),
        ("black sunglasses", "black"),
        ("a hat", ""),
        ("a pearl necklace", ""),
        ("freckles", ""),
        ("blond hair", ""),
        ("a crown", ""),
    ],
)
def test_what_a_text_says_of_a_target_beyond_what_is_read(asked, beyond):
    assert unread(asked) == beyond


def test_what_was_tuned_serves_texts_that_mean_it():
    assert serves("gold earrings", "wearing big gold earrings") and serves("a hat", "red hat")
    assert serves("freckled skin", "freckles") and not serves("a hat", "a red hat, sunglasses")
    assert not serves("", "a hat") and not serves("a hat", "") and not serves("", "smiling")
    assert not serves("gold earrings", "no gold earrings") and not serves("earrings", "ear")


@pytest.mark.parametrize(
    ("name", "base", "way"),
    [
        ("watercolor", "a close-up photo of a man", ("replace", "photo")),
        ("watercolor", "A portrait of an old lady", ("replace", "portrait")),
        ("watercolor", "a picture of a boy, a photo", ("replace", "photo")),
        ("watercolor", "an old lady by the sea", ("front", "")),
        ("dress", "a photo of a woman in a red T-shirt", ("replace", "T-shirt")),
        ("dress", "a photo of a man, wearing a black suit and tie", ("replace", "suit and tie")),
        ("dress", "a girl in a white button shirt", ("replace", "button shirt")),
        ("dress", "a woman with dressed hair", ("append", "")),
        ("dress", "a woman in a dress", ("append", "")),
        ("hat", "a photo of a woman", ("append", "")),
        ("blonde", "a woman with long black hair, smiling", ("replace", "black hair")),
        ("blonde", "a woman with a red beard and Grey hair", ("replace", "grey hair")),
        ("blonde", "a woman with black curly hair", ("append", "")),
        ("blonde", "a woman with blonde hair", ("append", "")),
        ("laughing", "a smiling woman", ("replace", "smiling")),
        ("laughing", "a man with a happy smile, at the sea", ("replace", "with a happy smile")),
        ("laughing", "a man, a neutral face", ("replace", "a neutral face")),
        ("laughing", "a man not smiling", ("append", "")),
        ("laughing", "an astonished face", ("append", "")),
        ("sunglasses", "a man with spectacles", ("replace", "spectacles")),
        ("sunglasses", "a man without glasses", ("append", "")),
    ],
)
def test_a_target_goes_where_its_own_kind_stands(name, base, way):
    assert placed(TARGETS[name], base) == way


@pytest.mark.parametrize(
    ("base", "target", "mode", "complete"),
    [
        ("a photo of a man", "watercolor painting", "auto", "a watercolor painting of a man"),
        ("a portrait of a man", "A watercolor.", "auto", "a watercolor of a man"),
        ("an old lady by the sea", "watercolor", "auto", "a watercolor of an old lady by the sea"),
        ("an old lady", "a watercolor painting", "auto", "a watercolor painting of an old lady"),
        ("a man in a black suit and tie", "a dress", "auto", "a man in a black dress"),
        ("a photo of a man", "a hat", "auto", "a photo of a man, a hat"),
        ("a photo of a man", "a tattoo", "auto", "a photo of a man, a tattoo"),
        (
            "a photo of a man",
            "watercolor painting",
            "append",
            "a photo of a man, watercolor painting",
        ),
        ("a man with black hair", "with blonde hair", "auto", None),
        ("a man with black hair", "blond hair", "auto", "a man with blond hair"),
        ("a smiling man", "a big laugh", "auto", None),
        ("a man with a smile", "a big laugh", "auto", "a man with a big laugh"),
        ("a man with a smile", "laughing", "auto", "a man laughing"),
        ("a sad old man", "laughing", "auto", "a laughing old man"),
        ("a sad old man", "laughing", "append", "a sad old man, laughing"),
    ],
)
def test_a_known_target_is_put_where_it_belongs_unless_asked_otherwise(
    base, target, mode, complete
):
    config = GenerateConfig(base=base, targets=(target,), mode=mode)
    assert composed(config).complete == (complete or f"{base}, {target}")


def test_any_target_of_several_is_put_where_it_belongs():
    config = GenerateConfig("a photo of a man", ("a hat", "watercolor painting", "a smile"))
    found = composed(config)
    assert found.complete == "a watercolor painting of a man, a hat, a smile"
    assert [phrase.text for phrase in found.target_phrases] == list(config.targets)
    for phrase in found.target_phrases:
        assert found.complete[slice(*phrase.complete[0])] == phrase.text

    assert found.before() == composed(replace(config, targets=config.targets[:2]))
    assert found.before().before().complete == "a photo of a man, a hat"
    assert found.over("an old photo").complete == "an old watercolor painting, a hat, a smile"


def test_a_word_that_a_target_always_replaces_comes_before_one_that_it_contradicts():
    config = GenerateConfig("a smiling man in a red T-shirt", ("laughing", "dress"))
    assert composed(config).complete == "a smiling man in a red dress, laughing"


def test_words_to_replace_are_those_that_are_given():
    config = GenerateConfig("a photo of a man", ("watercolor painting",), "replace", "man")
    assert composed(config).complete == "a photo of a watercolor painting"


def test_report_of_a_polluted_pair(before):
    config = GenerateConfig(base="a photo of a woman", targets=("a hat",), seed=7)
    found = report(
        config,
        before=before,
        after=before | {"hat": "hat", "background": "park"},
        identity=0.91234567,
        sure={"background": 0.56789},
        redrawn=("mouth",),
    )
    assert list(found) == KEYS
    assert (
        found["response"] == 1.0
        and found["pollution"] == round(1 / 18, 4)
        and found["changed"] == ["background"]
    )
    assert (
        found["attributes"]["background"] == {"original": "sea", "tuned": "park"}
        and len(found["attributes"]) == 19
    )
    assert found["redrawn"] == ["mouth"]
    assert found["sure"] == {"background": 0.568}
    assert found["identity"] == 0.9123 and found["seconds"] == {"pair": 1.235}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_several_targets_count_as_a_share_and_unknown_ones_have_no_response(before):
    two = GenerateConfig(base="a photo", targets=("a hat", "freckled skin"))
    found = report(two, before=before, after=before | {"hat": "hat"})
    assert found["response"] == 0.5 and found["changed"] == []
    other = GenerateConfig(base="a photo", targets=("a crown",))
    assert report(other, before=before, after=before)["response"] is None


def test_without_judges_the_readings_are_empty():
    found = report(GenerateConfig(base="a photo"))
    assert list(found) == KEYS
    read = ("response", "pollution", "changed", "redrawn", "identity", "attributes", "sure")
    assert [found[k] for k in read] == [None] * 7
