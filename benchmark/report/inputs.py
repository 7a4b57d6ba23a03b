"""What the report reads: the run folder, and what the workspace still holds about the run's clips.

A report must be possible from the run folder alone (it may have been copied to another machine); clips, pictures and
the cleaning funnel are shown where the workspace has them and fits the run, else the page says why they are absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.commenter import TextTable
from videochat.errors import Mismatch, MissingInput
from videochat.files import read_json

from ..scores import REAL, ScoreBlock, read_scores
from ..tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.cleaning.funnel import FunnelRow
    from videochat.dataset import Dataset
    from videochat.schema import Clip
    from videochat.workspace import Workspace

    Weights = dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]]

SHOWN_SPLIT = "test"


class RunFiles:
    """run.json, metrics.json, scores.parquet and weights.parquet of one run folder, each read when first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("run.json", "metrics.json"):
            if not (path / name).is_file():
                raise MissingInput(f"no {name} in {path}", fix="run `videochat bench`")
        self.info: dict[str, Any] = read_json(path / "run.json")
        self.metrics: dict[str, Any] = read_json(path / "metrics.json")

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """name -> its entry of run.json, in the order of the run."""
        return {model["name"]: model for model in self.info["models"]}

    @property
    def sets(self) -> list[str]:
        return list(self.info["candidates"])

    @property
    def label(self) -> str:
        """How the page calls the run among others: what the benchmark was told, else its id."""
        settings = self.info.get("settings") or {}
        return str(settings.get("label") or settings.get("world") or self.info["run_id"])

    def block(self, model: str, set_name: str) -> ScoreBlock | None:
        """The model's scores of the real clips of the test split that cover the set; None if there are none."""
        return next(
            (
                block
                for block in self._blocks
                if block.model == model
                and block.condition == REAL
                and block.split == SHOWN_SPLIT
                and block.set in (None, set_name)
            ),
            None,
        )

    @cached_property
    def _blocks(self) -> list[ScoreBlock]:
        return read_scores(self.path / "scores.parquet")

    def weights(self, model: str, clip_ids: set[str]) -> Weights:
        """clip_id -> (frame_ms int32 (N,), weight float32 (N,)) of the model; {} if it offers none."""
        import pyarrow.parquet as pq

        path = self.path / "weights.parquet"
        if not path.is_file():
            return {}
        table = pq.read_table(path, filters=[("model", "==", model), ("clip_id", "in", sorted(clip_ids))])
        columns = (table[name].to_pylist() for name in ("clip_id", "frame_ms", "weight"))
        return {
            clip_id: (np.asarray(times, np.int32), np.asarray(values, np.float32))
            for clip_id, times, values in zip(*columns, strict=True)
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSource:
    """The clips of a run: data set, candidate texts, and the tasks (set name -> test split)."""

    dataset: Dataset
    texts: TextTable
    tasks: dict[str, Task]

    def clips(self, clip_ids: set[str]) -> dict[str, Clip]:
        return {clip.clip_id: clip for clip in self.dataset.clips(SHOWN_SPLIT) if clip.clip_id in clip_ids}


def clip_source(run: RunFiles, workspace: Workspace) -> ClipSource:
    """Open the clips that the run ranked. Raises MissingInput or Mismatch if the workspace does not hold those."""
    from videochat.dataset import Dataset

    from ..candidates import load_candidates

    dataset = Dataset.open(workspace.root)
    if dataset.digest != run.info["data_digest"]:
        raise Mismatch("the shards in the workspace are not those that this run ranked", fix="run the benchmark again")
    sets = load_candidates(workspace, dataset, run.info["protocol"])
    for name, digest in run.info["candidates"].items():
        if name not in sets or sets[name].digest != digest:
            raise Mismatch(f"the candidate set {name} is not the one that this run ranked", fix="bench again")
    tasks = {name: Task.of(sets[name], sets.texts, SHOWN_SPLIT) for name in run.sets}
    return ClipSource(dataset=dataset, texts=sets.texts, tasks=tasks)


def cleaning_funnel(workspace: Workspace) -> list[FunnelRow]:
    """The cleaning funnel of the workspace, the raw messages first; [] where nothing was cleaned."""
    from videochat.cleaning.funnel import funnel

    return funnel(workspace)
