"""From metrics.json to what the page prints: table rows, gains, and differences as sentences made from the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..evaluation.figures import ALPHA, OFFICIAL
from ..metrics.ranks import RECIPROCAL_RANK, Recall
from ..metrics.statistics import MIN_CLUSTERS
from ..runs.table import golden_constant
from .charts import number
from .inputs import RunData

KINDS = {
    "model": "Models",
    "bound": "Upper bounds, told the simulated truth",
    "scorer": "Simple scorers",
    "panel": "Shortcut panel",
    "golden": "Golden scorers",
}
UPPER_BOUNDS = frozenset({"sfat-oracle", "ceiling"})  # of the registry; they exist on simulated data only
ALL_METRICS = ("R@1", "R@2", "R@5", "MR", "MRR")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number with its 95 % interval; low and high are None where the clusters are too few."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, row: dict[str, Any] | None) -> Value | None:
        """From {"value", "low", "high"}; None where the metric is not defined."""
        if row is None or row.get("value") is None:
            return None
        return cls(value=row["value"], low=row.get("low"), high=row.get("high"))

    def __neg__(self) -> Value:
        if self.low is None or self.high is None:
            return Value(value=-self.value)
        return Value(value=-self.value, low=-self.high, high=-self.low)

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None

    @property
    def includes_zero(self) -> bool | None:
        return self.low <= 0 <= self.high if self.low is not None and self.high is not None else None

    def text(self, *, signed: bool = False) -> str:
        return number(self.value, signed)

    def interval(self, *, signed: bool = False) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"[{number(self.low, signed)}, {number(self.high, signed)}]"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model in the results table. cells: (set, metric) -> Value.

    gains: "video" | "chat" -> the gain on the official number."""

    name: str
    kind: str
    summary: str
    rule: str
    official: Value | None
    cells: dict[tuple[str, str], Value | None]
    gains: dict[str, Value]
    text_only: bool
    trained: bool
    skipped: str | None


def chance(run: RunData, set_name: str) -> tuple[float, float]:
    """(R@1, MRR) of a scorer that knows nothing: what the run's constant scorer got, which counts further truths; of a
    run without one, the closed form for one truth (the set's name ends with K)."""
    found, k = golden_constant(run.metrics["rows"], set_name), num_candidates(set_name)
    return found.get("R@1", Recall(1).chance(k)), found.get("MRR", RECIPROCAL_RANK.chance(k))


def num_candidates(set_name: str) -> int:
    """ "cosine10" -> 10."""
    return int(set_name[len(set_name.rstrip("0123456789")) :])


def metric_rows(run: RunData, *, stratum: str = "all") -> Iterator[tuple[dict[str, Any], bool]]:
    """The metric rows of a stratum, and whether each is under the model's official rule."""
    for row in run.metrics["rows"]:
        if row["stratum"] == stratum:
            official = run.models.get(row["model"], {}).get("score_rule")
            yield row, official is None or row["rule"] == official


def table_rows(run: RunData) -> list[Row]:
    """All models of the run; those with an official number first, the best first, then those that were skipped."""
    cells: dict[str, dict[tuple[str, str], Value | None]] = {}
    for row, is_official in metric_rows(run):
        if is_official:
            mine = cells.setdefault(row["model"], {})
            for name in ALL_METRICS:
                mine[row["set"], name] = Value.of(row["metrics"].get(name))
    official = {row["model"]: Value.of(row) for row in run.metrics["official"]}
    gains: dict[str, dict[str, Value]] = {}
    for row in run.metrics["gains"]:
        value = Value.of(row)
        if row["set"] == OFFICIAL and value:
            gains.setdefault(row["model"], {})[row["gain"]] = value
    rows = [
        Row(
            name=_panel_name(name) if model["kind"] == "panel" else name,
            kind="bound" if name in UPPER_BOUNDS and run.info["simulated"] else model["kind"],
            summary=model.get("summary") or "",
            rule=model.get("score_rule") or "",
            official=official.get(name),
            cells=cells.get(name, {}),
            gains=gains.get(name, {}),
            text_only=bool(model.get("text_only")),
            trained=bool(model.get("trained")),
            skipped=model.get("skipped"),
        )
        for name, model in run.models.items()
    ]
    return sorted(rows, key=lambda row: (row.skipped is not None, -(row.official.value if row.official else -1.0)))


def num_of(run: RunData) -> dict[str, int]:
    """Set -> number of ranked clips."""
    return {row["set"]: row["num_clips"] for row in run.metrics["rows"] if row["stratum"] == "all"}


def full_rows(run: RunData) -> list[dict[str, Any]]:
    """Every metric of every model, set, stratum and rule, as metrics.json has them, for the folded table."""
    rows = []
    for stratum in ("all", "no-generic"):
        for row, is_official in metric_rows(run, stratum=stratum):
            cells = [Value.of(row["metrics"].get(name)) for name in ALL_METRICS]
            rows.append({**row, "is_official": is_official, "cells": cells})
    return rows


def gain_rows(run: RunData) -> list[tuple[str, str, str, Value]]:
    """(model, set, "video" | "chat", gain in R@1) of the single sets, for the folded table."""
    return [
        (row["model"], row["set"], row["gain"], value)
        for row in run.metrics["gains"]
        if row["metric"] == "R@1" and row["set"] != OFFICIAL and (value := Value.of(row)) is not None
    ]


def grouped(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows under the headings of KINDS, empty groups left out."""
    groups = [(heading, [row for row in rows if row.kind == kind]) for kind, heading in KINDS.items()]
    return [(heading, members) for heading, members in groups if members]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """a - b on one set, paired over the same clips."""

    a: str
    b: str
    set: str
    metric: str
    value: Value
    p_holm: float | None
    num_clusters: int

    def flipped(self) -> Difference:
        """b - a."""
        return dataclasses.replace(self, a=self.b, b=self.a, value=-self.value)

    @property
    def is_established(self) -> bool:
        """Whether the interval excludes 0 and the test holds after Holm: one of the two alone is often luck."""
        sure = self.value.has_interval and not self.value.includes_zero
        return sure and (self.p_holm is None or self.p_holm < ALPHA)

    @property
    def verdict(self) -> str:
        if not self.value.has_interval:
            clusters = f"{self.num_clusters} cluster{'' if self.num_clusters == 1 else 's'}"
            return f"no interval, only {clusters} where {MIN_CLUSTERS} are needed"
        return "the interval includes 0" if self.value.includes_zero else "the interval excludes 0"

    @property
    def numbers(self) -> str:
        return f"{self.value.text(signed=True)} {self.metric} {self.value.interval(signed=True)}".rstrip()

    @property
    def sentence(self) -> str:
        p = "" if self.p_holm is None else f", p\u00a0=\u00a0{probability(self.p_holm)} after Holm"
        return f"{self.a} − {self.b}: {self.numbers} on {self.set}; {self.verdict}{p}."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All differences of one pair of models in one run, with the sentence that sums them up."""

    a: str
    b: str
    differences: list[Difference] = field(default_factory=list)

    def flipped(self) -> Comparison:
        """b - a."""
        return Comparison(a=self.b, b=self.a, differences=[d.flipped() for d in self.differences])

    @property
    def summary(self) -> str:
        total = len(self.differences)
        known = [d for d in self.differences if d.value.has_interval]
        if not known:
            return f"{self.a} against {self.b}: no interval, too few clusters to tell."
        ahead = sum(d.is_established and d.value.value > 0 for d in known)
        behind = sum(d.is_established and d.value.value < 0 for d in known)
        open_ = total - ahead - behind
        parts = [
            f"{self.a} is {word} {self.b} on {_of(num, total)}"
            for word, num in (("ahead of", ahead), ("behind", behind))
            if num
        ]
        if open_:
            parts.append(f"no difference is established on {_of(open_, total)}")
        text = "; ".join(parts) + "."
        return text if parts[0].startswith(self.a) else f"{self.a} against {self.b}: {text}"


def comparisons(run: RunData, *, metric: str = "R@1") -> list[Comparison]:
    """The compared pairs, in the order of metrics.json."""
    pairs: dict[tuple[str, str], Comparison] = {}
    for row in run.metrics["comparisons"]:
        value = Value.of(row)
        if row["metric"] != metric or value is None:
            continue
        pair = pairs.setdefault((row["a"], row["b"]), Comparison(a=row["a"], b=row["b"]))
        pair.differences.append(
            Difference(
                a=row["a"],
                b=row["b"],
                set=row["set"],
                metric=metric,
                value=value,
                p_holm=row.get("p_holm"),
                num_clusters=run.info["num_clusters"],
            )
        )
    return list(pairs.values())


def lead_sentence(rows: Sequence[Row]) -> str:
    """The first sentence of the results: the best model by the official number, beside the best simple scorer."""
    ranked = [row for row in rows if row.official and not row.skipped]
    models = [row for row in ranked if row.kind == "model"]
    scorers = [row for row in ranked if row.kind == "scorer"]
    lead = "No trained model was ranked"
    if models and models[0].official:
        lead = f"{models[0].name} has the highest official number of the models, {_with_interval(models[0].official)}"
    if scorers and scorers[0].official:
        lead += f"; the best simple scorer is {scorers[0].name}, {_with_interval(scorers[0].official)}"
    return lead + "."


def probability(p: float) -> str:
    """0.00021 -> "0.0002"; below 0.0001 "< 0.0001"."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def _panel_name(name: str) -> str:
    """ "panel:-length" -> "−length", with a true minus."""
    name = name.removeprefix("panel:")
    return f"−{name[1:]}" if name.startswith("-") else name


def _with_interval(value: Value) -> str:
    return f"{value.text()} {value.interval()}".rstrip()


def _of(num: int, total: int) -> str:
    if total == 1:
        return "the one set"
    return f"all {total} sets" if num == total else f"{num} of {total} sets"
