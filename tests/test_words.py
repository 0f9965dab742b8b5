"""Texts are compared as people see them, in every script, and encodings are guessed or refused,
never garbled.
"""

import pytest

from spf.config import GenerateConfig
from spf.encodings import decoded
from spf.errors import BadInput
from spf.evaluation.report import known_targets
from spf.prompts import compose, find, near_words, phrases, unknown_words
from spf.tokenizer import new_tokenizer
from spf.words import cleaned, normal, same_name, signs


@pytest.mark.parametrize(
    "text",
    ["a hat", "A Hat", "the hat", "hat", "a hat.", "“a hat”", "'a hat'", " a  hat ,", "a\u00a0hat!"]
    + [
        "ａ　Ｈａｔ",
        "a h\u200bat",
        "a hat\u200d",
        "\ufeffa hat",
        "a ha\u00adt",
        "（a hat）".strip("（）"),
    ],
)
def test_one_thing_is_one_thing_however_it_is_written(text):
    assert normal(text) == "hat"


@pytest.mark.parametrize("text", ["a hat 🎩", "🎩 a hat!", "A hat👒🏽.", "the ☂ hat ❤️", "👩‍🦰 hat"])
def test_little_pictures_beside_words_count_for_nothing(text):
    assert normal(text) == "hat" and signs(text) and not signs("a hat, 100% © ½ “–”")
    assert normal("🎩") == "🎩", "alone they are the text"
    assert [target.name for target in known_targets([text])] == ["hat"]


@pytest.mark.parametrize(
    "one, other",
    [
        ("a woman’s coat", "a woman's coat"),
        ("a T\u2011shirt", "a T-shirt"),
        ("cafe\u0301", "café"),
        ("STRASSE", "straße"),
        ("the “old” man", 'the "old" man'),
    ],
)
def test_marks_that_look_alike_are_alike(one, other):
    assert normal(one) == normal(other)


@pytest.mark.parametrize("text", ["a", "an", "the", "", ".", "a.b", "hat a", "theatre"])
def test_what_is_no_article_stays(text):
    assert normal(text) == text.strip(".").casefold()


def test_the_words_to_replace_are_found_as_they_look():
    prompt = compose("a man in a woman’s T\u2011shirt", "dress", "replace", "woman's T-shirt")
    assert prompt.complete == "a man in a dress"
    assert find("a T\u2011shirt", "t-shirt") == (2, 9)
    assert phrases("a man in a woman’s coat") == ["man", "woman’s coat"]


@pytest.mark.parametrize("target", ["a hat.", "“a hat”", "'a hat',", "a hat", "a hat 。"])
def test_end_marks_and_quotes_do_not_reach_the_model(target):
    assert compose("a man", target).complete == "a man, a hat"


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u00ad", "\u2060"])
def test_invisible_marks_are_dropped(mark):
    assert GenerateConfig(f"a m{mark}an").base == "a man"


def test_marks_that_shape_their_neighbours_stay_and_controls_are_refused():
    family = "a man \U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert GenerateConfig(family).base == family
    for bad in ("a\x07man", "a \u202eman"):
        with pytest.raises(BadInput, match="control characters"):
            GenerateConfig(bad)
    assert cleaned("a\nman\t in\u2028a hat") == "a man in a hat"


def test_unknown_words_are_told_from_the_text_in_every_script():
    tokenizer = new_tokenizer(["a photo of a man's hat , - T-shirt"])
    told = unknown_words(tokenizer, "a photo of a man’s “hat”, T\u2011shirt, 2 men from Málaga")
    assert told == ["men", "from", "Málaga"]
    assert unknown_words(tokenizer, "一个戴眼镜的女人, a hat") == ["一个戴眼镜的女人"]
    assert unknown_words(tokenizer, "шляпа, καπέλο, قبعة") == ["шляпа", "καπέλο", "قبعة"]
    assert unknown_words(tokenizer, "Knight, knight") == ["Knight"]


def test_names_of_files_are_compared_as_systems_do_together():
    assert same_name("Sub\\Zoe\u0308.PNG") == same_name("sub/Zoë.png")


TEXTS = {
    "cp1252": "a man from Málaga, “smiling”, a hat",
    "iso8859-15": "un homme âgé, né en été, a hat",
    "latin-1": "a woman in a café, naïve, a hat",
    "gb18030": "戴帽子的人 0, a hat",
    "big5": "戴帽子的人, a hat",
    "shift_jis": "帽子をかぶった女性, a hat",
    "euc-jp": "帽子をかぶった女性, a hat",
    "cp949": "모자를 쓴 여자, a hat",
    "cp1251": "женщина в шляпе, a hat",
    "koi8-u": "чоловік у капелюсі, її усмішка, a hat",
    "koi8-r": "женщина в шляпе, a hat",
    "cp1253": "γυναίκα με καπέλο, a hat",
    "cp1254": "şapkalı kadın, gülümseyen, a hat",
    "utf-8": "Zoë, 帽子, шляпа",
    "utf-8-sig": "Zoë",
    "utf-16": "a man, a hat",
    "utf-16-le": "a man, a hat",
    "utf-16-be": "a man, a hat",
    "utf-32": "Zoë",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_short_captions_are_decoded(encoding):
    text, page = decoded(TEXTS[encoding].encode(encoding))
    assert text == TEXTS[encoding]
    assert bool(page) != encoding.startswith("utf")


def test_what_no_encoding_makes_words_of_is_refused(rng_bytes=bytes(range(256)) * 3):
    for data in (rng_bytes, "a man from Málaga".encode("mac-roman"), b"a\0b", "\ufffd".encode()):
        with pytest.raises(BadInput):
            decoded(data)


def test_a_misread_page_is_refused_by_its_words():
    """Cyrillic in a page that is not tried makes capitals within words, frames, or final sigmas."""
    for encoding in ("iso8859-5", "cp866"):
        with pytest.raises(BadInput):
            decoded("женщина в шляпе, улыбается, портрет, a hat".encode(encoding))


@pytest.mark.parametrize(
    "word, near",
    [
        ("without", ()),
        ("yung", ("young",)),
        ("hta", ("hat",)),
        ("womann", ("woman",)),
        ("queen", ()),
    ],
)
def test_slips_are_told_from_other_words(word, near):
    assert near_words(word, ("with", "young", "hat", "woman", "green")) == near
