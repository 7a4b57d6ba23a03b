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

from .keys import fold, fold_array

if TYPE_CHECKING:
    import pyarrow as pa
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


Words = tuple["NDArray[np.int64]", "NDArray[np.int64]", list[str]]


def word_array(texts: pa.Array) -> Words:
    """All words of a string array: the row and the code of each word, int64 (N,), and the words by code.

    The words of a row are those of `words`, repeats too, in no order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    folded = fold_array(texts)
    plain = pc.string_is_ascii(folded)
    split = pc.split_pattern_regex(folded.filter(plain), r"[^0-9A-Za-z_]+")
    places = np.flatnonzero(plain.to_numpy(zero_copy_only=False))
    rows = np.repeat(places, pc.list_value_length(split).to_numpy(zero_copy_only=False))
    others = [(row, word) for row in _others(places, len(texts)) for word in words(texts[row].as_py())]
    flat = pa.concat_arrays([split.flatten(), pa.array([word for _, word in others], texts.type)])
    rows = np.concatenate([rows, np.array([row for row, _ in others], dtype=np.int64)])
    encoded = flat.dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
    if "" in names:  # what lies before and after punctuation at an edge
        kept = codes != names.index("")
        rows, codes = rows[kept], codes[kept]
        codes -= codes > names.index("")
        names.remove("")
    return rows.astype(np.int64), codes, names


def _others(places: NDArray[np.int64], size: int) -> list[int]:
    rest = np.ones(size, dtype=np.bool_)
    rest[places] = False
    return np.flatnonzero(rest).tolist()


@dataclass(frozen=True, eq=False)
class TfIdf:
    """terms: word -> column of the training words. idf: float64 (len(terms) + NUM_UNSEEN,)."""

    terms: Mapping[str, int]
    idf: NDArray[np.float64]

    @classmethod
    def fit(cls, texts: Iterable[str], counts: Iterable[int] | None = None) -> TfIdf:
        """Learn document frequencies; every text is one document, or `counts[i]` equal ones.

        Without texts every word weighs the same (a dataset without a training split). Millions of texts come as a
        string array (`fit_array`).
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
        return cls._of(terms, seen, sum(weighted.values()))

    @classmethod
    def fit_array(cls, texts: pa.Array, counts: NDArray[np.int64], found: Words | None = None) -> TfIdf:
        """The same from a string array: texts (n,), each `counts[i]` documents; found: their words, if known."""
        rows, codes, names = found or word_array(texts)
        pairs = np.sort(rows * max(1, len(names)) + codes)  # np.unique would hash millions of numbers, which is slower
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        weights = counts[pairs // max(1, len(names))].astype(np.float64)
        frequencies: NDArray[np.float64] = np.bincount(pairs % max(1, len(names)), weights=weights).astype(np.float64)
        order = sorted(range(len(names)), key=names.__getitem__)
        terms = {names[code]: column for column, code in enumerate(order)}
        return cls._of(terms, frequencies[order], int(counts.sum()))

    @classmethod
    def _of(cls, terms: dict[str, int], frequencies: NDArray[np.float64], total: int) -> TfIdf:
        df = np.concatenate([frequencies, np.zeros(NUM_UNSEEN)])
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

    def counts_array(self, texts: pa.Array, found: Words | None = None) -> Any:
        """`counts` of a string array (n,): the same matrix; found: its words, if they are known."""
        from scipy.sparse import csr_matrix

        rows, codes, names = found or word_array(texts)
        columns = np.fromiter((self._column(name) for name in names), dtype=np.int32, count=len(names))
        shape = (len(texts), len(self.idf))
        matrix = csr_matrix((np.ones(len(rows)), (rows.astype(np.int32), columns[codes])), shape=shape)
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
