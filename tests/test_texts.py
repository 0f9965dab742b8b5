"""Base texts leave room for the target and come from held-out identities."""

import pytest

from spf.portraits.captions import complete_text
from spf.portraits.description import TARGETS, split_of
from spf.portraits.texts import base_captions


@pytest.mark.parametrize("name", TARGETS)
def test_base_texts_leave_room_for_the_target(name):
    target = TARGETS[name]
    for portrait, made in base_captions(target, 40, seed=1):
        assert split_of(portrait.identity) == "test"
        assert portrait.with_target(target) != portrait
        assert target.mode == "replace" or target.attribute not in made.named()
        assert target.text in complete_text(made.text, target) and target.text not in made.text


def test_the_list_grows_at_its_end_and_follows_seed_and_split():
    hat = TARGETS["hat"]
    assert base_captions(hat, 3) == base_captions(hat, 9)[:3]
    assert (
        base_captions(hat, 3)
        != base_captions(hat, 3, seed=1)
        != base_captions(hat, 3, seed=1, split="dev")
    )
