"""Text files of unknown encoding: UTF-8, UTF-16 and UTF-32, else the code page that makes words
of them, else a refusal.

    text, page = decoded(data)      # page: "" for Unicode, else the code page that was guessed

Captions are short and half English, where general detectors of encodings guess wrongly more
often than not. Only the code pages that text editors still write are tried, and each is judged
by the letters that it makes: those of one script inside a word, and common ones among the
thousands of East Asian characters. What no page makes words of is refused.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from .errors import BadInput

PAGES = (
    "cp1252",
    "cp1254",
    "cp1250",
    "cp1253",
    "cp1251",
    "koi8_u",
    "cp949",
    "gb18030",
    "big5",
    "cp932",
    "euc_jp",
)
"""In the order in which equally good guesses are taken."""
COMMON = {
    "gb18030": ("gb2312", 0xB0, 0xD7),
    "big5": ("big5", 0xA4, 0xC6),
    "cp932": ("cp932", 0x88, 0x97),
    "euc_jp": ("euc_jp", 0xB0, 0xCF),
    "cp949": ("euc_kr", 0xB0, 0xC8),
}
"""Where a standard keeps the characters in daily use: encoding, first and last lead byte."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PLAUSIBLE = 0.3
"""Score of a page from which on it is believed."""
LARGEST_TEXT = 64 << 20
"""Bytes of a text file that are read at all."""
KANA = ("HIRAGANA", "KATAKANA")
IDEOGRAPH, HANGUL, PUNCTUATION = "CJK UNIFIED", "HANGUL SYLLABLE", "punctuation"
SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", HANGUL, *KANA, IDEOGRAPH)
_LONE = re.compile(r"[A-Za-z][^\x00-\x7f](?=[A-Za-z])")
"""One East Asian letter within a Latin word: an accent that was read by the wrong page."""
QUOTES = "“”‘’‚„–—…«»°·´€£§©®¿¡ "


def read_text(path: str | Path, page: str | None = None) -> tuple[str, str]:
    """The text of a file and its code page, see `decoded`. Raises BadInput, with the file's
    name.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise BadInput(f"{path.name} is a text of more than {LARGEST_TEXT >> 20} MiB.")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}.") from error
    try:
        return decoded(data, page)
    except BadInput as error:
        raise BadInput(f"{path.name} {error}") from error


def decoded(data: bytes, page: str | None = None) -> tuple[str, str]:
    """(text, "" for Unicode or the code page). page: tried before the others. Raises BadInput,
    never returns U+FFFD.
    """
    text, used = unicode_text(data), ""
    if text is None:
        used = page if page and _score(data, page) is not None else code_page(data)
        if not used:
            raise BadInput("has letters of an unknown encoding; save it as UTF-8.")
        text = data.decode(used)
    if "\ufffd" in text:
        raise BadInput("has lost letters (U+FFFD in it); save it as UTF-8 from its source.")
    if "\0" in text:
        raise BadInput("is no text: it holds zero bytes.")
    return text, used


def unicode_text(data: bytes) -> str | None:
    """The text of bytes that are UTF-8, or UTF-16 or UTF-32 by their mark or their zeros; None
    for any other.
    """
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], encoding)
    zeros = [data[start::2].count(0) / max(1, len(data) // 2) for start in (0, 1)]
    if len(data) % 2 == 0 and max(zeros) > 0.3 > 0.1 > min(zeros):
        return _strict(data, "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be")
    return _strict(data, "utf-8")


def code_page(data: bytes) -> str:
    """The page that reads the bytes best; "" where none makes words of them."""
    scores = {page: _score(data, page) for page in PAGES}
    best = max((page for page in PAGES if scores[page] is not None), key=scores.get, default="")
    return best if best and scores[best] >= PLAUSIBLE else ""


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _score(data: bytes, page: str) -> float | None:
    """How well a page reads the bytes beyond ASCII: 1 at best; None where it cannot, or makes
    control characters or frames of tables.
    """
    text = _strict(data, page)
    if text is None or any(_unprintable(letter) for letter in set(text)):
        return None
    words = re.findall(r"[^\W\d_]+", text)
    against = sum(map(_strange, words)) if page not in COMMON else 2 * len(_LONE.findall(text))
    count = sum(letter > "\x7f" for letter in text)
    total = sum(_weight(letter, page) for letter in text if letter > "\x7f")
    return (total - against) / count if count else 0.0


def _unprintable(letter: str) -> bool:
    framed = "\u2500" <= letter <= "\u259f"
    control = unicodedata.category(letter) in ("Cc", "Co", "Cn", "Cs")
    return framed or (control and letter not in "\t\r\n\f")


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "")
    found = next((script for script in SCRIPTS if name.startswith(script)), "")
    return found or (PUNCTUATION if unicodedata.category(letter)[0] in "PSZ" else "")


def _weight(letter: str, page: str) -> float:
    script = _script(letter)
    if page not in COMMON:
        if script == PUNCTUATION:
            return 0.5 if letter in QUOTES else -0.5
        rare = page == "cp1252" and letter in "þðÞÐý"  # far more often Turkish than Icelandic
        return 0.2 if rare else 0.6 if script in SCRIPTS[:3] else -1.0
    if script == PUNCTUATION:
        return 0.5
    if script in KANA:
        half_width = 0xFF61 <= ord(letter) <= 0xFF9F
        return 1.0 if page in ("cp932", "euc_jp") and not half_width else -1.0
    if script != (HANGUL if page == "cp949" else IDEOGRAPH):
        return -1.0
    encoding, first, last = COMMON[page]
    try:
        lead = letter.encode(encoding)[0]
    except UnicodeEncodeError:
        return -1.0
    return 1.0 if first <= lead <= last else 0.3


def _strange(word: str) -> float:
    """What speaks against a word: two scripts, capitals inside or throughout, a final sigma that
    is not at its end, or Latin of accents alone.
    """
    odd = sum(letter > "\x7f" for letter in word)
    if not odd:
        return 0.0
    scripts = {_script(letter) for letter in word}
    mixed = len(word) * (len(scripts) > 1)
    inside = sum(map(str.isupper, word[1:]))
    capitals = inside if not word.isupper() else 0.2 * odd * (inside > 0)
    final = len(word) * ("ς" in word[:-1])
    return mixed + capitals + final + odd * (scripts == {"LATIN"} and odd > 0.7 * len(word) > 1)
