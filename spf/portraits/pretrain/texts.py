"""Captions as training material: token ids, and for every token what the text has named up to
there."""

import dataclasses

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from spf.portraits.captions import Caption, caption, target_phrase
from spf.portraits.description import ATTRIBUTES, TARGETS, Portrait

UNREAD = -100
"""Label of a token inside a phrase: not yet said, no longer unsaid. `cross_entropy` leaves it
out."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """A text and its phrases in order, each with the attribute values that it names."""

    text: str
    marks: tuple[tuple[str, dict[str, str]], ...]

    def values(self) -> dict[str, str]:
        """What the whole text names; of two values of an attribute the later one counts."""
        return {name: value for _, named in self.marks for name, value in named.items()}


def read_caption(made: Caption, portrait: Portrait) -> Reading:
    return Reading(
        made.text,
        tuple((p.text, {a: getattr(portrait, a) for a in p.attributes}) for p in made.phrases),
    )


def training_text(portrait: Portrait, rng: np.random.Generator) -> Reading:
    """A caption of the portrait; one in three ends in a target after a comma, as visitors append
    it."""
    appended = [t for t in TARGETS.values() if t.mode == "append"]
    if rng.random() > 0.33:
        return read_caption(caption(portrait, rng), portrait)
    target = appended[rng.integers(len(appended))]
    hidden = (
        frozenset([target.attribute]) if rng.random() < 0.7 else frozenset()
    )  # else the target contradicts it
    base = read_caption(caption(portrait, rng, hidden), portrait)
    phrase = target_phrase(target)
    return Reading(
        f"{base.text}, {phrase.text}",
        (*base.marks, (phrase.text, {target.attribute: target.value})),
    )


def unnamed_class(name: str) -> int:
    """The class for "the text does not say": one after the last value of the attribute."""
    return len(ATTRIBUTES[name])


def token_labels(reading: Reading, offsets: list[tuple[int, int]]) -> np.ndarray:
    """int64 [T, attributes]: for every token the value named so far; UNREAD while its phrase is
    being said."""
    names = list(ATTRIBUTES)
    labels = np.tile([unnamed_class(name) for name in names], (len(offsets), 1))
    starts, stops = np.array(offsets).T
    real = np.flatnonzero(stops > 0)
    cursor, text = 0, reading.text.lower()
    for words, named in reading.marks:
        begin = text.index(words.lower(), cursor)
        cursor = begin + len(words)
        inside = [i for i in real if starts[i] >= begin and stops[i] <= cursor]
        for name, value in named.items():
            column = names.index(name)
            labels[inside, column] = UNREAD
            labels[inside[-1] :, column] = ATTRIBUTES[name].index(value)
    return labels


def encode_readings(
    tokenizer: CLIPTokenizer, readings: list[Reading], length: int | None
) -> tuple[Tensor, Tensor]:
    """Token ids [B,T] and labels [B,T,attributes]; T is `length`, or the longest text plus a few
    padding tokens."""
    coded = tokenizer([r.text for r in readings], truncation=True, return_offsets_mapping=True)
    longest = max(len(ids) for ids in coded["input_ids"])
    size = length or min(longest + 3, tokenizer.model_max_length)
    ids = np.full((len(readings), size), tokenizer.pad_token_id)
    labels = np.empty((len(readings), size, len(ATTRIBUTES)), np.int64)
    for i, reading in enumerate(readings):
        count = len(coded["input_ids"][i])
        ids[i, :count] = coded["input_ids"][i]
        labels[i, :count] = token_labels(reading, coded["offset_mapping"][i])
        labels[i, count:] = labels[i, count - 1]
    return torch.from_numpy(ids), torch.from_numpy(labels)


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Ids [B,77] of plain texts, padded as Stable Diffusion pads."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
