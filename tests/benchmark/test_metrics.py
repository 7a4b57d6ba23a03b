"""Metrics under ties: by hand, by brute force over all orders, against trec_eval, and at their closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videochat.benchmark.metrics.ranks import (
    MEAN_RANK,
    METRICS,
    RECIPROCAL_RANK,
    BadScores,
    MeanRank,
    Recall,
    harmonic,
    parse_metric,
    tie_counts,
)
from videochat.errors import UsageError

levels = st.lists(st.integers(0, 3), min_size=1, max_size=6)


def counts_of(scores, truth=0):
    scores = np.array([scores], dtype=np.float64)
    return tie_counts(scores, np.arange(scores.shape[1])[None], np.array([truth]))


def test_by_hand():
    counts = counts_of([0.5, 0.9, 0.5, 0.1, 0.5])  # one above, two equal: ranks 2, 3 and 4 are equally likely
    assert (counts.above[0], counts.equal[0]) == (1, 2)
    assert Recall(1).values(counts)[0] == 0
    assert Recall(2).values(counts)[0] == pytest.approx(1 / 3)
    assert MEAN_RANK.values(counts)[0] == 3
    assert RECIPROCAL_RANK.values(counts)[0] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)


@given(levels, st.data())
def test_ties_are_the_mean_over_all_orders(scores, data):
    truth = data.draw(st.integers(0, len(scores) - 1))
    ranks = [
        sorted(order, key=lambda i: -scores[i]).index(truth) + 1  # a stable sort of one order of the candidates
        for order in itertools.permutations(range(len(scores)))
    ]
    counts = counts_of(scores, truth)
    for k in (1, 2, 5):
        assert Recall(k).values(counts)[0] == pytest.approx(np.mean([rank <= k for rank in ranks]))
    assert MEAN_RANK.values(counts)[0] == pytest.approx(np.mean(ranks))
    assert RECIPROCAL_RANK.values(counts)[0] == pytest.approx(np.mean([1 / rank for rank in ranks]))


@given(levels, st.randoms(use_true_random=False))
def test_the_order_of_candidates_changes_no_digit(scores, random):
    order = list(range(len(scores)))
    random.shuffle(order)
    before = counts_of(scores)
    after = counts_of([scores[i] for i in order], order.index(0))
    for metric in METRICS:
        assert metric.values(before)[0] == metric.values(after)[0]


@pytest.mark.parametrize("k", [1, 2, 10, 100])
def test_a_constant_scorer_is_at_chance(k):
    counts = counts_of([7.0] * k)
    for metric in METRICS:
        assert metric.values(counts)[0] == pytest.approx(metric.chance(k), abs=1e-12)
    assert harmonic(100)[-1] / 100 == pytest.approx(0.0519, abs=5e-5)  # FACTS §3


def test_without_ties_the_reciprocal_is_exact():
    scores = np.eye(100) * np.arange(1, 101)[:, None] - np.arange(100)[None] / 1000
    ids = np.tile(np.arange(100), (100, 1))
    counts = tie_counts(scores, ids, np.arange(100))
    assert (RECIPROCAL_RANK.values(counts) == 1 / (counts.above + 1)).all()


def test_minus_infinity_is_legal_and_nan_is_not():
    counts = counts_of([-np.inf, -np.inf, 1.0])
    assert (counts.above[0], counts.equal[0]) == (1, 1)
    with pytest.raises(BadScores, match=r"my model: 1 of 3 scores are NaN"):
        tie_counts(np.array([[np.nan, 0, 1]]), np.arange(3)[None], np.array([1]), what="my model")
    with pytest.raises(BadScores, match="shape"):
        tie_counts(np.zeros((1, 2)), np.arange(3)[None], np.array([1]))


def test_equality_is_exact_on_float64():
    assert counts_of([0.3, 0.1 + 0.2]).above[0] == 1


def test_no_clips():
    counts = tie_counts(np.zeros((0, 10)), np.zeros((0, 10), int), np.zeros(0, int))
    assert all(len(metric.values(counts)) == 0 for metric in METRICS)


def test_metrics_print_and_parse_back():
    assert [str(metric) for metric in METRICS] == ["R@1", "R@2", "R@5", "R@10", "MR", "MRR"]
    assert all(parse_metric(str(metric)) == metric for metric in METRICS)
    assert not MeanRank().higher_is_better
    assert not Recall(10).is_defined(10) and Recall(10).is_defined(11)
    for wrong in ("R@0", "R@", "nDCG@10", ""):
        with pytest.raises(UsageError):
            parse_metric(wrong)


def test_equals_pytrec_eval_without_ties():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    random = np.random.default_rng(1)
    scores = np.stack([random.permutation(10) for _ in range(50)]).astype(np.float64)
    ids, truths = np.tile(np.arange(10), (50, 1)), random.integers(10, size=50)
    qrels = {f"q{i}": {f"t{truth}": 1} for i, truth in enumerate(truths)}
    run = {f"q{i}": {f"t{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    measures = {"recip_rank", "success.1,5"}
    found = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    counts = tie_counts(scores, ids, truths)
    for metric, name in ((RECIPROCAL_RANK, "recip_rank"), (Recall(1), "success_1"), (Recall(5), "success_5")):
        theirs = [found[f"q{i}"][name] for i in range(50)]
        np.testing.assert_allclose(metric.values(counts), theirs, rtol=0, atol=1e-12)


@pytest.mark.fixtures
def test_meets_trec_evals_published_output(real):
    """recip_rank of trec_eval's own test: our truth is the best-ranked relevant document among the irrelevant ones.

    trec_eval breaks ties by document name; where the best relevant document is tied, ours is the expectation.
    """
    folder = real / "vectors" / "trec_eval"
    relevant: dict[str, set[str]] = {}
    for line in (folder / "qrels.test").read_text().splitlines():
        query, _, document, grade = line.split()
        relevant.setdefault(query, set()).update([document] if int(grade) > 0 else [])
    retrieved: dict[str, list[tuple[str, float]]] = {}
    for line in (folder / "results.test").read_text().splitlines():
        query, _, document, _, score, *_ = line.split()
        retrieved.setdefault(query, []).append((document, float(score)))
    published: dict[str, float] = {}
    for line in (folder / "out.test.aq").read_text().splitlines():
        if line.startswith("recip_rank"):
            _, query, value = line.split()
            published[query] = float(value)
    ours: dict[str, float] = {}
    for query, ranked in retrieved.items():
        good = [score for document, score in ranked if document in relevant[query]]
        scores = [max(good), *(score for document, score in ranked if document not in relevant[query])]
        counts = counts_of(scores)
        assert counts.equal[0] == 0, "the published value would depend on names"
        ours[query] = float(RECIPROCAL_RANK.values(counts)[0])
    assert len(ours) == 3
    for query, value in ours.items():
        assert value == pytest.approx(published[query], abs=5e-5)
    assert np.mean(list(ours.values())) == pytest.approx(published["all"], abs=5e-5)
