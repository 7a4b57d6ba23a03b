"""Chosen negatives: one truth and K - 1 negatives of its recording, the field's construction without its accidents.

The pool is every key said in the recording (or category, or split), one text a key; no comment of the clip itself,
response or context, is among its candidates but its truths. Random takes negatives by hash, Cosine those nearest to the
context (by TF-IDF, or as the protocol says), Popularity the keys said in most other clips, Mixed some of each, as
LiveBot does. Candidates are unique and shuffled by hash.

The sets leak all the same, since the truth was not chosen by the statistic that chose the negatives: the reversed
statistic wins (PROTOCOL). They exist to show that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.files import hashing, stable_hash

from .material import Built, Item, Material

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_CLIPS = 256  # rows of one product
BLOCK_CELLS = 8_000_000  # and its cells at most: some arrays of 64 MB
NEVER = np.iinfo(np.int64).max
NEEDS_ROWS = {"cosine", "mixed"}  # kinds that look for similar texts


def make_classic(material: Material, k: int) -> dict[str, Built]:
    """Each set of the protocol. Left out: "too-few-negatives" (the pool says less than k - 1 other things)."""
    built = {kind: Built() for kind in material.protocol.sets}
    for name, clips in _pools(material):
        wanted = material.clips_with_truth(clips)
        if not wanted:
            continue
        pool = material.pools.get(name) or material.pools.setdefault(name, Pool.of(material, clips))
        size = max(1, min(BLOCK_CLIPS, BLOCK_CELLS // max(1, len(pool.texts))))
        for start in range(0, len(wanted), size):
            block = wanted[start : start + size]
            own = pool.said_by(block)
            enough = (~own).sum(axis=1) >= k - 1
            for kind, made in built.items():
                chosen = _chosen(material, pool, kind, block, own, k)
                for clip, negatives, is_enough in zip(block, chosen, enough.tolist(), strict=True):
                    if is_enough:
                        made.items.append(_item(material, pool, kind, k, clip, negatives))
                    else:
                        made.left_out["too-few-negatives"] += 1
    return built


def _pools(material: Material) -> Iterator[tuple[str, Sequence[int]]]:
    """(name, clips in ascending order) of whose comments are candidates of whom."""
    corpus = material.corpus
    if material.protocol.pool == "recording":
        for split, recording_id, clips in corpus.recordings():
            yield f"{split} {recording_id}", clips
        return
    found: dict[str, list[int]] = {}
    for clip, (split, category) in enumerate(zip(corpus.splits, corpus.categories, strict=True)):
        found.setdefault(split if material.protocol.pool == "split" else f"{split} {category}", []).append(clip)
    yield from found.items()


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The m keys said in the n clips of one pool, in order of the key.

    clips: int64 (n,), ascending. texts: int32 (m,), the text that stands for each key: the most frequent one, then the
    first in order of the text. sources: int32 (m,), the first clip that holds that text. said: bool CSR (n, m), which
    clip says which key. num_clips: int64 (m,), how many clips say it. hashes: uint64 (m,). tie_break: int64 (m,), ranks
    of the hashes. rows: the texts as the material's similarity has them.
    """

    clips: NDArray[np.int64]
    texts: NDArray[np.int32]
    sources: NDArray[np.int32]
    said: Any
    num_clips: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    tie_break: NDArray[np.int64]
    rows: Any

    @classmethod
    def of(cls, material: Material, clips: Sequence[int]) -> Pool:
        from scipy.sparse import csr_matrix

        corpus = material.corpus
        members = np.asarray(clips, dtype=np.int64)
        parts = [comments.of_many(members) for comments in (corpus.context, corpus.responses)]
        text, place = (np.concatenate(column) for column in zip(*parts, strict=True))
        keys, column = np.unique(corpus.key_of[text], return_inverse=True)

        # One text a key: sort the pool's texts by (key, most frequent first, text), take the first of each key.
        distinct, frequency = np.unique(text, return_counts=True)
        order = np.lexsort((distinct, -frequency, corpus.key_of[distinct]))
        _, first = np.unique(corpus.key_of[distinct][order], return_index=True)
        chosen = distinct[order][first]
        earliest = np.full(len(distinct), len(members), dtype=np.int64)
        np.minimum.at(earliest, np.searchsorted(distinct, text), place)

        pairs = np.unique(place * len(keys) + column)
        rows, columns = np.divmod(pairs, len(keys))
        said = csr_matrix((np.ones(len(pairs), dtype=bool), (rows, columns)), shape=(len(members), len(keys)))
        start = hashing(material.seed)
        hashes = np.array([start(corpus.key_names[key]) for key in keys.tolist()], dtype=np.uint64)
        tie_break = np.empty(len(keys), dtype=np.int64)
        tie_break[np.argsort(hashes, kind="stable")] = np.arange(len(keys))
        return cls(
            clips=members,
            texts=chosen.astype(np.int32),
            sources=members[earliest[np.searchsorted(distinct, chosen)]].astype(np.int32),
            said=said,
            num_clips=np.bincount(columns, minlength=len(keys)).astype(np.int64),
            hashes=hashes,
            tie_break=tie_break,
            rows=material.similarity.texts(chosen) if NEEDS_ROWS & set(material.protocol.sets) else None,
        )

    def said_by(self, block: Sequence[int]) -> NDArray[np.bool_]:
        """bool (len(block), m): the keys in the clip's own context and responses."""
        dense: NDArray[np.bool_] = self.said[np.searchsorted(self.clips, block)].toarray()
        return dense


def _chosen(
    material: Material, pool: Pool, kind: str, block: Sequence[int], own: NDArray[np.bool_], k: int
) -> NDArray[np.int64]:
    """Columns of the negatives of each clip of the block, the likeliest first: (len(block), at most k - 1)."""
    size = min(k - 1, own.shape[1])
    if kind != "mixed":
        return _lowest(np.where(own, NEVER, _costs(material, pool, kind, block)), size)
    protocol, taken, parts, left = material.protocol, own.copy(), [], size
    shares = {"popularity": protocol.popular_share, "cosine": protocol.similar_share, "random": 1.0}
    for part, share in shares.items():
        count = min(left, int(share * k + 1e-9))
        if count:
            parts.append(_lowest(np.where(taken, NEVER, _costs(material, pool, part, block)), count))
            np.put_along_axis(taken, parts[-1], True, axis=1)
            left -= count
    return np.concatenate(parts, axis=1)


def _costs(material: Material, pool: Pool, kind: str, block: Sequence[int]) -> NDArray[np.int64]:
    """int64, broadcasts to (len(block), m), no two equal in a row: the keys with the lowest cost become negatives."""
    if kind == "random":
        clips = [stable_hash(material.seed, material.corpus.clip_ids[clip], "random") for clip in block]
        mixed = _mix(pool.hashes[None, :] ^ np.array(clips, dtype=np.uint64)[:, None])
        return (mixed >> np.uint64(1)).astype(np.int64)
    if kind == "cosine":
        similarity = material.similarity.between(material.similarity.contexts(block), pool.rows)
        costs = -np.rint(similarity * material.similarity.quantum).astype(np.int64)
    else:
        costs = -pool.num_clips[None, :]  # a clip says none of the keys left to it: all who say them are others
    return np.asarray(costs * len(pool.tie_break) + pool.tie_break)


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
    clip_id, texts = material.corpus.clip_ids[clip], material.corpus.texts
    pairs = [(truth, clip) for truth in material.truths_of(clip)]
    negatives = negatives[: k - len(pairs)]
    pairs += list(zip(pool.texts[negatives].tolist(), pool.sources[negatives].tolist(), strict=True))
    start = hashing(material.seed, clip_id, kind)
    pairs.sort(key=lambda pair: (start(texts[pair[0]], "order"), pair))
    return Item(
        clip=clip,
        group_id=f"{clip_id}_{kind}{k}",
        candidates=tuple(text for text, _ in pairs),
        sources=tuple(source for _, source in pairs),
    )
