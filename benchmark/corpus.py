"""The comments of a dataset as integers: every distinct text once, clips as runs of text numbers.

    corpus = Corpus.read(dataset, ("dev", "test"))
    [corpus.texts[i] for i in corpus.context_of(0)]

Candidate sets touch millions of comments and only need to know which are equal. Clips are sorted by (split,
recording, start) and texts by their characters, so nothing depends on the order in which the shards hold them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .keys import keys

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from videochat.dataset import Dataset

COLUMNS = ("clip_id", "recording_id", "category", "split", "start_ms", "end_ms", "context", "responses")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comments:
    """The comments of n clips: clip c has texts[bounds[c]:bounds[c + 1]] (int32 text numbers) at times_ms."""

    bounds: NDArray[np.int64]
    texts: NDArray[np.int32]
    times_ms: NDArray[np.int32]

    def of(self, clip: int) -> NDArray[np.int32]:
        return self.texts[self.bounds[clip] : self.bounds[clip + 1]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """n clips in order of (split, recording_id, start_ms).

    texts: the distinct comment texts, sorted; key_names: their distinct keys, sorted; key_of: int32, for each text
    the number of its key.
    """

    clip_ids: list[str]
    recording_ids: list[str]
    categories: list[str]
    splits: list[str]
    start_ms: NDArray[np.int64]
    clip_ms: NDArray[np.int64]
    context: Comments
    responses: Comments
    texts: list[str]
    key_names: list[str]
    key_of: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.clip_ids)

    @classmethod
    def read(cls, dataset: Dataset, splits: Sequence[str]) -> Corpus:
        """The clips of `splits`."""
        import pyarrow as pa

        return cls.from_table(pa.concat_tables([dataset.table(split, COLUMNS) for split in splits]))

    @classmethod
    def from_table(cls, table: pa.Table) -> Corpus:
        """Rows of a shard table, in any order, with at least COLUMNS."""
        table = table.select(COLUMNS).sort_by([(name, "ascending") for name in ("split", "recording_id", "start_ms")])
        found = [_column(table[name]) for name in ("context", "responses")]
        texts = sorted({text for _, values, _ in found for text in values})
        numbers = {text: number for number, text in enumerate(texts)}
        comments = [
            Comments(
                bounds=bounds,
                texts=np.fromiter((numbers[text] for text in values), dtype=np.int32, count=len(values)),
                times_ms=times,
            )
            for bounds, values, times in found
        ]
        text_keys = keys(texts)
        key_names = sorted(set(text_keys))
        key_numbers = {name: number for number, name in enumerate(key_names)}
        start_ms = table["start_ms"].to_numpy().astype(np.int64)
        return cls(
            clip_ids=table["clip_id"].to_pylist(),
            recording_ids=table["recording_id"].to_pylist(),
            categories=table["category"].to_pylist(),
            splits=table["split"].to_pylist(),
            start_ms=start_ms,
            clip_ms=table["end_ms"].to_numpy().astype(np.int64) - start_ms,
            context=comments[0],
            responses=comments[1],
            texts=texts,
            key_names=key_names,
            key_of=np.fromiter((key_numbers[name] for name in text_keys), dtype=np.int32, count=len(texts)),
        )

    def keys_of(self, clip: int) -> set[int]:
        """The keys of all comments of a clip, context and responses."""
        return set(self.key_of[self.context.of(clip)].tolist()) | set(self.key_of[self.responses.of(clip)].tolist())

    def recordings(self) -> Iterator[tuple[str, str, range]]:
        """(split, recording_id, clip numbers) of each recording; a recording lies in one split."""
        start = 0
        for clip in range(1, len(self) + 1):
            here = (self.splits[start], self.recording_ids[start])
            if clip == len(self) or (self.splits[clip], self.recording_ids[clip]) != here:
                yield *here, range(start, clip)
                start = clip

    def key_counts(self) -> Counter[str]:
        """How many comments have each key, contexts and responses together (a comment lies in one clip)."""
        total = np.zeros(len(self.key_names), dtype=np.int64)
        for comments in (self.context, self.responses):
            total += np.bincount(self.key_of[comments.texts], minlength=len(total))
        return Counter(dict(zip(self.key_names, total.tolist(), strict=True)))

    def text_counts(self) -> NDArray[np.int64]:
        """How many comments have each text."""
        both = np.concatenate([self.context.texts, self.responses.texts])
        return np.bincount(both, minlength=len(self.texts)).astype(np.int64)


def _column(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str], NDArray[np.int32]]:
    """Bounds (n + 1,), the text and the time of every comment of a list<comment> column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    values = column.combine_chunks().flatten()
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    encoded = values.field("text").dictionary_encode()
    names = encoded.dictionary.to_pylist()
    texts = [names[index] for index in encoded.indices.to_pylist()]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), texts, values.field("offset_ms").to_numpy()
