"""Sheets for the eye: shuffled pairs without verdicts, and counts added up as they stand."""

import csv

import numpy as np
import pytest
from PIL import Image

from spf import sheet as s
from spf.errors import BadInput
from spf.files import read_json, write_json
from spf.portraits.description import TARGETS
from spf.settings import SheetConfig


@pytest.fixture
def shelf(monkeypatch):
    names = [*TARGETS, *(f"{name}-naive" for name in TARGETS)]
    files = dict.fromkeys(names, "somewhere.safetensors")
    monkeypatch.setattr(
        s.Shelf, "usual", lambda: type("Files", (), {"files": lambda self: files})()
    )


@pytest.fixture
def drawn(monkeypatch):
    """Drawing without a model: pictures of one colour and a report that names a change of age."""
    calls = []

    def draw(base, config, folder, *, judges=None):
        calls.append(config)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (s.ORIGINAL_PICTURE, s.TUNED_PICTURE):
            Image.new("RGB", (16, 16), "teal").save(folder / name)
        report = {
            "base": config.base,
            "target": list(config.targets),
            "seed": config.seed,
            "adapter": config.adapter,
            "response": 1.0,
            "changed": ["age"],
        }
        write_json(folder / s.REPORT, report)
        return [report]

    monkeypatch.setattr(s, "draw", draw)
    return calls


def pair(method="spf", changed=(), response=1.0):
    return {"method": method, "report": {"changed": list(changed), "response": response}}


def test_pairs_are_shuffled_and_another_seed_asks_for_other_texts(shelf):
    hats = [TARGETS["hat"], TARGETS["sunglasses"]]
    first = s.requests(SheetConfig(texts=5), hats, ("spf", "naive"))
    assert len(first) == 2 * 2 * 5
    assert first == s.requests(SheetConfig(texts=5), hats, ("spf", "naive"))
    order = [drawing.targets for _, drawing in first]
    assert order != sorted(order)
    other = s.requests(SheetConfig(texts=5, seed=1), hats, ("spf", "naive"))
    assert not {d.base for _, d in first} & {d.base for _, d in other}
    assert not {d.seed for _, d in first} & {d.seed for _, d in other}


def test_methods_are_asked_for_the_same_pairs(shelf):
    found = s.requests(SheetConfig(texts=4), [TARGETS["hat"]], ("spf", "naive"))
    asked = {
        method: {(d.base, d.seed) for m, d in found if m == method} for method in ("spf", "naive")
    }
    assert asked["spf"] == asked["naive"]
    assert {d.adapter for _, d in found} == {"hat", "hat-naive"}


def test_a_target_without_weights_is_refused(shelf):
    with pytest.raises(BadInput, match="targets has hat but there is no adapter hat-lora"):
        s.requests(SheetConfig(), [TARGETS["hat"]], ("lora",))


def test_sheets_show_no_verdict_and_drawing_goes_on_where_it_was(shelf, drawn, tmp_path):
    config, hat = SheetConfig(texts=7), [TARGETS["hat"]]
    pages = s.draw_pairs(None, None, config, tmp_path, targets=hat)
    assert [page.name for page in pages] == ["sheet-1.png", "sheet-2.png"]
    picture = np.asarray(Image.open(pages[0]))
    assert len(drawn) == 7 and picture.shape[0] > 3 * 16 * 3

    with open(tmp_path / s.COUNTS, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["number"] for line in lines] == [str(n) for n in range(1, 8)]
    assert all(line["asked"] == "a hat" and not line["clean"] for line in lines)

    s.draw_pairs(None, None, config, tmp_path, targets=hat)
    assert len(drawn) == 7
    (tmp_path / s.PAIRS / "003" / s.REPORT).unlink()
    s.draw_pairs(None, None, config, tmp_path, targets=hat)
    assert len(drawn) == 8
    s.draw_pairs(None, None, SheetConfig(texts=7, seed=2), tmp_path, targets=hat)
    assert len(drawn) == 15, "pictures of other texts are never taken for these"


def test_counting(tmp_path):
    pairs = {
        "1": pair(changed=["age", "skin"]),
        "2": pair(),
        "3": pair(changed=["tilt"], response=0.0),
        "4": pair("naive"),
    }
    yes = dict.fromkeys(s.QUESTIONS, True)
    counts = {
        "1": yes,  # two changes named that nobody sees
        "2": yes | {"kept": False, "share": False},  # a change that no verdict names
        "3": yes | {"kept": False, "target": False},
        "4": yes | {"clean": False},
    }
    found = s.summary(counts, pairs)
    spf = found["spf"]
    assert (spf["pairs"], spf["clean"], spf["target"], spf["kept"], spf["share"]) == (3, 3, 2, 1, 2)
    assert (spf["all"], spf["false_unchanged"]) == (1, 1)
    assert (spf["named"], spf["invisible"]) == (3, 2)
    assert spf["response_agrees"] == "3 of 3"
    assert found["naive"]["all"] == 0 and found["naive"]["false_unchanged"] == 0


def test_counts_are_read_as_they_were_written_or_refused(shelf, drawn, tmp_path):
    with pytest.raises(BadInput, match="counts.csv is missing"):
        s.read_counts(tmp_path)
    s.draw_pairs(None, None, SheetConfig(texts=2), tmp_path, targets=[TARGETS["hat"]])
    with pytest.raises(BadInput, match="clean of pair 1 in counts.csv is '' but must be 0 or 1"):
        s.read_counts(tmp_path)

    head = "number,asked," + ",".join(s.QUESTIONS)
    (tmp_path / s.COUNTS).write_text(f"{head}\n2,a hat,0,1, 1 ,0\n1,a hat,1,1,0,0\n")
    counts, pairs = s.read_counts(tmp_path)
    assert counts["2"] == {"clean": False, "target": True, "kept": True, "share": False}
    assert set(pairs) == {"1", "2"} and read_json(tmp_path / s.KEY)["settings"]["texts"] == 2

    (tmp_path / s.COUNTS).write_text(f"{head}\n1,a hat,1,1,1,1\n")
    with pytest.raises(BadInput, match="leaves out pair 2"):
        s.read_counts(tmp_path)
    (tmp_path / s.COUNTS).write_text(f"{head}\n9,a hat,1,1,1,1\n")
    with pytest.raises(BadInput, match="has a pair '9' but there are 1 to 2"):
        s.read_counts(tmp_path)
