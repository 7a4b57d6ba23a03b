"""What `bench --wide` adds under the table: every metric of every set and rule, the rules side by side, what each
scorer leans on, groups solved jointly, and significance letters. Made of run.json and metrics.json alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.ranks import METRICS
from ..scores.rules import RULES

Json = Mapping[str, Any]


def wide_parts(info: Json, metrics: Json) -> list[str]:
    """The blocks of text, each with an empty line before it."""
    sizes = {row["set"]: row["k"] for row in metrics["rows"]}
    parts = [_set(info, metrics, name, k) for name, k in sizes.items()]
    parts += [_rules(info, metrics, list(sizes)), _leanings(info, metrics), _joint(metrics), _letters(metrics)]
    return ["\n" + part for part in parts if part]


def _set(info: Json, metrics: Json, name: str, k: int) -> str:
    """All metrics of one set, both strata, every rule; the official rule is marked by =."""
    from .table import aligned, bounds, short

    official = _official(info)
    titles = [f"{name}", "rule", "stratum", "clips", *(m.name for m in METRICS if m.is_defined(k)), "MRR 95 %"]
    rows = [titles]
    for row in metrics["rows"]:
        if row["set"] == name:
            mark = "=" if official.get(row["model"]) == row["rule"] else " "
            cells = [row["model"].removeprefix("panel:"), row["rule"] + mark, row["stratum"], str(row["num_clips"])]
            cells += [
                short(row["metrics"][m.name]["value"], digits=2 if m.name == "MR" else 3)
                for m in METRICS
                if m.is_defined(k)
            ]
            rows.append([*cells, bounds(row["metrics"]["MRR"])])
    return aligned(rows, rules=[1], num_left=3)


def _joint(metrics: Json) -> str:
    """R@1 when each group is solved as a whole, for the models and scorers."""
    from .table import aligned, bounds, short

    found = metrics.get("transductive", ())
    if not found:
        return ""
    rows = [["solved jointly (transductive, never official)", "rule", "set", "clips", "R@1", "95 %"]]
    for row in found:
        rows.append([row["model"], row["rule"], row["set"], str(row["num_clips"]), short(row["value"]), bounds(row)])
    return aligned(rows, rules=[1], num_left=3)


def _official(info: Json) -> dict[str, str]:
    return {model["name"]: model["score_rule"] for model in info["models"]}


def _rules(info: Json, metrics: Json, sets: Sequence[str]) -> str:
    """MRR of each likelihood model under every rule, side by side; = marks the primary one, which won on dev."""
    from .table import ABSENT, aligned, short

    official = _official(info)
    found = {(row["model"], row["set"], row["rule"]): row for row in metrics["rows"] if row["stratum"] == "all"}
    models = list(dict.fromkeys(model for model, _, rule in found if rule != "own"))
    columns = [rule for rule in RULES if any(key[2] == rule for key in found) and rule != "own"]
    rows = [["MRR by score rule", "set", *columns]]
    for model in models:
        for name in sets:
            cells = []
            for rule in columns:
                row = found.get((model, name, rule))
                mark = "=" if official.get(model) == rule else " "
                cells.append(short(row["metrics"]["MRR"]["value"]) + mark if row else f"{ABSENT} ")
            rows.append([model, name, *cells])
    return aligned(rows, rules=[1]) if models else ""


def _leanings(info: Json, metrics: Json) -> str:
    """Tie rate and the correlations of the score with length and popularity, under the official rule, of models and
    scorers (metrics.json has the panel's, too)."""
    from .table import aligned, short

    rows = [["official rule", "set", "ties", "ρ length", "ρ popularity"]]
    shown = {model["name"] for model in info["models"] if model["kind"] in ("model", "scorer")}
    for row in metrics.get("diagnostics", ()):
        if row["model"] not in shown:
            continue
        correlations = [short(row[f"{name}_correlation"], sign=True) for name in ("length", "popularity")]
        rows.append([row["model"], row["set"], short(row["tie_rate"]), *correlations])
    note = "ties: clips whose truth has another candidate's score; ρ: Spearman within a clip, mean over clips"
    return f"{aligned(rows, rules=[1])}\n{note}" if len(rows) > 1 else ""


def _letters(metrics: Json) -> str:
    from .table import aligned, short

    official = {row["model"]: row for row in metrics["official"]}
    rows = [["official MRR", "letters", "MRR"]]
    for row in metrics.get("letters", ()):
        rows.append([row["model"], row["letters"], short(official[row["model"]]["value"])])
    note = "models that share a letter do not differ (sign flips of clusters, Holm over all pairs, .05)"
    return f"{aligned(rows, rules=[1])}\n{note}" if len(rows) > 1 else ""
