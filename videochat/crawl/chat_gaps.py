"""Silences of a chat that its own pace makes unlikely: where a page may have been lost.

    find_gaps(offsets_s, 0, 3600, min_expected=ASK_AGAIN) -> [Gap(start_s=812, end_s=1034, expected=37.2), ...]

A gap is the time between two neighbours. Its expected number of comments is its length times the pace around it: the
lower of the paces in the ten minutes before and after (at either end of the chat there is only one side). Real chat
falls silent by itself, so the thresholds are measured on 27 real VODs of 93,000 comments that are believed whole
(tests/videochat/test_crawl_chat_audit.py makes the figures again):

    expected >=   gaps in the 27 VODs   a lost page of 59 is found   half of it   15 comments
    10            109, at most 15 each  99.7 %                       96.8 %       71 %
    30            none                  91 %                         38 %         2 %
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ASK_AGAIN = 10.0  # asking for a gap costs one request
SUSPICIOUS = 30.0  # where nobody can be asked: no false alarm in 27 VODs
NEIGHBOURHOOD_S = 600  # the pace is taken from so many seconds on either side
SHORTEST_SIDE_S = 60  # a side is never taken for shorter: a handful of seconds has no pace


@dataclass(frozen=True, kw_only=True)
class Gap:
    """No comment in (start_s, end_s), whole seconds of the VOD; expected: how many its surroundings suggest."""

    start_s: int
    end_s: int
    expected: float


def find_gaps(
    offsets_s: Sequence[int] | NDArray[np.int64], start_s: float, end_s: float, *, min_expected: float
) -> list[Gap]:
    """The gaps of [start_s, end_s) with at least `min_expected` expected comments, in order of time.

    offsets_s: whole seconds, any order; those outside [start_s, end_s) are left out. An empty chat has no gaps.
    """
    times = np.sort(np.asarray(offsets_s, dtype=np.int64))
    times = times[(times >= start_s) & (times < end_s)]
    if not len(times):
        return []
    edges = np.concatenate(([int(start_s)], times, [int(end_s)]))
    places = np.flatnonzero(np.diff(edges) >= 2)  # neighbouring seconds have no room between them
    begins, ends = edges[places], edges[places + 1]
    num_before = np.searchsorted(times, begins, "right") - np.searchsorted(times, begins - NEIGHBOURHOOD_S)
    num_after = np.searchsorted(times, ends + NEIGHBOURHOOD_S, "right") - np.searchsorted(times, ends)
    before, after = _pace(num_before, begins - start_s), _pace(num_after, end_s - ends)
    before[places == 0] = np.inf  # nothing lies before the first comment, so the other side alone has a pace
    after[places == len(times)] = np.inf
    expected = np.minimum(before, after) * (ends - begins)
    return [
        Gap(start_s=int(begins[row]), end_s=int(ends[row]), expected=round(float(expected[row]), 2))
        for row in np.flatnonzero(expected >= min_expected).tolist()
    ]


def _pace(counts: NDArray[np.int64], room_s: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Comments a second on one side. room_s: how much of the chat lies on that side."""
    return counts / np.clip(room_s, SHORTEST_SIDE_S, NEIGHBOURHOOD_S)
