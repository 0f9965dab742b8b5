"""Maps go through a small blob and come back as they were."""

import numpy as np
import pytest

from spf.packing import SIDE, Blob, smaller, unpacked


def packed(**arrays):
    blob = Blob()
    for name, values in arrays.items():
        blob.add(name, values)
    return blob.packed(), blob.arrays


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (7, 3, 16, 16), (5, 2, 8, 6), (2, SIDE, SIDE)])
def test_what_comes_back_is_within_half_a_level(shape):
    rng = np.random.default_rng(0)
    first, second = rng.random(shape), rng.random(shape).round()
    found = unpacked(*packed(first=first, second=second))
    for name, values in (("first", first), ("second", second)):
        assert found[name].dtype == np.uint8 and found[name].shape == shape
        assert np.abs(found[name] / 255 - values).max() <= 0.5 / 255 + 1e-6


def test_values_beyond_the_ends_are_the_ends():
    values = np.array([-1.0, 0.0, 1.0, 7.0]).reshape(4, 1, 1)
    assert unpacked(*packed(a=values))["a"].ravel().tolist() == [0, 0, 255, 255]


def test_arrays_without_differences_are_read_as_well():
    blob, arrays = packed(a=np.ones((1, 2, 2)))  # of one step, which is its own difference
    [arrays["a"].pop(name) for name in ("deltas",)]
    assert unpacked(blob, arrays)["a"].tolist() == [[[255, 255], [255, 255]]]


def test_what_stands_still_costs_little():
    moving = np.random.default_rng(0).random((50, SIDE, SIDE))
    still = np.repeat(moving[:1], 50, 0)
    assert len(packed(a=still)[0]) < 0.1 * len(packed(a=moving)[0])


def test_large_maps_are_means_of_their_cells():
    maps = np.arange(2 * 64 * 64, dtype=float).reshape(2, 64, 64)
    small = smaller(maps)
    assert small.shape == (2, SIDE, SIDE) and small[0, 0, 0] == maps[0, :2, :2].mean()
    assert smaller(np.zeros((1, 70, 70))).shape == (1, 23, 23)
    assert smaller(maps[:, :5, :5]).shape == (2, 5, 5)
