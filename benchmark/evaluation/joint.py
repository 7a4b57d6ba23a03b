"""Groups solved jointly: a column of its own, transductive and never official (PROTOCOL v1, "Groups").

In a balanced group every string is the truth of one clip, so who may look at all K clips at once can give each string
away only once: the assignment of strings to clips with the largest sum of scores (Kuhn, "The Hungarian method for the
assignment problem", 1955; solved by scipy). For log-likelihoods that is the most likely assignment. It says how much
of a model's knowledge is hidden by scoring clips one at a time; no deployed commenter could do it, since it takes
clips of the future. A clip-blind scorer gains nothing: all assignments have the same sum for it.

    column(scores, task)     # float64 (n,): 1 where the clip got its own string, NaN outside of balanced groups

What is tied falls by hash of clip and string, which knows nothing of the truth: 1/K in expectation, not exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.files import stable_hash

from ..scores.blocks import REAL
from ..scores.tasks import Task
from .figures import estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .evaluate import Evaluator

    Group = tuple[NDArray[np.int64], NDArray[np.int64]]

ENTRANTS = ("model", "scorer")


def joint_rows(evaluator: Evaluator) -> list[dict[str, Any]]:
    """metrics.json, "transductive": R@1 of the joint assignment of each model and scorer, by its official rule.

    Rows {model, set, rule, metric, value, low, high, num_clips, num_groups}; none for sets that are no balanced groups.
    """
    found = []
    for task in evaluator.test:
        groups = balanced_groups(task)
        if not groups:
            continue
        kept = np.zeros(len(task), dtype=np.bool_)
        kept[np.concatenate([rows for rows, _ in groups])] = True
        for entry in evaluator.entries:
            block = evaluator.block(entry.name, REAL, task)
            if entry.kind not in ENTRANTS or block is None:
                continue
            rule = evaluator.rules[entry.name]
            right = column(evaluator.scores(block, rule, task), task, groups)[kept, None]
            point, low, high = evaluator.mean_with_interval(right, evaluator.clusters(task)[kept])
            row = {"model": entry.name, "set": task.name, "rule": rule, "metric": "R@1"}
            counts = {"num_clips": int(kept.sum()), "num_groups": len(groups)}
            found.append({**row, **estimate(point[0], low[0], high[0]), **counts})
    return found


def balanced_groups(task: Task) -> list[Group]:
    """The groups in which K clips rank the same K strings and each is the truth once: rows and columns, by hash."""
    _, owners = np.unique(task.group_ids, return_inverse=True)
    order = np.argsort(owners, kind="stable")
    found = []
    for rows in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        candidates = task.candidates[rows]
        if (
            len(rows) == task.k > 1
            and (candidates == candidates[0]).all()
            and (np.sort(task.truths[rows]) == candidates[0]).all()
        ):
            clips = task.clip_ids[rows].tolist()
            # A string is known by its clip, since its number changes with the other sets; the hash is another one.
            sources = dict(zip(task.truths[rows].tolist(), clips, strict=True))
            order_of_strings = [stable_hash("joint", "string", sources[s]) for s in candidates[0].tolist()]
            order_of_clips = [stable_hash("joint", "clip", clip) for clip in clips]
            found.append((rows[np.argsort(order_of_clips, kind="stable")], np.argsort(order_of_strings, kind="stable")))
    return found


def column(scores: NDArray[np.float64], task: Task, groups: list[Group] | None = None) -> NDArray[np.float64]:
    """Whether the joint assignment gives each clip its own string, float64 (n,): 1, 0 or NaN (no balanced group).

    scores: float64 (n, K), higher = more likely; -inf is avoided where it can be.
    """
    from scipy.optimize import linear_sum_assignment

    right = np.full(len(task), np.nan)
    for rows, strings in balanced_groups(task) if groups is None else groups:
        matrix = _finite(scores[rows[:, None], strings])
        _, chosen = linear_sum_assignment(matrix, maximize=True)
        right[rows] = task.candidates[rows[0]][strings[chosen]] == task.truths[rows]
    return right


def _finite(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix with the worst value that any assignment could be made of in place of -inf."""
    known = matrix[np.isfinite(matrix)]
    if not len(known):
        return np.zeros_like(matrix)
    worst = known.min() - len(matrix) * (known.max() - known.min() + 1)
    return np.where(np.isfinite(matrix), matrix, worst)
