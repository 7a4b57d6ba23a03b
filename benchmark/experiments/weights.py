"""Where a model's frame weights lie: evenness (entropy), the top weight, the mean curve of sorted weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.files import read_parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..runs.run import Run

NUM_QUANTILES = 21  # of evenness: 0, .05 ... 1
UNIFORM = 0.95  # evenness above which weights hardly prefer a frame: of 30, the best one has at most 5.6 equal shares


def clip_weights(run: Run, model: str) -> list[NDArray[np.float64]]:
    """The weights of each clip (N,), those with at least two frames; [] if the run holds none of this model."""
    path = run.path / "weights.parquet"
    if not path.is_file():
        return []
    rows = read_parquet(path, filters=[("model", "==", model)])["weight"].to_pylist()
    return [np.asarray(row, dtype=np.float64) for row in rows if len(row) > 1]


def evenness(weights: NDArray[np.float64]) -> float:
    """Entropy of the weights over log(number of frames): 1 for equal weights, 0 for all on one frame."""
    shares = weights[weights > 0]
    return float(max(0.0, -(shares * np.log(shares)).sum() / np.log(len(weights))))


def weight_facts(runs: Sequence[Run], model: str) -> dict[str, Any] | None:
    """Means over clips, then over the runs; None where no run holds weights.

    evenness, its quantiles (0, .05 ... 1), top_weight; sorted: the mean weight of the most, second ... preferred frame;
    uniform_share: clips whose evenness exceeds .95.
    """
    found = [weights for run in runs for weights in clip_weights(run, model)]
    if not found:
        return None
    even = np.array([evenness(weights) for weights in found])
    length = int(np.median([len(weights) for weights in found]))
    curves = [np.sort(weights)[::-1][:length] for weights in found if len(weights) >= length]
    return {
        "num_clips": len(found) // len(runs),
        "evenness": round(float(even.mean()), 6),
        "quantiles": [round(float(value), 6) for value in np.quantile(even, np.linspace(0, 1, NUM_QUANTILES))],
        "top_weight": round(float(np.mean([weights.max() for weights in found])), 6),
        "sorted": [round(float(value), 6) for value in np.mean(curves, axis=0)],
        "uniform_share": round(float((even > UNIFORM).mean()), 6),
    }
