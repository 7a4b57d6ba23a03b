"""The page of an experiment: one self-contained HTML file with plots and the sentences that the numbers allow.

    write_page(folder, result)        # experiment.html and experiment.json

No script, no network; texts are escaped; equal results give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from videochat.files import write_json, write_text

from ..report.charts import Bar, Dot, grouped_bars, interval_plot
from ..report.lines import Line, line_plot
from ..table import bounds, short

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


def _plots(result: Json) -> list[tuple[str, Markup]]:
    """(caption, chart) of what the experiment has."""
    rows = result["variants"]
    highest = max([row["MRR"]["high"] or row["MRR"]["value"] for row in rows] + [result["chance"]])
    dots = [
        Dot(
            label=row["label"], value=row["MRR"]["value"], low=row["MRR"]["low"], high=row["MRR"]["high"], tone=_tone(i)
        )
        for i, row in enumerate(rows)
    ]
    plots = [
        (
            "MRR, mean of the seeds, with 95 % intervals",
            interval_plot(
                dots,
                title="MRR of each variant",
                domain=(0.0, min(1.0, highest + 0.05)),
                reference=result["chance"],
                reference_label="chance",
            ),
        )
    ]
    if result["pairs"]:
        reach = max(
            max(abs(row[key]) for key in ("value", "low", "high") if row[key] is not None) for row in result["pairs"]
        )
        reach = max(0.05, reach * 1.1)
        firsts = {row["a"] for row in result["pairs"]}
        shared = firsts.pop() if len(firsts) == 1 and len(result["pairs"]) > 1 else ""
        plots.append(
            (
                f"{shared} minus the others, 95 % intervals" if shared else "Paired differences, with 95 % intervals",
                interval_plot(
                    [
                        Dot(
                            label=f"− {row['b']}" if shared else f"{row['a']} − {row['b']}",
                            value=row["value"],
                            low=row["low"],
                            high=row["high"],
                        )
                        for row in result["pairs"]
                    ],
                    title="differences in MRR",
                    domain=(-reach, reach),
                    reference=0.0,
                    reference_label="no difference",
                    signed=True,
                ),
            )
        )
    weighed = [(i, row) for i, row in enumerate(rows) if row["weights"]]
    if weighed:
        plots.append(
            (
                "Evenness of the frame weights (1 = equal weights)",
                grouped_bars(
                    [
                        (row["label"], "", [Bar(name="evenness", value=row["weights"]["evenness"], tone=_tone(i))])
                        for i, row in weighed
                    ],
                    title="evenness of the frame weights",
                    maximum=1.0,
                    reference=1.0,
                    reference_label="equal",
                ),
            )
        )
        plots.append(
            (
                "Mean weight of the most, second … preferred frame",
                line_plot(
                    [
                        Line(
                            label=row["label"],
                            points=[(rank + 1.0, value) for rank, value in enumerate(row["weights"]["sorted"])],
                            tone=_tone(i),
                        )
                        for i, row in weighed
                    ],
                    title="frame weights, sorted",
                    x_label="frame, by weight",
                ),
            )
        )
        plots.append(
            (
                "Share of clips whose weights are at most so even",
                line_plot(
                    [
                        Line(
                            label=row["label"],
                            points=[
                                (q, i / (len(row["weights"]["quantiles"]) - 1))
                                for i, q in enumerate(row["weights"]["quantiles"])
                            ],
                            tone=_tone(index),
                        )
                        for index, row in weighed
                    ],
                    title="distribution of evenness",
                    x_label="evenness",
                    x_domain=(0.0, 1.0),
                ),
            )
        )
    if result["axis"]:
        series: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row["x"] is not None:
                series.setdefault(row["model"], []).append((row["x"], row["MRR"]["value"]))
        plots.append(
            (
                f"MRR over the {result['axis']}",
                line_plot(
                    [
                        Line(label=name, points=sorted(points), tone=_tone(i))
                        for i, (name, points) in enumerate(series.items())
                    ],
                    title=f"MRR over the {result['axis']}",
                    x_label=result["axis"],
                    markers=True,
                ),
            )
        )
    return plots
