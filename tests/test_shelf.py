"""One answer to "which adapter", for the page, the command line, evaluations and results."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spf import exchange
from spf.config import GenerateConfig
from spf.engine import Engine
from spf.errors import BadInput
from spf.evaluation.entries import shelf_of
from spf.exchange.header import WIDTHS
from spf.shelf import (
    FORMS,
    NAIVE,
    OWN,
    TUNED,
    Shelf,
    adapter_name,
    counterparts,
    name_of,
)
from spf.weights import FAMILIES, VERSIONS, Loaded, note


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The usual shelf: shipped adapters, and those that were tuned from the page, in the current
    folder.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPF_CHECKPOINTS", str(tmp_path / "checkpoints"))
    return Shelf.usual()


def put(folder, name, target, method="spf", age=0, **about):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file({"x": np.zeros(1)}, path, {"target": target, "method": method} | about)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def test_names_of_adapters():
    assert adapter_name("hat", "spf") == "hat" and adapter_name("hat", "naive") == "hat-naive"
    assert adapter_name("hat", "original") == ""


def test_an_adapter_is_found_for_other_words(shelf):
    shipped, own = shelf.folders
    put(shipped, "hat", "a hat"), put(own, "straw", "straw hat"), put(own, "rings", "earrings")
    assert shelf.pick(["wearing a red hat"]) == shelf.pick(["hats"]) == ["hat"]
    assert shelf.meant(["straw hat"]) == [["straw", "hat"]]
    assert shelf.pick(["big gold earrings", "no hat", "a hat rack"]) == ["rings"]


def test_stock_files_are_no_adapters_and_damaged_ones_no_choice(shelf):
    shipped = shelf.folders[0]
    put(shipped, "hat", "a hat")
    put(shipped, "hat.lora", "a hat")
    (shipped / "cut.safetensors").write_bytes(b"cut")
    assert list(shelf.files()) == ["cut", "hat"] and list(shelf.choices()) == ["hat"]


def test_a_copy_for_other_programs_is_never_taken_for_the_adapter(shelf):
    """Whatever it is called, and however new it is."""
    put(OWN, "crown-lora-1", "a crown", "lora", age=9)
    for form in FORMS:
        put(OWN, f"crown-lora-1{form}", "a crown", "lora")
    assert list(shelf.files()) == ["crown-lora-1", "crown-lora-1.diff", "crown-lora-1.kohya"]
    assert shelf.pick(["a crown"]) == ["crown-lora-1"]
    put(OWN, "crown-v1", "a crown", "lora", age=2)
    put(OWN, "crown-v1.5", "a crown", "lora", age=1)
    assert shelf.pick(["a crown"]) == ["crown-v1.5"], "a version is no form"
    put(OWN, "style.lora", "a style", "lora")
    assert shelf.pick(["a style"]) == ["style.lora"], "nothing else holds these weights"


def test_the_ends_of_converted_names_are_known():
    assert {*FORMS, ""} == {form.ending for form in exchange.FORMS.values()}


def test_a_file_or_folder_is_found_where_it_lies(shelf, tmp_path):
    """A name on the shelf comes first; what lies there may have any end, for whoever reads it."""
    shipped = put(shelf.folders[0], "hat", "a hat")
    for folder in ("hat", "peft"):
        (tmp_path / folder).mkdir()
    (tmp_path / "old.pt").touch()
    assert shelf.find("hat") == shipped
    for given in ("peft", "old.pt", str(tmp_path / "peft"), "none.safetensors", "NONE.SAFETENSORS"):
        assert shelf.find(given) == Path(given)
    assert shelf.chosen(str(tmp_path / "peft"), ["a hat"]) == [str(tmp_path / "peft")]
    assert name_of(str(tmp_path / "peft")) == "peft"
    with pytest.raises(BadInput, match="adapter is 'none.pt' but must be one of: hat"):
        shelf.find("none.pt")


def test_a_shipped_name_is_never_taken_over(shelf):
    shipped = put(shelf.folders[0], "hat", "a hat")
    put(OWN, "hat", "a crown")
    assert shelf.file("hat") == shipped and shelf.pick(["a crown"]) == []


def test_what_a_target_asks_for(shelf):
    shipped = shelf.folders[0]
    put(shipped, "hat", "a hat")
    put(shipped, "hat-lora", "a hat", "lora")
    put(shipped, "hat-naive", "a hat", "naive")
    put(shipped, "blonde", "blonde hair")
    put(OWN, "hat-spf-3", "a hat")
    put(OWN, "crown-spf-1", "a crown", age=2)
    put(OWN, "crown-spf-2", "a crown", age=1)
    put(OWN, "crown-naive-1", "a crown", "naive")
    assert shelf.pick(["A hat "]) == shelf.pick(["the hat."]) == ["hat"], "shipped before one's own"
    assert shelf.pick(["blonde hair", "blonde", "a scarf"]) == ["blonde"]
    assert shelf.pick(["a crown"]) == ["crown-spf-2"], "spf before others, the newest first"
    assert shelf.pick(["hat-lora"]) == ["hat-lora"]
    assert "hat-naive" not in shelf.choices() and "crown-naive-1" in shelf.choices()


def test_an_adapter_of_another_base_is_never_picked(shelf):
    shipped = shelf.folders[0]
    put(shipped, "hat", "a hat", base_model="embedded")
    put(OWN, "hat-lora-1", "a hat", "lora", base_model="photos")
    put(OWN, "hat-kohya", "a hat", "lora", age=1, base_model="SD 1.x")
    at = Loaded
    assert shelf.pick(["a hat"], at("embedded")) == shelf.pick(["a hat"]) == ["hat"]
    assert shelf.pick(["a hat"], at("photos")) == shelf.chosen("auto", ["a hat"], at("photos"))
    assert shelf.pick(["a hat"], at("photos")) == ["hat-lora-1"]
    assert shelf.pick(["a hat"], at("other")) == ["hat-kohya"], "for every base of its kind"
    (OWN / "hat-kohya.safetensors").unlink()
    assert shelf.pick(["a hat", "hat"], at("other")) == [], "whoever wants it says its name"
    assert shelf.chosen("hat", ["a hat"], at("other")) == ["hat"]


def test_of_two_adapters_the_note_on_the_weights_decides_and_not_the_name(shelf):
    here = np.arange(1, 9, dtype=np.float32)
    put(shelf.folders[0], "hat", "a hat", base_model="photos", **note(-here))
    put(OWN, "hat-2", "a hat", base_model="a copy of photos", **note(here))
    assert shelf.pick(["a hat"], Loaded("photos", here)) == ["hat-2"]
    assert shelf.pick(["a hat"], Loaded("photos", -here)) == ["hat"]
    assert shelf.pick(["a hat"], Loaded("photos")) == ["hat"], "by name before they are loaded"
    for others in (here + 1, here[:-1], np.arange(40, dtype=np.float32)):
        assert shelf.pick(["a hat", "hat"], Loaded("photos", others)) == [], "also of other sizes"


def test_a_file_is_never_picked_by_its_name_alone(shelf):
    """One that says nothing of its base may still be none of its adapters."""
    put(shelf.folders[0], "hat", "")
    put(OWN, "worn", "a hat", "lora")
    put(OWN, "crown", "")
    at, own = Loaded("photos"), lambda path: path.stem == "worn"
    assert shelf.pick(["a hat", "hat"]) == ["hat"] and shelf.pick(["crown"], at) == ["crown"]
    assert shelf.pick(["a hat", "crown"], at, own) == ["worn"]
    assert shelf.chosen("auto", ["a hat", "crown"], at, own) == ["worn"]
    assert shelf.chosen("hat", ["a hat"], at, own) == ["hat"], "whoever wants it says its name"
    assert shelf.unfit(["a hat", "crown", "a scarf"], at, own) == ["crown"]
    assert shelf.unfit(["a hat", "crown"], at, lambda path: False) == ["hat", "worn", "crown"]
    assert shelf.unfit(["a hat", "a scarf"], at) == []


def test_every_family_of_bases_is_known():
    assert {*VERSIONS.values(), *WIDTHS.values()} <= set(FAMILIES)


def test_what_a_setting_means(shelf, tmp_path):
    put(shelf.folders[0], "hat", "a hat")
    odd = put(tmp_path / "a+b", "odd", "odd")
    assert shelf.chosen("auto", ["a hat", "a scarf"]) == ["hat"]
    assert shelf.chosen("hat + freckles", ["a scarf"]) == ["hat", "freckles"]
    assert shelf.chosen("", ["a hat"]) == []
    assert shelf.chosen(str(odd), []) == [str(odd)] and shelf.find(str(odd)) == odd
    for name in ("crown", "../hat", "hat.safetensors/..", ""):
        with pytest.raises(BadInput, match="adapter is .* but must be one of: hat"):
            shelf.find(name)


@pytest.mark.parametrize(
    "stem, name",
    [
        ("hat+scarf", "hat-scarf"),
        ("a, b", "a- b"),
        (" two  spaces ", "two spaces"),
        ("cafe\u0301", "caf\u00e9"),
        ("zero\u200bwidth", "zerowidth"),
        ("right\u202eleft", "right-left"),
        ("broken\udce9", "broken-"),
        ("帽子", "帽子"),
    ],
)
def test_every_file_can_be_chosen_whatever_it_is_called(shelf, tmp_path, stem, name):
    put(shelf.folders[0], "hat", "a hat")
    path = put(tmp_path, "made", "a scarf").rename(shelf.folders[0] / f"{stem}.safetensors")
    assert shelf.pick(["a scarf"]) == [name] and shelf.file(name) == path
    given = GenerateConfig("a woman", ("a scarf",), adapter=f"hat+{name}").adapter
    assert shelf.chosen(given, []) == ["hat", name]
    json.dumps(shelf.choices()).encode("utf-8")


def test_page_and_command_line_agree(shelf, tmp_path):
    for folder, name, target in (
        (shelf.folders[0], "hat", "a hat"),
        (shelf.folders[0], "hat-naive", "a hat"),
        (OWN, "strawhat-spf-1", "a straw hat"),
    ):
        put(folder, name, target)
    engine = Engine(folder=tmp_path / "checkpoints", own=OWN)
    for targets in (("a hat",), ("a straw hat",), ("a hat", "a straw hat"), ("a scarf",)):
        assert engine.pick(targets).split("+") == (shelf.pick(targets) or [""])
    config = GenerateConfig("a photo of a woman", ("a hat",), adapter="hat")
    assert engine.variants(config) == {TUNED: ["hat"], NAIVE: ["hat-naive"]}
    assert counterparts(["hat", "strawhat-spf-1"], shelf.files()) == []
    assert list(shelf_of().files()) == ["hat", "hat-naive"], "evaluations take the shipped ones"
