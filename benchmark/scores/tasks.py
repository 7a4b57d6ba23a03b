"""What is to be ranked, as arrays in a canonical order, so that no order of clips or candidates can move a digit.

    tasks = make_tasks(sets)                                 # every set on dev and on test
    task = Task.of(sets["random10"], sets.texts, "test")     # rows by clip_id, candidates by id
    layout = Layout.union([task, ...])                       # each clip once, the union of its candidates
    matrix = block.score[layout.gather(task)]                # flat scores -> (n, K)

A run keeps its tasks (without the texts), so that its metrics can be computed again from the scores alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from videochat.commenter import TextTable
from videochat.errors import Mismatch, VideochatError

from ..metrics.ranks import truth_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..candidates.sets import CandidateSets

SPLITS = ("dev", "test")  # what is ranked; a model's score rule is chosen on dev


class CandidateSetLike(Protocol):
    """The part of a candidate set that ranking needs."""

    @property
    def name(self) -> str: ...
    @property
    def k(self) -> int: ...
    def split(self, split: str) -> CandidateSetLike: ...
    @property
    def clip_ids(self) -> Sequence[str] | NDArray[np.object_]: ...
    @property
    def recording_ids(self) -> Sequence[str] | NDArray[np.object_]: ...
    @property
    def categories(self) -> Sequence[str] | NDArray[np.object_]: ...
    @property
    def clusters(self) -> Sequence[str] | NDArray[np.object_]: ...
    @property
    def group_ids(self) -> Sequence[str] | NDArray[np.object_]: ...
    @property
    def candidates(self) -> NDArray[np.int32]: ...
    @property
    def truths(self) -> NDArray[np.int32]: ...
    @property
    def generic(self) -> NDArray[np.bool_]: ...
    @property
    def other_truths(self) -> NDArray[np.int32] | None: ...


@dataclass(frozen=True, eq=False)
class Task:
    """One candidate set on one split. Rows by clip_id; each row of candidates ascending.

    clip_ids, recording_ids, categories, clusters, group_ids: str (n,). candidates int32 (n, K); truths int32 (n,);
    generic bool (n,): the truth is among the most frequent keys of train; num_bytes int32 (n, K): of the UTF-8 text.
    other_truths int32 (n, T), filled up with -1: what else is a truth; None where every clip has one.
    """

    name: str
    k: int
    split: str
    clip_ids: NDArray[np.str_]
    recording_ids: NDArray[np.str_]
    categories: NDArray[np.str_]
    clusters: NDArray[np.str_]
    group_ids: NDArray[np.str_]
    candidates: NDArray[np.int32]
    truths: NDArray[np.int32]
    generic: NDArray[np.bool_]
    num_bytes: NDArray[np.int32]
    other_truths: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, source: CandidateSetLike, texts: TextTable, split: str) -> Task:
        part = source.split(split)
        clip_ids = np.asarray(list(part.clip_ids), dtype=np.str_)
        order = np.argsort(clip_ids, kind="stable")
        if len(np.unique(clip_ids)) != len(clip_ids):
            raise VideochatError(
                f"candidate set {source.name} holds a clip twice", fix="run `videochat candidates` again"
            )
        candidates = np.sort(np.asarray(part.candidates, dtype=np.int32).reshape(len(order), source.k)[order], axis=1)
        if len(order) and (candidates.min() < 0 or candidates.max() >= len(texts)):
            raise Mismatch(f"candidate set {source.name} names texts that texts.parquet lacks", fix="build it again")
        if source.k > 1 and (np.diff(candidates, axis=1) == 0).any():
            raise VideochatError(f"candidate set {source.name} repeats a candidate in a clip", fix="build it again")
        lengths = np.array([len(text.encode()) for text in texts.texts], dtype=np.int32)

        def strings(values: Sequence[str] | NDArray[np.object_]) -> NDArray[np.str_]:
            return np.asarray(list(values), dtype=np.str_)[order]

        return cls(
            name=source.name,
            k=source.k,
            split=split,
            clip_ids=clip_ids[order],
            recording_ids=strings(part.recording_ids),
            categories=strings(part.categories),
            clusters=strings(part.clusters),
            group_ids=strings(part.group_ids),
            candidates=candidates,
            truths=np.asarray(part.truths, dtype=np.int32)[order],
            generic=np.asarray(part.generic, dtype=np.bool_)[order],
            num_bytes=lengths[candidates] if len(order) else np.zeros((0, source.k), np.int32),
            other_truths=None if part.other_truths is None else part.other_truths[order],
        )

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def all_truths(self) -> NDArray[np.int32]:
        """int32 (n,) where every clip has one truth, else (n, 1 + T) filled up with -1: what metrics take."""
        if self.other_truths is None:
            return self.truths
        return np.concatenate([self.truths[:, None], self.other_truths], axis=1)

    @cached_property
    def is_truth(self) -> NDArray[np.bool_]:
        """bool (n, K)"""
        return truth_mask(self.candidates, self.all_truths)

    @cached_property
    def pools_recordings(self) -> bool:
        """Whether some group takes its clips from several recordings: PROTOCOL v1 at K = 100."""
        groups = np.unique(self.group_ids)
        return len(set(zip(self.group_ids.tolist(), self.recording_ids.tolist(), strict=True))) > len(groups)

    def only(self, rows: NDArray[np.bool_]) -> Task:
        """The task on some of its clips; rows: bool (n,)."""
        columns = {
            name: getattr(self, name)[rows]
            for name in (
                *("clip_ids", "recording_ids", "categories", "clusters", "group_ids"),
                *("candidates", "truths", "generic", "num_bytes"),
            )
        }
        others = None if self.other_truths is None else self.other_truths[rows]
        return Task(name=self.name, k=self.k, split=self.split, other_truths=others, **columns)


@dataclass(frozen=True, eq=False)
class Layout:
    """Ragged candidates of clips: row i holds flat[starts[i]:starts[i + 1]], ascending. Scores are flat beside it.

    clip_ids: str (n,), ascending. starts: int64 (n + 1,). flat: int32.
    """

    clip_ids: NDArray[np.str_]
    starts: NDArray[np.int64]
    flat: NDArray[np.int32]

    @classmethod
    def union(cls, tasks: Sequence[Task]) -> Layout:
        """Each clip of the tasks once, with the union of its candidates."""
        all_ids = np.concatenate([task.clip_ids for task in tasks])
        clip_ids = np.unique(all_ids)
        width = 1 + max((int(task.candidates.max()) for task in tasks if len(task)), default=0)
        codes = [
            (np.searchsorted(clip_ids, task.clip_ids)[:, None] * width + task.candidates).ravel() for task in tasks
        ]
        merged = np.unique(np.concatenate(codes).astype(np.int64))
        counts = np.bincount(merged // width, minlength=len(clip_ids))
        return cls(clip_ids, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (merged % width).astype("i4"))

    @classmethod
    def of_task(cls, task: Task) -> Layout:
        starts = np.arange(len(task) + 1, dtype=np.int64) * task.k
        return cls(task.clip_ids, starts, task.candidates.ravel())

    def __len__(self) -> int:
        return len(self.clip_ids)

    def only(self, rows: Sequence[bool]) -> Layout:
        """The layout of some of its clips."""
        if all(rows):
            return self
        kept = np.asarray(rows, dtype=np.bool_)
        lengths = np.diff(self.starts)
        starts = np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64)
        return Layout(self.clip_ids[kept], starts, self.flat[np.repeat(kept, lengths)])

    @cached_property
    def index(self) -> dict[str, int]:
        return {str(clip_id): row for row, clip_id in enumerate(self.clip_ids)}

    def row(self, clip_id: str) -> slice:
        row = self.index[clip_id]
        return slice(int(self.starts[row]), int(self.starts[row + 1]))

    def gather(self, task: Task) -> NDArray[np.int64]:
        """Positions in `flat` of the task's candidates, int64 (n, K). Raises Mismatch if one was not scored."""
        if not len(task):
            return np.zeros((0, task.k), np.int64)
        width = 1 + max(int(task.candidates.max()), int(self.flat.max(initial=0)))
        rows = np.searchsorted(self.clip_ids, task.clip_ids)
        known = (rows < len(self.clip_ids)) & (self.clip_ids[np.minimum(rows, len(self.clip_ids) - 1)] == task.clip_ids)
        if not known.all():
            missing = task.clip_ids[~known]
            raise Mismatch(f"{len(missing)} clips of {task.name} have no scores, {missing[0]} first", fix="bench again")
        owners = np.repeat(np.arange(len(self.clip_ids)), np.diff(self.starts))
        codes = owners * width + self.flat
        wanted = rows[:, None] * width + task.candidates
        found = np.searchsorted(codes, wanted)
        if not (codes[np.minimum(found, len(codes) - 1)] == wanted).all():
            raise Mismatch(f"some candidates of {task.name} have no scores", fix="bench again")
        return found.astype(np.int64)


def ordered_sets(sets: CandidateSets) -> list[str]:
    """The names in the order of the protocol's declaration (random first), smaller K first."""
    kinds = sets.declaration.sets
    return sorted(sets, key=lambda name: (sets[name].k, kinds.index(sets[name].kind), name))


def make_tasks(sets: CandidateSets) -> list[Task]:
    """Each set on dev and on test, in the order of `ordered_sets`."""
    return [Task.of(sets[name], sets.texts, split) for name in ordered_sets(sets) for split in SPLITS]
