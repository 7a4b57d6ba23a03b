"""The clips of a set in bins: by category, chat density, how much context there is, when the truth was said, and on
simulated data whether the chat speaks of the screen.

    for part in parts_of(task, facts): part.by, part.bin, part.rows
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..scores.tasks import Task
from .clip_facts import ClipFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

CATEGORY, DENSITY, REFERENCE, OFFSET, CONTEXT = BY = (
    *("category", "chat-density", "reference-rate", "truth-offset", "num-context"),
)
CONTEXT_FROM = (1, 5, 10, 20, 40)  # comments; fixed, so that data sets can be compared
NUM_OFFSETS = 4  # quarters of the response span: 20, 22.5, 25, 27.5 s
REFERS = {1: "refers to the screen", 0: "does not refer"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The clips of a task in one bin. rows: bool (n,), at least one is True."""

    by: str
    bin: str
    rows: NDArray[np.bool_]


def parts_of(task: Task, facts: ClipFacts | None) -> Iterator[Part]:
    """The non-empty bins of a task, in a fixed order; without facts by category alone. Clips of which something is
    unknown are in no bin of it."""
    for category in np.unique(task.categories):
        yield Part(by=CATEGORY, bin=str(category), rows=task.categories == category)
    if facts is None or not len(task):
        return
    rows = facts.rows(task)
    yield from _density(facts.num_context * 1000 / facts.context_ms, rows)
    for value, name in REFERS.items():
        yield from _part(REFERENCE, name, facts.refers[rows] == value)
    yield from _offsets(facts, rows)
    counts = facts.num_context[rows]
    for low, high in zip(CONTEXT_FROM, (*CONTEXT_FROM[1:], None), strict=True):
        name = f"{low}+ comments" if high is None else f"{low}-{high - 1} comments"
        yield from _part(CONTEXT, name, (counts >= low) & ((counts < high) if high else True))


def _part(by: str, name: str, rows: NDArray[np.bool_]) -> Iterator[Part]:
    if rows.any():
        yield Part(by=by, bin=name, rows=rows)


def _density(of_all: NDArray[np.float64], rows: NDArray[np.int64]) -> Iterator[Part]:
    """Terciles of the context comments per second, of the clips of all sets, so that their bins are the same ones;
    equal values stay together."""
    low, high = np.quantile(of_all, [1 / 3, 2 / 3])
    per_second = of_all[rows]
    yield from _part(DENSITY, f"low: under {low:.2f}/s", per_second < low)
    yield from _part(DENSITY, f"middle: {low:.2f}-{high:.2f}/s", (per_second >= low) & (per_second <= high))
    yield from _part(DENSITY, f"high: over {high:.2f}/s", per_second > high)


def _offsets(facts: ClipFacts, rows: NDArray[np.int64]) -> Iterator[Part]:
    """Quarters of the response span, [from, to) in seconds from the clip's start."""
    offset, begin, end = facts.truth_offset_ms[rows], facts.context_ms[rows], facts.clip_ms[rows]
    for quarter in range(NUM_OFFSETS):
        low = begin + (end - begin) * quarter / NUM_OFFSETS
        high = begin + (end - begin) * (quarter + 1) / NUM_OFFSETS
        kept = (offset >= low) & (offset < high)
        if kept.any():
            first = int(np.flatnonzero(kept)[0])
            yield Part(by=OFFSET, bin=f"{low[first] / 1000:g}-{high[first] / 1000:g} s", rows=kept)
