"""The simple scorers, as Commenters: what any model has to beat. Registered in MODELS when this module is imported.

Each scores a candidate from its text and the clip's view alone, so batches, order and other candidates change
nothing. Statistics come from the training split, through `fit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.commenter import MODELS, ClipScores, ClipView, Commenter, LoadContext, ModelEntry, TextTable
from videochat.files import stable_hash
from videochat.schema import Clip

from ..texts.keys import keys
from ..texts.tfidf import TfIdf

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTHING: frozenset[str] = frozenset()
TWO_TO_64 = 2.0**64


def _scores(values: Iterable[float]) -> ClipScores:
    return ClipScores(score=np.fromiter(values, dtype=np.float64))


def hash_score(seed: int, clip_id: str, text: str) -> float:
    """A number in [0, 1) drawn by hash: the same on every machine, for every order of clips and candidates."""
    return stable_hash(seed, "random", clip_id, text) / TWO_TO_64


class Random:
    """A hash of seed, clip and text."""

    name = "random"
    needs = NOTHING

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [
            _scores(hash_score(self.seed, clip.clip_id, texts.texts[i]) for i in ids)
            for clip, ids in zip(clips, candidates, strict=True)
        ]


class Constant:
    """0 for every candidate: all tied, so exactly at chance on every set."""

    name = "constant"
    needs = NOTHING

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [ClipScores(score=np.zeros(len(ids))) for ids in candidates]


class Length:
    """The number of characters of the candidate: long comments first."""

    name = "length"
    needs = NOTHING

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [_scores(len(texts.texts[i]) for i in ids) for ids in candidates]


class Popularity:
    """How many comments of the training split have the candidate's key; 0 before `fit`."""

    name = "popularity"
    needs = NOTHING

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def fit(self, train: Iterable[Clip]) -> None:
        texts = Counter(_comments_of(train))
        self.counts = Counter()
        for name, count in zip(keys(texts), texts.values(), strict=True):
            self.counts[name] += count

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [_scores(self.counts[texts.keys[i]] for i in ids) for ids in candidates]


class TfIdfToContext:
    """TF-IDF cosine of the candidate to the joined context comments; IDF from the training split."""

    name = "tfidf"
    needs = NOTHING

    def __init__(self, tfidf: TfIdf | None = None) -> None:
        self.tfidf = tfidf or TfIdf.fit([])
        self._rows: tuple[TextTable | None, Any] = (None, None)  # TF-IDF of the last table that was ranked

    def fit(self, train: Iterable[Clip]) -> None:
        texts = Counter(_comments_of(train))
        self.tfidf = TfIdf.fit(list(texts), list(texts.values()))
        self._rows = (None, None)

    def rows(self, texts: TextTable) -> Any:
        if self._rows[0] is not texts:
            self._rows = (texts, self.tfidf.transform(texts.texts))
        return self._rows[1]

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        rows = self.rows(texts)
        contexts = self.tfidf.transform([" ".join(comment.text for comment in clip.context) for clip in clips])
        sizes = np.array([len(ids) for ids in candidates], dtype=np.int64)
        flat = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in candidates])
        found = cosines(rows, flat, contexts, np.repeat(np.arange(len(sizes)), sizes))
        return [ClipScores(score=part) for part in np.split(found, np.cumsum(sizes)[:-1])]


def cosines(
    left: Any, left_rows: NDArray[np.int64], right: Any, right_rows: NDArray[np.int64], step: int = 20_000
) -> NDArray[np.float64]:
    """left[left_rows[i]] · right[right_rows[i]] of CSR matrices: float64 (n,), each summed on its own, by column."""
    parts = [
        np.asarray(left[left_rows[i : i + step]].multiply(right[right_rows[i : i + step]]).sum(axis=1)).ravel()
        for i in range(0, len(left_rows), step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _comments_of(clips: Iterable[Clip]) -> Iterator[str]:
    for clip in clips:
        for comment in (*clip.context, *clip.responses):
            yield comment.text


def _register(name: str, summary: str, load: Callable[[LoadContext], Commenter]) -> None:
    MODELS.add(name, ModelEntry(name=name, summary=summary, load=load))


_register("random", "a hash of clip and comment", lambda context: Random(context.seed))
_register("constant", "the same score for every comment", lambda context: Constant())
_register("length", "long comments first", lambda context: Length())
_register("popularity", "comments that are frequent in the training split first", lambda context: Popularity())
_register("tfidf", "TF-IDF similarity to the context comments", lambda context: TfIdfToContext())

SCORERS = ("random", "constant", "length", "popularity", "tfidf")
