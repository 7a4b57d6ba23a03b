"""One recording's text file: CLIP embeddings of its unique kept comment texts."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..files import digest_json, is_current, read_parquet, write_parquet
from ..schema import Recording, texts_schema
from ..workspace import Workspace
from .frame_files import embedding_column

if TYPE_CHECKING:
    from .clip_model import ClipModel

FORMAT = 1


def stamp_of(texts: list[str], fingerprint: Mapping[str, Any]) -> str:
    """texts: unique and sorted, as the file holds them."""
    return digest_json({"format": FORMAT, "texts": digest_json(texts), "fingerprint": dict(fingerprint)})


class TextJob:
    def __init__(self, workspace: Workspace, recording: Recording, clip: ClipModel) -> None:
        self.comments_path = workspace.comments_path(recording.recording_id)
        self.path = workspace.texts_path(recording.recording_id)
        self.clip = clip

    def run(self, pool: Executor) -> dict[str, Any] | None:
        """Write the file; counts for the ledger, or None if it is current."""
        fix = "remove it and run `videochat clean` again"
        table = read_parquet(self.comments_path, columns=["text"], filters=[("kept", "=", True)], fix=fix)
        texts = sorted({text for text in table.column("text").to_pylist() if text})
        fingerprint = self.clip.fingerprint
        stamp = stamp_of(texts, fingerprint)
        if is_current(self.path, stamp):
            return None
        embeddings = pool.submit(self.clip.encode_texts, texts).result()
        columns = [pa.array(texts, pa.string()), embedding_column(embeddings)]
        written = pa.Table.from_arrays(columns, schema=texts_schema(self.clip.dim))
        write_parquet(written, self.path, {"stamp": stamp, "fingerprint": fingerprint, "num_texts": len(texts)})
        return {"texts": len(texts)}
