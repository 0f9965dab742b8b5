"""Which words of a complete text show where in a drawn portrait: exact masks instead of a
detector's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from spf.portraits.canvas import region_mask
from spf.portraits.captions import Caption
from spf.portraits.dataset import phrase_mask
from spf.portraits.description import Target
from spf.prompts import ComposedPrompt, Span, find

NO_NOUNS = frozenset(
    "smiling surprised sad laughing tilted held straight left right to the a an in of".split()
)
"""Words of captions that end a phrase without being its noun."""


def places(
    prompt: ComposedPrompt, made: Caption, target: Target, regions: np.ndarray
) -> Iterator[tuple[Span, Span, np.ndarray]]:
    """(noun, phrase, mask bool [S,S]) of each word with a place: characters in the complete text,
    pixels in the picture.

    made: the caption that is the base text of the prompt, whose phrases know their attributes;
    regions [S,S] of the picture. A phrase without a noun ("smiling") or about the whole picture ("a
    photo") has no place; the target counts whatever its kind of word. Of a base word that the
    target replaces only the target is left.
    """
    for phrase in made.phrases:
        span = find(prompt.base, phrase.text)
        noun = noun_span(prompt.base, span) if span and "style" not in phrase.attributes else None
        both = _in_complete(prompt, noun) if noun else None
        if both:
            yield *both, phrase_mask(phrase.attributes, regions)
    if target.regions:
        mask = region_mask(regions, target.regions)
        for span in (span for phrase in prompt.target_phrases for span in phrase.complete):
            yield noun_span(prompt.complete, span) or _words(prompt.complete, span)[-1], span, mask


def noun_span(text: str, span: Span) -> Span | None:
    """The noun of a phrase: its last word before any joining word ("brown hair in a bun": hair),
    None if it has none."""
    head = re.split(r"\s(?:in|of|to)\s", text[slice(*span)])[0]
    nouns = [
        word
        for word in _words(text, (span[0], span[0] + len(head)))
        if text[slice(*word)].lower() not in NO_NOUNS
    ]
    return nouns[-1] if nouns else None


def _words(text: str, span: Span) -> list[Span]:
    return [match.span() for match in re.compile(r"[\w'-]+").finditer(text, *span)]


def _in_complete(prompt: ComposedPrompt, noun: Span) -> tuple[Span, Span] | None:
    """Noun and phrase of the base text, as characters of the complete one; None for what was
    replaced."""
    for phrase in prompt.phrases:
        for before, after in zip(phrase.base, phrase.complete, strict=True):
            if before[0] <= noun[0] and noun[1] <= before[1]:
                by = after[0] - before[0]
                return (noun[0] + by, noun[1] + by), after
    return None
