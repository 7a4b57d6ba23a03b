"""`compare`, `export`, `rescore` and `leaderboard`: runs beside each other, in other forms, and as a site."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from ..dataset import Dataset
from ..errors import UsageError
from ..files import write_text
from ..workspace import Workspace
from .inspect import latest_run, resolved
from .options import data_option, emit, example, json_option

FORMATS = ("latex", "markdown", "trec", "csv", "json")
run_path = click.Path(path_type=Path)


@click.command()
@data_option
@click.argument("runs", nargs=-1, type=run_path)
@click.option("--model", "models", multiple=True, help="A model or scorer to compare.  [default: every model]")
@click.option("--all-pairs", is_flag=True, help="Every model with every model of another run, not only its namesake.")
@click.option("--intersection", is_flag=True, help="Compare on the items that all runs share, if they ranked others.")
@click.option("--wide", is_flag=True, help="Print R@1, too.")
@json_option
@example("videochat compare v1-sfat-1f0c9a2b v1-sfat-77aa01cd\nvideochat compare runs/A other/runs/B --all-pairs")
def compare(
    data: Path,
    runs: tuple[Path, ...],
    models: tuple[str, ...],
    all_pairs: bool,
    intersection: bool,
    wide: bool,
    as_json: bool,
) -> int:
    """Show how the models of two or more runs differ, paired by clip.

    RUNS are run folders, or ids of runs of the workspace. They must have ranked the same candidates. Each difference
    has an interval over whole clusters and a p, adjusted for all differences shown (Holm).
    """
    from videochat.benchmark.runs.compare import compare as compare_runs
    from videochat.benchmark.runs.compare import describe
    from videochat.benchmark.runs.run import Run

    if len(runs) < 2:
        raise UsageError(f"{len(runs)} runs to compare", fix="name two or more run folders or ids")
    opened = [Run.open(resolved(data, run)) for run in runs]
    found = compare_runs(opened, models=models, all_pairs=all_pairs, intersection=intersection)
    emit(found.to_json(), as_json, describe(found, wide=wide))
    return 0


@click.command()
@data_option
@click.argument("run", required=False, type=run_path)
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True, help="The form.")
@click.option("--out", type=click.Path(path_type=Path), help="A file to write (trec: a folder).  [default: stdout]")
@example("videochat export --format latex --out table.tex\nvideochat export v1-sfat-1f0c9a2b --format trec --out trec")
def export(data: Path, run: Path | None, form: str, out: Path | None) -> int:
    """Write a run as LaTeX, Markdown, TREC, CSV or JSON.

    RUN is a run folder or an id of a run of the workspace, by default the latest. latex needs booktabs alone.
    """
    from videochat.benchmark.runs.exports import EXPORTS, write_files
    from videochat.benchmark.runs.run import Run

    opened = Run.open(resolved(data, run) if run else latest_run(Workspace.open(data)))
    made = EXPORTS[form]
    if made.text is None:
        if out is None:
            raise UsageError(f"{form} is a folder of files", fix="pass --out FOLDER")
        for path in write_files(opened, made, out):
            click.echo(path)
        return 0
    text = made.text(opened)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(out)
    return 0


@click.command()
@data_option
@click.argument("run", required=False, type=run_path)
@click.option("--current", is_flag=True, help="Only on items that the workspace's candidate sets still hold.")
@json_option
@example("videochat rescore v1-sfat-1f0c9a2b\nvideochat rescore v1-sfat-1f0c9a2b --current")
def rescore(data: Path, run: Path | None, current: bool, as_json: bool) -> int:
    """Compute a run's figures again from its scores.

    RUN is a run folder or an id of a run of the workspace, by default the latest. --current makes a run of its own,
    on the groups of which every clip is still in the candidate sets: what is left after a takedown.
    """
    from videochat.benchmark.candidates.build import load_candidates
    from videochat.benchmark.runs.run import Run
    from videochat.benchmark.runs.run import rescore as rescore_run

    path = resolved(data, run) if run else latest_run(Workspace.open(data))
    only = None
    if current:
        workspace = Workspace.open(data)
        sets = load_candidates(workspace, Dataset.open(workspace.root), Run.open(path).info["protocol"])
        only = {clip_id for part in sets.values() for clip_id in part.clip_ids.tolist()}
    inside = path.resolve().parent == (data / "runs").resolve()
    with Workspace.open(data).lock() if inside else nullcontext():
        found = rescore_run(path, only=only)
    emit({"run": str(found.path), "metrics": found.results}, as_json, f"{found.table()}\nrun     {found.path}")
    return 0


@click.command()
@data_option
@click.argument("runs", nargs=-1, type=run_path)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder of the site.")
@click.option("--title", default="Leaderboard", show_default=True, help="Its heading.")
@click.option("--no-reports", is_flag=True, help="Leave the runs' report.html out, which shows chat and pictures.")
@click.option("--no-check", is_flag=True, help="Take metrics.json as it is, not made again from the scores.")
@json_option
@example("videochat leaderboard --out site\nvideochat leaderboard lab-a/runs lab-b/runs/v1-mine-77aa01cd --out site")
def leaderboard(
    data: Path, runs: tuple[Path, ...], out: Path, title: str, no_reports: bool, no_check: bool, as_json: bool
) -> int:
    """Write a static site with the tables of many runs.

    RUNS are run folders, folders that hold them, or ids of runs of the workspace; by default all of the workspace. One
    table for each protocol and data; it opens from disk and fetches nothing. Submissions come in by `bench --scores`.
    """
    from videochat.benchmark.leaderboard import build_site
    from videochat.benchmark.runs.run import Run

    folders = [folder for run in runs or (data / "runs",) for folder in run_folders(data, run)]
    boards = build_site(
        [Run.open(folder) for folder in folders], out, title=title, reports=not no_reports, check=not no_check
    )
    value = {
        "site": str(out / "index.html"),
        "boards": [
            {"slug": board.slug, "protocol": board.protocol, "data_digest": board.data_digest}
            | {"simulated": board.simulated, "runs": [run.run_id for run in board.runs]}
            | {"entrants": [row.name for row in board.entrants]}
            for board in boards
        ],
    }
    lines = [
        f"{board.slug}  {len(board.runs)} runs, {len(board.entrants)} models and scorers"
        f"{', simulated data' if board.simulated else ''}"
        for board in boards
    ]
    emit(value, as_json, "\n".join([*lines, f"site  {out / 'index.html'}"]))
    return 0


def run_folders(data: Path, run: Path) -> list[Path]:
    """The run folder that is meant, or those inside of the folder."""
    path = resolved(data, run)
    inside = sorted(each.parent for each in path.glob("*/run.json") if not each.parent.name.startswith("."))
    return [path] if (path / "run.json").is_file() or not inside else inside
