"""Put the parts together and write runs/<run>/report.html.

The page is one file: no script, no network, no font, pictures as data URLs. A content security policy in it forbids
everything else (its style element is allowed by hash), so that a comment which slipped through the escaping could
still not run. Equal inputs give equal bytes: the page holds no date.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from videochat.cleaning.funnel import funnel
from videochat.errors import VideochatError
from videochat.files import write_text

from ..runs.run import Run
from ..runs.table import headline_sets
from . import closer, results
from .charts import Bar, Dot, grouped_bars, interval_plot
from .exhibits import Exhibit, exhibits, shown_model
from .inputs import RunData, clip_source
from .results import Comparison, Row

if TYPE_CHECKING:
    from videochat.workspace import Workspace

MAX_TONES = 6  # models told apart by colour; further ones share the plain tone
MAX_BARS = 5  # models in the per-category chart


def write_report(run: Run, workspace: Workspace, *, num_clips: int = 6, extra_runs: Sequence[Run] = ()) -> Path:
    """Write the report of `run` into its folder and return the path.

    workspace: where the run was made; clips and funnel come from it, as far as it still fits the run.
    extra_runs: other worlds to compare with; the differences of the same pairs of models are set beside this run's.
    """
    main = RunData(run)
    page = render(main, workspace, num_clips=num_clips, extra=[RunData(other) for other in extra_runs])
    target = run.path / "report.html"
    write_text(target, page)
    return target


def render(run: RunData, workspace: Workspace, *, num_clips: int = 6, extra: Sequence[RunData] = ()) -> str:
    """The page as HTML."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["count"] = lambda value: f"{value:,}"
    style = _resource("report.css")
    rows = results.table_rows(run)
    tones = _tones(rows)
    model = shown_model(run)
    clips, clips_note = _clips(run, workspace, model, num_clips)
    ends = _ends(run, workspace, model, num_clips)
    return environment.from_string(_resource("report.html.j2")).render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii"),
        run=run,
        info=run.info,
        unit=_unit(run),
        any_text_only=any(row.text_only for row in rows),
        facts=_facts(run, rows),
        lead=results.lead_sentence(rows),
        groups=results.grouped(rows),
        has_intervals=any(row.official and row.official.has_interval for row in rows),
        has_gains=any(row.gains for row in rows),
        chance={name: results.chance(run, name) for name in run.sets},
        num_of=results.num_of(run),
        headline=headline_sets(run.metrics["rows"]),
        all_metrics=results.ALL_METRICS,
        full=results.full_rows(run),
        interval_plots=[_recall_plot(run, rows, tones, name) for name in run.sets],
        category_plots=_category_plots(run, rows, tones),
        category_legend=[(row.name, tones[row.name]) for row in _category_models(rows)],
        worlds=_worlds(run, extra, model),
        pairs=results.comparisons(run),
        letters=closer.letters(run),
        leanings=closer.leanings(run, rows),
        breakdown_plots=closer.breakdown_plots(run, _category_models(rows), tones),
        calibration=closer.calibration_plot(run, tones),
        extremes=ends,
        defects=closer.defects(run, workspace.root),
        gain_rows=results.gain_rows(run),
        funnel=funnel(workspace),
        audit=run.info["audit"],
        model=model,
        exhibits=clips,
        any_frames=any(clip.frames for clip in clips),
        exhibits_note=clips_note,
    )


@dataclass(frozen=True, kw_only=True)
class World:
    """The differences of one run: its name, its sentences, a plot of them."""

    label: str
    simulated: bool
    run_id: str
    comparisons: list[Comparison] = field(default_factory=list)
    plots: list[Markup] = field(default_factory=list)


def _worlds(run: RunData, extra: Sequence[RunData], model: str | None) -> list[World]:
    """The run and the extra ones, each with the differences of `model` to the other trained models."""
    worlds = []
    for each in (run, *extra):
        pairs = [pair for pair in results.comparisons(each) if model in (pair.a, pair.b)]
        pairs = [pair if pair.a == model else pair.flipped() for pair in pairs]
        worlds.append(
            World(
                label=each.label,
                simulated=bool(each.info["simulated"]),
                run_id=each.info["run_id"],
                comparisons=pairs,
                plots=[_difference_plot(pair) for pair in pairs],
            )
        )
    return worlds


def _difference_plot(pair: Comparison) -> Markup:
    dots = [
        Dot(
            label=d.set,
            value=d.value.value,
            low=d.value.low,
            high=d.value.high,
            tone="plain" if not d.is_established else "good" if d.value.value > 0 else "bad",
            hollow=not d.is_established,
            note=d.verdict,
        )
        for d in pair.differences
    ]
    return interval_plot(
        dots,
        title=f"{pair.a} minus {pair.b}, R@1",
        domain=(-0.25, 1.0) if all(_lowest(dot) > -0.25 for dot in dots) else (-1.0, 1.0),
        reference=0.0,
        reference_label="no difference",
        signed=True,
    )


def _lowest(dot: Dot) -> float:
    return dot.value if dot.low is None else dot.low


def _recall_plot(run: RunData, rows: Sequence[Row], tones: dict[str, str], name: str) -> tuple[str, Markup]:
    """R@1 of models and scorers on one set against chance."""
    dots = [
        Dot(
            label=row.name,
            value=cell.value,
            low=cell.low,
            high=cell.high,
            tone=tones[row.name],
            hollow=row.text_only,
            note="text-only" if row.text_only else "",
        )
        for row in rows
        if row.kind in ("model", "bound", "scorer") and (cell := row.cells.get((name, "R@1"))) is not None
    ]
    chart = interval_plot(
        dots,
        title=f"R@1 on {name} with 95 % intervals, against chance",
        domain=(0.0, 1.0),
        reference=results.chance(run, name)[0],
        reference_label="chance",
    )
    return name, chart


def _category_models(rows: Sequence[Row]) -> list[Row]:
    """The trained models, then the best simple scorer, MAX_BARS in all."""
    ranked = [row for row in rows if not row.skipped and row.cells]
    models = [row for row in ranked if row.kind == "model"][: MAX_BARS - 1]
    return models + [row for row in ranked if row.kind == "scorer"][: max(1, MAX_BARS - len(models))][:1]


def _category_plots(run: RunData, rows: Sequence[Row], tones: dict[str, str]) -> list[tuple[str, Markup]]:
    """R@1 by category, one chart a set."""
    shown = _category_models(rows)
    figures = {(row["model"], row["set"], row["category"]): row for row in run.metrics["per_category"]}
    plots = []
    for name in run.sets:
        categories = sorted({category for _, set_name, category in figures if set_name == name})
        groups = []
        for category in categories:
            found = [(row, figures.get((row.name, name, category))) for row in shown]
            bars = [
                Bar(name=row.name, value=figure["R@1"], tone=tones[row.name])
                for row, figure in found
                if figure is not None and figure["R@1"] is not None
            ]
            num_clips = next((figure["num_clips"] for _, figure in found if figure is not None), 0)
            if bars:
                groups.append((category, f"{num_clips:,} clip{'' if num_clips == 1 else 's'}", bars))
        if groups:
            chart = grouped_bars(
                groups,
                title=f"R@1 by category on {name}",
                maximum=1.0,
                reference=results.chance(run, name)[0],
                reference_label="chance",
            )
            plots.append((name, chart))
    return plots


def _tones(rows: Sequence[Row]) -> dict[str, str]:
    """A colour class for each model; scorers share the plain one."""
    models = [row.name for row in rows if row.kind == "model"]
    tones = {name: f"m{index + 1}" for index, name in enumerate(models[:MAX_TONES])}
    return {row.name: tones.get(row.name, "plain") for row in rows}


def _facts(run: RunData, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The figures under the heading."""
    info = run.info
    clips = results.num_of(run)
    if len(set(clips.values())) == 1 and len(clips) > 1:
        in_words = f"{next(iter(clips.values())):,} in each of {len(clips)} sets"
    else:
        in_words = ", ".join(f"{name} {num:,}" for name, num in clips.items()) or "none"
    ranked = [row for row in rows if not row.skipped]
    models, scorers = (sum(row.kind == kind for row in ranked) for kind in ("model", "scorer"))
    return [
        ("protocol", f"{info['protocol']}, version {info['version']}"),
        ("clips ranked", in_words),
        ("clusters", f"{info['num_clusters']:,} ({_unit(run)}s)"),
        ("ranked", f"{models} trained models, {scorers} simple scorers"),
        ("data digest", info["data_digest"][:16]),
        ("tool", f"videochat {info['tool']}"),
    ]


def _unit(run: RunData) -> str:
    """What a cluster is: `Dataset.clusters` takes channels unless the splits were made by recording."""
    return "recording" if run.info["split_by"] == "recording" else "channel"


def _clips(run: RunData, workspace: Workspace, model: str | None, num_clips: int) -> tuple[list[Exhibit], str]:
    """The exhibits, and why there are none."""
    if num_clips < 1:
        return [], "No clips were asked for."
    if model is None:
        return [], "No model of this run has scores."
    try:
        return exhibits(run, clip_source(run, workspace), workspace, model, num_clips=num_clips), ""
    except VideochatError as error:
        return [], f"No clips are shown: {error.what}."


def _ends(
    run: RunData, workspace: Workspace, model: str | None, num_clips: int
) -> tuple[list[closer.Extreme], list[closer.Extreme]]:
    """Best and worst clips; none where no clips are shown."""
    if model is None or num_clips < 1:
        return [], []
    try:
        return closer.extremes(run, clip_source(run, workspace), model)
    except VideochatError:
        return [], []


def _resource(name: str) -> str:
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
