"""TF-IDF over the words of chat, its IDF learnt from the training split alone.

    tfidf = TfIdf.fit(train_comments)
    similarity = tfidf.transform(contexts) @ tfidf.transform(candidates).T      # cosine, sparse

Words are runs of letters, digits and underscores of the folded text (keys.fold), single characters of scripts
written without spaces, and symbols such as emoji; single letters count ("W", "L"). Weights are as in scikit-learn's
TfidfVectorizer with its defaults: raw counts times ln((1 + n) / (1 + df)) + 1, rows L2-normalised, n the number of
training comments. A word never seen in training has df 0, the largest weight: new names must not vanish. Such words
share a block of hashed columns.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .keys import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_UNSEEN = 1 << 18  # columns for words without a row in `terms`; some thousands of them meet in one recording

# Hiragana, katakana, ideographs, Thai: one character is a word. Then words, then symbols outside Latin-1.
_TOKEN = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+|[^\w\s\x00-\xff]"
)
_ASCII_TOKEN = re.compile(r"\w+", re.ASCII)  # the same words, three times as fast


def words(text: str) -> list[str]:
    """The words of a text, in order, with repeats."""
    folded = fold(text)
    return _ASCII_TOKEN.findall(folded) if folded.isascii() else _TOKEN.findall(folded)


@dataclass(frozen=True, eq=False)
class TfIdf:
    """terms: word -> column of the training words. idf: float64 (len(terms) + NUM_UNSEEN,)."""

    terms: Mapping[str, int]
    idf: NDArray[np.float64]

    @classmethod
    def fit(cls, texts: Iterable[str], counts: Iterable[int] | None = None) -> TfIdf:
        """Learn document frequencies; every text is one document, or `counts[i]` equal ones.

        Without texts every word weighs the same (a dataset without a training split).
        """
        weighted: Counter[str] = Counter(texts) if counts is None else Counter()
        if counts is not None:
            for text, count in zip(texts, counts, strict=True):
                weighted[text] += count
        frequencies: Counter[str] = Counter()
        for text, count in weighted.items():
            for word in set(words(text)):
                frequencies[word] += count
        terms = {word: column for column, word in enumerate(sorted(frequencies))}
        seen = np.fromiter((frequencies[word] for word in terms), dtype=np.float64, count=len(terms))
        total = sum(weighted.values())
        df = np.concatenate([seen, np.zeros(NUM_UNSEEN)])
        return cls(terms, np.log((1 + total) / (1 + df)) + 1)

    def counts(self, texts: Sequence[str]) -> Any:
        """How often each word stands in each text: scipy CSR float64 (len(texts), len(idf)).

        Rows may be added up: the counts of a joined context are the sum over its comments.
        """
        from scipy.sparse import csr_matrix

        columns: list[int] = []
        bounds = [0]
        for text in texts:
            columns.extend(self._column(word) for word in words(text))
            bounds.append(len(columns))
        matrix = csr_matrix(
            (np.ones(len(columns)), np.asarray(columns, dtype=np.int32), np.asarray(bounds)),
            shape=(len(texts), len(self.idf)),
        )
        matrix.sum_duplicates()
        return matrix

    def weigh(self, counts: Any) -> Any:
        """Word counts (CSR, (n, len(idf))) as TF-IDF rows of length 1; an empty row stays zero."""
        weighted = counts.astype(np.float64, copy=True).tocsr()
        weighted.data *= self.idf[weighted.indices]
        squares = weighted.multiply(weighted).sum(axis=1)
        norms = np.sqrt(np.asarray(squares).ravel())
        weighted.data /= np.repeat(np.where(norms > 0, norms, 1.0), np.diff(weighted.indptr))
        return weighted

    def transform(self, texts: Sequence[str]) -> Any:
        """L2-normalised TF-IDF rows: scipy CSR float64 (len(texts), len(idf)); a dot product is a cosine."""
        return self.weigh(self.counts(texts))

    def _column(self, word: str) -> int:
        column = self.terms.get(word)
        return (
            len(self.terms) + zlib.crc32(word.encode("utf-8", "surrogatepass")) % NUM_UNSEEN
            if column is None
            else column
        )
