"""The candidates of `released-2025`: one truth and three lists of negatives a clip, duplicates and order kept.

A clip's comments are two sets of strings, so repeats inside a clip and the order are lost (FACTS §2); the pool of a
clip is the contexts and responses of all clips of its recording, without its own responses. Stored are the truth, 20
plausible strings (TF-IDF cosine to the joined context), 20 popular ones (most frequent in the pool) and 39 random ones
with replacement; the first nine of a list are used (FACTS §3).

`np.argpartition(similarity, -1)[::-1]` guarantees its first element alone: what follows depends on NumPy and on the
machine. It is called as it is; the manifest tells how much of the list is in the true top 20 here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from videochat.files import stable_hash

from .protocol import SETS, ReleasedProtocol
from .similarity import RefittedTfIdf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class ChatClip:
    """A clip as two sets of strings, each in an order that means nothing (by hash)."""

    clip_id: str
    recording_id: str
    context: tuple[str, ...]
    responses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StoredLists:
    """The truth of one clip and its stored negatives. own_context: the clip's own context, to count what came of it."""

    clip_id: str
    recording_id: str
    truth: str
    plausible: tuple[str, ...]
    popular: tuple[str, ...]
    random: tuple[str, ...]
    own_context: frozenset[str] = frozenset()
    in_true_top: float = 1.0

    def candidates(self, kind: str, k: int) -> tuple[str, ...]:
        """The K candidates of one set, the truth first."""
        lists = {"cosine": self.plausible, "popularity": self.popular, "random": self.random}
        return (self.truth, *lists[kind][: k - 1])


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Stored lists in order of the clips. left_out: reason -> clips without candidates."""

    rows: list[StoredLists] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def chat_clips(dataset: Dataset, *, seed: int) -> Iterator[tuple[str, list[ChatClip]]]:
    """(recording, its clips in order of time) for every recording, whatever the split."""
    table = dataset.table(columns=["clip_id", "recording_id", "start_ms", "context", "responses"])
    found: dict[str, list[tuple[int, ChatClip]]] = {}
    for row in table.to_pylist():
        hash_of = partial(stable_hash, seed, row["clip_id"])
        sets = [tuple(sorted({c["text"] for c in row[name]}, key=hash_of)) for name in ("context", "responses")]
        clip = ChatClip(clip_id=row["clip_id"], recording_id=row["recording_id"], context=sets[0], responses=sets[1])
        found.setdefault(clip.recording_id, []).append((row["start_ms"], clip))
    for recording in sorted(found):
        yield recording, [clip for _, clip in sorted(found[recording], key=lambda pair: pair[0])]


def make_lists(dataset: Dataset, protocol: ReleasedProtocol, wanted: Collection[str], *, seed: int) -> Lists:
    """The lists of the clips `wanted` (clip ids), in order of recording and time."""
    made = Lists()
    for _, clips in chat_clips(dataset, seed=seed):
        if any(clip.clip_id in wanted for clip in clips):
            _of_recording(clips, protocol, wanted, seed, made)
    return made


def _of_recording(
    clips: Sequence[ChatClip], protocol: ReleasedProtocol, wanted: Collection[str], seed: int, made: Lists
) -> None:
    strings = [text for clip in clips for text in (*clip.context, *clip.responses)]
    sizes = np.array([(len(clip.context), len(clip.responses)) for clip in clips])
    starts = np.concatenate([[0], np.cumsum(sizes.sum(axis=1))])
    tfidf = RefittedTfIdf(strings)
    for clip, start, (num_context, num_responses) in zip(clips, starts, sizes, strict=False):
        if clip.clip_id not in wanted:
            continue
        context = np.arange(start, start + num_context)
        responses = np.arange(start + num_context, start + num_context + num_responses)
        similarity = tfidf.to_context(context.tolist())
        truth = int(responses[_truth(clip, similarity[responses], protocol, seed)])
        in_pool = np.ones(len(strings), dtype=bool)
        in_pool[responses] = False
        pool = np.flatnonzero(in_pool)
        if protocol.own_context == "left-out":
            own = set(clip.context)
            pool = np.array([i for i in pool if strings[i] not in own], dtype=np.int64)
        rows = _stored(clip, strings, truth, pool, similarity, protocol, seed)
        if min(len(rows.plausible), len(rows.popular), len(rows.random)) < protocol.k - 1:
            made.left_out["too-few-strings"] += 1
        else:
            made.rows.append(rows)


def _truth(clip: ChatClip, similarity: NDArray[np.float64], protocol: ReleasedProtocol, seed: int) -> int:
    """Which response: the most similar to the joined context (the first of equals), or one by hash."""
    if protocol.truth == "most-similar":
        return int(similarity.argmax())
    return stable_hash(seed, clip.clip_id, "truth") % len(similarity)


def _once(pool: NDArray[np.int64], strings: Sequence[str], truth: str) -> NDArray[np.int64]:
    """The first of each string of the pool, without the truth's."""
    first: dict[str, int] = {}
    for i in pool.tolist():
        if strings[i] != truth:
            first.setdefault(strings[i], i)
    return np.array(list(first.values()), dtype=np.int64)


def _stored(
    clip: ChatClip,
    strings: Sequence[str],
    truth: int,
    pool: NDArray[np.int64],
    similarity: NDArray[np.float64],
    protocol: ReleasedProtocol,
    seed: int,
) -> StoredLists:
    counts = Counter([strings[i] for i in pool.tolist()])
    draw = np.random.default_rng(stable_hash(seed, clip.clip_id, "negatives"))
    drawn = pool[draw.integers(len(pool), size=protocol.num_random)] if len(pool) else pool
    if protocol.duplicates == "removed":
        counts.pop(strings[truth], None)
        more = draw.permutation(pool)  # for what the repeats leave free
        drawn = _once(np.concatenate([drawn, more]), strings, strings[truth])[: protocol.num_random]
        pool = _once(pool, strings, strings[truth])
    near = similarity[pool]
    exact = np.argsort(-near, kind="stable")[: protocol.num_plausible]
    if protocol.selection == "exact" or not len(pool):
        chosen = exact
    else:
        chosen = np.argpartition(near, -1)[::-1][: protocol.num_plausible]
    texts = [strings[i] for i in pool.tolist()]
    floor = near[exact[-1]] if len(exact) else 0.0
    return StoredLists(
        clip_id=clip.clip_id,
        recording_id=clip.recording_id,
        truth=strings[truth],
        plausible=tuple(texts[i] for i in chosen),
        popular=tuple(text for text, _ in counts.most_common(protocol.num_popular)),
        random=tuple(strings[i] for i in drawn.tolist()),
        own_context=frozenset(clip.context),
        in_true_top=float((near[chosen] >= floor).mean()) if len(chosen) else 0.0,
    )


def facts_of(lists: Lists, k: int) -> dict[str, float | int]:
    """What the defects of the lists amount to: means over clips."""
    rows = lists.rows
    if not rows:
        return {"num_clips": 0}
    used = {kind: [row.candidates(kind, k) for row in rows] for kind in SETS}

    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), 6)

    return {
        "num_clips": len(rows),
        "plausible_in_true_top": mean([row.in_true_top for row in rows]),
        "duplicates_of_plausible": mean([len(row.plausible) - len(set(row.plausible)) for row in rows]),
        "own_context_of_plausible": mean([sum(text in row.own_context for text in row.plausible) for row in rows]),
        "duplicates_of_random": mean([len(row.random) - len(set(row.random)) for row in rows]),
        **{f"truth_repeated_{kind}": mean([row[0] in row[1:] for row in used[kind]]) for kind in SETS},
        **{f"any_repeated_{kind}": mean([len(set(row)) < len(row) for row in used[kind]]) for kind in SETS},
    }
