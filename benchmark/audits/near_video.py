"""Video that stands in two splits: clips whose frames run, second by second, as those of a recording of another split.

    found = video_matches(dataset)

A clip's 30 seconds match a run of another recording if the mean cosine of their frame embeddings is at least .98, both
over the run and over ten seconds spread in it, at the same order: the aligned distance must be at most half of that to
the run's frames in any order, so two still pictures or the same empty scene are no match; a clip that hardly moves
(variance under .005) is not looked for. Search is exact for that definition, at every whole-second shift: frames are
projected on the leading principal axes, and on further ones the mean of the ten seconds alone is taken; both can only
lessen distances, so blocked products leave out no match, and what they let through is compared in full. A copy whose
seconds fall between those of the original (another start by a fraction of a second) may stay unseen where the picture
moves fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videochat.dataset import Dataset, embeddings_of

from .matches import EARLIER, Match

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MIN_COSINE = 0.98
NUM_PARTS = 10  # seconds of a clip that the search looks at
NUM_AXES, NUM_MEAN_AXES = 4, 32  # principal axes of each of them, and further ones of their mean
SAMPLE_CLIPS, SAMPLE_FRAMES = 32, 20_000  # of each file, and in all, of which the axes are made
MIN_VARIANCE = 0.005  # of a clip's frames around their mean; one that moves less looks like every still of its scene
BLOCK = 4096  # runs in one product
VERIFIED = 256  # runs compared in full at a time
COLUMNS = ("split", "recording_id", "clip_id", "start_ms", "end_ms", "frame_ms", "frames")
SLACK = 1e-3  # of squared distances in float32


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clip:
    """Where one clip lies. first: row of its first frame in the recording's projected frames."""

    clip_id: str
    recording_id: str
    split: str
    first: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recording:
    """projected float32 (S, NUM_AXES + NUM_MEAN_AXES), a row a second. steps: its seconds' numbers. runs: first rows of
    whole runs."""

    split: str
    projected: Floats
    steps: NDArray[np.int64]
    runs: NDArray[np.int64]


def video_matches(dataset: Dataset) -> list[Match]:
    """The matched clips of dev (in train) and test (in train and dev), in order of clip and recording; [] without
    frame features."""
    if "frames" not in dataset.provides:
        return []
    axes = _axes(dataset)
    recordings, clips, width, step_ms = _read(dataset, axes)
    if width < NUM_PARTS:
        return []
    found: list[Match] = []
    for split, others in EARLIER.items():
        anchors = [clip for clip in clips if clip.split == split]
        known = {name: part for name, part in recordings.items() if part.split in others}
        pairs = _candidates(anchors, recordings, known, width)
        found += _verified(dataset, pairs, recordings, width, step_ms)
    return sorted(found, key=lambda match: (match.clip_id, match.other, match.shift_ms))


def _tables(dataset: Dataset, names: set[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of the shards, COLUMNS alone; names: of these recordings alone."""
    for path in dataset.paths():
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                if names is not None:
                    ids = file.read_row_group(group, columns=["recording_id"])["recording_id"]
                    if not names.intersection(pc.unique(ids).to_pylist()):
                        continue
                table = file.read_row_group(group, columns=list(COLUMNS))
                if names is not None:
                    table = table.filter(pc.is_in(table["recording_id"], value_set=pa.array(sorted(names))))
                yield table.combine_chunks()


def _own_frames(table: pa.Table) -> Iterator[tuple[dict[str, object], NDArray[np.int64], NDArray[np.float16]]]:
    """Each clip's row with the times (ms) and embeddings of the frames of its own span [start, end)."""
    plain = table.select(["split", "recording_id", "clip_id", "start_ms", "end_ms"]).to_pylist()
    frames, times = table["frames"].combine_chunks(), table["frame_ms"].combine_chunks()
    bounds = times.offsets.to_numpy()
    flat_times, flat = times.values.to_numpy(zero_copy_only=False), embeddings_of(frames.values)
    for index, row in enumerate(plain):
        here = flat_times[bounds[index] : bounds[index + 1]].astype(np.int64)
        kept = (here >= row["start_ms"]) & (here < row["end_ms"])
        yield row, here[kept], flat[bounds[index] : bounds[index + 1]][kept]


def _axes(dataset: Dataset) -> Floats:
    """The leading principal axes of frames from the head of every file: orthonormal columns, float32
    (D, NUM_AXES + NUM_MEAN_AXES), fewer where D is less."""
    heads = []
    for path in dataset.paths():
        with pq.ParquetFile(path) as file:
            heads.append(file.read_row_group(0, columns=list(COLUMNS)).slice(0, SAMPLE_CLIPS).combine_chunks())
    frames = np.concatenate([vectors for table in heads for _, _, vectors in _own_frames(table)]).astype(np.float32)
    frames = frames[:: max(1, len(frames) // SAMPLE_FRAMES)]
    centred = frames - frames.mean(axis=0)
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, : NUM_AXES + NUM_MEAN_AXES].astype(np.float32))


def _read(dataset: Dataset, axes: Floats) -> tuple[dict[str, _Recording], list[_Clip], int, int]:
    """All recordings projected, the whole dev and test clips that move, frames in a clip, ms between frames."""
    gathered: dict[str, list[tuple[NDArray[np.int64], Floats]]] = {}
    splits: dict[str, str] = {}
    places: list[tuple[str, str, str, int]] = []
    step_ms = width = 0
    for table in _tables(dataset):
        for row, times, vectors in _own_frames(table):
            name, split, start = str(row["recording_id"]), str(row["split"]), int(str(row["start_ms"]))
            if len(times) > 1 and not step_ms:
                step_ms = int(times[1] - times[0])
                width = (int(str(row["end_ms"])) - start) // step_ms
            splits[name] = split
            wide = vectors.astype(np.float32)
            gathered.setdefault(name, []).append((times, wide @ axes))
            if (
                split in EARLIER
                and len(times) == width
                and ((wide - wide.mean(axis=0)) ** 2).sum() >= MIN_VARIANCE * width
            ):
                places.append((str(row["clip_id"]), name, split, start))
    recordings = {}
    for name, parts in gathered.items():
        times = np.concatenate([part for part, _ in parts])
        order = np.argsort(times, kind="stable")
        steps = times[order] // max(1, step_ms)
        whole = (
            np.flatnonzero(steps[width - 1 :] - steps[: len(steps) - width + 1] == width - 1) if width else steps[:0]
        )
        projected = np.concatenate([part for _, part in parts])[order]
        recordings[name] = _Recording(split=splits[name], projected=projected, steps=steps, runs=whole)
    clips = [
        _Clip(
            clip_id=clip_id,
            recording_id=name,
            split=split,
            first=int(np.searchsorted(recordings[name].steps, start // max(1, step_ms))),
        )
        for clip_id, name, split, start in places
    ]
    return recordings, clips, width, step_ms


def _parts(width: int) -> NDArray[np.int64]:
    return np.asarray(np.arange(NUM_PARTS) * (width // NUM_PARTS), dtype=np.int64)


def _candidates(
    anchors: Sequence[_Clip], recordings: dict[str, _Recording], known: dict[str, _Recording], width: int
) -> Iterator[tuple[_Clip, str, int]]:
    """(clip, other recording, first row of the run there) of all pairs whose projected seconds are near enough."""
    if not anchors or not known:
        return
    offsets = _parts(width)
    limit = NUM_PARTS * 2 * (1 - MIN_COSINE) + SLACK
    queries = np.concatenate(
        [_described(recordings[clip.recording_id].projected, np.array([clip.first]), offsets) for clip in anchors]
    )
    norms = (queries**2).sum(axis=1, keepdims=True)
    wide = np.concatenate([2 * queries, np.full_like(norms, -1), limit - norms], axis=1).T.copy()
    names = list(known)
    runs = np.concatenate([known[name].runs for name in names])
    owners = np.repeat(np.arange(len(names)), [len(known[name].runs) for name in names])
    for begin in range(0, len(runs), BLOCK):
        rows, whose = runs[begin : begin + BLOCK], owners[begin : begin + BLOCK]
        described = np.concatenate(
            [_described(known[names[owner]].projected, rows[whose == owner], offsets) for owner in np.unique(whose)]
        )
        own = (described**2).sum(axis=1, keepdims=True)
        near = np.concatenate([described, own, np.ones_like(own)], axis=1) @ wide
        for row in np.flatnonzero(near.max(axis=1) >= 0).tolist():
            for column in np.flatnonzero(near[row] >= 0).tolist():
                yield anchors[column], names[whose[row]], int(rows[row])


def _described(projected: Floats, rows: NDArray[np.int64], offsets: NDArray[np.int64]) -> Floats:
    """Runs as vectors whose squared distance is at most the summed one of their seconds: their seconds on the leading
    axes, and on the others their mean times the root of their number (Jensen). float32 (len(rows), ...)."""
    seconds = projected[rows[:, None] + offsets]
    leading = seconds[:, :, :NUM_AXES].reshape(len(rows), -1)
    return np.concatenate([leading, seconds[:, :, NUM_AXES:].mean(axis=1) * np.sqrt(np.float32(NUM_PARTS))], axis=1)


def _verified(
    dataset: Dataset,
    pairs: Iterator[tuple[_Clip, str, int]],
    recordings: dict[str, _Recording],
    width: int,
    step_ms: int,
) -> Iterator[Match]:
    """Those of the candidate pairs that match in full, of each clip and other recording the nearest."""
    grouped: dict[tuple[str, str], dict[str, tuple[_Clip, list[int]]]] = {}
    for clip, other, row in pairs:
        held = grouped.setdefault((clip.recording_id, other), {})
        held.setdefault(clip.clip_id, (clip, []))[1].append(row)
    loaded = _load(dataset, {name for pair in grouped for name in pair})
    for (name, other), found in sorted(grouped.items()):
        for clip, rows in found.values():
            own = _unit(loaded[name][clip.first : clip.first + width])
            best = _best(own, loaded[other], np.array(rows), width)
            if best is not None:
                row, cosine = best
                shift = int(recordings[other].steps[row] - recordings[name].steps[clip.first]) * step_ms
                yield Match(
                    clip_id=clip.clip_id,
                    recording_id=name,
                    other=other,
                    split=clip.split,
                    share=cosine,
                    shift_ms=shift,
                )


def _best(own: Floats, others: NDArray[np.float16], rows: NDArray[np.int64], width: int) -> tuple[int, float] | None:
    """The run (its first row, its mean cosine) of `others` that matches `own` (width, D) best, None if none does."""
    offsets = _parts(width)
    best: tuple[int, float] | None = None
    for start in range(0, len(rows), VERIFIED):
        part = rows[start : start + VERIFIED]
        runs = _unit(others[part[:, None] + np.arange(width)])
        cosines = np.einsum("sd,rsd->rs", own, runs)
        mean = cosines.mean(axis=1)
        aligned, unaligned = 2 - 2 * mean, 2 - 2 * (runs.mean(axis=1) @ own.mean(axis=0))
        near = (mean >= MIN_COSINE) & (cosines[:, offsets].mean(axis=1) >= MIN_COSINE) & (aligned <= unaligned / 2)
        for index in np.flatnonzero(near).tolist():
            if best is None or mean[index] > best[1]:
                best = int(part[index]), float(mean[index])
    return best


def _load(dataset: Dataset, names: set[str]) -> dict[str, NDArray[np.float16]]:
    """The unit frame embeddings of some recordings, float16 (S, D), rows as in their projections."""
    gathered: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float16]]]] = {}
    for table in _tables(dataset, names) if names else ():
        for row, times, vectors in _own_frames(table):
            gathered.setdefault(str(row["recording_id"]), []).append((times, vectors))
    loaded = {}
    for name, parts in gathered.items():
        order = np.argsort(np.concatenate([times for times, _ in parts]), kind="stable")
        loaded[name] = np.concatenate([vectors for _, vectors in parts])[order]
    return loaded


def _unit(vectors: NDArray[np.float16]) -> Floats:
    wide = vectors.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12))
