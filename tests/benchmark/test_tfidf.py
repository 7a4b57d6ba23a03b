"""TF-IDF: the weights of scikit-learn where every word is known, and sense where it is not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.benchmark.texts.tfidf import TfIdf, words

TRAIN = ["the boss is dead", "boss fight now", "so dead", "the the cat", "w w w", "W"]


def test_words_of_chat() -> None:
    assert words("NOOOO don't go!! W") == ["noo", "don", "t", "go", "w"]
    assert words("nice 😂 shot") == ["nice", "😂", "shot"]
    assert words("すごい123") == ["す", "ご", "い", "123"]
    assert words("?!") == []


def test_weights_equal_scikit_learn_on_known_words() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    reference = TfidfVectorizer(token_pattern=r"\w+").fit(TRAIN)
    ours = TfIdf.fit(TRAIN)
    texts = ["the boss boss is now dead", "w", "cat so so the fight"]
    expected = (reference.transform(texts) @ reference.transform(TRAIN).T).toarray()
    found = (ours.transform(texts) @ ours.transform(TRAIN).T).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert list(ours.terms) == sorted(reference.vocabulary_)


def test_repeats_may_be_given_as_counts() -> None:
    repeated = TfIdf.fit(["gg"] * 3 + ["boss"])
    counted = TfIdf.fit(["gg", "boss"], [3, 1])
    np.testing.assert_array_equal(repeated.idf, counted.idf)
    assert counted.idf[counted.terms["gg"]] < counted.idf[counted.terms["boss"]]


def test_unseen_words_weigh_most_and_still_match_themselves() -> None:
    tfidf = TfIdf.fit(TRAIN)
    rows = tfidf.transform(["the zergling", "zergling rush", "the"])
    similarity = (rows @ rows.T).toarray()
    assert similarity[0, 1] > similarity[0, 2] > 0
    assert tfidf.idf.argmax() >= len(tfidf.terms)


def test_rows_have_length_one_or_are_empty() -> None:
    rows = TfIdf.fit([]).transform(["one two two", "", "!!!", "😂"])
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    np.testing.assert_allclose(squares, [1, 0, 0, 1])


def test_counts_of_a_joined_text_are_the_sum_of_its_parts() -> None:
    tfidf = TfIdf.fit(TRAIN)
    parts = ["boss fight", "the new boss", "gg!!"]
    joined = tfidf.transform([" ".join(parts)]).toarray()
    summed = tfidf.counts(parts).sum(axis=0)
    from scipy.sparse import csr_matrix

    np.testing.assert_allclose(tfidf.weigh(csr_matrix(summed)).toarray(), joined, atol=1e-15)


def test_nothing_is_learnt_from_what_is_only_transformed() -> None:
    tfidf = TfIdf.fit(TRAIN)
    before = tfidf.idf.copy()
    tfidf.transform(["brand new words"] * 50)
    np.testing.assert_array_equal(tfidf.idf, before)
    assert "brand" not in tfidf.terms


@pytest.mark.parametrize("texts", [[], [""]])
def test_empty_input(texts: list[str]) -> None:
    assert TfIdf.fit(TRAIN).transform(texts).shape == (len(texts), len(TfIdf.fit(TRAIN).idf))


CHATTY = st.text(alphabet=st.sampled_from([*"aAbBlLoO_ws!?.'  \t19", "ß", "İ", "…", "😂", "あ", "す", "é"]))


@settings(deadline=None)
@given(st.lists(st.one_of(CHATTY, st.text()), unique=True), st.lists(CHATTY), st.integers(1, 5))
def test_arrays_give_the_same_to_the_last_bit(train: list[str], texts: list[str], repeats: int) -> None:
    """The way for millions of comments against the plain one."""
    counts = [1 + repeats * n for n in range(len(train))]
    plain = TfIdf.fit(train, counts)
    fast = TfIdf.fit_array(pa.array(train, pa.string()), np.array(counts, dtype=np.int64))
    assert fast.terms == plain.terms and list(fast.terms) == list(plain.terms)
    assert fast.idf.tobytes() == plain.idf.tobytes()
    one, other = plain.counts(texts + train), fast.counts_array(pa.array(texts + train, pa.string()))
    for name in ("data", "indices", "indptr"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert plain.weigh(one).data.tobytes() == fast.weigh(other).data.tobytes()
