"""The tiny random base with the vocabulary of the drawn portraits, for tests that use their texts."""

import conftest

from spf.portraits.captions import words


def new_portrait_base(seed: int = 0):
    """Like `conftest.new_tiny_base`, but every word of a caption is one token."""
    kept = conftest.WORDS
    conftest.WORDS = words()
    try:
        return conftest.new_tiny_base(seed)
    finally:
        conftest.WORDS = kept
