"""Metrics of the best-ranked of several truths: brute force, closed forms, trec_eval, LiveBot's own definitions."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.benchmark.metrics import several_truths
from videochat.benchmark.metrics.ranks import (
    MEAN_RANK,
    METRICS,
    RECIPROCAL_RANK,
    Metric,
    Recall,
    TieCounts,
    tie_counts,
    truth_mask,
)
from videochat.benchmark.scorers.golden import expected

FIRST = -1  # fills up rows of truths


def counts_of(scores: list[float], truths: list[int]) -> TieCounts:
    values = np.array([scores], dtype=np.float64)
    return tie_counts(values, np.arange(values.shape[1])[None], np.array([truths]))


def ranks_by_enumeration(scores: list[int], truths: set[int]) -> list[int]:
    """The rank of the best truth in every order of the candidates, each sorted stably."""
    ranks = []
    for order in itertools.permutations(range(len(scores))):
        ranked = sorted(order, key=lambda i: -scores[i])
        ranks.append(min(place for place, i in enumerate(ranked, start=1) if i in truths))
    return ranks


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.data())
def test_ties_are_the_mean_over_all_orders_for_every_number_of_truths(k: int, data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.integers(0, 2), min_size=k, max_size=k))
    for num_truths in range(1, k + 1):
        truths = data.draw(st.permutations(range(k)))[:num_truths]
        ranks = Counter(ranks_by_enumeration(scores, set(truths)))
        counts = counts_of([float(score) for score in scores], [*truths, FIRST])
        for metric in (Recall(1), Recall(2), Recall(5), MEAN_RANK, RECIPROCAL_RANK):
            mean = sum(by_rank(metric, rank) * count for rank, count in ranks.items()) / ranks.total()
            assert metric.values(counts)[0] == pytest.approx(mean, abs=1e-12), (metric.name, scores, truths)


def by_rank(metric: Metric, rank: int) -> float:
    if isinstance(metric, Recall):
        return float(rank <= metric.k)
    return float(rank) if metric is MEAN_RANK else 1.0 / rank


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6, 10, 100])
def test_golden_scorers_land_on_the_closed_form_for_every_number_of_truths(k: int) -> None:
    random = np.random.default_rng(k)
    for m in range(1, k + 1):
        truths = random.permutation(k)[:m]
        is_truth = np.isin(np.arange(k), truths).astype(np.float64)
        chances = [math.comb(k - rank, m - 1) / math.comb(k, m) for rank in range(1, k + 1)]  # of the best rank
        for metric in METRICS:
            at_rank = [float(by_rank(metric, rank)) for rank in range(1, k + 1)]
            chance = float(np.dot(chances, at_rank))
            theory = {"oracle": 1.0, "reversed": at_rank[k - m], "golden-constant": chance}
            for name, scores in (("oracle", is_truth), ("reversed", -is_truth), ("golden-constant", 0 * is_truth)):
                found = metric.values(counts_of(scores.tolist(), [*truths.tolist(), FIRST]))[0]
                assert found == pytest.approx(theory[name], abs=1e-12), (name, metric.name, m)
                assert expected(name, metric, k, m) == pytest.approx(theory[name], abs=1e-12), (name, metric.name, m)


@pytest.mark.parametrize(("k", "m"), [(10, 1), (10, 3), (100, 5)])
def test_a_random_scorer_is_at_its_expectation(k: int, m: int) -> None:
    random, size = np.random.default_rng(0), 20_000
    scores, ids = random.random((size, k)), np.tile(np.arange(k), (size, 1))
    counts = tie_counts(scores, ids, np.tile(np.arange(m), (size, 1)))
    for metric in METRICS:
        values = metric.values(counts)
        assert abs(values.mean() - metric.chance(k, m)) <= 5 * values.std() / np.sqrt(size) + 1e-12, metric.name


def test_by_hand() -> None:
    counts = counts_of([0.9, 0.5, 0.5, 0.5, 0.1], [1, 2, 4])  # one above; two truths and one other share ranks 2 to 4
    assert (counts.above[0], counts.equal[0], counts.tied_truths[0]) == (1, 1, 2)  # type: ignore[index]
    assert Recall(1).values(counts)[0] == 0
    assert Recall(2).values(counts)[0] == pytest.approx(2 / 3)
    assert MEAN_RANK.values(counts)[0] == pytest.approx(2 + 1 / 3)
    assert RECIPROCAL_RANK.values(counts)[0] == pytest.approx((2 / 3) / 2 + (1 / 3) / 3)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.data())
def test_one_truth_is_the_same_to_the_last_bit(scores: list[int], data: st.DataObject) -> None:
    truth = data.draw(st.integers(0, len(scores) - 1))
    values = np.array([scores], dtype=np.float64)
    ids = np.arange(len(scores))[None]
    single = tie_counts(values, ids, np.array([truth]))
    padded = tie_counts(values, ids, np.array([[truth, FIRST, FIRST]]))
    for metric in METRICS:
        assert metric.values(single).tobytes() == metric.values(padded).tobytes()
    for form, metric in ((several_truths.rank, MEAN_RANK), (several_truths.reciprocal_rank, RECIPROCAL_RANK)):
        assert form(single.above, single.equal, np.ones(1, np.int64)) == pytest.approx(metric.values(single), abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=3, max_size=10), st.randoms(use_true_random=False), st.data())
def test_no_order_of_candidates_clips_or_truths_changes_a_digit(scores: list[int], random, data) -> None:  # type: ignore[no-untyped-def]
    k = len(scores)
    truths = data.draw(st.permutations(range(k)))[: data.draw(st.integers(1, k))]
    order = list(range(k))
    random.shuffle(order)
    other = [float(value) for value in reversed(scores)]
    before = tie_counts(
        np.array([scores, other], dtype=np.float64), np.tile(np.arange(k), (2, 1)), np.array([truths, truths])
    )
    after = tie_counts(
        np.array([[other[i] for i in order], [scores[i] for i in order]], dtype=np.float64),
        np.tile(order, (2, 1)),
        np.array([truths[::-1], truths[::-1]]),
    )
    for metric in METRICS:
        assert metric.values(before).tobytes() == metric.values(after)[::-1].tobytes()


def ranked_at_random(k: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tie-free scores (size, k) and truths (size, 5), one to five of them a row."""
    random = np.random.default_rng(seed)
    scores = np.stack([random.permutation(k) for _ in range(size)]).astype(np.float64)
    truths = np.stack([random.permutation(k)[:5] for _ in range(size)])
    truths[np.arange(5) >= random.integers(1, 6, size=size)[:, None]] = FIRST
    return scores, truths


def test_equals_trec_eval_on_tie_free_rankings() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    scores, truths = ranked_at_random(40, 200, seed=1)
    qrels = {f"q{i}": {f"t{t}": 1 for t in row if t != FIRST} for i, row in enumerate(truths.tolist())}
    run = {f"q{i}": {f"t{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    found = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "success.1,2,5,10"}).evaluate(run)
    counts = tie_counts(scores, np.tile(np.arange(40), (200, 1)), truths)
    for metric in (RECIPROCAL_RANK, Recall(1), Recall(2), Recall(5), Recall(10)):
        name = f"success_{metric.k}" if isinstance(metric, Recall) else "recip_rank"
        np.testing.assert_allclose(metric.values(counts), [found[f"q{i}"][name] for i in range(200)], atol=1e-12)


def test_equals_livebots_definitions_on_tie_free_rankings() -> None:
    """FACTS §3: candidates sorted best first, the first that is a ground truth counts for all five figures."""
    scores, truths = ranked_at_random(100, 100, seed=2)
    first = []
    for row, true in zip(scores, truths.tolist(), strict=True):
        order = sorted(range(100), key=lambda i: -row[i])
        first.append(next(place for place, i in enumerate(order, start=1) if i in true))
    counts = tie_counts(scores, np.tile(np.arange(100), (100, 1)), truths)
    assert MEAN_RANK.values(counts).tolist() == first
    assert RECIPROCAL_RANK.values(counts).tolist() == [1 / rank for rank in first]
    for k in (1, 5, 10):
        assert Recall(k).values(counts).tolist() == [float(rank <= k) for rank in first]


def test_a_truth_that_is_no_candidate_or_stands_twice_is_refused() -> None:
    for wrong in ([0, 9], [FIRST, FIRST], [1, 1]):
        with pytest.raises(ValueError, match="each truth must be among"):
            truth_mask(np.arange(3)[None], np.array([wrong]))
