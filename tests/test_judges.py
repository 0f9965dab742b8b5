"""The judges: what they save reads the same, and they say no to what they cannot read."""

import json

import pytest
import torch

from spf.errors import BadInput
from spf.evaluation.judges import Judges
from spf.portraits.description import ATTRIBUTES
from spf.portraits.render import REGIONS

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def judges() -> Judges:
    torch.manual_seed(0)
    return Judges(32, (4, 4, 8, 8, 8)).eval()


def test_reading_has_every_attribute(judges):
    reading = judges.read(IMAGES)
    assert len(reading.values) == 3 and set(reading.values[0]) == set(ATTRIBUTES)
    assert all(value in ATTRIBUTES[name] for name, value in reading.values[0].items())
    assert all(probs.shape == (3, len(ATTRIBUTES[name])) for name, probs in reading.probs.items())
    assert torch.allclose(reading.probs["age"].sum(1), torch.ones(3))
    assert torch.allclose(reading.identity.norm(dim=1), torch.ones(3))
    assert reading.regions.shape == (3, 32, 32) and reading.regions.max() < len(REGIONS)


def test_round_trip(judges, tmp_path):
    judges.half().float().save(tmp_path)  # saved in half precision
    read, again = judges.read(IMAGES), Judges.load(tmp_path).read(IMAGES)
    assert read.values == again.values and torch.equal(read.identity, again.identity)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "judges.safetensors"]


def test_any_size_is_read_at_its_own_size(judges):
    larger = torch.nn.functional.interpolate(IMAGES, (48, 64))
    assert judges.read(larger).regions.shape == (3, 48, 64)


def test_batches_do_not_matter_and_mode_is_restored(judges):
    judges.train()
    whole, parts = judges.read(IMAGES), judges.read(IMAGES, batch=1)
    assert judges.training
    assert torch.allclose(whole.identity, parts.identity, atol=1e-5)


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 32, 32), torch.zeros(1, 1, 32, 32), torch.zeros(0, 3, 32, 32)]
)
def test_wrong_shapes(judges, images):
    with pytest.raises(BadInput, match="shape"):
        judges.read(images)


def test_judges_of_other_attributes_are_refused(judges, tmp_path):
    judges.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["attributes"]["age"] = ["young", "old"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="other attributes"):
        Judges.load(tmp_path)
