"""The judge of form: spoilt faces are spoilt where they say, and the judge writes, reads and
refuses.
"""

import numpy as np
import pytest
import torch

from spf.errors import BadInput
from spf.evaluation.form import FormJudge
from spf.files import read_json, write_json
from spf.portraits.dataset import draw, sample_many
from spf.portraits.pretrain.deform import FACE, KINDS, deform
from spf.portraits.pretrain.form import form_loss
from spf.portraits.render import LANDMARKS, REGIONS


@pytest.fixture(scope="module")
def portraits():
    people = sample_many("none", 24, 5)
    return people, *draw(people, 128)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_spoils_the_face_and_leaves_the_rest(portraits, name):
    _, images, regions = portraits
    rng, touched = np.random.default_rng(0), 0
    for image, region in zip(images, regions, strict=True):
        kept = image.copy()
        spoilt = KINDS[name](image.copy(), region, rng)
        assert np.array_equal(image, kept)
        if spoilt is None:
            continue

        changed = np.abs(spoilt.astype(int) - image).max(2) > 24
        face = np.isin(region, [REGIONS.index(part) for part in FACE])
        ys, xs = np.nonzero(face)
        box = np.zeros_like(face)
        box[max(ys.min() - 14, 0) : ys.max() + 15, max(xs.min() - 14, 0) : xs.max() + 15] = True
        assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
        assert not (changed & ~box).any()
        touched += changed.any()
    assert touched >= 3, "hardly anything was spoilt"


def test_every_kind_comes_up(portraits):
    _, images, regions = portraits
    rng = np.random.default_rng(1)
    names = {
        deform(image, region, rng)[1]
        for _ in range(4)
        for image, region in zip(images, regions, strict=True)
    }
    assert names >= set(KINDS) - {"eyewear_broken"}


def test_loss_counts_landmarks_of_whole_faces_only():
    class Known(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([2.0, -2.0]), torch.full((2, len(LANDMARKS), 2), 0.5)

    places = torch.full((2, len(LANDMARKS), 2), 0.5)
    places[1] += 0.25  # of the spoilt face, whose parts lie somewhere
    formed = torch.tensor([1.0, 0.0])
    total, terms = form_loss(Known(), torch.zeros(2, 3, 8, 8), formed, places)
    assert total.item() == pytest.approx(np.log(1 + np.exp(-2)), abs=1e-5)
    assert terms["right"] == 1 and terms["off_pixels"] == 0
    total, terms = form_loss(Known(), torch.zeros(2, 3, 8, 8), 1 - formed, places)
    assert terms["right"] == 0 and terms["off_pixels"].item() == pytest.approx(32)
    assert total.item() == pytest.approx(np.log(1 + np.exp(2)) + 20 * 0.25**2, abs=1e-5)


def test_reading_saving_loading(tmp_path):
    torch.manual_seed(0)
    judge = FormJudge(32, (4, 8, 8)).half().float()
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    form = judge.read(images, batch=2)
    assert form.formed.shape == (5,) and form.landmarks.shape == (5, len(LANDMARKS), 2)
    assert torch.equal(form.well(0.0), torch.ones(5, dtype=torch.bool))
    assert judge.read(images.repeat_interleave(2, 2).repeat_interleave(2, 3)).formed.shape == (5,)

    judge.save(tmp_path)
    again = FormJudge.load(tmp_path).read(images)
    assert torch.allclose(again.formed, form.formed, atol=1e-3)
    with pytest.raises(BadInput, match="images have shape"):
        judge.read(images[0])

    config = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", config | {"landmarks": ["chin"]})
    with pytest.raises(BadInput, match="other parts of the face"):
        FormJudge.load(tmp_path)
