"""Sets that the model draws itself: what CLIP keeps, and a stopped run that goes on."""

import numpy as np
import pytest
from PIL import Image
from portrait_world import new_portrait_base
from real_world import new_cut_base

from spf import made_data as m
from spf.errors import BadInput, Cancelled
from spf.rows import read_rows

HOW = {"steps": 2, "batch": 2, "count": 3}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.fixture
def every_other(monkeypatch):
    """CLIP is sure of every picture with an even number."""
    monkeypatch.setattr(m, "shown", lambda base, pictures, prompts: np.array([0.9, 0.1]))


def test_what_is_kept_is_a_set_with_captions(base, every_other, tmp_path):
    made = m.make_set(base, "a straw hat", tmp_path, **HOW)
    assert (made.drawn, made.kept) == (6, 3)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["00000.png", "00002.png", "00004.png"]
    side = base.image_size
    assert Image.open(tmp_path / names[0]).size == (side, side)
    texts = [(tmp_path / name).with_suffix(".txt").read_text() for name in names]
    assert all("a straw hat" in text for text in texts) and len(set(texts)) > 1
    assert [row["kept"] for row in read_rows(tmp_path / m.ROWS)] == [True, False] * 3


def test_a_stopped_run_goes_on_as_the_same_set(base, every_other, tmp_path):
    def stop(kept, count):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        m.make_set(base, "a straw hat", tmp_path / "two", callback=stop, **HOW)
    for name in ("one", "two"):
        m.make_set(base, "a straw hat", tmp_path / name, **HOW)
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "two")]
    assert files[0] == files[1]
    for name in files[0]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with pytest.raises(BadInput, match="another target or other settings"):
        m.make_set(base, "a top hat", tmp_path / "one", **HOW)


def test_a_target_that_is_never_drawn_ends_it(base, tmp_path, monkeypatch):
    monkeypatch.setattr(m, "shown", lambda base, pictures, prompts: np.zeros(len(pictures)))
    with pytest.raises(BadInput, match="0 of 10 drawings show it"):
        m.make_set(base, "a straw hat", tmp_path, steps=1, batch=2, count=1)


def test_clip_compares_the_text_with_and_without_the_target(base):
    prompts = [m.text_of("a straw hat", 0, number) for number in range(2)]
    side = base.image_size
    pictures = np.random.default_rng(0).integers(0, 255, (2, side, side, 3), np.uint8)
    shares = m.shown(base, pictures, prompts)
    swapped = [type(one)(**(vars(one) | {"base": one.complete})) for one in prompts]
    assert shares.shape == (2,) and ((0 < shares) & (shares < 1)).all()
    assert np.allclose(m.shown(base, pictures, swapped), 0.5)


def test_without_clip_nothing_is_drawn(tmp_path):
    with pytest.raises(BadInput, match="clip"):
        m.make_set(new_cut_base(), "a straw hat", tmp_path)
