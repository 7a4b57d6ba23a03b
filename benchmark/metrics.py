"""Rank metrics of one truth among K candidates, exact under ties. A metric is a value that prints and parses back.

    counts = tie_counts(scores, candidates, truths)        # (n, K) float64, (n, K) ids, (n,) ids
    RECIPROCAL_RANK.values(counts)                         # (n,) float64, one for each clip
    parse_metric("R@5") == Recall(5)

With g candidates strictly above the truth and t others equal to it, each value is its expectation over all orders of
the tied candidates (PROTOCOL "Ties"), so neither the order of the candidates nor a sort can move a digit. Equality is
exact on float64. Source of the tie formulas: McSherry & Najork, "Computing information retrieval performance measures
efficiently in the presence of tied scores", ECIR 2008.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from videochat.errors import UsageError, VideochatError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BadScores(VideochatError):
    """A model's scores cannot be ranked: NaN, missing, or of the wrong shape."""


@dataclass(frozen=True, eq=False)
class TieCounts:
    """What all metrics are functions of. above, equal: int64 (n,); equal leaves the truth out. num_candidates: K."""

    above: NDArray[np.int64]
    equal: NDArray[np.int64]
    num_candidates: int


def tie_counts(
    scores: NDArray[np.float64], candidates: NDArray[np.integer], truths: NDArray[np.integer], *, what: str = "scores"
) -> TieCounts:
    """Count, for each clip, the candidates above its truth and equal to it.

    scores: float64 (n, K), higher = more likely, -inf is legal. candidates: ids (n, K), each row without repeats.
    truths: ids (n,), each a member of its row. `what` names the scores in the error.
    Raises BadScores on NaN or a shape that does not fit, ValueError if a truth is not among its candidates.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != candidates.shape or scores.ndim != 2:
        raise BadScores(f"{what}: shape {scores.shape}, expected {candidates.shape}", fix="one score a candidate")
    missing = np.isnan(scores)
    if missing.any():
        rows = int(missing.any(axis=1).sum())
        raise BadScores(
            f"{what}: {int(missing.sum())} of {scores.size} scores are NaN, in {rows} of {len(scores)} clips",
            fix="a candidate that cannot occur scores -inf; NaN is never ranked",
        )
    is_truth = candidates == truths[:, None]
    if not (is_truth.sum(axis=1) == 1).all():
        raise ValueError("each truth must be among its clip's candidates, once")
    truth_scores = scores[is_truth][:, None]  # one a row, in row order
    above = (scores > truth_scores).sum(axis=1)
    equal = (scores == truth_scores).sum(axis=1) - 1
    return TieCounts(above.astype(np.int64), equal.astype(np.int64), candidates.shape[1])


def harmonic(num: int) -> NDArray[np.float64]:
    """H(0) .. H(num), float64 (num + 1,): H(n) = 1 + 1/2 + ... + 1/n."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, num + 1))])


class Metric(Protocol):
    """name: as printed and parsed. values: one float64 a clip. chance: the mean of a scorer that knows nothing."""

    @property
    def name(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...
    def values(self, counts: TieCounts) -> NDArray[np.float64]: ...
    def chance(self, num_candidates: int) -> float: ...
    def is_defined(self, num_candidates: int) -> bool: ...


@dataclass(frozen=True)
class Recall:
    """R@k: the share of clips whose truth is among the k best. In [0, 1], higher is better, chance k/K.

    Ties: E[R@k] = min(1, max(0, (k - g)/(t + 1))). With k >= K it is 1 for everyone, so it is not defined and prints –.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"R@{self.k} is not a metric", fix="k >= 1")

    @property
    def name(self) -> str:
        return f"R@{self.k}"

    def __str__(self) -> str:
        return self.name

    @property
    def higher_is_better(self) -> bool:
        return True

    def values(self, counts: TieCounts) -> NDArray[np.float64]:
        return np.clip((self.k - counts.above) / (counts.equal + 1), 0.0, 1.0)

    def chance(self, num_candidates: int) -> float:
        return min(1.0, self.k / num_candidates)

    def is_defined(self, num_candidates: int) -> bool:
        return self.k < num_candidates


@dataclass(frozen=True)
class MeanRank:
    """MR: the mean rank of the truth, 1 = best. In [1, K], lower is better, chance (K + 1)/2.

    Ties: E[rank] = g + 1 + t/2.
    """

    name: str = "MR"

    def __str__(self) -> str:
        return self.name

    @property
    def higher_is_better(self) -> bool:
        return False

    def values(self, counts: TieCounts) -> NDArray[np.float64]:
        return counts.above + 1 + counts.equal / 2

    def chance(self, num_candidates: int) -> float:
        return (num_candidates + 1) / 2

    def is_defined(self, num_candidates: int) -> bool:
        return True


@dataclass(frozen=True)
class ReciprocalRank:
    """MRR: the mean of 1/rank of the truth. In [1/K, 1], higher is better, chance H(K)/K.

    Ties: E[1/rank] = (H(g + t + 1) - H(g))/(t + 1); without ties it is 1/(g + 1) to the last bit.
    """

    name: str = "MRR"

    def __str__(self) -> str:
        return self.name

    @property
    def higher_is_better(self) -> bool:
        return True

    def values(self, counts: TieCounts) -> NDArray[np.float64]:
        sums = harmonic(counts.num_candidates)
        tied = (sums[counts.above + counts.equal + 1] - sums[counts.above]) / (counts.equal + 1)
        return np.where(counts.equal == 0, 1.0 / (counts.above + 1), tied)

    def chance(self, num_candidates: int) -> float:
        return float(harmonic(num_candidates)[-1] / num_candidates)

    def is_defined(self, num_candidates: int) -> bool:
        return True


MEAN_RANK = MeanRank()
RECIPROCAL_RANK = ReciprocalRank()
METRICS: tuple[Metric, ...] = (Recall(1), Recall(2), Recall(5), Recall(10), MEAN_RANK, RECIPROCAL_RANK)


def parse_metric(text: str) -> Metric:
    """The metric that prints as `text`: "R@<k>", "MR" or "MRR". Raises UsageError on anything else."""
    if match := re.fullmatch(r"R@(\d+)", text):
        return Recall(int(match[1]))
    for metric in (MEAN_RANK, RECIPROCAL_RANK):
        if metric.name == text:
            return metric
    raise UsageError(f"unknown metric {text!r}", fix="write R@1, R@2, R@5, MR or MRR")
