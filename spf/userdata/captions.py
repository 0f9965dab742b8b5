"""The target in a caption: taken out so that what is left is still English.

    said = texts("a man with a red hat and glasses, (smiling:1.2)", "", Wish("a hat"))
    said.base, said.complete      # "a man with glasses, smiling", "a man with a red hat and
    glasses, smiling"

Taken out is what `mentions` finds, with the words that tie it to the rest. Where the rules cannot
tell, `doubts` says so, and a caption that denies the target is never one that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..config import LONGEST_TEXT
from ..errors import BadInput
from ..mentions import (
    ADJECTIVES,
    DENIALS,
    DETERMINERS,
    EDGES,
    JOINED,
    NOUN_TIES,
    TIES,
    UNSPACED,
    UNSPACED_TIES,
    VERBAL,
    VERBS,
    Mention,
    Token,
    ends,
    is_word,
    mentions,
    names,
    tokens,
    word_set,
)
from ..prompts import ComposedPrompt, agree, compose, fitted, paired
from ..words import cleaned, worded
from .weighted import tidied, unweighted

if TYPE_CHECKING:
    from .sets import Wish

SUBJUNCTIVE = word_set("would could should might if unless wish wishes want wants need needs")
"""Words of a clause that leave it open whether a thing is there."""
HANGING = word_set("to put puts putting trying tries")
"""Words that cannot end a text, and are no ties."""
_DANGLING = re.compile(r"^[!?:;/|=&+)\]}>.,-]|[:/|=&+<(\[{-]$|[{}<>=|\\]|([*`~])\s?\1")
"""Marks that belong to no English: alone at an end, around nothing, or those of programs."""


class Said(NamedTuple):
    """What a caption comes to. said: whether it names the target. denied: whether it says that
    the target is not there.

    doubts: "still" where the base text still has the target's noun, "rest" where it may not be
    English.
    unweighted: whether weights or tags were taken off.
    """

    base: str
    complete: str
    said: bool
    denied: bool = False
    doubts: tuple[str, ...] = ()
    unweighted: bool = False


def texts(caption: str, base: str, wish: Wish) -> Said:
    """A caption, with its own base text if it has one, as base and complete text. Raises
    BadInput if they do not fit.
    """
    line, base = cleaned(caption), cleaned(base)
    for name, words in (("caption", line), ("base", base)):
        if len(words) > LONGEST_TEXT:
            raise BadInput(
                f"{name} has {len(words)} characters but at most {LONGEST_TEXT} are allowed."
            )
    bare = unweighted(line)
    found = mentions(bare, wish.target)
    denied = any(mention.denied for mention in found)
    shown = [mention for mention in found if not mention.denied]
    if denied:
        return Said(bare, bare, bool(shown), True)

    if base:
        left = unweighted(base)
    elif shown and wish.mode == "replace":
        left = _exchanged(bare, shown, wish.replace)
    else:
        left = _without(bare, shown) if shown else bare
        if not worded(left):  # words of other languages were taken for adjectives
            shown = [one._replace(first=one.core, last=one.until) for one in shown]
            left = _without(bare, shown)
            known = ADJECTIVES | EDGES | DETERMINERS
            left = left if any(_told(token, known) for token in tokens(left)) else ""
    if not worded(left):
        name, value = ("base", base) if base else ("caption", line)
        raise BadInput(
            f"{name} is {value[:60]!r} but must say more than the target: what else is to be seen."
        )
    if shown:
        check = compose(left, wish.target)  # refuses what no text may hold
        pair = check.base, compose(bare).base
    else:
        prompt = compose(left, (wish.target,), wish.mode, wish.replace)
        pair = prompt.base, prompt.complete
    if len(pair[1]) > LONGEST_TEXT:
        raise BadInput(
            f"caption has {len(pair[1])} characters with the target but at most {LONGEST_TEXT} are "
            "allowed."
        )
    doubts = (
        *(("still",) if names(left, wish.target) else ()),
        *(("rest",) if not reads(left) or (shown and not base and _unsure(bare, shown)) else ()),
    )
    return Said(*pair, bool(shown), doubts=doubts, unweighted=bare != line)


def _told(token: Token, known: frozenset[str]) -> bool:
    """Whether a token says something beside known words."""
    return is_word(token.word) and token.word not in known


def _unsure(line: str, found: Sequence[Mention]) -> bool:
    """Whether what is left without the mentions may be more, or less, than is seen: they are said
    of what might be, or belong to a verb that no rule knows.
    """
    words = tokens(line)
    for mention in _in_a_row(words, found):
        if UNSPACED.match(words[mention.core].word):
            return True
        start, _ = _tied(words, mention, [False] * len(words))
        clause = []
        for token in reversed(words[max(0, start - 8) : start]):
            if not is_word(token.word) and token.word not in ("-", "'"):
                break
            clause.append(token.word)
        if SUBJUNCTIVE & set(clause):
            return True
        before = clause[0] if clause else ""
        objects = mention.first == start and not _attributive(words, mention)
        known = EDGES | DETERMINERS | ADJECTIVES | word_set("'")
        if before in HANGING or (objects and is_word(before) and before not in known):
            if not before.endswith("'s"):
                return True
    return False


def _without(line: str, found: Sequence[Mention]) -> str:
    """A text without the mentions and the words that tie them in."""
    words = tokens(line)
    dropped = [False] * len(words)
    for mention in _in_a_row(words, found):
        for place in range(*_tied(words, mention, dropped)):
            dropped[place] = True
    kept: list[str] = []
    at, article = 0, None
    for place, token in enumerate(words):
        gap, word = line[at : token.start], line[token.start : token.end]
        at = token.end
        if dropped[place]:
            kept.append(" " if gap else "")
            continue
        if word.casefold().endswith(("'s", "’s")) and any(dropped[place + 1 : place + 2]):
            word = word[:-2]  # "the man's" hat
        if article is not None and place and dropped[place - 1] and is_word(token.word):
            kept[article] = agree(f"{kept[article]} ", word).rstrip()
        article = len(kept) + 1 if token.word in ("a", "an") else None
        kept += [gap, word]
    return tidied("".join(kept) + line[at:])


def _in_a_row(words: Sequence[Token], found: Sequence[Mention]) -> list[Mention]:
    """The mentions, those that only a comma or an "and" parts as one."""
    rows: list[Mention] = []
    for one in found:
        between = words[rows[-1].last : one.first] if rows else []
        if rows and between and all(token.word in (*JOINED, ",") for token in between):
            one = rows.pop()._replace(last=one.last, until=one.until)
        rows.append(one)
    return rows


def _tied(words: Sequence[Token], mention: Mention, dropped: Sequence[bool]) -> tuple[int, int]:
    """Tokens [first, last) that go with a mention."""
    first, last = mention.first, mention.last
    if UNSPACED.match(words[mention.core].word):
        while first and words[first - 1].word in UNSPACED_TIES and not dropped[first - 1]:
            first -= 1
        tied = first < mention.first and last < len(words) and words[last].word == "的"
        return first, last + tied
    if (mention.first, mention.last) == (mention.core, mention.until) and _attributive(
        words, mention
    ):
        return first, last
    ties = first
    while ties and words[ties - 1].word in TIES and not dropped[ties - 1]:
        ties -= 1
    follows = words[last].word if last < len(words) else ""
    if follows in ("and", "&", "plus", "but", "/", "|") and last + 1 < len(words):
        other = words[last + 1].word
        clause = other in TIES | VERBS or other in VERBAL or other.endswith("ing")
        clause = clause or other in DENIALS - {"no"}
        listed = ties < first and words[first - 1].word in NOUN_TIES
        if ties < first and words[first - 1].word in VERBS and other in VERBS:
            return ties, last + 1  # "she wears a hat and smiles"
        if clause:
            return ties, last + 1
        return (first, last + 1) if listed or first == 0 or ties == first else (ties, last + 1)
    if ties == 0 and last < len(words):  # "a hat on a man"
        while (
            last < len(words)
            and words[last].word in EDGES | {","}
            and not words[last].word.endswith("ing")
        ):
            last += 1
        return 0, last
    if ties and words[ties - 1].word in JOINED:
        ties -= 1
    if ties and words[ties - 1].word == "," and (not follows or not is_word(follows)):
        ties -= 1
    return ties, last


def _attributive(words: Sequence[Token], mention: Mention) -> bool:
    """Whether the target stands before a noun and says how it is: "a laughing woman"."""
    follows = words[mention.until].word if mention.until < len(words) else ""
    return is_word(follows) and not ends(follows)


def _exchanged(line: str, found: Sequence[Mention], replace: str) -> str:
    """A text with other words in place of the target's."""
    left, at = "", 0
    for mention in found:
        start, end = mention.characters
        left += "".join(fitted(line[at:start], replace))
        at = end
    return left + line[at:]


def reads(line: str) -> bool:
    """Whether a text that something was taken out of still looks like English: nothing dangles."""
    words = [token.word for token in tokens(line)]
    if _DANGLING.search(line):
        return False
    if not any(map(is_word, words)):
        return False
    joins = word_set(
        "with wearing in of and or on by at from under but nothing w/ w/o he she they who whose"
    ) | DETERMINERS - word_set(
        "that this these those one two three four five six each both several many some any her his"
    )
    if words[-1] in joins - {"on", "in", "under"} or words[0] in word_set(
        "with of and or wearing on & ,"
    ):
        return False
    allowed = {"and", "or"}
    for word, after in zip(words, [*words[1:], "."], strict=True):
        dangling = after in word_set("with wearing and or of & , . ; by") or not is_word(after)
        if (
            word in joins - allowed - {"on", "in", "under"}
            and dangling
            and after not in ("'", '"', "-", "(")
        ):
            return False
        if word in allowed and after in ("and", "or", "of", ",", "."):
            return False
    return True


def written(base: str, complete: str, target: str) -> ComposedPrompt | None:
    """Both texts with their phrases as they stand; None where the complete text does not name
    the target.
    """
    places = [mention.characters for mention in mentions(complete, target)]
    return paired(base, complete, target, places) if places else None
