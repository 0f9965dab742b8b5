"""The receipt says what was measured, by whom, and over the pictures that were drawn."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from portrait_world import new_judges, new_portrait_base, random_adapters

from spf import receipt as r
from spf.answers import Paper
from spf.errors import BadInput
from spf.evaluation.readers import CLIP, JUDGES, NOBODY, Read, Reader, reader_for
from spf.paths import Adapter
from spf.receipt import ReceiptConfig, receipt
from spf.traits import TRAITS, reading
from spf.ui.tabs.receipt import shown
from spf.weights import note

QUICK = ReceiptConfig(texts=3, steps=1, batch=3)
STEPS = ReceiptConfig(texts=3, steps=2, batch=2)


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture
def embedded(base, monkeypatch):
    monkeypatch.setattr(base, "name", "embedded")
    return base


def adapter(base, **about):
    made = random_adapters(base, size=0.5)[0]
    return Adapter(made.metadata | {"target": "a hat"} | about, made.tensors)


def test_judges_read_the_embedded_model_alone(base, monkeypatch):
    judges = new_judges()
    assert reader_for(base, judges, ["a hat"]).name == CLIP
    monkeypatch.setattr(base, "name", "embedded")
    assert reader_for(base, judges, ["a hat"]).name == JUDGES
    assert reader_for(base, None, ["a hat"]).name == CLIP
    monkeypatch.setattr(base, "clip", None)
    assert reader_for(base, None, ["a hat"]).name == NOBODY


def test_other_weights_are_told_on_the_receipt_and_beside_it(base, tmp_path):
    for seed, other in ((0, False), (1, True)):
        stranger = adapter(base, **note(new_portrait_base(seed=seed).weights.sketch))
        found = receipt(base, stranger, tmp_path, QUICK, name="hat")
        assert found["other_weights"] is other
        status = shown(Paper(found, b""))["status"]["en"]
        assert status.startswith("hat was tuned on other weights") is other
        assert status.endswith("Attach the picture where you publish the weights.")


def test_a_receipt_has_both_ways_and_says_who_read_them(embedded, tmp_path):
    steps = []
    found = receipt(
        embedded,
        adapter(embedded),
        tmp_path,
        STEPS,
        name="hat",
        judges=new_judges(),
        show=lambda done, total: steps.append((done, total)),
    )
    assert found == json.loads((tmp_path / "receipt.json").read_text())
    assert (
        found["reader"] == "judges" and found["base"] == "embedded" and found["target"] == "a hat"
    )
    assert set(found["drawings"]) == {"free", "held"} and len(found["texts"]) == 3
    for drawing in found["drawings"].values():
        rows = drawing["rows"]
        for name in ("response", "pollution", "outside", "all", "identity", "retention"):
            values = [row[name] for row in rows if row[name] is not None]
            assert drawing[name] == pytest.approx(np.mean(values), abs=1e-5)
            assert (
                0 <= drawing["intervals"][name][0] <= drawing["intervals"][name][1]
                or name == "identity"
            )
        for row in rows:
            assert row["pollution"] == pytest.approx(
                len(row["changed"]) / len(row["read"]), abs=1e-5
            )
            assert "headwear" not in row["read"] and row["complete"].endswith("a hat")
        polluted = [row["pollution"] for row in rows]
        assert polluted[drawing["worst"]] == max(polluted)
        flips = list(drawing["flips"].values())
        assert flips == sorted(flips, reverse=True) and all(0 < share <= 1 for share in flips)
    assert found["drawings"]["held"]["retention"] == 1  # a text that asks for nothing is followed
    assert Image.open(tmp_path / "receipt.png").width > 500
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][0] <= steps[-1][1]


def test_elsewhere_clip_reads_and_is_named(base, tmp_path):
    found = receipt(base, adapter(base), tmp_path, QUICK, judges=new_judges())
    assert found["reader"] == "CLIP" and "read by CLIP" in found["measures"]["pollution"]
    assert "identity" not in found["measures"]
    assert found["drawings"]["free"]["identity"] is None


def test_without_a_reader_only_pictures_are_compared(base, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "clip", None)
    found = receipt(base, adapter(base), tmp_path, QUICK)
    assert found["reader"] == "nobody" and set(found["measures"]) == {"outside", "all"}
    free, held = (found["drawings"][way] for way in ("free", "held"))
    assert free["response"] is free["pollution"] is free["retention"] is None
    assert held["all"] < free["all"]


def test_an_adapter_without_a_target_is_read_by_what_it_changes(base, tmp_path):
    found = receipt(base, adapter(base, target=""), tmp_path, QUICK)
    free = found["drawings"]["free"]
    assert found["target"] == "" and free["response"] is None and free["all"] > 0
    assert all(row["complete"] == row["base"] for row in free["rows"])
    assert found["drawings"]["held"]["all"] == 0
    asked = receipt(
        base, adapter(base, target=""), tmp_path, ReceiptConfig(texts=1, steps=1, target="a dress")
    )
    assert asked["target"] == "a dress" and asked["drawings"]["free"]["response"] is not None


def test_an_adapter_of_nothing_changes_nothing_of_the_text_alone(base, tmp_path):
    made = adapter(base)
    zero = Adapter(made.metadata, {name: 0 * value for name, value in made.tensors.items()})
    found = receipt(base, zero, tmp_path, QUICK)
    assert found["drawings"]["free"]["retention"] in (1, None)


def test_a_target_that_replaces_words_finds_them(base, tmp_path):
    made = adapter(base, mode="replace", replace="short hair", target="long braids")
    found = receipt(base, made, tmp_path, QUICK)
    for row in found["drawings"]["free"]["rows"]:
        assert "short hair" in row["base"] and "long braids" in row["complete"]
        assert "short hair" not in row["complete"]


def test_a_target_too_long_is_refused_before_anything_is_drawn(base, tmp_path):
    with pytest.raises(BadInput, match="too long"):
        receipt(base, adapter(base), tmp_path / "x", ReceiptConfig(target="a very long word " * 50))
    assert not (tmp_path / "x").exists()


def test_what_the_target_speaks_of_may_change():
    reader = Reader(None, ["short red hair"], CLIP)
    before = {"hair style": "long", "hair color": "gray", "age": "old", "skin": "tan"}
    after = {"hair style": "short", "hair color": "red", "age": "young", "gender": "man"}
    assert reader.changes(Read([before]), Read([after]), 0) == {"age": True}


@pytest.mark.parametrize(
    "target, spared",
    [
        ("a wheelchair", set()),
        ("braided hair", {"hair style", "hair color"}),
        ("blonde hair", {"hair color"}),
        ("a chair and a Hair band", {"hair color"}),
        ("shiny golden hair", {"hair color"}),
        ("old, laughing", {"age", "expression"}),
    ],
)
def test_a_target_may_change_what_it_decides_and_no_more(target, spared):
    assert Reader(None, [target], CLIP).spared() == spared


def test_only_what_clip_is_sure_of_is_compared(base, monkeypatch):
    sure = torch.tensor([[0.9, 0.1], [0.6, 0.4]])

    def probabilities(base, images):
        return {
            trait.name: sure if trait.name == "gender" else torch.full((2, len(trait.values)), 0.1)
            for trait in TRAITS
        }

    monkeypatch.setattr(reading, "probabilities", probabilities)
    read = Reader(base, ["a hat"], CLIP).read(np.zeros((2, 16, 16, 3), np.uint8))
    assert read.values == [{"gender": "woman"}, {}] and read.target.shape == (2,)


def test_the_region_is_the_held_map_where_nobody_knows_it():
    held = np.zeros((1, 2, 2), np.float32)
    held[0, 0, 0] = 1
    pictures = np.zeros((1, 8, 8, 3), np.uint8)
    region = r._regions(Reader(None, ["x"], CLIP), pictures, pictures, held)
    assert region.shape == (1, 8, 8) and region[0, 0, 0] and not region[0, 7, 7]
    assert r._regions(Reader(None, [], NOBODY), pictures, pictures, None) is None
    assert Read([{}]).target is None
