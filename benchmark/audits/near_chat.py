"""Chat that stands in two splits: clips whose runs of comments occur in a recording of another split.

    found = chat_matches(table)        # columns split, recording_id, clip_id, start_ms, context, responses

A shingle is a run of three comments of one clip (`videochat.splits`), letter case and outer spaces aside; shingles of
under twelve characters, of one comment repeated, or of more than 50 recordings say nothing and match nothing. A clip
is matched if half of its shingles, and at least ten, occur in one recording of another split; clips of fewer comments
are too short to tell a copy from two people of few words. Exact: every shingle is hashed (64 bits) and looked up;
nothing is sampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.splits import DUPLICATE_SHARE, SHINGLE_COMMENTS

from .matches import EARLIER, Match

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

COLUMNS = ("split", "recording_id", "clip_id", "start_ms", "context", "responses")
MIN_CHARACTERS = 4 * SHINGLE_COMMENTS  # as in videochat.splits
MIN_CLIP_SHINGLES = 10
MAX_RECORDINGS = 50  # a run of comments in more recordings is a saying, not a copy
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth, TAOCP 3, 6.4)


def chat_matches(table: pa.Table) -> list[Match]:
    """The matched clips of dev (in train) and test (in train and dev), in order of clip and recording."""
    shingles, clips = _shingles(table)
    splits = np.asarray(table["split"].to_pylist(), dtype=np.str_)
    names, recordings = np.unique(np.asarray(table["recording_id"].to_pylist(), dtype=np.str_), return_inverse=True)
    ids = table["clip_id"].to_pylist()
    rows = np.unique(np.stack([shingles, clips.astype(np.uint64)], axis=1), axis=0) if len(shingles) else None
    if rows is None:
        return []
    shingles, clips = rows[:, 0], rows[:, 1].astype(np.int64)
    totals = np.bincount(clips, minlength=len(ids))
    found: list[Match] = []
    for split, others in EARLIER.items():
        here, there = splits[clips] == split, np.isin(splits[clips], others)
        known = np.unique(np.stack([shingles[there], recordings[clips[there]].astype(np.uint64)], axis=1), axis=0)
        left = np.searchsorted(known[:, 0], shingles[here], side="left")
        num = np.searchsorted(known[:, 0], shingles[here], side="right") - left
        num[num > MAX_RECORDINGS] = 0
        owners = np.repeat(clips[here], num)
        places = np.repeat(left, num) + np.arange(num.sum()) - np.repeat(np.cumsum(num) - num, num)
        pairs, counts = np.unique(owners * len(names) + known[places, 1].astype(np.int64), return_counts=True)
        clip_of, recording_of = pairs // len(names), pairs % len(names)
        enough = (counts >= MIN_CLIP_SHINGLES) & (counts >= DUPLICATE_SHARE * totals[clip_of])
        for clip, other, count in zip(clip_of[enough], recording_of[enough], counts[enough], strict=True):
            share = float(count / totals[clip])
            own = str(names[recordings[clip]])
            found.append(Match(clip_id=ids[clip], recording_id=own, other=str(names[other]), split=split, share=share))
    return sorted(found, key=lambda match: (match.clip_id, match.other))


def _shingles(table: pa.Table) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The telling shingles of all clips, and the row of each."""
    import pyarrow as pa

    parts = [_texts(table[name]) for name in ("context", "responses")]
    values = pa.concat_arrays([texts for _, texts in parts])
    clips = np.concatenate([np.repeat(np.arange(table.num_rows), counts) for counts, _ in parts])
    order = np.argsort(clips, kind="stable")  # a clip's context, then its responses
    clips = clips[order]
    encoded = values.dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)[order]
    lengths = np.array([len(text) for text in encoded.dictionary.to_pylist()], dtype=np.int64)[numbers]
    width = max(0, len(numbers) - SHINGLE_COMMENTS + 1)
    hashed, total = np.zeros(width, np.uint64), np.zeros(width, np.int64)
    varied = np.zeros(width, np.bool_)
    for offset in range(SHINGLE_COMMENTS):
        part = numbers[offset : offset + width]
        hashed = (hashed ^ (part.astype(np.uint64) + np.uint64(1))) * _MIX
        hashed ^= hashed >> np.uint64(29)
        total += lengths[offset : offset + width]
        varied |= part != numbers[:width]
    last = SHINGLE_COMMENTS - 1
    kept = (clips[:width] == clips[last : last + width]) & (total >= MIN_CHARACTERS) & varied
    return hashed[kept], clips[:width][kept]


def _texts(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], Any]:
    """How many comments each row has, and the folded texts of all, one after another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    values = column.combine_chunks()
    flat = values.flatten() if not isinstance(values, pa.ChunkedArray) else values.combine_chunks().flatten()
    texts = pc.utf8_trim_whitespace(pc.utf8_lower(pc.fill_null(flat.field("text"), "")))
    return counts, texts.cast(pa.large_string())
