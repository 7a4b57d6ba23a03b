"""Run and qrels files: trec_eval reads them to the same MRR where there are no ties."""

from __future__ import annotations

import numpy as np
import pytest

from videochat.benchmark.metrics.ranks import RECIPROCAL_RANK, Recall, tie_counts
from videochat.benchmark.runs.trec import levels, qrels_lines, run_lines, write_qrels, write_run
from videochat.benchmark.scores.tasks import Task

pytrec_eval = pytest.importorskip("pytrec_eval")


def make_task(num_clips=30, k=10, seed=0):
    random = np.random.default_rng(seed)
    ids = np.array([f"rec-{i // 5}_{i * 30_000}" for i in range(num_clips)])
    candidates = np.sort(random.permuted(np.tile(np.arange(3 * k), (num_clips, 1)), axis=1)[:, :k], axis=1)
    names = np.array(["x"] * num_clips)
    return Task(
        name="random10",
        k=k,
        split="test",
        clip_ids=ids,
        recording_ids=names,
        categories=names,
        clusters=names,
        group_ids=names,
        candidates=candidates.astype(np.int32),
        truths=candidates[np.arange(num_clips), random.integers(k, size=num_clips)].astype(np.int32),
        generic=np.zeros(num_clips, bool),
        num_bytes=np.ones((num_clips, k), np.int32),
    )


def test_trec_eval_finds_the_same_mrr(tmp_path):
    task = make_task()
    # differences far below single precision, and a candidate that cannot occur
    scores = np.random.default_rng(1).permuted(np.tile(1 + np.arange(10) * 1e-13, (30, 1)), axis=1)
    scores[:, 3] = -np.inf
    with write_qrels(tmp_path, task).open() as handle:
        qrels = pytrec_eval.parse_qrel(handle)
    with write_run(tmp_path, task, scores, "my model").open() as handle:
        run = pytrec_eval.parse_run(handle)
    found = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "success.1,2,5"}).evaluate(run)
    assert len(found) == 30
    counts = tie_counts(scores, task.candidates, task.truths)
    for metric, name in ((RECIPROCAL_RANK, "recip_rank"), (Recall(1), "success_1"), (Recall(5), "success_5")):
        theirs = [found[clip_id][name] for clip_id in task.clip_ids]
        np.testing.assert_allclose(metric.values(counts), theirs, rtol=0, atol=1e-12)


def test_levels_keep_order_and_ties():
    scores = np.array([[0.5, 0.5, -np.inf, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert levels(scores).tolist() == [[1, 1, 0, 2], [0, 0, 0, 0]]


def test_the_files_are_in_trec_form():
    task = make_task(num_clips=2)
    lines = run_lines(task, np.tile(np.arange(10.0), (2, 1)), "a b").splitlines()
    assert len(lines) == 20 and all(len(line.split()) == 6 for line in lines)
    assert [line.split()[3] for line in lines[:10]] == [str(rank) for rank in range(1, 11)]
    assert lines[0].split()[5] == "a-b"
    judged = qrels_lines(task).splitlines()
    assert sum(int(line.split()[3]) for line in judged) == 2
