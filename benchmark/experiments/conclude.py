"""From the runs of an experiment to its figures and to the sentence that they allow.

Each run holds the variants of one seed (and of one world). A figure is the mean over seeds; its interval comes from
clusters and seeds (`videochat.benchmark.runs.seeds`). A difference is called established if its interval excludes 0 and
its sign-flip p, on differences averaged over the seeds, stays below .05 after Holm over the experiment's pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.figures import ALPHA, estimate, number
from ..metrics.ranks import RECIPROCAL_RANK
from ..metrics.statistics import MIN_CLUSTERS, Resampled, cluster_sums, holm, sign_flip_p
from ..runs.seeds import Reader, over_seeds
from ..runs.table import ABSENT, aligned, bounds, short
from ..scores.blocks import REAL
from .declared import Experiment
from .weights import weight_facts

if TYPE_CHECKING:
    from ..runs.run import Run

Json = dict[str, Any]
PUBLISHED_SEEDS = 3  # PROTOCOL: trained models take so many in published tables


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The runs of one world, one a seed. world: see Variant.world."""

    world: float | None
    runs: Sequence[Run]


def conclude(experiment: Experiment, ranked: Sequence[Ranked], *, skipped: Mapping[str, str] | None = None) -> Json:
    """All figures of the experiment as JSON. skipped: label -> why a variant was not ranked."""
    readers = {each.world: [Reader(run) for run in each.runs] for each in ranked}
    first = ranked[0].runs[0].info
    variants = []
    for variant in experiment.variants:
        found = [reader for reader in readers.get(variant.world, []) if reader.has(variant.label)]
        if not found:
            continue
        mean = over_seeds([_official(reader, variant.label) for reader in found])
        low, high = mean.interval()
        each = next(each for each in ranked if each.world == variant.world)
        variants.append(
            {
                "label": variant.label,
                "model": variant.model,
                "options": dict(variant.options),
                "x": variant.x,
                "MRR": {
                    **estimate(mean.point[0], low[0], high[0]),
                    "per_seed": [number(_official(reader, variant.label).point[0]) for reader in found],
                },
                "weights": weight_facts(each.runs, variant.label) if experiment.weights else None,
            }
        )
    names = {row["label"] for row in variants}
    pairs = [
        _difference(readers[experiment.variant(a).world], a, b)
        for a, b in experiment.pairs
        if a in names and b in names
    ]
    for row, p in zip(pairs, holm([row["p"] for row in pairs]), strict=True):
        row["p_holm"] = number(p)
        row["sentence"] = sentence(row, simulated=bool(first["simulated"]))
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "source": experiment.source,
        "axis": experiment.axis,
        "chance": round(RECIPROCAL_RANK.chance(next(iter(readers.values()))[0].tasks[0].k), 6),
        "simulated": bool(first["simulated"]),
        "num_seeds": max(len(each.runs) for each in ranked),
        "num_clusters": min(run.info["num_clusters"] for each in ranked for run in each.runs),
        "signatures": sorted(
            {line for each in ranked for run in each.runs for line in run.info["signatures"].values()}
        ),
        "runs": [run.run_id for each in ranked for run in each.runs],
        "variants": variants,
        "pairs": pairs,
        "skipped": dict(skipped or {}),
    }


def _official(reader: Reader, label: str) -> Resampled:
    """The official number alone, as one column."""
    mean = reader.official(label)
    return Resampled(
        point=mean.point[:1],
        samples=None if mean.samples is None else mean.samples[:, :1],
        degrees=mean.degrees[:1],
        low=mean.low[:1],
        high=mean.high[:1],
    )


def _difference(readers: Sequence[Reader], a: str, b: str) -> Json:
    """a - b in the official number, paired by clip and seed."""
    both = [reader for reader in readers if reader.has(a) and reader.has(b)]
    parts: list[Resampled] = []
    sums: Any = 0.0
    for reader in both:
        means = []
        for task in reader.tasks:
            values = reader.values(a, REAL, task, task)[:, :1] - reader.values(b, REAL, task, task)[:, :1]
            means.append(reader.mean(task, values, macro=True))
            _, codes, sizes = np.unique(task.categories, return_inverse=True, return_counts=True)
            weights = 1.0 / (len(reader.tasks) * len(sizes) * sizes[codes] * len(both))
            clusters = np.searchsorted(reader.cluster_names, task.clusters)
            sums = sums + cluster_sums(values * weights[:, None], clusters, len(reader.cluster_names))
        parts.append(Resampled.average(means))
    mean = over_seeds(parts)
    low, high = mean.interval()
    p = sign_flip_p(np.asarray(sums), seed=both[0].bootstrap.seed)[0]
    figure = estimate(mean.point[0], low[0], high[0])
    return {"a": a, "b": b, **figure, "per_seed": [number(part.point[0]) for part in parts], "p": number(p)}


def sentence(row: Mapping[str, Any], *, simulated: bool) -> str:
    """What the figures of a pair allow to say, and no more."""
    where = "On this simulated data " if simulated else "On this data "
    figure = f"{short(row['value'], sign=True)} {RECIPROCAL_RANK.name} {bounds(row)}".rstrip()
    if row["low"] is None:
        return f"{where}{row['a']} − {row['b']}: {figure}; fewer than {MIN_CLUSTERS} clusters say nothing of it."
    if (row["low"] > 0 or row["high"] < 0) and row["p_holm"] < ALPHA:
        better, worse = (row["a"], row["b"]) if row["value"] > 0 else (row["b"], row["a"])
        return f"{where}{better} is better than {worse} ({row['a']} − {row['b']}: {figure})."
    return f"{where}no difference between {row['a']} and {row['b']} is established ({figure})."


def to_text(result: Json) -> str:
    """The table of an experiment on a terminal."""
    simulated = "SIMULATED DATA: shows that a mechanism works, never how well. " if result["simulated"] else ""
    has_weights = any(row["weights"] for row in result["variants"])
    titles = [
        "variant",
        RECIPROCAL_RANK.name,
        "95 %",
        "each seed",
        *(["evenness", "top weight"] if has_weights else []),
    ]
    rows = [titles]
    for row in result["variants"]:
        figure = row["MRR"]
        cells = [row["label"], short(figure["value"]), bounds(figure), " ".join(short(v) for v in figure["per_seed"])]
        if has_weights:
            facts = row["weights"]
            cells += [short(facts["evenness"]), short(facts["top_weight"])] if facts else [ABSENT, ABSENT]
        rows.append(cells)
    lines = [f"{simulated}{result['question']}", aligned(rows, rules=[1], num_left=1)]
    if has_weights:
        lines.append(
            "evenness: entropy of a clip's frame weights over that of equal weights; 1 = no frame is preferred"
        )
    lines += [row["sentence"] for row in result["pairs"]]
    if (seeds := result["num_seeds"]) < PUBLISHED_SEEDS:
        lines.append(
            f"{seeds} seed{'s' if seeds > 1 else ''}: what another training would give is hardly in these intervals; "
            f"published tables take {PUBLISHED_SEEDS} or more"
        )
    lines += [f"left out {label}: {why}" for label, why in result["skipped"].items()]
    for sign in result.get("signs", []):
        lines.append(f"{'FAILURE SIGNATURE' if sign['occurs'] else 'no sign of'} {sign['name']}: {sign['text']}")
    return "\n".join([*lines, *result["signatures"]])
