"""What is known of the ranked clips besides their scores: small columns that a run keeps, so that it can be re-scored.

    facts = ClipFacts.of(corpus, tasks, texts, refers)
    write_facts(folder, facts)                      # clips.parquet and texts.parquet of a run
    facts = read_facts(folder)                      # None for a run of an older version

Breakdowns and diagnostics (breakdowns.py, diagnostics.py) are made from these and the scores alone. No text is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import TextTable
from videochat.errors import MissingInput
from videochat.files import digest_json, read_parquet, write_parquet
from videochat.sample.truth import read_truth

from ..scores.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.workspace import Workspace

    from ..texts.corpus import Corpus

CLIPS, TEXTS = "clips.parquet", "texts.parquet"
UNKNOWN = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipFacts:
    """Facts of n clips, ascending by id, and of the candidate texts.

    clip_ids: str (n,). num_context: int32 (n,) comments in the context. context_ms: int32 (n,), the context's length.
    truth_offset_ms: int32 (n,), when the truth was said, from the clip's start; -1 if unknown. clip_ms: int32 (n,).
    refers: int8 (n,), 1 if the chat speaks of what the clip's frames show, 0 if not, -1 if unknown (all real data).
    frequency: int32 (number of texts,), comments of the training split with the text's key.
    """

    clip_ids: NDArray[np.str_]
    num_context: NDArray[np.int32]
    context_ms: NDArray[np.int32]
    clip_ms: NDArray[np.int32]
    truth_offset_ms: NDArray[np.int32]
    refers: NDArray[np.int8]
    frequency: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        tasks: Sequence[Task],
        texts: TextTable,
        *,
        context_ms: int,
        refers: Mapping[str, bool] | None = None,
    ) -> ClipFacts:
        """The facts of the tasks' clips. corpus: all splits; refers: clip_id -> see above, absent = unknown."""
        truth_of: dict[str, str] = {}
        for task in tasks:
            for clip_id, truth in zip(task.clip_ids.tolist(), task.truths.tolist(), strict=True):
                truth_of.setdefault(clip_id, texts.texts[truth])
        ids = np.asarray(sorted(truth_of), dtype=np.str_)
        numbers = {clip_id: number for number, clip_id in enumerate(corpus.clip_ids)}
        rows = np.array([numbers[clip_id] for clip_id in ids.tolist()], dtype=np.int64)
        text_numbers = {text: number for number, text in enumerate(corpus.texts)}
        offsets = np.full(len(ids), UNKNOWN, dtype=np.int32)
        for i, (clip_id, row) in enumerate(zip(ids.tolist(), rows.tolist(), strict=True)):
            said = np.flatnonzero(corpus.responses.of(row) == text_numbers.get(truth_of[clip_id], UNKNOWN))
            if len(said):
                first = int(corpus.responses.bounds[row]) + int(said[0])
                offsets[i] = int(corpus.responses.times_ms[first]) - int(corpus.start_ms[row])
        known = refers or {}
        return cls(
            clip_ids=ids,
            num_context=np.diff(corpus.context.bounds)[rows].astype(np.int32),
            context_ms=np.full(len(ids), context_ms, dtype=np.int32),
            clip_ms=corpus.clip_ms[rows].astype(np.int32),
            truth_offset_ms=offsets,
            refers=np.array([int(known.get(clip_id, UNKNOWN)) for clip_id in ids.tolist()], dtype=np.int8),
            frequency=_frequency(corpus, texts),
        )

    def rows(self, task: Task) -> NDArray[np.int64]:
        """The row of each of the task's clips, int64 (n,). Raises MissingInput if one is not there."""
        found = np.searchsorted(self.clip_ids, task.clip_ids)
        known = found < len(self.clip_ids)
        known[known] = self.clip_ids[found[known]] == task.clip_ids[known]
        if not known.all():
            raise MissingInput(f"{CLIPS} lacks {int((~known).sum())} ranked clips", fix="run `videochat bench` again")
        return found.astype(np.int64)


def _frequency(corpus: Corpus, texts: TextTable) -> NDArray[np.int32]:
    inside = np.array([split == "train" for split in corpus.splits], dtype=np.bool_)
    counts = np.zeros(len(corpus.key_names), dtype=np.int64)
    for comments in (corpus.context, corpus.responses):
        kept = comments.texts[np.repeat(inside, np.diff(comments.bounds))]
        counts += np.bincount(corpus.key_of[kept], minlength=len(counts))
    numbers = {name: number for number, name in enumerate(corpus.key_names)}
    found = [counts[numbers[key]] if key in numbers else 0 for key in texts.keys]
    return np.array(found, dtype=np.int32)


def references(workspace: Workspace, recording_ids: Sequence[str]) -> dict[str, bool]:
    """clip_id -> whether the clip's chat speaks of an event that its frames show, for simulated recordings whose side
    file is there; {} for all others."""
    found: dict[str, bool] = {}
    geometry = workspace.settings.geometry
    wanted = set(recording_ids)
    for recording in workspace.recordings():
        if recording.recording_id not in wanted:
            continue
        try:
            clips = read_truth(workspace, recording)["clips"]
        except MissingInput:
            continue
        for clip in clips:
            focal, start = clip["focal"], clip["start_ms"]
            found[clip["clip_id"]] = (
                focal is not None
                and start - geometry.frames_before_ms <= focal["start_ms"]
                and focal["end_ms"] <= start + geometry.context_ms
            )
    return found


_CLIP_COLUMNS = {
    "num_context": np.int32,
    "context_ms": np.int32,
    "clip_ms": np.int32,
    "truth_offset_ms": np.int32,
    "refers": np.int8,
}


def write_facts(folder: Path, facts: ClipFacts) -> None:
    """clips.parquet (a row a clip) and texts.parquet (a row a candidate text: its number and frequency)."""
    import pyarrow as pa

    columns = {name: pa.array(getattr(facts, name)) for name in _CLIP_COLUMNS}
    clips = pa.table({"clip_id": pa.array(facts.clip_ids.tolist(), pa.string()), **columns})
    write_parquet(clips, folder / CLIPS, {"stamp": digest_json(["clips", 1])})
    write_parquet(
        pa.table({"frequency": pa.array(facts.frequency)}), folder / TEXTS, {"stamp": digest_json(["texts", 1])}
    )


def read_facts(folder: Path) -> ClipFacts | None:
    """The facts of a run, None if it has none (a run of an older version). Raises Damaged if they cannot be read."""
    if not (folder / CLIPS).is_file() or not (folder / TEXTS).is_file():
        return None
    fix = "run `videochat bench` again"
    clips, texts = read_parquet(folder / CLIPS, fix=fix), read_parquet(folder / TEXTS, fix=fix)
    columns = {name: clips[name].to_numpy().astype(dtype) for name, dtype in _CLIP_COLUMNS.items()}
    return ClipFacts(
        clip_ids=np.asarray(clips["clip_id"].to_pylist(), dtype=np.str_),
        frequency=texts["frequency"].to_numpy().astype(np.int32),
        **columns,
    )
