"""`experiment`: the paper's questions, asked of this workspace's data."""

from __future__ import annotations

from pathlib import Path

import click

from .bench import _opened, _options, set_option
from .options import data_option, device_option, dry_run_option, emit, emit_plan, example, json_option


@click.command()
@click.argument("name", required=False)
@data_option
@click.option(
    "--seeds", "num_seeds", type=click.IntRange(min=1), metavar="N", default=3, show_default=True, help="How many."
)
@device_option
@set_option
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Trainings at a time.  [default: all cores]")
@click.option(
    "--world-recordings",
    type=click.IntRange(min=12),
    metavar="N",
    default=60,
    show_default=True,
    help="Recordings of each simulated world (reference-rate).",
)
@dry_run_option
@json_option
@example("videochat experiment\nvideochat experiment pooling\nvideochat experiment temperature --seeds 5")
def experiment(
    name: str | None,
    data: Path,
    num_seeds: int,
    device: str,
    settings: tuple[str, ...],
    workers: int | None,
    world_recordings: int,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Ask one of the paper's questions of the data.

    Trains the variants of pooling, temperature, attention-order, context-size, audio, knowledge, released
    or reference-rate, ranks them, and says what the numbers allow: several seeds, paired intervals over clusters and
    seeds, one page with plots in the workspace under experiments/. Without a name the questions are listed. Killed and
    run again, it goes on.
    """
    from videochat.benchmark.experiments.conclude import to_text
    from videochat.benchmark.experiments.declared import EXPERIMENTS

    if name is None:
        rows = {each.name: each.question for each in EXPERIMENTS.values()}
        width = max(map(len, rows))
        emit(rows, as_json, "\n".join(f"{key.ljust(width)}  {value}" for key, value in rows.items()))
        return 0
    declared = EXPERIMENTS[name]
    workspace, dataset = _opened(data)
    options = _options(settings, None)
    if dry_run:
        from ..experiment import check_needs, check_options

        check_options(declared, options)
        if all(variant.world is None for variant in declared.variants):
            check_needs(declared, dataset)
        shown = {
            variant.label: " ".join([variant.model, *(f"{key}={value}" for key, value in variant.options.items())])
            for variant in declared.variants
        }
        emit_plan(f"experiment {name}", {**shown, "trainings": num_seeds * len(shown)}, as_json)
        return 0
    from ..experiment import run_experiment

    with workspace.lock():
        folder, result = run_experiment(
            workspace,
            name,
            num_seeds=num_seeds,
            device=device,
            options=options,
            num_workers=workers,
            world_recordings=world_recordings,
        )
    page = folder / "experiment.html"
    emit({"page": str(page), **result}, as_json, f"{to_text(result)}\n\npage    {page}")
    return 0
