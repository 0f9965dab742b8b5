"""Words as people see them: one way to clean a text, one to compare two.

cleaned("a\u00a0man\u200b")       # "a man": what is kept of a text that somebody typed
normal("The “Hat”.")              # "hat": what two texts have to share to be the same
"""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = "\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\ufeff"
"""Marks that show nothing wherever they stand: soft hyphen, zero width space, word joiner, byte
order mark.
"""
JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Marks that shape their neighbours, as in Persian words and in emoji; kept in a text, ignored
when comparing.
"""
LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼ＇´`", "'"),
        **dict.fromkeys("“”„‟«»＂", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    }
)
"""Quotes and hyphens that are told apart by typesetters only; each becomes one character, so
that places stay.
"""
NARROW = {0xFF01 + place: 0x21 + place for place in range(94)}
"""Letters and marks as wide as Chinese ones -> the usual ones."""
ARTICLES = ("a", "an", "the")
_HIDDEN = str.maketrans(dict.fromkeys(INVISIBLE))
_JOINING = str.maketrans(dict.fromkeys(JOINERS))
_ENDS = " \t.,;:!?。，；：！？、…"
_TRAILING = " \t.,;:!?\"'()[]{}。，；：！？、…"
_SIGN = re.compile(
    "[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\u3030\u303d\U0001f000-\U0001faff\U000e0020-\U000e007f]"
    "[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*"
)
"""An emoji or another little picture, with what shapes it."""
_ARTICLE = re.compile(rf"(?:{'|'.join(ARTICLES)})\s+(?=\S)")


def cleaned(text: str) -> str:
    """The text in NFC on one line, without invisible marks; every visible character stays as it
    is.
    """
    return " ".join(unicodedata.normalize("NFC", text.translate(_HIDDEN)).split())


def without_joiners(text: str) -> str:
    """The text without the marks that only shape their neighbours."""
    return text.translate(_JOINING)


def legible(text: str) -> str:
    """The text with an escape for what no file can hold, such as a letter of a name that the
    system cannot read.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def signs(text: str) -> list[str]:
    """The emoji and other little pictures of a text, those that are joined in one."""
    return [match[0] for match in re.finditer(rf"(?:{_SIGN.pattern})+", text)]


def plain(text: str) -> str:
    """The same length of text with plain quotes and hyphens, for finding places in it."""
    return text.translate(LOOKALIKES)


def narrow(text: str) -> str:
    """The same length of text with usual letters in place of those as wide as Chinese ones."""
    return text.translate(NARROW)


def worded(text: str) -> bool:
    """Whether a text says anything: it has a letter, a digit or a little picture."""
    return any(map(str.isalnum, text)) or bool(signs(text))


def parted(text: str, by: str) -> list[str]:
    """The parts of a list that travels as a text, those with something in them."""
    return [part for one in text.split(by.strip()) if (part := one.strip())]


def normal(text: str) -> str:
    """What is compared: cleaned, plain quotes and hyphens, small letters, no joiners, end marks,
    leading article, or little pictures beside the words.
    """
    line = narrow(plain(cleaned(text)))
    line = " ".join(_SIGN.sub(" ", line).split()) or line
    line = without_joiners(line).casefold().strip(_TRAILING)
    return _ARTICLE.sub("", line, count=1) if _ARTICLE.match(line) else line


def trimmed(text: str) -> str:
    """The text without end marks, and without the quotes around the whole of it."""
    line = text.strip(_ENDS)
    while len(line) > 1 and plain(line)[0] in "\"'" and plain(line)[0] == plain(line)[-1]:
        line = line[1:-1].strip(_ENDS)
    return line


def same_name(path: str) -> str:
    """A file name or relative path for comparing: systems differ in how they compose accents and
    in case.
    """
    return unicodedata.normalize("NFC", path.replace("\\", "/")).casefold()
