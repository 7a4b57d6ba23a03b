"""How alike texts are, for Cosine sets: by their words (TF-IDF), by CLIP's text embeddings or by a sentence encoder.

    similarity = similarity_of(material, workspace, dataset)
    similarity.between(similarity.contexts(clips), similarity.texts(numbers))     # float64 (clips, texts), in [-1, 1]

The search that uses it is exact: products of whole blocks, no index. By words the context of a clip is its comments
joined; by embeddings it is the mean of its comments' unit vectors, so that every text is embedded once, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from videochat.errors import MissingInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from ..texts.corpus import Corpus
    from .material import Material

    Floats = NDArray[np.float64]

WORDS, CLIP = "tfidf", "clip"
BLOCK_TEXTS = 16_384  # rows that are float64 at a time; 16,384 x 512 are 64 MB


class Similarity(Protocol):
    """quantum: similarities times this, rounded, are equal wherever they are equal up to the rounding of a product."""

    quantum: int

    def texts(self, numbers: NDArray[Any]) -> Any:
        """Rows of length 1 for these texts of the corpus."""
        ...

    def contexts(self, clips: Sequence[int]) -> Any:
        """Rows of length 1 for the contexts of these clips."""
        ...

    def between(self, rows: Any, columns: Any) -> Floats:
        """Cosines, (len(rows), len(columns))."""
        ...


class WordSimilarity:
    """Sparse TF-IDF rows, the IDF learnt on the training split."""

    quantum = 1 << 30

    def __init__(self, material: Material) -> None:
        self.material = material

    def texts(self, numbers: NDArray[Any]) -> Any:
        return self.material.tfidf.weigh(self.material.word_counts[numbers])

    def contexts(self, clips: Sequence[int]) -> Any:
        corpus = self.material.corpus
        return self.material.tfidf.weigh(joined(corpus, clips, len(corpus.texts)) @ self.material.word_counts)

    def between(self, rows: Any, columns: Any) -> Floats:
        dense: Floats = (rows @ columns.T).toarray()
        return dense


class VectorSimilarity:
    """Dense rows. vectors: float16 (texts of the corpus, D), L2-normalised. Products are summed in float64."""

    quantum = 1 << 20  # sums of another order differ by 1e-15 at most: far below, so ties fall alike everywhere

    def __init__(self, corpus: Corpus, vectors: NDArray[np.float16]) -> None:
        self.corpus = corpus
        self.vectors = vectors

    def texts(self, numbers: NDArray[Any]) -> Any:
        return self.vectors[numbers]

    def contexts(self, clips: Sequence[int]) -> Any:
        rows = np.zeros((len(clips), self.vectors.shape[1]))
        for row, clip in zip(rows, clips, strict=True):
            row += self.vectors[self.corpus.context.of(clip)].astype(np.float64).sum(axis=0)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms > 0, norms, 1.0)

    def between(self, rows: Any, columns: Any) -> Floats:
        left = rows.astype(np.float64)
        found = np.empty((len(rows), len(columns)))
        for start in range(0, len(columns), BLOCK_TEXTS):
            block = columns[start : start + BLOCK_TEXTS].astype(np.float64)
            found[:, start : start + BLOCK_TEXTS] = left @ block.T
        return found


def joined(corpus: Corpus, clips: Sequence[int], num_texts: int) -> Any:
    """How often each text stands in the context of each clip: CSR float64 (len(clips), num_texts)."""
    from scipy.sparse import csr_matrix

    runs = [corpus.context.of(clip) for clip in clips]
    bounds = np.concatenate([[0], np.cumsum([len(run) for run in runs])])
    texts = np.concatenate(runs)
    return csr_matrix((np.ones(len(texts)), texts, bounds), shape=(len(clips), num_texts))


def similarity_of(material: Material, workspace: Workspace | None, dataset: Dataset | None) -> Similarity:
    """What the material's protocol measures by. Raises MissingInput where the data set has no text embeddings."""
    name, corpus = material.protocol.similarity, material.corpus
    if name == WORDS:
        return WordSimilarity(material)
    if name == CLIP:
        found = None
        if workspace is not None and dataset is not None and "text_embeddings" in dataset.provides:
            from ..texts.embeddings import text_embeddings

            found = text_embeddings(workspace, dataset, corpus.texts, first_recordings(corpus))
        if found is None:
            raise MissingInput(
                'similarity = "clip" needs the text embeddings of the data set, which has none here',
                fix='run `videochat build-features` and `videochat build`, or take similarity = "tfidf"',
            )
        return VectorSimilarity(corpus, found)
    from ..texts.sentence_encoder import encode

    return VectorSimilarity(corpus, encode(name, corpus.texts))


def fingerprint_of(name: str, dataset: Dataset) -> dict[str, Any]:
    """What the similarities depend on besides the shards; for manifests and stamps."""
    if name == WORDS:
        return {"similarity": WORDS}
    if name == CLIP:
        return {"similarity": CLIP, "clip": dataset.manifest.get("clip_fingerprint")}
    from ..texts.sentence_encoder import fingerprint

    return {"similarity": "sentence-encoder", **fingerprint(name)}


def first_recordings(corpus: Corpus) -> list[str]:
    """For each text of the corpus a recording that says it, the first by id."""
    first = np.full(len(corpus.texts), len(corpus), dtype=np.int64)
    order = sorted(range(len(corpus)), key=lambda clip: (corpus.recording_ids[clip], clip))
    for place, clip in enumerate(order):
        for comments in (corpus.context, corpus.responses):
            said = comments.of(clip)
            first[said] = np.minimum(first[said], place)
    return [corpus.recording_ids[order[place]] for place in first.tolist()]
