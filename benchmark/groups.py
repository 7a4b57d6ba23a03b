"""`v1`: balanced groups. K clips of one recording rank the same K strings, each the truth of one of them.

Every string is the truth once and a negative K - 1 times, and all clips of a group carry the strings in one order, so
any scorer that ignores the clip has R@1 = 1/K and MRR = H(K)/K exactly (PROTOCOL; proved in the tests). Clips of a
group are no neighbours, their truths have distinct keys, and no truth stands in another one's context or responses.

Random fills in hash order. Cosine groups truths that share words (TF-IDF, IDF on train). Popularity groups truths
that are about as frequent, inside the recording and in the training split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.files import stable_hash

from .material import Built, Item, Material
from .packing import groupable, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTUM = 1 << 20  # similarities become integers: their sums are exact and the same on every machine


def make_groups(material: Material, kind: str, k: int) -> Built:
    """The groups of one set over all recordings of the corpus.

    Left out, clips with a truth: "too-few-clips" (the recording has less than k), "remainder" (what k does not
    divide), "conflicts" (the truth or the comments of a clip agree with too few others).
    """
    built = Built()
    for _, recording_id, clips in material.corpus.recordings():
        rows = sorted(
            material.clips_with_truth(clips),
            key=lambda clip: (stable_hash(material.seed, material.corpus.clip_ids[clip], kind, "fill"), clip),
        )
        if len(rows) < k:
            built.left_out["too-few-clips"] += len(rows)
            continue
        conflicts = conflicts_of(material, rows)
        possible = groupable(conflicts, k)
        if not len(possible):
            built.left_out["conflicts"] += len(rows)
            continue
        hopeful = [rows[row] for row in possible]
        similarity = _SIMILARITY[kind](material, clips, hopeful) if kind in _SIMILARITY else None
        groups = pack(conflicts[np.ix_(possible, possible)], k=k, similarity=similarity)
        members = sorted(sorted(hopeful[row] for row in group) for group in groups)
        for number, group in enumerate(members):
            built.items.extend(_items(material, group, f"{recording_id}_{kind}{k}_{number:03}"))
        built.left_out["remainder"] += len(hopeful) % k
        built.left_out["conflicts"] += len(rows) - len(hopeful) % k - k * len(groups)
    return Built(items=built.items, left_out=+built.left_out)


def conflicts_of(material: Material, rows: Sequence[int]) -> NDArray[np.bool_]:
    """bool (n, n): which of these clips (of one recording) must not share a group."""
    corpus = material.corpus
    starts, lengths = corpus.start_ms[list(rows)], corpus.clip_ms[list(rows)]
    near = np.abs(starts[:, None] - starts) <= np.maximum(lengths[:, None], lengths)  # tiles |i - j| <= 1
    holders: dict[int, list[int]] = {}
    for position, clip in enumerate(rows):
        holders.setdefault(material.truth_key(clip), []).append(position)
    for position, clip in enumerate(rows):
        for said in corpus.keys_of(clip) & holders.keys():
            near[position, holders[said]] = True
    conflicts: NDArray[np.bool_] = near | near.T
    np.fill_diagonal(conflicts, False)
    return conflicts


def _items(material: Material, group: Sequence[int], group_id: str) -> list[Item]:
    clip_ids = material.corpus.clip_ids
    order = sorted(group, key=lambda clip: (stable_hash(material.seed, group_id, clip_ids[clip], "order"), clip))
    candidates = tuple(int(material.truths[clip]) for clip in order)
    return [Item(clip=clip, group_id=group_id, candidates=candidates, sources=tuple(order)) for clip in group]


def _same_words(material: Material, clips: Sequence[int], rows: Sequence[int]) -> NDArray[np.int64]:
    vectors = material.tfidf.weigh(material.word_counts[material.truths[list(rows)]])
    return _whole((vectors @ vectors.T).toarray())


def _same_frequency(material: Material, clips: Sequence[int], rows: Sequence[int]) -> NDArray[np.int64]:
    """Minus the sum of the distances of log2(1 + frequency), in the recording and in the training split."""
    corpus = material.corpus
    here: Counter[int] = Counter()
    for clip in clips:
        for comments in (corpus.context, corpus.responses):
            here.update(corpus.key_of[comments.of(clip)].tolist())
    numbers = [material.truth_key(clip) for clip in rows]
    frequencies = np.array([[here[n], material.train_counts[corpus.key_names[n]]] for n in numbers], dtype=np.float64)
    levels = np.log2(1 + frequencies)
    return _whole(-np.abs(levels[:, None] - levels).sum(axis=2))


def _whole(similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(similarity * QUANTUM).astype(np.int64)


_SIMILARITY: dict[str, Callable[[Material, Sequence[int], Sequence[int]], NDArray[np.int64]]] = {
    "cosine": _same_words,
    "popularity": _same_frequency,
}
