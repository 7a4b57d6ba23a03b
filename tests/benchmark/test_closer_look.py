"""Diagnostics, breakdowns, calibration and letters: by hand, at the edges, against scipy, and kept by re-scoring."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.evaluation.breakdowns import parts_of
from videochat.benchmark.evaluation.clip_facts import ClipFacts, read_facts, references
from videochat.benchmark.evaluation.closer_look import letters
from videochat.benchmark.evaluation.diagnostics import (
    average_ranks,
    calibration,
    mean_correlation,
    standardised,
    tie_rate,
)
from videochat.benchmark.metrics.letters import letters_of
from videochat.benchmark.metrics.ranks import TieCounts
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.run import rescore
from videochat.benchmark.scorers.baselines import Constant, Length, Popularity, TfIdfToContext
from videochat.commenter import ClipScores
from videochat.errors import MissingInput
from videochat.workspace import Workspace


class Likely:
    """A likelihood model that knows nothing: shorter is likelier."""

    name = "likely"
    needs = frozenset()

    def score(self, clips, candidates, texts):
        found = []
        for ids in candidates:
            sums = np.array([-0.3 * len(texts.texts[i]) for i in ids])
            tokens = np.array([len(texts.texts[i].split()) + 1 for i in ids], dtype=np.int32)
            found.append(ClipScores(score=sums, log_likelihood=sums, num_tokens=tokens))
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory, dummies):
    folder = tmp_path_factory.mktemp("closer")
    dataset = dummies.make_dataset(folder, num_channels=3, recordings_per_channel=3, clips_per_recording=40, dim=None)
    entrants = [Likely(), Length(), Popularity(), TfIdfToContext(), Constant()]
    workspace = Workspace.open(folder)
    return bench(workspace, dataset, build_candidates(workspace, dataset), entrants)


@given(st.lists(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 2.5]), min_size=4, max_size=4), min_size=1, max_size=5))
def test_ranks_are_those_of_scipy(rows):
    values = np.array(rows)
    assert (average_ranks(values) + 1 == rankdata(values, axis=1)).all()


def test_correlations_are_the_mean_of_spearman_within_clips():
    random = np.random.default_rng(0)
    one, other = random.integers(6, size=(30, 9)).astype(float), random.integers(4, size=(30, 9)).astype(float)
    one[3], other[5] = 1.0, 2.0  # constant: no correlation there
    expected = np.mean([spearmanr(one[i], other[i]).statistic for i in range(30) if i not in (3, 5)])
    found = mean_correlation(standardised(average_ranks(one)), standardised(average_ranks(other)))
    assert found == pytest.approx(expected)
    assert np.isnan(mean_correlation(standardised(average_ranks(one[3:4])), standardised(average_ranks(other[3:4]))))


def test_tie_rate_by_hand():
    assert tie_rate(TieCounts(np.array([0, 2, 1]), np.array([0, 3, 0]), 10)) == pytest.approx(1 / 3)
    assert tie_rate(TieCounts(np.zeros(0, np.int64), np.zeros(0, np.int64), 10)) == 0


def test_calibration_by_hand():
    scores = np.log([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.5, 0.5]])
    gap, bins = calibration(scores, np.array([1.0, 0.0, 1.0, 0.5]))
    assert [row["num_clips"] for row in bins] == [1, 1, 2]
    assert [row["confidence"] for row in bins] == pytest.approx([0.5, 0.6, 0.9])
    assert [row["accuracy"] for row in bins] == [0.5, 1.0, 0.5]
    assert gap == pytest.approx((0 + 0.4 + 2 * 0.4) / 4)
    nothing = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    assert [row["confidence"] for row in calibration(nothing, np.array([0.5, 1.0]))[1]] == [0.5, 1.0]


def test_a_model_that_says_its_chances_is_calibrated():
    random = np.random.default_rng(0)
    chances = random.dirichlet(np.full(5, 0.5), size=20_000)
    truth = (random.random(20_000)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    right = (chances.argmax(axis=1) == truth).astype(float)
    assert calibration(np.log(chances), right)[0] < 0.015
    assert calibration(3 * np.log(chances), right)[0] > 0.05  # too sure of itself


@given(st.integers(0, 8), st.data())
def test_letters_are_shared_exactly_by_those_that_do_not_differ(num, data):
    names = [f"m{i}" for i in range(num)]
    pairs = list(itertools.combinations(names, 2))
    differs = set(data.draw(st.lists(st.sampled_from(pairs), unique=True))) if pairs else set()
    found = letters_of(names, {(b, a) for a, b in differs})
    assert list(found) == names and all(found.values())
    for a, b in pairs:
        assert bool(set(found[a]) & set(found[b])) != ((a, b) in differs)


def test_letters_by_hand():
    assert letters_of(["a", "b", "c"], {("a", "c")}) == {"a": "a", "b": "ab", "c": "b"}
    assert letters_of(["a", "b"], {("a", "b")}) == {"a": "a", "b": "b"}
    assert letters_of(["a", "b"], set()) == {"a": "a", "b": "a"}
    pairs = [{"a": "x", "b": "y", "set": "official", "p_holm": 0.01}]
    figures = [{"model": "x", "value": 0.3}, {"model": "z", "value": 0.9}, {"model": "y", "value": 0.5}]
    assert letters(pairs, figures) == [{"model": "y", "letters": "a"}, {"model": "x", "letters": "b"}]
    assert letters([], figures) == []


def facts_of(task, **columns):
    num = len(task.clip_ids)
    plain = {
        "num_context": np.full(num, 5),
        "context_ms": np.full(num, 20_000),
        "clip_ms": np.full(num, 30_000),
        "truth_offset_ms": np.full(num, -1),
        "refers": np.full(num, -1),
    }
    plain |= {name: np.asarray(value) for name, value in columns.items()}
    return ClipFacts(clip_ids=task.clip_ids, frequency=np.zeros(9, np.int32), **plain)


def test_bins_by_hand(run):
    task = run.tasks("test")[0]
    task = task.only(np.arange(len(task)) < 6)
    facts = facts_of(
        task,
        num_context=[1, 4, 5, 12, 40, 90],
        truth_offset_ms=[20_000, 22_499, 22_500, 29_999, -1, 27_500],
        refers=[1, 0, -1, 1, 1, -1],
    )
    found = {(part.by, part.bin): part.rows.nonzero()[0].tolist() for part in parts_of(task, facts)}
    assert found == {
        ("category", str(task.categories[0])): [0, 1, 2, 3, 4, 5],
        ("chat-density", "low: under 0.23/s"): [0, 1],
        ("chat-density", "middle: 0.23-1.07/s"): [2, 3],
        ("chat-density", "high: over 1.07/s"): [4, 5],
        ("reference-rate", "refers to the screen"): [0, 3, 4],
        ("reference-rate", "does not refer"): [1],
        ("truth-offset", "20-22.5 s"): [0, 1],
        ("truth-offset", "22.5-25 s"): [2],
        ("truth-offset", "27.5-30 s"): [3, 5],
        ("num-context", "1-4 comments"): [0, 1],
        ("num-context", "5-9 comments"): [2],
        ("num-context", "10-19 comments"): [3],
        ("num-context", "40+ comments"): [4, 5],
    }
    assert {part.by for part in parts_of(task, None)} == {"category"}
    more = run.tasks("test")[0]
    with pytest.raises(MissingInput, match="lacks 1 ranked clip"):
        list(parts_of(more.only(np.arange(len(more)) < 7), facts))


def test_equal_counts_are_not_torn_apart(run):
    task = run.tasks("test")[0]
    bins = [part.bin for part in parts_of(task, facts_of(task)) if part.by == "chat-density"]
    assert bins == ["middle: 0.25-0.25/s"]


def test_a_run_holds_all_parts(run):
    results = run.results
    rows = {(row["model"], row["set"]): row for row in results["diagnostics"]}
    assert rows["constant", "random10"]["tie_rate"] == 1
    assert rows["constant", "random10"]["length_correlation"] is None
    assert rows["length", "random10"]["length_correlation"] > 0.99
    assert rows["panel:-length", "random10"]["length_correlation"] < -0.99
    assert rows["popularity", "random10"]["popularity_correlation"] == pytest.approx(1)
    assert {row["by"] for row in results["breakdowns"]} >= {"category", "chat-density", "truth-offset", "num-context"}
    for by in ("category", "num-context", "truth-offset"):
        parts = [r for r in results["breakdowns"] if (r["model"], r["set"], r["by"]) == ("length", "random10", by)]
        whole = next(
            r for r in results["rows"] if (r["model"], r["set"], r["stratum"]) == ("length", "random10", "all")
        )
        assert sum(part["num_clips"] for part in parts) == whole["num_clips"]
        mean = sum(part["num_clips"] * part["metrics"]["MRR"]["value"] for part in parts) / whole["num_clips"]
        assert mean == pytest.approx(whole["metrics"]["MRR"]["value"])
    assert {row["model"] for row in results["calibration"]} == {"likely"}
    assert all(sum(b["num_clips"] for b in row["bins"]) > 0 for row in results["calibration"])
    text = run.table(wide=True)
    assert "MRR by score rule" in text and "ρ popularity" in text and "oracle" not in text.partition("ρ length")[2]


def test_rescoring_keeps_them_and_old_runs_stay_readable(run, tmp_path):
    copy = tmp_path / run.path.name
    shutil.copytree(run.path, copy)
    allowed = {str(clip) for task in run.tasks() for clip in task.clip_ids[:-1]}
    left = rescore(copy, only=allowed)
    assert any(row["by"] == "truth-offset" for row in left.results["breakdowns"])
    for name in ("clips.parquet", "texts.parquet"):
        (copy / name).unlink()
    assert read_facts(copy) is None
    old = rescore(copy).results
    assert {row["by"] for row in old["breakdowns"]} == {"category"}
    assert all(row["popularity_correlation"] is None for row in old["diagnostics"])
    assert old["official"] == run.results["official"]


def test_real_recordings_have_no_known_reference(run):
    assert references(Workspace.open(run.path.parent.parent), ["dummy-02-0"]) == {}
    facts = read_facts(run.path)
    assert facts is not None and set(facts.refers.tolist()) == {-1}
    assert ((facts.truth_offset_ms >= 20_000) & (facts.truth_offset_ms < 30_000)).all()
