"""`zoo`: all models of the registry, trained and ranked."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import BadRecording, UsageError
from .bench import _opened, _options, limit_clips_option, model_option, set_option
from .options import data_option, device_option, dry_run_option, emit, emit_plan, example, json_option, protocol_option


@click.command()
@data_option
@model_option("A model or scorer; may be given several times.  [default: all]")
@click.option(
    "--seeds",
    "num_seeds",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Train each model N times, with the workspace's seed and the next ones.",
)
@protocol_option
@device_option
@set_option
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Trainings at a time.  [default: all cores]")
@click.option("--wide", is_flag=True, help="Print R@2, R@5 and MR, too.")
@limit_clips_option
@click.option("--no-report", is_flag=True, help="Do not write report.html.")
@dry_run_option
@json_option
@example("videochat zoo\nvideochat zoo --seeds 3\nvideochat zoo --set size=tiny")
def zoo(
    data: Path,
    models: tuple[str, ...],
    num_seeds: int,
    protocol: str | None,
    device: str,
    settings: tuple[str, ...],
    workers: int | None,
    wide: bool,
    limit: int | None,
    no_report: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Train and rank all models.

    Trains what has no current checkpoint, one process with one thread for each core, and ranks all of them beside the
    scorers. A model that the data cannot feed is left out, with the reason. With several seeds the table shows means
    over them; intervals then come from channels and seeds. Killed and run again, it goes on.
    """
    from ..zoo import plan, run_zoo

    workspace, dataset = _opened(data)
    options = _options(settings, None)
    if "seed" in options:
        raise UsageError("--set seed= trains one model", fix="pass --seeds N, or `videochat train --seed`")
    if dry_run:
        jobs, left_out = plan(workspace, dataset, models=models, num_seeds=num_seeds, device=device, options=options)
        shown = {
            f"train {job.name}, seed {job.seed}": " ".join(f"{k}={v}" for k, v in job.options.items()) for job in jobs
        }
        shown |= {f"skip {o.name}, seed {o.seed}": o.reason for o in left_out}
        emit_plan("zoo", shown, as_json)
        return 0
    with workspace.lock():
        result = run_zoo(
            workspace,
            models=models,
            num_seeds=num_seeds,
            device=device,
            options=options,
            protocol=protocol,
            num_workers=workers,
            limit=limit,
        )
        report = None
        if not no_report:
            from videochat.benchmark.report import write_report

            report = str(write_report(result.runs[0], workspace, extra_runs=result.runs[1:]))
    text = result.table(wide=wide) + "".join(f"\nrun     {run.path}" for run in result.runs)
    value = {
        "trainings": [
            {"model": o.name, "seed": o.seed, "status": o.status, "reason": o.reason, "options": dict(o.options)}
            | {"cpu_seconds": round(o.cpu_seconds, 1), "wall_seconds": round(o.wall_seconds, 1)}
            for o in result.outcomes
        ],
        "runs": [str(run.path) for run in result.runs],
        "report": report,
        "metrics": result.runs[0].results,
        "averages": result.averages,
    }
    emit(value, as_json, text + (f"\nreport  {report}" if report else ""))
    return BadRecording.exit_code if result.failed else 0
