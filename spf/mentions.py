"""Where a text names a thing, as people say it, and whether it says that the thing is not there.

    mentions("a man with a red hat", "a hat")[0].denied        # False
    mentions("a hatless man", "a hat")[0].denied               # True

Plain rules over the words of the text, no parser, and linear in its length: the noun with its
article, number and adjectives, and what belongs to it ("on her head").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .words import cleaned, narrow, normal, plain


def word_set(words: str) -> frozenset[str]:
    """Words in small letters, out of a line."""
    return frozenset(words.casefold().split())


ARTICLES = word_set(
    "un une uno una ein eine einen einem einer um uma een ett il lo la le el los las der das dem "
    "det"
)
"""Of other languages."""
DETERMINERS = ARTICLES | word_set(
    "a an the his her hers their its my our your this that these those some any another each both "
    "one two three four five six several many no zero either"
)
TIES = word_set(
    "with wearing wears wear wore worn in has have had having holding holds sporting featuring "
    "under beneath is are was were who whose dressed while plus including shows showing of has on "
    "w/ avec portant mit trägt con com met med lleva с в"
)
"""Words before a target that go with it, where they stand directly before it."""
NOUN_TIES = word_set("with wearing wears wear in has have having holding holds sporting plus of w/")
"""Those of them that can stay when another noun takes the target's place."""
JOINED = ("and", "&", "or", "nor", "/", "|")
EDGES = TIES | word_set(
    "and & or nor / | by at near before behind beside against over above from to for as but "
    "looking smiling laughing standing sitting posing walking next front outside inside"
)
"""Words that end a noun and its adjectives, on either side."""
PERSONS = word_set(
    "man woman person people girl boy lady gentleman guy child kid baby portrait photo picture "
    "photograph image drawing painting face men women girls boys someone adult teenager"
)
ADJECTIVES = word_set(
    "black white red green blue yellow brown gray grey orange purple pink golden gold silver beige "
    "big large small little tiny tall wide old new long short round straw felt wool leather dark "
    "light bright colorful colourful striped pretty beautiful fancy simple plain elegant"
)
DENIALS = word_set(
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
    "of": word_set("free devoid bare absence deprived stripped rid lieu"),
    "but": word_set("anything everything"),
}
"""The same where this word follows: "free of"."""
DENIAL_MARKS = word_set("! ¬ -")
DENYING = word_set("no non zero 0 without invisible imaginary kein keine keinen keiner")
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
UNSPACED_DENIALS = "没沒不無无未非脱脫摘"
UNSPACED_TIES = "戴带帶穿著着有下掉去"
UNSPACED_ABSENT = re.compile(
    r"[がはもの]?(?:なし|無し|ない)|[をはが]\w{0,6}(?:ない|なく|ません|脱|外)|"
    r"[가는은이도]?없|[를을]?(?:안|못|벗|[가-힣]{1,3}지않)"
)
"""In scripts whose words nothing parts: what denies, and what ties a thing to a person."""
BODY = word_set(
    "head heads face eyes eye nose neck hair forehead brow ears ear shoulders cheeks chest lap "
    "hand hands chin top wrist"
)
ONTO = word_set("on over above atop upon across around round onto in")
TRIMMINGS = word_set(
    "feather feathers ribbon ribbons brim brims band bow flower flowers veil logo strap straps "
    "lens lenses frame frames rim rims visor tassel pattern stripes dots"
)
CLAD = ("wearing", "clad", "bearing")
VERBAL = ("is", "are", "was", "he", "she", "they", "it", "who")
VERBS = word_set(
    "smiles laughs looks stands sits walks poses holds wears has stares gazes talks reads"
)
MARKS = {**dict.fromkeys("\"'*`~"), "(": ")", "[": "]", "{": "}"}
"""What stands around words -> what closes it, where that is another mark."""
ALWAYS_PLURAL = word_set("glasses braces shades")
"""Words that mean something else without their ending."""
PAIRS = word_set("pair pairs set kind piece bit sort type style")
LONGEST_PHRASE = 12
"""Words that a noun and what belongs to it may have."""
_TOKEN = re.compile(
    r"\bw/(?:o(?:ut)?\b)?|[\u2e80-\u9fff\uac00-\ud7af]|"
    r"[^\W_\u2e80-\u9fff\uac00-\ud7af](?:[\u0300-\u036f]|[^\W_\u2e80-\u9fff\uac00-\ud7af])*"
    r"(?:'[a-z]+)?|[^\s_]",
    re.IGNORECASE,
)
UNSPACED = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]")
"""Scripts whose words nothing parts, so that what is left of a sentence cannot be judged."""
_CASE = re.compile(r"(?<=..)(?:[аяоеёыиую]?[мйхв]и?|[аеёиоуыэюяйь])$")
"""Endings of Russian nouns."""


class Token(NamedTuple):
    """A word or a mark: its characters [start, end), and in small letters without its plural."""

    start: int
    end: int
    word: str
    stem: str


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


def _wanted(target: str) -> tuple[list[str], bool]:
    """The words of a target without its article, and whether it came with one."""
    found = tokens(normal(target))
    led = len(found) > 1 and found[0].word in ARTICLES
    words = [token for token in found if token.word != "-"]
    counted = led or normal(target) != cleaned(target).casefold()
    return [token.stem for token in words[led:]], counted


def names(line: str, target: str) -> bool:
    """Whether the noun of the target stands in a text, whatever it means there."""
    wanted, _ = _wanted(target)
    return bool(wanted) and any(token.stem == wanted[-1] for token in tokens(line))


def mentions(line: str, target: str) -> list[Mention]:
    """Where a text names the target, in order and without overlap."""
    words, (wanted, counted) = tokens(line), _wanted(target)
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
        attached = last == until and is_word(follows) and not ends(follows)
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


def is_word(word: str) -> bool:
    return bool(word) and word[0].isalnum()


def ends(word: str) -> bool:
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
        if not is_word(word) or word in EDGES | PERSONS or _denies(words, at - 1, core):
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
    subject = owner is not None or first == 0 or not is_word(words[first - 1].word)
    subject = subject or words[first - 1].word == "whose"
    verbs = VERBS | word_set("is are was were : =")
    if tied or not subject or last >= len(words) or words[last].word not in verbs:
        return first, last
    end = last + 1
    ends = VERBS.union(JOINED)
    while end < len(words) and is_word(words[end].word) and words[end].word not in ends:
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
            not is_word(other) or other in EDGES - {"of"} for other in rest[: length - 1]
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
        elif word in ("on", "off") and (not rest or not is_word(rest[0])):
            at += 1  # "has a hat on"
        else:
            break
    return at


def _clause(words: Sequence[Token], at: int) -> int:
    most = min(len(words), at + LONGEST_PHRASE)
    while at < most and is_word(words[at].word) and words[at].word not in JOINED:
        at += 1
    return at


def _phrase(words: Sequence[Token], at: int) -> int:
    most = min(len(words), at + LONGEST_PHRASE)
    while at < most and is_word(words[at].word) and words[at].word not in EDGES:
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
        if not is_word(word) and word != "-":
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
    if not any(UNSPACED.match(token.word) for token in words[max(0, core - 1) : until + 1]):
        return False
    for place in range(core - 1, max(-1, core - 8), -1):
        word = words[place].word
        if word in UNSPACED_DENIALS and (tied or place == core - 1):
            return True
        if not is_word(word) or (tied and word not in UNSPACED_TIES):
            break
        tied = tied or word in UNSPACED_TIES
    return bool(UNSPACED_ABSENT.match("".join(token.word for token in words[until : until + 8])))


def _reaches(words: Sequence[Token], denial: int, tie: int) -> bool:
    """Whether a denial is still meant at a later word: "isn't wearing", "without glasses and";
    not "no beard and".
    """
    between = [token.word for token in words[denial + 1 : tie]]
    if any(not is_word(word) for word in between):
        return False
    if words[tie].word == "and":
        return words[denial].word == "without"
    if words[denial].word in ("nobody", "none"):
        return True
    return all(
        word in word_set("currently really even actually longer any been be seen one ever to")
        for word in between
    )
