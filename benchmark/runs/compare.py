"""Two or more runs side by side: differences of their models, paired by clip, on the clips that all of them ranked.

    found = compare([Run.open(a), Run.open(b)])
    found.rows            # like metrics.json's comparisons; names are "sfat (A)", "sfat (B)"

Runs of the same candidate digests ranked the same items. Others are refused, unless the intersection is asked for:
then whole groups count that are the same in all runs (same clips, same truths and candidates by their lengths in
bytes, since text numbers change with the table), and the result says how many.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import Mismatch, MissingInput, UsageError

from ..evaluation.evaluate import PAIRED, paired_differences
from ..evaluation.figures import OFFICIAL
from ..metrics.ranks import RECIPROCAL_RANK, tie_counts
from ..scores import rules as score_rules
from ..scores.blocks import REAL, ScoreBlock
from ..scores.tasks import Task
from . import table
from .run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """labels: letter -> run id. sets: name -> number of test clips compared. rows: a minus b with interval, p and Holm.
    intersection: only part of the items was compared. left_out: set -> test clips of the first run that were not.
    alone: models without a partner of the same name."""

    labels: dict[str, str]
    simulated: bool
    sets: dict[str, int]
    rows: list[dict[str, Any]]
    num_clusters: int
    intersection: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    alone: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": self.labels,
            "simulated": self.simulated,
            "sets": self.sets,
            "num_clusters": self.num_clusters,
            "intersection": self.intersection,
            "left_out": self.left_out,
            "alone": self.alone,
            "rows": self.rows,
        }


def compare(
    runs: Sequence[Run], *, models: Collection[str] = (), all_pairs: bool = False, intersection: bool = False
) -> Comparison:
    """Paired differences between models of different runs.

    Compared are models of the same name; with all_pairs, or where no name is shared, every model with every model of
    another run. models: names to take, scorers too (default: entrants of kind model).
    Raises UsageError for fewer than two runs or an unknown model, Mismatch if the runs did not rank the same items.
    """
    if not 2 <= len(runs) <= len(LETTERS):
        raise UsageError(f"{len(runs)} runs to compare", fix=f"name 2 to {len(LETTERS)} run folders")
    check_same(runs, intersection=intersection)
    tasks = shared_tasks(runs)
    if not any(len(task) for task in tasks[0]):
        raise MissingInput("the runs have no test item in common", fix="bench both on the same candidates")
    entries = _entries(runs, models)
    pairs = _pairs(entries, all_pairs=all_pairs)
    if not pairs:
        raise UsageError("the runs hold no models to compare", fix="name scorers with --model, such as tfidf")
    per_task: list[dict[str, Floats]] = [{} for _ in tasks[0]]
    used = {name for pair in pairs for name in pair}
    for run, letter, own in zip(runs, LETTERS, tasks, strict=False):
        blocks = [block for block in run.blocks() if block.condition == REAL and block.split == "test"]
        rules = {m["name"]: m["score_rule"] for m in run.info["models"]}
        for name in [each for each, place in entries if place == letter and f"{each} ({letter})" in used]:
            for index, task in enumerate(own):
                per_task[index][f"{name} ({letter})"] = _values(blocks, name, rules[name], task)
    kept = [index for index, task in enumerate(tasks[0]) if len(task)]
    rows = paired_differences(
        [tasks[0][i] for i in kept], [per_task[i] for i in kept], pairs, seed=runs[0].info["settings"]["seed"]
    )
    whole = {task.name: len(task) for task in runs[0].tasks("test")}
    sets = {task.name: len(task) for task in tasks[0] if len(task)}
    return Comparison(
        labels={letter: run.run_id for letter, run in zip(LETTERS, runs, strict=False)},
        simulated=any(run.info["simulated"] for run in runs),
        sets=sets,
        rows=rows,
        num_clusters=len({cluster for i in kept for cluster in tasks[0][i].clusters.tolist()}),
        intersection=any(whole[name] != num for name, num in sets.items()),
        left_out={name: whole[name] - num for name, num in sets.items() if whole[name] != num},
        alone=[f"{name} ({letter})" for name, letter in entries if f"{name} ({letter})" not in used],
    )


def check_same(runs: Sequence[Run], *, intersection: bool) -> None:
    """Raises Mismatch unless all runs are of one protocol and ranked the same candidates."""
    first = runs[0]
    for other in runs[1:]:
        if other.info["protocol_label"] != first.info["protocol_label"]:
            labels = f"{first.info['protocol_label']} and {other.info['protocol_label']}"
            raise Mismatch(f"{first.run_id} and {other.run_id} are of protocols {labels}", fix="compare runs of one")
        if intersection:
            continue
        for name in sorted({*first.info["candidates"], *other.info["candidates"]}):
            digests = [str(run.info["candidates"].get(name, "none"))[:8] for run in (first, other)]
            if digests[0] != digests[1]:
                raise Mismatch(
                    f"{first.run_id} and {other.run_id} ranked other candidates: {name} {' and '.join(digests)}",
                    fix="bench both on the same sets, or pass --intersection to compare on the items they share",
                )
        if first.info["part"] != other.info["part"]:
            raise Mismatch(
                f"{first.run_id} and {other.run_id} ranked other parts of the sets "
                f"({first.info['part'] or 'all'} and {other.info['part'] or 'all'})",
                fix="bench both whole, or pass --intersection to compare on the items they share",
            )


def shared_tasks(runs: Sequence[Run]) -> list[list[Task]]:
    """For each run its test tasks of the sets that all have, on the groups that are the same in all."""
    found = [{task.name: task for task in run.tasks("test")} for run in runs]
    names = [name for name in found[0] if all(name in each for each in found)]
    tasks: list[list[Task]] = [[] for _ in runs]
    for name in names:
        marks = [_groups(each[name]) for each in found]
        same = set(marks[0].items()).intersection(*(set(mark.items()) for mark in marks[1:]))
        groups = {group for group, _ in same}
        for own, each in zip(tasks, found, strict=True):
            own.append(each[name].only(np.array([g in groups for g in each[name].group_ids.tolist()], dtype=np.bool_)))
    return tasks


def _groups(task: Task) -> dict[str, Any]:
    """group -> what is ranked there: its clips, the lengths of their candidates and which of them are true."""
    members: dict[str, list[Any]] = {}
    for row, group in enumerate(task.group_ids.tolist()):
        lengths = tuple(sorted(task.num_bytes[row].tolist()))
        true = tuple(sorted(task.num_bytes[row][task.is_truth[row]].tolist()))
        members.setdefault(group, []).append((str(task.clip_ids[row]), str(task.clusters[row]), lengths, true))
    return {group: tuple(rows) for group, rows in members.items()}


def _entries(runs: Sequence[Run], models: Collection[str]) -> list[tuple[str, str]]:
    """(name, letter) of what is compared."""
    found: list[tuple[str, str]] = []
    for run, letter in zip(runs, LETTERS, strict=False):
        ranked = {block.model for block in run.blocks() if block.condition == REAL and block.split == "test"}
        for model in run.info["models"]:
            wanted = model["name"] in models if models else model["kind"] == "model"
            if wanted and model["name"] in ranked:
                found.append((model["name"], letter))
    if unknown := sorted(set(models) - {name for name, _ in found}):
        raise UsageError(f"no run ranks {unknown[0]!r}", fix="see the names in their tables")
    return found


def _pairs(entries: Sequence[tuple[str, str]], *, all_pairs: bool) -> list[tuple[str, str]]:
    crossed = [(a, b) for a, b in itertools.combinations(entries, 2) if a[1] != b[1]]
    same = [(a, b) for a, b in crossed if a[0] == b[0]]
    return [(f"{a[0]} ({a[1]})", f"{b[0]} ({b[1]})") for a, b in (crossed if all_pairs or not same else same)]


def _values(blocks: Sequence[ScoreBlock], name: str, rule: str, task: Task) -> Floats:
    """Reciprocal rank and R@1 of every clip of the task: float64 (n, 2)."""
    fitting = [block for block in blocks if block.model == name and block.covers(task)]
    block = next((each for each in fitting if each.set == task.name), fitting[0] if fitting else None)
    if block is None:
        raise MissingInput(f"{name} has no scores for {task.name}", fix="leave it out with --model")
    if not len(task):
        return np.zeros((0, len(PAIRED)))
    scores = score_rules.apply(rule, block, task, block.layout.gather(task))
    counts = tie_counts(scores, task.candidates, task.all_truths, what=f"{name} on {task.name}")
    return np.stack([metric.values(counts) for metric in PAIRED], axis=1)


def describe(found: Comparison, *, wide: bool = False) -> str:
    """What the command prints: the runs, what was compared, and a line for each difference, the official first; R@1
    only with wide."""
    lines = ["SIMULATED DATA: shows that a mechanism works, never how well."] if found.simulated else []
    lines += [f"{letter}  {run_id}" for letter, run_id in found.labels.items()]
    clips = ", ".join(f"{name} {num}" for name, num in found.sets.items())
    lines.append(f"test clips: {clips}; clusters: {found.num_clusters}")
    if found.intersection:
        left = ", ".join(f"{name} {num}" for name, num in found.left_out.items())
        lines.append(f"ONLY ON THE INTERSECTION of their items; clips of A left out: {left}")
    cells = [["a", "b", "set", "metric", "a - b", "95 %", "p", "Holm"]]
    for row in sorted(found.rows, key=lambda row: row["set"] != OFFICIAL):
        if row["metric"] != RECIPROCAL_RANK.name and not wide:
            continue
        p = [f"{row[key]:.4f}" for key in ("p", "p_holm")]
        mark = "*" if row["p_holm"] < 0.05 and row["low"] is not None and not row["low"] <= 0 <= row["high"] else ""
        value = table.short(row["value"], sign=True) + mark
        cells.append([row["a"], row["b"], row["set"], row["metric"], value, table.bounds(row), *p])
    lines += ["", table.aligned(cells, rules=[1], num_left=4), ""]
    if all(row["low"] is None for row in found.rows):
        lines.append(f"{found.num_clusters} clusters are too few for intervals")
    lines.append("*: the interval excludes 0 and p after Holm (over pairs and sets; official apart) is below .05")
    if found.alone:
        lines.append(f"not compared (pass --all-pairs): {', '.join(found.alone)}")
    return "\n".join(lines)
