"""Means over seeds: one seed is as it was, equal seeds add nothing, differing seeds widen, and the intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from videochat.benchmark.metrics.statistics import Bootstrap, Resampled, macro_mean
from videochat.benchmark.runs.seeds import over_seeds

CLUSTERS, CLIPS = 12, 8


def figure(values: np.ndarray, bootstrap: Bootstrap) -> Resampled:
    """values (clusters, clips) of one model and seed."""
    flat = values.reshape(-1, 1)
    return macro_mean(flat, np.zeros(len(flat), np.int64), np.repeat(np.arange(len(values)), CLIPS), bootstrap)


def width(mean: Resampled) -> float:
    low, high = mean.interval()
    return float(high[0] - low[0])


def test_one_seed_and_equal_seeds_have_the_interval_of_the_clusters_alone():
    values = np.random.default_rng(0).random((CLUSTERS, CLIPS))
    one = figure(values, Bootstrap(CLUSTERS, num_samples=2_000))
    assert over_seeds([one]).interval() == one.interval()
    three = over_seeds([one, one, one])
    assert three.point == pytest.approx(one.point)
    assert width(three) == pytest.approx(width(one), rel=0.02)  # the degrees of freedom are estimated anew


def test_the_mean_is_that_of_the_seeds_and_their_spread_widens_the_interval():
    values = np.random.default_rng(1).random((CLUSTERS, CLIPS))
    bootstrap = Bootstrap(CLUSTERS, num_samples=2_000)
    parts = [figure(values + shift, bootstrap) for shift in (-0.1, 0.0, 0.1)]
    mean = over_seeds(parts)
    assert mean.point[0] == pytest.approx(np.mean([part.point[0] for part in parts]))
    assert width(mean) > 2 * width(parts[1])
    assert mean.degrees[0] < 5, "three seeds tell little of their own spread"
    many = over_seeds(parts * 4)
    assert width(many) < width(mean)


def test_too_few_clusters_give_no_interval():
    values = np.random.default_rng(2).random((5, CLIPS))
    parts = [figure(values + shift, Bootstrap(5, num_samples=500)) for shift in (0.0, 0.1)]
    assert np.isnan(over_seeds(parts).interval()).all()
    assert over_seeds(parts).point[0] == pytest.approx(values.mean() + 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("cluster_spread", "seed_spread"), [(0.1, 0.02), (0.05, 0.05), (0.02, 0.1)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(cluster_spread, seed_spread):
    """Clusters and seeds drawn anew each time around a known mean of 0.5."""
    random = np.random.default_rng(3)
    held = []
    for trial in range(200):
        bootstrap = Bootstrap(CLUSTERS, seed=trial, num_samples=1_000)
        clusters = 0.5 + cluster_spread * random.standard_normal((CLUSTERS, 1))
        parts = [
            figure(
                clusters + seed_spread * random.standard_normal() + 0.1 * random.standard_normal((CLUSTERS, CLIPS)),
                bootstrap,
            )
            for _ in range(3)
        ]
        low, high = over_seeds(parts).interval()
        held.append(low[0] <= 0.5 <= high[0])
    assert 0.90 <= np.mean(held) <= 1.0, np.mean(held)
