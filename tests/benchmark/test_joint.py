"""Groups solved jointly: by hand, against all permutations, blind scorers at chance, beside the official number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from videochat.benchmark.evaluation.evaluate import Entry, evaluate
from videochat.benchmark.evaluation.joint import balanced_groups, column
from videochat.benchmark.scores.blocks import REAL, ScoreBlock
from videochat.benchmark.scores.tasks import Layout, Task


def task_of(num_groups: int, k: int, *, seed: int = 0) -> Task:
    random = np.random.default_rng(seed)
    num = num_groups * k
    groups = np.repeat(np.arange(num_groups), k)
    return Task(
        name=f"random{k}",
        k=k,
        split="test",
        clip_ids=np.array([f"c{n:05}" for n in range(num)]),
        recording_ids=np.array([f"r{g}" for g in groups]),
        categories=np.array(["Music"] * num),
        clusters=np.array([f"r{g % 20}" for g in groups]),
        group_ids=np.array([f"g{g}" for g in groups]),
        candidates=(groups[:, None] * k + np.arange(k)).astype(np.int32),
        truths=np.concatenate([g * k + random.permutation(k) for g in range(num_groups)]).astype(np.int32),
        generic=np.zeros(num, dtype=bool),
        num_bytes=np.full((num, k), 5, dtype=np.int32),
    )


def test_by_hand() -> None:
    """Clip 1 likes the string of clip 0 best, but clip 0 needs it more."""
    task = task_of(1, 2)
    own = task.truths
    scores = np.where(task.candidates == own[0], [[9.0], [5.0]], [[1.0], [4.0]])
    assert column(scores, task).tolist() == [1.0, 1.0]
    assert column(-scores, task).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(20))
def test_the_assignment_has_the_largest_sum_of_all(seed: int) -> None:
    task = task_of(1, 5, seed=seed)
    scores = np.random.default_rng(seed).normal(size=(5, 5))
    best = max(itertools.permutations(range(5)), key=lambda order: sum(scores[i, j] for i, j in enumerate(order)))
    assert column(scores, task).tolist() == (task.candidates[0, list(best)] == task.truths).tolist()


def test_blind_scorers_gain_nothing_and_the_oracle_is_always_right() -> None:
    task = task_of(400, 10)
    of_string = np.random.default_rng(1).normal(size=task.candidates.max() + 1)[task.candidates]
    for blind in (np.zeros(task.candidates.shape), of_string, np.full(task.candidates.shape, -np.inf)):
        assert np.mean(column(blind, task)) == pytest.approx(0.1, abs=5 * (0.09 / 4000) ** 0.5)
    truth = (task.candidates == task.truths[:, None]).astype(float)
    assert column(truth, task).all() and not column(-truth, task).any()
    impossible = np.where(truth == 1, -3.0, -np.inf)
    assert column(impossible, task).all()


def test_a_little_knowledge_becomes_more_jointly() -> None:
    task = task_of(200, 10)
    noise = np.random.default_rng(0).normal(size=task.candidates.shape)
    scores = noise + 1.5 * (task.candidates == task.truths[:, None])
    alone = (scores.argmax(axis=1) == (task.candidates == task.truths[:, None]).argmax(axis=1)).mean()
    assert column(scores, task).mean() > alone + 0.05


def test_the_order_of_clips_and_the_numbers_of_the_strings_change_nothing() -> None:
    task = task_of(30, 10)
    scores = np.random.default_rng(0).integers(3, size=task.candidates.shape).astype(float)  # many ties
    expected = dict(zip(task.clip_ids, column(scores, task), strict=True))
    moved = Task(**{**vars(task), "candidates": task.candidates + 700, "truths": task.truths + 700})
    assert dict(zip(moved.clip_ids, column(scores, moved), strict=True)) == expected


def test_only_balanced_groups_are_solved() -> None:
    task = task_of(3, 4)
    assert [sorted(rows.tolist()) for rows, _ in balanced_groups(task)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    chosen = Task(**{**vars(task), "group_ids": task.clip_ids})  # as in classic: each clip by itself
    assert balanced_groups(chosen) == [] and np.isnan(column(np.zeros((12, 4)), chosen)).all()
    broken = task.only(np.arange(12) != 5)
    assert len(balanced_groups(broken)) == 2


def test_it_stands_beside_the_official_number() -> None:
    task = task_of(40, 10)
    noise = np.random.default_rng(0).normal(size=task.candidates.shape)
    scores = noise + 1.5 * (task.candidates == task.truths[:, None])
    blocks = [
        ScoreBlock(name, REAL, "test", task.name, Layout.of_task(task), scores.ravel()) for name in ("mine", "oracle")
    ]
    entries = [Entry(name="mine", kind="model"), Entry(name="oracle", kind="golden")]
    found = evaluate(entries, [task], blocks).metrics
    (row,) = found["transductive"]
    assert (row["model"], row["set"], row["rule"], row["num_clips"], row["num_groups"]) == (
        "mine",
        "random10",
        "own",
        400,
        40,
    )
    alone = next(r for r in found["rows"] if r["model"] == "mine" and r["stratum"] == "all")["metrics"]["R@1"]["value"]
    assert row["value"] == pytest.approx(column(scores, task).mean()) and row["value"] > alone
    assert row["low"] < row["value"] < row["high"]
