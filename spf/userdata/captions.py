"""The target in a caption: found as people say it, and taken out so that what is left is still
English.

    said = texts("a man with a red hat and glasses, (smiling:1.2)", "", Wish("a hat"))
    said.base, said.complete      # "a man with glasses, smiling", "a man with a red hat and
    glasses, smiling"

Plain rules over the words of the caption, no parser, and linear in its length: the target's noun
with its article, number and adjectives, the words that tie it to the rest, and what belongs to
it ("on her head"). Where the rules cannot tell, `doubts` says so, and a caption that denies the
target is never one that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from typing import TYPE_CHECKING, NamedTuple

from ..config import LONGEST_TEXT
from ..errors import BadInput
from ..prompts import ComposedPrompt, agree, compose, fitted, paired
from ..words import cleaned, narrow, normal, plain, worded

if TYPE_CHECKING:
    from .sets import Wish


def _set(words: str) -> frozenset[str]:
    return frozenset(words.casefold().split())


ARTICLES = _set(
    "un une uno una ein eine einen einem einer um uma een ett il lo la le el los las der das dem "
    "det"
)
"""Of other languages."""
DETERMINERS = ARTICLES | _set(
    "a an the his her hers their its my our your this that these those some any another each both "
    "one two three four five six several many no zero either"
)
TIES = _set(
    "with wearing wears wear wore worn in has have had having holding holds sporting featuring "
    "under beneath is are was were who whose dressed while plus including shows showing of has on "
    "w/ avec portant mit trägt con com met med lleva с в"
)
"""Words before a target that go with it, where they stand directly before it."""
NOUN_TIES = _set("with wearing wears wear in has have having holding holds sporting plus of w/")
"""Those of them that can stay when another noun takes the target's place."""
JOINED = ("and", "&", "or", "nor", "/", "|")
EDGES = TIES | _set(
    "and & or nor / | by at near before behind beside against over above from to for as but "
    "looking smiling laughing standing sitting posing walking next front outside inside"
)
"""Words that end a noun and its adjectives, on either side."""
PERSONS = _set(
    "man woman person people girl boy lady gentleman guy child kid baby portrait photo picture "
    "photograph image drawing painting face men women girls boys someone adult teenager"
)
ADJECTIVES = _set(
    "black white red green blue yellow brown gray grey orange purple pink golden gold silver beige "
    "big large small little tiny tall wide old new long short round straw felt wool leather dark "
    "light bright colorful colourful striped pretty beautiful fancy simple plain elegant"
)
DENIALS = _set(
    "without no not never lacks lacking lack minus sans off except cannot neither "
    "missing hides instead rather w/o loses losing lost removes removing removed doffs doffing "
    "doffed refuses refusing refused forgets forgetting forgot avoids avoiding avoided declines "
    "declining declined drops dropping dropped stops stopped nobody none hardly rarely barely "
    "scarcely seldom nowhere w/out isnt arent doesnt dont wasnt "
    "ohne kein keine keinen keiner nicht pas aucun aucune jamais ni senza nessun nessuna sin "
    "ningún nunca non não sem nenhum zonder geen utan uden uten ingen ilman bez nie без не нет "
    "χωρίς tanpa không "
    "بدون بلا ללא בלי"
)
"""Words before a target that say that it is not there, the usual ones of other languages too."""
DENIALS_WITH = {
    "of": _set("free devoid bare absence deprived stripped rid lieu"),
    "but": _set("anything everything"),
}
"""The same where this word follows: "free of"."""
DENIAL_MARKS = _set("! ¬ -")
DENYING = _set("no non zero 0 without invisible imaginary kein keine keinen keiner")
_ABSENT = re.compile(
    r"less\b|- (?:less|free)\b|yok\b|"
    r"(?:(?:is|are|was|were|:|=|\?) )(?:no|none|false|zero|0)(?! \w)|"
    r"(?:(?:is|are|was|were|has|have|had|been|being|:|=|\?) )*"
    r"(?:removed\b|off\b(?! -)|(?:missing|gone|absent|lost|hidden|invisible)(?! \w)|"
    r"(?:taken|took|cut|blown|blew|flew|flown|fell|fallen|put|laid) (?:off|away|aside|down)\b|"
    r"cropped\b|out of (?:the )?(?:frame|sight|view|shot|picture)\b|"
    r"(?:not|\w+n't|isnt|arent) (?:\w+ )?"
    r"(?:visible|shown|seen|present|included|there|worn|pictured|depicted|in|on)\b)"
)
"""What stands directly after a target that is not there."""
SUBJUNCTIVE = _set("would could should might if unless wish wishes want wants need needs")
"""Words of a clause that leave it open whether a thing is there."""
HANGING = _set("to put puts putting trying tries")
"""Words that cannot end a text, and are no ties."""
UNSPACED_DENIALS = "没沒不無无未非脱脫摘"
UNSPACED_TIES = "戴带帶穿著着有下掉去"
UNSPACED_ABSENT = re.compile(
    r"[がはもの]?(?:なし|無し|ない)|[をはが]\w{0,6}(?:ない|なく|ません|脱|外)|"
    r"[가는은이도]?없|[를을]?(?:안|못|벗|[가-힣]{1,3}지않)"
)
"""In scripts whose words nothing parts: what denies, and what ties a thing to a person."""
BODY = _set(
    "head heads face eyes eye nose neck hair forehead brow ears ear shoulders cheeks chest lap "
    "hand hands chin top wrist"
)
ONTO = _set("on over above atop upon across around round onto in")
TRIMMINGS = _set(
    "feather feathers ribbon ribbons brim brims band bow flower flowers veil logo strap straps "
    "lens lenses frame frames rim rims visor tassel pattern stripes dots"
)
CLAD = ("wearing", "clad", "bearing")
VERBAL = ("is", "are", "was", "he", "she", "they", "it", "who")
VERBS = _set("smiles laughs looks stands sits walks poses holds wears has stares gazes talks reads")
MARKS = {**dict.fromkeys("\"'*`~"), "(": ")", "[": "]", "{": "}"}
"""What stands around words -> what closes it, where that is another mark."""
ALWAYS_PLURAL = _set("glasses braces shades")
"""Words that mean something else without their ending."""
PAIRS = _set("pair pairs set kind piece bit sort type style")
LONGEST_PHRASE = 12
"""Words that a noun and what belongs to it may have."""
_TOKEN = re.compile(
    r"\bw/(?:o(?:ut)?\b)?|[\u2e80-\u9fff\uac00-\ud7af]|"
    r"[^\W_\u2e80-\u9fff\uac00-\ud7af](?:[\u0300-\u036f]|[^\W_\u2e80-\u9fff\uac00-\ud7af])*"
    r"(?:'[a-z]+)?|[^\s_]",
    re.IGNORECASE,
)
_UNSPACED = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]")
"""Scripts whose words nothing parts, so that what is left of a sentence cannot be judged."""
_LORA = re.compile(r"<\w{1,20}:[^<>]{0,200}>")
_WEIGHT = re.compile(r"\s*:\s*[-+]?(?:\d{1,4}\.?\d{0,6}|\.\d{1,6})\s*$")
_PARTED = re.compile(r"\s*::\s*(?:[-+]?(?:\d+\.?\d*|\.\d+)(?![\w.]))?\s*|(?<!\S)BREAK(?!\S)")
"""Where programs part a text, with the weight of a part."""
_FLAG = re.compile(r"(?<!\S)--(?!no\b)[a-z]{1,9} [\d.:]+(?!\S)")
_AFTER = re.compile(r"[-+]?(?:\d{0,4}\.\d{1,6})(?![\w.])|\+{1,5}|-{1,5}(?!\w)")
_PLUS = re.compile(
    r"(?<=\w)(?:\+{1,5}|-{2,5})(?![\w+-])|(?<=[^\W\d_]):{1,2}[-+]?\d?\.\d{1,3}(?![\w.])"
)
_CASE = re.compile(r"(?<=..)(?:[аяоеёыиую]?[мйхв]и?|[аеёиоуыэюяйь])$")
"""Endings of Russian nouns."""
_BLANK = re.compile(r"(?<![^\W_])_+(?![^\W_])")
_DANGLING = re.compile(r"^[!?:;/|=&+)\]}>.,-]|[:/|=&+<(\[{-]$|[{}<>=|\\]|([*`~])\s?\1")
"""Marks that belong to no English: alone at an end, around nothing, or those of programs."""


class Token(NamedTuple):
    """A word or a mark: its characters [start, end), and in small letters without its plural."""

    start: int
    end: int
    word: str
    stem: str


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


def unweighted(line: str) -> str:
    """A text without the weights and tags that programs read: "(a hat:1.3)", "((hat))", "hat++",
    "<lora:name:1>", and with the signs that "&amp;" and others stand for. One that has none of
    this is returned as it is.
    """
    bare = unescape(_LORA.sub(" ", line))
    parted = _PARTED.sub(", ", _FLAG.sub(" ", bare))
    bare = parted if bare != bare.upper() else bare
    weighted = bare != line or ":" in bare or "((" in bare or "[[" in bare or "{{" in bare
    if weighted or "\\" in bare or "++" in bare or "--" in bare or _AFTER.search(bare):
        bare = _PLUS.sub("", _unbracketed(bare))
    return _tidied(bare) if bare != line else line


def _unbracketed(line: str) -> str:
    """Brackets that carry a weight, or that stand directly in one another, are taken away;
    others stay.
    """
    opened: list[int] = []
    gone: list[tuple[int, int]] = []
    closes = {")": "(", "]": "[", "}": "{"}
    skipped, last = False, (-1, -1)
    for place, mark in enumerate(line):
        if skipped:
            skipped = False
        elif mark == "\\" and line[place + 1 : place + 2] in ("(", ")", "[", "]"):
            gone.append((place, place + 1))
            skipped = True
        elif mark in closes.values():
            opened.append(place)
        elif mark in closes and opened and line[opened[-1]] == closes[mark]:
            start = opened.pop()
            weight = _WEIGHT.search(line, max(start, place - 24), place)
            after = _AFTER.match(line, place + 1)
            nested = last == (start + 1, place - 1)
            if nested:
                gone += [(start + 1, start + 2), (place - 1, place)]
            if weight or after or nested:
                end = after.end() if after else place + 1
                gone += [(start, start + 1), (weight.start() if weight else place, end)]
            last = start, place
    kept, at = [], 0
    for start, end in sorted(gone):
        kept.append(line[at : max(at, start)])
        at = max(at, end)
    return "".join([*kept, line[at:]])


class Mention(NamedTuple):
    """Tokens [first, last) of the noun with what belongs to it; [core, until) those of the
    target itself.
    """

    first: int
    last: int
    core: int
    until: int
    denied: bool
    characters: tuple[int, int]


def tokens(line: str) -> list[Token]:
    """Words and marks of a text, a hyphen being a mark."""
    return [
        Token(*match.span(), word := match[0].casefold(), _stem(word))
        for match in _TOKEN.finditer(narrow(plain(line)))
    ]


def _stem(word: str) -> str:
    """A word without the ending of its plural: hats and hat, dresses and dress, scarves and
    scarf are the same.
    """
    if word in ALWAYS_PLURAL:
        return word
    if "\u0400" <= word[-1] <= "\u04ff":
        return _CASE.sub("", word)
    if len(word) > 4 and word.endswith("ves"):
        return word[:-3] + "f"
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def _wanted(target: str) -> list[str]:
    found = [token for token in tokens(normal(target)) if token.word != "-"]
    return [token.stem for token in found[_led(target) :]]


def _led(target: str) -> bool:
    """Whether a target begins with an article of another language."""
    found = tokens(normal(target))
    return len(found) > 1 and found[0].word in ARTICLES


def names(line: str, target: str) -> bool:
    """Whether the noun of the target stands in a text, whatever it means there."""
    wanted = _wanted(target)
    return bool(wanted) and any(token.stem == wanted[-1] for token in tokens(line))


def mentions(line: str, target: str) -> list[Mention]:
    """Where a text names the target, in order and without overlap."""
    words, wanted = tokens(line), _wanted(target)
    counted = _led(target) or normal(target) != cleaned(target).casefold()  # with an article
    found: list[Mention] = []
    at = 0
    while wanted and at < len(words):
        until = _matched(words, at, wanted)
        if until is None:
            if words[at].word == f"{wanted[-1]}less":  # "a hatless man"
                place = words[at].start, words[at].end
                found.append(Mention(at, at + 1, at, at + 1, True, place))
            at += 1
            continue
        floor = found[-1].last if found else 0
        core, until = _marked(words, at, until, floor)
        first, last = _marked(words, _before(words, core, floor), _after(words, until), floor)
        follows = words[until].word if until < len(words) else ""
        if follows == "-" and until + 1 < len(words) and words[until + 1].word in CLAD:
            first, last, until, follows = core, until + 2, until + 2, ""  # "a hat-wearing man"
        first, last = _clause_of(words, first, core, last, floor)
        while last < len(words) and set(line[words[last - 1].end : words[last].start]) == {"_"}:
            last += 1  # "hat_on_back" is one tag
        attached = last == until and _is_word(follows) and not _ends(follows)
        attached = attached and not _absent(words, until)
        place = words[at].start, words[until - 1].end
        if attached and counted:  # "a hat shop" is no hat, but a "no-hat shop" denies it
            if DENYING & {word.word for word in words[max(0, at - 2) : at]}:
                found.append(Mention(at, until, at, until, True, place))
            at = until
            continue
        if attached:  # "a laughing woman"
            first, last = core, until
        found.append(Mention(first, last, core, until, _denied(words, first, core, until), place))
        at = max(last, until)
    return found


def _marked(words: Sequence[Token], first: int, last: int, floor: int) -> tuple[int, int]:
    """Tokens [first, last) with the quotes, brackets or other marks that stand around them."""
    while first > floor and last < len(words) and (opens := words[first - 1].word) in MARKS:
        if words[last].word != (MARKS[opens] or opens):
            break
        first, last = first - 1, last + 1
    return first, last


def _matched(words: Sequence[Token], at: int, wanted: Sequence[str]) -> int | None:
    """The token after the wanted words, if they begin at this one; hyphens between them do not
    count.
    """
    for stem in wanted:
        while at < len(words) and words[at].word == "-" and stem != wanted[0]:
            at += 1
        if at >= len(words) or words[at].stem != stem:
            return None
        at += 1
    return at


def _is_word(word: str) -> bool:
    return bool(word) and word[0].isalnum()


def _ends(word: str) -> bool:
    """Whether a word cannot belong to the noun before it."""
    return word in EDGES | VERBS or word.endswith(("ing", "ed")) or word in VERBAL


def _before(words: Sequence[Token], core: int, floor: int) -> int:
    """The first token of the noun phrase that ends in the target."""
    first = at = core
    while at > max(floor, core - LONGEST_PHRASE):
        word = words[at - 1].word
        if word in DETERMINERS:
            first = at - 1
            break
        if word in ("-", "'"):
            at -= 1
            continue
        colours = word in ("and", ",") and at > 1 and words[at - 2].word in ADJECTIVES
        if colours and words[at].word in ADJECTIVES:
            at -= 1
            continue
        if not _is_word(word) or word in EDGES | PERSONS or _denies(words, at - 1, core):
            if core - at <= 3:
                first = at
            break
        at -= 1
    else:
        first = at if core - at <= 3 else core
    paired = first >= 2 and words[first - 1].word == "of" and words[first - 2].word in PAIRS
    if paired:
        first = _before(words, first - 2, floor)
    return first


def _clause_of(
    words: Sequence[Token], first: int, core: int, last: int, floor: int
) -> tuple[int, int]:
    """Tokens [first, last) of a target that a clause speaks of, with what it says of it: "his hat
    is red" after a comma; of "the man's hat is red" the man stays.
    """
    tied = first > floor and words[first - 1].word in TIES - {"of", "whose"}
    owner = next((at for at in range(first, core) if words[at].word.endswith("'s")), None)
    if owner is not None and not tied:
        first = owner + 1
    subject = owner is not None or first == 0 or not _is_word(words[first - 1].word)
    subject = subject or words[first - 1].word == "whose"
    verbs = VERBS | _set("is are was were : =")
    if tied or not subject or last >= len(words) or words[last].word not in verbs:
        return first, last
    end = last + 1
    ends = VERBS.union(JOINED)
    while end < len(words) and _is_word(words[end].word) and words[end].word not in ends:
        end += 1
    told = {word.word for word in words[last:end]}
    return (first, last) if told & PERSONS else (first, end)


def _after(words: Sequence[Token], until: int) -> int:
    """The token after what belongs to the target: "on her head", "with a feather", "of straw",
    "that is red".
    """
    at = until
    while at < len(words):
        word, rest = words[at].word, [token.word for token in words[at + 1 : at + 5]]
        length = next((n for n, other in enumerate(rest, 1) if other in BODY | TRIMMINGS), 0)
        plainly = length and not any(
            not _is_word(other) or other in EDGES - {"of"} for other in rest[: length - 1]
        )
        if word in ONTO and plainly and rest[length - 1] in BODY:
            at += 1 + length
        elif word == "with" and plainly and rest[length - 1] in TRIMMINGS:
            at += 1 + length
        elif word in ("that", "which") or (word == "made" and rest[:1] in (["of"], ["from"])):
            at = _clause(words, at + 1)
        elif word == "of" and at == until and rest:
            at = _phrase(words, at + 1)
        elif word.endswith("ed") and word not in ("red", "bearded", "seated", "dressed"):
            at = _phrase(words, at + 1)
        elif word in ("on", "off") and (not rest or not _is_word(rest[0])):
            at += 1  # "has a hat on"
        else:
            break
    return at


def _clause(words: Sequence[Token], at: int) -> int:
    most = min(len(words), at + LONGEST_PHRASE)
    while at < most and _is_word(words[at].word) and words[at].word not in JOINED:
        at += 1
    return at


def _phrase(words: Sequence[Token], at: int) -> int:
    most = min(len(words), at + LONGEST_PHRASE)
    while at < most and _is_word(words[at].word) and words[at].word not in EDGES:
        at += 1
    return at


def _denied(words: Sequence[Token], first: int, core: int, until: int) -> bool:
    """Whether the words around the target say that it is not there."""
    if any(
        words[place].word in DENYING and not _compound(words, place, core)
        for place in range(first, core)
    ):
        return True
    if _denied_unspaced(words, core, until) or _absent(words, until) or _marked_off(words, core):
        return True
    for place in range(first - 1, max(-1, first - 8), -1):
        word = words[place].word
        if _denies(words, place, core):
            return True
        if not _is_word(word) and word != "-":
            return False
        if word in NOUN_TIES or word == "and":
            near = range(max(0, place - 5), place)
            return any(_denies(words, one, core) and _reaches(words, one, place) for one in near)
    return False


def _compound(words: Sequence[Token], place: int, core: int) -> bool:
    """Whether a hyphen ties a word to another one than the target: "off-white", not "no-hat"."""
    return words[place + 1].word == "-" and place + 2 != core


def _denies(words: Sequence[Token], place: int, core: int) -> bool:
    """Whether a word denies the target that comes after it."""
    word, follows = words[place].word, words[place + 1].word
    if _compound(words, place, core):
        return False
    return word in DENIALS or word.endswith("n't") or word in DENIALS_WITH.get(follows, ())


def _absent(words: Sequence[Token], until: int) -> bool:
    """Whether what follows a target says that it is not there."""
    return bool(_ABSENT.match(" ".join(token.word for token in words[until : until + 6])))


def _marked_off(words: Sequence[Token], core: int) -> bool:
    """Whether a mark directly before a target takes it away, as in tags: "man, -hat"."""
    if core == 0 or words[core - 1].word not in DENIAL_MARKS:
        return False
    mark, before = words[core - 1], words[core - 2 : core - 1]
    free = not before or before[0].end < mark.start or before[0].word in (",", ";", "(", "[", "|")
    return mark.end == words[core].start and free


def _denied_unspaced(words: Sequence[Token], core: int, until: int) -> bool:
    """The same between words that nothing parts: "没有帽子", "帽子なし"."""
    tied = False
    if not any(_UNSPACED.match(token.word) for token in words[max(0, core - 1) : until + 1]):
        return False
    for place in range(core - 1, max(-1, core - 8), -1):
        word = words[place].word
        if word in UNSPACED_DENIALS and (tied or place == core - 1):
            return True
        if not _is_word(word) or (tied and word not in UNSPACED_TIES):
            break
        tied = tied or word in UNSPACED_TIES
    return bool(UNSPACED_ABSENT.match("".join(token.word for token in words[until : until + 8])))


def _reaches(words: Sequence[Token], denial: int, tie: int) -> bool:
    """Whether a denial is still meant at a later word: "isn't wearing", "without glasses and";
    not "no beard and".
    """
    between = [token.word for token in words[denial + 1 : tie]]
    if any(not _is_word(word) for word in between):
        return False
    if words[tie].word == "and":
        return words[denial].word == "without"
    if words[denial].word in ("nobody", "none"):
        return True
    return all(
        word in _set("currently really even actually longer any been be seen one ever to")
        for word in between
    )


def _told(token: Token, known: frozenset[str]) -> bool:
    """Whether a token says something beside known words."""
    return _is_word(token.word) and token.word not in known


def _unsure(line: str, found: Sequence[Mention]) -> bool:
    """Whether what is left without the mentions may be more, or less, than is seen: they are said
    of what might be, or belong to a verb that no rule knows.
    """
    words = tokens(line)
    for mention in _in_a_row(words, found):
        if _UNSPACED.match(words[mention.core].word):
            return True
        start, _ = _tied(words, mention, [False] * len(words))
        clause = []
        for token in reversed(words[max(0, start - 8) : start]):
            if not _is_word(token.word) and token.word not in ("-", "'"):
                break
            clause.append(token.word)
        if SUBJUNCTIVE & set(clause):
            return True
        before = clause[0] if clause else ""
        objects = mention.first == start and not _attributive(words, mention)
        known = EDGES | DETERMINERS | ADJECTIVES | _set("'")
        if before in HANGING or (objects and _is_word(before) and before not in known):
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
        if article is not None and place and dropped[place - 1] and _is_word(token.word):
            kept[article] = agree(f"{kept[article]} ", word).rstrip()
        article = len(kept) + 1 if token.word in ("a", "an") else None
        kept += [gap, word]
    return _tidied("".join(kept) + line[at:])


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
    if _UNSPACED.match(words[mention.core].word):
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
    if ties and words[ties - 1].word == "," and (not follows or not _is_word(follows)):
        ties -= 1
    return ties, last


def _attributive(words: Sequence[Token], mention: Mention) -> bool:
    """Whether the target stands before a noun and says how it is: "a laughing woman"."""
    follows = words[mention.until].word if mention.until < len(words) else ""
    return _is_word(follows) and not _ends(follows)


def _exchanged(line: str, found: Sequence[Mention], replace: str) -> str:
    """A text with other words in place of the target's."""
    left, at = "", 0
    for mention in found:
        start, end = mention.characters
        left += "".join(fitted(line[at:start], replace))
        at = end
    return left + line[at:]


def _tidied(line: str) -> str:
    line = re.sub(r"[(\[{«“‘]\s*[,;]*\s*[)\]}»”’]|[—–]\s+(?=[—–])", "", " ".join(line.split()))
    line = " ".join(_BLANK.sub(" ", line).split())
    line = re.sub(r" +([,.;:!?)\]}])", r"\1", line)
    line = re.sub(r"(?:[,;，；、] ?)+([,;.，；、。])", r"\1", line)
    return line.strip(" ,;，；、")


def reads(line: str) -> bool:
    """Whether a text that something was taken out of still looks like English: nothing dangles."""
    words = [token.word for token in tokens(line)]
    if _DANGLING.search(line):
        return False
    if not any(map(_is_word, words)):
        return False
    joins = _set(
        "with wearing in of and or on by at from under but nothing w/ w/o he she they who whose"
    ) | DETERMINERS - _set(
        "that this these those one two three four five six each both several many some any her his"
    )
    if words[-1] in joins - {"on", "in", "under"} or words[0] in _set(
        "with of and or wearing on & ,"
    ):
        return False
    allowed = {"and", "or"}
    for word, after in zip(words, [*words[1:], "."], strict=True):
        dangling = after in _set("with wearing and or of & , . ; by") or not _is_word(after)
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
