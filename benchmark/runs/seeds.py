"""Several seeds of the same models: means over them, with intervals that resample clusters and seeds.

    averages = average([run_of_seed_0, run_of_seed_1, run_of_seed_2])
    print(to_text(run_of_seed_0.info, averages))

One run holds all models of one seed; the runs rank the same sets. A model's figure is the mean of its figures, each
under the score rule that dev chose for that seed. Its interval has two parts, added: the bootstrap of clusters that a
run's own intervals come from, of the mean over the seeds, with the same draws for every seed; and a parametric
bootstrap of the seeds, normal with their own variance over S seeds and S - 1 degrees of freedom (Satterthwaite's for
the sum). Drawing the seeds themselves again would know ten means of three seeds and none beyond them: in simulation
such intervals held the truth .88 of the time. Three seeds that differ make wide intervals, as they must. A model of
one seed, such as a scorer, keeps the first part alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import Mismatch
from videochat.files import stable_hash, write_json

from ..evaluation.evaluate import GAINS, headline
from ..evaluation.figures import estimate, number
from ..metrics.ranks import RECIPROCAL_RANK, Recall, tie_counts
from ..metrics.statistics import Bootstrap, Resampled, macro_mean, satterthwaite
from ..scores import rules as score_rules
from ..scores.blocks import REAL, ScoreBlock
from ..scores.tasks import Task
from .run import Run
from .table import ABSENT, aligned, bounds, gain_cell, heading, short

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FILE = "seeds.json"  # in the folder of the first seed's run
COLUMNS = (RECIPROCAL_RANK, Recall(1))


def average(runs: Sequence[Run]) -> dict[str, Any]:
    """{"seeds": [...], "runs": [run ids], "models": [...]}, the models in the order of the first run.

    A model has: model, kind, seeds, official {value, low, high, per_seed}, gains {video, chat: the same or None}, sets
    {name: {MRR, R@1: {value, low, high, per_seed}}}. Raises Mismatch for runs of other sets.
    """
    first = runs[0].info
    for run in runs:
        if (run.info["candidates"], run.info["protocol"]) != (first["candidates"], first["protocol"]):
            raise Mismatch(f"{run.run_id} and {runs[0].run_id} rank other sets", fix="rank the seeds on the same sets")
    readers = [Reader(run) for run in runs]
    models = []
    for row in first["models"]:
        if row["kind"] not in ("model", "scorer") or row["skipped"]:
            continue
        name = row["name"]
        ranked = [reader for reader in readers if reader.has(name)]
        seeds = [reader.seeds[name] for reader in ranked]
        models.append(
            {
                "model": name,
                "kind": row["kind"],
                "seeds": seeds,
                "rules": [reader.rules[name] for reader in ranked],
                "official": _figure([reader.official(name) for reader in ranked]),
                "gains": {gain: _figure([reader.gain(name, gain) for reader in ranked]) for gain in GAINS},
                "sets": {
                    task.name: dict(
                        zip(
                            (metric.name for metric in COLUMNS),
                            _figures([reader.on_set(name, index) for reader in ranked]),
                            strict=True,
                        )
                    )
                    for index, task in enumerate(readers[0].tasks)
                },
            }
        )
    return {
        "seeds": sorted({s for m in models for s in m["seeds"]}),
        "runs": [r.run_id for r in runs],
        "models": models,
    }


def over_seeds(parts: Sequence[Resampled]) -> Resampled:
    """The mean of one figure over seeds, (M,) columns; `parts` share their draws of clusters."""
    mean = Resampled.average(parts)
    if len(parts) == 1 or mean.samples is None:
        return mean
    points = np.stack([part.point for part in parts])
    num_samples, size = len(mean.samples), len(parts)
    draws = np.random.default_rng(stable_hash("seeds", size)).standard_normal((num_samples, 1))
    moved = draws * points.std(axis=0, ddof=1) / np.sqrt(size)
    degrees = [
        satterthwaite([(mean.samples[:, [i]] - mean.point[i], float(mean.degrees[i])), (moved[:, [i]], size - 1)])[0]  # type: ignore[list-item]
        for i in range(len(mean.point))
    ]
    return dataclasses.replace(mean, samples=mean.samples + moved, degrees=np.array(degrees))


def _figures(parts: Sequence[Resampled | None]) -> list[dict[str, Any] | None]:
    """A figure for each column; None where a seed lacks it."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return [None] * len(COLUMNS)
    mean = over_seeds(known)
    low, high = mean.interval()
    return [
        {**estimate(mean.point[i], low[i], high[i]), "per_seed": [number(part.point[i]) for part in known]}
        for i in range(len(mean.point))
    ]


def _figure(parts: Sequence[Resampled | None]) -> dict[str, Any] | None:
    return _figures(parts)[0]


class Reader:
    """The figures of one run with their draws."""

    def __init__(self, run: Run) -> None:
        self.seeds = {row["name"]: row["seed"] for row in run.info["models"]}
        self.rules = {row["name"]: row["score_rule"] for row in run.info["models"]}
        self.tasks = headline([task for task in run.tasks("test") if len(task)])
        self.blocks = {
            (block.model, block.condition, task.name): block
            for block in run.blocks()
            for task in self.tasks
            if block.covers(task)
        }
        names = sorted({cluster for task in run.tasks("test") for cluster in task.clusters.tolist()})
        self.cluster_names = np.asarray(names, dtype=np.str_)
        self.bootstrap = Bootstrap(len(names), seed=run.info["settings"]["seed"])

    def has(self, model: str) -> bool:
        return all((model, REAL, task.name) in self.blocks for task in self.tasks)

    def values(self, model: str, condition: str, task: Task, part: Task) -> Floats:
        """The columns of the clips of `part`, float64 (n, len(COLUMNS))."""
        block = self.blocks[model, condition, task.name]
        scores = score_rules.apply(self.rules[model], block, part, block.layout.gather(part))
        counts = tie_counts(scores, part.candidates, part.all_truths, what=f"{model} ({condition}) on {task.name}")
        return np.stack([metric.values(counts) for metric in COLUMNS], axis=1)

    def mean(self, task: Task, values: Floats, *, macro: bool) -> Resampled:
        clusters = np.searchsorted(self.cluster_names, task.clusters)
        codes = np.unique(task.categories, return_inverse=True)[1] if macro else np.zeros_like(clusters)
        return macro_mean(values, codes, clusters, self.bootstrap)

    def on_set(self, model: str, index: int) -> Resampled:
        task = self.tasks[index]
        return self.mean(task, self.values(model, REAL, task, task), macro=False)

    def official(self, model: str) -> Resampled:
        return Resampled.average(
            [self.mean(task, self.values(model, REAL, task, task), macro=True) for task in self.tasks]
        )

    def gain(self, model: str, gain: str) -> Resampled | None:
        """Real minus swapped, of the clips that have a partner; None where it was not scored so."""
        parts = []
        for task in self.tasks:
            block: ScoreBlock | None = self.blocks.get((model, GAINS[gain], task.name))
            if block is None:
                return None
            paired = task.only(np.isin(task.clip_ids, block.layout.clip_ids))
            if not len(paired):
                return None
            real, swapped = (self.values(model, condition, task, paired) for condition in (REAL, GAINS[gain]))
            parts.append(self.mean(paired, real - swapped, macro=True))
        return Resampled.average(parts)


def write(run: Run, averages: Mapping[str, Any]) -> None:
    """Keep the averages beside the run of the first seed."""
    write_json(run.path / FILE, averages)


def to_text(info: Mapping[str, Any], averages: Mapping[str, Any]) -> str:
    """The table of means: a row for each model, best official number first, its seeds beside it."""
    names = list(averages["models"][0]["sets"]) if averages["models"] else []
    titles = ["model", "seeds", *(f"{n} {m}" for n in names for m in ("R@1", "MRR")), "MRR", "95 %", "video", "chat"]
    rows = []
    for model in sorted(averages["models"], key=lambda row: -(row["official"] or {"value": 0.0})["value"]):
        official = model["official"]
        cells = [model["model"], str(len(model["seeds"]))]
        cells += [short(model["sets"][n][m]["value"]) for n in names for m in ("R@1", "MRR")]
        cells += [short(official["value"]), bounds(official)] if official else [ABSENT, ""]
        cells += [gain_cell(model["gains"][gain]) for gain in GAINS]
        each = official["per_seed"] if official and len(model["seeds"]) > 1 else []
        rows.append([*cells, " ".join(short(value) for value in each)])
    what = "MRR: macro over categories, mean of the sets, then of the seeds; 95 %: bootstrap of clusters and of seeds"
    lines = [heading(info), aligned([[*titles, "MRR of each seed"], *rows], rules=[1])]
    return "\n".join([*lines, what, *(info["signatures"][name] for name in names)]) + "\n"
