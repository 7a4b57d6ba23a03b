"""CLIP text embeddings of candidate texts, looked up in the workspace: nothing is embedded twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.errors import Mismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace


def text_embeddings(
    workspace: Workspace, dataset: Dataset, texts: Sequence[str], recordings: Sequence[str]
) -> NDArray[np.float16] | None:
    """float16 (len(texts), dataset.dim), or None if the dataset is text-only or the workspace has no texts/ folder.

    recordings: for each text one recording whose texts/<recording>.parquet holds it. Raises Mismatch where the
    folder is there but lacks a text, or is of another width: features and shards of different builds.
    """
    import pyarrow.parquet as pq

    from videochat.dataset import embeddings_of

    if dataset.dim is None or not workspace.texts_path("x").parent.is_dir():
        return None
    found = np.zeros((len(texts), dataset.dim), dtype=np.float16)
    wanted: dict[str, list[int]] = {}
    for row, recording in enumerate(recordings):
        wanted.setdefault(recording, []).append(row)
    for recording, rows in sorted(wanted.items()):
        path = workspace.texts_path(recording)
        if not path.is_file():
            raise Mismatch(f"{path} is missing", fix="run `videochat build-features`, then `videochat build`")
        table = pq.read_table(path, columns=["text", "embedding"])
        embeddings = embeddings_of(table["embedding"].combine_chunks())
        if embeddings.shape[1] != dataset.dim:
            raise Mismatch(
                f"{path} has embeddings of width {embeddings.shape[1]}, the shards of {dataset.dim}",
                fix="run `videochat build` again",
            )
        place = {text: index for index, text in enumerate(table["text"].to_pylist())}
        lacking = [texts[row] for row in rows if texts[row] not in place]
        if lacking:
            raise Mismatch(
                f"{path} lacks {len(lacking)} of the texts in the shards",
                fix="run `videochat build-features`, then `videochat build`",
            )
        found[rows] = embeddings[[place[texts[row]] for row in rows]]
    return found
