"""CLIP text embeddings of candidate texts, looked up in the workspace: nothing is embedded twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import Mismatch
from videochat.files import parquet_metadata, read_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace


def has_embeddings(workspace: Workspace, dataset: Dataset) -> bool:
    """False if the dataset holds no text embeddings, or its workspace has no texts/ folder (a downloaded dataset)."""
    return "text_embeddings" in dataset.provides and workspace.texts_path("any").parent.is_dir()


def text_embeddings(
    workspace: Workspace, dataset: Dataset, texts: Sequence[str], recordings: Sequence[str]
) -> NDArray[np.float16] | None:
    """float16 (len(texts), dataset.dim), L2-normalised; None where there are none (has_embeddings).

    recordings: for each text one recording whose texts/<recording>.parquet holds it. Raises Mismatch where a text is
    lacking or was embedded by another model than the shards' comments: features and shards of different builds.
    """
    if dataset.dim is None or not has_embeddings(workspace, dataset):
        return None
    found = np.zeros((len(texts), dataset.dim), dtype=np.float16)
    wanted: dict[str, list[int]] = {}
    for row, recording in enumerate(recordings):
        wanted.setdefault(recording, []).append(row)
    for recording, rows in sorted(wanted.items()):
        found[rows] = _look_up(workspace.texts_path(recording), dataset, [texts[row] for row in rows])
    return found


def _look_up(path: Path, dataset: Dataset, texts: Sequence[str]) -> NDArray[np.float16]:
    from videochat.dataset import embeddings_of

    again = "run `videochat build-features`, then `videochat build`"
    if not path.is_file():
        raise Mismatch(f"{path} is missing, yet the shards hold text embeddings", fix=again)
    if not same_encoder(parquet_metadata(path).get("fingerprint"), dataset.manifest.get("clip_fingerprint")):
        raise Mismatch(f"{path} was made by another CLIP model than the shards", fix=again)
    table = read_parquet(path, columns=["text", "embedding"], fix=f"remove it and {again}")
    embeddings = embeddings_of(table["embedding"].combine_chunks())
    place = {text: index for index, text in enumerate(table["text"].to_pylist())}
    if embeddings.shape[1] != dataset.dim or any(text not in place for text in texts):
        raise Mismatch(f"{path} does not hold the texts of the shards at width {dataset.dim}", fix=again)
    return embeddings[[place[text] for text in texts]]


def same_encoder(texts: Mapping[str, Any] | None, shards: Mapping[str, Any] | None) -> bool:
    """Whether two fingerprints name one model, as far as both tell. Imported frame features name it as `beside`."""
    if not texts or not shards:
        return True
    if shards.get("imported"):
        return bool(shards.get("beside", texts.get("model")) == texts.get("model"))
    return all(
        texts[name] == shards[name] for name in ("model", "weights", "tokenizer") if name in texts and name in shards
    )
