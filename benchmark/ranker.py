"""Rank: hand out what a model may see of each clip, keep its scores, and make a run of them.

    run = bench(workspace, dataset, sets, [Popularity(), sfat], seed=0)
    print(run.table())

The ranker guarantees causality: a model is given `view(clip)`, in which the future does not exist, and candidate
numbers sorted by text, which say nothing of the truth. The union of a clip's candidates over all sets is scored once;
a model whose scores depend on which other candidates it is shown is found out and scored set by set. Test clips are
scored again with the frames, then the chat, of another clip (gains.py). Golden scorers and the shortcut panel run
first: if one of them is off, nothing is ranked (audit.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import videochat
from videochat.commenter import MODELS, ClipScores, ClipView, Commenter, TextTable, view
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import digest_json, write_parquet
from videochat.progress import progress, say
from videochat.schema import slug

from .audit import Check, audit, enforce
from .gains import Place, partners, swapped
from .golden import GOLDEN, golden_blocks
from .metrics import BadScores
from .panel import NAMES as PANEL_NAMES
from .panel import Panel
from .runs import RUN_FORMAT, Run, write_run_folder
from .scores import CHAT_SWAPPED, REAL, VIDEO_SWAPPED, ScoreBlock, collect
from .tasks import Layout, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from .candidate_set import CandidateSets

SPLITS = ("dev", "test")
CHUNK_CLIPS = 64  # clips in memory at a time, in whole recordings
BATCH_CLIPS = 32  # clips that a model is handed at once; no score may depend on it
BATCH_RELATIVE = 1e-2  # bf16 noise between two batch sizes
PROBE_CLIPS = 4  # clips on which a model is tested for looking at the other candidates
RELATIVE, ABSOLUTE = 1e-4, 1e-5  # float32 noise between two lengths of the candidate list


@dataclass(frozen=True, kw_only=True, eq=False)
class Entrant:
    """A commenter with what the table should say of it.

    kind: "model" gets gains, comparisons and the text-only mark; "scorer" is a baseline. checkpoint_digest and seed
    name the weights that were ranked.
    """

    commenter: Commenter
    kind: str = "model"
    summary: str = ""
    trained: bool = False
    seed: int = 0
    checkpoint_digest: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("model", "scorer"):
            raise UsageError(f"an entrant of kind {self.kind!r}", fix="model or scorer")

    @property
    def name(self) -> str:
        return self.commenter.name

    @classmethod
    def of(cls, value: Commenter | Entrant) -> Entrant:
        """A bare Commenter as an entrant: what MODELS says of its name, else an untrained model.

        Attributes `seed` and `checkpoint_digest` of the commenter are taken over.
        """
        if isinstance(value, Entrant):
            return value
        if not isinstance(value, Commenter):
            raise UsageError(f"{value!r} is no commenter", fix="an object with name, needs and score(...)")
        entry = MODELS[value.name] if value.name in MODELS else None  # noqa: SIM401 (an unknown name raises UsageError)
        trained = entry is not None and entry.train is not None
        seed, digest = getattr(value, "seed", 0), getattr(value, "checkpoint_digest", None)
        return cls(
            commenter=value,
            kind="scorer" if entry is not None and not trained else "model",
            summary=entry.summary if entry else "",
            trained=trained,
            seed=seed if isinstance(seed, int) else 0,
            checkpoint_digest=digest if isinstance(digest, str) else None,
        )


def bench(
    workspace: Workspace,
    dataset: Dataset,
    sets: CandidateSets,
    commenters: Sequence[Commenter | Entrant],
    *,
    run_id: str | None = None,
    seed: int = 0,
    swaps: bool = True,
    allow_failed_audit: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Run:
    """Rank `commenters` on all sets and write runs/<run_id>/.

    run_id: default <protocol>-<models>-<digest of everything that was ranked>. seed: of swaps, bootstrap and random
    scorers. swaps: score test clips with swapped frames and chat too. extra: kept in run.json under settings.
    Raises Mismatch if the sets were made for other shards, AuditFailed if the gate fails (unless allowed, then the
    table says so), BadScores if a model returns NaN or too few scores, MissingInput if there are no test clips.
    """
    entrants = [Entrant.of(value) for value in commenters]
    names = [slug(entrant.name) for entrant in entrants]
    if len(set(names)) != len(names):
        raise UsageError(f"two entrants share a name: {sorted(names)}", fix="give each its own")
    if taken := sorted({entrant.name for entrant in entrants} & {*GOLDEN, *PANEL_NAMES}):
        raise UsageError(f"{taken[0]!r} is the name of a golden or panel scorer", fix="rename the entrant")
    if sets.manifest["data_digest"] != dataset.digest:
        raise Mismatch(
            f"the candidate sets were made for shards {sets.manifest['data_digest'][:8]}, not {dataset.digest[:8]}",
            fix=f"run `videochat candidates --protocol {sets.protocol}`",
        )
    tasks = make_tasks(sets)
    if not any(len(task) for task in tasks if task.split == "test"):
        raise MissingInput(
            "the candidate sets hold no test clips", fix="more or longer recordings, or --split-by recording"
        )
    blocks, checks = gate(dataset, sets, tasks, seed=seed)
    if not allow_failed_audit:
        enforce(checks)
    rows = [_row(entrant, dataset, sets.texts) for entrant in entrants]
    running = [entrant for entrant, row in zip(entrants, rows, strict=True) if row["skipped"] is None]
    for entrant, row in zip(entrants, rows, strict=True):
        if row["skipped"]:
            say(f"skipped {entrant.name}: {row['skipped']}")
        elif callable(fit := getattr(entrant.commenter, "fit", None)):
            fit(dataset.clips("train"))
    scoring = Scoring(dataset, sets.texts, tasks, running, seed=seed, swaps=swaps)
    scored = scoring.run()
    for row in rows:
        row["scored"] = "by set" if row["name"] in scoring.by_set else "union of the sets"
    info: dict[str, Any] = {
        "protocol": sets.protocol,
        "protocol_label": sets.declaration.label,
        "version": sets.version,
        "tool": videochat.__version__,
        "format": RUN_FORMAT,
        "simulated": dataset.simulated,
        "split_by": dataset.split_by,
        "data_digest": dataset.digest,
        "sets": ordered_sets(sets),
        "candidates": {name: part.digest for name, part in sets.items()},
        "models": [*rows, *_house_rows()],
        "settings": {**dict(extra or {}), "seed": seed, "swaps": swaps},
    }
    info["run_id"] = run_id or default_run_id(info)
    info["audit"] = [check.to_json() for check in [*checks, *scoring.checks]]
    final = workspace.runs_dir / slug_id(info["run_id"])
    weights = scoring.weights
    return write_run_folder(
        final, info, tasks, [*scored, *blocks], write_more=lambda folder: write_weights(folder, weights)
    )


def ordered_sets(sets: CandidateSets) -> list[str]:
    """The names in the order of the protocol's declaration (random first), smaller K first."""
    kinds = sets.declaration.sets
    return sorted(sets, key=lambda name: (sets[name].k, kinds.index(sets[name].kind), name))


def make_tasks(sets: CandidateSets) -> list[Task]:
    return [Task.of(sets[name], sets.texts, split) for name in ordered_sets(sets) for split in SPLITS]


def gate(
    dataset: Dataset, sets: CandidateSets, tasks: Sequence[Task], *, seed: int
) -> tuple[list[ScoreBlock], list[Check]]:
    """Scores of the panel and the golden scorers, and the checks they must pass."""
    panel = Panel(dataset, sets.texts)
    blocks = [block for task in tasks if len(task) for block in (*panel.blocks(task), *golden_blocks(task, seed=seed))]
    return blocks, audit(tasks, blocks, clip_blind_at_chance=sets.declaration.clip_blind_at_chance)


def default_run_id(info: Mapping[str, Any]) -> str:
    """<protocol>-<models>-<8 hex digits of the digest of everything that decides the scores>."""
    rows = [row for row in info["models"] if row["kind"] in ("model", "scorer")]
    shown = [row["name"] for row in rows if row["kind"] == "model"] or ["scorers"]
    label = "+".join(shown) if len(shown) <= 3 else f"{shown[0]}+{len(shown) - 1}"
    what = [[row["name"], row["seed"], row["checkpoint_digest"], row["skipped"]] for row in rows]
    decides = [info[name] for name in ("protocol", "version", "format", "data_digest", "candidates", "settings")]
    return slug_id(f"{info['protocol']}-{label}-{digest_json([what, *decides])[:8]}")


def slug_id(text: str) -> str:
    """A run id as a folder name: letters, digits, `_ . + -`, not starting with a dot."""
    kept = "".join(c if c.isalnum() or c in "_.+-" else "-" for c in text).lstrip(".")
    if not kept:
        raise UsageError(f"{text!r} is no run id", fix="letters, digits, _ . + -")
    return kept[:120]


def lacking(entrant: Entrant, dataset: Dataset, texts: TextTable) -> str | None:
    """Why the entrant cannot run on this dataset, or None."""
    provides = set(dataset.provides) - ({"text_embeddings"} if texts.embeddings is None else set())
    missing = sorted(set(entrant.commenter.needs) - provides)
    if not missing:
        return None
    return f"needs {' and '.join(name.replace('_', ' ') for name in missing)}, which this dataset does not hold"


def _row(entrant: Entrant, dataset: Dataset, texts: TextTable) -> dict[str, Any]:
    """The entrant's line in run.json; rule, rules and text_only are filled in by the evaluation."""
    return {
        "name": entrant.name,
        "kind": entrant.kind,
        "summary": entrant.summary,
        "trained": entrant.trained,
        "skipped": lacking(entrant, dataset, texts),
        "saw_frames": "frames" in dataset.provides,
        "seed": entrant.seed,
        "checkpoint_digest": entrant.checkpoint_digest,
    }


def _house_rows() -> list[dict[str, Any]]:
    plain = {"summary": "", "trained": False, "skipped": None, "saw_frames": False, "seed": 0}
    kinds = [*((name, "panel") for name in PANEL_NAMES), *((name, "golden") for name in GOLDEN)]
    return [
        {"name": name, "kind": kind, **plain, "checkpoint_digest": None, "scored": "by set"} for name, kind in kinds
    ]


@dataclass(eq=False)
class Scoring:
    """One pass of all entrants over the ranked clips. After run(): by_set, checks, weights.

    by_set: entrants whose scores depend on the list of candidates, so that each set was scored on its own.
    weights: (model, clip_id, frame_ms, weights) of models that offer `frame_weights(clips)`.
    """

    dataset: Dataset
    texts: TextTable
    tasks: Sequence[Task]
    entrants: Sequence[Entrant]
    seed: int = 0
    swaps: bool = True
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
        if entrant.name not in self._probed and ids:
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
            views.update((clip.clip_id, view(clip)) for clip in clips if clip.clip_id in needed)
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
