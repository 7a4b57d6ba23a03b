"""Candidate sets as files: what is written, and what is checked when they are read back.

candidates/<protocol>/texts.parquet       TEXTS: row number = candidate
candidates/<protocol>/<set><K>.parquet    SET_SCHEMA, in order of (split, group_id, clip_id)
candidates/<protocol>/manifest.json       digests, counts, what was left out and why
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from videochat.commenter import TextTable
from videochat.errors import Mismatch
from videochat.files import digest_file, write_json, write_parquet
from videochat.schema import embedding_type

from ..protocol_files import declared_by
from .sets import CandidateSet, CandidateSets, item_digest, root_digest, texts_digest

MANIFEST = "manifest.json"
SET_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("recording_id", pa.string()),
        ("category", pa.string()),
        ("cluster", pa.string()),
        ("split", pa.string()),
        ("group_id", pa.string()),
        ("candidates", pa.list_(pa.int32())),
        ("truth", pa.int32()),
        ("generic", pa.bool_()),
        ("digest", pa.string()),
        ("sources", pa.list_(pa.string())),  # for each candidate the clip it comes from
    ]
)
OTHER_TRUTHS = pa.field("other_truths", pa.list_(pa.int32()))  # only in sets of several truths; filled up with -1


def write_sets(folder: Path, sets: CandidateSets) -> None:
    """Write all files. The old manifest goes first and the new one comes last, so a kill leaves no mixture."""
    (folder / MANIFEST).unlink(missing_ok=True)
    metadata = {"stamp": sets.manifest["stamp"], "protocol": sets.protocol, "version": sets.version}
    write_parquet(_texts_table(sets.texts), folder / "texts.parquet", metadata)
    sets.manifest["texts"]["sha256"] = digest_file(folder / "texts.parquet")
    for name, part in sets.items():
        path = folder / f"{name}.parquet"
        write_parquet(_set_table(part), path, metadata | {"set": name, "digest": part.digest})
        sets.manifest["sets"][name]["sha256"] = digest_file(path)
    for path in folder.glob("*.parquet"):
        if path.stem != "texts" and path.stem not in sets:
            path.unlink()  # a set of another K, made for other shards
    write_json(folder / MANIFEST, sets.manifest)


def read_sets(folder: Path, manifest: dict[str, Any]) -> CandidateSets:
    """Read what `manifest` names. Raises Mismatch if a file is missing or differs from its digest.

    The bytes are compared first; then the digests of items, sets and texts, which hold whatever wrote the Parquet.
    """
    declared = declared_by(manifest)
    files = {"texts": manifest["texts"], **manifest["sets"]}
    for name, facts in files.items():
        path = folder / f"{name}.parquet"
        if not path.is_file() or digest_file(path) != facts["sha256"]:
            raise _changed(path, manifest)
    texts = _read_texts(folder / "texts.parquet")
    if texts_digest(texts) != manifest["texts"]["digest"]:
        raise _changed(folder / "texts.parquet", manifest)
    sets = {}
    order = sorted(manifest["sets"].items(), key=lambda entry: (entry[1]["k"], declared.sets.index(entry[1]["set"])))
    for name, facts in order:
        sets[name] = _read_set(folder / f"{name}.parquet", name, facts)
        if not _is_whole(sets[name], texts, declared.label):
            raise _changed(folder / f"{name}.parquet", manifest)
    return CandidateSets(sets, texts, manifest)


def _is_whole(part: CandidateSet, texts: TextTable, label: str) -> bool:
    """Whether every item has its digest, and all of them the set's."""
    digests = [
        item_digest(label, part.name, clip, group, [texts.texts[c] for c in row], position, list(sources))
        for clip, group, row, position, sources in zip(
            part.clip_ids,
            part.group_ids,
            part.candidates.tolist(),
            part.truth_places,
            part.sources,
            strict=True,
        )
    ]
    return digests == part.digests.tolist() and root_digest(label, part.name, digests) == part.digest


def _changed(path: Path, manifest: dict[str, Any]) -> Mismatch:
    return Mismatch(
        f"{path} is missing or was changed after it was frozen",
        fix=f"remove {path.parent} and run `videochat candidates --protocol {manifest['protocol']}`",
    )


def _texts_table(texts: TextTable) -> pa.Table:
    columns: dict[str, Any] = {
        "text": pa.array(list(texts.texts), pa.string()),
        "key": pa.array(list(texts.keys), pa.string()),
    }
    if texts.embeddings is not None:
        dim = texts.embeddings.shape[1]
        flat = pa.array(texts.embeddings.reshape(-1), pa.float16())
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, type=embedding_type(dim))
    return pa.table(columns)


def _read_texts(path: Path) -> TextTable:
    from videochat.dataset import embeddings_of

    table = pq.read_table(path, partitioning=None)
    embeddings = embeddings_of(table["embedding"].combine_chunks()) if "embedding" in table.column_names else None
    return TextTable(table["text"].to_pylist(), table["key"].to_pylist(), embeddings)


def _set_table(part: CandidateSet) -> pa.Table:
    values = {
        "clip_id": part.clip_ids,
        "recording_id": part.recording_ids,
        "category": part.categories,
        "cluster": part.clusters,
        "split": part.splits,
        "group_id": part.group_ids,
        "candidates": part.candidates,
        "truth": part.truths,
        "generic": part.generic,
        "digest": part.digests,
        "sources": part.sources,
    }
    schema = SET_SCHEMA
    if part.other_truths is not None:
        values["other_truths"] = part.other_truths
        schema = schema.append(OTHER_TRUTHS)
    return pa.table({name: value.tolist() for name, value in values.items()}, schema=schema)


def _read_set(path: Path, name: str, facts: dict[str, Any]) -> CandidateSet:
    table = pq.read_table(path, partitioning=None)
    return CandidateSet(
        name=name,
        kind=facts["set"],
        k=facts["k"],
        digest=facts["digest"],
        clip_ids=_objects(table["clip_id"]),
        recording_ids=_objects(table["recording_id"]),
        categories=_objects(table["category"]),
        clusters=_objects(table["cluster"]),
        splits=_objects(table["split"]),
        group_ids=_objects(table["group_id"]),
        candidates=np.array(table["candidates"].to_pylist(), dtype=np.int32).reshape(-1, facts["k"]),
        truths=table["truth"].to_numpy().astype(np.int32),
        generic=np.array(table["generic"].to_pylist(), dtype=bool),
        digests=_objects(table["digest"]),
        sources=np.array(table["sources"].to_pylist(), dtype=object).reshape(-1, facts["k"]),
        other_truths=_other_truths(table),
    )


def _other_truths(table: pa.Table) -> Any:
    if OTHER_TRUTHS.name not in table.column_names:
        return None
    rows = table[OTHER_TRUTHS.name].to_pylist()
    return np.array(rows, dtype=np.int32).reshape(len(rows), -1 if rows else 0)


def _objects(column: pa.ChunkedArray) -> Any:
    array = np.empty(len(column), dtype=object)
    array[:] = column.to_pylist()
    return array
