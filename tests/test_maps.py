"""Control maps of training are judged against what the renderer drew."""

import math

import judge_maps as maps
import pytest
import torch
from portrait_world import new_portrait_base

from spf.methods.spf import Spf
from spf.portraits.description import TARGETS
from spf.portraits.render import REGIONS


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


def test_random_weights_know_nothing(base):
    found = maps.judge_maps(base, None, TARGETS["hat"], {"averaged": 2}, images=6)
    assert (
        0 < found["chance"] < 0.3
        and 0 <= found["iou"] < 0.6
        and found["ap"] < 4 * found["chance"]
        and 0 < found["area"] < 1
    )


def test_a_perfect_map_is_seen_as_one(base, monkeypatch):
    regions = iter(
        torch.from_numpy(maps.draw([item.portrait], 16)[1][0])
        for item in maps.tailored_set("hat", 4, 0)
    )
    exact = lambda self, rows, ctx: (next(regions) == REGIONS.index("hat")).float()[None]  # noqa: E731
    monkeypatch.setattr(Spf, "control", exact)
    found = maps.judge_maps(base, None, TARGETS["hat"], {}, images=4)
    assert found["ap"] == found["iou"] == 1 and found["area"] == pytest.approx(found["chance"])


def test_a_style_has_no_region(base):
    found = maps.judge_maps(base, None, TARGETS["watercolor"], {}, images=2)
    assert math.isnan(found["ap"]) and math.isnan(found["chance"]) and found["area"] > 0
