"""Read the shards of a workspace: clips for models, tables and DataFrames for people.

    data = Dataset.open("videochat-data")
    for clip in data.clips("test"): ...
    data.to_pandas("train")

The shards are plain Parquet: pandas, Polars, DuckDB and `datasets` read them without this package.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import Mismatch, MissingInput, UsageError
from .files import damaged, read_json, read_parquet
from .schema import SPLITS, Clip, Comment, Segment

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


NEEDED = ("digest", "dim", "files", "per_split", "provides", "simulated", "split_by")  # of dataset.json
FILE_NEEDED = ("path", "split", "category", "rows", "bytes", "sha256")
REBUILD = "run `videochat build` again (a downloaded dataset: download it again)"


class Dataset:
    """The shards under `<root>/shards`, as dataset.json lists them."""

    def __init__(self, root: Path, manifest: dict[str, Any]) -> None:
        self.root = root
        self.manifest = manifest
        self.digest: str = manifest["digest"]
        self.dim: int | None = manifest["dim"]
        self.simulated: bool = manifest["simulated"]
        self.split_by: str = manifest["split_by"]

    @classmethod
    def open(cls, root: Path | str) -> Dataset:
        """`root`: a workspace folder, or a folder that holds dataset.json itself (a downloaded dataset).

        Raises MissingInput if nothing was built there, Mismatch if a file is missing or of another size.
        """
        root = Path(root)
        folder = root if (root / "dataset.json").is_file() else root / "shards"
        if not root.exists():
            raise MissingInput(
                f"there is no folder {root}", fix="pass --data DIR, or make shards with `videochat build`"
            )
        if not (folder / "dataset.json").exists():
            raise MissingInput(f"no shards in {root}", fix="make them with `videochat build`")
        manifest = read_json(folder / "dataset.json", needs=NEEDED, fix=REBUILD)
        for file in manifest["files"]:
            lacking = [name for name in FILE_NEEDED if not isinstance(file, dict) or name not in file]
            if lacking:
                raise damaged(folder / "dataset.json", f"a file has no {lacking[0]}", REBUILD)
            path = folder / str(file["path"])
            if Path(str(file["path"])).is_absolute() or ".." in Path(str(file["path"])).parts:
                raise damaged(folder / "dataset.json", f"it names {file['path']}, outside of its folder", REBUILD)
            if not path.is_file() or path.stat().st_size != file["bytes"]:
                raise Mismatch(f"{path} is missing or was changed", fix=REBUILD)
        return cls(folder.parent if folder.name == "shards" else folder, manifest)

    @property
    def folder(self) -> Path:
        return self.root / "shards" if (self.root / "shards" / "dataset.json").is_file() else self.root

    @property
    def provides(self) -> frozenset[str]:
        """What the rows hold, in the terms of `Commenter.needs`."""
        return frozenset(self.manifest["provides"])

    def paths(self, split: str | None = None) -> list[Path]:
        if split is not None and split not in SPLITS:
            raise UsageError(f"unknown split {split!r}", fix=f"choose one of {', '.join(SPLITS)}")
        return [self.folder / f["path"] for f in self.manifest["files"] if split in (None, f["split"])]

    def table(self, split: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows as one Arrow table, in order of (split, category, recording_id, start_ms)."""
        wanted = None if columns is None else list(columns)
        tables = [read_parquet(path, columns=wanted, fix=REBUILD) for path in self.paths(split)]
        if tables:
            return pa.concat_tables(tables).replace_schema_metadata(None)
        from .schema import shard_schema

        empty = shard_schema(self.dim).empty_table()
        return empty if wanted is None else empty.select(wanted)

    def to_pandas(self, split: str | None = None) -> pd.DataFrame:
        """The rows as a DataFrame; lists become NumPy arrays."""
        frame: pd.DataFrame = self.table(split).to_pandas()
        return frame

    def clips(self, split: str | None = None) -> Iterator[Clip]:
        """The rows as Clips, one row group in memory at a time."""
        for path in self.paths(split):
            for table in row_groups(path):
                yield from clips_of(table)

    def comments(self, split: str | None = None) -> Iterator[Comment]:
        """All context comments and responses, clip after clip, without reading a feature: five times as fast."""
        for path in self.paths(split):
            for table in row_groups(path, ["context", "responses"]):
                for context, responses in zip(_comments(table["context"]), _comments(table["responses"]), strict=True):
                    yield from context
                    yield from responses

    def clusters(self) -> dict[str, str]:
        """clip_id -> its cluster: the unit the splits were made by, named by its first recording.

        The name does not depend on the pseudonym key, so no statistic does.
        """
        table = self.table(columns=["clip_id", "recording_id", "channel_id"])
        recordings = table["recording_id"].to_pylist()
        units = recordings if self.split_by == "recording" else table["channel_id"].to_pylist()
        first: dict[str, str] = {}
        for unit, recording in zip(units, recordings, strict=True):
            first[unit] = min(first.get(unit, recording), recording)
        return {clip: first[unit] for clip, unit in zip(table["clip_id"].to_pylist(), units, strict=True)}

    def __len__(self) -> int:
        return sum(file["rows"] for file in self.manifest["files"])


def schema_of(path: Path) -> pa.Schema:
    """The columns of a shard. Raises Damaged if it is no Parquet file."""
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error, REBUILD) from None


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a shard, one after another. Raises Damaged if one cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=None if columns is None else list(columns))
                table.validate()
                yield table
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error, REBUILD) from None


def embeddings_of(values: pa.Array) -> NDArray[np.float16]:
    """A (flat) fixed_size_list<float16>[D] array as float16 (n, D), without a copy."""
    flat: NDArray[np.float16] = values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(values), values.type.list_size)


def _ragged(column: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Offsets (n + 1,) and the flat values of a list column (nulls count as empty)."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), array.flatten()


def _comments(column: pa.ChunkedArray) -> list[tuple[Comment, ...]]:
    offsets, values = _ragged(column)
    times, authors, texts = (values.field(name).to_pylist() for name in ("offset_ms", "author", "text"))
    emotes = values.field("emotes").to_pylist()
    rows = [
        Comment(offset_ms=t, author=a, text=x, emotes=tuple(e or ()))
        for t, a, x, e in zip(times, authors, texts, emotes, strict=True)
    ]
    return [tuple(rows[a:b]) for a, b in itertools.pairwise(offsets)]


def clips_of(table: pa.Table) -> Iterator[Clip]:
    """The rows of a shard table as Clips."""
    contexts, responses = _comments(table["context"]), _comments(table["responses"])
    arrays: dict[str, list[Any]] = {name: [None] * table.num_rows for name in ("frame_ms", "frames", "context_clip")}
    for name in arrays:
        if name not in table.column_names:
            continue
        valid = pc.is_valid(table[name]).to_pylist()
        offsets, values = _ragged(table[name])
        flat = values.to_numpy(zero_copy_only=False) if name == "frame_ms" else embeddings_of(values)
        arrays[name] = [flat[a:b] if ok else None for ok, a, b in zip(valid, offsets[:-1], offsets[1:], strict=True)]
    names = ["clip_id", "recording_id", "channel_id", "category", "language", "split"]
    plain = table.select([*names, "start_ms", "context_end_ms", "end_ms", "transcript", "flags"]).to_pylist()
    for index, row in enumerate(plain):
        row["transcript"] = tuple(Segment(**segment) for segment in row["transcript"] or ())
        row["flags"] = tuple(row["flags"] or ())
        features = {name: values[index] for name, values in arrays.items()}
        yield Clip(**row, **features, context=contexts[index], responses=responses[index])
