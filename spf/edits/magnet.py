"""Magnet (Zhuang et al. 2024): the embedding of each object is drawn to its own attribute and
pushed from those of the others.

No training and no change of the picture's network: only the text states at the last token of each
object change, before the drawing begins. Texts are taken apart by the rules of `spf.prompts` and a
bank of nouns, in place of the authors' parser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from spf.config import Config, flag, real, whole
from spf.edits import PlainEdit
from spf.models import Base
from spf.prompts import ComposedPrompt, columns_of, pad_columns, phrase_spans, unknown_words

ORDER = 1
NOUNS = (
    "woman",
    "man",
    "lady",
    "gentleman",
    "guy",
    "person",
    "girl",
    "boy",
    "child",
    "king",
    "queen",
    "hair",
    "bun",
    "beard",
    "moustache",
    "face",
    "skin",
    "freckles",
    "eyes",
    "lips",
    "nose",
    "mouth",
    "smile",
    "laugh",
    "look",
    "expression",
    "head",
    "glasses",
    "eyeglasses",
    "spectacles",
    "sunglasses",
    "shades",
    "hat",
    "cap",
    "crown",
    "helmet",
    "scarf",
    "necklace",
    "pearls",
    "earrings",
    "tie",
    "clothes",
    "T-shirt",
    "tee",
    "shirt",
    "jacket",
    "suit",
    "dress",
    "gown",
    "coat",
    "sweater",
    "hoodie",
    "button",
    "background",
    "wall",
    "curtain",
    "window",
    "sea",
    "ocean",
    "park",
    "light",
    "garden",
    "street",
    "car",
    "dog",
    "cat",
    "flower",
    "bird",
    "apple",
    "chair",
    "table",
    "book",
    "bag",
    "ball",
    "clock",
    "cup",
)
"""Nouns that can be neighbours, the portrait's own among them; those that a tokenizer does not know
are left out.
"""
CONTAINERS = (
    "photo",
    "picture",
    "portrait",
    "painting",
    "image",
    "side",
    "piece",
    "front",
    "middle",
    "left",
    "right",
)
SMALL_BANK = 30
"""Below so many nouns three neighbours are taken instead of five."""


@dataclass(frozen=True)
class MagnetConfig(Config):
    """The authors' settings; `strength` is their lambda, chosen for CLIP."""

    strength: float = real(0.6, -5.0, 5.0, "lambda of alpha = exp(lambda - omega)")
    neighbours: int = whole(5, 1, 50, "nouns next to an object by which its attribute is measured")
    fit: bool = flag(
        True,
        "for a text tower of our own (ours): the lambda with a mean alpha of 1, which 0.6 gives "
        "for CLIP",
    )


class Concept(NamedTuple):
    """A thing in a text: its attribute (may be empty), its noun, and the token column of the noun's
    last piece.
    """

    attribute: str
    noun: str
    column: int

    @property
    def both(self) -> str:
        return f"{self.attribute} {self.noun}".strip()


class Magnet(PlainEdit):
    """Text states with bound attributes. `skipped` counts the texts in which nothing was found to
    bind.
    """

    name = "magnet"
    Config = MagnetConfig

    def __init__(self, config: MagnetConfig | None = None) -> None:
        super().__init__(config)
        self.known: dict[str, tuple[Tensor, float]] = {}
        self.skipped = 0

    def states(self, base: Base, prompts: Sequence[ComposedPrompt], states: Tensor) -> Tensor:
        return torch.stack(
            [
                self.edited(base, prompt.complete, row)
                for prompt, row in zip(prompts, states, strict=True)
            ]
        )

    def edited(
        self, base: Base, text: str, states: Tensor, pairs: Sequence[tuple[str, str]] | None = None
    ) -> Tensor:
        """The states [T,D] of one text with the edit; pairs (attribute, noun) by hand instead of by
        the rules.
        """
        concepts = (
            by_hand(base.tokenizer, text, pairs)
            if pairs is not None
            else parsed(base.tokenizer, text)
        )
        if not any(concept.attribute for concept in concepts):
            self.skipped += 1
            return states
        nouns = [noun for noun in NOUNS if not unknown_words(base.tokenizer, noun)]
        bank = list(dict.fromkeys([*nouns, *sorted(concept.noun for concept in concepts)]))
        k = min(self.config.neighbours if len(nouns) >= SMALL_BANK else 3, len(bank))
        self.read(base, [*bank, *(concept.both for concept in concepts)])
        near = {concept.noun: self.nearest(concept.noun, bank, k) for concept in concepts}
        said = [concept.attribute for concept in concepts if concept.attribute]
        self.read(
            base,
            [
                f"{attribute} {noun}"
                for nouns in near.values()
                for noun in nouns
                for attribute in said
            ],
        )
        strength = (
            self.fitted(base, nouns, said)
            if self.config.fit and _own(base)
            else self.config.strength
        )
        result = states.clone()
        for concept in concepts:
            omega = self.known[concept.both][1]
            change = alpha(omega, strength) * self.pull(concept.attribute, near[concept.noun])
            for other in concepts:
                if other is not concept and other.attribute:
                    change = change - beta(omega) * self.pull(other.attribute, near[concept.noun])
            result[concept.column] = result[concept.column] + change.to(result)
        return result

    def read(self, base: Base, texts: Sequence[str]) -> None:
        """Adds e_last [D] and omega of texts that are not known yet."""
        absent = [text for text in dict.fromkeys(texts) if text not in self.known]
        for first in range(0, len(absent), 64):
            some = absent[first : first + 64]
            for text, row in zip(some, base.encode_text(some).float(), strict=True):
                end = pad_columns(base.tokenizer, text)[0] - 1
                self.known[text] = row[end - 1], float(cosine_similarity(row[end], row[-1], dim=0))

    def nearest(self, noun: str, bank: Sequence[str], k: int) -> list[str]:
        """The k nouns of the bank whose e_last is nearest by cosine; the noun itself comes
        first.
        """
        table = torch.stack([self.known[other][0] for other in bank])
        order = cosine_similarity(table, self.known[noun][0][None]).argsort(
            descending=True, stable=True
        )[:k]
        return [bank[i] for i in order.tolist()]

    def pull(self, attribute: str, nouns: Sequence[str]) -> Tensor:
        """v = mean over neighbours of e_last(attribute noun) - e_last(noun), [D]; zero without an
        attribute.
        """
        if not attribute:
            return torch.zeros_like(self.known[nouns[0]][0])
        return torch.stack(
            [self.known[f"{attribute} {noun}"][0] - self.known[noun][0] for noun in nouns]
        ).mean(0)

    def fitted(self, base: Base, nouns: Sequence[str], said: Sequence[str]) -> float:
        """lambda with a mean alpha of 1 over the bank: -log mean exp(-omega). Ours."""
        texts = [f"{attribute} {noun}" for attribute in said for noun in nouns[:8]]
        self.read(base, texts)
        omegas = torch.tensor([self.known[text][1] for text in texts], dtype=torch.float32)
        return float(-torch.log(torch.exp(-omegas).mean()))


def alpha(omega: float, strength: float = 0.6) -> float:
    """How strongly the own attribute pulls: exp(lambda - omega), omega = cos(e_EOT, e_PAD). Zhuang
    et al. 2024.
    """
    return float(torch.exp(torch.tensor(strength - omega, dtype=torch.float32)))


def beta(omega: float) -> float:
    """How strongly the other attributes push: 1 - omega^2. Zhuang et al. 2024."""
    return 1 - omega**2


def parsed(tokenizer, text: str) -> list[Concept]:
    """Things of a text: in each phrase the last noun of the bank, else the last word of several;
    what is before it is its attribute.
    """
    lower = {noun.lower() for noun in NOUNS}
    found = []
    for start, end in phrase_spans(text):
        words, places = _split(text, start, end)
        nouns = [i for i, word in enumerate(words) if word.lower() in lower]
        place = nouns[-1] if nouns else len(words) - 1 if len(words) > 1 else None
        if place is None or words[place].lower() in CONTAINERS:
            continue
        columns = columns_of(tokenizer, text, [places[place]])
        if columns:
            found.append(Concept(" ".join(words[:place]), words[place], columns[-1]))
    return found


def by_hand(tokenizer, text: str, pairs: Sequence[tuple[str, str]]) -> list[Concept]:
    """Things as given, each at the first place where its attribute and noun stand together."""
    found = []
    for attribute, noun in pairs:
        start = text.find(f"{attribute} {noun}".strip())
        if start >= 0:
            end = start + len(f"{attribute} {noun}".strip())
            columns = columns_of(tokenizer, text, [(end - len(noun), end)])
            if columns:
                found.append(Concept(attribute, noun, columns[-1]))
    return sorted(found, key=lambda concept: concept.column)


def _split(text: str, start: int, end: int) -> tuple[list[str], list[tuple[int, int]]]:
    words, places, at = [], [], start
    for word in text[start:end].split():
        at = text.index(word, at)
        words.append(word)
        places.append((at, at + len(word)))
        at += len(word)
    return words, places


def _own(base: Base) -> bool:
    """Whether the tokenizer has a vocabulary of its own, and so the text tower is not OpenAI's."""
    return base.tokenizer.init_kwargs.get("known_words") is not None
