"""From kept scores to metrics.json: a pure function of scores, tasks and the list of entrants.

    evaluation = evaluate(entries, tasks, blocks, seed=0)
    evaluation.metrics["official"]

Point values are means over clips (the official number: macro over categories, mean of the headline sets). Intervals
come from one bootstrap of whole clusters that all statistics share; differences are paired by clip.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.ranks import METRICS, RECIPROCAL_RANK, Metric, Recall, tie_counts
from ..metrics.statistics import Bootstrap, Resampled, cluster_sums, holm, macro_mean, sign_flip_p
from ..scores import rules as score_rules
from ..scores.blocks import CHAT_SWAPPED, REAL, VIDEO_SWAPPED, ScoreBlock
from ..scores.tasks import Task
from .clip_facts import ClipFacts
from .closer_look import closer_look
from .figures import DIGITS, OFFICIAL, estimate, number
from .joint import joint_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HEADLINE_K = 10  # PROTOCOL "Official number"
PAIRED: tuple[Metric, ...] = (RECIPROCAL_RANK, Recall(1))
GAINS = {"video": VIDEO_SWAPPED, "chat": CHAT_SWAPPED}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table. kind: "model" (trained, or unknown to the registry), "scorer", "panel" or "golden"."""

    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """metrics: the content of metrics.json. score_rules: model -> official rule. dev: model -> {rule: dev MRR}.
    text_only: model -> True if its video gain includes 0, None if that cannot be said (fewer than 10 clusters)."""

    metrics: dict[str, Any]
    score_rules: dict[str, str]
    dev: dict[str, dict[str, float]]
    text_only: dict[str, bool | None]
    num_clusters: int


def headline(tasks: Iterable[Task]) -> list[Task]:
    """The sets that make the official number: those with K = 10, else those with the smallest K."""
    tasks = [task for task in tasks if len(task)]
    k = HEADLINE_K if any(task.k == HEADLINE_K for task in tasks) else min((task.k for task in tasks), default=0)
    return [task for task in tasks if task.k == k]


@dataclass
class Evaluator:
    """One evaluation: which blocks belong to whom, their values by clip, and the parts of metrics.json."""

    entries: Sequence[Entry]
    tasks: Sequence[Task]
    blocks: Sequence[ScoreBlock]
    seed: int
    rules: dict[str, str] = field(default_factory=dict)
    _values: dict[tuple[str, str, str, str, str], Floats] = field(default_factory=dict)
    _gathers: dict[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.test = [task for task in self.tasks if task.split == "test" and len(task)]
        names = sorted(set(itertools.chain.from_iterable(task.clusters.tolist() for task in self.test)))
        self.cluster_names = np.asarray(names, dtype=np.str_)
        self.bootstrap = Bootstrap(len(names), seed=self.seed)
        self.by_model: dict[tuple[str, str], list[ScoreBlock]] = {}
        for block in self.blocks:
            self.by_model.setdefault((block.model, block.condition), []).append(block)

    def clusters(self, task: Task) -> NDArray[np.int64]:
        return np.searchsorted(self.cluster_names, task.clusters)

    def block(self, model: str, condition: str, task: Task) -> ScoreBlock | None:
        found = [block for block in self.by_model.get((model, condition), []) if block.covers(task)]
        return next((block for block in found if block.set == task.name), found[0] if found else None)

    def is_whole(self, model: str) -> bool:
        """Whether the model has scores on every set (a scores file may hold some of them)."""
        return all(self.block(model, REAL, task) is not None for task in self.test)

    def paired_rows(self, block: ScoreBlock, task: Task) -> NDArray[np.bool_]:
        return np.isin(task.clip_ids, block.layout.clip_ids)

    def scores(self, block: ScoreBlock, rule: str, task: Task) -> Floats:
        key = (id(block.layout), id(task))
        if key not in self._gathers:
            self._gathers[key] = block.layout.gather(task)
        return score_rules.apply(rule, block, task, self._gathers[key])

    def values(self, block: ScoreBlock, rule: str, task: Task, metrics: Sequence[Metric] = METRICS) -> Floats:
        """The metrics of every clip, float64 (n, len(metrics))."""
        key = (block.model, block.condition, rule, task.name, task.split)
        if metrics is not METRICS or key not in self._values:
            what = f"{block.model} ({block.condition}, {rule}) on {task.name}"
            counts = tie_counts(self.scores(block, rule, task), task.candidates, task.all_truths, what=what)
            values = np.stack([metric.values(counts) for metric in metrics], axis=1)
            if metrics is not METRICS:
                return values
            self._values[key] = values
        return self._values[key]

    # -- the parts of metrics.json

    def choose_rules(self) -> dict[str, dict[str, float]]:
        """The official rule of each entrant by dev MRR; without dev clips the first that it offers."""
        dev = headline(task for task in self.tasks if task.split == "dev")
        nothing = Bootstrap(0)
        results: dict[str, dict[str, float]] = {}
        for entry in self.entries:
            results[entry.name] = {}
            some = next(iter(self.by_model.get((entry.name, REAL), [])), None)
            if some is None:
                continue
            rules = score_rules.offered(some)
            for rule in rules:
                means = []
                for task in dev:
                    if (block := self.block(entry.name, REAL, task)) is not None:
                        values = self.values(block, rule, task, (RECIPROCAL_RANK,))
                        codes = np.unique(task.categories, return_inverse=True)[1]
                        means.append(float(macro_mean(values, codes, np.zeros_like(codes), nothing).point[0]))
                if means:
                    results[entry.name][rule] = round(float(np.mean(means)), DIGITS)
            self.rules[entry.name] = score_rules.choose(results[entry.name]) if results[entry.name] else rules[0]
        return results

    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for task in self.test:
            for stratum, kept in (("all", np.ones(len(task), np.bool_)), ("no-generic", ~task.generic)):
                if not kept.any():
                    continue
                ranked = [
                    (entry, rule, self.values(block, rule, task)[kept])
                    for entry in self.entries
                    if (block := self.block(entry.name, REAL, task)) is not None
                    for rule in score_rules.offered(block)
                ]
                if not ranked:
                    continue
                columns = np.concatenate([values for _, _, values in ranked], axis=1)
                points, lows, highs = self.mean_with_interval(columns, self.clusters(task)[kept])
                num_clusters = len(np.unique(task.clusters[kept]))
                for index, (entry, rule, _) in enumerate(ranked):
                    cells = slice(index * len(METRICS), (index + 1) * len(METRICS))
                    figures = zip(METRICS, points[cells], lows[cells], highs[cells], strict=True)
                    rows.append(
                        {
                            "model": entry.name,
                            "kind": entry.kind,
                            "set": task.name,
                            "k": task.k,
                            "stratum": stratum,
                            "rule": rule,
                            "num_clips": int(kept.sum()),
                            "num_clusters": num_clusters,
                            "metrics": {
                                metric.name: estimate(*figure)
                                if metric.is_defined(task.k)
                                else dict.fromkeys(("value", "low", "high"))
                                for metric, *figure in figures
                            },
                        }
                    )
        return rows

    def mean_with_interval(self, values: Floats, clusters: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Means of the columns of (n, M) with their bootstrap interval; NaN bounds below 10 clusters."""
        mean = macro_mean(values, np.zeros_like(clusters), clusters, self.bootstrap)
        return mean.point, *mean.interval()

    def per_category(self) -> list[dict[str, Any]]:
        rows = []
        for task in self.test:
            for entry in self.entries:
                if (block := self.block(entry.name, REAL, task)) is None:
                    continue
                values = self.values(block, self.rules[entry.name], task)
                for category in np.unique(task.categories):
                    part = values[task.categories == category].mean(axis=0)
                    figures = {metric.name: number(part[i]) for i, metric in enumerate(METRICS)}
                    rows.append(
                        {
                            "model": entry.name,
                            "set": task.name,
                            "category": str(category),
                            "num_clips": int((task.categories == category).sum()),
                            "R@1": figures["R@1"],
                            "MRR": figures["MRR"],
                        }
                    )
        return rows

    def official_of(self, parts: Sequence[tuple[Task, Floats]]) -> tuple[Floats, Floats, Floats]:
        """Macro over categories, mean over the sets, of columns (n, M): point, low, high."""
        means = []
        for task, values in parts:
            codes = np.unique(task.categories, return_inverse=True)[1]
            means.append(macro_mean(values, codes, self.clusters(task), self.bootstrap))
        mean = Resampled.average(means)
        return mean.point, *mean.interval()

    def official_p(self, parts: Sequence[tuple[Task, Floats]]) -> Floats:
        """The sign-flip p of an official difference: each clip weighs as it does in the official number."""
        total = np.zeros((self.bootstrap.num_clusters, parts[0][1].shape[1]))
        for task, values in parts:
            _, codes, sizes = np.unique(task.categories, return_inverse=True, return_counts=True)
            weights = 1.0 / (len(parts) * len(sizes) * sizes[codes])
            total += cluster_sums(values * weights[:, None], self.clusters(task), self.bootstrap.num_clusters)
        return sign_flip_p(total, seed=self.seed)

    def official(self) -> list[dict[str, Any]]:
        tasks = headline(self.test)
        column = METRICS.index(RECIPROCAL_RANK)
        names, parts = [], []
        for entry in self.entries:
            blocks = [self.block(entry.name, REAL, task) for task in tasks]
            if tasks and all(block is not None for block in blocks):
                names.append(entry.name)
                rule = self.rules[entry.name]
                parts.append([self.values(b, rule, t)[:, column] for b, t in zip(blocks, tasks, strict=True) if b])
        if not names:
            return []
        stacked = [(task, np.stack([part[i] for part in parts], axis=1)) for i, task in enumerate(tasks)]
        figures = zip(names, *self.official_of(stacked), strict=True)
        return [{"model": name, **estimate(*figure)} for name, *figure in figures]

    def gains(self) -> list[dict[str, Any]]:
        """Real minus swapped, paired by clip, for each entrant that was scored under the swapped condition."""
        rows = []
        columns = [METRICS.index(metric) for metric in PAIRED]
        heads = headline(self.test)
        for entry, (gain, condition) in itertools.product(self.entries, GAINS.items()):
            parts: dict[str, tuple[Task, Floats]] = {}
            for task in self.test:
                real, swapped = self.block(entry.name, REAL, task), self.block(entry.name, condition, task)
                if real is None or swapped is None:
                    continue
                kept = self.paired_rows(swapped, task)
                if not kept.any():
                    continue
                rule, paired = self.rules[entry.name], task.only(kept)
                key = (entry.name, condition)
                difference = self.values(real, rule, task)[kept] - self.values_of_part(swapped, rule, paired, key)
                parts[task.name] = (paired, difference[:, columns])
            for name, (paired, difference) in parts.items():
                point, low, high = self.mean_with_interval(difference, self.clusters(paired))
                p = sign_flip_p(
                    cluster_sums(difference, self.clusters(paired), self.bootstrap.num_clusters), seed=self.seed
                )
                for i, metric in enumerate(PAIRED):
                    row = {"model": entry.name, "set": name, "gain": gain, "metric": metric.name}
                    rows.append({**row, **estimate(point[i], low[i], high[i]), "p": number(p[i])})
            if heads and all(task.name in parts for task in heads):
                chosen = [(parts[task.name][0], parts[task.name][1][:, :1]) for task in heads]
                point, low, high = self.official_of(chosen)
                row = {"model": entry.name, "set": OFFICIAL, "gain": gain, "metric": RECIPROCAL_RANK.name}
                p = self.official_p(chosen)
                rows.append({**row, **estimate(point[0], low[0], high[0]), "p": number(p[0])})
        return rows

    def values_of_part(self, block: ScoreBlock, rule: str, task: Task, key: tuple[str, str]) -> Floats:
        scores = score_rules.apply(rule, block, task, block.layout.gather(task))
        counts = tie_counts(scores, task.candidates, task.all_truths, what=" ".join(key))
        return np.stack([metric.values(counts) for metric in METRICS], axis=1)

    def comparisons(self) -> list[dict[str, Any]]:
        """All pairs of models, a minus b. Holm goes over all pairs and sets of one metric; the official is apart."""
        names = [e.name for e in self.entries if e.kind == "model" and self.is_whole(e.name)]
        pairs = list(itertools.combinations(names, 2))
        if not pairs:
            return []
        columns = [METRICS.index(metric) for metric in PAIRED]
        values: list[dict[str, Floats]] = []
        for task in self.test:
            values.append({})
            for name in names:
                block = self.block(name, REAL, task)
                assert block is not None
                values[-1][name] = self.values(block, self.rules[name], task)[:, columns]
        return self.differences(pairs, values)

    def differences(
        self, pairs: Sequence[tuple[str, str]], per_task: Sequence[Mapping[str, Floats]]
    ) -> list[dict[str, Any]]:
        """a minus b of each pair on each test task, then official. per_task: name -> PAIRED of every clip (n, 2)."""
        rows: list[dict[str, Any]] = []
        heads: list[tuple[Task, Floats]] = []
        for task, values in zip(self.test, per_task, strict=True):
            for i, metric in enumerate(PAIRED):
                difference = np.stack([values[a][:, i] - values[b][:, i] for a, b in pairs], axis=1)
                figures = self.mean_with_interval(difference, self.clusters(task))
                sums = cluster_sums(difference, self.clusters(task), self.bootstrap.num_clusters)
                rows += compared(pairs, task.name, metric, figures, sign_flip_p(sums, seed=self.seed))
                if metric is RECIPROCAL_RANK and task in headline(self.test):
                    heads.append((task, difference))
        official = compared(pairs, OFFICIAL, RECIPROCAL_RANK, self.official_of(heads), self.official_p(heads))
        for metric in PAIRED:
            adjust([row for row in rows if row["metric"] == metric.name])
        adjust(official)
        return rows + official


def paired_differences(
    tasks: Sequence[Task], per_task: Sequence[Mapping[str, Floats]], pairs: Sequence[tuple[str, str]], *, seed: int
) -> list[dict[str, Any]]:
    """Rows like those of metrics.json's comparisons, from the values of every clip: tasks of the test split, and for
    each of them name -> float64 (n, 2), reciprocal rank and R@1. Holm goes over these pairs and sets."""
    return Evaluator([], tasks, [], seed).differences(pairs, per_task)


def compared(
    pairs: Sequence[tuple[str, str]], name: str, metric: Metric, figures: tuple[Floats, Floats, Floats], p: Floats
) -> list[dict[str, Any]]:
    return [
        {
            "a": a,
            "b": b,
            "set": name,
            "metric": metric.name,
            **estimate(figures[0][i], figures[1][i], figures[2][i]),
            "p": number(p[i]),
        }
        for i, (a, b) in enumerate(pairs)
    ]


def adjust(rows: Sequence[dict[str, Any]]) -> None:
    """Add `p_holm` to rows that make one family of tests."""
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = number(p)


def text_only(entry: Entry, gains: Sequence[Mapping[str, Any]], *, saw_frames: bool) -> bool | None:
    """Does the model's video gain (official) include 0? True too for a model that never saw a frame; None if there
    is no interval, or if the entrant is no model."""
    if entry.kind != "model":
        return None
    if not saw_frames:
        return True
    for row in gains:
        if (row["model"], row["set"], row["gain"]) == (entry.name, OFFICIAL, "video"):
            return None if row["low"] is None else bool(row["low"] <= 0 <= row["high"])
    return None


def evaluate(
    entries: Sequence[Entry],
    tasks: Sequence[Task],
    blocks: Sequence[ScoreBlock],
    *,
    seed: int = 0,
    frames: Mapping[str, bool] | None = None,
    facts: ClipFacts | None = None,
) -> Evaluation:
    """All figures of a run. frames: model -> whether it was given frames (for the text-only mark; default yes).
    facts: of the clips, for breakdowns and diagnostics; without them those parts are shorter."""
    evaluator = Evaluator(entries, tasks, blocks, seed)
    dev = evaluator.choose_rules()
    gains = evaluator.gains()
    metrics = {
        "rows": evaluator.rows(),
        "per_category": evaluator.per_category(),
        "official": evaluator.official(),
        "gains": gains,
        "comparisons": evaluator.comparisons(),
        "transductive": joint_rows(evaluator),
    }
    metrics |= closer_look(evaluator, metrics["comparisons"], metrics["official"], facts)
    marks = {e.name: text_only(e, gains, saw_frames=(frames or {}).get(e.name, True)) for e in entries}
    return Evaluation(
        metrics=metrics,
        score_rules=evaluator.rules,
        dev=dev,
        text_only=marks,
        num_clusters=evaluator.bootstrap.num_clusters,
    )
