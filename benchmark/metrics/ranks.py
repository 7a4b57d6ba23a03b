"""Rank metrics of the truth among K candidates, exact under ties. A metric is a value that prints and parses back.

    counts = tie_counts(scores, candidates, truths)        # (n, K) float64, (n, K) ids, (n,) or (n, T) ids
    RECIPROCAL_RANK.values(counts)                         # (n,) float64, one for each clip
    parse_metric("R@5") == Recall(5)

With g candidates strictly above the truth and t others equal to it, each value is its expectation over all orders of
the tied candidates (PROTOCOL "Ties"), so neither the order of the candidates nor a sort can move a digit. Equality is
exact on float64. Where a clip has several truths the best-ranked one counts, as in LiveBot (several_truths.py); what
has one truth goes by the formulas for one, to the last digit. Source of the tie formulas: McSherry & Najork, "Computing
information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from videochat.errors import UsageError, VideochatError

from . import several_truths

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BadScores(VideochatError):
    """A model's scores cannot be ranked: NaN, missing, or of the wrong shape."""


@dataclass(frozen=True, eq=False)
class TieCounts:
    """What all metrics are functions of. num_candidates: K.

    above, equal: int64 (n,), the candidates above the best truth and those equal to it that are no truths.
    tied_truths: int64 (n,), how many truths share the best truth's score, itself included; None where each clip has
    one truth.
    """

    above: NDArray[np.int64]
    equal: NDArray[np.int64]
    num_candidates: int
    tied_truths: NDArray[np.int64] | None = None

    def choose(self, single: NDArray[np.float64], several: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
        """`single`, but several(above, equal, tied_truths) where more than one truth shares the score."""
        if self.tied_truths is None:
            return single
        rows = self.tied_truths > 1
        values = single.copy()
        values[rows] = several(self.above[rows], self.equal[rows], self.tied_truths[rows])
        return values


def tie_counts(
    scores: NDArray[np.float64], candidates: NDArray[np.integer], truths: NDArray[np.integer], *, what: str = "scores"
) -> TieCounts:
    """Count, for each clip, the candidates above its truth and equal to it.

    scores: float64 (n, K), higher = more likely, -inf is legal. candidates: ids (n, K), each row without repeats.
    truths: ids (n,), each a member of its row; or (n, T), rows of distinct truths filled up with -1. `what` names the
    scores in the error.
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
    is_truth = truth_mask(candidates, truths)
    if truths.ndim == 2 and truths.shape[1] > 1:
        best = np.where(is_truth, scores, -np.inf).max(axis=1, initial=-np.inf)[:, None]
        tied = scores == best
        return TieCounts(
            (scores > best).sum(axis=1).astype(np.int64),
            (tied & ~is_truth).sum(axis=1).astype(np.int64),
            candidates.shape[1],
            (tied & is_truth).sum(axis=1).astype(np.int64),
        )
    truth_scores = scores[is_truth][:, None]  # one a row, in row order
    above = (scores > truth_scores).sum(axis=1)
    equal = (scores == truth_scores).sum(axis=1) - 1
    return TieCounts(above.astype(np.int64), equal.astype(np.int64), candidates.shape[1])


def truth_mask(candidates: NDArray[np.integer], truths: NDArray[np.integer]) -> NDArray[np.bool_]:
    """bool (n, K): which candidates are truths. Raises ValueError unless every row holds each of its truths once."""
    found = np.zeros(candidates.shape, dtype=np.bool_)
    columns = truths[:, None] if truths.ndim == 1 else truths
    for column in columns.T:
        found |= candidates == column[:, None]  # ids are not negative, so -1 is none of them
    num_truths = (columns >= 0).sum(axis=1)
    if not (found.sum(axis=1) == num_truths).all() or not num_truths.all():
        raise ValueError("each truth must be among its clip's candidates, once")
    return found


def harmonic(num: int) -> NDArray[np.float64]:
    """H(0) .. H(num), float64 (num + 1,): H(n) = 1 + 1/2 + ... + 1/n."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, num + 1))])


class Metric(Protocol):
    """name: as printed and parsed. values: one float64 a clip. chance: the mean of a scorer that knows nothing, where
    num_truths of the candidates are truths."""

    @property
    def name(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...
    def values(self, counts: TieCounts) -> NDArray[np.float64]: ...
    def chance(self, num_candidates: int, num_truths: int = 1) -> float: ...
    def is_defined(self, num_candidates: int) -> bool: ...


@dataclass(frozen=True)
class Recall:
    """R@k: the share of clips whose truth is among the k best. In [0, 1], higher is better, chance k/K.

    Ties: E[R@k] = min(1, max(0, (k - g)/(t + 1))), for m tied truths 1 - C(t, k - g)/C(t + m, k - g).
    With k >= K it is 1 for everyone, so it is not defined and prints –.
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
        single = np.clip((self.k - counts.above) / (counts.equal + 1), 0.0, 1.0)
        return counts.choose(single, partial(several_truths.recall, self.k))

    def chance(self, num_candidates: int, num_truths: int = 1) -> float:
        return min(1.0, self.k / num_candidates) if num_truths == 1 else all_tied(self, num_candidates, num_truths)

    def is_defined(self, num_candidates: int) -> bool:
        return self.k < num_candidates


@dataclass(frozen=True)
class MeanRank:
    """MR: the mean rank of the truth, 1 = best. In [1, K], lower is better, chance (K + 1)/2.

    Ties: E[rank] = g + 1 + t/2, of m tied truths g + (t + m + 1)/(m + 1).
    """

    name: str = "MR"

    def __str__(self) -> str:
        return self.name

    @property
    def higher_is_better(self) -> bool:
        return False

    def values(self, counts: TieCounts) -> NDArray[np.float64]:
        return counts.choose(counts.above + 1 + counts.equal / 2, several_truths.rank)

    def chance(self, num_candidates: int, num_truths: int = 1) -> float:
        return (num_candidates + 1) / (num_truths + 1)

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
        single = np.where(counts.equal == 0, 1.0 / (counts.above + 1), tied)
        return counts.choose(single, several_truths.reciprocal_rank)

    def chance(self, num_candidates: int, num_truths: int = 1) -> float:
        if num_truths > 1:
            return all_tied(self, num_candidates, num_truths)
        return float(harmonic(num_candidates)[-1] / num_candidates)

    def is_defined(self, num_candidates: int) -> bool:
        return True


def all_tied(metric: Metric, num_candidates: int, num_truths: int) -> float:
    """The value of a clip whose K candidates all score alike, `num_truths` of them truths."""
    above, equal, tied_truths = (np.array([number]) for number in (0, num_candidates - num_truths, num_truths))
    return float(metric.values(TieCounts(above, equal, num_candidates, tied_truths))[0])


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
