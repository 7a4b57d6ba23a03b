"""`candidates`, `train`, `bench` and `report`: from shards to a table that a stranger can trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..commenter import lacking
from ..dataset import Dataset
from ..errors import Mismatch, MissingInput, UsageError
from ..workspace import Workspace
from . import released
from .inspect import latest_run, resolved
from .options import (
    F,
    data_option,
    device_option,
    dry_run_option,
    emit,
    emit_plan,
    example,
    json_option,
    protocol_option,
)

if TYPE_CHECKING:
    from ..benchmark.candidates.sets import CandidateSets


class _Models(click.Option):
    """--model whose help lists the registry (`train`: what can be trained), which is loaded only for that help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        trains = ctx.info_name == "train"
        names = [name for name, entry in api.catalog().items() if entry.train or not trains]
        return record and (record[0], f"{record[1]}  [{', '.join(names)}, or path/to/file.py:MyModel]")


def model_option(help_text: str) -> Callable[[F], F]:
    return click.option("--model", "models", cls=_Models, multiple=True, help=help_text)


limit_clips_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Take N clips of each split, for a try."
)
seed_option = click.option("--seed", type=int, metavar="N", help="Seed of the training.  [default: the workspace's]")
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the training, such as epochs=30 or size=small.",
)


def _opened(data: Path) -> tuple[Workspace, Dataset]:
    workspace = Workspace.open(data)
    return workspace, Dataset.open(workspace.root)


def _options(settings: tuple[str, ...], seed: int | None) -> dict[str, Any]:
    """NAME=VALUE pairs; values are JSON where they parse as such, else text."""
    options: dict[str, Any] = {} if seed is None else {"seed": seed}
    for pair in settings:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} has no '='", fix="write --set epochs=5")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


@click.command()
@data_option
@protocol_option
@click.option(
    "--k",
    "sizes",
    type=click.IntRange(min=2),
    metavar="N",
    multiple=True,
    help="Candidates a clip; may be given several times.  [default: the protocol's, 10 for v1, its headline]",
)
@click.option(
    "--from",
    "frozen",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Frozen sets of an earlier version of this data: keep all groups that a takedown did not touch.",
)
@click.option("--limit", type=click.IntRange(min=1), hidden=True)
@dry_run_option
@json_option
@example(
    "videochat candidates --protocol v1\nvideochat candidates --k 10 --k 100\nvideochat candidates --protocol my.toml\n"
    "videochat candidates --from published/candidates/v1"
)
def candidates(
    data: Path,
    protocol: str | None,
    sizes: tuple[int, ...],
    frozen: Path | None,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Build frozen candidate sets for a protocol.

    Three sets of each size: random, cosine and popularity. They are hashed and shuffled, and carry the digest of their
    shards. From K = 100 on, v1 makes its groups of the recordings of a category, and the sets say so.

    A protocol of your own is a TOML or JSON file (--protocol my.toml): several truths a clip, negatives of the
    recording, the category or the split, similar by TF-IDF, CLIP or a sentence encoder. docs/protocols.md has its
    fields.
    """
    from videochat.benchmark.candidates.build import build_candidates, describe, plan_candidates
    from videochat.benchmark.protocol_files import resolve

    workspace, dataset = _opened(data)
    protocol = protocol or workspace.settings.protocol
    if limit is not None:
        raise UsageError("candidate sets are made whole or not at all", fix="pass --limit to `videochat bench`")
    if frozen is not None:
        from videochat.benchmark.candidates.takedown import succeed

        if sizes or dry_run:
            raise UsageError("--from takes frozen sets as they are", fix="leave --k and --dry-run out")
        with workspace.lock():
            sets = succeed(workspace, dataset, frozen)
        emit(sets.manifest, as_json, describe(sets))
        return 0
    if protocol == released.NAME:
        return released.candidates_released(workspace, dataset, sizes=sizes, dry_run=dry_run, as_json=as_json)
    declared = resolve(protocol, workspace)
    sizes = declared.sizes(sizes or None)
    if dry_run:
        emit_plan("candidates", plan_candidates(dataset, sizes), as_json)
        return 0
    with workspace.lock():
        sets = build_candidates(workspace, dataset, declared, k=sizes)
    emit(sets.manifest, as_json, describe(sets))
    return 0


@click.command()
@data_option
@model_option("The model to train; may be given several times.  [default: sfat]")
@device_option
@seed_option
@set_option
@limit_clips_option
@dry_run_option
@json_option
@example("videochat train --model sfat\nvideochat train --model sfat --seed 1 --set epochs=30")
def train(
    data: Path,
    models: tuple[str, ...],
    device: str,
    seed: int | None,
    settings: tuple[str, ...],
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Train a model on the train split.

    Selection uses the dev split alone. Killed and run again, training goes on from its last epoch.
    """
    workspace, dataset = _opened(data)
    names = tuple(dict.fromkeys(models)) or ("sfat",)
    for name in names:
        api.trained_entry(name)  # an unknown name is said before any work
    api.pick_device(device)
    options = _options(settings, seed) | ({} if limit is None else {"limit": limit})
    for name in names:  # and so is an option that one of them does not know, or what it reads and the data lack
        entry = api.entry_of(name)
        context = api.context_of(entry.name, workspace, dataset, device=device, options=options)
        if missing := api.needs_of_training(name, context) - dataset.provides:
            raise lacking(name, missing)
    rows = {row["split"]: row for row in dataset.manifest["per_split"]}
    if dry_run:
        plan = {
            "models": ", ".join(names),
            "train_clips": rows.get("train", {}).get("clips", 0),
            "dev_clips": rows.get("dev", {}).get("clips", 0),
            "train_responses": rows.get("train", {}).get("responses", 0),
            "hours": rows.get("train", {}).get("hours", 0.0),
        }
        emit_plan("train", plan, as_json)
        return 0
    with workspace.lock():
        folders = [api.train_model(name, workspace, dataset, device=device, options=options) for name in names]
    emit(
        [str(folder) for folder in folders],
        as_json,
        "\n".join(f"trained {name}: {folder}" for name, folder in zip(names, folders, strict=True)),
    )
    return 0


@click.command()
@data_option
@model_option("A model or scorer to rank; may be given several times.  [default: sfat]")
@protocol_option
@device_option
@click.option(
    "--scores",
    "score_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A scores file (.parquet, .csv, .jsonl) or a submission.toml of a model that ran elsewhere; several times.",
)
@click.option("--name", "score_names", multiple=True, help="Its name in the table, one for each --scores.")
@click.option("--train", "train_first", is_flag=True, help="Train models that have no checkpoint.")
@click.option("--wide", is_flag=True, help="Print all metrics, rules, ties, correlations and letters, too.")
@click.option("--allow-failed-audit", is_flag=True, help="Rank although the audit failed; the table says so.")
@click.option("--no-report", is_flag=True, help="Do not write report.html.")
@seed_option
@limit_clips_option
@dry_run_option
@json_option
@example(
    "videochat bench --model sfat\nvideochat bench --model sfat --model sfat-mean --train\n"
    "videochat bench --scores my-model.parquet --name my-model"
)
def bench(
    data: Path,
    models: tuple[str, ...],
    protocol: str | None,
    device: str,
    score_files: tuple[Path, ...],
    score_names: tuple[str, ...],
    train_first: bool,
    wide: bool,
    allow_failed_audit: bool,
    no_report: bool,
    seed: int | None,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Rank models and scorers on the candidate sets.

    The golden scorers and the shortcut panel run with every benchmark; a set that one of them can win fails its audit.
    """
    from videochat.benchmark.report import write_report

    workspace, dataset = _opened(data)
    names = tuple(dict.fromkeys(models)) or (() if score_files else ("sfat",))
    scores = named_scores(score_files, score_names)
    for name in names:
        api.entry_of(name)  # an unknown name is said before any work
    api.pick_device(device)
    protocol = protocol or workspace.settings.protocol
    if protocol == released.NAME:
        return released.bench_released(
            workspace,
            dataset,
            names,
            device=device,
            train=train_first,
            options=_options((), seed),
            limit=limit,
            wide=wide,
            score_files=score_files,
            dry_run=dry_run,
            as_json=as_json,
        )
    if dry_run:
        sets = _planned_sets(workspace, dataset, protocol)
        sets = sets if limit is None else sets.first(limit)
        pairs = {split: sets.clip_union(split).values() for split in ("dev", "test")}
        plan = {f"{split}_clips": len(unions) for split, unions in pairs.items()}
        plan |= {f"{split}_candidates": sum(map(len, unions)) for split, unions in pairs.items()}
        emit_plan("bench", {"models": ", ".join([*names, *scores])} | plan, as_json)
        return 0
    with workspace.lock():
        sets = api.candidates(dataset, protocol)
        scorers = [name for name in api.SCORERS if name not in names]
        run = api.evaluate(
            [*names, *scorers],
            dataset,
            sets,
            scores=scores,
            device=device,
            train=train_first,
            options=_options((), seed),
            limit=limit,
            allow_failed_audit=allow_failed_audit,
        )
        report_path = None if no_report else write_report(run, workspace)
    text = run.table(wide=wide)
    text += f"\n\nrun     {run.path}" + (f"\nreport  {report_path}" if report_path else "")
    report = None if report_path is None else str(report_path)
    emit({"run": str(run.path), "report": report, "metrics": run.results}, as_json, text)
    return 0


def named_scores(files: tuple[Path, ...], names: tuple[str, ...]) -> dict[str, Path]:
    """name -> scores file. Without names: a submission's own, else the stem of the file."""
    from videochat.benchmark.outside.score_entrant import check_name
    from videochat.benchmark.outside.submission import Submission, is_submission

    if names and len(names) != len(files):
        raise UsageError(f"{len(names)} --name for {len(files)} --scores", fix="give one for each, or none")
    found: dict[str, Path] = {}
    for index, path in enumerate(files):
        own = Submission.read(path).name if is_submission(path) and not names else path.stem
        name = check_name(names[index] if names else own)
        if name in found:
            raise UsageError(f"two scores files bear the name {name!r}", fix="pass --name for each")
        found[name] = path
    return found


def _planned_sets(workspace: Workspace, dataset: Dataset, protocol: str) -> CandidateSets:
    """The candidate sets that `bench` would rank; those that are not there yet are made in memory alone."""
    from videochat.benchmark.candidates.build import assemble, load_candidates
    from videochat.benchmark.protocol_files import resolve

    try:
        return load_candidates(workspace, dataset, protocol)
    except (MissingInput, Mismatch):
        return assemble(workspace, dataset, resolve(protocol, workspace))


@click.command()
@data_option
@click.option(
    "--run", "run_path", type=click.Path(path_type=Path), help="A run, by folder or id.  [default: the latest]"
)
@click.option("--clips", type=click.IntRange(min=0), metavar="N", default=6, show_default=True, help="Clips to show.")
@json_option
@example("videochat report --clips 8")
def report(data: Path, run_path: Path | None, clips: int, as_json: bool) -> int:
    """Write the HTML report of a run.

    One file that needs no network: the table, bars per category, the funnel, and clips with their frames.
    """
    from videochat.benchmark.report import write_report
    from videochat.benchmark.runs.run import Run

    workspace = Workspace.open(data)
    run = Run.open(resolved(data, run_path) if run_path else latest_run(workspace))
    path = write_report(run, workspace, num_clips=clips)
    emit({"report": str(path)}, as_json, f"report  {path}")
    return 0
