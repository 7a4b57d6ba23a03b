"""One recording's text file: CLIP embeddings of its unique kept comment texts."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..files import digest_json, is_current, write_parquet
from ..schema import Recording, texts_schema
from ..workspace import Workspace
from .frame_files import embedding_column

if TYPE_CHECKING:
    from .clip_model import ClipModel

FORMAT = 1


class TextJob:
    def __init__(self, workspace: Workspace, recording: Recording, clip: ClipModel) -> None:
        self.comments_path = workspace.comments_path(recording.recording_id)
        self.path = workspace.texts_path(recording.recording_id)
        self.clip = clip

    def run(self, pool: Executor) -> dict[str, Any] | None:
        """Write the file; counts for the ledger, or None if it is current."""
        table = pq.read_table(self.comments_path, columns=["text"], filters=[("kept", "=", True)])
        texts = sorted({text for text in table.column("text").to_pylist() if text})
        fingerprint = self.clip.fingerprint
        stamp = digest_json({"format": FORMAT, "texts": digest_json(texts), "fingerprint": fingerprint})
        if is_current(self.path, stamp):
            return None
        embeddings = pool.submit(self.clip.encode_texts, texts).result()
        columns = [pa.array(texts, pa.string()), embedding_column(embeddings)]
        written = pa.Table.from_arrays(columns, schema=texts_schema(self.clip.dim))
        write_parquet(written, self.path, {"stamp": stamp, "fingerprint": fingerprint, "num_texts": len(texts)})
        return {"texts": len(texts)}
