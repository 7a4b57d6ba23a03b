"""Simulated coverage: the intervals hold the truth about as often as they say, and the count notices when not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from videochat.benchmark import interval_coverage
from videochat.benchmark.interval_coverage import coverage, main
from videochat.benchmark.metrics.statistics import Bootstrap, macro_mean

NUM_TABLES = 400  # standard error of a share near .95: .011


def shares(num_clusters, sizes="even", **options):
    options = {"num_tables": NUM_TABLES, "num_samples": 1000} | options
    return {row["statistic"]: row["share"] for row in coverage(num_clusters, sizes, **options)}


@pytest.mark.parametrize(("num_clusters", "sizes"), [(10, "even"), (30, "uneven"), (100, "even")])
def test_intervals_cover_and_tests_do_not_cry_wolf(num_clusters, sizes):
    found = shares(num_clusters, sizes)
    for name in ("set", "official", "gain"):
        assert 0.90 <= found[name] <= 0.99, (name, found)
    assert found["test"] <= 0.085, found


def test_intervals_that_take_clips_as_independent_are_found_out(monkeypatch):
    def naive(values, categories, clusters, bootstrap):
        alone = np.arange(len(clusters))
        return macro_mean(values, categories, alone, Bootstrap(len(alone), num_samples=bootstrap.num_samples))

    monkeypatch.setattr(interval_coverage, "macro_mean", naive)
    assert shares(10)["set"] < 0.85


def test_the_same_seed_gives_the_same_table_and_the_command_prints_it(capsys):
    assert coverage(10, "even", num_tables=20) == coverage(10, "even", num_tables=20)
    lines = []
    main(["--tables", "3"], echo=lines.append)
    assert lines[0].splitlines()[0].split() == ["clusters", "clips", "set", "official", "gain", "test"]
    assert len([line for line in lines[0].splitlines() if line.startswith(("10 ", "30 ", "100 "))]) == 6
    main(["--tables", "3", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["num_clusters"] for row in rows} == {10, 30, 100} and len(rows) == 24
