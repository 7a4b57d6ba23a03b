"""What the report reads: a run, and what the workspace still holds about the run's clips.

A report must be possible from the run folder alone (it may have been copied to another machine); clips, pictures and
the cleaning funnel are shown where the workspace has them and fits the run, else the page says why they are absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.commenter import TextTable
from videochat.errors import Mismatch
from videochat.files import read_parquet

from ..candidates.views import Views
from ..runs.run import Run
from ..scores.blocks import REAL, ScoreBlock
from ..scores.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.schema import Clip
    from videochat.workspace import Workspace

    Weights = dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]]

SHOWN_SPLIT = "test"


class RunData:
    """The parts of a run that the page needs, each read when first asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.info: dict[str, Any] = run.info
        self.metrics: dict[str, Any] = run.results

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """name -> its entry of run.json, in the order of the run."""
        return {model["name"]: model for model in self.info["models"]}

    @property
    def sets(self) -> list[str]:
        """The sets that have figures, in the order of the protocol."""
        ranked = {row["set"] for row in self.metrics["rows"]}
        return [name for name in self.info["sets"] if name in ranked]

    @property
    def label(self) -> str:
        """How the page calls the run among others: the world that was benchmarked, else its workspace's folder."""
        settings = self.info["settings"]
        return str(settings.get("world") or self.run.path.resolve().parent.parent.name)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Set name -> what was ranked of the test split."""
        return {task.name: task for task in self.run.tasks(SHOWN_SPLIT) if len(task)}

    def block(self, model: str, set_name: str) -> ScoreBlock | None:
        """The model's scores of the real clips of the test split that cover the set; None if there are none."""
        return next(
            (
                block
                for block in self._blocks
                if (block.model, block.condition, block.split) == (model, REAL, SHOWN_SPLIT)
                and block.set in (None, set_name)
            ),
            None,
        )

    @cached_property
    def _blocks(self) -> list[ScoreBlock]:
        return self.run.blocks()

    def weights(self, model: str, clip_ids: set[str]) -> Weights:
        """clip_id -> (frame_ms int32 (N,), weight float32 (N,)) of the model; {} if it offers none."""
        path = self.run.path / "weights.parquet"
        if not path.is_file():
            return {}
        wanted = [("model", "==", model), ("clip_id", "in", sorted(clip_ids))]
        table = read_parquet(path, filters=wanted, fix="run `videochat bench` again")
        columns = (table[name].to_pylist() for name in ("clip_id", "frame_ms", "weight"))
        return {
            clip_id: (np.asarray(times, np.int32), np.asarray(values, np.float32))
            for clip_id, times, values in zip(*columns, strict=True)
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSource:
    """The clips of a run and the candidate texts, from the workspace it was made in. views: how clips were shown."""

    dataset: Dataset
    texts: TextTable
    views: Views

    def clips(self, clip_ids: set[str]) -> dict[str, Clip]:
        return {clip.clip_id: clip for clip in self.dataset.clips(SHOWN_SPLIT) if clip.clip_id in clip_ids}


def clip_source(run: RunData, workspace: Workspace) -> ClipSource:
    """Open the clips that the run ranked. Raises MissingInput or Mismatch if the workspace does not hold those."""
    from videochat.dataset import Dataset

    from ..candidates.build import load_candidates

    dataset = Dataset.open(workspace.root)
    if dataset.digest != run.info["data_digest"]:
        raise Mismatch("the shards in the workspace are not those that this run ranked", fix="bench again")
    sets = load_candidates(workspace, dataset, run.info["protocol"])
    texts = sets.texts
    lengths = np.array([len(text.encode()) for text in texts.texts], dtype=np.int32)
    for task in run.tasks.values():  # a run knows its texts by number and length only
        if task.candidates.max() >= len(texts) or (lengths[task.candidates] != task.num_bytes).any():
            raise Mismatch("the candidate texts in the workspace are not those that this run ranked", fix="bench again")
    return ClipSource(dataset=dataset, texts=texts, views=Views.of(workspace, dataset, sets))
