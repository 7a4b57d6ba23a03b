"""Characters: Unicode normalised, invisible ones out, white space collapsed, long runs cut.

All unique texts are handled as one long string with JOINER between them, so that each step is one pass in C.

NFKC is applied but for a few characters that it would spoil in chat: spacing accents and macrons ("¯\\_(ツ)_/¯"
would get a space and a combining mark) and Korean letters that stand alone ("ㅋㅋㅋ" would become other letters).
Joiners inside emoji and inside Arabic and Indic words stay, filler that evades duplicate checks (U+E0000, U+200B,
U+034F, ...) goes. Source of the properties: the Unicode Character Database of the Python in use.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from .chat import SLOT, Chat
from .rules import rewrite

JOINER = "\0"
LINE_BREAK_PLATFORMS = ("acfun", "bilibili")  # their players break the line at "/n"
_DIGITS = "0123456789٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹"
_QUOTES = {0xB4: "'", 0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}  # what phones type for ' and "
_INVISIBLE = (0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x200B, 0x200E, 0x200F)
_LONE_JAMO = range(0x3131, 0x318F)
_TAGS = range(0xE0020, 0xE0080)  # spell the flags of England, Scotland and Wales after U+1F3F4
_SELECTORS = range(0xFE00, 0xFE10)
_WEAK = "\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f"  # kept only where they join or change a neighbour
# A joiner stays between two characters beyond Latin, Greek and Cyrillic, neither of them a space or another joiner.
_JOINERS = re.compile(
    r"(?<![^\x00-\u05ff\s\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\u05ff\s\u200c\u200d])"
)
_LONE_SELECTORS = re.compile(rf"(?<![^\s\x00{SLOT}{_WEAK}])[\ufe00-\ufe0f]|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]")
_LONE_TAGS = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+")
_SPACES = re.compile(" {2,}")
_EDGES = re.compile(" ?\0 ?")


class _Table(dict[int, str | None]):
    """A translation table that works out each character when it first comes up."""

    def __missing__(self, code: int) -> str | None:
        self[code] = replaced = _replace(code)
        return replaced


def _replace(code: int) -> str | None:
    char = chr(code)
    if char in (JOINER, SLOT) or code in _TAGS or code in _SELECTORS or code in (0x200C, 0x200D):
        return char
    if code in _QUOTES:
        return _QUOTES[code]
    category = unicodedata.category(char)
    if char.isspace() or code in (0x2800, 0x3164, 0xFFA0):  # the last three only look like spaces
        return " "
    if code in _INVISIBLE or category in ("Cc", "Cf", "Cs", "Co") or 0xE0000 <= code < 0xE1000:
        return None
    if code in _LONE_JAMO:
        return char
    replaced = unicodedata.normalize("NFKC", char)
    return char if replaced.startswith(" ") else replaced  # a spacing accent


_TABLE = _Table()


def normalize(texts: list[str]) -> list[str]:
    """Each text normalised as the module says. Idempotent. Texts must not hold JOINER."""
    plain = [index for index, text in enumerate(texts) if text.isascii()]
    if len(plain) == len(texts):
        return _normalize_ascii(texts)
    result = list(texts)
    for index, text in zip(plain, _normalize_ascii([texts[index] for index in plain]), strict=True):
        result[index] = text
    others = [index for index, text in enumerate(texts) if not text.isascii()]
    joined = JOINER.join(texts[index] for index in others)
    while (changed := _pass(joined)) != joined:  # one pass is nearly always enough: the second finds nothing to do
        joined = changed
    for index, text in zip(others, joined.split(JOINER), strict=True):
        result[index] = text
    return result


def _normalize_ascii(texts: list[str]) -> list[str]:
    return _collapse(JOINER.join(texts)).split(JOINER) if texts else []


def _pass(joined: str) -> str:
    joined = unicodedata.normalize("NFC", joined.translate(_TABLE))
    for pattern in (_JOINERS, _LONE_SELECTORS, _LONE_TAGS):
        joined = pattern.sub("", joined)
    return _collapse(joined)


def _collapse(joined: str) -> str:
    return _EDGES.sub(JOINER, _SPACES.sub(" ", joined)).strip(" ")


def shorten(texts: list[str], keep: int) -> list[str]:
    """Runs of >= 3 equal characters cut to `keep` >= 2, as PROTOCOL's key does (to 2); but digits stay ("1000"), and
    full stops keep three ("..."). Idempotent."""
    points = np.frombuffer(JOINER.join(texts).encode("utf-32-le"), dtype=np.uint32)
    same = points[1:] == points[:-1]
    late = np.flatnonzero(same[1:] & same[:-1]) + 2  # the third and later characters of all runs
    if not len(late):
        return texts
    index = np.arange(len(late))
    begins = np.concatenate([[True], np.diff(late) != 1])
    place = 2 + index - np.maximum.accumulate(np.where(begins, index, 0))  # 0-based place within its run
    limits = np.full(len(late), keep)
    limits[points[late] == ord(".")] = max(keep, 3)
    limits[np.isin(points[late], [ord(char) for char in _DIGITS + JOINER])] = len(points)
    return np.delete(points, late[place >= limits]).tobytes().decode("utf-32-le").split(JOINER)


@rewrite("unicode", "NFKC, invisible characters removed, white space collapsed")
def unicode(chat: Chat) -> NDArray[np.bool_]:
    texts = chat.texts.to_pylist()
    if chat.recording.platform in LINE_BREAK_PLATFORMS:
        texts = [text.replace("/n", " ") for text in texts]
    return chat.rewrite(normalize(texts))


@rewrite("elongation", "runs of 3 or more equal characters cut (looool -> lool); digits stay")
def elongation(chat: Chat) -> NDArray[np.bool_]:
    return chat.rewrite(shorten(chat.texts.to_pylist(), chat.config.elongation_keep))
