"""What a scorer leans on: how often it ties, and how its scores go with the candidates' length and popularity.

    tie_rate              share of clips whose truth has the score of another candidate
    length_correlation    Spearman's rho of score and UTF-8 bytes within a clip, mean over clips
    popularity_correlation    the same with the frequency of the candidate's key in the training split
    calibration           softmax of the official score over the K candidates: confidence against how often it is right

A clip in which either side is constant has no correlation and is left out; with none left the value is null.
Calibration (Guo et al. 2017): ten bins of equal width over the highest probability; accuracy is E[R@1] (ties shared);
ECE is the mean gap, weighted by clips, in [0, 1], 0 is best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.ranks import TieCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_BINS = 10


def average_ranks(values: NDArray[Any]) -> Floats:
    """Ascending ranks within each row, ties share their mean: float64 (n, K), 0 = least. -inf is legal."""
    num, k = values.shape
    if not num:
        return np.zeros((0, k))
    order = np.argsort(values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    begins = np.ones((num, k), dtype=np.bool_)
    begins[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    ties = np.cumsum(begins.ravel()) - 1  # a number for each run of equal values; a row begins a new run
    places = np.tile(np.arange(k, dtype=np.float64), num)
    means = np.bincount(ties, weights=places) / np.bincount(ties)
    ranks = np.empty((num, k))
    np.put_along_axis(ranks, order, means[ties].reshape(num, k), axis=1)
    return ranks


def standardised(ranks: Floats) -> Floats:
    """Rows of zero mean and unit length; a constant row becomes NaN."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    result: Floats = np.full_like(centred, np.nan)
    np.divide(centred, length, out=result, where=length > 0)
    return result


def mean_correlation(one: Floats, other: Floats) -> float:
    """The mean over rows of the product of two standardised rank matrices (n, K); NaN if no row has one."""
    found = np.einsum("nk,nk->n", one, other)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else float("nan")


def tie_rate(counts: TieCounts) -> float:
    """The share of clips whose truth is tied, in [0, 1]. 0 for no clips."""
    return float((counts.equal > 0).mean()) if len(counts.equal) else 0.0


def calibration(scores: Floats, recall: Floats) -> tuple[float, list[dict[str, Any]]]:
    """(ECE, bins) of scores (n, K), higher = more likely, and E[R@1] (n,) of the same clips.

    A row of -inf alone counts as uniform. Empty bins are left out.
    """
    top = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - np.where(np.isneginf(top), 0.0, top))
    total = weights.sum(axis=1)
    confidence = np.full(len(scores), 1.0 / scores.shape[1])
    np.divide(weights.max(axis=1), total, out=confidence, where=total > 0)
    places = np.minimum((confidence * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    bins: list[dict[str, Any]] = []
    gap = 0.0
    for place in np.unique(places):
        kept = places == place
        mean, right = float(confidence[kept].mean()), float(recall[kept].mean())
        bins.append({"confidence": mean, "accuracy": right, "num_clips": int(kept.sum())})
        gap += abs(mean - right) * float(kept.sum()) / len(scores)
    return gap, bins
