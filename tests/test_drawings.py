"""Every way to draw gives the latents that were kept; SPF_EXACT=1 asks for the same bits, on the
machine of the file.
"""

import os

import drawings
import pytest
import torch
from safetensors.torch import load_file


@pytest.mark.parametrize("way", [*drawings.WAYS, "original"])
def test_a_drawing_is_the_one_that_was_kept(way, found):
    kept = load_file(drawings.FILE)[way]
    if os.environ.get("SPF_EXACT"):
        assert torch.equal(found[way], kept)
    torch.testing.assert_close(found[way], kept, rtol=1e-3, atol=1e-3)


def test_no_two_ways_draw_the_same(found):
    names = [name for name in found if name != "original"]
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            assert not torch.allclose(found[name], found[other], atol=1e-2), (name, other)


@pytest.fixture(scope="module")
def found(shared_base):
    return drawings.drawn(shared_base)
