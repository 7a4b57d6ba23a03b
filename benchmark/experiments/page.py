"""The page of an experiment: one self-contained HTML file with plots and the sentences that the numbers allow.

    write_page(folder, result)        # experiment.html and experiment.json

No script, no network; texts are escaped; equal results give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from videochat.files import write_json, write_text

from ..report.charts import LABEL_LENGTH, Bar, Dot, grouped_bars, interval_plot
from ..report.lines import Line, line_plot
from ..runs.table import bounds, short

Json = dict[str, Any]
MAX_TONES = 6


def write_page(folder: Path, result: Json) -> Path:
    """Write experiment.json and experiment.html into `folder`; the page's path."""
    write_json(folder / "experiment.json", result)
    write_text(folder / "experiment.html", render(result))
    return folder / "experiment.html"


def render(result: Json) -> str:
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["short"] = lambda value: short(value)
    environment.filters["signed"] = lambda value: short(value, sign=True)
    environment.filters["bounds"] = bounds
    style = files("videochat.benchmark.report").joinpath("report.css").read_text(encoding="utf-8")
    template = files(__package__ or "").joinpath("experiment.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        result=result,
        plots=_plots(result),
    )


def _tone(index: int) -> str:
    return f"m{index + 1}" if index < MAX_TONES else "plain"


Plot = tuple[str, Markup]  # caption, chart


def _plots(result: Json) -> list[Plot]:
    """What the experiment has figures for."""
    weighed = [(_tone(i), row) for i, row in enumerate(result["variants"]) if row["weights"]]
    plots = [_scores(result)]
    if result["pairs"]:
        plots += _differences(result["pairs"])
    if weighed:
        plots += [_evenness(weighed), _sorted_weights(weighed), _distribution(weighed)]
    if result["axis"]:
        plots.append(_over_axis(result))
    return plots


def _scores(result: Json) -> Plot:
    rows = [(row["label"], row["MRR"]) for row in result["variants"]]
    highest = max([figure["high"] or figure["value"] for _, figure in rows] + [result["chance"]])
    dots = [
        Dot(label=label, value=figure["value"], low=figure["low"], high=figure["high"], tone=_tone(i))
        for i, (label, figure) in enumerate(rows)
    ]
    chart = interval_plot(
        dots,
        title="MRR of each variant",
        domain=(0.0, min(1.0, highest + 0.05)),
        reference=result["chance"],
        reference_label="chance",
    )
    return "MRR, mean of the seeds, with 95 % intervals", chart


def _differences(pairs: Sequence[Json]) -> list[Plot]:
    """The pairs' differences in one plot, or where their names would not fit, one for each first variant."""
    bounds_of = (abs(row[key]) for row in pairs for key in ("value", "low", "high") if row[key] is not None)
    reach = max(0.05, 1.1 * max(bounds_of))
    groups: dict[str, list[Json]] = {}
    for row in pairs:
        groups.setdefault(row["a"], []).append(row)
    if len(groups) > 1 and all(len(f"{row['a']} − {row['b']}") <= LABEL_LENGTH for row in pairs):
        named = [(f"{row['a']} − {row['b']}", row) for row in pairs]
        return [("Paired differences, with 95 % intervals", _difference_plot(named, reach))]
    return [
        (
            f"{first} minus {rows[0]['b'] if len(rows) == 1 else 'the others'}, 95 % intervals",
            _difference_plot([(f"− {row['b']}", row) for row in rows], reach),
        )
        for first, rows in groups.items()
    ]


def _difference_plot(named: Sequence[tuple[str, Json]], reach: float) -> Markup:
    dots = [Dot(label=label, value=row["value"], low=row["low"], high=row["high"]) for label, row in named]
    return interval_plot(
        dots,
        title="differences in MRR",
        domain=(-reach, reach),
        reference=0.0,
        reference_label="no difference",
        signed=True,
    )


def _evenness(weighed: Sequence[tuple[str, Json]]) -> Plot:
    chart = grouped_bars(
        [(row["label"], "", [Bar(name="evenness", value=row["weights"]["evenness"], tone=t)]) for t, row in weighed],
        title="evenness of the frame weights",
        maximum=1.0,
        reference=1.0,
        reference_label="equal",
    )
    return "Evenness of the frame weights (1 = equal weights)", chart


def _sorted_weights(weighed: Sequence[tuple[str, Json]]) -> Plot:
    lines = [
        Line(
            label=row["label"],
            points=[(float(rank), value) for rank, value in enumerate(row["weights"]["sorted"], start=1)],
            tone=tone,
        )
        for tone, row in weighed
    ]
    chart = line_plot(lines, title="frame weights, sorted", x_label="frame, by weight")
    return "Mean weight of the most, second … preferred frame", chart


def _distribution(weighed: Sequence[tuple[str, Json]]) -> Plot:
    lines = []
    for tone, row in weighed:
        quantiles = row["weights"]["quantiles"]
        points = [(value, i / (len(quantiles) - 1)) for i, value in enumerate(quantiles)]
        lines.append(Line(label=row["label"], points=points, tone=tone))
    chart = line_plot(lines, title="distribution of evenness", x_label="evenness", x_domain=(0.0, 1.0))
    return "Share of clips whose weights are at most so even", chart


def _over_axis(result: Json) -> Plot:
    """MRR over the numbers that were varied, a line a model."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in result["variants"]:
        if row["x"] is not None:
            series.setdefault(row["model"], []).append((row["x"], row["MRR"]["value"]))
    title = f"MRR over the {result['axis']}"
    lines = [Line(label=name, points=sorted(points), tone=_tone(i)) for i, (name, points) in enumerate(series.items())]
    return title, line_plot(lines, title=title, x_label=result["axis"], markers=True)
