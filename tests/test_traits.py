"""What CLIP sees in portraits, and texts that say it."""

import dataclasses
import json

import pytest
import torch
from portrait_world import new_portrait_base, random_adapters

from spf.paths import response
from spf.prompts import compose, overflow
from spf.sampling import GuideConfig, TunedPath, initial_latents, sample
from spf.traits import PERSON, TRAITS, in_words, reading, speaks, telling, writing

SEEN = {
    "gender": "man",
    "age": "old",
    "skin": "tan",
    "hair style": "short",
    "hair color": "red",
    "eyewear": "glasses",
    "clothing": "suit",
    "clothing color": "blue",
    "expression": "smiling",
    "background": "by the sea",
}


@pytest.fixture(scope="module")
def base():
    return new_portrait_base()


@pytest.mark.parametrize(
    "text, fuller",
    [
        (
            "a photo of a person",
            "a photo of an old man with tan skin and short red hair, wearing glasses and a blue "
            "suit, smiling by the sea",
        ),
        (
            "a photo of an elderly lady",
            "a photo of an elderly lady with tan skin and short red hair, wearing glasses and a "
            "blue suit, smiling by the sea",
        ),
        (
            "a man with long hair, sad, at the beach",
            "an old man with long red hair, sad, at the beach, with tan skin, wearing glasses and "
            "a blue suit",
        ),
        (
            "a dark-skinned woman, silver hair, shades, an orange wall",
            "an old dark-skinned woman, short silver hair, shades, an orange wall, wearing a blue "
            "suit, smiling",
        ),
        (
            "a bald guy in a shirt, laughing",
            "an old bald guy in a blue shirt, laughing with tan skin, wearing glasses by the sea",
        ),
    ],
)
def test_a_text_is_told_what_it_leaves_out(base, text, fuller):
    told = telling.told(base, compose(text, "a hat"), SEEN)
    assert told.prompt.base == fuller and told.prompt.complete == f"{fuller}, a hat"


def test_what_the_target_speaks_of_is_not_told(base):
    blonde = telling.told(base, compose("a photo of a woman", "blonde hair"), SEEN).prompt.base
    assert "red" not in blonde, "a second colour of the hair would contradict the target"
    assert "short hair" in blonde, "its form is kept"
    assert (
        "smiling"
        not in telling.told(base, compose("a photo of a woman", "laughing"), SEEN).prompt.base
    )
    told = telling.told(
        base, compose("a photo of a woman in a T-shirt", "dress", "replace", "T-shirt"), SEEN
    ).prompt
    assert (
        "a blue T-shirt" in told.base
        and "a blue dress" in told.complete
        and "suit" not in told.base
    )


def test_phrases_are_found_again_in_the_fuller_text(base):
    prompt = compose("a photo of a woman with red hair", "a hat")
    told = telling.told(base, prompt, {"age": "old", "hair style": "bun", "skin": "tan"})
    assert told.prompt.base == "a photo of an old woman with red hair in a bun, with tan skin"
    assert told.places == {"photo": ["photo"], "woman": ["old woman"], "red hair": ["red hair"]}
    assert told.phrases == ("old", "bun", "tan skin")


def test_a_long_text_is_told_no_more_than_fits(base):
    prompt = compose("a photo of a woman, " + ", ".join(["with a beard"] * 15), "a hat")
    assert not overflow(base.tokenizer, telling.told(base, prompt, SEEN).prompt.complete)


def test_words_to_replace_are_never_parted(base):
    prompt = compose("a photo of a woman with long hair", "sunglasses", "replace", "long hair")
    told = telling.told(base, prompt, {"hair color": "red", "age": "old"}).prompt
    assert (
        told.base == "a photo of an old woman with long hair"
        and told.complete == "a photo of an old woman with sunglasses"
    )


def test_nothing_seen_changes_nothing(base):
    prompt = compose("a photo of a woman", "a hat")
    assert telling.told(base, prompt, {}).prompt == prompt


def test_only_what_clip_is_sure_of_is_seen(base, monkeypatch):
    """An image that lies on one answer is read as that; one that lies between all is read as
    nothing.
    """
    texts = [
        trait.asks.format(asks) if asks else PERSON
        for trait in TRAITS
        for asks in trait.values.values()
    ]
    known = {
        text: row
        for text, row in zip(dict.fromkeys(texts), torch.eye(len(set(texts))), strict=True)
    }
    monkeypatch.setattr(
        type(base), "clip_texts", lambda self, asked: torch.stack([known[text] for text in asked])
    )
    base.clip.logit_scale.data.fill_(5.0)
    images = torch.stack(
        [known["a photo of a person, red hair"], torch.zeros(len(known)), known[PERSON]]
    )
    assert reading.seen(base, images) == [{"hair color": "red"}, {}, {}]


def test_what_a_set_has_in_common():
    rows = [{"age": "old", "gender": "man"}, {"age": "old", "gender": "woman"}, {"age": "old"}]
    assert reading.common(rows) == {"age": "old"} and reading.common([]) == {}


@pytest.mark.parametrize(
    "noted", ["", "[]", "3", "{", '{"age": 3, "size": "tall", "gender": "robot", "beard": ""}']
)
def test_notes_of_foreign_files_are_left_out(noted):
    assert reading.noted({"common": noted}) == {}
    assert (
        reading.noted({"common": json.dumps({"age": "old", "size": "x"})}) == {"age": "old"}
        and reading.noted({}) == {}
    )


def test_the_accident_is_said_on_both_sides(base):
    prompt = telling.explained(
        base,
        compose("a lady in a white T-shirt", "dress", "replace", "T-shirt"),
        {"clothing color": "red"},
    )
    assert (
        prompt.base == "a photo of a person, red T-shirt"
        and prompt.complete == "a photo of a person, red dress"
    )
    assert (
        telling.explained(base, compose("a man", "a hat"), {"age": "old"}).complete
        == "a photo of an old person, a hat"
    )


def test_the_accident_of_a_style_is_said_without_another_word_for_it(base):
    style = compose("a photo of a man", "watercolor painting", "replace", "photo")
    found = telling.explained(base, style, {"age": "old"})
    assert found.base == "a photo of an old person"
    assert found.complete == "a watercolor painting of an old person"
    style = compose("an image of a man, a portrait", "watercolor painting", "replace", "portrait")
    found = telling.explained(base, style, {"age": "old"})
    assert found.base == "a portrait of an old person", "as it is called in the text itself"
    assert found.complete == "a watercolor painting of an old person"
    front = telling.explained(
        base, compose("an old man", "watercolor painting", "front"), {"age": "old"}
    )
    assert front.base == "an old person"
    assert front.complete == "a watercolor painting of an old person"


def test_words_are_found_again_behind_what_was_put_before_them():
    edits, _ = writing.written("a man wearing an oversized jacket", {"clothing color": "red"})
    assert writing.patched("a man wearing an oversized jacket", edits).endswith(
        "a red oversized jacket"
    )
    shorter, longer = [(2, 8, "man")], [(2, 5, "person"), (20, 20, " at the end")]
    assert writing.moved((14, 18), shorter) == (11, 15)
    assert writing.moved((9, 13), longer) == (12, 16)
    assert writing.moved((2, 5), longer) == (2, 8), "what was put at its start belongs to it"


def test_spans_meet_where_they_share_a_character():
    assert writing.meet((0, 4), (3, 5)) and writing.meet((3, 5), (0, 4))
    assert not writing.meet((0, 3), (3, 5)) and not writing.meet((3, 5), (0, 3))


def test_a_held_drawing_is_told_and_guided_apart_from_the_accident(base, monkeypatch):
    prompt, noise = compose("a photo of a woman", "a hat"), initial_latents(base, [3])
    monkeypatch.setattr(
        "spf.sampling.tuned.seen", lambda base, images: [{"age": "old"}] * len(images)
    )
    plain, noting = (
        random_adapters(base, **more)[0] for more in ({}, {"common": '{"skin": "tan"}'})
    )
    drawn = {}
    for name, adapter, kind in (
        ("told", plain, "held"),
        ("apart", noting, "held"),
        ("untold", noting, "untold"),
    ):
        path = TunedPath(base, [prompt], guide=GuideConfig(kind), compare=name == "apart")
        drawn[name] = path.draw(response(base.unet, adapter), noise, 2)
        assert [row.prompt.base for row in path.told] == (
            [] if kind == "untold" else ["a photo of an old woman"]
        )
    assert not torch.equal(drawn["told"], drawn["untold"]) and not torch.equal(
        drawn["told"], drawn["apart"]
    )


def test_told_leaves_the_whole_picture_free_but_a_base_text_alone_as_it_is(base):
    noise, switch = initial_latents(base, [3]), response(base.unet, random_adapters(base)[0])
    path = TunedPath(base, [compose("a photo of a woman", "a hat")], guide=GuideConfig("told"))
    path.draw(switch, noise, 2)
    assert path.held.eq(1).all()
    alone = TunedPath(base, [compose("a photo of a woman")], guide=GuideConfig("told"))
    assert torch.equal(
        alone.draw(switch, noise, 2), sample(base, noise, alone.plain, alone.uncond, steps=2)
    )


def named(base, name="embedded"):
    return dataclasses.replace(base, name=name)


def test_an_open_text_is_completed_alike_for_both_paths(base):
    base = named(base)
    short = compose("a photo of a woman", "a hat")
    one, same, other = (telling.completed(base, short, "auto", seed) for seed in (7, 7, 8))
    assert one == same and one.prompt.base != other.prompt.base
    assert one.prompt.complete == f"{one.prompt.base}, a hat"
    assert one.prompt.base.count("woman") == 1, "what is said stays as it is"
    usual = {trait.name for trait in TRAITS if trait.usual} - {"gender"}
    assert set(one.traits) == usual


def test_completions_are_read_back_as_they_are_shown(base):
    base = named(base)
    short = compose("a photo of a person", "sunglasses")
    one = telling.completed(base, short, "auto", 3)
    again = telling.completed(base, short, in_words(one.traits), 99)
    assert again.prompt == one.prompt
    fewer = telling.completed(base, short, "old, curly hair", 3)
    assert fewer.prompt.base == "a photo of an old person with curly hair"
    free = telling.completed(base, short, "Old, holding a cat", 3)
    assert free.prompt.base == "a photo of an old person, holding a cat"


@pytest.mark.parametrize(
    ("name", "value"),
    [(trait.name, value) for trait in TRAITS for value, asks in trait.values.items() if asks],
)
def test_what_is_written_of_a_trait_speaks_of_it(name, value):
    text = "a photo of a person" if name == "gender" else "a photo of a woman"
    edits, phrases = writing.written(text, {name: value})
    trait = next(trait for trait in TRAITS if trait.name == name)
    if (name, value) != ("age", "child"):  # a woman is none
        assert speaks(writing.patched(text, edits), trait) and phrases


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("an old man", "a head-and-shoulders photo of an old man"),
        ("Old lady by the sea", "a head-and-shoulders photo of Old lady by the sea"),
        ("woman", "a head-and-shoulders photo of "),
        ("close-up of a boy", "close-up photo of a boy"),
        ("a close-up, smiling girl", "a close-up photo, smiling girl"),
        ("half-length old woman", "half-length photo of old woman"),
        ("a young man, half-length", "a photo of a young man, half-length"),
        ("a portrait of a boy", "a head-and-shoulders portrait of a boy"),
        ("a sketch of a boy", "a head-and-shoulders sketch of a boy"),
    ],
)
def test_a_text_that_names_no_kind_of_picture_is_completed_to_a_photo(base, text, start):
    one = telling.completed(named(base), compose(text, "a hat"), "auto", 3)
    assert one.prompt.base.startswith(start) and one.prompt.base.count("photo") <= 1
    again = telling.completed(named(base), compose(text, "a hat"), in_words(one.traits), 9)
    assert again.prompt == one.prompt

    painted = compose(text, "watercolor painting", "front")
    style = telling.completed(named(base), painted, "auto", 3).prompt
    if "photo" in start:
        assert style.base == one.prompt.base
        assert style.complete == style.base.replace("photo", "watercolor painting")


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("a man", "hair style", {"short", "curly"}),
        ("a boy in a park", "hair style", {"short", "curly"}),
        ("a woman", "hair style", {"short", "long", "curly", "bun", "ponytail"}),
        ("an old woman", "hair color", {"gray"}),
        ("a grandfather", "hair color", {"gray"}),
        ("a young man", "hair color", {"black", "brown", "red"}),
        ("a girl", "hair color", {"black", "brown", "red"}),
    ],
)
def test_what_is_invented_goes_with_the_person(text, name, values):
    assert {telling.invented(seed, text)[name] for seed in range(200)} == values


def test_a_person_of_whom_nothing_is_said_is_of_one_piece():
    for seed in range(200):
        one = telling.invented(seed, "a person")
        assert (one["hair color"] == "gray") == (one["age"] == "old")
        assert one["gender"] == "woman" or one["hair style"] in ("short", "curly")


def test_nothing_is_completed_where_it_is_not_wanted(base):
    short = compose("a photo of a woman", "a hat")
    assert telling.completed(named(base), short, "", 1).prompt == short
    foreign = telling.completed(named(base, "a-folder"), short, "auto", 1)
    assert foreign.prompt == short, "a real model draws its text as it stands"
    full = compose("a photo of a young woman with fair skin, green eyes", "a hat")
    found = telling.completed(named(base), full, "auto", 1).traits
    assert not {"age", "skin", "eye color", "gender"} & set(found)


@pytest.mark.parametrize(
    "target, kept",
    [
        ("blonde hair", True),
        ("a blonde hair", True),
        ("golden hair", True),
        ("dyed red hair", True),
        ("braided hair", False),
        ("messy hair", False),
        ("curly blonde hair", False),
        ("a hat", True),
    ],
)
def test_the_form_of_the_hair_is_told_unless_the_target_is_a_form(base, target, kept):
    prompt = compose("a photo of a woman", target)
    assert ("hair style" in telling.told(base, prompt, {"hair style": "short"}).traits) == kept


def test_who_is_bald_is_not_told_so_where_hair_is_asked_for(base):
    prompt = compose("a photo of a woman", "blonde hair")
    assert not telling.told(base, prompt, {"hair style": "bald", "hair color": "red"}).traits
    hat = telling.told(
        base, compose("a photo of a woman", "a hat"), {"hair style": "bald"}
    ).prompt.base
    assert "bald head" in hat


def test_completions_leave_the_targets_thing_open(base):
    hair = telling.completed(named(base), compose("a photo of a man", "blonde hair"), "auto", 2)
    assert "hair color" not in hair.traits and "hair style" in hair.traits
    laugh = telling.completed(named(base), compose("a photo of a man", "laughing"), "auto", 2)
    assert "expression" not in laugh.traits


def test_the_colour_of_a_set_of_dresses_is_not_told_of_another_dress():
    shared = {"clothing": "dress", "clothing color": "red", "gender": "woman"}
    dress = compose("a woman in a blue T-shirt", "a green dress", "replace", "T-shirt")
    assert telling.foreign(shared, dress) == {"gender": "woman"}

    assert telling.foreign(shared, compose("a woman", "a hat")) == shared
    assert telling.foreign(shared, compose("a woman", "an address book")) == shared


@pytest.mark.parametrize(
    "text, name",
    [
        ("an old man with white hair", "hair color"),
        ("a woman with blue curly hair", "hair color"),
        ("a woman with violet eyes", "eye color"),
        ("a man in a pink shirt", "clothing color"),
    ],
)
def test_a_colour_that_is_said_is_not_told_again(base, text, name):
    assert name not in telling.completed(named(base), compose(text, "a hat"), "auto", 1).traits
