"""Scores as they are kept: one block for each model, condition and split, as flat arrays beside a Layout.

scores.parquet has one row a clip: model, condition, split, set, clip_id, candidates, score, log_likelihood,
num_tokens, null_log_likelihood. `set` is null where the union of all sets was scored at once; scorers that look at
the other candidates (panel, golden) have a row for each set. Metrics are computed from this file alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.commenter import ClipScores
from videochat.errors import MissingInput
from videochat.files import read_parquet, write_parquet

from ..metrics.ranks import BadScores
from .tasks import Layout, Task

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

REAL, VIDEO_SWAPPED, CHAT_SWAPPED = "real", "video-swapped", "chat-swapped"
CONDITIONS = (REAL, VIDEO_SWAPPED, CHAT_SWAPPED)
_DTYPES = {"score": "f8", "log_likelihood": "f8", "num_tokens": "i4", "null_log_likelihood": "f8"}


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """All scores of one model under one condition on one split; flat arrays as long as layout.flat.

    set: None if the layout is the union of the sets. score, log_likelihood, null_log_likelihood float64;
    num_tokens int32. -inf is legal, NaN is not.
    """

    model: str
    condition: str
    split: str
    set: str | None
    layout: Layout
    score: NDArray[np.float64]
    log_likelihood: NDArray[np.float64] | None = None
    num_tokens: NDArray[np.int32] | None = None
    null_log_likelihood: NDArray[np.float64] | None = None

    def covers(self, task: Task) -> bool:
        return self.split == task.split and self.set in (None, task.name)


def collect(
    model: str, condition: str, split: str, layout: Layout, scores: Mapping[str, ClipScores], *, set: str | None = None
) -> ScoreBlock:
    """One block from the answers for each clip of the layout. Raises BadScores: missing, wrong length, NaN, mixed."""
    what = f"{model} ({condition}, {split})"
    arrays: dict[str, Any] = {}
    for field, dtype in _DTYPES.items():
        parts = [
            getattr(scores[str(clip_id)], field, None) if clip_id in scores else None for clip_id in layout.clip_ids
        ]
        absent = sum(part is None for part in parts)
        if absent and (field == "score" or absent < len(parts)):
            raise BadScores(f"{what}: {absent} of {len(parts)} clips have no {field}", fix="score every clip alike")
        if absent or not parts:
            arrays[field] = np.zeros(0, dtype) if field == "score" else None
            continue
        for clip_id, part, size in zip(layout.clip_ids, parts, np.diff(layout.starts), strict=True):
            shape = np.asarray(part).shape
            if shape != (size,):
                raise BadScores(
                    f"{what}: {field} of {clip_id} has shape {shape}, expected ({size},)",
                    fix="return one number for each candidate, in the given order",
                )
        flat = np.concatenate([np.asarray(part) for part in parts])
        bad = np.isnan(flat.astype("f8"))
        if bad.any():
            owner = layout.clip_ids[np.searchsorted(layout.starts, int(np.argmax(bad)), side="right") - 1]
            raise BadScores(
                f"{what}: {int(bad.sum())} of {len(bad)} values of {field} are NaN, first in {owner}",
                fix="a candidate that cannot occur scores -inf; NaN is never ranked",
            )
        arrays[field] = flat.astype(dtype)
    if arrays["num_tokens"] is not None and (arrays["num_tokens"] < 1).any():
        raise BadScores(f"{what}: num_tokens below 1", fix="count the end-of-sequence token")
    return ScoreBlock(model, condition, split, set, layout, **arrays)


def to_table(blocks: Iterable[ScoreBlock]) -> pa.Table:
    """The blocks as scores.parquet holds them, in the given order, clips ascending."""
    import pyarrow as pa

    schema = pa.schema(
        [(name, pa.string()) for name in ("model", "condition", "split", "set", "clip_id")]
        + [("candidates", pa.list_(pa.int32())), ("score", pa.list_(pa.float64()))]
        + [("log_likelihood", pa.list_(pa.float64())), ("num_tokens", pa.list_(pa.int32()))]
        + [("null_log_likelihood", pa.list_(pa.float64()))]
    )
    tables = []
    for block in blocks:
        size, offsets = len(block.layout), pa.array(block.layout.starts.astype("i4"))
        columns: list[Any] = [
            pa.array([value] * size, pa.string()) for value in (block.model, block.condition, block.split, block.set)
        ]
        columns.append(pa.array(block.layout.clip_ids.tolist(), pa.string()))
        columns.append(pa.ListArray.from_arrays(offsets, pa.array(block.layout.flat)))
        for field in _DTYPES:
            values = getattr(block, field)
            kind = schema.field(field).type
            columns.append(
                pa.nulls(size, kind) if values is None else pa.ListArray.from_arrays(offsets, pa.array(values))
            )
        tables.append(pa.Table.from_arrays(columns, schema=schema))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def write_scores(path: Path, blocks: Sequence[ScoreBlock], metadata: Mapping[str, Any]) -> None:
    write_parquet(to_table(blocks), path, metadata)


def read_scores(path: Path) -> list[ScoreBlock]:
    """The blocks of a scores.parquet, in file order. Raises MissingInput if there is none."""
    import pyarrow.compute as pc

    if not path.is_file():
        raise MissingInput(f"no scores at {path}", fix="run `videochat bench`")
    table = read_parquet(path, fix="run `videochat bench` again").combine_chunks()
    names = ("model", "condition", "split", "set")
    keys = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    bounds = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]] + [len(keys)]
    blocks = []
    for start, stop in itertools.pairwise(bounds):
        part = table.slice(start, stop - start)
        arrays: dict[str, Any] = {}
        for field, dtype in _DTYPES.items():
            column = part[field].combine_chunks()
            arrays[field] = None if column.null_count else column.flatten().to_numpy().astype(dtype)
        candidates = part["candidates"].combine_chunks()
        lengths = pc.list_value_length(candidates).to_numpy()
        layout = Layout(
            np.asarray(part["clip_id"].to_pylist(), dtype=np.str_),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            candidates.flatten().to_numpy().astype(np.int32),
        )
        model, condition, split, set_name = keys[start]
        blocks.append(ScoreBlock(model, condition, split, set_name, layout, **arrays))
    return blocks
