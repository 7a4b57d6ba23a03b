"""The lists of `released-2025` as files: frozen, with digests and with what made them.

    candidates/released-2025/lists.parquet     LISTS, in order of recording and time
    candidates/released-2025/manifest.json     protocol, digests, seed, NumPy's version, what the defects amount to

Frozen because `argpartition` gives other lists elsewhere: whoever ranks on the file ranks on the same candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import videochat
from videochat.errors import Mismatch
from videochat.files import digest_file, digest_json, read_json, read_parquet, write_json, write_parquet

from .clips import ReleasedDataset
from .lists import Lists, StoredLists, facts_of, make_lists
from .protocol import NAME, RELEASED, ReleasedProtocol

if TYPE_CHECKING:
    from pathlib import Path

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

FORMAT_VERSION = 1
AGAIN = f"run `videochat candidates --protocol {NAME}`"
KEYS = ("data_digest", "declaration", "digest", "facts", "sha256", "stamp")
LISTS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("recording_id", pa.string()),
        ("truth", pa.string()),
        ("plausible", pa.list_(pa.string())),
        ("popular", pa.list_(pa.string())),
        ("random", pa.list_(pa.string())),
    ]
)


def build_lists(
    workspace: Workspace, dataset: Dataset, protocol: ReleasedProtocol = RELEASED
) -> tuple[Lists, dict[str, Any]]:
    """Make and freeze the lists of the test clips; what is current is only loaded. Returns them with the manifest.

    Raises Mismatch if a frozen file was changed.
    """
    folder = workspace.candidates_dir(NAME)
    seed = workspace.settings.seed
    data = ReleasedDataset(dataset, protocol, seed=seed)
    stamp = digest_json([dataset.digest, data.digest, protocol.to_json(), seed, FORMAT_VERSION])
    path = folder / "manifest.json"
    if path.is_file() and (manifest := read_json(path, needs=KEYS, fix=AGAIN))["stamp"] == stamp:
        return read_lists(folder, manifest), manifest
    test = {clip_id for clip_id, split in data.assignment.items() if split == "test"}
    lists = make_lists(dataset, protocol, test, seed=seed)
    manifest = {
        "protocol": protocol.name,
        "version": protocol.version,
        "label": protocol.label,
        "declaration": protocol.to_json(),
        "format": FORMAT_VERSION,
        "tool": videochat.__version__,
        "numpy": np.__version__,
        "data_digest": dataset.digest,
        "split_digest": data.digest,
        "split_by": data.split_by,
        "seed": seed,
        "num_clips": {split: list(data.assignment.values()).count(split) for split in ("train", "test")},
        "left_out": dict(lists.left_out),
        "facts": facts_of(lists, protocol.k),
        "digest": digest_of(lists, protocol),
        "stamp": stamp,
    }
    path.unlink(missing_ok=True)
    write_parquet(_table(lists), folder / "lists.parquet", {"stamp": stamp, "protocol": protocol.label})
    manifest["sha256"] = digest_file(folder / "lists.parquet")
    write_json(path, manifest)
    return lists, manifest


def read_lists(folder: Path, manifest: dict[str, Any]) -> Lists:
    """The frozen lists. Raises Mismatch if they are missing or were changed."""
    path = folder / "lists.parquet"
    if not path.is_file() or digest_file(path) != manifest["sha256"]:
        raise Mismatch(f"{path} is missing or was changed after it was frozen", fix=f"remove {folder} and {AGAIN}")
    rows = [
        StoredLists(
            clip_id=row["clip_id"],
            recording_id=row["recording_id"],
            truth=row["truth"],
            plausible=tuple(row["plausible"]),
            popular=tuple(row["popular"]),
            random=tuple(row["random"]),
        )
        for row in read_parquet(path, fix=AGAIN).to_pylist()
    ]
    return Lists(rows=rows)


def digest_of(lists: Lists, protocol: ReleasedProtocol) -> str:
    """Over the contents of all items, in order: duplicates and places count."""
    rows = [[row.clip_id, row.truth, row.plausible, row.popular, row.random] for row in lists.rows]
    return digest_json([protocol.label, rows])


def _table(lists: Lists) -> pa.Table:
    rows = [
        {name: list(v) if isinstance(v := getattr(row, name), tuple) else v for name in LISTS.names}
        for row in lists.rows
    ]
    return pa.Table.from_pylist(rows, schema=LISTS)
