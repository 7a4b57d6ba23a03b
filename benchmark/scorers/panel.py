"""The shortcut panel: scorers that may use what no model may, to see whether a set gives its answers away.

    length, -length                        characters of the candidate
    recording-frequency, -...              comments of the clip's recording that have the candidate's key
    corpus-frequency, -...                 the same over all splits
    central, odd-one-out                   TF-IDF similarity to the clip's other candidates: the most, the least
    candidate-only                         a classifier of the candidate's text, trained on groups of the training split
    context-tfidf, -context-tfidf          TF-IDF similarity to the clip's context: a baseline, not a shortcut

All but the last two ignore the clip (within its recording). On balanced groups (PROTOCOL v1) such a scorer is exactly
at chance; if it is not, the set fails its audit. On sets of chosen negatives they show the leak. Where a set pools the
recordings of a category (K = 100), the frequency in the clip's recording tells one stream from another: there it is a
figure, not a check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import TextTable
from videochat.schema import SPLITS

from ..scores.blocks import REAL, ScoreBlock
from ..scores.tasks import Layout, Task
from ..texts.corpus import Corpus
from ..texts.keys import keys
from ..texts.tfidf import TfIdf
from .baselines import cosines
from .candidate_only import CandidateOnly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset

    from ..protocols import Protocol

    Floats = NDArray[np.float64]

BLIND = (
    *("length", "-length", "recording-frequency", "-recording-frequency"),
    *("corpus-frequency", "-corpus-frequency", "central", "odd-one-out", "candidate-only"),
)
BY_RECORDING = ("recording-frequency", "-recording-frequency")  # blind to the clip, not to the stream it is from
CONTEXT = ("context-tfidf", "-context-tfidf")
NAMES = tuple(f"panel:{name}" for name in (*BLIND, *CONTEXT))


class Panel:
    """Counts of a dataset and TF-IDF (IDF on train) of a text table, from which every panel scorer follows.

    protocol: how the candidate-only classifier's training groups are made; seed: which recordings it learns from.
    ends: clip_id -> when its view ends, where that is later than its context (track at-comment).
    """

    def __init__(
        self,
        dataset: Dataset,
        texts: TextTable,
        protocol: Protocol,
        *,
        seed: int = 0,
        ends: Mapping[str, int] | None = None,
    ) -> None:
        corpus = Corpus.read(dataset, SPLITS)
        said, counts = _texts_of(corpus, "train")
        self.tfidf = TfIdf.fit(said, counts)
        train_counts: Counter[str] = Counter()
        for name, count in zip(keys(said), counts, strict=True):
            train_counts[name] += count
        self.candidate_only = CandidateOnly(dataset, protocol, train_counts, seed=seed)
        self.protocol, self.ends = protocol, ends or {}
        self.texts = texts
        self.rows = self.tfidf.transform(texts.texts)
        self.lengths = np.array([len(text) for text in texts.texts], dtype=np.float64)
        totals = corpus.key_counts()
        self.corpus_counts = np.array([totals[name] for name in texts.keys], dtype=np.float64)
        self.clip_numbers = {clip_id: number for number, clip_id in enumerate(corpus.clip_ids)}
        self.recording_counts: dict[str, Counter[str]] = {}
        for _, recording_id, clips in corpus.recordings():
            found = self.recording_counts.setdefault(recording_id, Counter())
            for comments in (corpus.context, corpus.responses):
                numbers = comments.texts[comments.bounds[clips.start] : comments.bounds[clips.stop]]
                for key, count in zip(*np.unique(corpus.key_of[numbers], return_counts=True), strict=True):
                    found[corpus.key_names[key]] += int(count)
        self.corpus = corpus

    def blocks(self, task: Task) -> list[ScoreBlock]:
        """The scores of the panel on one task."""
        ascending: dict[str, Floats] = {
            "length": self.lengths[task.candidates],
            "recording-frequency": self._recording_frequency(task),
            "corpus-frequency": self.corpus_counts[task.candidates],
            "central": self._central(task),
            "context-tfidf": self._context(task),
        }
        kind = next((kind for kind in self.protocol.sets if task.name.startswith(kind)), "")
        learnt = self.candidate_only.scores(kind, task.k, self.texts)
        values = {**ascending, **{f"-{name}": -value for name, value in ascending.items()}}
        values["odd-one-out"] = values["-central"]
        values["candidate-only"] = learnt[task.candidates]
        layout = Layout.of_task(task)
        return [
            ScoreBlock(f"panel:{name}", REAL, task.split, task.name, layout, values[name].astype(np.float64).ravel())
            for name in (*BLIND, *CONTEXT)
        ]

    def _recording_frequency(self, task: Task) -> Floats:
        result = np.zeros(task.candidates.shape)
        for row, (recording, ids) in enumerate(zip(task.recording_ids, task.candidates, strict=True)):
            counts = self.recording_counts.get(str(recording), Counter())
            result[row] = [counts[self.texts.keys[i]] for i in ids]
        return result

    def _central(self, task: Task) -> Floats:
        """The summed cosine of each candidate to the others; clips with equal candidates share one computation."""
        known: dict[bytes, Floats] = {}
        result = np.zeros(task.candidates.shape)
        for row, ids in enumerate(task.candidates):
            name = ids.tobytes()
            if name not in known:
                part = self.rows[ids]
                similarity = (part @ part.T).toarray()
                np.fill_diagonal(similarity, 0.0)
                known[name] = similarity.sum(axis=1)
            result[row] = known[name]
        return result

    def _context(self, task: Task) -> Floats:
        joined = [" ".join(self.corpus.texts[i] for i in self._seen(clip_id)) for clip_id in task.clip_ids.tolist()]
        owners = np.repeat(np.arange(len(task)), task.k)
        found = cosines(self.rows, task.candidates.ravel().astype(np.int64), self.tfidf.transform(joined), owners)
        return found.reshape(task.candidates.shape)

    def _seen(self, clip_id: str) -> NDArray[np.int32]:
        """Text numbers of the comments in the clip's view."""
        clip, responses = self.clip_numbers[clip_id], self.corpus.responses
        times = responses.times_ms[responses.bounds[clip] : responses.bounds[clip + 1]]
        earlier = responses.of(clip)[times < self.ends.get(clip_id, 0)]
        return np.concatenate([self.corpus.context.of(clip), earlier])


def _texts_of(corpus: Corpus, split: str) -> tuple[list[str], list[int]]:
    """The distinct texts of one split and how many of its comments have each."""
    inside = np.array([name == split for name in corpus.splits], dtype=np.bool_)
    counts = np.zeros(len(corpus.texts), dtype=np.int64)
    for comments in (corpus.context, corpus.responses):
        texts = comments.texts[np.repeat(inside, np.diff(comments.bounds))]
        counts += np.bincount(texts, minlength=len(counts))
    found = np.flatnonzero(counts)
    return [corpus.texts[i] for i in found], counts[found].tolist()
