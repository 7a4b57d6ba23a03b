"""Hand clips to the entrants and collect their scores: real and swapped, the union of the sets at once.

A model is handed views of clips and candidate numbers in ascending order, some clips at a time; on its first ones it is
tried whether its scores depend on the batch (named in the table) or on the other candidates (then each set is scored
on its own, since the union of a clip's sets would betray the truth, the one text that has its likes in all of them).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import ClipScores, ClipView, TextTable, view
from videochat.errors import Mismatch
from videochat.files import digest_json, write_parquet
from videochat.progress import progress, say
from videochat.schema import Clip

from .audits.gate import Check
from .metrics.ranks import BadScores
from .runs.run import RUN_FORMAT
from .scorers.entrant import Entrant
from .scores.blocks import CHAT_SWAPPED, REAL, VIDEO_SWAPPED, ScoreBlock, collect
from .scores.gains import Place, partners, swapped
from .scores.tasks import SPLITS, Layout, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset

CHUNK_CLIPS = 64  # clips in memory at a time, in whole recordings
BATCH_CLIPS = 32  # clips that a model is handed at once; no score may depend on it
BATCH_RELATIVE = 1e-2  # bf16 noise between two batch sizes
PROBE_CLIPS = 4  # clips on which a model is tested for looking at the other candidates
RELATIVE, ABSOLUTE = 1e-4, 1e-5  # float32 noise between two lengths of the candidate list


@dataclass(eq=False)
class Scoring:
    """One pass of all entrants over the ranked clips. After run(): by_set, checks, weights.

    look: how a clip is shown (the protocol's track).
    by_set: entrants whose scores depend on the list of candidates, so that each set was scored on its own.
    weights: (model, clip_id, frame_ms, weights) of models that offer `frame_weights(clips)`.
    """

    dataset: Dataset
    texts: TextTable
    tasks: Sequence[Task]
    entrants: Sequence[Entrant]
    seed: int = 0
    swaps: bool = True
    look: Callable[[Clip], ClipView] = view
    by_set: set[str] = field(default_factory=set)
    checks: list[Check] = field(default_factory=list)
    weights: list[tuple[str, str, NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=list)

    def run(self) -> list[ScoreBlock]:
        """The blocks of all entrants: dev and test, real and swapped, in order of entrant, split, condition, set."""
        found: dict[tuple[str, str, str, str | None], dict[str, ClipScores]] = {}
        layouts = {split: self.layouts(split) for split in SPLITS}
        for split in SPLITS:
            if not len(layouts[split][None]):
                continue
            conditions = self.conditions(split)
            total = len(layouts[split][None]) * len(conditions) * len(self.entrants)
            with progress(what=f"rank {split}", total=total, unit="clip") as bar:
                for views, pairs in self.chunks(split, layouts[split][None]):
                    wanted = [clip_id for clip_id in views if clip_id in layouts[split][None].index]
                    for entrant, condition in itertools.product(self.entrants, conditions):
                        if split == "dev" and not getattr(entrant.commenter, "needs_dev", True):
                            bar.update(len(wanted))
                            continue
                        shown = views if condition == REAL else swapped(views, pairs, condition)
                        ids = [clip_id for clip_id in wanted if clip_id in shown]
                        for name, layout in self.layouts_for(entrant, layouts[split], shown, ids).items():
                            answers = self.score(entrant, [shown[i] for i in ids if i in layout.index], layout)
                            found.setdefault((entrant.name, split, condition, name), {}).update(answers)
                        if condition == REAL and split == "test":
                            self.keep_weights(entrant, [shown[i] for i in ids])
                        bar.update(len(wanted))
        return self.blocks(found, layouts)

    def conditions(self, split: str) -> tuple[str, ...]:
        if split != "test" or not self.swaps:
            return (REAL,)
        return (REAL, VIDEO_SWAPPED, CHAT_SWAPPED) if "frames" in self.dataset.provides else (REAL, CHAT_SWAPPED)

    def layouts(self, split: str) -> dict[str | None, Layout]:
        """None -> the union of the sets, name -> one set."""
        tasks = [task for task in self.tasks if task.split == split]
        return {None: Layout.union(tasks), **{task.name: Layout.of_task(task) for task in tasks}}

    def layouts_for(
        self, entrant: Entrant, layouts: Mapping[str | None, Layout], views: Mapping[str, ClipView], ids: Sequence[str]
    ) -> dict[str | None, Layout]:
        """The union, or the single sets for an entrant that looks at the other candidates; tried on its first clips."""
        if getattr(entrant.commenter, "by_set", False):  # it says so itself, and each question may cost money
            self.by_set.add(entrant.name)
        elif entrant.name not in self._probed and ids:
            self._probed.add(entrant.name)
            probes = [views[clip_id] for clip_id in ids[:PROBE_CLIPS]]
            whole = self.score(entrant, probes, layouts[None])
            self.checks.append(self.batch_check(entrant, probes, whole, layouts[None]))
            sets = {name: layout for name, layout in layouts.items() if name is not None}
            if not all(self.agrees(entrant, probes, whole, layouts[None], layout) for layout in sets.values()):
                self.by_set.add(entrant.name)
                say(f"{entrant.name}: scores depend on the other candidates, so each set is scored on its own")
        return {name: lay for name, lay in layouts.items() if (name is not None) == (entrant.name in self.by_set)}

    def __post_init__(self) -> None:
        self._probed: set[str] = set()

    def batch_check(
        self, entrant: Entrant, probes: Sequence[ClipView], whole: Mapping[str, ClipScores], layout: Layout
    ) -> Check:
        """Does a clip that is handed over alone get the scores that it got among others?"""
        last = probes[-1]
        alone = self.score(entrant, [last], layout)[last.clip_id].score
        ok = np.allclose(alone, whole[last.clip_id].score, rtol=BATCH_RELATIVE, atol=BATCH_RELATIVE)
        detail = f"{last.clip_id} alone and in a batch of {len(probes)}: {'equal' if ok else 'other scores'}"
        return Check(check=f"scores of {entrant.name} do not depend on the batch", ok=bool(ok), detail=detail)

    def agrees(
        self,
        entrant: Entrant,
        probes: Sequence[ClipView],
        whole: Mapping[str, ClipScores],
        union: Layout,
        layout: Layout,
    ) -> bool:
        """Does each candidate get the same score in its set alone as in the union?"""
        part = self.score(entrant, [clip for clip in probes if clip.clip_id in layout.index], layout)
        for clip_id, scores in part.items():
            columns = np.searchsorted(union.flat[union.row(clip_id)], layout.flat[layout.row(clip_id)])
            for one, other in (
                (scores.score, whole[clip_id].score),
                (scores.log_likelihood, whole[clip_id].log_likelihood),
            ):
                if (
                    one is not None
                    and other is not None
                    and not np.allclose(one, np.asarray(other)[columns], rtol=RELATIVE, atol=ABSOLUTE)
                ):
                    return False
        return True

    def chunks(self, split: str, layout: Layout) -> Iterator[tuple[dict[str, ClipView], dict[str, str]]]:
        """Views of whole recordings, at least CHUNK_CLIPS at a time, with the partners of the clips among them."""
        table = self.dataset.table(split, ["clip_id", "recording_id", "start_ms", "end_ms"])
        places = [Place(**row) for row in table.to_pylist()]
        tasks = [task for task in self.tasks if task.split == split]
        pairs = partners(tasks, places, seed=self.seed) if len(self.conditions(split)) > 1 else {}
        needed = set(layout.index) | set(pairs.values())
        seen: set[str] = set()
        views: dict[str, ClipView] = {}
        for _, clips in itertools.groupby(self.dataset.clips(split), key=lambda clip: clip.recording_id):
            views.update((clip.clip_id, self.look(clip)) for clip in clips if clip.clip_id in needed)
            if len(views) >= CHUNK_CLIPS:
                yield views, pairs
                seen.update(views)
                views = {}
        if views:
            yield views, pairs
            seen.update(views)
        if missing := sorted(set(layout.index) - seen):
            raise Mismatch(f"{len(missing)} ranked clips are not in the shards, {missing[0]} first", fix="build again")

    def score(self, entrant: Entrant, clips: Sequence[ClipView], layout: Layout) -> dict[str, ClipScores]:
        """Scores of the clips' candidates in the layout. Raises BadScores if anything comes back short."""
        answers: dict[str, ClipScores] = {}
        for start in range(0, len(clips), BATCH_CLIPS):
            batch = clips[start : start + BATCH_CLIPS]
            candidates = [layout.flat[layout.row(clip.clip_id)].tolist() for clip in batch]
            scores = entrant.commenter.score(batch, candidates, self.texts)
            if len(scores) != len(batch):
                raise BadScores(
                    f"{entrant.name} returned {len(scores)} results for {len(batch)} clips", fix="one for each clip"
                )
            for clip, ids, found in zip(batch, candidates, scores, strict=True):
                if np.asarray(found.score).shape != (len(ids),):
                    raise BadScores(
                        f"{entrant.name}: score of {clip.clip_id} has shape {np.asarray(found.score).shape}, "
                        f"expected ({len(ids)},)",
                        fix="return one number for each candidate, in the given order",
                    )
                answers[clip.clip_id] = found
        return answers

    def keep_weights(self, entrant: Entrant, clips: Sequence[ClipView]) -> None:
        frame_weights = getattr(entrant.commenter, "frame_weights", None)
        if not callable(frame_weights) or not clips or clips[0].frame_ms is None:
            return
        for clip, weights in zip(clips, frame_weights(clips) or (), strict=False):
            assert clip.frame_ms is not None
            if len(weights) != len(clip.frame_ms):
                raise BadScores(
                    f"{entrant.name}: {len(weights)} weights for {len(clip.frame_ms)} frames of {clip.clip_id}",
                    fix="one weight for each frame of the view",
                )
            times = clip.frame_ms.astype(np.int32)
            self.weights.append((entrant.name, clip.clip_id, times, np.asarray(weights, dtype=np.float32)))

    def blocks(
        self,
        found: Mapping[tuple[str, str, str, str | None], Mapping[str, ClipScores]],
        layouts: Mapping[str, Mapping[str | None, Layout]],
    ) -> list[ScoreBlock]:
        blocks = []
        for entrant in self.entrants:
            for (name, split, condition, set_name), answers in found.items():
                if name == entrant.name:
                    layout = layouts[split][set_name]
                    if condition != REAL:  # clips without a partner have no swapped scores
                        layout = layout.only([clip_id in answers for clip_id in layout.clip_ids.tolist()])
                    blocks.append(collect(name, condition, split, layout, answers, set=set_name))
        return blocks


def write_weights(folder: Path, weights: Sequence[tuple[str, str, NDArray[np.int32], NDArray[np.float32]]]) -> None:
    """weights.parquet: model, clip_id, frame_ms, weight; nothing if no model offers weights."""
    import pyarrow as pa

    if not weights:
        return
    models, clip_ids, times, values = zip(*sorted(weights, key=lambda row: row[:2]), strict=True)
    table = pa.table(
        {
            "model": pa.array(models, pa.string()),
            "clip_id": pa.array(clip_ids, pa.string()),
            "frame_ms": pa.array([row.tolist() for row in times], pa.list_(pa.int32())),
            "weight": pa.array([row.tolist() for row in values], pa.list_(pa.float32())),
        }
    )
    write_parquet(table, folder / "weights.parquet", {"stamp": digest_json(["weights", RUN_FORMAT])})
