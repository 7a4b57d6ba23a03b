"""The candidate-only classifier of the shortcut panel: can the truth be told from the candidates' texts alone?

It learns truth against negative on the groups of the training split (made as the protocol makes those of dev and
test), from what one candidate is by itself: its characters and words (hashed n-grams), its length, and how often its
key is said in the training split. It sees neither the clip nor the other candidates. In balanced groups every string
is the truth once and a negative K - 1 times, so there is nothing to learn, and the theorem puts it exactly at chance
whatever it learnt. Where negatives were chosen by a statistic it finds what gives them away, which no fixed scorer of
the panel may have thought of. The idea is the "answer-only" baseline of annotation artefacts (Gururangan et al.,
"Annotation artifacts in natural language inference data", NAACL 2018).

    classifier = CandidateOnly(dataset, PROTOCOLS["classic"], train_counts, seed=0)
    scores = classifier.scores("cosine", 10, texts)      # float64 (len(texts),), higher = more like a truth
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from videochat.commenter import TextTable
from videochat.files import stable_hash

from ..candidates.material import Material
from ..texts.corpus import COLUMNS, Corpus
from ..texts.keys import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset

    from ..protocols import Protocol

    Floats = NDArray[np.float64]

MAX_CLIPS = 1_500  # of the training split, in whole recordings by hash: more changes no figure in the second digit
NUM_HASHED = 1 << 15  # columns for characters, and as many for words
CHARACTERS = (2, 4)  # lengths of the character n-grams, within words
STRENGTH = 1.0  # inverse of the L2 penalty, scikit-learn's default


class Fitted(NamedTuple):
    """A regression (scikit-learn) over some columns of the features, int32 (m,), ascending."""

    columns: NDArray[np.int32]
    regression: Any


class CandidateOnly:
    """One logistic regression for each kind of set, fitted when it is first asked for.

    train_counts: key -> comments of the training split that have it.
    """

    def __init__(self, dataset: Dataset, protocol: Protocol, train_counts: Mapping[str, int], *, seed: int) -> None:
        self.dataset, self.protocol, self.train_counts, self.seed = dataset, protocol, train_counts, seed
        self._fitted: dict[int, dict[str, Fitted]] = {}
        self._features: tuple[TextTable | None, Any] = (None, None)

    def scores(self, kind: str, k: int, texts: TextTable) -> Floats:
        """The log-odds of each text of the table to be a truth of a set of that kind, float64 (len(texts),).

        Zeros where the training split makes no groups. Sets larger than the headline's are judged by what was learnt
        at the headline's K.
        """
        size = min(k, self.protocol.k)
        if size not in self._fitted:
            self._fitted[size] = self._fit(size)
        model = self._fitted[size].get(kind)
        if model is None:
            return np.zeros(len(texts))
        if self._features[0] is not texts:
            self._features = (texts, self.features(texts.texts, texts.keys))
        return np.asarray(model.regression.decision_function(self._features[1][:, model.columns]), dtype=np.float64)

    def features(self, texts: Sequence[str], text_keys: Sequence[str]) -> Any:
        """CSR float64 (len(texts), 2 * NUM_HASHED + 3): L2-normalised counts, log length, log words, log frequency."""
        from scipy.sparse import csr_matrix, hstack
        from sklearn.feature_extraction.text import HashingVectorizer

        hashed = [
            HashingVectorizer(analyzer=analyzer, ngram_range=span, n_features=NUM_HASHED, alternate_sign=False)
            for analyzer, span in (("char_wb", CHARACTERS), ("word", (1, 1)))
        ]
        plain = np.array(
            [
                (len(text), len(text.split()), self.train_counts.get(name, 0))
                for text, name in zip(texts, text_keys, strict=True)
            ],
            dtype=np.float64,
        ).reshape(-1, 3)
        return hstack([*(vectorizer.transform(texts) for vectorizer in hashed), csr_matrix(np.log2(1 + plain))]).tocsr()

    def _fit(self, k: int) -> dict[str, Fitted]:
        """kind -> the fitted regression; a kind without groups is left out."""
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        from ..candidates.build import construct

        corpus = self._sample()
        if not len(corpus):
            return {}
        material = Material(corpus, corpus, self.protocol, seed=self.seed)
        found = {}
        for kind, built in construct(material, k).items():
            counts: Counter[tuple[int, bool]] = Counter()  # (text number, is it the truth) -> how many candidates
            for item in built.items:
                truth = int(material.truths[item.clip])
                counts.update((text, text == truth) for text in item.candidates)
            if counts:
                rows = sorted(counts)
                texts = [corpus.texts[text] for text, _ in rows]
                model = LogisticRegression(C=STRENGTH, max_iter=2_000, tol=1e-3)
                is_truth = np.array([truth for _, truth in rows])
                weights = np.array([counts[row] for row in rows], dtype=np.float64)
                features = self.features(texts, keys(texts))
                columns = np.unique(features.indices)  # of the others the regression learns nothing
                with threadpool_limits(limits=1):  # vectors so short that threads only wait for each other
                    found[kind] = Fitted(columns, model.fit(features[:, columns], is_truth, sample_weight=weights))
        return found

    def _sample(self) -> Corpus:
        """Whole recordings of the training split in hash order, until they hold MAX_CLIPS clips."""
        import pyarrow as pa
        import pyarrow.compute as pc

        sizes = Counter(self.dataset.table("train", ["recording_id"])["recording_id"].to_pylist())
        order = sorted(sizes, key=lambda name: (stable_hash(self.seed, name, "candidate-only"), name))
        enough = np.searchsorted(np.cumsum([sizes[name] for name in order]), MAX_CLIPS) + 1
        table = self.dataset.table("train", COLUMNS)
        return Corpus.from_table(table.filter(pc.is_in(table["recording_id"], pa.array(order[:enough], pa.string()))))
