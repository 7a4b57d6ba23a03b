"""Cut one recording into clips: the rows of its shard, made with Arrow and NumPy, without a Python loop over comments.

    clips = cut(recording, comments, geometry)           # which clips exist, and what was dropped
    table = clip_table(recording, clips, frames, texts)  # their rows

Clips tile the recording from 0; a clip without a kept context or response comment is dropped and counted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .clock import ClipGeometry
from .dataset import embeddings_of
from .schema import TRANSCRIPTS, Recording, clip_id, embedding_type, shard_schema

KEPT_COLUMNS = ["position", "time_ms", "author", "text", "emotes", "kept"]


@dataclass(frozen=True, eq=False)
class Cut:
    """The clips of one recording. starts (n,) ms; comments: kept ones in order of time; edges (n, 3): row numbers in
    `comments` where the context begins, where the responses begin and where they end."""

    starts: NDArray[np.int64]
    comments: pa.Table
    edges: NDArray[np.int64]
    drops: dict[str, int]

    @property
    def num_clips(self) -> int:
        return len(self.starts)

    @property
    def num_context(self) -> int:
        return int((self.edges[:, 1] - self.edges[:, 0]).sum())

    @property
    def num_responses(self) -> int:
        return int((self.edges[:, 2] - self.edges[:, 1]).sum())


def cut(recording: Recording, comments: pa.Table, geometry: ClipGeometry) -> Cut:
    """comments: COMMENTS rows (at least KEPT_COLUMNS). drops counts clips by reason and comments outside all clips."""
    kept = comments.filter(comments["kept"]).sort_by([("time_ms", "ascending"), ("position", "ascending")])
    times = kept["time_ms"].to_numpy()
    starts = np.fromiter(geometry.starts(recording.duration_ms), dtype=np.int64)
    edges = np.stack(
        [np.searchsorted(times, starts + offset) for offset in (0, geometry.context_ms, geometry.clip_ms)], axis=1
    ).astype(np.int64)
    context, responses = np.diff(edges, axis=1).T > 0 if len(starts) else (np.zeros(0, bool), np.zeros(0, bool))
    whole = context & responses
    tail = recording.duration_ms - len(starts) * geometry.clip_ms
    covered = int(edges[-1, 2] - edges[0, 0]) if len(starts) else 0
    drops = {
        "clips: no context comment": int((~context & responses).sum()),
        "clips: no response comment": int((context & ~responses).sum()),
        "clips: no comment at all": int((~context & ~responses).sum()),
        "clips: incomplete tail": int(tail > 0),
        "comments: outside whole clips": kept.num_rows - covered,
    }
    return Cut(starts=starts[whole], comments=kept, edges=edges[whole], drops=drops)


def clip_table(
    recording: Recording,
    clips: Cut,
    geometry: ClipGeometry,
    *,
    split: str,
    channel_id: str,
    frames: pa.Table | None = None,
    texts: pa.Table | None = None,
    transcript: pa.Table | None = None,
    dim: int | None = None,
) -> pa.Table:
    """The shard rows of the clips. dim None gives the text-only variant; else `frames` (and `texts`) hold the
    embeddings; without `texts` the column context_clip is null. transcript: TRANSCRIPTS rows; a clip gets the segments
    that overlap the window of its frames, [start - frames_before_ms, end)."""
    n, starts = clips.num_clips, clips.starts
    columns: dict[str, Any] = {
        "clip_id": pa.array([clip_id(recording.recording_id, int(start)) for start in starts], pa.string()),
        **{
            name: _constant(value, n)
            for name, value in (
                ("recording_id", recording.recording_id),
                ("channel_id", channel_id),
                ("category", recording.category),
                ("language", recording.language),
                ("split", split),
            )
        },
        "start_ms": pa.array(starts, pa.int32()),
        "context_end_ms": pa.array(starts + geometry.context_ms, pa.int32()),
        "end_ms": pa.array(starts + geometry.clip_ms, pa.int32()),
        "context": _comment_lists(clips, 0),
        "responses": _comment_lists(clips, 1),
    }
    flags: list[list[str]] = [[] for _ in range(n)]
    if dim is not None:
        assert frames is not None, "a dataset with features needs frames of each recording"
        frame_ms = frames["frame_ms"].to_numpy()
        first = np.searchsorted(frame_ms, starts - geometry.frames_before_ms)
        last = np.searchsorted(frame_ms, starts + geometry.clip_ms)
        rows, offsets = _runs(first, last)
        columns["frame_ms"] = pa.ListArray.from_arrays(offsets, pa.array(frame_ms[rows], pa.int32()))
        columns["frames"] = _embedding_lists(offsets, embeddings_of(frames["embedding"].combine_chunks())[rows], dim)
        columns["context_clip"] = _context_embeddings(clips, texts, dim)
        expected = (
            starts + geometry.clip_ms - np.maximum(0, starts - geometry.frames_before_ms)
        ) // geometry.frame_step_ms
        for index in np.flatnonzero(last - first < expected):
            flags[index].append("missing-frames")
    schema = shard_schema(dim)
    columns["transcript"] = _speech(starts, transcript, geometry)
    columns["flags"] = pa.array(flags, schema.field("flags").type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _speech(starts: NDArray[np.int64], transcript: pa.Table | None, geometry: ClipGeometry) -> pa.Array:
    kind = shard_schema(None).field("transcript").type
    if transcript is None or not transcript.num_rows:
        return pa.array([[]] * len(starts), kind)
    begin, end = (transcript[name].to_numpy() for name in ("start_ms", "end_ms"))
    seen_from, seen_to = starts - geometry.frames_before_ms, starts + geometry.clip_ms
    said = [np.flatnonzero((begin < last) & (end > first)) for first, last in zip(seen_from, seen_to, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in said])])
    rows = np.concatenate(said) if said else np.zeros(0, np.int64)
    taken = transcript.take(pa.array(rows, pa.int64())).combine_chunks()
    fields = [_flat(taken[name]) for name in TRANSCRIPTS.names]
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    )


def _constant(value: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), n)


def _runs(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], pa.Array]:
    """Row numbers first[i]..last[i] of all runs one after the other, and the list offsets."""
    lengths = last - first
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
    return rows, pa.array(offsets, pa.int32())


def _comment_lists(clips: Cut, side: int) -> pa.Array:
    rows, offsets = _runs(clips.edges[:, side], clips.edges[:, side + 1])
    taken = clips.comments.take(pa.array(rows)).combine_chunks()
    names = {"offset_ms": "time_ms", "author": "author", "text": "text", "emotes": "emotes"}
    fields = [_flat(taken[source]) for source in names.values()]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(fields, list(names)))


def _flat(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def _embedding_lists(offsets: pa.Array, vectors: NDArray[np.float16], dim: int) -> pa.Array:
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float16())
    return pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(values, type=embedding_type(dim)))


def _context_embeddings(clips: Cut, texts: pa.Table | None, dim: int) -> pa.Array:
    if texts is None:
        return pa.nulls(clips.num_clips, pa.list_(embedding_type(dim)))
    rows, offsets = _runs(clips.edges[:, 0], clips.edges[:, 1])
    wanted = clips.comments["text"].take(pa.array(rows))
    index = pc.index_in(wanted, value_set=texts["text"].combine_chunks())
    assert index.null_count == 0, "each kept text has its embedding"
    vectors = embeddings_of(texts["embedding"].combine_chunks())[index.to_numpy()]
    return _embedding_lists(offsets, vectors, dim)


def content_digest(table: pa.Table) -> str:
    """SHA-256 of the rows of one recording without the pseudonyms, so that it does not depend on the key."""
    digest = hashlib.sha256()
    plain = table.drop_columns([n for n in ("channel_id", "frames", "context_clip") if n in table.column_names])
    for row in plain.to_pylist():
        for comment in (*row["context"], *row["responses"]):
            del comment["author"]
        digest.update(orjson.dumps(row, option=orjson.OPT_SORT_KEYS))
    for name in ("frames", "context_clip"):
        if name in table.column_names:
            digest.update(embeddings_of(table[name].combine_chunks().flatten()).tobytes())
    return digest.hexdigest()
