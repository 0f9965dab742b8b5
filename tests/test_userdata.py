"""One's own pictures: every usual convention is read, every flaw is told, and what is stored is
what was checked.
"""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from portrait_world import stored

from spf import userdata
from spf.errors import BadInput
from spf.prompts import Spelling
from spf.userdata import Wish

HAT = Wish("a straw hat", name="strawhat")


def picture(path, number, size=(96, 96)):
    colours = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).save(path)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(5):
        picture(made / f"p{number}.png", number)
    return made


def captioned(folder, how):
    rows = [
        (f"p{number}.png", f"a photo of woman {number}, wearing a straw hat, in a park")
        for number in range(5)
    ]
    if how == "txt":
        [(folder / name).with_suffix(".txt").write_text(words) for name, words in rows]
    elif how == "csv":
        (folder / "metadata.csv").write_text(
            "file_name,text\n" + "".join(f'{name},"{words}"\n' for name, words in rows)
        )
    else:
        lines = [json.dumps({"file_name": f"images/{name}", "text": words}) for name, words in rows]
        (folder / f"{how}.jsonl").write_text("\n".join(lines))


def keys(report, level=None):
    return {finding.key for finding in report.findings if level in (None, finding.level)}


def test_more_pictures_than_a_set_may_have_are_refused(folder, tmp_path, monkeypatch):
    captioned(folder, "txt")
    for most, usable in ((5, True), (4, False)):
        monkeypatch.setattr("spf.userdata.checking.MOST", most)
        report = userdata.check(folder, HAT)
        assert keys(report, "error") == (set() if usable else {"many"})

    for most in (5, 4):
        monkeypatch.setattr("spf.userdata.sets.MOST", most)
        if most == 5:
            userdata.keep(report.items, HAT, tmp_path / "kept")
        else:
            with pytest.raises(BadInput, match="images is 5 usable pictures but must be from 4"):
                userdata.keep(report.items, HAT, tmp_path / "refused")
    assert (tmp_path / "kept").is_dir() and not (tmp_path / "refused").exists()


@pytest.mark.parametrize("how", ["txt", "csv", "captions", "metadata"])
def test_every_convention_gives_the_same_items(folder, how):
    captioned(folder, how)
    report = userdata.check(folder, HAT)
    assert (
        keys(report) == {"read", "scarce"} and not keys(report, "error") and len(report.items) == 5
    )
    item = report.items[2]
    assert item.base_text == "a photo of woman 2, in a park" and item.target_text == "a straw hat"
    assert item.complete_text == "a photo of woman 2, wearing a straw hat, in a park"
    assert item.pixels(16).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "caption, base",
    [
        ("a woman with a straw hat", "a woman"),
        ("A Straw Hat, a woman by the sea", "a woman by the sea"),
        ("a woman with red hair and a straw hat, smiling", "a woman with red hair, smiling"),
        ("a woman, a straw hat", "a woman"),
        ("a woman by the sea", "a woman by the sea"),
        ("a woman in a straw hatband", "a woman in a straw hatband"),
    ],
)
def test_the_base_text_is_what_is_left_without_the_target(caption, base):
    assert userdata.texts(caption, "", HAT)[0] == base


def test_a_target_may_take_the_place_of_words():
    wish = Wish("dress", "replace", "T-shirt")
    assert userdata.texts("a woman in a red dress", "", wish)[:2] == (
        "a woman in a red T-shirt",
        "a woman in a red dress",
    )
    assert userdata.texts("a woman in a red T-shirt", "", wish)[1] == "a woman in a red dress"
    with pytest.raises(BadInput):
        userdata.texts("a woman in a coat", "", wish)


def read_without_straw(text):
    return Spelling(("straw",) if "straw" in text else (), len(text.split()), 75, len(text))


def test_flaws_are_named_and_left_out(folder):
    captioned(folder, "captions")
    (folder / "p0.png").write_bytes(b"no picture")
    picture(folder / "p1.png", 1, (40, 40))
    (folder / "twin.png").write_bytes((folder / "p2.png").read_bytes())
    picture(folder / "mute.png", 9)
    picture(folder / "p3.png", 3, (300, 100))
    with (folder / "captions.jsonl").open("a") as file:
        file.write('\nbroken line\n{"file_name": "gone.png", "text": "x"}')
    report = userdata.check(folder, HAT, spelling=read_without_straw)
    told = {
        finding.key: finding.values["names"]
        for finding in report.findings
        if "names" in finding.values
    }
    assert told["broken"] == "p0.png" and told["small"] == "p1.png" and told["twice"] == "twin.png"
    assert (
        told["caption"] == "mute.png"
        and told["orphan"] == "gone.png"
        and told["unknown"] == "straw"
    )
    assert keys(report, "error") == {"few"} and report.findings[0].level == "error"
    with pytest.raises(BadInput, match="images is 3 usable pictures but must be from 4 to 500"):
        stored(folder, HAT, folder.parent / "out")
    assert not (folder.parent / "out").exists()


def test_captions_that_say_nothing_are_warned_about(folder):
    (folder / "metadata.csv").write_text(
        "file_name,text\n" + "".join(f"p{n}.png,a straw hat on a man\n" for n in range(5))
    )
    assert "alike" in keys(userdata.check(folder, HAT), "warning")


@pytest.mark.parametrize(("count", "told"), [(4, True), (15, True), (16, False)])
def test_few_pictures_are_warned_about(tmp_path, count, told):
    for n in range(count):
        picture(tmp_path / f"p{n}.png", n)
        (tmp_path / f"p{n}.txt").write_text(f"a straw hat on a man, number {n}")
    report = userdata.check(tmp_path, HAT)
    assert ("scarce" in keys(report, "warning")) == told


def test_a_stored_set_is_whole_and_square(folder, tmp_path):
    captioned(folder, "txt")
    place = stored(folder, HAT, tmp_path / "set")
    kept = userdata.load(place)
    assert userdata.is_set(place) and not userdata.is_set(folder) and not userdata.is_set("hat")
    checked = userdata.check(folder, HAT).items
    assert kept.wish == HAT and [item.base_text for item in kept.items] == [
        item.base_text for item in checked
    ]
    assert {Image.open(item.image).size for item in kept.items} == {(512, 512)}
    target = kept.target
    assert (target.name, target.text, target.attribute, target.mode) == (
        "strawhat",
        "a straw hat",
        "hat",
        "append",
    )
    assert userdata.UserSet(place, Wish("a hat"), ()).target.attribute == "hat", (
        "a target that the judges know is judged"
    )
    with pytest.raises(BadInput, match="new or empty"):
        stored(folder, HAT, place)
    with pytest.raises(BadInput, match="dataset.json"):
        userdata.load(folder)


def test_uploads_are_taken_out_of_their_folders(tmp_path, folder):
    captioned(folder, "txt")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"deep/{path.name}")
        archive.writestr("../../evil.png", b"x")
        archive.writestr("__MACOSX/._p0.png", b"x")
        archive.writestr("run.exe", b"x")
    files = userdata.unpacked([tmp_path / "all.zip"], tmp_path / "in")
    assert all(path.resolve().is_relative_to(tmp_path / "in") for path in files)
    assert files.unread == {"system": ["__MACOSX/._p0.png"], "EXE": ["run.exe"]}
    assert {path.name for path in files} == {path.name for path in folder.iterdir()} | {"evil.png"}
    assert (
        not (tmp_path.parent / "evil.png").exists() and len(userdata.check(files, HAT).items) == 5
    )
    (tmp_path / "bad.zip").write_bytes(b"PK nonsense")
    with pytest.raises(BadInput, match="bad.zip is no archive"):
        userdata.unpacked([tmp_path / "bad.zip"], tmp_path / "in2")


def test_an_archive_cannot_unpack_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("spf.userdata.inbox.BYTES", 1000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"0" * 2000)
    (tmp_path / "bomb.zip").write_bytes(buffer.getvalue())
    with pytest.raises(BadInput, match="choose fewer pictures"):
        userdata.unpacked([tmp_path / "bomb.zip"], tmp_path / "in")


@pytest.mark.parametrize(
    "bad",
    [
        {"target": ""},
        {"target": "x", "mode": "replace"},
        {"target": "x", "name": "../x"},
        {"target": "?!"},
        {"target": "(a hat:1.2)"},
        {"target": "<lora:hat:1>"},
        {"target": "a <|hat|>"},
        {"target": "x", "mode": "replace", "replace": "..."},
    ],
)
def test_wishes_are_checked(bad):
    with pytest.raises(BadInput, match=r"target|replace|name"):
        Wish(**bad)
