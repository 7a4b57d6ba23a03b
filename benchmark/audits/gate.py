"""The gate of every run: golden scorers at their closed form, blind scorers at chance. A set that fails is not ranked.

A check is {"check", "ok", "detail", "figure"}; the run keeps all of them and the table prints those that failed. The
audits of the data itself (data.py) are checks too, and stand after these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from videochat.errors import VideochatError

from ..metrics.ranks import METRICS, RECIPROCAL_RANK, Metric, Recall, TieCounts, harmonic, tie_counts
from ..scorers.golden import GOLDEN, expected
from ..scorers.panel import BLIND, BY_RECORDING
from ..scores.blocks import ScoreBlock
from ..scores.tasks import Task

TOLERANCE = 1e-9  # float64 sums of 1/(t + 1) over thousands of clips
NUM_SIGMA = 5.0  # a random scorer beyond this is no accident (p < 1e-6)


class AuditFailed(VideochatError):
    """A candidate set or the ranker itself is not sound: a scorer that must be at a known value is not."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """check: what was looked at. ok: whether it holds. detail: what was found. figure: the number that decides, if one
    does."""

    check: str
    ok: bool
    detail: str
    figure: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit(tasks: Sequence[Task], blocks: Sequence[ScoreBlock], *, clip_blind_at_chance: bool) -> list[Check]:
    """All checks of a run. clip_blind_at_chance: the protocol's theorem holds, so the blind panel is checked too."""
    by_task = {(block.model, block.set, block.split): block for block in blocks}
    checks = []
    for task in tasks:
        if not len(task):
            continue
        where = f"{task.name} ({task.split})"
        for name in GOLDEN:
            checks.append(_golden(name, by_task[name, task.name, task.split], task, where))
        if clip_blind_at_chance:
            for name in BLIND:
                if task.pools_recordings and name in BY_RECORDING:
                    continue
                checks.append(_blind(f"panel:{name}", by_task[f"panel:{name}", task.name, task.split], task, where))
    return checks


def enforce(checks: Sequence[Check]) -> None:
    """Raise AuditFailed if a check failed."""
    failed = [check for check in checks if not check.ok]
    if failed:
        raise AuditFailed(
            f"{len(failed)} of {len(checks)} checks failed; first: {failed[0].check}: {failed[0].detail}",
            fix="build the candidates again, or pass --allow-failed-audit and have it printed in the table",
        )


def _means(block: ScoreBlock, task: Task) -> np.ndarray[Any, np.dtype[np.float64]]:
    scores = block.score[block.layout.gather(task)]
    counts = tie_counts(scores, task.candidates, task.all_truths, what=f"{block.model} on {task.name}")
    return np.array([metric.values(counts).sum() / len(task) for metric in METRICS])


def _golden(name: str, block: ScoreBlock, task: Task, where: str) -> Check:
    means = _means(block, task)
    sizes = Counter(task.is_truth.sum(axis=1).tolist())  # number of truths -> clips
    defined = [i for i, metric in enumerate(METRICS) if metric.is_defined(task.k)]
    worst, detail = 0.0, ""
    for i in defined:
        target = sum(count * expected(name, METRICS[i], task.k, truths) for truths, count in sizes.items()) / len(task)
        allowed = TOLERANCE if name != "golden-random" else _random_error(METRICS[i], task.k, sizes)
        excess = abs(means[i] - target) / allowed
        if excess >= worst:
            worst, detail = excess, f"{METRICS[i].name} {means[i]:.4f}, expected {target:.4f} ± {allowed:.2g}"
    return Check(check=f"golden {name} on {where}", ok=bool(worst <= 1), detail=detail)


def _random_error(metric: Metric, k: int, sizes: Mapping[int, int]) -> float:
    """NUM_SIGMA standard errors of a metric's mean when all orders are equally likely, plus the tolerance.

    sizes: number of truths -> number of clips that have so many.
    """
    values = metric.values(TieCounts(np.arange(k), np.zeros(k, np.int64), k))  # at rank 1..K, without ties
    variance, num_clips = 0.0, 0
    for num_truths, count in sizes.items():
        chances = np.array([math.comb(k - rank, num_truths - 1) / math.comb(k, num_truths) for rank in range(1, k + 1)])
        variance += count * float(chances @ (values - chances @ values) ** 2)
        num_clips += count
    return float(NUM_SIGMA * np.sqrt(variance) / num_clips + TOLERANCE)


def _blind(name: str, block: ScoreBlock, task: Task, where: str) -> Check:
    """Exactly at chance: R@1 = 1/K and MRR = H(K)/K."""
    means = dict(zip([metric.name for metric in METRICS], _means(block, task), strict=True))
    recall, reciprocal = means["R@1"], means["MRR"]
    chance = harmonic(task.k)[-1] / task.k
    exact = abs(recall - 1 / task.k) <= TOLERANCE and abs(reciprocal - chance) <= TOLERANCE
    detail = f"R@1 {recall:.6f} (chance {Recall(1).chance(task.k):.6f}), MRR {reciprocal:.6f} "
    return Check(
        check=f"blind {name} on {where}",
        ok=bool(exact),
        detail=detail + f"(chance {RECIPROCAL_RANK.chance(task.k):.6f})",
    )
