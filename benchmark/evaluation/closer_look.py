"""The parts of metrics.json for whoever looks closer: diagnostics, breakdowns, calibration and significance letters.

    metrics |= closer_look(evaluator, comparisons, official, facts)

Everything is under the official rule, on test clips. Breakdowns are of models and scorers; their means are over the
clips of a bin, their intervals over its clusters (none below 10 of them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.letters import letters_of
from ..metrics.ranks import METRICS, RECIPROCAL_RANK, Metric, Recall, tie_counts
from ..scores.blocks import REAL
from .breakdowns import parts_of
from .clip_facts import ClipFacts
from .diagnostics import average_ranks, calibration, mean_correlation, standardised, tie_rate
from .figures import ALPHA, OFFICIAL, estimate, number

if TYPE_CHECKING:
    from .evaluate import Evaluator

Json = Mapping[str, Any]
SHOWN: tuple[Metric, ...] = (RECIPROCAL_RANK, Recall(1))
COLUMNS = [METRICS.index(metric) for metric in SHOWN]


def closer_look(
    evaluator: Evaluator, comparisons: Sequence[Json], official: Sequence[Json], facts: ClipFacts | None
) -> dict[str, Any]:
    """The optional parts of metrics.json. facts: None for a run of an older version; what needs them is absent then."""
    return {
        "diagnostics": _diagnostics(evaluator, facts),
        "breakdowns": _breakdowns(evaluator, facts),
        "calibration": _calibration(evaluator),
        "letters": letters(comparisons, official),
    }


def letters(comparisons: Sequence[Json], official: Sequence[Json]) -> list[dict[str, str]]:
    """Each compared model's letters over the official number, the best model first; [] for fewer than two models."""
    pairs = [row for row in comparisons if row["set"] == OFFICIAL]
    compared = {name for row in pairs for name in (row["a"], row["b"])}
    names = [row["model"] for row in sorted(official, key=lambda row: -row["value"]) if row["model"] in compared]
    differs = [(row["a"], row["b"]) for row in pairs if row["p_holm"] < ALPHA]
    return [{"model": name, "letters": marks} for name, marks in letters_of(names, differs).items()]


def _diagnostics(evaluator: Evaluator, facts: ClipFacts | None) -> list[dict[str, Any]]:
    rows = []
    for task in evaluator.test:
        lengths = standardised(average_ranks(task.num_bytes))
        popularity = None if facts is None else standardised(average_ranks(facts.frequency[task.candidates]))
        for entry in evaluator.entries:
            if (block := evaluator.block(entry.name, REAL, task)) is None:
                continue
            scores = evaluator.scores(block, evaluator.rules[entry.name], task)
            ranks = standardised(average_ranks(scores))
            counts = tie_counts(scores, task.candidates, task.all_truths, what=entry.name)
            rows.append(
                {
                    "model": entry.name,
                    "set": task.name,
                    "tie_rate": number(tie_rate(counts)),
                    "length_correlation": number(mean_correlation(ranks, lengths)),
                    "popularity_correlation": None
                    if popularity is None
                    else number(mean_correlation(ranks, popularity)),
                }
            )
    return rows


def _breakdowns(evaluator: Evaluator, facts: ClipFacts | None) -> list[dict[str, Any]]:
    rows = []
    for task in evaluator.test:
        ranked = [
            (entry.name, evaluator.values(block, evaluator.rules[entry.name], task)[:, COLUMNS])
            for entry in evaluator.entries
            if entry.kind in ("model", "scorer") and (block := evaluator.block(entry.name, REAL, task)) is not None
        ]
        if not ranked:
            continue
        values, clusters = np.concatenate([part for _, part in ranked], axis=1), evaluator.clusters(task)
        for part in parts_of(task, facts):
            found = evaluator.mean_with_interval(values[part.rows], clusters[part.rows])
            figures = [estimate(*figure) for figure in zip(*found, strict=True)]
            shared = {"set": task.name, "by": part.by, "bin": part.bin, "num_clips": int(part.rows.sum())}
            shared["num_clusters"] = len(np.unique(clusters[part.rows]))
            for i, (name, _) in enumerate(ranked):
                here = figures[i * len(SHOWN) : (i + 1) * len(SHOWN)]
                metrics = {metric.name: figure for metric, figure in zip(SHOWN, here, strict=True)}
                rows.append({"model": name, **shared, "metrics": metrics})
    return rows


def _calibration(evaluator: Evaluator) -> list[dict[str, Any]]:
    rows = []
    recall = METRICS.index(Recall(1))
    for task in evaluator.test:
        for entry in evaluator.entries:
            block = evaluator.block(entry.name, REAL, task)
            if block is None or block.log_likelihood is None:
                continue
            rule = evaluator.rules[entry.name]
            scores, values = evaluator.scores(block, rule, task), evaluator.values(block, rule, task)
            ece, bins = calibration(scores, values[:, recall])
            written = [b | {name: number(b[name]) for name in ("confidence", "accuracy")} for b in bins]
            rows.append({"model": entry.name, "set": task.name, "ece": number(ece), "bins": written})
    return rows
