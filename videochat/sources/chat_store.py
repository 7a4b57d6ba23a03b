"""Write the messages of a reader as chat.jsonl.gz: ordered by (offset, arrival), each id once, in small memory.

Messages are spooled as lines in order of arrival; of each, only the offset, the length and a hash of the id stay in
memory (20 bytes). Then duplicates are found (equal hashes are compared by the ids themselves), the order is made, and
the lines are copied in that order into the gzip file. The digest is of the uncompressed lines.
"""

from __future__ import annotations

import gc
import gzip
import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import orjson

from ..files import atomic_path
from ..schema import RawMessage
from .formats import Notes

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_OFFSET_MS = 2**31 - 1 - 86_400_000  # times are int32 on the recording's clock; a day is left for offset_ms
GZIP_LEVEL = 1  # level 6 takes three times the time for a fifth less
COPY_BYTES = 1 << 20
ROWS_AT_A_TIME = 16_384  # whose bounds are Python integers at a time
NO_ID = -1  # hash() is never -1


@dataclass(frozen=True, kw_only=True)
class StoredChat:
    """num_messages: rows written; digest: SHA-256 of the uncompressed lines, hex; offsets_ms int64 (N,), ascending."""

    num_messages: int
    digest: str
    offsets_ms: NDArray[np.int64]


def store_chat(batches: Iterable[list[RawMessage]], final: Path, notes: Notes) -> StoredChat:
    """Write `final` (gzip, no time stamp); adds to notes.oddities the counts of what is done or seen here.

    duplicate-id: taken out, the first arrival stays (duplicate-id-differs: of these, with another content);
    out-of-order: rows that arrived after a later one; negative-offset, null-commenter, empty-message: kept;
    impossible-offset: taken out.
    """
    lengths, offsets, hashes = array("q"), array("q"), array("q")
    final.parent.mkdir(parents=True, exist_ok=True)
    spool_path = final.with_name(f".{final.name}.spool")
    try:
        with spool_path.open("w+b", buffering=COPY_BYTES) as spool, _without_collector():
            for batch in batches:
                _spool(batch, spool, lengths, offsets, hashes, notes)
            spool.flush()
            return _write(spool, final, np.asarray(lengths), np.asarray(offsets), np.asarray(hashes), notes)
    finally:
        spool_path.unlink(missing_ok=True)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Parsed JSON has no cycles: looking for them in every batch costs a fifth of the time and finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _spool(
    batch: list[RawMessage],
    spool: BinaryIO,
    lengths: array[int],
    offsets: array[int],
    hashes: array[int],
    notes: Notes,
) -> None:
    times = [message["offset_ms"] for message in batch]
    if times and (max(times) > MAX_OFFSET_MS or min(times) < -MAX_OFFSET_MS):
        possible = [message for message in batch if abs(message["offset_ms"]) <= MAX_OFFSET_MS]
        notes.oddities["impossible-offset"] += len(batch) - len(possible)
        batch, times = possible, [message["offset_ms"] for message in possible]
    notes.oddities["null-commenter"] += sum([m["author"] is None and m["author_id"] is None for m in batch])
    notes.oddities["empty-message"] += sum([not m["fragments"] for m in batch])
    lines = [orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE) for message in batch]
    spool.write(b"".join(lines))
    lengths.extend(map(len, lines))
    offsets.extend(times)
    hashes.extend([NO_ID if (name := message["id"]) is None else hash(name) for message in batch])


def _write(
    spool: BinaryIO,
    final: Path,
    lengths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    hashes: NDArray[np.int64],
    notes: Notes,
) -> StoredChat:
    ends = np.cumsum(lengths)
    begins = ends - lengths
    keep = np.ones(len(lengths), dtype=bool)
    keep[_duplicates(spool, begins, ends, hashes, notes)] = False
    rows = np.flatnonzero(keep)
    late = int(np.count_nonzero(offsets[rows] < np.maximum.accumulate(offsets[rows])))
    counts = {
        "duplicate-id": len(lengths) - len(rows),
        "out-of-order": late,
        "negative-offset": int(np.count_nonzero(offsets[rows] < 0)),
    }
    notes.oddities.update(counts)
    rows = rows[np.argsort(offsets[rows], kind="stable")]
    digest = hashlib.sha256()
    with (
        atomic_path(final) as temporary,
        temporary.open("wb") as handle,
        gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=handle, mtime=0) as packed,
    ):
        for block in _in_order(spool, begins, ends, rows):
            digest.update(block)
            packed.write(block)
    return StoredChat(num_messages=len(rows), digest=digest.hexdigest(), offsets_ms=offsets[rows])


def _in_order(
    spool: BinaryIO, begins: NDArray[np.int64], ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[bytes]:
    """The lines `rows` one after another, in blocks of about COPY_BYTES; neighbours are read at once."""
    block: list[bytes] = []
    size = 0
    for begin, end in _stretches(begins, ends, rows):
        while begin < end:
            piece = os.pread(spool.fileno(), min(end - begin, COPY_BYTES), begin)
            begin += len(piece)
            block.append(piece)
            size += len(piece)
            if size >= COPY_BYTES:
                yield b"".join(block)
                block, size = [], 0
    yield b"".join(block)


def _stretches(
    begins: NDArray[np.int64], ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """The bytes of `rows`, lines that touch each other as one; some rows at a time, since bounds take memory, too."""
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        part = rows[start : start + ROWS_AT_A_TIME]
        first, last = begins[part], ends[part]
        breaks = np.flatnonzero(first[1:] != last[:-1]) + 1
        firsts = np.concatenate(([0], breaks))
        lasts = np.concatenate((breaks, [len(part)])) - 1
        yield from zip(first[firsts].tolist(), last[lasts].tolist(), strict=True)


def _duplicates(
    spool: BinaryIO, begins: NDArray[np.int64], ends: NDArray[np.int64], hashes: NDArray[np.int64], notes: Notes
) -> list[int]:
    """Rows whose id an earlier row has, in any order."""

    def line(row: int) -> bytes:
        return os.pread(spool.fileno(), int(ends[row] - begins[row]), int(begins[row]))

    order = np.argsort(hashes, kind="stable")
    values = hashes[order]
    same = np.flatnonzero((values[1:] == values[:-1]) & (values[1:] != NO_ID)) + 1
    found: list[int] = []
    first_rows: dict[str, int] = {}
    current: int | None = None
    for place in same.tolist():
        if values[place] != current:
            current = int(values[place])
            row = int(order[place - 1])
            first_rows = {orjson.loads(line(row))["id"]: row}
        row = int(order[place])
        text = line(row)
        first = first_rows.setdefault(orjson.loads(text)["id"], row)
        if first != row:
            found.append(row)
            notes.oddities["duplicate-id-differs"] += text != line(first)
    return found
