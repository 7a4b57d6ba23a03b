"""When two comments are the same: `key(text)` of PROTOCOL; equality of comments is equality of keys.

    >>> key("  LOOOOOL!!! "), key("lmao"), key("GGs"), key("Nice   shot, dude?!")
    ('lol', 'lol', 'gg', 'nice shot, dude')

A comment of punctuation alone (":)", "???") has the key "". Symbols that Unicode does not call punctuation ("<3",
emoji) stay. Everything is repeated until nothing changes, so that a key is its own key.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

KEY_VERSION = 1  # changes whenever any text gets another key
MIN_ALPHANUMERIC = 2  # letters or digits that the key of a truth has (PROTOCOL)

# Whole comments that say the same thing, after elongations were cut (PROTOCOL: lol/lmao, gg/ggs). Inside a sentence
# the words stay as they are.
ALIASES = {
    **dict.fromkeys(("lool", "loll", "lmao", "lmaoo", "lmaao", "lmfao", "lmfaoo"), "lol"),
    **dict.fromkeys(("ggs", "ggss"), "gg"),
}

_RUN = re.compile(r"(.)\1{2,}", re.DOTALL)
# What `fold` would change beyond the case, in lower-case ASCII: a run of three, white space at an edge or in a row.
_UNEVEN = "|".join([r"^ | $|  |[\t-\r\x1c-\x1f]", *(rf"\x{{{code:02x}}}{{3}}" for code in range(128))])
_ASCII_PUNCTUATION = "!\"#%&'()*,-./:;?@[\\]_{} "  # what Unicode calls punctuation below 128, and the space


def fold(text: str) -> str:
    """NFKC, casefold, runs of three or more equal characters cut to two, white space collapsed and trimmed."""
    if text.isascii():  # one pass is enough: none of its steps undoes another
        return " ".join(_RUN.sub(r"\1\1", text.lower()).split())
    while True:
        folded = unicodedata.normalize("NFKC", text).casefold()
        folded = " ".join(_RUN.sub(r"\1\1", folded).split())
        if folded == text:
            return text
        text = folded


def key(text: str) -> str:
    """The key of a comment; idempotent: key(key(text)) == key(text)."""
    while True:
        short = _strip(fold(text))
        short = ALIASES.get(short, short)
        if short == text or short.isascii():
            return short
        text = short


def keys(texts: Iterable[str]) -> list[str]:
    """The key of each text; equal texts are worked on once."""
    known: dict[str, str] = {}
    result = []
    for text in texts:
        found = known.get(text)
        if found is None:
            found = known[text] = key(text)
        result.append(found)
    return result


def fold_array(texts: pa.Array) -> pa.Array:
    """`fold` of each text; texts: string (n,) without nulls. Plain ASCII, nearly all of chat, goes at Arrow's speed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lower = pc.ascii_lower(texts)
    plain = pc.and_(pc.string_is_ascii(texts), pc.invert(pc.match_substring_regex(lower, _UNEVEN)))
    others = pc.invert(plain)
    folded = pa.array([fold(text) for text in texts.filter(others).to_pylist()], texts.type)
    return pc.replace_with_mask(lower, others, folded)


def key_array(texts: pa.Array) -> pa.Array:
    """`key` of each text; texts: string (n,) without nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stripped = pc.utf8_trim(fold_array(texts), _ASCII_PUNCTUATION)
    by_hand = pc.or_(
        pc.invert(pc.string_is_ascii(texts)), pc.is_in(stripped, value_set=pa.array(list(ALIASES), texts.type))
    )
    made = pa.array([key(text) for text in texts.filter(by_hand).to_pylist()], texts.type)
    return pc.replace_with_mask(stripped, by_hand, made)


def speakable(keys: pa.Array) -> pa.Array:
    """bool (n,): which keys could be truths, with MIN_ALPHANUMERIC letters or digits or more (`num_alphanumeric`)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    others = pc.invert(pc.string_is_ascii(keys))
    enough = pc.greater_equal(pc.count_substring_regex(keys, "[0-9A-Za-z]"), MIN_ALPHANUMERIC)
    made = [num_alphanumeric(key) >= MIN_ALPHANUMERIC for key in keys.filter(others).to_pylist()]
    return pc.replace_with_mask(enough, others, pa.array(made, pa.bool_()))


def num_alphanumeric(text: str) -> int:
    """How many letters or digits `text` has, of any script."""
    return sum(character.isalnum() for character in text)


def _strip(text: str) -> str:
    """Without punctuation (Unicode categories P*) and white space at both ends."""
    text = text.strip(_ASCII_PUNCTUATION)
    if text.isascii():
        return text
    start, end = 0, len(text)
    while start < end and _is_edge(text[start]):
        start += 1
    while end > start and _is_edge(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_edge(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")
