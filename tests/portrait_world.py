"""The tiny random base with the vocabulary of the drawn portraits, judges and adapters of its size,
all without meaning.
"""

import json

import conftest
import torch

from spf.evaluation.judges import Judges, Reading
from spf.methods import build
from spf.paths import METADATA, Adapter, cross_attention_names
from spf.portraits.captions import words
from spf.portraits.description import ATTRIBUTES
from spf.userdata import Wish, check, keep


def new_portrait_base(seed: int = 0):
    """Like `conftest.new_tiny_base`, but every word of a caption is one token."""
    kept = conftest.WORDS
    conftest.WORDS = words()
    try:
        return conftest.new_tiny_base(seed)
    finally:
        conftest.WORDS = kept


def new_judges() -> Judges:
    torch.manual_seed(0)
    return Judges(32, (8, 8, 8, 8, 8)).eval()


def sure_reading(values, images, regions=None, identity=None) -> Reading:
    """What judges read that doubt nothing: values, one dict an image; images [B,3,H,W] in [-1,1];
    regions [B,H,W], background alone by default.
    """
    probs = {
        name: torch.tensor([[float(value == one[name]) for value in known] for one in values])
        for name, known in ATTRIBUTES.items()
    }
    regions = torch.zeros(len(values), *images.shape[2:]) if regions is None else regions
    identity = torch.ones(len(values), 1) if identity is None else identity
    return Reading(list(values), probs, identity, torch.as_tensor(regions).long(), images)


def random_adapters(base, count: int = 1, size: float = 1.0, **metadata: str) -> list[Adapter]:
    """Adapters of `base` as if made by spf, each with other noise of the given size for weights."""
    made = json.dumps(build("spf").config.to_dict())
    about = dict.fromkeys(METADATA, "x") | {"settings": made} | metadata
    generator = torch.Generator().manual_seed(0)
    shapes = {
        name: base.unet.get_parameter(name).shape for name in cross_attention_names(base.unet)
    }
    found = [
        {n: size * torch.randn(shape, generator=generator) for n, shape in shapes.items()}
        for _ in range(count)
    ]
    return [Adapter(about, tensors) for tensors in found]


def stored(pictures, wish: Wish, folder):
    """A set of one's own, checked and kept in a new folder."""
    return keep(check(pictures, wish).items, wish, folder)
