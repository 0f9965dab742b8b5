"""Sets as people really bring them: of other trainers, systems and programs."""

import io
import json
import os
import struct
import unicodedata
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spf import userdata
from spf.bases.reading import load_tokenizer
from spf.errors import BadInput
from spf.mentions import mentions
from spf.prompts import spelling
from spf.userdata import Wish
from spf.userdata.captions import texts
from spf.userdata.reading import Places
from spf.userdata.sheet import write_report
from spf.userdata.weighted import unweighted

HAT = Wish("a hat", name="hat")


def picture(seed, size=(96, 96), mode="RGB"):
    colours = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).convert(mode)


def pictures(folder, count=5, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(number) for number in range(count)]
    for number, one in enumerate(names):
        picture(sum(map(ord, folder.name)) * 1000 + number).save(folder / one, format="PNG")
    return names


def found(report):
    return {finding.key: finding for finding in report.findings}


def texts_of(report):
    return {item.name: (item.base_text, item.complete_text) for item in report.items}


def zipped(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


# identity


def test_blanks_around_a_path_in_a_table_are_no_part_of_it(tmp_path):
    paths = [f"{who}/{name}" for who in ("man", "woman") for name in pictures(tmp_path / who, 3)]
    rows = [{"file_name": f" {path} ", "text": f"{path[:-6]}, a hat"} for path in paths]
    rows.append({"file_name": " ", "text": "a man, a hat"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = userdata.check(tmp_path, HAT)
    assert texts_of(report) == {path: (path[:-6], f"{path[:-6]}, a hat") for path in paths}
    assert found(report)["table"].names[0].startswith("metadata.jsonl, line 7: no picture under")


@pytest.mark.parametrize("how", ["folder", "archive"])
def test_folders_whose_pictures_share_their_names_keep_their_own_captions(tmp_path, how):
    source = tmp_path / "set"
    for who in ("man", "woman"):
        for number, name in enumerate(pictures(source / f"30_{who}", 3, "image{}.png")):
            caption = (source / f"30_{who}" / name).with_suffix(".txt")
            caption.write_text(f"a {who}, number {number}, a hat")
    if how == "archive":
        source = userdata.unpacked([zipped(source, tmp_path / "set.zip")], tmp_path / "in")
    told = texts_of(userdata.check(source, HAT))
    assert len(told) == 6
    assert all(
        base == f"a {name[3 : name.index('/')]}, number {name[-5]}"
        for name, (base, _) in told.items()
    )


@pytest.mark.parametrize("there, named", [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_compared_as_people_see_them(tmp_path, there, named):
    names = pictures(tmp_path, 5, unicodedata.normalize(there, "Zoë {}.PNG"))
    rows = [
        {"file_name": unicodedata.normalize(named, name).lower(), "text": f"man {name[-5]}, a hat"}
        for name in names
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    report = userdata.check(tmp_path, HAT)
    assert len(report.items) == 5 and set(found(report)) == {"read", "scarce"}


def test_a_table_finds_what_an_upload_renamed_and_what_lies_deeper(tmp_path):
    named = ["wow!.png", "x{1}.png", "a$b.png", "sub\\deep.png", "/home/me/far.png", "bare"]
    stored = ["wow.png", "x1.png", "ab.png", "pics/deep.png", "pics/far.png", "bare.png"]
    for number, name in enumerate(stored):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(number).save(tmp_path / name)
    rows = [{"file_name": name, "text": f"man {n}, a hat"} for n, name in enumerate(named)]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = texts_of(userdata.check(tmp_path, HAT))
    assert {name: base for name, (base, _) in told.items()} == {
        name: f"man {n}" for n, name in enumerate(stored)
    }


def test_captions_that_could_be_of_two_pictures_are_of_none(tmp_path):
    pictures(tmp_path, 4)
    for name in ("0.png", "1.png", "2.png"):
        (tmp_path / name).with_suffix(".txt").write_text(f"man {name}, a hat")
    picture(77).save(tmp_path / "0.jpg")  # beside 0.png, another picture with the same caption file
    (tmp_path / "1.caption").write_text("somebody else, a hat")
    for folder in ("a", "b"):
        pictures(tmp_path / folder, 1, "same.png")
    rows = [
        {"file_name": "same.png", "text": "x, a hat"},
        {"file_name": "2.png", "text": "the table's man, a hat"},
        {"file_name": "3.png", "text": "first"},
        {"file_name": "3.png", "text": "second"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = userdata.check(tmp_path, HAT)
    told = found(report)
    assert texts_of(report) == {"2.png": ("the table's man", "the table's man, a hat")}
    assert {name.split(" ")[0] for name in told["shared"].names} == {"0.jpg", "0.png"}
    assert [name.split(" ")[0] for name in told["contradict"].names] == ["1.png", "3.png"]
    assert told["outvoted"].names[0].startswith("2.png (2.txt")
    assert told["several"].names[0].startswith("same.png")


def test_uploads_that_would_overwrite_one_another_are_left_out(tmp_path):
    for folder in ("one", "two"):
        pictures(tmp_path / folder, 4)
        for number in range(4):
            (tmp_path / folder / f"{number}.txt").write_text(f"{folder} {number}, a hat")
    loose = [tmp_path / "one" / "0.png", tmp_path / "two" / "0.png", tmp_path / "one" / "1.png"]
    files = userdata.unpacked(loose, tmp_path / "in")
    assert [path.name for path in files] == ["1.png"] and files.unread["clash"] == [
        "0.png",
        "0.png",
    ]
    both = [zipped(tmp_path / name, tmp_path / f"{name}.zip") for name in ("one", "two")]
    told = texts_of(userdata.check(userdata.unpacked(both, tmp_path / "in2"), HAT))
    assert told["one/0.png"][0] == "one 0" and told["two/0.png"][0] == "two 0" and len(told) == 8


# text


WORDS = "a man from Málaga, “smiling”, number {}, a hat"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"])
def test_captions_in_any_usual_encoding_are_read(tmp_path, encoding):
    for number, name in enumerate(pictures(tmp_path)):
        (tmp_path / name).with_suffix(".txt").write_bytes(WORDS.format(number).encode(encoding))
    report = userdata.check(tmp_path, HAT)
    assert [item.complete_text for item in report.items] == [WORDS.format(n) for n in range(5)]
    assert ("page" in found(report)) == (encoding == "cp1252")


def test_captions_that_no_encoding_reads_are_refused_by_name(tmp_path):
    for number, name in enumerate(pictures(tmp_path)):
        (tmp_path / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    (tmp_path / "0.txt").write_bytes("lost \ufffd letters".encode())
    (tmp_path / "1.txt").write_bytes(bytes(range(128, 256)) * 2)
    report = userdata.check(tmp_path, HAT)
    assert found(report)["encoding"].names == ("0.txt", "1.txt") and len(report.items) == 3
    assert not any("\ufffd" in item.complete_text for item in report.items)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1e"])
def test_only_a_newline_ends_a_line_of_a_table(tmp_path, mark):
    rows = [
        {"file_name": name, "text": f"man{mark}{n}, a hat"}
        for n, name in enumerate(pictures(tmp_path))
    ]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "metadata.jsonl").write_text(lines, encoding="utf-8", newline="")
    assert "table" not in found(userdata.check(tmp_path, HAT))


@pytest.mark.parametrize(
    "table",
    [
        "file_name,text\n{0},'man {n}, a hat'\n",
        "image, caption\n{0}, 'man {n}, a hat'\n",
        "\ufefffile_name;text\n{0};man {n}, a hat\n",
        " File ;Caption;note\n{0};man {n}, a hat;\n",
        "image\ttext\n{0}\tman {n}, a hat\n",
        "'file_name','text'\n'{0}','man {n}, a hat'\n",
        "sep=;\nfile_name;text\n{0};man {n}, a hat\n",
        "\n\nfile_name,text,text\n{0},'man {n}, a hat',,\n",
        "file_name,text\r{0},'man {n}, a hat'\r",
        "file_name,base,text,image\n{0},NaN,'man {n}, a hat',/home/me/{0}\n",
    ],
)
def test_tables_of_every_program_are_read(tmp_path, table):
    end = "\r" if "\r" in table else "\n"
    *head, line = table.replace("'", '"').rstrip(end).split(end)
    rows = [line.format(name, n=n) for n, name in enumerate(pictures(tmp_path))]
    (tmp_path / "metadata.csv").write_text(end.join([*head, *rows]), encoding="utf-8", newline="")
    report = userdata.check(tmp_path, HAT)
    assert [item.base_text for item in report.items] == [f"man {n}" for n in range(5)]


@pytest.mark.parametrize(
    "name, table, why",
    [
        ("metadata.csv", "file_name,text\n0.png,a man, a hat\n", "line 2: 3 columns but 2"),
        ("metadata.csv", 'file_name,text\n0.png,"a\n1.png,b\n', "line 2: a quote"),
        ("metadata.csv", 'file_name,text\n0.png,"' + "x" * 140_000, "line 2: a quote"),
        ("metadata.csv", "0.png,a man\n", "line 1: no header"),
        ("captions.jsonl", "\n{'file_name'}\n", "line 2: not JSON"),
        (
            "captions.jsonl",
            '{"file_name": "0.png", "text": ["a"]}',
            "line 1: the caption is no text",
        ),
        ("captions.jsonl", '{"file_name": {"a": 1}, "text": "a"}', "line 1: no picture"),
        ("captions.jsonl", "[" * 5000, "line 1: not JSON"),
        ("captions.jsonl", "3", "line 1: not an object"),
        ("metadata.csv", "file_name,text\n0.png,nan\n", "line 2: no caption"),
        ("metadata.csv", "file_name,text,caption\n0.png,a,b\n", "line 2: text and caption say"),
        ("metadata.csv", "file_name,image,text\n0.png,1.png,b\n", "file_name and image say"),
        ("metadata.csv", "file_name,text,text\n0.png,a,b\n", "line 2: the caption is no text, or"),
        ("captions.jsonl", '{"file": "0.png", "text": "a", "text": "b"}', "or there are two"),
    ],
)
def test_a_fault_in_a_table_is_told_with_its_line(tmp_path, name, table, why):
    pictures(tmp_path)
    (tmp_path / name).write_text(table)
    report = userdata.check(tmp_path, HAT)
    assert why in found(report)["table"].names[0] and not report.items


def test_a_table_without_endings_costs_time_in_proportion(monkeypatch):
    """However many pictures there are, a line looks a name up."""
    looked = []
    monkeypatch.setattr("spf.userdata.reading._stem", lambda key: looked.append(key) or key[:-4])
    places = Places([f"{number}.png" for number in range(50)])
    assert [places.named(str(number), "") for number in range(50)] == [
        [f"{number}.png"] for number in range(50)
    ]
    assert len(looked) <= 100


def test_a_json_list_and_other_caption_files_are_read(tmp_path):
    names = pictures(tmp_path)
    rows = [{"image": names[0], "caption": "man 0, a hat"}]
    (tmp_path / "captions.jsonl").write_text(json.dumps(rows, indent=1))
    for number, ending in ((1, ".caption"), (2, ".TXT"), (3, ".png.txt")):
        (tmp_path / f"{number}{ending}").write_text(f"man {number}, a hat")
    told = texts_of(userdata.check(tmp_path, HAT))
    assert [base for base, _ in told.values()] == [f"man {n}" for n in range(4)]


# pixels


def test_transparent_parts_are_white_whatever_lies_under_them(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 255, (96, 96, 4), dtype=np.uint8)
    drawn[..., 3] = 0
    drawn[24:72, 24:72] = (10, 200, 30, 255)
    for name in ("noise.png", "cut.webp"):
        Image.fromarray(drawn).save(tmp_path / name, lossless=True)
        item = userdata.Item(tmp_path / name, "", "", "")
        seen = item.pixels(64).astype(int)
        assert (seen[:8] == 255).all() and abs(seen[32, 32] - (10, 200, 30)).max() <= 2


def test_text_chunks_and_broken_exif_cannot_veto_a_picture(tmp_path):
    names = pictures(tmp_path, 3)
    info = PngInfo()
    info.add_itxt("workflow", "x" * (3 << 20), zip=True)
    picture(50).save(tmp_path / "workflow.png", pnginfo=info)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2)
    block += struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x011A, 5, 1, 38)
    block += struct.pack("<I", 0) + struct.pack("<ii", -1, 0)
    picture(51, (100, 120)).save(tmp_path / "photo.jpg", exif=block)
    for name in (*names, "workflow.png", "photo.jpg"):
        (tmp_path / name).with_suffix(".txt").write_text(f"{name}, a hat")
    report = userdata.check(tmp_path, HAT)
    assert len(report.items) == 5 and "broken" not in found(report)


def test_one_broken_picture_takes_nothing_else_down(tmp_path):
    for number, name in enumerate(pictures(tmp_path, 6)):
        (tmp_path / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "1.png").write_bytes(b"")
    report = userdata.check(tmp_path, HAT)
    assert found(report)["broken"].names == ("0.png", "1.png") and len(report.items) == 4


# what is not read


def test_everything_that_is_not_read_is_told_by_its_kind(tmp_path):
    source = tmp_path / "set"
    for number, name in enumerate(pictures(source, 5)):
        (source / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    for name in ("movie.MP4", "layers.psd", "notes.docx", "0.json"):
        (source / name).write_bytes(b"x")
    (source / "inner.zip").write_bytes(b"PK")
    (source / ".DS_Store").write_bytes(b"x")
    for folder in ("@eaDir", "$RECYCLE.BIN"):
        pictures(source / folder, 1)
    (source / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(source / "pipe.png")
    picture(9).save(source / "scan.jfif", format="JPEG")
    (source / "elsewhere").symlink_to(tmp_path)
    report = userdata.check(source, HAT)
    told = [(f.key, f.values.get("kind"), f.names) for f in report.findings if f.names]
    assert ("kind", "MP4", ("movie.MP4",)) in told and ("kind", "PSD", ("layers.psd",)) in told
    assert ("archive", None, ("inner.zip",)) in told and (
        "link",
        None,
        ("elsewhere", "gone.png"),
    ) in told
    assert ("caption", None, ("scan.jfif",)) in told and ("kind", "?", ("pipe.png",)) in told
    made = found(report)["system"].names
    assert set(made) == {".DS_Store", "@eaDir/0.png", "$RECYCLE.BIN/0.png"}
    states = {entry.name: entry.state for entry in report.entries}
    assert states["movie.MP4"] == "not read" and states["0.png"] == "used"
    assert states["scan.jfif"] == "left out" and states["0.txt"] == "captions"


def test_names_that_no_file_can_hold_are_told_and_take_nothing_down(tmp_path):
    source = tmp_path / "set"
    for number, name in enumerate(pictures(source)):
        (source / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    try:
        os.rename(source / "0.png", os.fsencode(source) + b"/\xff.png")
    except OSError:
        pytest.skip("every name of a file is Unicode here")
    (source / "captions.jsonl").write_text('{"file_name": "\\ud800.png", "text": "a man"}')
    report = userdata.check(source, HAT)
    assert found(report)["name"].names == ("\\udcff.png",) and len(report.items) == 4
    assert "\\ud800.png" in found(report)["orphan"].names
    page = write_report(report, tmp_path / "report.html", "set \ud800", lambda one: str(one.names))
    assert "\\udcff.png" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["//{}", "\\\\{}", "a.png", "a.png/0.png"])
def test_no_member_of_an_archive_leaves_its_folder_or_takes_the_place_of_one(tmp_path, name):
    """Names that begin like those of a network are as any other; a file cannot be a folder too."""
    pictures(tmp_path / "set", 4)
    path = zipped(tmp_path / "set", tmp_path / "x.zip")
    outside = tmp_path / "out.png"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.png" if "/0" in name else "a.png/0.png", b"x")
        archive.writestr(name.format(outside.as_posix().lstrip("/")), b"x")
    files = userdata.unpacked([path], tmp_path / "in")
    assert all(file.is_relative_to(tmp_path / "in") for file in files) and not outside.exists()
    assert files.unread.get("name", []) == ([name] if "a.png" in name else [])


@pytest.mark.parametrize("damage", ["inside", "cut", "locked", "many"])
def test_an_archive_that_cannot_be_read_is_refused_in_words(tmp_path, damage, monkeypatch):
    pictures(tmp_path / "set")
    path = zipped(tmp_path / "set", tmp_path / "x.zip")
    data = bytearray(path.read_bytes())
    if damage == "inside":
        data[60:80] = bytes(20)
    elif damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "locked":
        at = data.index(b"PK\x01\x02")
        data[6] |= 1
        data[at + 8] |= 1
    else:
        monkeypatch.setattr("spf.userdata.inbox.MEMBERS", 3)
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match="x.zip (is no archive|is locked|has 5 files)"):
        userdata.unpacked([path], tmp_path / "in")


def test_a_flipped_bit_in_an_archive_is_never_more_than_a_refusal(tmp_path):
    pictures(tmp_path / "set", 2)
    whole = zipped(tmp_path / "set", tmp_path / "x.zip").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(150):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (tmp_path / "x.zip").write_bytes(bytes(data))
        try:
            userdata.unpacked([tmp_path / "x.zip"], tmp_path / f"in{number}")
        except BadInput as error:
            assert str(error).startswith("x.zip ")


@pytest.mark.parametrize("kind", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_damage_inside_any_kind_of_packing_is_a_refusal(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", getattr(zipfile, kind)) as archive:
        archive.writestr("0.txt", bytes(range(256)) * 40)
    whole = (tmp_path / "x.zip").read_bytes()
    for place in range(35, whole.rindex(b"PK\x01\x02"), 7):
        damaged = whole[:place] + bytes(one ^ 255 for one in whole[place : place + 3])
        (tmp_path / "x.zip").write_bytes(damaged + whole[place + 3 :])
        with pytest.raises(BadInput, match="x.zip is no archive that can be read"):
            userdata.unpacked([tmp_path / "x.zip"], tmp_path / "in")


def test_members_in_the_code_page_of_another_system_keep_their_names(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            stored = io.BytesIO()
            picture(number).save(stored, "PNG")
            archive.writestr(f"AAAA{number}.png", stored.getvalue())
    data = buffer.getvalue()
    for number in range(4):
        data = data.replace(f"AAAA{number}".encode(), "帽子".encode("gbk") + str(number).encode())
    (tmp_path / "old.zip").write_bytes(data)
    files = userdata.unpacked([tmp_path / "old.zip"], tmp_path / "in")
    assert [path.name for path in files] == [f"帽子{number}.png" for number in range(4)]


# the target in a caption


@pytest.mark.parametrize(
    "caption, base",
    [
        ("a woman wearing the hat", "a woman"),
        ("a woman in hats", "a woman"),
        ("a girl wearing a red hat", "a girl"),
        ("a man in a big, red hat, smiling", "a man, smiling"),
        ("a man with a hat and glasses", "a man with glasses"),
        ("a man wearing glasses and his old hat", "a man wearing glasses"),
        ("a hat on a man", "a man"),
        ("He wears a hat and smiles", "He smiles"),
        ("a woman with a hat on her head, smiling", "a woman, smiling"),
        ("a man with a hat with a feather in a park", "a man in a park"),
        ("a man in a “hat” by the sea", "a man by the sea"),
        ("a hat-wearing man", "a man"),
        ("two women in two hats", "two women"),
        ("A MAN IN A HAT", "A MAN"),
        ("a man without glasses, wearing a hat", "a man without glasses"),
        ("man, hat, park", "man, park"),
        ("a woman who wears a hat tilted back, reading", "a woman, reading"),
        ("a man in a hat and a hat and a hat", "a man"),
        ("a man with a hat but no glasses", "a man with no glasses"),
        ("a man with a hat and without glasses", "a man without glasses"),
        ("a man wearing a hat/scarf", "a man wearing scarf"),
        ("a man w/ a hat", "a man"),
        ("1boy, red_hat, long_hair", "1boy, long_hair"),
        ("a woman wearing [a hat]", "a woman"),
        ("a **hat** on a man", "a man"),
        ("ａ man in ａ ｈａｔ", "ａ man"),
        ("a man in a hat :-)", "a man:-)"),
        ("a woman with a hat that shines", "a woman"),
        ("the man's hat is red", "the man"),
        ("a man in his father's hat", "a man"),
        ("a man with a beard, his hat is red, smiling", "a man with a beard, smiling"),
        ("a man in a hat is smiling", "a man is smiling"),
        ("1girl, hat_on_back, witch_hat, smile", "1girl, smile"),
        ("a man «with a hat»", "a man"),
        ("a man with a non-red hat", "a man"),
        ("a man with an off-white hat", "a man"),
        ("a man, his hat: red", "a man"),
        ("a man whose hat is red smiles", "a man smiles"),
    ],
)
def test_the_target_is_found_as_people_say_it(caption, base):
    said = texts(caption, "", HAT)
    assert (said.base, said.complete, said.said, said.doubts) == (base, caption, True, ())


@pytest.mark.parametrize(
    "caption, bare",
    [
        ("a woman, (a hat:1.3), smiling", "a woman, a hat, smiling"),
        ("<lora:hats:0.8> a man, ((a hat))", "a man, a hat"),
        ("a man, hat++, (red coat)1.2", "a man, hat, red coat"),
        (r"a man \(old\), a hat", "a man (old), a hat"),
        ("a man (old), a hat: 3 of 5", "a man (old), a hat: 3 of 5"),
        ("a T-shirt, half-open", "a T-shirt, half-open"),
        ("a man, hat:1.2, smile", "a man, hat, smile"),
        ("a man at 3:30, hat", "a man at 3:30, hat"),
        ("a hat &amp; glasses", "a hat & glasses"),
        ("a man::2 a hat::1", "a man, a hat"),
        ("a man BREAK wearing a hat", "a man, wearing a hat"),
        ("a man in a hat --ar 2:3 --v 6", "a man in a hat"),
    ],
)
def test_weights_and_tags_are_no_words(caption, bare):
    assert unweighted(caption) == bare


@pytest.mark.parametrize(
    "caption",
    [
        "a woman without a hat",
        "a man with no hat",
        "a woman, her hat removed by now",
        "a woman who isn't wearing a hat",
        "a woman not wearing her hat",
        "a man without glasses or a hat",
        "a hatless man",
        "a man taking off his hat",
        "a man w/o a hat",
        "a no-hat man",
        "a man, his hat gone",
        "a man who has lost his hat",
        "man, hat: none",
        "a man with 0 hats",
        "a man who has removed his hat",
        "none of the men wear a hat",
        "no one in a hat, two women",
        "a man refusing to wear a hat",
        "a man free of hats",
        "anything but a hat, a man",
        "a man, hat not visible",
        "a man whose hat is out of frame",
        "a man, hat=0",
        "1boy, -hat, solo",
        "a man with an invisible hat",
        "man zonder hat",
        "男人不戴hat",
    ],
)
def test_a_caption_that_denies_the_target_is_left_out(tmp_path, caption):
    names = pictures(tmp_path)
    for name in names:
        (tmp_path / name).with_suffix(".txt").write_text(f"man {name}, a hat")
    (tmp_path / "0.txt").write_text(caption)
    report = userdata.check(tmp_path, HAT)
    assert found(report)["denied"].names[0].startswith("0.png") and len(report.items) == 4


@pytest.mark.parametrize(
    "caption, doubt",
    [
        ("a man in a hat shop", "still"),
        ("The hat suits the man", "still"),
        ("a man wearing nothing but a hat", "rest"),
        ('{"text": "a man in a hat"}', "rest"),
        ("- a man - a hat", "rest"),
        ("a man imagining a hat", "rest"),
        ("a man would look better with a hat", "rest"),
        ("a man about to put on a hat", "rest"),
    ],
)
def test_what_the_rules_cannot_tell_is_shown_with_both_texts(tmp_path, caption, doubt):
    for number, name in enumerate(pictures(tmp_path)):
        (tmp_path / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    (tmp_path / "0.txt").write_text(caption)
    told = found(userdata.check(tmp_path, HAT))[doubt]
    assert told.level == "warning"
    assert told.names[0].count(caption) == (2 if doubt == "still" else 1)


@pytest.mark.parametrize(
    "caption, base",
    [
        ("一个戴帽子的女人", "一个女人"),
        ("一个女人，戴着帽子，微笑", "一个女人，微笑"),
        ("没有眼镜戴帽子的男人", "没有眼镜男人"),
        ("一个没戴帽子的女人", None),
        ("没有红色的帽子", None),
        ("帽子なしの女性", None),
    ],
)
def test_a_target_between_words_that_nothing_parts_is_found_and_denied(caption, base):
    said = texts(caption, "", Wish("帽子"))
    assert said.denied == (base is None) and said.said != said.denied
    assert base is None or (said.base, said.doubts) == (base, ("rest",))


@pytest.mark.parametrize(
    "target, caption, base",
    [
        ("un chapeau", "un homme avec un chapeau", "un homme"),
        ("un chapeau", "un homme qui ne porte pas de chapeau", None),
        ("ein Hut", "ein Mann mit rotem Hut", "ein Mann"),
        ("ein Hut", "ein Mann ohne jeden Hut", None),
        ("шляпа", "мужчина в шляпе", "мужчина"),
        ("шляпа", "мужчина без шляпы", None),
        ("帽子", "脱下帽子的男人", None),
        ("帽子", "帽子をかぶっていない男性", None),
        ("모자", "모자를 쓰지 않은 남자", None),
    ],
)
def test_other_languages_tie_and_deny_too(target, caption, base):
    said = texts(caption, "", Wish(target))
    assert (said.denied, said.said) == (base is None, base is not None)
    assert base is None or said.base == base


@pytest.mark.parametrize("caption", ["a man with a glass of wine", "a well-dressed man"])
def test_words_that_only_look_like_the_target_are_others(caption):
    target = "glasses" if "glass" in caption else "a dress"
    assert not texts(caption, "", Wish(target)).said


@pytest.mark.parametrize("caption", ["hats!", "a hat", "wearing a hat, a hat", "!?"])
def test_a_caption_of_the_target_alone_is_refused_and_quoted(caption):
    with pytest.raises(BadInput, match="caption is '.+' but must say more than the target"):
        texts(caption, "", HAT)


def test_what_replaces_the_target_has_one_article():
    said = texts("a man in a red hat", "", Wish("a hat", "replace", "a cap"))
    assert (said.base, said.complete) == ("a man in a red cap", "a man in a red hat")


@pytest.mark.parametrize("piece", ["a ", "hat ", "in a , ", "(a:1", "((((", "<lora", "a hat and "])
def test_long_captions_cost_time_in_proportion(piece):
    """Counted in steps of the interpreter, not in seconds."""
    import sys

    def steps(count):
        line, seen = (piece * count)[: 4 * count], 0

        def count_line(frame, event, arg):
            nonlocal seen
            seen += 1
            return count_line

        sys.settrace(count_line)
        try:
            mentions(unweighted(line), "a hat")
        finally:
            sys.settrace(None)
        return seen

    assert steps(800) < 2.6 * steps(400)


def test_a_caption_of_many_pages_is_refused_and_named(tmp_path):
    for number, name in enumerate(pictures(tmp_path)):
        (tmp_path / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    (tmp_path / "0.txt").write_text("wearing a hat, " * 4000)
    (tmp_path / "1.txt").write_text("a man " + "x" * 990)
    names = found(userdata.check(tmp_path, HAT))["text"].names
    assert names[0].startswith("0.png (caption has 59999 ")
    assert names[1].startswith("1.png (caption has 1003 characters with the target")


def test_what_was_written_is_what_is_trained_on(tmp_path):
    """The complete text as it stands, with the target's words where they are."""
    item = userdata.Item(tmp_path, "a man with glasses", "a hat", "a man with a hat and glasses")
    prompt = item.prompt(HAT)
    assert prompt.complete == item.complete_text and not prompt.composed
    assert [phrase.text for phrase in prompt.phrases] == ["man", "glasses"]
    start, end = prompt.target_phrases[0].complete[0]
    assert prompt.complete[start:end] == "hat"
    made = userdata.Item(tmp_path, "a man", "a hat", "a man, a hat").prompt(HAT)
    assert made.composed and made.complete == "a man, a hat"


# the report


def test_the_report_shows_every_picture_with_its_texts_and_every_file(tmp_path):
    for number, name in enumerate(pictures(tmp_path / "set")):
        (tmp_path / "set" / name).with_suffix(".txt").write_text(f"<b>man</b> {number}, a hat")
    (tmp_path / "set" / "movie.mp4").write_bytes(b"x")
    looked = []
    report = userdata.check(tmp_path / "set", HAT, progress=lambda *now: looked.append(now))
    page = write_report(report, tmp_path / "report.html", "a set", lambda finding: finding.key)
    words = page.read_text()
    assert words.count("<figure>") == 5 and "&lt;b&gt;man&lt;/b&gt; 3</span>" in words
    assert "movie.mp4<td>not read<td>MP4" in words and "<b>man" not in words
    assert looked[-1] == (5, 5)


def test_a_stored_set_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    for number, name in enumerate(pictures(tmp_path / "set")):
        (tmp_path / "set" / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    items = userdata.check(tmp_path / "set", HAT).items

    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spf.userdata.sets.write_json", full)
    with pytest.raises(OSError):
        userdata.keep(items, HAT, tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    monkeypatch.setattr("spf.userdata.sets.require_room", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        userdata.keep(items, HAT, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_captions_beyond_the_window_are_told_with_what_falls_off(tmp_path):
    words = partial(spelling, load_tokenizer())
    long = ", ".join(["smile"] * 40)
    for number, name in enumerate(pictures(tmp_path, 6)):
        (tmp_path / name).with_suffix(".txt").write_text(f"man {number}, a hat")
    (tmp_path / "0.txt").write_text(f"a man in a hat, {long}")
    (tmp_path / "1.txt").write_text(f"a man, {long}, in a hat")
    (tmp_path / "2.txt").write_text(f"a man, {long}")  # a hat is added at the end
    report = userdata.check(tmp_path, HAT, words)
    told = found(report)
    assert told["beyond"].level == "warning"
    assert told["beyond"].names == ("0.png (85/75: “smile, smile, smile, smile, smile”)",)
    assert [name.partition(" ")[0] for name in told["lost"].names] == ["1.png", "2.png"]
    assert {item.name for item in report.items} == {"0.png", "3.png", "4.png", "5.png"}
