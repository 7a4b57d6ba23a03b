"""What candidate sets are made from, read and counted once for all sets of a protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ..texts.corpus import Corpus, Said
from ..texts.tfidf import TfIdf, Words, word_array
from .similarity import Similarity, WordSimilarity, similarity_of
from .truth import NO_TRUTH, draw_other_truths, draw_truths, generic_keys

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from ..protocols import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One clip with its candidates. clip and sources are clip numbers of the corpus, candidates text numbers.

    sources: for each candidate the clip it comes from (for a negative of `classic`, the first that holds its text).
    """

    clip: int
    group_id: str
    candidates: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A set before it is written. left_out: reason -> number of clips that have a truth and no place."""

    items: list[Item] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Material:
    """corpus: the clips that get candidates; the training split gives frequencies and IDF, nothing else."""

    def __init__(
        self,
        corpus: Corpus,
        train: Corpus | Said,
        protocol: Protocol,
        *,
        seed: int,
        similarity: Callable[[Material], Similarity] = WordSimilarity,
    ) -> None:
        self.corpus = corpus
        self.protocol = protocol
        self.seed = seed
        self._train = train
        self.truths: NDArray[np.int32] = draw_truths(corpus, seed=seed)
        self.other_truths: dict[int, tuple[int, ...]] = draw_other_truths(corpus, self.truths, protocol, seed=seed)
        self.pools: dict[str, Any] = {}  # of chosen negatives, shared by sets of several K
        self._similarity = similarity

    @classmethod
    def read(
        cls,
        dataset: Dataset,
        splits: Sequence[str],
        protocol: Protocol,
        *,
        seed: int,
        workspace: Workspace | None = None,
    ) -> Material:
        corpus = Corpus.read(dataset, splits)
        train = corpus if tuple(splits) == ("train",) else Said.read(dataset, "train")
        similarity = partial(similarity_of, workspace=workspace, dataset=dataset)
        return cls(corpus, train, protocol, seed=seed, similarity=similarity)

    @cached_property
    def similarity(self) -> Similarity:
        """What the protocol's Cosine sets measure by."""
        return self._similarity(self)

    @cached_property
    def train_counts(self) -> Counter[str]:
        """How many comments of the training split have each key."""
        return self._train.key_counts()

    @cached_property
    def generic_keys(self) -> frozenset[str]:
        return generic_keys(self.train_counts, self.protocol)

    @cached_property
    def tfidf(self) -> TfIdf:
        """Fitted on the comments of the training split, each a document."""
        return TfIdf.fit_array(self._train.text_array, self._train.text_counts(), self._shared_words)

    @cached_property
    def word_counts(self) -> Any:
        """Word counts of every text of the corpus: CSR (len(corpus.texts), number of words)."""
        return self.tfidf.counts_array(self.corpus.text_array, self._shared_words)

    @cached_property
    def _shared_words(self) -> Words | None:
        """The words of the corpus where it is what is learnt from, too."""
        return word_array(self.corpus.text_array) if self._train is self.corpus else None

    @cached_property
    def recording_counts(self) -> list[Counter[int]]:
        """For each clip of the corpus: how many comments of its recording have each key, by key number."""
        corpus, found = self.corpus, []
        for _, _, clips in corpus.recordings():
            here: Counter[int] = Counter()
            for comments in (corpus.context, corpus.responses):
                here.update(
                    corpus.key_of[comments.texts[comments.bounds[clips.start] : comments.bounds[clips.stop]]].tolist()
                )
            found += [here] * len(clips)
        return found

    def clips_with_truth(self, clips: Sequence[int]) -> list[int]:
        return [clip for clip in clips if self.truths[clip] != NO_TRUTH]

    def truths_of(self, clip: int) -> tuple[int, ...]:
        """Text numbers of the clip's truths, the drawn one first."""
        return int(self.truths[clip]), *self.other_truths.get(clip, ())

    def truth_key(self, clip: int) -> int:
        """The key number of the clip's truth."""
        return int(self.corpus.key_of[self.truths[clip]])

    def is_generic(self, clip: int) -> bool:
        return self.corpus.key_names[self.truth_key(clip)] in self.generic_keys
