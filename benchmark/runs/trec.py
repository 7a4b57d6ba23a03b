"""Runs and relevance judgements as trec_eval reads them, so that anyone can check our MRR with the field's own tool.

    trec/qrels.random10.txt      <clip_id> 0 t<candidate> <1 for a truth, else 0>
    trec/sfat.random10.run       <clip_id> Q0 t<candidate> <rank> <level> <run>

trec_eval ranks by the score column, kept in single precision by some versions, and breaks ties by document name. The
score column therefore holds the candidate's level, the number of distinct lower scores in its clip: whole numbers,
same order, equal where and only where the float64 scores are equal. The scores themselves are in scores.parquet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videochat.files import write_text
from videochat.schema import slug

from ..scores.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


def qrels_lines(task: Task) -> str:
    """One judgement for each candidate of each clip."""
    return "".join(
        f"{clip_id} 0 t{candidate} {int(is_truth)}\n"
        for clip_id, row, truths in zip(task.clip_ids, task.candidates, task.is_truth, strict=True)
        for candidate, is_truth in zip(row, truths, strict=True)
    )


def levels(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each entry of (n, K) how many distinct lower scores its row has."""
    order = np.argsort(scores, axis=1)
    ascending = np.take_along_axis(scores, order, axis=1)
    found = np.zeros(scores.shape, dtype=np.int64)
    np.put_along_axis(found, order[:, 1:], np.cumsum(ascending[:, 1:] > ascending[:, :-1], axis=1), axis=1)
    return found


def run_lines(task: Task, scores: NDArray[np.float64], name: str) -> str:
    """The candidates of each clip, best first; ranks from 1. `name`: the run's name, without spaces."""
    tag, lines = slug(name), []
    for clip_id, row, level in zip(task.clip_ids, task.candidates, levels(scores), strict=True):
        for rank, index in enumerate(np.lexsort((row, -level)), start=1):
            lines.append(f"{clip_id} Q0 t{row[index]} {rank} {level[index]} {tag}\n")
    return "".join(lines)


def write_qrels(folder: Path, task: Task) -> Path:
    path = folder / f"qrels.{task.name}.txt"
    write_text(path, qrels_lines(task))
    return path


def write_run(folder: Path, task: Task, scores: NDArray[np.float64], model: str) -> Path:
    path = folder / f"{slug(model)}.{task.name}.run"
    write_text(path, run_lines(task, scores, model))
    return path
