"""Intervals and tests that respect clusters: clips of one channel (or recording) are never treated as independent.

Means are made of sums and counts. Intervals: bootstrap of whole clusters, widened where there are few of them. Tests:
sign flips of whole clusters, p = (count + 1)/(n + 1). Several models: Holm. PROTOCOL "Statistics"; Efron & Tibshirani
1993, ch. 13; Phipson & Smyth 2010 for the + 1; Holm 1979.

    mean = macro_mean(values, categories, clusters, Bootstrap(num_clusters=40, seed=0))
    low, high = mean.interval()
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

from videochat.files import stable_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_SAMPLES = 10_000  # PROTOCOL "Statistics"
MIN_CLUSTERS = 10  # below, no interval is printed
LEVEL = 0.95
_CHUNK_CELLS = 4_000_000  # bounds the float64 copy of the weights to 32 MB


def cluster_sums(values: NDArray[np.float64], clusters: NDArray[np.integer], num_clusters: int) -> NDArray[np.float64]:
    """Sums of `values` (n, M) over the rows of each cluster: float64 (num_clusters, M). clusters: (n,) in [0, C)."""
    columns = [np.bincount(clusters, weights=column, minlength=num_clusters) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((num_clusters, 0))


class Bootstrap:
    """Resamples of `num_clusters` clusters, drawn once and shared by all statistics, so that differences are paired.

    Two statistics of one run see the same 10,000 draws; the same seed and number of clusters give the same draws.
    """

    def __init__(self, num_clusters: int, *, seed: int = 0, num_samples: int = NUM_SAMPLES) -> None:
        self.num_clusters = num_clusters
        self.num_samples = num_samples
        self.seed = seed

    @cached_property
    def weights(self) -> NDArray[np.uint16]:
        """How often each cluster is drawn: multinomial counts (num_samples, C), each row sums to C."""
        generator = np.random.default_rng(stable_hash(self.seed, "bootstrap", self.num_clusters))
        rows = []
        step = max(1, _CHUNK_CELLS // max(1, self.num_clusters))
        for start in range(0, self.num_samples, step):
            size = min(step, self.num_samples - start)
            draws = generator.integers(self.num_clusters, size=(size, self.num_clusters))
            draws += np.arange(size)[:, None] * self.num_clusters
            counts = np.bincount(draws.ravel(), minlength=size * self.num_clusters)
            rows.append(counts.reshape(size, self.num_clusters).astype(np.uint16))
        return np.concatenate(rows) if rows else np.zeros((0, self.num_clusters), np.uint16)

    def means(self, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean in each resample: (num_samples, M) from sums (C, M) and counts (C,). NaN where no clip was drawn."""
        both = np.concatenate([sums, counts[:, None]], axis=1)
        step = max(1, _CHUNK_CELLS // max(1, self.num_clusters))
        totals = np.concatenate(
            [self.weights[i : i + step].astype(np.float64) @ both for i in range(0, self.num_samples, step)]
        )
        drawn = totals[:, -1:]
        means = np.full_like(totals[:, :-1], np.nan)
        np.divide(totals[:, :-1], drawn, out=means, where=drawn > 0)
        return means


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """A mean of M columns and what the bootstrap says of it.

    point (M,). samples (num_samples, M), None where the clusters are too few. degrees (M,): of freedom. low, high (M,):
    the least and greatest value of a clip, which no mean can leave.
    """

    point: NDArray[np.float64]
    samples: NDArray[np.float64] | None
    degrees: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def interval(self, level: float = LEVEL) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expanded percentile interval: low (M,), high (M,); NaN below 10 clusters.

        The tails are those of Student's t at the degrees of freedom, so that few clusters give wide intervals
        (Hesterberg 2015, "What Teachers Should Know About the Bootstrap").
        """
        if self.samples is None:
            unknown = np.full(len(self.point), np.nan)
            return unknown, unknown
        tails = ndtr(stdtrit(self.degrees, (1 - level) / 2)).tolist()
        bounds = [np.quantile(column, [q, 1 - q]) for column, q in zip(self.samples.T, tails, strict=True)]
        low, high = np.array(bounds).reshape(-1, 2).T
        return np.clip(low, self.low, self.high), np.clip(high, self.low, self.high)

    @classmethod
    def average(cls, parts: Sequence[Resampled]) -> Resampled:
        """The mean of several means that share their draws."""
        drawn = [part.samples for part in parts if part.samples is not None]
        return cls(
            point=np.mean([part.point for part in parts], axis=0),
            samples=np.mean(drawn, axis=0) if len(drawn) == len(parts) else None,
            degrees=np.min([part.degrees for part in parts], axis=0),
            low=np.mean([part.low for part in parts], axis=0),
            high=np.mean([part.high for part in parts], axis=0),
        )


def macro_mean(
    values: NDArray[np.float64], categories: NDArray[np.integer], clusters: NDArray[np.integer], bootstrap: Bootstrap
) -> Resampled:
    """The mean over categories of the mean over their clips. With one category it is the mean over clips.

    values (n, M); categories (n,), clusters (n,) integer codes; no samples if the clips lie in fewer than 10 clusters.
    Categories are strata with few clusters each, where a plain bootstrap is too narrow: deviations are widened by
    sqrt(n/(n - 1)) for the n clusters of a category (Rao & Wu 1988); categories of one cluster, which tell nothing of
    their own spread, are measured from the mean of their like (survey statistics' collapsed strata). Degrees of
    freedom: Satterthwaite's. A category that a resample happens not to hold counts with its point value there: left
    out, it would shift the mean by the difference between categories, which is no uncertainty of the macro mean.
    """
    codes = np.unique(categories)
    rows = [categories == code for code in codes]
    points = np.stack([values[kept].mean(axis=0) for kept in rows])
    point = points.mean(axis=0)
    result = Resampled(
        point=point,
        samples=None,
        degrees=np.ones_like(point),
        low=values.min(axis=0),
        high=values.max(axis=0),
    )
    if len(np.unique(clusters)) < MIN_CLUSTERS:
        return result
    held = [np.unique(clusters[kept]) for kept in rows]
    lone = [i for i, ids in enumerate(held) if len(ids) == 1]
    centre = points[lone].mean(axis=0) if len(lone) > 1 else point
    strata: list[tuple[NDArray[np.float64], int]] = []  # deviations (num_samples, M) with their degrees of freedom
    for i, (kept, ids) in enumerate(zip(rows, held, strict=True)):
        if len(ids) > 1:
            counts = np.bincount(clusters[kept], minlength=bootstrap.num_clusters).astype(np.float64)
            sums = cluster_sums(values[kept], clusters[kept], bootstrap.num_clusters)
            moved = np.nan_to_num(bootstrap.means(sums, counts) - points[i], nan=0.0)
            strata.append((moved * np.sqrt(len(ids) / (len(ids) - 1)), len(ids) - 1))
    if lone:
        drawn = bootstrap.weights[:, [held[i][0] for i in lone]].astype(np.float64) - 1
        widened = np.sqrt(len(lone) / max(1, len(lone) - 1))
        strata.append((drawn @ (points[lone] - centre) * widened, max(1, len(lone) - 1)))
    samples = point + sum(moved for moved, _ in strata) / len(codes)
    return dataclasses.replace(result, samples=samples, degrees=satterthwaite(strata))


def satterthwaite(strata: Sequence[tuple[NDArray[np.float64], int]]) -> NDArray[np.float64]:
    """Degrees of freedom (M,) of a sum of strata, each with samples (B, M) and its own degrees (Satterthwaite 1946)."""
    variances = np.stack([samples.var(axis=0) for samples, _ in strata])
    own = np.array([degrees for _, degrees in strata], dtype=np.float64)[:, None]
    total = variances.sum(axis=0)
    plain: NDArray[np.float64] = np.full_like(total, own.sum())
    np.divide(total**2, (variances**2 / own).sum(axis=0), out=plain, where=total > 0)
    return plain


def sign_flip_p(sums: NDArray[np.float64], *, seed: int = 0, num_flips: int = NUM_SAMPLES) -> NDArray[np.float64]:
    """Two-sided p of "the differences are symmetric around 0", flipping the sign of whole clusters: (M,) in (0, 1].

    sums: the summed (weighted) paired differences of each cluster (C, M). p = (count + 1)/(num_flips + 1), where count
    is the number of random flips whose |total| is at least the observed one.
    """
    num_clusters = len(sums)
    observed = np.abs(sums.sum(axis=0))
    slack = 1e-12 * np.abs(sums).sum(axis=0)  # equal totals summed in another order count as equal
    generator = np.random.default_rng(stable_hash(seed, "sign-flip", num_clusters))
    count = np.zeros(sums.shape[1])
    step = max(1, _CHUNK_CELLS // max(1, num_clusters))
    for start in range(0, num_flips, step):
        size = min(step, num_flips - start)
        signs = generator.integers(2, size=(size, num_clusters)).astype(np.float64) * 2 - 1
        count += (np.abs(signs @ sums) >= observed - slack).sum(axis=0)
    return np.asarray((count + 1) / (num_flips + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of m p-values, in the given order; each in [p, 1]. [] gives []."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for step, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = running
    return adjusted
