"""Write shards: rows of clips in Parquet files of about 256 MB, planned before the first byte is written.

    write_shards(folder, {("test", "Minecraft"): [table, ...]}, dim=512, metadata={...})

Layout: `<split>/<category>-00000-of-0000N.parquet`, rows ordered by (recording_id, start_ms), row groups of 256
clips. The layout depends on the rows alone. An old set of files is removed only once the new one is whole.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .files import METADATA_KEY, digest_file, unfinished
from .schema import ROW_GROUP_CLIPS, SHARD_BYTES, SPLITS, shard_schema, slug


@dataclass(frozen=True, kw_only=True)
class Part:
    """The clips of one recording in one (split, category): how many rows and bytes, and how to get them."""

    num_clips: int
    num_bytes: int  # estimate, uncompressed
    read: Callable[[], pa.Table]


def plan_files(parts: Sequence[Part], shard_bytes: int = SHARD_BYTES) -> list[int]:
    """Rows of each file for one (split, category): whole row groups, files of nearly equal size."""
    num_clips = sum(part.num_clips for part in parts)
    num_bytes = sum(part.num_bytes for part in parts)
    num_groups = -(-num_clips // ROW_GROUP_CLIPS)
    num_files = max(1, min(num_groups, -(-num_bytes // shard_bytes)))
    bounds = [min(num_clips, num_groups * index // num_files * ROW_GROUP_CLIPS) for index in range(num_files + 1)]
    return [after - before for before, after in itertools.pairwise(bounds)]


def write_shards(
    folder: Path,
    parts: Mapping[tuple[str, str], Sequence[Part]],
    *,
    dim: int | None,
    metadata: Mapping[str, Any],
    shard_bytes: int = SHARD_BYTES,
) -> list[dict[str, Any]]:
    """Write all files into a new folder and put it in the place of `folder`; returns the manifest's file list.

    parts: (split, category) -> parts in order of recording_id. dim: CLIP width, or None for the text-only variant.
    """
    schema = shard_schema(dim).with_metadata({METADATA_KEY: json.dumps(dict(metadata), sort_keys=True).encode()})
    fresh = folder.with_name(f".{folder.name}.tmp-{unfinished()}")
    files: list[dict[str, Any]] = []
    try:
        for split, category in sorted(parts, key=lambda item: (SPLITS.index(item[0]), slug(item[1]))):
            group = parts[split, category]
            rows = _row_groups(group, schema)
            plan = plan_files(group, shard_bytes)
            for index, num_rows in enumerate(plan):
                path = fresh / split / f"{slug(category)}-{index:05}-of-{len(plan):05}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                    for _ in range(-(-num_rows // ROW_GROUP_CLIPS)):
                        writer.write_table(next(rows), row_group_size=ROW_GROUP_CLIPS)
                files.append({"path": str(path.relative_to(fresh)), "split": split, "category": category})
                files[-1] |= {"rows": num_rows, "bytes": path.stat().st_size, "sha256": digest_file(path)}
        fresh.mkdir(parents=True, exist_ok=True)
        replace_folder(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return files


def replace_folder(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`. Between the two renames a reader finds no folder, never a mixture."""
    old = folder.with_name(f".{folder.name}.old-{unfinished()}")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _row_groups(parts: Sequence[Part], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of all parts, cut into tables of exactly ROW_GROUP_CLIPS rows (the last may be smaller)."""
    waiting: list[pa.Table] = []
    num_waiting = 0
    for part in parts:
        table = part.read().cast(schema).replace_schema_metadata(schema.metadata)
        waiting.append(table)
        num_waiting += table.num_rows
        if num_waiting >= ROW_GROUP_CLIPS:
            whole = pa.concat_tables(waiting)
            cut = num_waiting // ROW_GROUP_CLIPS * ROW_GROUP_CLIPS
            for begin in range(0, cut, ROW_GROUP_CLIPS):
                yield whole.slice(begin, ROW_GROUP_CLIPS).combine_chunks()
            waiting, num_waiting = [whole.slice(cut)], num_waiting - cut
    if num_waiting:
        yield pa.concat_tables(waiting).combine_chunks()
