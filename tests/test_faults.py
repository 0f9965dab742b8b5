"""Short forms of the trials of `spf.stress`, hostile pictures, and the table of faults: every test
it names is there.
"""

import ast
import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spf.errors import BadInput
from spf.images import COST, FORMATS, PICTURE_BYTES, open_image, readable
from spf.stress import fuzz, mutated, readers

ROOT = Path(__file__).parents[1]


def test_broken_inputs_are_read_or_refused_in_words():
    told = fuzz(150)
    assert set(told) >= {"picture", "archive", "jsonl", "csv", "caption", "prompt", "weights"}
    assert all(sum(row.values()) == 150 and not row["failed"] for row in told.values()), told
    assert sum(row["read"] for row in told.values()) and sum(
        row["refused"] for row in told.values()
    )


def test_the_trial_sees_a_reader_that_fails(monkeypatch, tmp_path):
    def broken(folder):
        return {"broken": ([b"abc"], lambda data: 1 / 0)}

    monkeypatch.setattr("spf.stress.readers", broken)
    assert fuzz(5)["broken"] == {"read": 0, "refused": 0, "failed": 5}
    assert len(readers(tmp_path)) > 5
    import random

    made = {mutated(b"abcdefgh" * 9, random.Random(number)) for number in range(50)}
    assert len(made) > 40


def header(width, height, kind=2, bits=8, pixels=b"", aside=b""):
    """A PNG that says its size, by default without pixels; they are in one piece, unpacked.

    aside: what a chunk holds that no picture needs.
    """
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)),
        (b"prVt", aside),
        (b"IDAT", zlib.compress(pixels, 0)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


MEASURED = """
import sys
from spf.errors import BadInput
from spf.images import open_image
from PIL import Image
Image.init()

def most():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])

before = most()
try:
    shown = open_image(sys.argv[1], 512).size
except BadInput as error:
    shown = str(error)
print((most() - before) // 1024, shown)
"""


def memory_of(path):
    """MiB by which reading a picture raises the memory of a process, and what came of it."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, cwd=ROOT
    )
    rise, _, shown = done.stdout.strip().partition(" ")
    return int(rise), shown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own count")
@pytest.mark.parametrize(
    "kind", ["bomb", "alpha", "sixteen", "webp", "progressive", "chunk", "aside"]
)
def test_no_picture_takes_more_than_its_share_of_memory(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "bomb":
        path.write_bytes(header(13000, 13000))
    elif kind == "alpha":
        Image.new("RGBA", (4096, 4096), (1, 2, 3, 4)).save(path, "PNG")
    elif kind == "sixteen":
        Image.fromarray(np.zeros((4096, 4096), np.uint16)).save(path, "PNG")
    elif kind == "chunk":
        path.write_bytes(header(4096, 4096, 6, pixels=bytes(4096 * (1 + 4 * 4096))))
    elif kind == "aside":
        path.write_bytes(header(64, 64, pixels=bytes(64 * (1 + 3 * 64)), aside=bytes(90 << 20)))
    elif kind == "webp":
        side = int((PICTURE_BYTES / COST["WEBP"]) ** 0.5) - 40
        Image.new("RGBA", (side, side), (9, 9, 9, 9)).save(path, "WEBP")
    else:
        Image.new("RGB", (2800, 2800)).save(path, "JPEG", progressive=True, subsampling=0)
    rise, shown = memory_of(path)
    assert rise < 100 and shown
    assert ("but at most 4096x4096" in shown) == (kind == "bomb")


@pytest.mark.parametrize(
    "kind", ["GIF", "PPM", "TGA", "PCX", "SGI", "DDS", "ICO", "IM", "MSP", "XBM"]
)
def test_a_format_that_is_not_declared_is_not_taken_under_another_name(tmp_path, kind):
    assert kind not in FORMATS
    image = Image.new("1" if kind in ("MSP", "XBM") else "RGB", (80, 80))
    image.save(tmp_path / "0.png", format=kind)
    with pytest.raises(BadInput, match="give one of"):
        open_image(tmp_path / "0.png")


@pytest.mark.parametrize("kind", [kind for kind in readable() if kind != "HEIF"])
def test_every_declared_format_is_read_whatever_its_name(tmp_path, kind):
    Image.new("RGB", (40, 20), (200, 30, 40)).save(tmp_path / "0.dat", format=kind)
    image = open_image(tmp_path / "0.dat")
    assert (
        image.size == (40, 20)
        and abs(np.asarray(image)[9, 9].astype(int) - (200, 30, 40)).max() < 12
    )


def test_sixteen_bits_keep_their_ramp(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(64, 0)
    for kind in ("PNG", "TIFF"):
        Image.fromarray(ramp).save(tmp_path / "a", kind)
        row = np.asarray(open_image(tmp_path / "a"))[5, :, 0].astype(int)
        assert abs(row - np.arange(256)).max() <= 1


def test_pixels_of_32_bits_have_no_range_and_are_refused(tmp_path):
    for kind in (np.int32, np.float32):
        Image.fromarray(np.full((64, 64), 200, kind)).save(tmp_path / "a", "TIFF")
        with pytest.raises(BadInput, match="a is not a readable picture"):
            open_image(tmp_path / "a")


def test_a_jpeg_with_further_pictures_is_its_first(tmp_path):
    """As telephones store them: one for depth, or a smaller one for a glance."""
    first, other = (Image.new("RGB", (96, 64), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[other])
    with Image.open(tmp_path / "a.jpg") as held:
        assert held.format == "MPO"
    shown = open_image(tmp_path / "a.jpg", 16)
    assert shown.size == (24, 16) and shown.getpixel((9, 9))[0] > 250


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_upright(tmp_path, turn):
    drawn = np.zeros((40, 60, 3), np.uint8)
    drawn[:20, :30] = 255
    image, exif = Image.fromarray(drawn), Image.Exif()
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    if turn > 1:
        image = image.transpose(Image.Transpose(back[turn]))
    exif[0x0112] = turn
    image.save(tmp_path / "a.png", exif=exif)
    seen = np.asarray(open_image(tmp_path / "a.png"))
    assert seen.shape == drawn.shape and seen[5, 5].min() == 255 and seen[35, 55].max() == 0


def test_reduced_pictures_look_like_whole_ones(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 255, (30, 40, 4), dtype=np.uint8)
    image = Image.fromarray(drawn).resize((1600, 1200), Image.Resampling.BICUBIC)
    held = io.BytesIO()
    image.save(held, "PNG")
    (tmp_path / "a").write_bytes(held.getvalue())
    whole, small = open_image(tmp_path / "a"), open_image(tmp_path / "a", 200)
    assert small.size == (267, 200)
    other = np.asarray(whole.resize(small.size, Image.Resampling.BOX)).astype(int)
    assert abs(np.asarray(small).astype(int) - other).mean() < 2


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)\.py::(test_\w+)`", text))
    assert len(named) > 40
    for file, test in named:
        tree = ast.parse((ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8"))
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert test in there, f"{file}.py has no {test}"
