"""What leaves the machine names no place on it: reports, pictures, weights, words of failures."""

import json

import pytest
from portrait_world import random_adapters

from spf.answers import Result
from spf.bases.reading import load_base
from spf.config import AUTO, GenerateConfig
from spf.convert import convert
from spf.engine import Engine
from spf.errors import BadInput, placeless
from spf.evaluation.entries import find_adapters
from spf.exchange import load_adapter
from spf.files import write_json
from spf.generate import draw
from spf.jobs import REQUEST, STATE, Jobs
from spf.paths import save_adapter
from spf.receipt import ReceiptConfig, receipt
from spf.shelf import name_of
from spf.ui import stage, watch
from spf.ui.boundary import sentence

TEXT = "a photo of a young woman with long red hair"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_folder):
    """A model and an adapter in a folder that is nobody's concern."""
    place = tmp_path_factory.mktemp("private")
    for name in ("base", "clip"):
        (place / name).symlink_to(tiny_folder / name)
    own = place / "sd15-portrait"
    own.symlink_to(tiny_folder / "base")
    base = load_base(str(own))
    save_adapter(
        random_adapters(base, target="a hat", base_model="base")[0], place / "hat.safetensors"
    )
    return place


@pytest.fixture(scope="module")
def base(folder):
    return load_base(str(folder / "base"))


def places(folder, tmp_path, tiny_folder):
    return [str(one).encode() for one in (folder, tmp_path, tiny_folder)]


def written(*folders):
    files = [path for one in folders for path in one.rglob("*") if path.is_file()]
    assert files
    return {str(path): path.read_bytes() for path in files}


def test_a_drawing_names_model_and_adapter_without_their_places(
    base, folder, tmp_path, tiny_folder
):
    file = str(folder / "hat.safetensors")
    config = GenerateConfig(
        TEXT, ("a hat",), adapter=file, steps=1, model=str(folder / "base"), also=""
    )
    (report,) = draw(base, config, tmp_path / "out")
    assert (report["model"], report["adapter"]) == ("base", "hat")
    for name, data in written(tmp_path / "out").items():
        assert not any(place in data for place in places(folder, tmp_path, tiny_folder)), name


def test_the_page_tells_the_model_that_drew(folder, tmp_path, tiny_folder):
    engine = Engine(str(folder / "base"), device="cpu", folder=folder, own=folder, filtered=False)
    config = GenerateConfig(TEXT, ("a hat",), adapter=AUTO, beside="", steps=1, also="")
    result = next(one for one in engine.compare(config) if isinstance(one, Result))
    value = stage.finished(result)
    assert {report["model"] for report in value["report"].values()} == {"base"}
    told = json.dumps(value, default=str).encode()
    assert not any(place in told for place in places(folder, tmp_path, tiny_folder))


def test_what_is_made_for_others_names_no_place(base, folder, tmp_path, tiny_folder):
    adapter = load_adapter(folder / "hat.safetensors", base)
    forms = ["own", "diffusers", "kohya", "diff", "checkpoint", "folder"]
    convert(base, adapter, "hat", forms, tmp_path / "forms", rank=2)
    receipt(base, adapter, tmp_path / "paper", ReceiptConfig(texts=1, steps=1, batch=1))
    for name, data in written(tmp_path / "forms", tmp_path / "paper").items():
        assert not any(place in data for place in places(folder, tmp_path, tiny_folder)), name


def test_a_table_calls_a_file_by_its_name(base, folder):
    (found,) = find_adapters(base, [f"mine={folder}/hat.safetensors"], ["hat"])
    assert found.name == "hat"
    names = ["hat", "hat-naive", "a+b.safetensors", "/x/y z.safetensors", "crown-v1.5"]
    assert [name_of(one) for one in names] == ["hat", "hat-naive", "a-b", "y z", "crown-v1.5"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("model is the folder '/home/me/sd', but …", "model is the folder '…/sd', but …"),
        ("/home/me/runs/state.json is not valid JSON.", "…/state.json is not valid JSON."),
        (r"C:\Users\me\x.json cannot be read.", r"…\x.json cannot be read."),
        ("hf_abcDEF is no token.", "… is no token."),
        ("steps is 0 but must be a whole number from 1 to 200.", None),
        ("model is 'owner/name' but must be one of a, b.", None),
    ],
)
def test_a_failure_on_the_page_names_no_place(tmp_path, said, told):
    told = told or said
    assert placeless(said) == told and sentence(BadInput(said))["en"] == told
    write_json(tmp_path / "hat-spf-1" / REQUEST, {"steps": 3, "settings": {}})
    write_json(tmp_path / "hat-spf-1" / STATE, {"phase": "failed", "message": said})
    status = Jobs(tmp_path).status("hat-spf-1")
    assert told in watch.sentence(status)["en"] and (told == said or said not in repr(status.name))
