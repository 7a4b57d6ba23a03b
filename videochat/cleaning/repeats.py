"""Rows that say again what was said: messages delivered twice, copypasta, an author repeating himself; and bots."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .chat import Chat
from .rules import drop


@drop("before-start", "before the recording's first frame")
def before_start(chat: Chat) -> NDArray[np.bool_]:
    early: NDArray[np.bool_] = chat.time_ms < 0
    return early


@drop("duplicate", "the same message (by the platform's id) once more")
def duplicate(chat: Chat) -> NDArray[np.bool_]:
    ids = pa.array(chat.ids, pa.string()).dictionary_encode().indices
    known = ids.is_valid().to_numpy(zero_copy_only=False)
    codes = ids.fill_null(-1).to_numpy(zero_copy_only=False)
    again: NDArray[np.bool_] = known & (_times_seen(codes) > 0)
    return again


@drop("copypasta", "a long text that was posted several times already")
def copypasta(chat: Chat) -> NDArray[np.bool_]:
    keys, codes = _keys(chat)
    long = pc.greater_equal(pc.utf8_length(keys), chat.config.copypasta_min_chars).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(chat.kept & long[codes])
    result = np.zeros(len(chat), dtype=bool)
    seen = _times_seen(codes[rows]) >= chat.config.copypasta_keep
    by_author = _times_seen(_pairs(chat.author[rows], codes[rows])) >= chat.config.copypasta_keep_author
    result[rows] = seen | (by_author & (chat.author[rows] >= 0))
    return result


@drop("repeat", "the author's own words again within repeat_window_ms")
def repeat(chat: Chat) -> NDArray[np.bool_]:
    _, codes = _keys(chat)
    rows = np.flatnonzero(chat.kept & (chat.author >= 0))
    pairs = _pairs(chat.author[rows], codes[rows])
    order = np.argsort(pairs, kind="stable")
    again = pairs[order][1:] == pairs[order][:-1]
    soon = np.diff(chat.time_ms[rows][order]) < chat.config.repeat_window_ms
    result = np.zeros(len(chat), dtype=bool)
    result[rows[order[1:][again & soon]]] = True
    return result


def _keys(chat: Chat) -> tuple[pa.Array, NDArray[np.int64]]:
    """Unique keys (lower case, words only) and for each row the index of its own. A text without a word is its own
    key: "?" and "!" differ. Worked out once: no rule after the first that asks rewrites texts."""
    if "keys" in chat.notes:
        known: tuple[pa.Array, NDArray[np.int64]] = chat.notes["keys"]
        return known
    words = pc.replace_substring_regex(pc.utf8_lower(chat.texts), r"[^\p{L}\p{M}\p{N}]+", " ")
    words = pc.ascii_trim_whitespace(words)
    keys = pc.if_else(pc.equal(words, ""), chat.texts, words).dictionary_encode()
    chat.notes["keys"] = keys.dictionary, keys.indices.to_numpy(zero_copy_only=False)[chat.codes]
    return keys.dictionary, chat.notes["keys"][1]


def _pairs(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number for each pair of non-negative (or -1) integers."""
    return (first.astype(np.int64) + 1) << 32 | second.astype(np.int64)


def _times_seen(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """How often each entry's value came before it."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(codes) else np.zeros(0, dtype=bool)
    index = np.arange(len(codes))
    result = np.empty(len(codes), dtype=np.int64)
    result[order] = index - np.maximum.accumulate(np.where(begins, index, 0))
    return result
