"""Scorers that ask what a set gives away: a statistic reversed, and the frequency inside the recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import ClipScores, ClipView, Commenter, TextTable

if TYPE_CHECKING:
    from videochat.dataset import Dataset
    from videochat.schema import Clip


class Reversed:
    """Another scorer upside down: "-tfidf" prefers what "tfidf" likes least."""

    def __init__(self, commenter: Commenter) -> None:
        self.commenter = commenter
        self.name = f"-{commenter.name}"
        self.needs = commenter.needs

    def fit(self, train: Iterable[Clip]) -> None:
        if callable(fit := getattr(self.commenter, "fit", None)):
            fit(train)

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [ClipScores(score=-found.score) for found in self.commenter.score(clips, candidates, texts)]


class RecordingFrequency:
    """How many comments of the clip's recording are the candidate, letter for letter: what no model may know."""

    name = "recording-frequency"
    needs: frozenset[str] = frozenset()

    def __init__(self, dataset: Dataset) -> None:
        self.counts: dict[str, Counter[str]] = {}
        table = dataset.table(columns=["recording_id", "context", "responses"])
        for row in table.to_pylist():
            found = self.counts.setdefault(row["recording_id"], Counter())
            found.update(comment["text"] for name in ("context", "responses") for comment in row[name])

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        return [
            ClipScores(score=np.array([self.counts[clip.recording_id][texts.texts[i]] for i in ids], dtype=np.float64))
            for clip, ids in zip(clips, candidates, strict=True)
        ]
