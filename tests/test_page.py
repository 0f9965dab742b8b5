"""What the page is told and what it is sent, without a browser."""

import base64
import gzip
import inspect
import io
import json
import pickle
import re
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from fake_engine import FakeEngine
from huggingface_hub import metadata_load
from PIL import Image
from safetensors.numpy import save_file

from spf import results as tables
from spf import space, userdata
from spf.answers import Progress, Result, Words
from spf.bases.pinned import PINNED, PINNED_CLIP, preloaded
from spf.config import AUTO, GenerateConfig, Options
from spf.errors import BadInput, SpfError, placeless
from spf.evaluation.measured import MEANINGS
from spf.files import write_json
from spf.jobs import Jobs, SlicedJobs
from spf.methods import METHODS, config_of
from spf.packing import unpacked
from spf.portraits.description import ATTRIBUTES, TARGETS, sample_portrait
from spf.portraits.tailored import SIZE
from spf.prompts import PAD, compose
from spf.shelf import NAIVE, ORIGINAL, TUNED
from spf.ui import (
    build,
    components,
    examples,
    gpu,
    launch_options,
    maps,
    page,
    runs,
    stage,
    texts,
    upload,
)
from spf.ui.form import Form
from spf.ui.tabs import compare, finetune, results, vote
from spf.ui.verdict import verdict
from spf.votes import Votes

CONFIG = GenerateConfig(
    "a photo of a young woman with long red hair", ("a hat",), seed=7, steps=12, adapter=AUTO
)
FORM = Form()
HAT = [TARGETS["hat"]]


@pytest.fixture
def engine(tmp_path):
    return FakeEngine(tmp_path)


@pytest.fixture
def result(engine):
    return list(engine.compare(CONFIG))[-1]


def before(**more):
    plain = {"hat": "none", "background": "gray", "hair_style": "long", "age": "young"}
    return sample_portrait(
        np.random.default_rng(0), split="train", targets="none", fixed=plain | more
    ).attributes()


# verdict


def test_the_verdict_says_what_is_there_and_what_changed():
    plain = before()
    said = verdict(plain, plain | {"hat": "hat", "background": "sea"}, HAT)
    assert (
        said["sentence"]["en"]
        == "The hat is there. 17 of 18 other attributes are unchanged; background changed."
    )
    assert said["sentence"]["zh"] == "已出现：帽子。其余 18 个属性中 17 个未变；改变的有：背景。"
    assert [(c["label"]["en"], c["from"]["en"], c["to"]["en"]) for c in said["changed"]] == [
        ("background", "gray", "sea")
    ]
    assert (
        len(said["unchanged"]) == 17
        and not said["clean"]
        and said["score"]["en"] == "target there, 1 of 18 others changed"
    )


@pytest.mark.parametrize(
    ("names", "after", "start"),
    [
        (["hat"], {}, "The hat is not there. All 18 other"),
        (["sunglasses"], {"eyewear": "sunglasses"}, "The sunglasses are there."),
        (["freckles"], {"freckles": "freckles"}, "Freckled skin is there."),
        (
            ["hat", "freckles"],
            {"hat": "hat"},
            "The hat is there, but not freckled skin. All 17 other",
        ),
        (
            ["hat", "freckles"],
            {"hat": "hat", "freckles": "freckles"},
            "The hat and freckled skin are there.",
        ),
        (["dress"], {"clothing": "dress"}, "The dress is there."),
    ],
)
def test_verdicts_are_sentences(names, after, start):
    plain = before(eyewear="none", freckles="none", clothing="shirt")
    assert verdict(plain, plain | after, [TARGETS[name] for name in names])["sentence"][
        "en"
    ].startswith(start)


def test_the_verdict_names_what_nobody_reads_of_a_target():
    plain = before()
    said = verdict(plain, plain | {"hat": "hat"}, HAT, beyond=["red"])["sentence"]
    assert said["en"].startswith("The hat is there. Whether it is “red” is not read. ")
    assert "red" in said["zh"]


def test_the_verdict_does_not_judge_what_the_judges_were_never_taught():
    plain = before()
    said = verdict(plain, plain | {"age": "old"}, [])
    assert "never" not in said["sentence"]["en"] and said["sentence"]["en"].endswith(
        "18 of 19 other attributes are unchanged; age changed."
    )
    assert verdict(plain, plain, HAT, tuned=False)["sentence"]["en"].startswith(
        "No tuned model is active"
    )
    assert (
        verdict(plain, plain, [], asked=False)["sentence"]["en"]
        == "All 19 other attributes are unchanged."
    )


@pytest.mark.parametrize(
    ("redrawn", "told"),
    [
        (["mouth"], "Unasked, the mouth was drawn anew."),
        (["eyes"], "Unasked, the eyes were drawn anew."),
        (["eyes", "nose"], "Unasked, the eyes and the nose were drawn anew."),
    ],
)
def test_a_face_drawn_anew_is_no_clean_pair(redrawn, told):
    plain = before()
    said = verdict(plain, plain | {"hat": "hat"}, HAT, redrawn=redrawn)
    assert said["sentence"]["en"].endswith(told) and not said["clean"]
    assert said["score"]["en"] == "target there, but part of the face is another"
    assert [(c["from"], c["to"]["en"]) for c in said["changed"]] == [(None, "drawn anew")] * len(
        redrawn
    )
    assert said["sentence"]["zh"].count("被重画") == 1


# stage


def test_waiting_tells_role_step_and_time_left():
    value = stage.waiting(Progress(TUNED, 12, 30, 4.4), [ORIGINAL, TUNED], {})
    assert value["status"] == {
        "en": "Tuned: step 12 of 30, about 4 s left",
        "zh": "微调：第 12/30 步，约剩 4 秒",
    }
    assert value["progress"] == 0.4 and value["phase"] == "running"
    assert "left" not in stage.waiting(Progress(TUNED, 29, 30, 0.3), [], {})["status"]["en"]


def test_a_finished_stage_is_plain_json_with_settings_in_every_picture(result):
    value = json.loads(json.dumps(stage.finished(result)))
    assert value["phase"] == "done" and list(value["portraits"]) == value["roles"] == [
        ORIGINAL,
        TUNED,
        NAIVE,
    ]
    for role, uri in value["portraits"].items():
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert np.array_equal(np.asarray(picture), result.portraits[role]), (
            "pixels are the model's own"
        )
        assert json.loads(picture.info["spf"]) == value["request"] | {"role": role}
        assert (
            max(
                Image.open(
                    io.BytesIO(base64.b64decode(value["display"][role].partition(",")[2]))
                ).size
            )
            == 512
        )
    assert (
        value["request"]["adapter"] == "hat"
        and value["verdicts"][TUNED]["clean"]
        and not value["verdicts"][NAIVE]["clean"]
    )


def test_without_judges_no_verdict_is_claimed(result):
    blind = {role: report | {"attributes": None} for role, report in result.reports.items()}
    value = stage.finished(Result(**vars(result) | {"reports": blind}))
    assert value["verdicts"] == {} and "no judges" in value["status"]["en"]


def test_words_are_marked_by_what_the_model_makes_of_them():
    prompt = compose("a photo of a Young knight with long hair", ("a hat",))
    pieces = stage.marked(Words(prompt, unknown=("knight",)))
    assert "".join(piece["text"] for piece in pieces) == prompt.complete
    assert [(p["text"], p["kind"]) for p in pieces if p["kind"] != "text"] == [
        ("photo", "phrase"),
        ("Young ", "phrase"),
        ("knight", "unknown"),
        ("long hair", "phrase"),
        ("a hat", "target"),
    ]
    cut = stage.marked(Words(prompt, dropped=("long", "hair,", "a", "hat")))
    assert cut[-1] == {"text": "long hair, a hat", "kind": "dropped"}


def test_notices_name_the_words(engine, result):
    told = stage.notices(Words(result.words.prompt, unknown=("knight", "sword"), dropped=("hat",)))
    assert "knight, sword" in told[0]["text"]["en"] and told[1]["text"]["zh"].endswith("hat。")
    weighted = stage.notices(Words(compose("a man", ("(a hat:1.3)",))))
    assert "(word:1.3), are read as plain text" in weighted[0]["text"]["en"]
    plain = list(engine.compare(GenerateConfig(CONFIG.base, ("a crown",), adapter=AUTO, steps=5)))[
        -1
    ]
    assert "No tuned model fits" in stage.finished(plain)["notices"][-1]["text"]["en"]
    other = stage.finished(replace(plain, unfit=("crown", "tiara")))["notices"][-1]["text"]
    assert "so not used by itself: crown, tiara." in other["en"] and "crown, tiara" in other["zh"]


def test_adapters_of_other_weights_are_named_under_the_portraits(tmp_path, result):
    engine = FakeEngine(tmp_path)
    assert not any(
        "other weights" in one["text"]["en"] for one in stage.finished(result)["notices"]
    )
    path = engine.files()["hat"]
    save_file({"x": np.zeros(1)}, path, {"target": "a hat", "method": "spf", "base_model": "old"})
    chosen = replace(CONFIG, adapter="hat")
    shown = stage.finished(list(engine.compare(chosen))[-1])
    (told,) = [one for one in shown["notices"] if one["kind"] == "warning"]
    assert told["text"]["en"].startswith("Tuned on other weights than the loaded ones: hat (old).")
    assert shown["report"][TUNED]["made_for"] == ["old"]
    engine.model = "old"
    engine.base = None
    shown = stage.finished(list(engine.compare(chosen))[-1])
    assert shown["report"][TUNED]["made_for"] == []


# look inside


def test_the_blob_holds_every_map_of_every_step(result):
    data = json.loads(json.dumps(maps.payload(result)))
    arrays = unpacked(data["blob"], data["arrays"])
    phrases = result.trace.tuned[TUNED].phrases
    assert [layer["label"]["en"] for layer in data["layers"]] == [
        "photo",
        "young woman",
        "long red hair",
        "a hat",
        "padding",
        "noise difference",
        "photo",
        "young woman",
        "long red hair",
        "SFCM",
        "held map",
    ]
    for side, scale in data["scales"].items():
        low, high = scale["a hat"]
        ours = arrays[f"tuned/{side}"][:, 3] / 255 * (high - low) + low
        truth = result.trace.tuned[TUNED].maps[int(side)][:, 0, 3]
        assert np.abs(ours - truth).max() <= (high - low) / 255
        assert arrays[f"tuned/{side}"].shape == (12, len(phrases), int(side), int(side))
        assert (
            not arrays[f"original/{side}"][:, phrases.index("a hat")].any()
            and arrays[f"original/{side}"][:, phrases.index(PAD)].any()
        )
    chain = result.trace.chain(TUNED, 5)
    assert np.abs(arrays["chain"][5, -2] / 255 - chain[-1][1]).max() < 0.003
    assert np.abs(arrays["chain"][5, -1] / 255 - result.trace.tuned[TUNED].held[0]).max() < 0.003
    free = maps.payload(
        replace(
            result,
            trace=replace(
                result.trace, tuned={TUNED: replace(result.trace.tuned[TUNED], held=None)}
            ),
        )
    )
    assert free["layers"][-1]["key"] == "sfcm" and free["arrays"]["chain"]["shape"][1] == len(chain)
    assert (
        data["start"] == "phrase-3"
        and data["chain"][2]["weight"] == 0.6
        and len(data["frames"][ORIGINAL]) == len(data["frame_steps"])
    )


def test_the_target_is_outlined_where_the_judges_see_it(engine, result):
    data = maps.payload(result)["outline"]
    assert data["size"] == [128, 128] and data["path"].startswith("M") and result.region.sum() > 100
    square = np.zeros((4, 5), bool)
    square[1, 2] = True
    edges = set(re.findall(r"M\d+ \d+[hv]1", maps.outline(square)["path"]))
    assert edges == {"M2 1h1", "M2 2h1", "M2 1v1", "M3 1v1"}
    style = list(
        engine.compare(
            GenerateConfig("a photo of a man", ("watercolor painting",), adapter=AUTO, steps=5)
        )
    )[-1]
    assert style.region is None and maps.payload(style)["outline"] is None


def test_a_run_weighs_little(result):
    assert len(json.dumps(maps.payload(result))) < 400_000


# fields, links, pictures


def test_fields_become_checked_settings():
    config = page.wanted(
        FORM,
        "  a photo of   a woman ",
        "a hat + freckled skin",
        "append",
        "T-shirt",
        "auto",
        "hat",
        7,
        30,
        4,
    )
    assert (
        config.base == "a photo of a woman"
        and config.targets == ("a hat", "freckled skin")
        and config.replace == ""
    )
    assert page.wanted(FORM, "a woman", "dress", "replace", "T-shirt").replace == "T-shirt"


@pytest.mark.parametrize(
    "values",
    [
        ("", "a hat"),
        ("a woman", None),
        ("a woman", "x" * 2000),
        ("a woman", "dress", "replace", ""),
    ],
)
def test_bad_fields_get_a_sentence(engine, values):
    desk = runs.Runs(engine)
    request = SimpleNamespace(session_hash="s")
    rest = ["", "a hat", "append", "", AUTO, AUTO, 7, 30, 4][len(values) :]
    *_, (shown, _, go, halt) = desk.run(request, False, *values, *rest)
    assert (
        shown["phase"] == "failed"
        and shown["status"]["en"].endswith(".")
        and go["interactive"]
        and not halt["interactive"]
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"seed": float("nan")},
        {"steps": 0},
        {"steps": 3.7},
        {"guidance": None},
        {"seed": 2**40},
        {"mode": "x"},
    ],
)
def test_numbers_are_checked_again_behind_the_widgets(engine, bad):
    fields = (
        dict(
            base="a woman",
            target="a hat",
            mode="append",
            replace="",
            also="",
            adapter="hat",
            seed=1,
            steps=5,
            guidance=4.0,
        )
        | bad
    )
    *_, last = runs.Runs(engine).run(SimpleNamespace(session_hash="s"), False, *fields.values())
    assert last[0]["phase"] == "failed" and "went wrong" not in last[0]["status"]["en"]


def test_a_bug_gives_a_code_and_the_log_has_the_story(engine, caplog):
    engine.fault = RuntimeError("secret /home/me token hf_CANARY")
    *_, last = runs.Runs(engine).run(
        SimpleNamespace(session_hash="s"),
        False,
        "a woman",
        "a hat",
        "append",
        "",
        AUTO,
        AUTO,
        1,
        5,
        4.0,
    )
    code = re.search(r"Code (\w+)", last[0]["status"]["en"])[1]
    assert "CANARY" not in json.dumps(last[0]) and code in caplog.text and "CANARY" in caplog.text


def test_a_chain_shows_every_step_of_the_way_and_grows_without_repeating(engine):
    desk, request = runs.Runs(engine), SimpleNamespace(session_hash="s")
    rest = ("append", "", AUTO, AUTO, 3, 6, 4.0)
    *_, (shown, _, go, _) = desk.run(request, True, "a photo of a woman", "a hat + dress", *rest)
    assert shown["phase"] == "done" and go["interactive"]
    assert [link["title"]["en"] for link in shown["strip"]] == ["+ a hat", "+ dress"]
    assert (
        shown["strip"][-1]["portrait"] == shown["portraits"][TUNED] != shown["strip"][0]["portrait"]
    )
    drawn = engine.steps_done
    values = list(
        desk.run(request, True, "a photo of a woman", "a hat + dress + freckled skin", *rest)
    )
    assert [link["title"]["en"] for link in values[-1][0]["strip"]] == [
        "+ a hat",
        "+ dress",
        "+ freckled skin",
    ]
    assert engine.steps_done - drawn == 6 * 2, "only the longest chain is drawn: original and tuned"
    assert (
        values[0][0]["status"]["en"].startswith("Edit 3 of 3. ") and values[0][0]["progress"] > 0.6
    )
    drawn = engine.steps_done
    *_, (plain, *_) = desk.run(request, False, "a photo of a woman", "a hat + dress", *rest)
    assert plain["strip"] == [] and engine.steps_done == drawn, "the same pair is there at once"
    assert plain["portraits"] == shown["portraits"]


def test_prefixes_use_the_adapters_of_their_own_targets():
    config = GenerateConfig("a woman", ("a hat", "dress", "laughing"), adapter="hat+dress+laughing")
    assert [(part.targets, part.adapter) for part in runs.prefixes(config)] == [
        (("a hat",), "hat"),
        (("a hat", "dress"), "hat+dress"),
    ]
    assert [part.adapter for part in runs.prefixes(replace(config, adapter="hat"))] == [
        "hat",
        "hat",
    ]
    assert runs.prefixes(GenerateConfig("a woman", ("a hat",))) == []


def test_maps_are_made_for_whoever_looks_and_once(engine):
    desk, fields = runs.Runs(engine), ("a woman", "a hat", "append", "", AUTO, AUTO, 1, 6, 4.0)
    press = lambda: list(desk.run(SimpleNamespace(session_hash="s"), False, *fields))[-1][1]  # noqa: E731
    asked = press()
    assert asked.keys() == {"ask", "request"} and asked["request"]["adapter"] == "hat"
    event = SimpleNamespace(**json.loads(json.dumps(asked)))
    *told, found = desk.maps(event)
    assert told and all(value["status"]["en"] and "blob" not in value for value in told)
    assert {value["answers"] for value in (*told, found)} == {asked["ask"]}
    assert found["steps"] == 6 and "chain" in unpacked(found["blob"], found["arrays"])

    drawn = engine.steps_done
    again = press()
    assert again["blob"] == found["blob"] and "answers" not in again
    assert list(desk.maps(event)) == [found] and engine.steps_done == drawn
    stranger = list(runs.Runs(engine).maps(event))[-1]
    assert stranger["blob"] == found["blob"], "a pair that only the browser knows"


@pytest.mark.parametrize(
    "request_, why",
    [
        ({"base": ""}, "."),
        ({"base": "a man", "stepz": 3}, "stepz"),
        ({"base": "a man", "steps": 0}, "0"),
    ],
)
def test_who_asks_for_maps_of_nonsense_gets_a_sentence(engine, request_, why):
    (value,) = runs.Runs(engine).maps(SimpleNamespace(ask="x", request=request_))
    assert value["failed"] and value["answers"] == "x" and why in value["status"]["en"]


def test_a_pair_that_is_there_and_a_refusal_need_no_queue(engine):
    desk, request = runs.Runs(engine), SimpleNamespace(session_hash="s")
    fields = ("a woman", "a hat + blonde hair", "append", "", AUTO, AUTO, 1, 6, 4.0)
    for chain in (False, True):
        (asked, *_) = desk.known(chain, *fields)
        assert asked["phase"] == "queued" and asked["go"], "so the stage asks for the run"
        *_, (drawn, inside, *_) = desk.run(request, chain, *fields)
        done = engine.steps_done
        value, again, go, halt = desk.known(chain, *fields)
        named = value.pop("answer")
        assert (value, again) == (drawn, inside) and engine.steps_done == done
        assert desk.known(chain, *fields)[0]["answer"] != named
        assert len(value["strip"]) == 2 * chain and "go" not in value
        assert go["interactive"] and not halt["interactive"]
    told, _, go, _ = desk.known(False, "", *fields[1:])
    assert told["phase"] == "failed" and "Base text" in told["status"]["en"] and go["interactive"]


def test_stop_says_where_and_forgets_the_run(engine):
    desk, engine.pause = runs.Runs(engine), 0.02
    request = SimpleNamespace(session_hash="s")
    run = desk.run(request, False, "a woman", "a hat", "append", "", AUTO, AUTO, 1, 50, 4.0)
    for _ in range(6):
        shown = next(run)[0]
    stopped, go, halt = desk.stop(request)
    assert stopped["run"] == shown["run"] and re.match(
        r"Stopped at step \d of 50 of Original\.", stopped["status"]["en"]
    )
    run.close()
    assert desk.runs == {} and engine.steps_done < 12
    assert desk.stop(request)[0]["status"]["en"] == "Stopped before the first step."


def query(**values):
    class Query(dict):
        def getlist(self, name):
            return [self[name]] if name in self else []

    return Query(values)


def test_a_link_restores_every_field(engine, result):
    request = stage.finished(result)["request"]
    flat = {name: str(value) for name, value in request.items() if name != "targets"}
    notice, *fields = compare.linked(FORM, query(**flat, target="a hat"), engine)
    assert notice == {"notices": []} and fields == [
        CONFIG.base,
        "a hat",
        AUTO,
        "",
        CONFIG.also,
        AUTO,
        7,
        12,
        3.0,
        "held",
        [AUTO],
        "free",
        "",
        1.0,
        0.0,
        0.0,
        "",
        "",
        "",
        0,
        0,
    ]


def test_a_field_takes_what_a_link_may_say():
    for name, setting in FORM.settings.items():
        if setting.kind in (int, float):
            field = FORM.widget(name, setting.start)
            for value in setting.limits:
                assert field.preprocess(field.postprocess(value)) == value, name


@pytest.mark.parametrize(
    "typed, said",
    [
        (-1, "seed is -1 but"),
        (3.7, "seed is 3.7 but"),
        (99999999999, "seed is 99999999999 but"),
        (None, "seed is empty but"),
        ("", "seed is '' but"),
        ("1e3 ", "seed is '1e3 ' but"),
        ([1], "seed is [1] but"),
    ],
)
def test_a_seed_that_is_none_is_said_and_never_rounded(typed, said):
    with pytest.raises(BadInput) as refused:
        page.wanted(FORM, **{"base": "a woman", "target": "a hat", "seed": seed_of(typed)})
    assert str(refused.value).startswith(f"{said} must be a whole number from 0 to ")


def seed_of(typed):
    return FORM.widget("seed", 0).preprocess(typed)


@pytest.mark.parametrize(
    "bad", [{"seed": "many"}, {"steps": "0"}, {"mode": "erase"}, {"guidance": "nan"}, {"base": ""}]
)
def test_a_bad_link_changes_nothing_and_says_why(engine, bad):
    notice, *fields = compare.linked(
        FORM, query(**{"base": "a woman", "target": "a hat"} | bad), engine
    )
    assert notice["notices"][0]["text"]["en"].startswith("The link was not used: ") and all(
        gr.skip() == field for field in fields
    )


def test_a_page_without_a_query_changes_nothing(engine):
    assert all(gr.skip() == value for value in compare.linked(FORM, query(lang="zh"), engine))


def test_recalled_settings_are_judged_like_any_other(engine):
    for foreign in ({"prompt": "x"}, {"base": 3}, [], "text", None):
        notice, *_ = compare.restored(FORM, foreign, engine)
        assert notice["notices"][0]["kind"] == "warning"
    notice, *fields = compare.restored(
        FORM, {"base": "a woman", "targets": ["a hat"], "adapter": "gone", "role": "tuned"}, engine
    )
    assert fields[4] == AUTO and not notice["notices"]


# examples


def test_examples_are_made_stored_and_shown_as_they_were(engine, tmp_path):
    made = examples.make(engine, tmp_path / "ex", ["hat", "dress", "laughing"])
    assert list(made) == ["hat", "dress"], "no adapter, no example"
    stored = examples.load(tmp_path / "ex")
    assert (
        list(stored) == ["hat", "dress"]
        and stored["hat"].stage["portraits"] == made["hat"].stage["portraits"]
    )
    assert stored["hat"].inside == made["hat"].inside and stored["hat"].stage["display"].keys() == {
        ORIGINAL,
        TUNED,
        NAIVE,
    }
    (tmp_path / "ex" / "dress" / "example.json").write_text("{")
    assert list(examples.load(tmp_path / "ex")) == ["hat"]
    assert page.inputs_of(FORM, stored["hat"].request, engine)["adapter"] == AUTO


# results


@pytest.fixture
def table(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    settings = {"prompts": 3, "seeds": 2, "split": "test", "steps": 5, "guidance": 4.0, "seed": 0}
    rows = [
        {
            "method": method,
            "target": "hat",
            "measure": "pollution",
            "value": 0.2,
            "low": 0.1,
            "high": 0.3,
            "n": 6,
        }
        for method in ("spf", "magnet", "p2p@naive")
    ]
    path = folder / "results.json"
    path.write_text(
        json.dumps({"settings": settings, "measures": {"pollution": "x"}, "rows": rows})
    )
    return tables.load([folder])[0]


def test_results_are_sent_as_plain_json(table):
    value = json.loads(json.dumps(results.shown([table])))["tables"][0]
    assert (
        value["name"] == "results" and value["measures"][0]["falling"] and len(value["rows"]) == 3
    )
    assert value["key"] == table.key and str(table.path.parent) not in json.dumps(value)


def test_the_pairs_behind_a_number_are_drawn_as_they_were_measured(engine, table):
    desk = results.PairsDrawn(engine)
    values = list(desk.pairs(table, "spf", "hat", "pollution", "worst"))
    assert (
        values[0]["phase"] == "drawing"
        and values[-1]["phase"] == "done"
        and values[-1]["count"] == 6
    )
    items, pairs = values[-1]["items"], tables.pairs(table, "spf", "hat")
    assert [item["request"]["seed"] for item in items] == [pair.request.seed for pair in pairs[:4]]
    assert all(
        item["pictures"][role].startswith("data:image/webp")
        for item in items
        for role in (ORIGINAL, TUNED)
    )
    assert "Pairs 1 to 4 of 6" in values[-1]["status"]["en"] and not values[-1]["last"]
    drawn = engine.steps_done
    assert list(desk.pairs(table, "spf", "hat", "pollution", "worst"))[-1]["items"] == items
    assert engine.steps_done == drawn, "what was drawn is kept"
    assert compare.restored(FORM, items[0]["request"], engine)[1] == items[0]["base"]


@pytest.mark.parametrize(
    ("method", "adapter", "edit", "guided"),
    [
        ("original", "", "", ""),
        ("naive+held", "hat-naive", "", "held"),
        ("magnet", "", "magnet", ""),
        ("p2p@naive", "hat-naive", "p2p", ""),
        ("p2p@spf+sfcm:0.3", "hat", "p2p", "sfcm"),
    ],
)
def test_what_acts_while_drawing_is_drawn_again_too(engine, table, method, adapter, edit, guided):
    last = list(results.PairsDrawn(engine).pairs(table, method, "hat", "pollution", "worst"))[-1]
    request = GenerateConfig.from_dict(last["items"][0]["request"])
    assert last["phase"] == "done" and last["items"][0]["pictures"]
    assert (request.adapter, request.edit, request.guided) == (adapter, edit, guided)
    assert request.guided_from == (0.3 if guided == "sfcm" else 0.0) and request.beside == ""


def test_every_drawn_pair_says_identity_and_how_sure_the_judges_are(engine, table, monkeypatch):
    odds = {"age": torch.tensor([[0.6, 0.4]] * 2), "hat": torch.tensor([[0.99, 0.01]] * 2)}
    plain = engine.read
    monkeypatch.setattr(engine, "read", lambda images: replace(plain(images), probs=odds))
    last = list(results.PairsDrawn(engine).pairs(table, "spf", "hat", "pollution", "worst"))[-1]
    assert last["items"][0]["identity"]["en"] == "Identity 1.00."
    told = last["items"][0]["sure"]
    assert told["en"] == "The judges are sure of 1 of 2 attributes; less of age."
    assert "年龄" in told["zh"]


def test_pairs_that_cannot_be_drawn_say_why(engine, table):
    told = {
        method: list(results.PairsDrawn(engine).pairs(table, method, "hat", "pollution", "worst"))[
            -1
        ]
        for method in ("tokencompose", "odd@spf", "spf+odd", "spf+sfcm:x")
    }
    lost = told.pop("tokencompose")["status"]["en"]
    assert "The weights “hat-tokencompose” are not on this machine" in lost
    assert all("Nobody here knows how" in one["status"]["en"] for one in told.values())
    nothing = list(results.PairsDrawn(engine).pairs(table, "spf", "unheard", "pollution", "worst"))[
        -1
    ]
    assert nothing["phase"] == "failed" and nothing["items"] == []


def test_a_mean_shows_the_targets_whose_weights_are_there(engine, table):
    rows = [dict(table.rows[0]) | {"target": name} for name in ("all", "hat", "sunglasses")]
    wide = replace(table, rows=tuple(rows))
    last = list(results.PairsDrawn(engine).pairs(wide, "spf", "all", "pollution", "worst"))[-1]
    assert last["phase"] == "done" and last["count"] == 6
    assert last["lacking"]["en"] == "Not shown here, for want of weights: sunglasses."


def test_stored_pictures_are_shown_without_drawing(engine, table):
    for folder, name in (("originals", "aaaaaaaa"), ("pictures", "bbbbbbbb")):
        (table.path.parent / folder).mkdir()
        Image.new("RGB", (16, 16), (9, 9, 9)).save(table.path.parent / folder / f"{name}.png")
    row = {
        "method": "p2p@naive",
        "target": "hat",
        "prompt": 0,
        "seed": 0,
        "base": "a man",
        "edit": "p2p",
        "adapter": "hat",
    }
    row |= {
        "text": "a man, a hat",
        "key": "bbbbbbbb",
        "original": "aaaaaaaa",
        "pollution": 0.5,
        "changed": ["age"],
    }
    (table.path.parent / "rows.jsonl").write_text(json.dumps(row))
    last = list(results.PairsDrawn(engine).pairs(table, "p2p@naive", "hat", "pollution", "worst"))[
        -1
    ]
    assert last["phase"] == "done" and last["items"][0]["value"] == 0.5 and engine.steps_done == 0
    assert last["items"][0]["changed"][0]["label"]["en"] == "age"
    row["key"] = "../../secret"
    (table.path.parent / "rows.jsonl").write_text(json.dumps(row))
    last = list(results.PairsDrawn(engine).pairs(table, "p2p@naive", "hat", "pollution", "worst"))[
        -1
    ]
    assert last["phase"] == "done" and engine.steps_done > 0, "drawn, as no such file is looked for"


# blind vote


def alike(engine, folder, monkeypatch, *names):
    """Stored examples whose portraits are all drawn the same way."""
    for name in names:
        monkeypatch.setitem(examples.WANTED, name, replace(examples.WANTED[name], others="alike"))
    return examples.make(engine, folder / "ex", names)


def test_a_vote_compares_like_with_like(engine, tmp_path):
    mixed = examples.make(engine, tmp_path / "ex", ["hat"])
    columns = mixed["hat"].stage["columns"]
    assert columns[TUNED]["guide"] == "held" and columns[NAIVE]["guide"] == ""
    assert columns[TUNED]["label"]["en"] == "SPF weights, held"
    assert columns[NAIVE]["label"]["en"] == "naive weights, free"
    assert vote.Booth(engine, mixed, Votes(tmp_path / "votes.sqlite")).pool == []


def test_a_ballot_hides_its_methods_and_counts_once(engine, tmp_path, monkeypatch):
    stored = alike(engine, tmp_path, monkeypatch, "hat", "dress")
    booth = vote.Booth(engine, stored, Votes(tmp_path / "votes.sqlite"), seed=1)
    seen: list[str] = []
    (ballot,) = booth.next(seen)
    assert ballot["phase"] == "asking" and len(seen) == 1 and ballot["target"] == "a hat"
    hidden = json.dumps(
        {key: value for key, value in ballot.items() if key not in ("original", "left", "right")}
    )
    assert "naive" not in hidden and "spf" not in hidden
    sides = {
        stored["hat"].stage["display"][role]: name
        for role, name in vote.NAMES.items()
        if role in stored["hat"].stage["roles"]
    }
    answers = {"keeps": "left", "shows": "same", "nicer": "right"}
    assert booth.take(ballot["ballot"], answers | {"keeps": "both"}) is None, "half a vote is none"
    told = booth.take(ballot["ballot"], answers)
    assert told == {"left": sides[ballot["left"]], "right": sides[ballot["right"]]}
    assert (
        booth.take(ballot["ballot"], answers) is None
        and booth.take("x", answers) is None
        and booth.take(None, None) is None
    )
    rows = {(row["method"], row["question"]): row["won"] for row in booth.tally()["rows"]}
    assert (
        booth.tally()["count"] == 1
        and rows[told["left"], "keeps"] == 1
        and rows[told["right"], "nicer"] == 1
    )


def test_a_vote_that_cannot_be_kept_can_be_sent_again(engine, tmp_path, monkeypatch):
    stored = alike(engine, tmp_path, monkeypatch, "hat")
    (tmp_path / "full").write_text("no folder")
    booth = vote.Booth(engine, stored, Votes(tmp_path / "full" / "votes.sqlite"), seed=1)
    (ballot,) = booth.next([])
    answers = dict.fromkeys(vote.QUESTIONS, "left")
    with pytest.raises(SpfError, match="votes cannot be kept"):
        booth.take(ballot["ballot"], answers)
    (tmp_path / "full").unlink()
    assert booth.take(ballot["ballot"], answers) and booth.tally()["count"] == 1


def test_sides_are_drawn_by_lot(engine, tmp_path, monkeypatch):
    stored = alike(engine, tmp_path, monkeypatch, "hat")
    booth = vote.Booth(engine, stored, Votes(tmp_path / "votes.sqlite"), seed=0)
    lefts = [next(iter(booth.next([])))["left"] for _ in range(30)]
    assert 5 < lefts.count(lefts[0]) < 25


def test_when_the_examples_are_used_up_pairs_are_drawn(engine, tmp_path):
    booth = vote.Booth(engine, {}, Votes(tmp_path / "votes.sqlite"), seed=0)
    assert booth.methods() == {"hat": ["spf", "naive"]}
    *waiting, ballot = booth.next([])
    assert (
        waiting
        and all(value["phase"] == "drawing" for value in waiting)
        and ballot["phase"] == "asking"
    )
    assert ballot["left"] != ballot["right"] and set(booth.pool[0].portraits) == {"spf", "naive"}
    (again,) = booth.next([])
    assert again["base"] == ballot["base"], "what was drawn is kept for the next visitor"
    (tmp_path / "adapters" / "hat-naive.safetensors").unlink()
    assert [value["phase"] for value in vote.Booth(engine, {}, booth.votes).next([])] == ["over"]


# fine-tune


PARTS = METHODS["spf"].facts["PARTS"]


def test_switches_become_settings_and_fields_are_checked():
    parts = [name for name in PARTS if name not in ("control", "keep")]
    assert finetune.chosen_settings("spf", parts, "", "") == {"complement": "none", "keep": 0.0}
    assert finetune.chosen_settings("naive", None, "3e-4", "") == {"learning_rate": 3e-4}
    assert finetune.chosen_settings("spf", list(PARTS), "", "output=2\nkeep=0.1") == {
        "output": 2.0,
        "keep": 0.1,
    }
    for bad in ("what=1", "output", "output=many"):
        with pytest.raises(BadInput):
            finetune.chosen_settings("spf", list(PARTS), "", bad)
    for name, entry in METHODS.items():
        for changes in entry.facts.get("PARTS", {}).values():
            config_of(name).from_dict(changes)


def test_the_methods_on_offer_exist():
    assert finetune.methods()[0] == "spf" and set(finetune.methods()) == set(METHODS)
    assert upload.short_name("a straw hat!") == "strawhat" and upload.short_name("帽子") == "mine"


def test_a_check_report_is_told_in_words(tmp_path):
    for number in range(5):
        Image.new("RGB", (80, 80), (40 * number, 9, 9)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"a photo of man {number} with a straw hat")
    (tmp_path / "4.txt").unlink()
    value = json.loads(
        json.dumps(upload.told(userdata.check(tmp_path, userdata.Wish("a straw hat"))))
    )
    told = [finding["text"]["en"] for finding in value["findings"]]
    assert told[0] == "1 without a caption, left out: 4.png"
    assert told[1].startswith("Only 4 pictures: so few teach these people")
    assert told[2].startswith("4 of 5 pictures can be used")
    assert value["items"][0]["base"] == "a photo of man 0" and len(value["items"]) == 4


# on a Space


def test_on_a_lent_gpu_arguments_and_results_are_plain(engine, monkeypatch):
    """A fake of ZeroGPU's worker: whatever goes in or comes out is pickled, and closing reaches the
    generator.
    """
    seen = []

    def lend(duration):
        def wrap(function):
            def worker(*arguments):
                seen.append(duration(*arguments))
                copies = pickle.loads(pickle.dumps(arguments))
                with closing(function(*copies)) as events:
                    for event in events:
                        yield pickle.loads(pickle.dumps(event))

            return worker

        return wrap

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=lend))
    desk = runs.Runs(engine)
    fields = ("a woman", "a hat", "append", "", AUTO, AUTO, 1, 30, 4.0)
    *_, last = desk.run(SimpleNamespace(session_hash="s"), False, *fields)
    assert last[0]["phase"] == "done" and len(seen) == 1 and 8 <= seen[0] <= 40
    other = ("a man", *fields[1:])
    run = desk.run(SimpleNamespace(session_hash="s"), False, *other)
    next(run), next(run)
    run.close()
    assert engine.running == 0 and not engine._lock.locked()


@pytest.fixture
def platform(monkeypatch):
    """A fake of ZeroGPU: a worker is lent for a while, and taken back after so many events as
    `left` says, once.
    """
    state = SimpleNamespace(left=None)

    def lend(duration):
        def wrap(function):
            def worker(*arguments):
                duration(*arguments)
                with closing(function(*pickle.loads(pickle.dumps(arguments)))) as events:
                    for event in events:
                        if state.left == 0:
                            state.left = None
                            raise gr.Error("GPU task aborted", title="ZeroGPU worker error")
                        state.left = state.left and state.left - 1
                        yield pickle.loads(pickle.dumps(event))

            return worker

        return wrap

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=lend))
    return state


def test_a_lent_gpu_that_is_taken_back_ends_the_drawing_and_not_the_page(engine, platform):
    desk, request = runs.Runs(engine), SimpleNamespace(session_hash="s")
    fields = ("a woman", "a hat", "append", "", AUTO, AUTO, 1, 30, 4.0)
    taken = texts.both("error.taken")

    platform.left = 12
    *before, (shown, inside, go, halt) = desk.run(request, False, *fields)
    assert len(before) == 12 and before[-1][0]["phase"] == "running"
    assert shown == {"phase": "failed", "status": taken}
    assert go["interactive"] and not halt["interactive"]
    assert not desk.runs and not desk.drawn and not engine._lock.locked()

    platform.left = 12
    *_, (shown, *_) = desk.series(request, "seeds", 3, "", *fields)
    assert (shown["phase"], shown["status"]) == ("failed", taken)

    *_, (shown, inside, *_) = desk.run(request, False, *fields)
    assert shown["phase"] == "done"
    platform.left = 3
    ask = SimpleNamespace(ask=inside["ask"], request=inside["request"])
    *_, answer = desk.maps(ask)
    assert answer["failed"] and answer["status"] == taken
    *_, answer = desk.maps(ask)
    assert "blob" in answer


def test_a_job_says_at_once_that_its_gpu_was_taken_back(engine, platform, tmp_path, monkeypatch):
    def train(folder, adapters):
        yield 1
        yield 2

    jobs = SlicedJobs(tmp_path / "jobs", tmp_path / "own", gpu.on_gpu(train, lambda *_: gpu.SLICE))
    blocks = build(engine, {}, jobs)
    called = {fn.fn.__name__: fn for fn in blocks.fns.values() if fn.fn}
    values = [field.value for field in called["start"].inputs]
    for platform.left in (0, 1):
        *_, last = called["start"].fn(*values)
        shown, notice = last[0], last[-1]["notices"][0]["text"]
        assert shown["phase"] == "stopped" and notice == texts.both("error.taken")
        assert jobs.active() is None
    platform.left = 1
    *_, last = called["resume"].fn(jobs.names()[0])
    assert last[0]["phase"] == "stopped" and last[-1]["notices"][0]["text"]["zh"]
    platform.left = 1
    with pytest.raises(gr.Error, match="took its GPU back"):
        called["control_job"].fn(jobs.names()[0], "resume")
    assert jobs.active() is None, "a program's resume is attended as well"


def test_a_public_space_does_not_train(engine, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/spf")
    names = {fn.fn.__name__ for fn in build(engine, {}).fns.values() if fn.fn}
    assert not names & {"start", "check", "finetune", "control_job"} and not names & {
        "ask",
        "answer",
    }
    assert launch_options()["max_file_size"] == "5mb"
    monkeypatch.setenv("SPF_TRAINING", "1"), monkeypatch.setenv("SPF_VOTES", "1")
    names = {fn.fn.__name__ for fn in build(engine, {}).fns.values() if fn.fn}
    assert {"start", "check", "finetune", "control_job", "ask", "answer"} <= names


def test_the_space_gets_its_own_requirements(tmp_path):
    files = space.assemble(tmp_path / "space")
    assert {"app.py", "README.md", "requirements.txt", "spf/ui/static/stage.js"} <= {
        path.as_posix() for path in files
    }
    assert not [path for path in files if "__pycache__" in path.parts or path.name.startswith(".")]
    lines = (tmp_path / "space" / "requirements.txt").read_text().splitlines()
    assert (
        lines[0] == "torch==2.11.0"
        and not any(line.startswith("gradio") for line in lines)
        and any(line.startswith("diffusers") for line in lines)
    )
    front = (space.ROOT / "README.md").read_text().split("---")[1]
    assert (
        re.search(r'python_version: "3\.12', front)
        and re.search(r'sdk_version: "6\.\d+\.\d+"', front)
        and "app_file: app.py" in front
    )
    with pytest.raises(BadInput, match="empty folder"):
        space.assemble(tmp_path / "space")


def test_a_space_for_another_base_fetches_it_when_it_is_built(tmp_path):
    space.assemble(tmp_path / "space", preloaded("stable-diffusion-v1-5"))
    front = metadata_load(tmp_path / "space" / "README.md")
    pinned = PINNED["stable-diffusion-v1-5"]
    assert front["models"] == [pinned.repository, PINNED_CLIP.repository]
    name, files, revision = front["preload_from_hub"][0].split(" ")
    assert (name, revision) == (pinned.repository, pinned.revision)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in files.split(",")
    assert front["app_file"] == "app.py"
    with pytest.raises(BadInput, match="model is 'sdxl' but must be one of"):
        preloaded("sdxl")


# the page as a whole


def test_the_page_is_built_without_loading_a_model(engine, tmp_path):
    page = build(engine, examples.make(engine, tmp_path / "ex", ["hat"]))
    assert engine.base and page.config["analytics_enabled"] is False
    text = json.dumps(page.get_config_file(), default=str)
    assert "All 18 other attributes are unchanged" in text, "the first result is part of the page"


def test_the_page_comes_before_torch():
    code = """
import sys
import app
from spf.ui import build, examples
page = build(app.Engine(), examples.load(), app.Jobs("{0}/jobs", "{0}/adapters"))
page.get_config_file()
assert not {{"torch", "transformers", "diffusers"}} & set(sys.modules)
"""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", code.format(folder)], check=True, cwd=space.ROOT, timeout=300
        )


def test_the_first_page_is_small_and_compressed(engine, tmp_path):
    page = build(engine, examples.load(), places=[space.ROOT / "assets" / "results"])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    try:
        with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
            sent = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert len(sent) < 300 * 1024
        whole = gzip.decompress(sent).decode()
        assert "SPF_TEXTS" in whole and "unchanged" in whole and '"curves"' not in whole
        plain = httpx.get(url, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.text == whole
    finally:
        page.close()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('  File "/home/me/spf/jobs.py", line 3, in run', '  File "…/jobs.py", line 3, in run'),
        ("  File '/home/My Name/a b.py', line 3", "  File '…/a b.py', line 3"),
        (r'  File "C:\Users\me\spf\jobs.py", line 3', '  File "…/jobs.py", line 3'),
        ("No such file: /root/runs/x.png", "No such file: …/x.png"),
        (r"cannot open D:\data\me\x.png", r"cannot open …\x.png"),
        ("token hf_abcDEF123 is invalid", "token … is invalid"),
        ("12 of 30 steps, 3.5/s, https://pytorch.org/docs/x", None),
        ("RuntimeError: shapes [4, 8] and [4, 9] do not fit", None),
    ],
)
def test_a_log_on_the_page_names_no_places(line, told):
    assert placeless(line) == (told or line)


def test_nothing_on_the_page_points_elsewhere(engine):
    """But for two links of the head that are followed when they are clicked."""
    served = components.head() + "".join(path.read_text() for path in components.STATIC.iterdir())
    clicked = r'away\("link\.\w+", "https://(arxiv\.org|www\.apache\.org)/[\w./-]+"\)'
    served = re.sub(clicked, "", served.replace("http://www.w3.org", ""))
    assert not re.search(r"https?://(?!127\.0\.0\.1)", served)
    options = launch_options()
    assert (
        options["allowed_paths"] == []
        and not options["share"]
        and not options["run_history"]
        and not options["show_error"]
    )
    fonts = options["theme"]._font_css if hasattr(options["theme"], "_font_css") else []
    assert not [font for font in fonts if "http" in str(font)]


def test_the_queue_cannot_be_passed(engine):
    page = build(engine, {})
    assert page._queue.max_size == 20 and page.api_open is False
    heavy = [fn for fn in page.fns.values() if fn.concurrency_id == "gpu"]
    assert len(heavy) == 10 and all(fn.concurrency_limit == 1 for fn in heavy)
    public = {fn.api_name for fn in page.fns.values() if fn.api_visibility == "public"}
    assert {"compare", "adapters", "words", "results", "finetune", "job", "control_job"} == public
    for fn in page.fns.values():
        if fn.api_visibility == "public":
            assert fn.fn.__doc__ and all(
                name in fn.fn.__doc__ for name in inspect.signature(fn.fn).parameters
            )
    (taught,) = [fn.fn.__doc__ for fn in page.fns.values() if fn.api_name == "finetune"]
    assert "steps: training steps, 1 to 1000000\n" in taught and '"tokencompose"' in taught


def test_every_language_has_every_text_and_every_text_is_shown():
    files = [
        *components.STATIC.iterdir(),
        *(path for path in components.STATIC.parent.rglob("*.py") if path.name != "texts.py"),
    ]
    source = "".join(path.read_text() for path in files)
    english = texts.TEXTS["en"]
    for code, table in texts.TEXTS.items():
        shared = [key for key in table if key in english]
        assert shared == list(english), f"{code} has other keys, or in another order"
        more = {key for key in table if key not in english}  # of what describes itself in English
        assert more <= {f"measure.{name}" for name in MEANINGS}
        for key, text in table.items():
            if key in more:
                continue
            assert text.strip() or key.startswith("joint."), (code, key)
            places = [set(re.findall(r"{(\w+)}", words.lower())) for words in (text, english[key])]
            assert places[0] <= places[1], (code, key)
    options = {
        f"{FORM.outside(name)}.{option or 'none'}"
        for name, setting in FORM.settings.items()
        if isinstance(setting.limits, Options)
        for option in setting.limits
    }
    for key in english:
        starts = [key[: match.end()] for match in re.finditer(r"\.", key)]
        shown = [
            rf"""["'`]{re.escape(key)}["'`]""",
            *(rf"""["'`]{re.escape(start)}\$?{{""" for start in starts),
        ]
        used = any(re.search(pattern, source) for pattern in shown)
        assert used or key in options or key == "language", f"{key} is never shown"
    asked = set(re.findall(r"""\b(?:t|both|label)\(\s*["'`]([\w. ]+)["'`]""", source))
    assert asked <= set(english), asked - set(english)


def test_a_language_that_lacks_a_text_shows_the_english_one(monkeypatch):
    monkeypatch.setitem(texts.TEXTS, "zh", {"and": "和"})
    assert texts.both("generate") == {"en": "Generate", "zh": "Generate"}
    assert texts.both("measure.glow", "how it glows") == texts.same("how it glows")
    with pytest.raises(KeyError, match="no text"):
        texts.label("measure.glow")


def test_a_ready_set_shows_its_pictures_and_what_they_share():
    shown = finetune.preview("laughing")
    assert shown["title"]["en"] == "The ready set of “laughing”"
    assert len(shown["items"]) == upload.SAMPLES and shown["more"] == SIZE - upload.SAMPLES
    for value in TARGETS["laughing"].bias.values():
        assert value in shown["findings"][0]["text"]["en"]
        assert not any(re.search(rf"\b{value}\b", item["complete"]) for item in shown["items"])
    assert all(item["complete"].endswith(", laughing") for item in shown["items"])


@pytest.mark.parametrize(
    ("data", "offered"),
    [("sunglasses", "sunglasses"), ("hat", "hat"), ("runs/data/mine", None), (None, None)],
)
def test_a_page_that_opens_offers_the_ready_set_of_its_job(tmp_path, data, offered):
    jobs = Jobs(tmp_path)
    if data:
        (tmp_path / "one").mkdir()
        write_json(tmp_path / "one" / "request.json", {"data": data, "steps": 4})
    shown = finetune.learnt(jobs)
    assert shown == offered or (offered is None and shown == gr.skip())


@pytest.mark.parametrize("code", texts.LANGUAGES)
def test_every_measure_has_a_name_in_every_language(code):
    missing = [name for name in MEANINGS if f"measure.{name}.title" not in texts.TEXTS[code]]
    assert not missing
    told = {name: texts.both(f"measure.{name}", text)[code] for name, text in MEANINGS.items()}
    assert code == "en" or all(re.search(r"[\u4e00-\u9fff]", text) for text in told.values()), told


@pytest.mark.parametrize("code", texts.LANGUAGES)
def test_every_value_of_an_attribute_has_a_name_in_every_language(code):
    keys = {f"value.{name}.{one}" for name in ATTRIBUTES for one in ATTRIBUTES[name]}
    assert keys <= set(texts.TEXTS[code]), keys - set(texts.TEXTS[code])


@pytest.mark.parametrize(
    ("space", "address"),
    [
        ("someone/studio", "https://huggingface.co/spaces/someone/studio/tree/main"),
        ("", "code.zip"),
    ],
)
def test_the_code_is_linked_where_it_lies(monkeypatch, space, address):
    monkeypatch.setenv("SPACE_ID", space)
    assert gpu.source() == address
