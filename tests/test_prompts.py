"""Composing texts, cutting them into phrases, and finding every word's token columns again."""

import random

import pytest
from transformers import CLIPTokenizer

from spf.errors import BadInput
from spf.prompts import (
    PAD,
    columns_of,
    compose,
    find,
    overflow,
    pad_columns,
    phrases,
    unknown_words,
)
from spf.tokenizer import new_tokenizer

TEXT = (
    "a photo of a young woman with long red hair, wearing a white T-shirt and glasses, "
    "in front of a gray background"
)


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer(
        [TEXT, "a hat freckled skin laughing blonde dress watercolor painting man"]
    )


@pytest.fixture(scope="module")
def open_tokenizer():
    """A CLIP tokenizer without a word list, in which most words are several tokens, as rare words
    are in CLIP's own.
    """
    merges = [("w", "o"), ("m", "a"), ("h", "a")]
    letters = sorted(CLIPTokenizer().backend_tokenizer.pre_tokenizer[1].alphabet())
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        "wo",
        "ma",
        "ha",
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return CLIPTokenizer(
        {token: index for index, token in enumerate(tokens)}, merges, model_max_length=77
    )


def said(tokenizer, text, columns):
    return tokenizer.decode([tokenizer(text).input_ids[column] for column in columns])


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            TEXT,
            [
                "photo",
                "young woman",
                "long red hair",
                "white T-shirt",
                "glasses",
                "gray background",
            ],
        ),
        ("a woman", ["woman"]),
        (
            "Portrait of the old man, smiling; standing next to his car.",
            ["Portrait", "old man", "smiling", "standing", "car"],
        ),
        ("an anchor and a hand", ["anchor", "hand"]),
        ("woman and", ["woman"]),
        (", with , a", []),
        ("a middle-aged lady's well-worn coat", ["middle-aged lady's well-worn coat"]),
        ("a café owner", ["café owner"]),
    ],
)
def test_phrases_follow_the_stated_rules(text, expected):
    assert phrases(text) == expected


def test_a_target_is_appended():
    prompt = compose("a photo of a woman, ", ["freckled skin", "a hat."])
    assert (
        prompt.complete == "a photo of a woman, freckled skin, a hat"
        and prompt.target == "freckled skin, a hat"
    )
    assert [phrase.text for phrase in prompt.phrases] == ["photo", "woman"]
    assert [
        prompt.complete[slice(*span)]
        for phrase in prompt.target_phrases
        for span in phrase.complete
    ] == [
        "freckled skin",
        "a hat",
    ]


def test_a_target_takes_the_place_of_words_and_the_rest_moves():
    prompt = compose(
        "a photo of a woman in a white t-shirt before a sea",
        ["dress", "a hat"],
        "replace",
        "T-shirt",
    )
    assert prompt.complete == "a photo of a woman in a white dress before a sea, a hat"
    assert [phrase.text for phrase in prompt.phrases] == ["photo", "woman", "white", "sea"]
    for phrase in prompt.phrases:
        for text, spans in ((prompt.base, phrase.base), (prompt.complete, phrase.complete)):
            assert [text[slice(*span)] for span in spans] == [phrase.text]


@pytest.mark.parametrize(
    ("target", "complete"),
    [
        ("watercolor painting", "a watercolor painting of old man with a beard, a hat"),
        ("oil painting", "an oil painting of old man with a beard, a hat"),
        ("the sketch", "the sketch of old man with a beard, a hat"),
    ],
)
def test_a_target_goes_to_the_front_and_all_else_moves(target, complete):
    prompt = compose("old man with a beard", [target, "a hat"], "front")
    assert prompt.complete == complete
    assert [phrase.text for phrase in prompt.phrases] == ["old man", "beard"]
    for phrase in prompt.phrases:
        assert [prompt.complete[slice(*span)] for span in phrase.complete] == [phrase.text]
    spoken = [complete[slice(*phrase.complete[0])] for phrase in prompt.target_phrases]
    assert spoken == [target, "a hat"]


@pytest.mark.parametrize(
    "base, replace, target, complete",
    [
        ("a photo of a man", "photo", "oil painting", "an oil painting of a man"),
        ("an old man", "old", "young", "a young man"),
        ("An old man", "old", "young", "A young man"),
        ("a man in a hat", "a hat", "sunglasses", "a man in sunglasses"),
        ("a man in a cap", "cap", "a hat", "a man in a hat"),
        ("a man in a red cap", "cap", "an old hat", "a man in a red old hat"),
        ("a man in his cap", "cap", "a hat", "a man in his hat"),
        ("a man wearing caps", "caps", "a hat", "a man wearing a hat"),
        ("a man in a cap", "cap", "uniform", "a man in a uniform"),
        ("a man with a cup", "cup", "hourglass", "a man with an hourglass"),
    ],
)
def test_articles_agree_with_the_new_word(base, replace, target, complete):
    prompt = compose(base, target, "replace", replace)
    assert prompt.complete == complete
    spoken = [complete[slice(*span)] for span in prompt.target_phrases[0].complete]
    assert spoken == [target] or [f"{target.split()[0]} {spoken[0]}"] == [target]


def test_without_a_target_the_complete_text_is_the_base_text():
    prompt = compose("a woman")
    assert prompt.complete == prompt.base and prompt.target_phrases == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("",),
        (" , ",),
        ("a woman", ["  ,"]),
        ("a woman", ["a"] * 5),
        ("a woman", "a hat", "swap"),
        (None,),
        (7, "a hat"),
        ("a woman", "man", "replace", "dog"),
        ("a woman", "man", "replace", "wom"),
        ("a woman", "man", "replace", ""),
        ("a woman", [], "replace", "woman"),
        ("a woman", [], "front"),
        ("a\x00b", "a hat"),
        ("a <|endoftext|> woman", "a hat"),
        ("a" * 2000,),
        ("?!",),
        ("a woman", "-"),
    ],
)
def test_bad_texts_are_refused_in_one_sentence(arguments):
    with pytest.raises(BadInput) as caught:
        compose(*arguments)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize("which", ["tokenizer", "open_tokenizer"])
def test_columns_hold_exactly_the_words_of_each_phrase(which, request):
    tokens = request.getfixturevalue(which)
    prompt = (
        compose(TEXT, ["dress", "a hat"], "replace", "T-shirt")
        if which == "tokenizer"
        else compose("a woman, red hair", "hat")
    )
    for path in ("base", "complete"):
        text, groups = getattr(prompt, path), prompt.groups(tokens, path)
        for name, columns in groups.items():
            if name != PAD:
                assert said(tokens, text, columns).replace(" ", "") == name.lower().replace(" ", "")
        used = len(tokens(text).input_ids)
        assert groups[PAD] == list(range(used, 77))
    assert list(prompt.groups(tokens, "base")) == [*(phrase.text for phrase in prompt.phrases), PAD]
    assert set(prompt.groups(tokens, "complete")) - set(prompt.groups(tokens, "base")) == set(
        prompt.targets
    )


def test_a_repeated_phrase_is_one_group_with_all_its_tokens(tokenizer):
    prompt = compose("a woman with red hair and a Woman", "red hair")
    assert prompt.groups(tokenizer, "base")["woman"] == [2, 8]
    assert prompt.groups(tokenizer, "complete")["red hair (target)"] == [10, 11]


def test_what_falls_off_the_end_is_told(tokenizer):
    text = "woman " * 74 + "with red hair and a hat"
    assert overflow(tokenizer, "a woman") == [] == overflow(tokenizer, "woman " * 75)
    assert overflow(tokenizer, text) == ["red", "hair", "and", "a", "hat"]
    assert pad_columns(tokenizer, text) == [76]
    assert columns_of(tokenizer, text, [find(text, "with")]) == [75]
    assert columns_of(tokenizer, text, [find(text, "red hair")]) == []


def test_a_target_that_would_be_cut_is_refused_and_cut_base_phrases_are_left_out(tokenizer):
    with pytest.raises(BadInput, match='"a hat"; shorten the base text'):
        compose("woman " * 73, "a hat").groups(tokenizer, "complete")
    assert compose("woman " * 72, "a hat").groups(tokenizer, "complete")["a hat"] == [74, 75]
    early = compose(
        "a photo of a " + "young " * 80 + "woman with red hair", "man", "replace", "photo"
    )
    assert list(early.groups(tokenizer, "complete")) == [early.phrases[0].text, "man", PAD]
    assert list(early.groups(tokenizer, "base")) == [early.phrases[0].text, PAD]


def test_unknown_words_are_told_by_a_tokenizer_that_knows_its_words(tokenizer, open_tokenizer):
    assert unknown_words(tokenizer, "a Photo of a zebra, middle-aged zebra!") == [
        "zebra",
        "middle",
        "aged",
    ]
    assert unknown_words(open_tokenizer, "a zebra 🎩") == []
    assert unknown_words(tokenizer, "a man 👩‍🦰, a hat 🎩 🎩") == ["👩‍🦰", "🎩"]


def test_any_text_has_columns_in_order(tokenizer):
    """Random texts with letters of many kinds: phrases never overlap and every one of them is
    found.
    """
    rng = random.Random(0)
    for _ in range(200):
        text = "".join(
            rng.choice("ab é日, .;ß-'ǅ🙂 with and a the ") for _ in range(rng.randint(1, 40))
        )
        try:
            prompt = compose(text, "a hat")
        except BadInput:
            continue
        groups = prompt.groups(tokenizer, "complete")
        columns = [column for name, found in groups.items() if name != PAD for column in found]
        assert len(columns) == len(set(columns)) and groups["a hat"] and all(groups.values())


def test_a_chain_before_its_last_target():
    two = compose("a man in a T-shirt", ("dress", "a hat"), "replace", "T-shirt")
    assert two.before() == compose("a man in a T-shirt", "dress", "replace", "T-shirt")
    assert two.before().before() == compose("a man in a T-shirt") and compose(
        "a man"
    ).before() == compose("a man")
    assert compose("a man", ("a hat", "red hair")).before().complete == "a man, a hat"
