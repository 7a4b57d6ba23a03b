"""The best-ranked of several truths among tied candidates, by closed form: the mean over all orders of the ties.

g candidates lie above the best truth, whose score m truths share with t other candidates. All orders of these m + t are
equally likely, so the best truth comes X places into them, where (negative hypergeometric distribution)

    P(X > j) = C(t, j) / C(t + m, j)        the first j of the tied are none of the m
    P(X = x) = P(X > x - 1) * m / (t + m - x + 1)
    E[X] = (t + m + 1) / (m + 1)

Truths that score lower never come first. LiveBot and VideoIC count the best-ranked truth too (FACTS §3), without ties.
All arguments are int64 arrays (n,) or whole numbers, m >= 1; with m = 1 these are PROTOCOL's formulas ("Ties").

    recall(1, above=0, equal=2, tied_truths=2)      # 0.5: two of the four that share the first place are truths
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]


def recall(k: int, above: Integers, equal: Integers, tied_truths: Integers) -> Floats:
    """E[R@k] = P(X <= k - g), float64 (n,)."""
    reach = np.asarray(k - above)
    missed = np.ones(np.broadcast(reach, equal, tied_truths).shape)
    for place in range(k):
        step = np.maximum(equal - place, 0) / np.maximum(equal + tied_truths - place, 1)
        missed *= np.where(place < reach, step, 1.0)
    return np.asarray(1.0 - missed)


def rank(above: Integers, equal: Integers, tied_truths: Integers) -> Floats:
    """E[rank] = g + (t + m + 1)/(m + 1), float64 (n,)."""
    return np.asarray(above + (equal + tied_truths + 1) / (tied_truths + 1))


def reciprocal_rank(above: Integers, equal: Integers, tied_truths: Integers) -> Floats:
    """E[1/rank] = sum over x of P(X = x)/(g + x), float64 (n,)."""
    above, equal, tied_truths = np.broadcast_arrays(above, equal, tied_truths)
    missed, total = np.ones(above.shape), np.zeros(above.shape)
    for place in range(1, int(equal.max(initial=0)) + 2):
        left = np.maximum(equal + tied_truths - place + 1, 1)  # below 1 only where missed is 0 already
        total += missed * (tied_truths / left) / (above + place)
        missed = missed * np.maximum(equal - place + 1, 0) / left
    return total
