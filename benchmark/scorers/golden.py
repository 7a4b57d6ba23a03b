"""Golden scorers: their values are known beforehand, so they check the whole way from scores to metrics in every run.

    oracle     the truth above all others           R@k = 1, MR = 1, MRR = 1
    reversed   the truth below all others           R@k = 0, MR = K, MRR = 1/K
    constant   all tied                             R@k = k/K, MR = (K + 1)/2, MRR = H(K)/K
    random     a hash of clip and candidate         the same in expectation, checked within 5 standard errors

Where m of the K candidates are truths, the best-ranked one counts: reversed has MR = K - m + 1, and so on.

They are built from the truth, which no Commenter ever sees; random knows it not, but stands here to be checked too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from videochat.files import stable_hash

from ..metrics.ranks import Metric, Recall
from ..scores.blocks import REAL, ScoreBlock
from ..scores.tasks import Layout, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = ("oracle", "reversed", "golden-constant", "golden-random")


def golden_blocks(task: Task, *, seed: int = 0) -> list[ScoreBlock]:
    """The scores of the four golden scorers on one task."""
    is_truth = task.is_truth.astype(np.float64).ravel()
    values: dict[str, NDArray[np.float64]] = {
        "oracle": is_truth,
        "reversed": -is_truth,
        "golden-constant": np.zeros_like(is_truth),
        "golden-random": _random(task, seed),
    }
    layout = Layout.of_task(task)
    return [ScoreBlock(name, REAL, task.split, task.name, layout, values[name]) for name in GOLDEN]


def _random(task: Task, seed: int) -> NDArray[np.float64]:
    rows = [
        np.random.default_rng(stable_hash(seed, "golden", task.name, clip_id)).random(task.k)
        for clip_id in task.clip_ids
    ]
    return np.concatenate(rows) if rows else np.zeros(0)


def expected(name: str, metric: Metric, k: int, num_truths: int = 1) -> float:
    """What a golden scorer must get on K candidates of which `num_truths` are truths."""
    if name == "oracle":
        return 1.0
    if name == "reversed":
        last = k - num_truths + 1
        recall = float(isinstance(metric, Recall) and metric.k >= last)
        return {"MR": float(last), "MRR": 1.0 / last}.get(metric.name, recall)
    return metric.chance(k, num_truths)
