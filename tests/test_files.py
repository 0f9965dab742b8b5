"""Names stay in their folder, writes are all or nothing, and only undamaged tensors are read."""

import errno
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from spf import files, images
from spf.errors import BadInput, NotFinite, UnsafeFile

BAD_NAMES = [
    "",
    ".",
    "..",
    "../a",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "C:a",
    ".env",
    "a\x00b",
    "a\nb",
    "x" * 101,
    "NUL",
    "con.txt",
    "a.",
    "a ",
    "a*",
    "\u202egnp.exe",
    None,
    7,
    b"a",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path, name):
    with pytest.raises(BadInput):
        files.inside(tmp_path, name)


@pytest.mark.parametrize("name", ["hat", "hat.safetensors", "Élodie 2", "a-b_c..d", "帽子"])
def test_a_plain_name_is_kept(tmp_path, name):
    assert files.inside(tmp_path, name) == tmp_path.resolve() / name


def test_a_planted_link_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeFile):
        files.inside(tmp_path / "root", "out")


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "state.json"
    files.write_json(path, {"step": 1})
    with pytest.raises(RuntimeError), files.atomic(path) as draft:
        draft.write_text("half of")
        raise RuntimeError
    with pytest.raises(ValueError):
        files.write_json(path, {"loss": float("nan")})
    assert files.read_json(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_weights(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    files.save_tensors(path, {"a": torch.ones(2)})

    def full(tensors, draft, metadata):
        draft.write_bytes(b"\0" * 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError):
        files.save_tensors(path, {"a": torch.zeros(2)})
    assert files.load_tensors(path)["a"].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_and_metadata_come_back(tmp_path):
    path = tmp_path / "new folder" / "a.safetensors"
    files.save_tensors(path, {"a": torch.arange(6.0).reshape(2, 3).T}, {"method": "spf"})
    assert files.read_header(path) == ({"method": "spf"}, {"a": (3, 2)})
    assert torch.equal(files.load_tensors(path)["a"], torch.arange(6.0).reshape(2, 3).T)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_file_with_nan_is_written_or_read(tmp_path, value):
    path = tmp_path / "a.safetensors"
    with pytest.raises(NotFinite, match="in layer"):
        files.save_tensors(path, {"layer": torch.tensor([value])})
    assert not path.exists()
    save_file({"layer": torch.tensor([value])}, path)
    with pytest.raises(NotFinite, match="a.safetensors has NaN or infinity in layer"):
        files.load_tensors(path)


WHOLE = save({"a": torch.ones(8)})
PICKLE = (
    b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94"
    b"\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"<html>not found</html>",
        WHOLE[:-4],
        WHOLE[:20],
        struct.pack("<Q", 2**62) + b"{}",
        PICKLE,
    ],
)
def test_a_damaged_or_foreign_file_is_refused_whatever_its_name(tmp_path, content):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(content)
    for read in (files.read_header, files.load_tensors):
        with pytest.raises(UnsafeFile):
            read(path)


def test_a_missing_file_is_bad_input(tmp_path):
    for read in (files.read_header, files.load_tensors, files.read_json, images.open_image):
        with pytest.raises(BadInput):
            read(tmp_path / "none")


def test_damaged_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"step": ')
    with pytest.raises(UnsafeFile):
        files.read_json(tmp_path / "a.json")


def png(width, height):
    """A PNG that claims a size and holds almost nothing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("size", [(13000, 13000), (60000, 60000), (1, 5000)])
def test_a_huge_picture_is_refused_by_its_header(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    with pytest.raises(BadInput):
        images.open_image(tmp_path / "bomb.png")


def test_sides_and_pixels_of_a_picture_have_their_limits(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (65, 10)).save(path)
    assert images.open_image(path, largest=65).size == (65, 10)
    with pytest.raises(BadInput, match="65x10 pixels but at most 64x64 are allowed"):
        images.open_image(path, largest=64)

    Image.new("RGB", (100, 101)).save(path)
    monkeypatch.setattr(images, "PICTURE_BYTES", images.COST["PNG"] * 100 * 101)
    assert images.open_image(path).size == (100, 101)
    monkeypatch.setattr(images, "PICTURE_BYTES", images.COST["PNG"] * 100 * 101 - 1)
    with pytest.raises(BadInput, match="100x101 pixels but as PNG at most 0.0 million"):
        images.open_image(path)


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"%!PS-Adobe", png(4, 4)])
def test_a_broken_or_unsupported_picture_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadInput, match="give one of PNG, JPEG, WEBP"):
        images.open_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "mode, kind",
    [
        ("RGB", "png"),
        ("L", "png"),
        ("P", "png"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("I;16", "png"),
        ("CMYK", "jpeg"),
        ("RGB", "webp"),
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode, kind):
    Image.new(mode, (3, 2)).save(tmp_path / "a", format=kind)
    image = images.open_image(tmp_path / "a")
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_transparent_parts_are_white_and_photographs_upright(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert np.asarray(images.open_image(tmp_path / "a.png")).min() == 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg", exif=exif)
    assert images.open_image(tmp_path / "a.jpg").size == (2, 4)


def test_a_full_disk_is_noticed_beforehand(tmp_path):
    files.require_room(tmp_path, 1)
    with pytest.raises(BadInput, match="MiB are needed"):
        files.require_room(tmp_path, 2**70)
