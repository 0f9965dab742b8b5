"""From base text and target to complete text, and from words to token columns.

Phrases are found by plain rules, not by a parser: a text is cut at punctuation and at the
joining words of `JOINS`, and leading articles are dropped: "a photo of a young woman with long
hair" has the phrases photo, young woman, long hair. Works with any fast CLIP tokenizer; one with
a vocabulary of its own (`spf.tokenizer`) also knows which words it knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from .config import check_choice, check_text, check_texts
from .errors import BadInput
from .words import plain, signs, trimmed, worded

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

PAD = "PAD"
MODES = ("append", "replace", "front")
MOST_TARGETS = 4
ALIKE = 0.65
"""Share of their letters that two words have in common which may be slips of one another."""
JOINS = (
    "in front of",
    "next to",
    "with",
    "without",
    "wearing",
    "and",
    "of",
    "in",
    "on",
    "at",
    "by",
    "before",
    "behind",
    "against",
    "beside",
    "near",
    "under",
    "over",
    "who",
    "is",
    "has",
    "having",
    "holding",
)
_CUT = re.compile(rf"[^\w\s'-]|(?<![\w-])(?:{'|'.join(JOINS)})(?![\w-])", re.IGNORECASE)
_LEAD = re.compile(r"\s*(?:(?:an?|the|his|her|their)(?:\s+|$))*", re.IGNORECASE)
ARTICLE = re.compile(r"(?<!\w)(an?)\s$", re.IGNORECASE)
ARTICLES = re.compile(r"(?:an?|the)\s+", re.IGNORECASE)
_DETERMINED = re.compile(
    rf"(?<![\w-])(?:an?|the|his|her|their|its|my|our|your|this|that)\s"
    rf"(?:(?!(?:{'|'.join(JOINS)})\s)[\w'’-]+\s){{0,4}}$",
    re.IGNORECASE,
)
"""A text that ends in an article with or without adjectives, so that only a noun can follow."""
_VOWEL = re.compile(
    r"(?!uni(?!n|m|dent)|us[aeiu]|eu|ewe|one\b|once\b|ut[ei])[aeiou]|8|1[18]\b|"
    r"hour|hon(?:est|o)|heir",
    re.IGNORECASE,
)
"""What begins like a vowel when it is spoken."""

_WORD = re.compile(r"[^\W\d_][^\W\d_\u0300-\u036f\u200c\u200d]*(?:['’][^\W\d_]+)?")
"""A word in any script; what is written without spaces is one."""
_SHORT = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'")

Span = tuple[int, int]


@dataclass(frozen=True)
class Phrase:
    """Words that stand in the base text, the complete text or both: characters [start, end) of
    each occurrence.
    """

    text: str
    base: tuple[Span, ...]
    complete: tuple[Span, ...]


@dataclass(frozen=True)
class ComposedPrompt:
    """A base text, what is added or replaced, and the complete text; made by `compose`."""

    base: str
    targets: tuple[str, ...]
    mode: str
    replace: str
    complete: str
    phrases: tuple[Phrase, ...]
    target_phrases: tuple[Phrase, ...]
    composed: bool = True
    """Whether `compose` made the complete text; somebody else wrote it otherwise."""
    which: int = 0
    """The target that is not appended, of those that are composed in another mode."""

    @property
    def target(self) -> str:
        """All targets as one text, as CLIP is asked about it."""
        return ", ".join(self.targets)

    def before(self) -> ComposedPrompt:
        """The same without the last target: what a chain of targets has come to when the last
        one is added.
        """
        last = self.which == len(self.targets) - 1
        how = ("append", "") if last else (self.mode, self.replace, self.which)
        return compose(self.base, self.targets[:-1], *how)

    def over(self, base: str) -> ComposedPrompt:
        """The same targets in another base text. Raises BadInput where that lacks the words to
        replace.
        """
        return compose(base, self.targets, self.mode, self.replace, self.which)

    def groups(self, tokenizer: CLIPTokenizer, path: str) -> dict[str, list[int]]:
        """Token columns of each phrase and of PAD in the "base" or the "complete" text; targets
        only in the latter.

        A base phrase that falls off the end of either text is left out of both; a target that
        does raises BadInput.
        """
        chosen = check_choice("path", path, ("base", "complete"))
        columns = {
            phrase.text: columns_of(tokenizer, getattr(self, chosen), getattr(phrase, chosen))
            for phrase in self.phrases
            if all(
                columns_of(tokenizer, text, spans)
                for text, spans in ((self.base, phrase.base), (self.complete, phrase.complete))
            )
        }
        if chosen == "complete":
            columns |= {
                phrase.text: columns_of(tokenizer, self.complete, phrase.complete)
                for phrase in self.target_phrases
            }
            self.require_targets(tokenizer)
        return columns | {PAD: pad_columns(tokenizer, getattr(self, chosen))}

    @property
    def targets_end(self) -> int:
        """The character of the complete text after the last one of its targets."""
        return max((end for phrase in self.target_phrases for _, end in phrase.complete), default=0)

    def require_targets(self, tokenizer: CLIPTokenizer) -> None:
        """Raises BadInput when words of a target do not fit into the token limit: the model
        would never see them.
        """
        if self.targets_end > kept_characters(tokenizer, self.complete):
            raise BadInput(
                f"the complete text is too long: of {tokenizer.model_max_length - 2} tokens none "
                "is left for all of "
                f'"{self.target}"; shorten the base text.'
            )


def compose(
    base: str,
    targets: str | Sequence[str] = (),
    mode: str = "append",
    replace: str = "",
    which: int = 0,
) -> ComposedPrompt:
    """Joins base text and targets. Raises BadInput in one sentence.

    append: "base, target, target". replace: one target takes the place of the words `replace`
    (their first occurrence, in any case of letters; "a" or "an" before them is adapted). front:
    "a target of base", as of a painting. which: that target's number; the others are appended.
    """
    base = check_text("base", base).rstrip(" ,.;")
    targets = tuple(trimmed(target) for target in check_texts("targets", targets, MOST_TARGETS))
    mode, replace = check_choice("mode", mode, MODES), trimmed(check_text("replace", replace))
    if not worded(base):
        shown = repr(base[:60]) if base else "empty"
        raise BadInput(
            f"base is {shown} but must describe a portrait, for example: a photo of a young woman."
        )
    if not all(map(worded, targets)):
        raise BadInput(
            "targets has an entry without words; name what should change, for example: freckled "
            "skin."
        )
    if any(mark in text for text in (base, *targets) for mark in ("<|", "|>")):
        raise BadInput(
            "base and targets must not contain <| or |>, which stand for control tokens."
        )
    place: Span | None = None
    if mode != "append" and not 0 <= which < max(len(targets), 1):
        raise BadInput(f"which is {which} but must be from 0 to {len(targets) - 1}.")
    if mode == "append":
        replace, cut, complete, which = "", (len(base), len(base)), base, 0
    elif mode == "front":
        if not targets:
            raise BadInput("mode is front, so a target must be given to stand before base.")
        article = "" if ARTICLES.match(targets[which]) else agree("a ", targets[which])
        replace, cut = "", (0, 0)
        place = len(article), len(article) + len(targets[which])
        complete = f"{article}{targets[which]} of {base}"
    else:
        cut = find(base, replace)
        if cut is None or not targets:
            raise BadInput(
                f'replace is "{replace}" but must be words of the base text, with a target to take '
                "their place."
            )
        head, put = fitted(base[: cut[0]], targets[which])
        place = len(head), len(head) + len(put)
        complete = head + put + base[cut[1] :]
    kept = [
        span for part in ((0, cut[0]), (cut[1], len(base))) for span in phrase_spans(base, *part)
    ]
    moved = len(complete) - len(base)
    spoken: list[Span] = []
    for number, target in enumerate(targets):
        if place and number == which:
            spoken.append(place)
            continue
        spoken.append((len(complete) + 2, len(complete) + 2 + len(target)))
        complete += f", {target}"
    return ComposedPrompt(
        base,
        targets,
        mode,
        replace,
        complete,
        phrases=_merged(
            base, [(span, _shifted(span, moved) if span[0] >= cut[1] else span) for span in kept]
        ),
        target_phrases=_named(targets, spoken, {base[start:end].lower() for start, end in kept}),
        which=which,
    )


def paired(base: str, complete: str, target: str, places: Sequence[Span]) -> ComposedPrompt:
    """A base text and a complete text that somebody wrote. places: where the complete text names
    the target.

    Phrases are those that both texts have, by their words.
    """
    own = [
        span
        for span in phrase_spans(complete)
        if not any(span[0] < end and start < span[1] for start, end in places)
    ]
    found: dict[str, tuple[list[Span], list[Span]]] = {}
    for side, (text, spans) in enumerate(((base, phrase_spans(base)), (complete, own))):
        for span in spans:
            found.setdefault(text[slice(*span)].lower(), ([], []))[side].append(span)
    phrases = tuple(
        Phrase(base[slice(*here[0])], tuple(here), tuple(there))
        for here, there in found.values()
        if here and there
    )
    taken = {phrase.text.lower() for phrase in phrases}
    aimed = _named((target,) * len(places), list(places), taken)
    return ComposedPrompt(base, (target,), "append", "", complete, phrases, aimed, composed=False)


def fitted(head: str, words: str) -> tuple[str, str]:
    """A text and what comes after it, so that they have one article: "in a red " and "a hat" make
    "in a red hat", "in a " and "umbrella" make "in an umbrella".
    """
    own = ARTICLES.match(words)
    if own and own.end() < len(words) and _DETERMINED.search(head):
        words = words[own.end() :]
    return agree(head, words), words


def agree(head: str, word: str) -> str:
    """Turns "a " at the end of `head` into "an " before a vowel, and back."""
    found = ARTICLE.search(head)
    if not found:
        return head
    article = found[1][0] + ("n" if _VOWEL.match(word) else "")
    return head[: found.start(1)] + article + " "


def _shifted(span: Span, by: int) -> Span:
    return span[0] + by, span[1] + by


def _merged(base: str, pairs: list[tuple[Span, Span]]) -> tuple[Phrase, ...]:
    """One phrase for words that occur several times."""
    found: dict[str, list[tuple[Span, Span]]] = {}
    for in_base, in_complete in pairs:
        found.setdefault(base[slice(*in_base)].lower(), []).append((in_base, in_complete))
    return tuple(
        Phrase(base[slice(*spans[0][0])], *zip(*spans, strict=True)) for spans in found.values()
    )


def _named(targets: tuple[str, ...], spans: list[Span], taken: set[str]) -> tuple[Phrase, ...]:
    """Target phrases; one whose words also stand in the base text is marked, so that no two
    phrases share a name.
    """
    found: dict[str, list[Span]] = {}
    for target, span in zip(targets, spans, strict=True):
        found.setdefault(
            f"{target} (target)" if target.lower() in taken | {PAD.lower()} else target, []
        ).append(span)
    return tuple(Phrase(name, (), tuple(spans)) for name, spans in found.items())


def find(text: str, words: str) -> Span | None:
    """First place of whole words in a text, in any case of letters."""
    asked = re.escape(plain(words))
    match = re.search(rf"(?<!\w){asked}(?!\w)", plain(text), re.IGNORECASE) if words else None
    return match.span() if match else None


def phrase_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Characters [start, end) of each phrase within a part of the text."""
    end = len(text) if end is None else end
    text = plain(text)
    spans, begin = [], start
    for cut_start, cut_end in [match.span() for match in _CUT.finditer(text, start, end)] + [
        (end, end)
    ]:
        first = min(_LEAD.match(text, begin, cut_start).end(), cut_start)
        last = first + len(text[first:cut_start].rstrip())
        if last > first:
            spans.append((first, last))
        begin = cut_end
    return spans


def phrases(text: str) -> list[str]:
    """The phrases of a text, in order."""
    return [text[start:end] for start, end in phrase_spans(text)]


def _offsets(tokenizer: CLIPTokenizer, text: str, whole: bool = False) -> list[Span]:
    """Characters of each token; (0, 0) for begin and end. `whole` shows also what the model
    would not get.
    """
    cut = {} if whole else {"truncation": True, "max_length": tokenizer.model_max_length}
    return tokenizer(text, return_offsets_mapping=True, verbose=False, **cut)["offset_mapping"]


def columns_of(tokenizer: CLIPTokenizer, text: str, spans: Sequence[Span]) -> list[int]:
    """Token columns that touch any of the spans; empty when they fell off the end."""
    tokens = enumerate(_offsets(tokenizer, text))
    return [
        column
        for column, (first, last) in tokens
        if any(first < end and start < last for start, end in spans)
    ]


def pad_columns(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """Columns after the end token; the end token itself when the text leaves none."""
    used = len(_offsets(tokenizer, text))
    return list(range(min(used, tokenizer.model_max_length - 1), tokenizer.model_max_length))


def kept_characters(tokenizer: CLIPTokenizer, text: str) -> int:
    """How many characters of the text, from its start, the model gets."""
    return (
        len(text)
        if not overflow(tokenizer, text)
        else max(end for _, end in _offsets(tokenizer, text))
    )


def overflow(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """The words that do not fit into the token limit and that the model never sees."""
    lost = _offsets(tokenizer, text, whole=True)[tokenizer.model_max_length - 1 : -1]
    return text[lost[0][0] :].split() if lost else []


class Spelling(NamedTuple):
    """What a tokenizer makes of a text. unknown: the words that it lacks. tokens: how many the
    text has, of `most` that a model reads. kept: the characters that those are made of.
    """

    unknown: tuple[str, ...]
    tokens: int
    most: int
    kept: int


def spelling(tokenizer: CLIPTokenizer, text: str) -> Spelling:
    """What a tokenizer makes of a text."""
    return Spelling(
        tuple(unknown_words(tokenizer, text)),
        len(_offsets(tokenizer, text, whole=True)) - 2,
        tokenizer.model_max_length - 2,
        kept_characters(tokenizer, text),
    )


def known_words(tokenizer: CLIPTokenizer) -> tuple[str, ...]:
    """The words of a tokenizer with a vocabulary of its own; empty for one that was trained on open
    text.
    """
    words = tokenizer.init_kwargs.get("known_words") or ()
    return tuple(sorted(word for word in words if word.isalpha()))


def near_words(word: str, known: Sequence[str], most: int = 3) -> tuple[str, ...]:
    """Words of a vocabulary that are spelled like one which it lacks, the nearest first; none that
    is only a part of it: "with" is no slip of "without".
    """
    word = word.casefold()
    found = get_close_matches(word, known, most + 3, ALIKE)
    return tuple(one for one in found if one not in word or len(word) - len(one) < 2)[:most]


def unknown_words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """Words outside a tokenizer's own vocabulary, and emoji; always empty for one that was trained
    on open text.
    """
    known = tokenizer.init_kwargs.get("known_words")
    if known is None:
        return []
    rules = tokenizer.backend_tokenizer

    def understood(word: str) -> bool:
        line = rules.normalizer.normalize_str(plain(word))
        pieces = [piece for piece, _ in rules.pre_tokenizer.pre_tokenize_str(line)]
        return all(piece in known or piece in _SHORT for piece in pieces)

    words = dict.fromkeys(match[0] for match in _WORD.finditer(text))
    found = [word for word in words if not understood(word)]
    found = list({word.casefold(): word for word in reversed(found)}.values())[::-1]
    return [*found, *dict.fromkeys(signs(text))]
