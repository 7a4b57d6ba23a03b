"""`demo`: the whole chain on simulated data."""

from __future__ import annotations

from pathlib import Path

import click

from .options import dry_run_option, emit, emit_plan, example, json_option


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default="videochat-demo",
    show_default=True,
    help="A folder for the two workspaces, screen and unrelated.",
)
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Of the world and of the training.")
@click.option(
    "--limit", type=click.IntRange(min=5), metavar="N", help="Simulate N recordings instead of 60, for a try."
)
@dry_run_option
@json_option
@example("videochat demo\nvideochat demo --seed 1 --data demo-seed1")
def demo(data: Path, seed: int, limit: int | None, dry_run: bool, as_json: bool) -> int:
    """Run the whole chain on simulated data.

    Simulate, clean, embed, build, draw candidates, train SFAT and its variants, rank, report: about five minutes on
    two cores. Called again, it resumes; with equal seed it prints equal tables.
    """
    from ..demo import DemoSize, run_demo

    size = DemoSize() if limit is None else DemoSize(num_recordings=limit)
    if dry_run:
        from ..sample.generate import plan

        emit_plan("demo", plan(num_recordings=size.num_recordings, minutes=size.minutes), as_json)
        return 0
    run, control = run_demo(data, seed=seed, size=size)
    text = "\n".join(
        [
            "World 'screen': the chat refers to what is shown.",
            run.table(),
            "",
            "World 'unrelated': the same videos, but the chat does not refer to them; frames must not help here.",
            control.table(),
            "",
            f"report  {run.path / 'report.html'}",
        ]
    )
    emit({"screen": run.results, "unrelated": control.results}, as_json, text)
    return 0
