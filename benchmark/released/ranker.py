"""Rank commenters on the lists of `released-2025`: candidates in their order with repeats, a batch of clips at a time.

ranker = ReleasedRanker(dataset, lists.rows, protocol, seed=0)
scores = ranker.scores(commenter, "cosine")           # float64 (n, K), the truth where ranker.truths says
ranker.means(scores, "cosine")                        # {"R@1": ..., "MRR": ...} as the protocol averages them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import ClipView, Commenter, TextTable
from videochat.errors import Mismatch
from videochat.files import stable_hash
from videochat.schema import Clip

from ..metrics.ranks import BadScores
from ..texts.embeddings import text_embeddings
from ..texts.keys import keys
from .clips import ReleasedDataset
from .lists import StoredLists
from .protocol import SETS, ReleasedProtocol
from .ranking import METRICS, averaged, rank_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.workspace import Workspace

    Floats = NDArray[np.float64]


class ReleasedRanker:
    """views: what is shown of each clip, in order of `rows`. texts: all candidates, each once.

    draw: which of the re-drawn contexts is shown (they differ at every read in the released code). clips: the clips as
    the shards hold them, where they are in memory already.
    """

    def __init__(
        self,
        workspace: Workspace,
        dataset: ReleasedDataset,
        rows: Sequence[StoredLists],
        protocol: ReleasedProtocol,
        *,
        seed: int = 0,
        draw: int = 0,
        clips: Mapping[str, Clip] | None = None,
    ) -> None:
        self.rows = list(rows)
        self.protocol = protocol
        self.dataset = dataset
        self.seed = seed
        if clips is None:
            found = dataset.views({row.clip_id for row in rows}, draw=draw)
        else:
            found = {row.clip_id: dataset.view_of(dataset.shown(clips[row.clip_id]), draw) for row in rows}
        if missing := [row.clip_id for row in rows if row.clip_id not in found]:
            raise Mismatch(f"{len(missing)} ranked clips are not in the shards, {missing[0]} first", fix="build again")
        self.views: list[ClipView] = [found[row.clip_id] for row in rows]
        sources: dict[str, str] = {}
        for row in rows:
            for text in {text for kind in SETS for text in row.candidates(kind, protocol.k)}:
                sources[text] = min(sources.get(text, row.recording_id), row.recording_id)
        texts = sorted(sources)
        embeddings = text_embeddings(workspace, dataset, texts, [sources[text] for text in texts])
        self.texts = TextTable(texts, keys(texts), embeddings)
        self._numbers = {text: number for number, text in enumerate(texts)}

    def candidates(self, kind: str) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Text numbers of each clip's candidates in the order in which they are ranked, and where the truth stands."""
        order = self.order(kind)
        ids = np.array([self._ids(row, kind) for row in self.rows], dtype=np.int64).reshape(order.shape)
        return np.take_along_axis(ids, order, axis=1).tolist(), (order == 0).argmax(axis=1)

    def order(self, kind: str) -> NDArray[np.int64]:
        """For each clip the places of its candidates in the stored order, the truth being 0: int64 (n, K)."""
        k = self.protocol.k
        if self.protocol.order == "truth-first":
            return np.tile(np.arange(k), (len(self.rows), 1))
        seeds = [stable_hash(self.seed, row.clip_id, kind, "order") for row in self.rows]
        return np.array([np.random.default_rng(seed).permutation(k) for seed in seeds]).reshape(-1, k)

    def _ids(self, row: StoredLists, kind: str) -> list[int]:
        return [self._numbers[text] for text in row.candidates(kind, self.protocol.k)]

    def scores(self, commenter: Commenter, kind: str) -> Floats:
        """float64 (n, K) in the order of `candidates`. Raises BadScores if a model returns something else."""
        return np.take_along_axis(self.stored_scores(commenter, kind), self.order(kind), axis=1)

    def stored_scores(self, commenter: Commenter, kind: str) -> Floats:
        """The same in the stored order, the truth first; no score may depend on the order."""
        rows = [self._ids(row, kind) for row in self.rows]
        found = np.zeros((len(rows), self.protocol.k))
        size = self.protocol.batch_clips
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            answers = commenter.score(self.views[part], rows[part], self.texts)
            if len(answers) != len(rows[part]) or any(a.score.shape != (self.protocol.k,) for a in answers):
                raise BadScores(f"{commenter.name}: not one score for each candidate", fix="K numbers for each clip")
            found[part] = [answer.score for answer in answers]
        return found

    def values(self, scores: Floats, kind: str, *, what: str = "scores") -> Floats:
        """The metrics of each clip: float64 (n, len(METRICS))."""
        counts = rank_counts(scores, self.candidates(kind)[1], ties=self.protocol.ties, what=what)
        return np.stack([metric.values(counts) for metric in METRICS], axis=1)

    def means(self, scores: Floats, kind: str, *, what: str = "scores") -> dict[str, float]:
        """The metrics as the protocol averages them."""
        batch = self.protocol.batch_clips if self.protocol.averaging == "batches" else None
        averages = averaged(self.values(scores, kind, what=what), batch_clips=batch)
        return {metric.name: round(float(value), 6) for metric, value in zip(METRICS, averages, strict=True)}
