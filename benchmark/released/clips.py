"""Clips as the released evaluation shows them: split at random, context drawn with replacement, frames of all 30 s.

    data = ReleasedDataset(dataset, RELEASED, seed=0)
    model = train(LoadContext(dataset=data, ...))         # it is a Dataset: models train on it as on any other
    views = data.views(clip_ids)                          # what a model is shown when it ranks

Nothing is written: the shards stay as they are, only what is read of them differs. A clip of the whole-clip kind ends
its context where it ends itself, so that `videochat.commenter.view` lets the frames of the answers' time through.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import ClipView, view
from videochat.dataset import Dataset
from videochat.files import digest_json, stable_hash
from videochat.schema import Clip, Comment

from .protocol import ReleasedProtocol

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1  # raise when the same protocol would show other clips


def random_clips(dataset: Dataset, *, test_share: float, seed: int) -> dict[str, str]:
    """clip_id -> "train" or "test": all clips shuffled, whatever recording they are of. There is no dev split."""
    clip_ids = sorted(dataset.table(columns=["clip_id"])["clip_id"].to_pylist())
    np.random.default_rng(stable_hash(seed, "released-split")).shuffle(clip_ids)
    num_test = max(1, round(test_share * len(clip_ids)))
    return {clip_id: "test" if i < num_test else "train" for i, clip_id in enumerate(clip_ids)}


def stored_split(dataset: Dataset) -> dict[str, str]:
    """clip_id -> its split in the shards."""
    table = dataset.table(columns=["clip_id", "split"])
    return dict(zip(table["clip_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def redrawn(context: Sequence[Comment], num_draws: int, generator: np.random.Generator) -> list[int]:
    """Indices of `num_draws` comments drawn with replacement from the distinct texts of a context."""
    first: dict[str, int] = {}
    for index, comment in enumerate(context):
        first.setdefault(comment.text, index)
    distinct = list(first.values())
    return [distinct[i] for i in generator.integers(len(distinct), size=num_draws)] if distinct else []


class ReleasedDataset(Dataset):
    """A dataset under the splits and views of a `ReleasedProtocol`.

    assignment: clip_id -> split, for an experiment of one's own; clips that it lacks are nowhere.
    """

    def __init__(
        self, base: Dataset, protocol: ReleasedProtocol, *, seed: int, assignment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(base.root, base.manifest)
        self.protocol = protocol
        self.seed = seed
        if assignment is None:
            leaks = protocol.split == "random-clips"
            assignment = random_clips(base, test_share=protocol.test_share, seed=seed) if leaks else stored_split(base)
        self.assignment = dict(assignment)
        self.base_digest = base.digest
        self.split_by = "clip" if protocol.split == "random-clips" else base.split_by
        frames = protocol.frames if base.dim is not None else "none"
        self.digest = digest_json(["released", VERSION, base.digest, frames, seed, sorted(self.assignment.items())])

    def table(self, split: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a split of this dataset; the column "split" tells it."""
        import pyarrow as pa

        wanted = None if columns is None else list(dict.fromkeys([*columns, "clip_id", "split"]))
        table = super().table(None, wanted)
        found = [self.assignment.get(clip_id) for clip_id in table["clip_id"].to_pylist()]
        table = table.set_column(table.column_names.index("split"), "split", pa.array(found, pa.string()))
        keep = [here is not None and split in (None, here) for here in found]
        table = table.filter(pa.array(keep, pa.bool_()))
        return table if columns is None else table.select(list(columns))

    def clips(self, split: str | None = None) -> Iterator[Clip]:
        """The clips of a split, with the frames that the protocol shows; the context is whole."""
        for clip in super().clips(None):
            here = self.assignment.get(clip.clip_id)
            if here is not None and split in (None, here):
                yield self.shown(dataclasses.replace(clip, split=here))

    def shown(self, clip: Clip) -> Clip:
        """The clip whose view has the frames of the whole clip; otherwise the clip itself."""
        if self.protocol.frames != "whole-clip" or clip.frame_ms is None or clip.frames is None:
            return clip
        inside = (clip.frame_ms >= clip.start_ms) & (clip.frame_ms < clip.end_ms)
        return dataclasses.replace(
            clip, context_end_ms=clip.end_ms, frame_ms=clip.frame_ms[inside], frames=clip.frames[inside]
        )

    def views(self, clip_ids: Collection[str], *, draw: int = 0) -> dict[str, ClipView]:
        """clip_id -> what a model is shown, in order of the shards. draw: which of the re-drawn contexts."""
        return {clip.clip_id: self.view_of(clip, draw) for clip in self.clips() if clip.clip_id in clip_ids}

    def view_of(self, clip: Clip, draw: int = 0) -> ClipView:
        seen = view(clip)
        if self.protocol.context != "redrawn":
            return seen
        generator = np.random.default_rng(stable_hash(self.seed, clip.clip_id, "context", draw))
        rows = redrawn(seen.context, self.protocol.test_draws, generator)
        return dataclasses.replace(
            seen,
            context=tuple(seen.context[i] for i in rows),
            context_clip=None if seen.context_clip is None else seen.context_clip[rows],
        )
