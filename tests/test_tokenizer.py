"""The small CLIP tokenizer: one token a word, everything else in pieces, readable by plain
transformers.
"""

import pytest
from transformers import CLIPTokenizer

from spf.tokenizer import BEGIN, END, build_tokenizer, learn_merges, new_tokenizer, split_words

WORDS = [
    "a photo of a young woman with long red hair, wearing a T-shirt",
    "middle-aged",
    "banana anana bobob papapa",
]


def tokens(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)[1:-1]


def test_each_listed_word_is_one_token_and_survives_a_round_trip(tmp_path):
    tokenizer = build_tokenizer(WORDS, tmp_path)
    for text in WORDS:
        pieces = split_words(text)
        assert tokens(tokenizer, text) == [piece + "</w>" for piece in pieces]
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == " ".join(
            pieces
        )


@pytest.mark.parametrize("text", ["crystal zebra", "1984", "é", "日本", "woman🙂"])
def test_an_unlisted_word_falls_to_pieces_and_never_to_the_end_token(text):
    tokenizer = new_tokenizer(WORDS)
    assert END not in tokens(tokenizer, text)
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(
        " ", ""
    ) == text.replace(" ", "")


def test_special_tokens_and_length_are_those_of_stable_diffusion(tmp_path):
    build_tokenizer(WORDS, tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("woman", padding="max_length", truncation=True).input_ids
    assert tokenizer.convert_ids_to_tokens(ids[:4]) == [BEGIN, "woman</w>", END, END]
    assert len(ids) == tokenizer.model_max_length == 77
    assert (
        tokenizer.pad_token_id == tokenizer.eos_token_id == len(tokenizer) - 1
    )  # largest id: CLIP pools by argmax


def test_the_vocabulary_stays_small_and_knows_its_own_words():
    words = [
        f"{a}{b}{c}"
        for a in ("st", "pl", "gr")
        for b in "aeiou"
        for c in ("rn", "t", "me", "ck", "ll")
    ]
    tokenizer = new_tokenizer(words)
    assert len(tokenizer) < 2000
    assert tokenizer.init_kwargs["known_words"] == sorted(words)


def test_merges_do_not_depend_on_the_order_of_the_words():
    assert learn_merges(["hair", "chair", "fair"]) == learn_merges(
        ["fair", "hair", "chair", "hair"]
    )
