"""`classic`: one truth and K - 1 negatives of the same recording, the field's construction without its accidents.

The pool is every key said in the recording, one text a key; no comment of the clip itself, response or context, is
among its candidates. Random takes negatives by hash, Cosine those nearest to the joined context by TF-IDF,
Popularity the keys said in most other clips. Candidates are unique and shuffled by hash.

The sets leak all the same, since the truth was not chosen by the statistic that chose the negatives: the reversed
statistic wins (PROTOCOL). They exist to show that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.files import stable_hash

from .material import Built, Item, Material

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_CLIPS = 256  # rows of one product; 256 x 20,000 float64 are 40 MB
QUANTUM = 1 << 30  # similarities become integers: what is equal up to rounding is equal, and ties go by hash
NEVER = np.iinfo(np.int64).max


def make_classic(material: Material, k: int) -> dict[str, Built]:
    """Each set of the protocol. Left out: "too-few-negatives" (the recording says less than k - 1 other things)."""
    built = {kind: Built() for kind in material.protocol.sets}
    for _, _, clips in material.corpus.recordings():
        wanted = material.clips_with_truth(clips)
        if not wanted:
            continue
        pool = Pool.of(material, clips)
        for start in range(0, len(wanted), BLOCK_CLIPS):
            block = wanted[start : start + BLOCK_CLIPS]
            own = pool.said_by(block)
            enough = (~own).sum(axis=1) >= k - 1
            for kind, made in built.items():
                chosen = _lowest(np.where(own, NEVER, _costs(material, pool, kind, block)), min(k - 1, own.shape[1]))
                for clip, negatives, is_enough in zip(block, chosen, enough.tolist(), strict=True):
                    if is_enough:
                        made.items.append(_item(material, pool, kind, k, clip, negatives))
                    else:
                        made.left_out["too-few-negatives"] += 1
    return built


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The m keys said in one recording of n clips, in order of the key.

    texts: int32 (m,), the text that stands for each key: the most frequent one, then the first in order of the text.
    sources: int32 (m,), the first clip that holds that text. said: bool CSR (n, m), which clip says which key.
    num_clips: int64 (m,), how many clips say it. hashes: uint64 (m,). tie_break: int64 (m,), ranks of the hashes.
    words: TF-IDF of the texts, CSR (m, number of words).
    """

    first_clip: int
    texts: NDArray[np.int32]
    sources: NDArray[np.int32]
    said: Any
    num_clips: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    tie_break: NDArray[np.int64]
    words: Any

    @classmethod
    def of(cls, material: Material, clips: range) -> Pool:
        from scipy.sparse import csr_matrix

        corpus = material.corpus
        owners, numbers = [], []
        for comments in (corpus.context, corpus.responses):
            bounds = comments.bounds[clips.start : clips.stop + 1]
            numbers.append(comments.texts[bounds[0] : bounds[-1]])
            owners.append(np.repeat(np.arange(clips.start, clips.stop, dtype=np.int32), np.diff(bounds)))
        text, clip = np.concatenate(numbers), np.concatenate(owners)
        keys, column = np.unique(corpus.key_of[text], return_inverse=True)

        # One text a key: sort the recording's texts by (key, most frequent first, text), take the first of each key.
        distinct, frequency = np.unique(text, return_counts=True)
        order = np.lexsort((distinct, -frequency, corpus.key_of[distinct]))
        _, first = np.unique(corpus.key_of[distinct][order], return_index=True)
        chosen = distinct[order][first]
        earliest = np.full(len(corpus.texts), np.iinfo(np.int32).max, dtype=np.int32)
        np.minimum.at(earliest, text, clip)

        pairs = np.unique(np.stack([clip - clips.start, column]), axis=1)
        said = csr_matrix((np.ones(pairs.shape[1], dtype=bool), (pairs[0], pairs[1])), shape=(len(clips), len(keys)))
        hashes = np.array([stable_hash(material.seed, corpus.key_names[key]) for key in keys], dtype=np.uint64)
        tie_break = np.empty(len(keys), dtype=np.int64)
        tie_break[np.argsort(hashes, kind="stable")] = np.arange(len(keys))
        return cls(
            first_clip=clips.start,
            texts=chosen.astype(np.int32),
            sources=earliest[chosen],
            said=said,
            num_clips=np.bincount(pairs[1], minlength=len(keys)).astype(np.int64),
            hashes=hashes,
            tie_break=tie_break,
            words=material.tfidf.weigh(material.word_counts[chosen]),
        )

    def said_by(self, block: Sequence[int]) -> NDArray[np.bool_]:
        """bool (len(block), m): the keys in the clip's own context and responses."""
        dense: NDArray[np.bool_] = self.said[[clip - self.first_clip for clip in block]].toarray()
        return dense


def _costs(material: Material, pool: Pool, kind: str, block: Sequence[int]) -> NDArray[np.int64]:
    """int64, broadcasts to (len(block), m), no two equal in a row: the keys with the lowest cost become negatives."""
    if kind == "random":
        clips = [stable_hash(material.seed, material.corpus.clip_ids[clip], "random") for clip in block]
        mixed = _mix(pool.hashes[None, :] ^ np.array(clips, dtype=np.uint64)[:, None])
        return (mixed >> np.uint64(1)).astype(np.int64)
    if kind == "cosine":
        similarity = (material.tfidf.weigh(_joined(material, block)) @ pool.words.T).toarray()
        costs = -np.rint(similarity * QUANTUM).astype(np.int64)
    else:
        costs = -pool.num_clips[None, :]  # a clip says none of the keys left to it: all who say them are others
    return np.asarray(costs * len(pool.tie_break) + pool.tie_break)


def _joined(material: Material, block: Sequence[int]) -> Any:
    """Word counts of the joined context of each clip."""
    from scipy.sparse import csr_matrix

    runs = [material.corpus.context.of(clip) for clip in block]
    bounds = np.concatenate([[0], np.cumsum([len(run) for run in runs])])
    texts = np.concatenate(runs)
    shape = (len(block), len(material.corpus.texts))
    return csr_matrix((np.ones(len(texts)), texts, bounds), shape=shape) @ material.word_counts


def _lowest(costs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Columns of the `count` lowest costs of each row, ascending."""
    part = np.argpartition(costs, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(costs, part, axis=1).argsort(axis=1)
    return np.asarray(np.take_along_axis(part, order, axis=1))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a hash for each pair of clip and key."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _item(material: Material, pool: Pool, kind: str, k: int, clip: int, negatives: NDArray[np.int64]) -> Item:
    clip_id = material.corpus.clip_ids[clip]
    pairs = [(int(material.truths[clip]), clip)]
    pairs += [(int(pool.texts[column]), int(pool.sources[column])) for column in negatives]
    pairs.sort(
        key=lambda pair: (stable_hash(material.seed, clip_id, kind, material.corpus.texts[pair[0]], "order"), pair)
    )
    return Item(
        clip=clip,
        group_id=f"{clip_id}_{kind}{k}",
        candidates=tuple(text for text, _ in pairs),
        sources=tuple(source for _, source in pairs),
    )
