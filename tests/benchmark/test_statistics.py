"""Clustered statistics: against enumeration, against hand, and against the mistakes that they exist to avoid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videochat.benchmark.metrics.statistics import Bootstrap, cluster_sums, holm, macro_mean, sign_flip_p


def bootstrap_interval(values, clusters, **options):
    bootstrap = Bootstrap(int(clusters.max()) + 1, **options)
    low, high = macro_mean(values[:, None], np.zeros_like(clusters), clusters, bootstrap).interval()
    return low[0], high[0]


def test_weights_are_multinomial_and_repeatable():
    weights = Bootstrap(7, seed=3).weights
    assert weights.shape == (10_000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == pytest.approx(1, abs=0.02)
    assert weights.var() == pytest.approx(6 / 7, rel=0.05)
    assert (weights == Bootstrap(7, seed=3).weights).all()
    assert (weights != Bootstrap(7, seed=4).weights).any()


def test_the_interval_is_that_of_the_central_limit():
    random = np.random.default_rng(0)
    values, clusters = random.standard_normal(400), np.arange(400)
    low, high = bootstrap_interval(values, clusters)
    error = values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_repeating_clips_within_a_cluster_does_not_narrow_the_interval():
    random = np.random.default_rng(0)
    values = random.standard_normal(20)
    once = bootstrap_interval(values, np.arange(20))
    repeated = bootstrap_interval(np.repeat(values, 50), np.repeat(np.arange(20), 50))
    assert repeated == pytest.approx(once, abs=1e-9)


def test_means_are_of_clips_and_not_of_clusters():
    """32 clips at 0 in one cluster and one clip at 1 in another: 1/33, never 1/2 (FACTS §3)."""
    values, clusters = np.array([0.0] * 32 + [1.0]), np.array([0] * 32 + [1])
    sums, counts = cluster_sums(values[:, None], clusters, 2), np.bincount(clusters)
    assert sums.sum() / counts.sum() == pytest.approx(1 / 33)


def test_macro_mean_by_hand():
    values = np.array([[1.0], [0.0], [0.0], [1.0]])
    categories, clusters = np.array([0, 0, 0, 1]), np.array([0, 1, 2, 3])
    mean = macro_mean(values, categories, clusters, Bootstrap(4))
    assert mean.point[0] == pytest.approx((1 / 3 + 1) / 2)
    assert mean.samples is None  # fewer than 10 clusters
    assert np.isnan(mean.interval()).all()


def test_the_spread_of_the_samples_is_the_unbiased_one():
    """One category: the variance of the mean is s²/n with s² of n - 1; categories of one cluster: collapsed."""
    values = np.arange(12.0)[:, None] ** 2
    one = macro_mean(values, np.zeros(12, int), np.arange(12), Bootstrap(12))
    lone = macro_mean(values, np.arange(12), np.arange(12), Bootstrap(12))
    assert one.samples is not None and lone.samples is not None
    assert one.samples.std() == pytest.approx(values.std(ddof=1) / np.sqrt(12), rel=0.03)
    assert lone.samples.std() == pytest.approx(values.std(ddof=1) / np.sqrt(12), rel=0.03)
    assert (one.degrees[0], lone.degrees[0]) == (11, 11)


@pytest.mark.parametrize("sizes", [(12,), (3, 7, 20), (2, 2, 2, 2, 2, 3), (1,) * 11, (1, 1, 1, 9)])
def test_macro_intervals_cover_the_truth(sizes):
    """Categories of few clusters at different levels: the 95 % interval holds the macro mean about as often."""
    random = np.random.default_rng(0)
    num = sum(sizes)
    categories = np.repeat(np.repeat(np.arange(len(sizes)), sizes), 5)
    clusters = np.repeat(np.arange(num), 5)
    bootstrap, covered, trials = Bootstrap(num, num_samples=1000), 0, 300
    for _ in range(trials):
        values = 0.2 * categories + random.standard_normal(num)[clusters] + random.standard_normal(5 * num)
        low, high = macro_mean(values[:, None], categories, clusters, bootstrap).interval()
        covered += bool(low[0] <= 0.1 * (len(sizes) - 1) <= high[0])
    assert 0.9 <= covered / trials <= 0.995, f"{covered / trials:.3f}"


def test_no_bound_leaves_the_range_of_the_values():
    values = np.array([1.0] * 11 + [0.0])
    low, high = bootstrap_interval(values, np.arange(12))
    assert 0 <= low < 11 / 12 < high <= 1


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_sign_flips_estimate_the_enumeration(differences):
    sums = np.array(differences, dtype=np.float64)[:, None]
    flips = [abs(np.dot(signs, sums[:, 0])) for signs in itertools.product((-1, 1), repeat=len(sums))]
    exact = np.mean([flip >= abs(sums.sum()) - 1e-9 for flip in flips])
    assert sign_flip_p(sums, num_flips=4000)[0] == pytest.approx(exact, abs=0.05)


def test_p_is_never_zero():
    assert sign_flip_p(np.ones((40, 1)))[0] == pytest.approx(1 / 10_001)
    assert sign_flip_p(np.zeros((40, 1)))[0] == 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0.0001, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers_a_p(values):
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    order = np.argsort(values, kind="stable")
    assert (np.diff([adjusted[i] for i in order]) >= 0).all()


@pytest.mark.slow
@pytest.mark.alone
def test_figures_of_5000_clips_of_100_candidates_and_12_models_take_seconds():
    """5,000 clips x 100 candidates x 12 models, all parts of metrics.json, 66 comparisons among them: under 5 s."""
    import time

    from videochat.benchmark.evaluation.clip_facts import ClipFacts
    from videochat.benchmark.evaluation.evaluate import Entry, evaluate
    from videochat.benchmark.scores.blocks import ScoreBlock
    from videochat.benchmark.scores.tasks import Layout, Task

    random, num, k = np.random.default_rng(0), 5000, 100
    ids = np.array([f"clip{i:06}" for i in range(num)])
    clusters = np.array([f"channel{i % 400:03}" for i in range(num)])
    candidates = np.tile(np.arange(k, dtype=np.int32), (num, 1))
    task = Task(
        name="random100",
        k=k,
        split="test",
        clip_ids=ids,
        recording_ids=clusters,
        categories=np.array([f"category{i % 400 % 11}" for i in range(num)]),
        clusters=clusters,
        group_ids=ids,
        candidates=candidates,
        truths=random.integers(k, size=num).astype(np.int32),
        generic=random.random(num) < 0.2,
        num_bytes=np.ones((num, k), np.int32),
    )
    layout = Layout.of_task(task)
    names = [f"model{i}" for i in range(12)]
    blocks = [ScoreBlock(name, "real", "test", None, layout, random.standard_normal(num * k)) for name in names]
    facts = ClipFacts(
        clip_ids=ids,
        num_context=random.integers(1, 60, num).astype(np.int32),
        context_ms=np.full(num, 20_000, np.int32),
        clip_ms=np.full(num, 30_000, np.int32),
        truth_offset_ms=random.integers(20_000, 30_000, num).astype(np.int32),
        refers=random.integers(2, size=num).astype(np.int8),
        frequency=random.integers(9, size=k).astype(np.int32),
    )
    start = time.process_time()
    found = evaluate([Entry(name=name, kind="model") for name in names], [task], blocks, facts=facts)
    assert time.process_time() - start < 5
    assert len(found.metrics["comparisons"]) == 66 * 3
    assert len(found.metrics["diagnostics"]) == 12 and len(found.metrics["breakdowns"]) == 12 * (11 + 3 + 2 + 4 + 5)
    assert all(row["metrics"]["MRR"]["low"] < row["metrics"]["MRR"]["high"] for row in found.metrics["rows"])
