"""TF-IDF as if it were fitted anew for every clip, at the price of one fit for the recording.

The released code fits a vectoriser for each clip (FACTS §7: 20 ms a clip); the documents here are the joined context
and every string of the recording. From clip to clip only the words of the joined context change their document
frequency, so the rest is counted once. Weights are scikit-learn's defaults: words of two or more characters, lower
case, counts times ln((1 + n)/(1 + df)) + 1, rows of length 1.

    similarity = RefittedTfIdf(strings).to_context([3, 5])     # cosine of every string to the joined strings 3 and 5
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class RefittedTfIdf:
    """Over m strings. counts: CSC float64 (m, number of words), sorted indices."""

    def __init__(self, strings: Sequence[str]) -> None:
        from scipy.sparse import csc_matrix
        from sklearn.feature_extraction.text import CountVectorizer

        self.num_strings = len(strings)
        try:
            self.counts: Any = csc_matrix(CountVectorizer(dtype=np.float64).fit_transform(strings))
        except ValueError:  # scikit-learn's "empty vocabulary": no string holds a word of two characters
            self.counts = csc_matrix((len(strings), 0))
        self.rows = self.counts.tocsr()
        self.squares = self.counts.power(2)
        self.document_counts = np.diff(self.counts.indptr)
        idf = np.log((2 + self.num_strings) / (1 + self.document_counts)) + 1  # n + 1 documents, one the context
        self.idf_squared = idf**2
        self.norms_squared: Floats = np.asarray(self.squares @ self.idf_squared).ravel()

    def to_context(self, context: Sequence[int]) -> Floats:
        """Cosine of each of the m strings to the joined strings `context`: float64 (m,), 0 where either is empty."""
        joined = np.asarray(self.rows[list(context)].sum(axis=0)).ravel() if len(context) else np.zeros(0)
        words = np.flatnonzero(joined)
        if not len(words):
            return np.zeros(self.num_strings)
        idf = np.log((2 + self.num_strings) / (2 + self.document_counts[words])) + 1
        columns = self.counts[:, words]
        norms_squared = (
            self.norms_squared + np.asarray(self.squares[:, words] @ (idf**2 - self.idf_squared[words])).ravel()
        )
        own = joined[words] * idf
        products = np.asarray(columns @ (own * idf)).ravel()
        lengths = np.sqrt(np.maximum(norms_squared, 0.0)) * np.sqrt(own @ own)
        found: Floats = np.zeros(self.num_strings)
        np.divide(products, lengths, out=found, where=(lengths > 0) & (products > 0))
        return found
