"""Ranks and metrics as the released evaluation takes them: by the sort's own order, in means of batch means.

    sort_ranks(np.zeros((1, 10)), 0)      # what torch.argsort makes of ten equal scores on this machine
    averaged(values, batch_clips=32)      # 32 clips at rank 6 and one at rank 1 give R@1 .5

The sort is `torch.argsort(descending=True)`, which is not stable: where scores are equal, the order of the candidates,
their number, the device and the version of torch decide (FACTS §3). `tie_facts` says what they decide here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.ranks import MEAN_RANK, RECIPROCAL_RANK, BadScores, Metric, Recall, TieCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METRICS: tuple[Metric, ...] = (Recall(1), Recall(2), Recall(5), MEAN_RANK, RECIPROCAL_RANK)


def sort_ranks(scores: Floats, truth: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """1-based rank of the truth in each row of scores (n, K) under torch's own order; truth: its column."""
    import torch

    order = torch.argsort(torch.from_numpy(np.ascontiguousarray(scores)), dim=-1, descending=True).numpy()
    columns = np.broadcast_to(np.asarray(truth), (len(scores),))
    return np.asarray((order == columns[:, None]).argmax(axis=1) + 1, dtype=np.int64)


def rank_counts(scores: Floats, truth: NDArray[np.int64], *, ties: str, what: str = "scores") -> TieCounts:
    """What the metrics are functions of. ties: "sort", or "expected" (PROTOCOL). Raises BadScores on NaN."""
    if np.isnan(scores).any():
        raise BadScores(f"{what}: {int(np.isnan(scores).sum())} of {scores.size} scores are NaN", fix="NaN has no rank")
    if ties == "sort":
        ranks = sort_ranks(scores, truth)
        return TieCounts(ranks - 1, np.zeros_like(ranks), scores.shape[1])
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    above = (scores > own).sum(axis=1)
    equal = (scores == own).sum(axis=1) - 1
    return TieCounts(above.astype(np.int64), equal.astype(np.int64), scores.shape[1])


def averaged(values: Floats, *, batch_clips: int | None) -> Floats:
    """Means over the rows of (n, M), or with `batch_clips` the mean of the means of consecutive batches."""
    if batch_clips is None or not len(values):
        return np.asarray(values.mean(axis=0))
    parts = [values[start : start + batch_clips].mean(axis=0) for start in range(0, len(values), batch_clips)]
    return np.asarray(np.mean(parts, axis=0))


def tie_facts(sizes: Sequence[int] = (10, 20, 100)) -> dict[str, Any]:
    """The rank that a constant scorer gives to a truth that stands first, for K in `sizes`, on this machine's CPU."""
    import torch

    ranks = {str(k): int(sort_ranks(np.zeros((1, k)), 0)[0]) for k in sizes}
    return {"torch": torch.__version__.partition("+")[0], "device": "cpu", "rank_of_truth_first": ranks}
