"""Series, the purity dial, targets without weights, and words of the page, around the engine that
draws instead.
"""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import FakeEngine

from spf.answers import Column, Words
from spf.config import AUTO, GenerateConfig
from spf.errors import BadInput
from spf.evaluation.named import contradicted, disobeyed, named
from spf.jobs import _ending
from spf.portraits.captions import WORDS, caption
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.prompts import MOST_TARGETS, compose
from spf.shelf import NAIVE, ORIGINAL, TUNED
from spf.ui import runs, series, stage
from spf.ui.foreign import chinese, translated
from spf.ui.form import Form
from spf.ui.refusals import retold, worded
from spf.ui.tabs import compare
from spf.ui.upload import TITLES, wish
from spf.ui.verdict import asked_for, titled
from spf.worker import _no_room

CONFIG = GenerateConfig("a photo of a woman", ("a hat",), seed=7, steps=6, adapter=AUTO)
REQUEST = SimpleNamespace(session_hash="s")
FORM = Form()


@pytest.fixture
def engine(tmp_path):
    engine = FakeEngine(tmp_path)
    engine.load()
    return engine


def test_a_series_is_a_list_of_settings():
    seeds = series.parts("seeds", replace(CONFIG, seed=2**32 - 1), 3)
    assert [config.seed for _, config in seeds] == [2**32 - 1, 0, 1]
    dial = series.parts("strengths", CONFIG)
    assert [config.strength for _, config in dial] == list(series.DIAL)
    assert len({config.seed for _, config in dial}) == 1
    lines = "a photo of a man\n\n a photo of a lady => laughing \n"
    texts = series.parts("texts", CONFIG, lines=lines)
    assert [(config.base, config.targets) for _, config in texts] == [
        ("a photo of a man", ("a hat",)),
        ("a photo of a lady", ("laughing",)),
    ]


@pytest.mark.parametrize(
    ("kind", "count", "lines", "field"),
    [("seeds", 99, "", "seeds"), ("texts", 1, " \n", "texts"), ("colours", 2, "", "kind")],
)
def test_a_series_that_cannot_be_is_refused_in_a_sentence(kind, count, lines, field):
    with pytest.raises(BadInput, match=f"^{field} (is|has) "):
        series.parts(kind, CONFIG, count, lines)


def test_a_series_grows_on_its_sheet_and_the_dial_says_what_flips_first(engine):
    desk = runs.Runs(engine)
    *values, (last, go, halt) = desk.series(REQUEST, "seeds", 3, "", *FORM.shown(CONFIG).values())
    assert [item["request"]["seed"] for item in last["items"]] == [7, 8, 9]
    assert last["phase"] == "done" and go["interactive"] and not halt["interactive"]
    assert values[0][0]["count"] == 3 and values[0][0]["status"]["en"].startswith("Drawing 1 of 3.")
    lengths = [len(value[0]["items"]) for value in values]
    assert lengths == sorted(lengths) and desk.runs == {}

    *_, (dial, *_) = desk.dial(REQUEST, *FORM.shown(CONFIG).values())
    assert [item["request"]["strength"] for item in dial["items"]] == list(series.DIAL)
    told = [name for item in dial["items"] for name in map(str, item["flips"])]
    assert len(told) == len(set(told)), "what flipped before is not told again"


def test_a_refused_series_keeps_what_is_there_and_frees_the_buttons(engine):
    *_, (value, go, halt) = runs.Runs(engine).series(
        REQUEST, "texts", 1, "", *FORM.shown(CONFIG).values()
    )
    assert value["phase"] == "failed" and "0 lines of texts" in value["status"]["en"]
    assert go["interactive"] and not halt["interactive"]


def test_columns_are_asked_for_by_name_and_say_how_they_were_drawn(engine):
    beside = replace(CONFIG, beside="auto, blonde", others="alike")
    assert engine.variants(beside) == {
        TUNED: ["hat"],
        NAIVE: ["hat-naive"],
        "blonde": ["blonde"],
    }
    assert engine.columns(beside) == {
        TUNED: Column("spf", "held"),
        NAIVE: Column("naive", "held"),
        "blonde": Column("spf", "held"),
    }
    free = engine.columns(replace(CONFIG, guided=""))
    assert {column.guide for column in free.values()} == {""}
    assert list(engine.variants(replace(CONFIG, beside=""))) == [TUNED]
    with pytest.raises(BadInput, match="^beside has 3 tuned models but at most 2"):
        engine.variants(replace(CONFIG, beside="auto, blonde, dress"))
    *_, (value, *_) = runs.Runs(engine).run(REQUEST, False, *FORM.shown(beside).values())
    assert value["roles"] == [ORIGINAL, TUNED, NAIVE, "blonde"]
    assert value["columns"]["blonde"]["label"]["en"] == "SPF weights, held"


def test_one_switch_draws_every_column_the_same_way():
    assert compare.drawn(SimpleNamespace(way="held"))[1:] == ("held", "alike")
    assert compare.drawn(SimpleNamespace(way="free"))[1:] == ("", "free")


def test_one_edit_can_be_taken_out():
    assert compare.shorter("a hat + dress + laughing", SimpleNamespace(place=1)) == (
        "a hat + laughing"
    )


def test_a_target_that_is_seldom_there_is_told_of_for_shipped_weights_only(
    engine, tmp_path, monkeypatch
):
    rows = [
        {"method": method, "target": name, "measure": "response", "value": value, "n": 8}
        for method, name, value in (
            ("spf", "hat", 0.0),
            ("spf+held", "hat", 0.5),
            ("spf+held", "freckles", 0.375),
            ("spf+held", "laughing", 0.125),
        )
    ]
    (tmp_path / "table.json").write_text(json.dumps({"rows": rows}))

    def told(*targets, **changed):
        desk = runs.Runs(engine, places=(tmp_path,))
        values = FORM.shown(replace(CONFIG, targets=targets, **changed)).values()
        return [notice["text"]["en"] for notice in desk.read(*values)["notices"]]

    assert told("freckled skin") == [], "weights of somebody's own"
    monkeypatch.setenv("SPF_CHECKPOINTS", str(engine.folder))
    assert told("a hat") == told("laughing") == told("freckled skin", adapter="hat") == []
    assert told("a hat", "freckled skin") == [
        "This small model has hardly learnt “freckled skin”: of 8 measured pairs 3 show it."
    ]


def test_typing_is_told_what_is_lacking(engine):
    told = runs.Runs(engine).read(
        *FORM.shown(
            replace(CONFIG, base="a photo of a youngg knight", targets=("a pearl necklace",))
        ).values()
    )
    near = {swap["word"]: swap["near"] for swap in told["swaps"]}
    assert near["youngg"][0] == "young" and near["knight"] == [] and "young" in told["known"]
    assert told["teach"] == [{"key": "necklace", "title": asked_for(TARGETS["necklace"])}]
    event = SimpleNamespace(word="youngg", by="young")
    assert compare.swapped("a youngg man", "youngg hat", event) == ("a young man", "young hat")
    shelf = {item["key"]: item["taught"] for item in compare.suggestions(engine)["items"]}
    assert shelf["hat"] and not shelf["necklace"]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("steps is 3000 but must be a whole number from 1 to 200.", "“Steps” is 3000 but must be"),
        ("guided is 'x' but must be one of held, told.", "“Stay near the original” is 'x'"),
        ("base is empty but must describe a portrait.", "“Base text” is empty: describe"),
        ("seed is empty but must be a whole number from 0 to 9.", "“Seed” is empty but must be a"),
        ("guidance is empty but must be a number from 1 to 20.", "“Guidance” is empty but must be"),
        ("replace is empty but must be words.", "“Words to replace” is empty but must be words."),
        ("adapter is 'x' but must be one of: hat.", "“Tuned model” is 'x' but must be"),
    ],
)
def test_refusals_use_the_words_of_the_page(text, start):
    told = worded(BadInput(text), FORM.titles())
    assert told["en"].startswith(start) and told["zh"] != told["en"]
    plain = worded(BadInput("The disk is full."), FORM.titles())
    assert plain["en"] == "The disk is full."


HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("made", "start"),
    [
        (lambda: GenerateConfig("woman " * 500), "“Base text” has 2999 characters but at most"),
        (lambda: GenerateConfig("a \x07man"), "“Base text” is 'a \\x07man' but control"),
        (lambda: GenerateConfig("a man", ("hat",) * (MOST_TARGETS + 1)), "“Target text” has"),
        (lambda: GenerateConfig("a man", mode="replace"), "Where the target takes the place"),
        (lambda: compose("a man", ("a dress",), "replace", "robe"), "“robe” does not stand in"),
        (lambda: compose("a man", ("a hat", ".,")), "One of the targets is empty;"),
        (lambda: compose("a <|man|>"), "The texts must not contain <| or |>"),
        (lambda: series.parts("texts", CONFIG, lines=""), "0 lines of texts, but 1 to"),
        (lambda: series.parts("seeds", CONFIG, 99), "“How many seeds, from the given one on” is"),
    ],
)
def test_what_the_library_refuses_is_told_in_every_language(engine, made, start):
    with pytest.raises(BadInput) as refused:
        made()
    told = worded(refused.value, runs.Runs(engine).titles)
    assert told["en"].startswith(start)
    assert HAN.search(told["zh"]) and told["zh"] != told["en"]


def told_by_jobs():
    """Everything that jobs and their processes say, as the code has it."""
    at = "at step 3 of 9"
    return [
        "The job hat-spf-1 is still at work; stop it or wait for it.",
        "The job hat-spf-1 is still at work; stop it first.",
        "Another process is still at work in the job hat-spf-1.",
        "Another job is being started; try again in a moment.",
        "job hat-spf-1 is done but only a paused, stopped, interrupted or failed one can be"
        " resumed.",
        "job hat-spf-1 cannot be resumed: its request.json is damaged; delete it.",
        "request.json is damaged, so this job cannot go on; delete it.",
        "state.json was damaged.",
        *(f"The process {_ending(code)} {at}." for code in (None, -9, -15, 3)),
        "There was not enough memory; close other programs, or choose a smaller batch.",
        "RuntimeError; the log says more.",
        _no_room(Path("."), 2**40),
        _no_room(Path("."), 0),
        "/home/me/runs/jobs has 12 MiB free but 400 MiB are needed.",
        "runs/jobs cannot be written (Permission denied), so no job can be started; start the page"
        " in a folder of your own.",
        "The gradient of spf is nan at step 12; the state of step 11 is kept.",
        "The saved state /runs/x/state.safetensors is incomplete; start again with --fresh.",
        "The saved state in /runs/x was made with seed 1, not 2.",
        "The saved state x belongs to a network of other sizes; start again with --fresh.",
    ]


@pytest.mark.parametrize("text", told_by_jobs(), ids=itertools.count())
def test_what_jobs_say_is_told_in_every_language_and_names_no_place(text):
    told = retold(text)
    assert HAN.search(told["zh"]) and not HAN.search(told["en"])
    assert not any(place in line for line in told.values() for place in ("/home", "/runs", "json"))
    for number in re.findall(r"(?<![\w/-])\d+", text.split("; the state")[0]):
        if "saved state" not in text:
            assert number in told["zh"], "figures are kept"


def test_what_is_not_known_keeps_its_words():
    assert retold("The dog ate it.")["zh"] == "The dog ate it." and retold("")["en"] == ""


def test_a_text_that_leaves_no_room_for_its_target_is_told_in_words_of_the_page(tiny_base):
    prompt = compose("a photo of a man, " * 30, ("a hat",))
    with pytest.raises(BadInput) as refused:
        prompt.require_targets(tiny_base.tokenizer)
    told = worded(refused.value, {})
    assert told["en"].startswith("The texts are too long: the model reads 75 pieces")
    assert "“a hat”" in told["en"] and HAN.search(told["zh"])


def test_the_form_of_a_run_has_words_of_its_own():
    with pytest.raises(BadInput) as refused:
        wish(" ", "")
    told = worded(refused.value, TITLES)
    assert told["en"].startswith("“What they all show” is empty: say what") and HAN.search(
        told["zh"]
    )
    few = worded(BadInput("images is 3 usable pictures but must be from 4 to 500."), TITLES)
    assert few["en"] == "3 usable pictures, but 4 to 500 are needed."


@pytest.mark.parametrize(
    ("text", "both"),
    [
        ("a young old woman with red hair", {"age": ["young", "old"]}),
        ("a woman with red hair and blonde hair", {"hair_color": ["red", "blonde"]}),
        ("an old photo of a young man", {}),
        ("a man with black hair, black eyes and a black suit", {}),
        ("a middle-aged woman with a long red dress and short gray hair", {}),
        ("a photo of a woman with green eyes and glasses, before a green wall", {}),
        ("a watercolor portrait of a woman", {}),
        ("a watercolor portrait of a woman, and a photo", {"style": ["watercolor", "photo"]}),
    ],
)
def test_texts_that_ask_for_two_things_at_once_are_told(text, both):
    assert contradicted(text) == both
    told = stage.notices(Words(compose(text, ("a hat",))))
    assert len(told) == len(both)
    if both:
        assert " and ".join(next(iter(both.values()))) in told[0]["text"]["en"]
        assert HAN.search(told[0]["text"]["zh"])


def test_no_caption_contradicts_itself():
    rng = np.random.default_rng(11)
    texts = [caption(sample_portrait(rng), rng).text for _ in range(300)]
    assert {text: found for text in texts if (found := contradicted(text))} == {}


def test_targets_are_called_in_the_visitors_language():
    assert titled("laughing + blonde hair")["zh"] == "大笑 + 金发"
    assert titled("a crown + a hat") == {"en": "a crown + a hat", "zh": "a crown + 帽子"}
    shown = compare.suggestions(SimpleNamespace(pick=lambda _: ""))["items"]
    assert all(HAN.search(one["title"]["zh"]) for one in shown)
    assert [one["title"]["en"] for one in shown] == [one.text for one in TARGETS.values()]


def test_what_a_caption_names_is_read_from_it():
    rng, counted = np.random.default_rng(3), 0
    for _ in range(200):
        portrait = sample_portrait(rng)
        text = caption(portrait, rng).text
        found = named(text)
        counted += len(found)
        assert found == {name: getattr(portrait, name) for name in found}, text
    assert counted > 800
    assert named("a tree") == {} and named("red") == {}
    assert named("a watercolor portrait") == {"style": "watercolor"}, "the longer way to say it"
    assert named("a woman at the sea") == {"gender": "woman", "background": "sea"}
    for (attribute, value), ways in WORDS.items():
        if attribute in ATTRIBUTES:  # a word alone may be shared, several say what they mean
            assert {named(way).get(attribute) for way in ways if " " in way} <= {value}


def test_the_original_is_held_to_its_own_text():
    shown = {"gender": "woman", "hair_color": "brown"}
    assert disobeyed("a photo of a woman with red hair", shown)[1] == ["style", "hair_color"]
    assert disobeyed("a woman with brown hair", shown)[1] == []
    target = TARGETS["blonde"]
    assert "hair_color" not in disobeyed("a woman with red hair", shown, [target])[0]


def test_chinese_texts_are_offered_in_english():
    assert chinese("一位女子") and not chinese("a woman")
    base, target = translated("一位年轻女子，红色长发，穿蓝色衬衫，戴帽子")
    assert named(base)["hair_color"] == "red" and named(base)["clothing_color"] == "blue"
    assert named(base)["gender"] == "woman" and target == TARGETS["hat"].text
    assert translated("年轻女人，短发，戴墨镜和帽子")[1] == "a hat + sunglasses"
    assert translated("你好") == ("", "")
