"""Results files are read defensively, and the pairs behind a number are the ones that were
measured.
"""

import json

import pytest

from spf import results
from spf.portraits.description import TARGETS
from spf.portraits.texts import base_captions
from spf.prompts import compose
from spf.rows import noise_seed
from spf.targets import composed

SETTINGS = {
    "prompts": 3,
    "seeds": 2,
    "split": "test",
    "seed": 5,
    "steps": 10,
    "guidance": 3.0,
    "strength": 0.5,
    "guided": "sfcm",
}


def row(method="spf", target="hat", measure="response", value=0.5, **more):
    return {
        "method": method,
        "target": target,
        "measure": measure,
        "value": value,
        "low": 0.4,
        "high": 0.6,
        "n": 6,
    } | more


def write(path, rows, settings=SETTINGS, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"settings": settings, "measures": {"response": "there"}, "rows": rows} | more)
    )
    return path


def test_results_are_found_and_damaged_ones_left_out(tmp_path, caplog):
    write(tmp_path / "shipped" / "full.json", [row()])
    write(
        tmp_path / "runs" / "one" / "results.json",
        [row(), {"method": "spf"}, "x"],
        curves=[row(step=10), row(), 3],
    )
    write(tmp_path / "runs" / "two" / "results.json", [])
    (tmp_path / "shipped" / "broken.json").write_text("{")
    (tmp_path / "shipped" / "list.json").write_text("[]")
    found = results.load([tmp_path / "shipped", tmp_path / "runs", tmp_path / "nowhere"])
    assert [(one.name, len(one.rows), len(one.curves)) for one in found] == [
        ("full", 1, 0),
        ("one", 1, 1),
    ]
    assert "broken.json" in caplog.text and found[1].measures == {"response": "there"}


def test_pairs_follow_from_the_settings(tmp_path):
    table = results.read(write(tmp_path / "results.json", [row()]))
    pairs = results.pairs(table, "spf", "hat")
    captions = [made.text for _, made in base_captions(TARGETS["hat"], 3, 5, "test")]
    assert [(pair.prompt, pair.seed) for pair in pairs] == [
        (p, s) for p in range(3) for s in range(2)
    ]
    request = pairs[3].request
    assert (
        request.base == captions[1] and request.targets == ("a hat",) and request.adapter == "hat"
    )
    assert (request.steps, request.guidance, request.strength, request.guided) == (
        10,
        3.0,
        0.5,
        "sfcm",
    )
    assert request.seed == noise_seed(5, 1, 1)
    assert [pair.request.adapter for pair in results.pairs(table, "naive", "dress")][:1] == [
        "dress-naive"
    ]
    assert (
        results.pairs(table, "original", "hat")[0].request.adapter == ""
        and results.pairs(table, "spf", "unheard") == []
    )


def test_measured_pairs_are_sorted_by_what_was_asked(tmp_path):
    table = results.read(write(tmp_path / "results.json", [row()]))
    target = TARGETS["hat"]
    texts = [
        compose(made.text, target.text).complete for _, made in base_captions(target, 3, 5, "test")
    ]
    lines = [
        {
            "key": str(p),
            "method": "spf",
            "target": "hat",
            "prompt": p,
            "seed": 0,
            "text": text,
            "pollution": p / 10,
        }
        for p, text in enumerate(texts)
    ]
    lines[2]["pollution"] = None
    lines += [lines[0] | {"text": "a foreign text", "seed": 1}, lines[0] | {"method": "naive"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"half')
    worst = results.pairs(table, "spf", "hat", "pollution", "worst")
    assert [pair.values["pollution"] for pair in worst] == [0.1, 0.0]
    assert [pair.prompt for pair in results.pairs(table, "spf", "hat", "pollution", "best")] == [
        0,
        1,
    ]
    assert [pair.prompt for pair in results.pairs(table, "spf", "hat", "pollution", "drawn")] == [
        0,
        1,
        2,
    ]
    told = [
        lines[0] | {"base": "a woman", "text": "a woman, a hat", "noise": 77, "adapter": "hat-lora"}
    ]
    (tmp_path / "rows.jsonl").write_text(json.dumps(told[0]))
    request = results.pairs(table, "spf", "hat")[0].request
    assert (request.base, request.seed, request.adapter) == ("a woman", 77, "hat-lora")


@pytest.mark.parametrize(
    ("target", "base", "text"),
    [
        ("dress", "an old man wearing a red sweater", "an old man wearing a red dress"),
        ("dress", "an old man by the sea", "an old man by the sea, dress"),
        ("watercolor", "a portrait of a boy", "a watercolor painting of a boy"),
        ("watercolor", "a boy", "a watercolor painting of a boy"),
        ("hat", "a boy", "a boy, a hat"),
    ],
)
def test_a_pair_of_ones_own_text_is_drawn_again_as_it_was_measured(tmp_path, target, base, text):
    table = results.read(write(tmp_path / "results.json", [row(target=target)]))
    line = {"method": "spf", "target": target, "prompt": 0, "seed": 0, "noise": 7, "key": "0"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(line | {"base": base, "text": text}))
    (pair,) = results.pairs(table, "spf", target)
    assert composed(pair.request).complete == text


@pytest.mark.parametrize(
    "settings",
    [{}, {"prompts": "a file", "seeds": None}, {"prompts": 2, "seeds": 1, "steps": 9999}],
)
def test_strange_settings_give_no_pairs_and_no_error(tmp_path, settings):
    assert (
        results.pairs(
            results.read(write(tmp_path / "results.json", [row()], settings)), "spf", "hat"
        )
        == []
    )


def test_all_targets_together(tmp_path):
    table = results.read(
        write(tmp_path / "results.json", [row(), row(target="dress"), row(target="all")])
    )
    assert {pair.target for pair in results.pairs(table, "spf", "all")} == {"hat", "dress"}


def test_texts_of_unmeasured_pairs_are_completed_as_the_evaluation_did(tmp_path):
    table = results.read(write(tmp_path / "results.json", [row()], SETTINGS | {"also": "auto"}))
    first = results.pairs(table, "spf", "hat")[0]
    assert first.request.also == "auto" and first.request.beside == ""
    told = {"method": "spf", "target": "hat", "prompt": 0, "seed": 0, "base": "a woman, tan skin"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(told))
    assert results.pairs(table, "spf", "hat")[0].request.also == "", "a measured text is complete"


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("spf", (None, "spf", None)),
        ("base", (None, "original", None)),
        ("p2p", ("p2p", "original", None)),
        ("p2p@naive+sfcm:0.3", ("p2p", "naive", "sfcm:0.3")),
        ("@spf+", ("", "spf", "")),
    ],
)
def test_a_word_of_a_method_is_taken_apart(word, parts):
    assert results.apart(word) == parts


@pytest.mark.parametrize("settings", [{"seed": "x"}, {"seed": 1e999}, {"split": -1}, {"seeds": -1}])
def test_damaged_settings_are_taken_as_usual(tmp_path, settings):
    held = {"prompts": 2, "seeds": 1, "split": "test"}
    usual, damaged = (
        results.pairs(results.read(write(tmp_path / "results.json", [row()], one)), "spf", "hat")
        for one in (held, held | settings)
    )
    assert [pair.request for pair in damaged] == [pair.request for pair in usual] != []


def test_damaged_rows_are_left_out(tmp_path):
    path = write(tmp_path / "results.json", [row()], {"prompts": 2, "seeds": 1})
    one = {"method": "spf", "target": "hat", "prompt": 1, "seed": 0}
    bad = [one | {"prompt": -1}, one | {"prompt": 10**11}, one | {"seed": -5}]
    lines = [json.dumps(each).encode() for each in (*bad, one)]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join([b"\xff\0", 9000 * b"[", *lines]))
    assert [pair.prompt for pair in results.pairs(results.read(path), "spf", "hat")] == [1]
