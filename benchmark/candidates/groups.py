"""`v1`: balanced groups. K clips of one recording rank the same K strings, each the truth of one of them.

Every string is the truth once and a negative K - 1 times, and all clips of a group carry the strings in one order, so
any scorer that ignores the clip has R@1 = 1/K and MRR = H(K)/K exactly (PROTOCOL; proved in the tests). Clips of a
group are no neighbours, their truths have distinct keys, and no truth stands in another one's context or responses.

Above the protocol's max_k (K = 100) the recordings of a category are one pool: a group then holds clips of several
recordings of a split. The theorem stays exact, but a scorer that knows which stream it is in, which is more than
nothing and less than the clip, may gain (docs/decisions/0008).

Random fills in hash order. Cosine groups truths that share words (TF-IDF, IDF on train). Popularity groups truths
that are about as frequent, inside the recording and in the training split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.files import stable_hash
from videochat.schema import slug

from .material import Built, Item, Material
from .packing import groupable, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PART = 2_000  # clips that are packed at once; the matrices of a part take some 200 MB
QUANTUM = 1 << 20  # similarities become integers: their sums are exact and the same on every machine


def make_groups(material: Material, kind: str, k: int) -> Built:
    """The groups of one set over all pools of the corpus: its recordings, or for a large K its categories.

    Left out, clips with a truth: "too-few-clips" (the pool has less than k), "remainder" (what k does not divide),
    "conflicts" (the truth or the comments of a clip agree with too few others).
    """
    built = Built()
    for name, clips in pools(material, k):
        rows = sorted(
            material.clips_with_truth(clips),
            key=lambda clip: (stable_hash(material.seed, material.corpus.clip_ids[clip], kind, "fill"), clip),
        )
        if len(rows) < k:
            built.left_out["too-few-clips"] += len(rows)
            continue
        number = 0
        for part in _parts(rows, k):
            groups = _pack(material, kind, k, part, built.left_out)
            for group in groups:
                built.items.extend(_items(material, group, f"{name}_{kind}{k}_{number:03}"))
                number += 1
    return Built(items=built.items, left_out=+built.left_out)


def pools(material: Material, k: int) -> Iterator[tuple[str, Sequence[int]]]:
    """(name, clip numbers) of what groups of K are made within: each recording, category of a split, or split."""
    corpus = material.corpus
    pool = material.protocol.pool_of(k)
    if pool == "recording":
        for _, recording_id, clips in corpus.recordings():
            yield recording_id, clips
        return
    found: dict[tuple[str, str], list[int]] = {}
    for clip, (split, category) in enumerate(zip(corpus.splits, corpus.categories, strict=True)):
        found.setdefault((split, category if pool == "category" else "all"), []).append(clip)
    for split, category in sorted(found):
        # The hash tells categories apart whose names make one slug.
        name = f"{split}-{slug(category)}-{stable_hash(category) % 0x10000:04x}"
        yield name, found[split, category]


def _parts(rows: list[int], k: int) -> Iterator[list[int]]:
    """`rows` in runs of at most MAX_PART (or k), all but the last a multiple of k, so that little is left over."""
    num_parts = -(-len(rows) // max(MAX_PART, 2 * k))
    size = -(-len(rows) // (num_parts * k)) * k
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _pack(material: Material, kind: str, k: int, rows: list[int], left_out: Counter[str]) -> list[list[int]]:
    """The groups among `rows` (clips in the order of filling), clips ascending; what is left over is counted."""
    conflicts = conflicts_of(material, rows)
    possible = groupable(conflicts, k)
    if not len(possible):
        left_out["conflicts"] += len(rows)
        return []
    hopeful = [rows[row] for row in possible]
    similarity = _SIMILARITY[kind](material, hopeful) if kind in _SIMILARITY else None
    groups = pack(conflicts[np.ix_(possible, possible)], k=k, similarity=similarity)
    left_out["remainder"] += len(hopeful) % k
    left_out["conflicts"] += len(rows) - len(hopeful) % k - k * len(groups)
    return sorted(sorted(hopeful[row] for row in group) for group in groups)


def conflicts_of(material: Material, rows: Sequence[int], *, neighbours: bool = True) -> NDArray[np.bool_]:
    """bool (n, n): which of these clips must not share a group.

    neighbours: they must not; False tells what that rule alone costs.
    """
    corpus = material.corpus
    conflicts = np.zeros((len(rows), len(rows)), dtype=bool)
    places: dict[str, list[int]] = {}
    holders: dict[int, list[int]] = {}
    for position, clip in enumerate(rows):
        places.setdefault(corpus.recording_ids[clip], []).append(position)
        holders.setdefault(material.truth_key(clip), []).append(position)
    for here in places.values() if neighbours else ():
        clips = [rows[position] for position in here]
        starts, lengths = corpus.start_ms[clips], corpus.clip_ms[clips]
        near = np.abs(starts[:, None] - starts) <= np.maximum(lengths[:, None], lengths)  # tiles |i - j| <= 1
        conflicts[np.ix_(here, here)] = near
    for position, clip in enumerate(rows):
        for said in corpus.keys_of(clip) & holders.keys():
            conflicts[position, holders[said]] = True
    conflicts |= conflicts.T.copy()
    np.fill_diagonal(conflicts, False)
    return conflicts


def _items(material: Material, group: Sequence[int], group_id: str) -> list[Item]:
    clip_ids = material.corpus.clip_ids
    order = sorted(group, key=lambda clip: (stable_hash(material.seed, group_id, clip_ids[clip], "order"), clip))
    candidates = tuple(int(material.truths[clip]) for clip in order)
    return [Item(clip=clip, group_id=group_id, candidates=candidates, sources=tuple(order)) for clip in group]


def _same_words(material: Material, rows: Sequence[int]) -> NDArray[np.int64]:
    vectors = material.similarity.texts(material.truths[list(rows)])
    return _whole(material.similarity.between(vectors, vectors))


def _same_frequency(material: Material, rows: Sequence[int]) -> NDArray[np.int64]:
    """Minus the sum of the distances of log2(1 + frequency), in the clip's recording and in the training split."""
    names = material.corpus.key_names
    pairs = [(material.recording_counts[clip], material.truth_key(clip)) for clip in rows]
    frequencies = np.array([[here[n], material.train_counts[names[n]]] for here, n in pairs], dtype=np.float64)
    levels = np.log2(1 + frequencies)
    return _whole(-sum(np.abs(level[:, None] - level) for level in levels.T))


def _whole(similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(similarity * QUANTUM).astype(np.int64)


_SIMILARITY: dict[str, Callable[[Material, Sequence[int]], NDArray[np.int64]]] = {
    "cosine": _same_words,
    "popularity": _same_frequency,
}
