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
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .keys import key_array, speakable

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

    def of_many(self, clips: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The texts of these clips, and for each of them the place of its clip in `clips`."""
        sizes = self.bounds[clips + 1] - self.bounds[clips]
        places = np.repeat(np.arange(len(clips)), sizes)
        within = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.texts[self.bounds[clips][places] + within], places


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """n clips in order of (split, recording_id, start_ms).

    texts: the distinct comment texts, sorted (and as text_array, a string array); key_names: their distinct keys,
    sorted; key_of: int32, for each text the number of its key.
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
    text_array: pa.Array

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
        import pyarrow as pa
        import pyarrow.compute as pc

        table = table.select(COLUMNS).sort_by([(name, "ascending") for name in ("split", "recording_id", "start_ms")])
        found = [_column(table[name]) for name in ("context", "responses")]
        array = _distinct(pa.concat_arrays([values for _, values, _ in found]))
        comments = [
            Comments(bounds=bounds, texts=pc.index_in(values, value_set=array).to_numpy(), times_ms=times)
            for bounds, values, times in found
        ]
        text_keys = key_array(array)
        key_names = _distinct(text_keys)
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
            texts=array.to_pylist(),
            key_names=key_names.to_pylist(),
            key_of=pc.index_in(text_keys, value_set=key_names).to_numpy(),
            text_array=array,
        )

    @cached_property
    def may_be_truth(self) -> NDArray[np.bool_]:
        """bool, for each text whether its key has enough letters or digits for a truth."""
        import pyarrow as pa

        enough = speakable(pa.array(self.key_names, pa.string())).to_numpy(zero_copy_only=False)
        found: NDArray[np.bool_] = enough[self.key_of]
        return found

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What was said and how often, all that is learnt from the training split: no clips, no order, no times.

    text_array: the distinct texts, a string array (n,). num: int64 (n,), how many comments have each.
    """

    text_array: pa.Array
    num: NDArray[np.int64]

    @classmethod
    def read(cls, dataset: Dataset, split: str) -> Said:
        import pyarrow as pa

        table = dataset.table(split, ["context", "responses"])
        return cls.of(pa.concat_arrays([_column(table[name])[1] for name in ("context", "responses")]))

    @classmethod
    def of(cls, texts: pa.Array) -> Said:
        """texts: one entry a comment."""
        import pyarrow.compute as pc

        counted = pc.value_counts(texts)
        return cls(text_array=counted.field("values"), num=counted.field("counts").to_numpy())

    def key_counts(self) -> Counter[str]:
        """How many comments have each key."""
        encoded = key_array(self.text_array).dictionary_encode()
        totals = np.bincount(encoded.indices.to_numpy(), weights=self.num, minlength=len(encoded.dictionary))
        return Counter(dict(zip(encoded.dictionary.to_pylist(), totals.astype(np.int64).tolist(), strict=True)))

    def text_counts(self) -> NDArray[np.int64]:
        """How many comments have each text."""
        return self.num


def _distinct(texts: pa.Array) -> pa.Array:
    """Each text once, sorted by its characters (bytes of UTF-8 sort alike)."""
    import pyarrow.compute as pc

    found = pc.unique(texts)
    return found.take(pc.sort_indices(found))


def _column(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array, NDArray[np.int32]]:
    """Bounds (n + 1,), the text and the time of every comment of a list<comment> column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    values = column.combine_chunks().flatten()
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return bounds, values.field("text"), values.field("offset_ms").to_numpy()
