"""The sections for whoever looks closer: letters, what scores lean on, breakdowns, calibration, best and worst clips,
and the defects of the old evaluation on the same data. Each is empty where the run has no figures for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from videochat.errors import VideochatError
from videochat.files import read_json, stable_hash
from videochat.progress import say

from ..runs.table import headline_sets
from .charts import Bar, Dot, grouped_bars, interval_plot
from .exhibits import printable, rank_model
from .lines import Line, line_plot
from .results import Row

if TYPE_CHECKING:
    from .inputs import ClipSource, RunData

Json = dict[str, Any]
TITLES = {
    "category": "Category",
    "chat-density": "Chat density",
    "reference-rate": "Does the chat refer to the screen (simulated truth)",
    "truth-offset": "When the truth was said",
    "num-context": "Number of context comments",
}
EXTREMES = 5  # clips at either end
SHOWN_DEFECTS = 3  # rows a switch
DEFECTS = "defects.json"  # in the workspace, written by `videochat defects`


def letters(run: RunData) -> dict[str, str]:
    """Model -> its significance letters; {} where fewer than two models were compared."""
    return {row["model"]: row["letters"] for row in run.metrics.get("letters", ())}


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """What a scorer's scores go with, mean over the headline sets; None where it cannot be said."""

    model: str
    tie_rate: float
    length: float | None
    popularity: float | None


def leanings(run: RunData, rows: Sequence[Row]) -> list[Leaning]:
    """Models and scorers in the order of the table."""
    sets = headline_sets(run.metrics["rows"])
    found = [row for row in run.metrics.get("diagnostics", ()) if row["set"] in sets]
    out = []
    for name in [row.name for row in rows if row.kind in ("model", "bound", "scorer")]:
        mine = [row for row in found if row["model"] == name]
        if mine:
            ties, length, popularity = (
                _mean([row[key] for row in mine])
                for key in ("tie_rate", "length_correlation", "popularity_correlation")
            )
            out.append(Leaning(model=name, tie_rate=ties or 0.0, length=length, popularity=popularity))
    return out


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def breakdown_plots(run: RunData, shown: Sequence[Row], tones: dict[str, str]) -> list[tuple[str, Markup]]:
    """(what it is broken down by, MRR bars of the shown models), mean of the headline sets. Categories have charts of
    their own."""
    sets = headline_sets(run.metrics["rows"])
    found: dict[tuple[str, str], dict[str, list[Json]]] = {}
    for row in run.metrics.get("breakdowns", ()):
        if row["set"] in sets and row["by"] != "category":
            found.setdefault((row["by"], row["bin"]), {}).setdefault(row["model"], []).append(row)
    plots = []
    for by in dict.fromkeys(key for key, _ in found):
        groups = []
        for (kind, label), models in found.items():
            if kind != by:
                continue
            bars = [
                Bar(
                    name=row.name,
                    value=float(np.mean([figure["metrics"]["MRR"]["value"] for figure in models[row.name]])),
                    tone=tones[row.name],
                )
                for row in shown
                if row.name in models
            ]
            num = max(figure["num_clips"] for figures in models.values() for figure in figures)
            if bars:
                groups.append((label, f"{num:,} clip{'' if num == 1 else 's'}", bars))
        if groups:
            title = TITLES.get(by, by)
            chart = grouped_bars(
                groups, title=f"MRR by {title}", maximum=1.0, reference=_chance(run), reference_label="chance"
            )
            plots.append((title, chart))
    return plots


def _chance(run: RunData) -> float:
    from .results import chance

    sets = headline_sets(run.metrics["rows"])
    return chance(run, sets[0])[1] if sets else 0.0


def calibration_plot(run: RunData, tones: dict[str, str]) -> tuple[Markup | None, list[tuple[str, str, float]]]:
    """The reliability diagram of the first headline set, and (model, set, ECE) of all."""
    rows = run.metrics.get("calibration", ())
    sets = headline_sets(run.metrics["rows"])
    first = [row for row in rows if sets and row["set"] == sets[0] and len(row["bins"]) > 1]
    if not first:
        return None, [(row["model"], row["set"], row["ece"]) for row in rows]
    lines = [
        Line(
            label=row["model"],
            points=[(bin_["confidence"], bin_["accuracy"]) for bin_ in row["bins"]],
            tone=tones.get(row["model"], "plain"),
        )
        for row in first
    ]
    lines.append(Line(label="calibrated", points=[(0.0, 0.0), (1.0, 1.0)], tone="plain"))
    chart = line_plot(lines, title=f"calibration on {sets[0]}", x_label="confidence", x_domain=(0.0, 1.0), markers=True)
    return chart, [(row["model"], row["set"], row["ece"]) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """A clip at either end: the truth, and what the model put first."""

    clip_id: str
    category: str
    mrr: float
    truth: str
    first: str


def extremes(run: RunData, source: ClipSource, model: str) -> tuple[list[Extreme], list[Extreme]]:
    """The model's best and worst clips of the first headline set, EXTREMES of each, equal ones by hash."""
    sets = headline_sets(run.metrics["rows"])
    found = rank_model(run, model, sets[0]) if sets and sets[0] in run.tasks else None
    if found is None:
        return [], []
    task = run.tasks[sets[0]]
    drawn = [stable_hash("extremes", clip) for clip in task.clip_ids.tolist()]  # of equal ones nobody picks
    order = sorted(range(len(task)), key=lambda i: (-found.reciprocal[i], drawn[i]))
    back = sorted(range(len(task)), key=lambda i: (found.reciprocal[i], drawn[i]))
    half = min(EXTREMES, len(order) // 2)

    def line(row: int) -> Extreme:
        texts = source.texts.texts
        return Extreme(
            clip_id=str(task.clip_ids[row]),
            category=str(task.categories[row]),
            mrr=float(found.reciprocal[row]),
            truth=printable(texts[int(task.truths[row])], 80),
            first=printable(texts[int(task.candidates[row][int(np.argmax(found.scores[row]))])], 80),
        )

    return [line(row) for row in order[:half]], [line(row) for row in back[:half]]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One switch of the old evaluation: R@1 with the defect and with it mended."""

    switch: str
    model: str
    set: str
    released: float
    mended: float


def defects(run: RunData, root: Path) -> tuple[list[Defect], Markup | None]:
    """What `videochat defects` measured on the same data, the largest effects first; [] where it was not run."""
    path = root / DEFECTS
    try:
        measured = read_json(path, needs=("data_digest", "rows")) if path.is_file() else None
    except VideochatError as error:
        say(f"the defects are left out of the report: {error.what}")  # the run's own figures do not depend on them
        return [], None
    if measured is None or measured["data_digest"] != run.info["data_digest"]:
        return [], None
    found: dict[str, list[Defect]] = {}
    for row in measured["rows"]:
        found.setdefault(row["switch"], []).append(
            Defect(
                switch=row["switch"],
                model=row["model"],
                set=row["set"],
                released=row["released"]["R@1"],
                mended=row["mended"]["R@1"],
            )
        )
    rows = []
    for each in found.values():
        rows += sorted(each, key=lambda d: -abs(d.mended - d.released))[:SHOWN_DEFECTS]
    largest = [max(each, key=lambda d: abs(d.mended - d.released)) for each in found.values()]
    chart = interval_plot(
        [Dot(label=d.switch, value=d.mended - d.released, note=f"{d.model} on {d.set}") for d in largest],
        title="largest change of R@1 when a defect is mended",
        domain=(-1.0, 1.0),
        reference=0.0,
        reference_label="no change",
        signed=True,
    )
    return rows, chart
