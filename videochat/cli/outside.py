"""`export-candidates`, `read-samples`, `submit-check`: what is ranked goes out to anyone's code, scores come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..dataset import Dataset
from ..errors import UsageError
from ..workspace import Workspace
from . import released
from .options import data_option, emit, example, json_option, protocol_option

if TYPE_CHECKING:
    from ..benchmark.candidates.sets import CandidateSets

FORMATS = ("jsonl", "lmms-eval", "lm-eval")


def opened_sets(data: Path, protocol: str | None) -> tuple[Workspace, Dataset, CandidateSets]:
    """The frozen sets that are there. Raises MissingInput, with the line that makes them."""
    from videochat.benchmark.candidates.build import load_candidates

    workspace = Workspace.open(data)
    dataset = Dataset.open(workspace.root)
    if (protocol or workspace.settings.protocol) == released.NAME:
        raise UsageError(f"the lists of {released.NAME} are not handed out", fix="--protocol v1, or another")
    return workspace, dataset, load_candidates(workspace, dataset, protocol or workspace.settings.protocol)


@click.command("export-candidates")
@data_option
@protocol_option
@click.option("--set", "names", multiple=True, metavar="NAME", help="A set, such as random10.  [default: all]")
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["dev", "test"]),
    help="A split; test alone is ranked by a model's own score.  [default: both]",
)
@click.option(
    "--frames",
    type=click.Choice(["reference", "npy", "jpg", "none"]),
    default="reference",
    show_default=True,
    help="Frames: the shard that holds their CLIP vectors, the vectors as files, or pictures of the raw videos.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="jsonl",
    show_default=True,
    help="JSON lines, or beside them the tasks of lmms-eval or lm-evaluation-harness.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@json_option
@example(
    "videochat export-candidates --out handout\n"
    "videochat export-candidates --set random10 --frames jpg --format lmms-eval --out handout"
)
def export_candidates(
    data: Path,
    protocol: str | None,
    names: tuple[str, ...],
    splits: tuple[str, ...],
    frames: Any,
    form: str,
    out: Path,
    as_json: bool,
) -> int:
    """Write the frozen candidates for other people's code.

    A line a clip: what a model may see of it, and the candidates with their ids, without the truth. Scores come back
    with `videochat bench --scores`; logged samples of the harnesses become a scores file by `videochat read-samples`.
    """
    from videochat.benchmark.outside.handout import hand_out
    from videochat.benchmark.outside.harness import hand_to_harness

    workspace, dataset, sets = opened_sets(data, protocol)
    manifest = hand_out(
        workspace,
        dataset,
        sets,
        out,
        names=names,
        splits=splits or ("dev", "test"),
        frames=frames,
        seed=workspace.settings.seed,
    )
    lines = [
        f"{name:<14} {split:<5} {count:>7,} clips, {manifest['k'][name]} candidates each"
        for name, counts in manifest["num_clips"].items()
        for split, count in counts.items()
    ]
    tasks = [] if form == "jsonl" else hand_to_harness(out, out / form, form, seed=workspace.settings.seed)
    lines += [f"task {task}" for task in tasks]
    emit(manifest | {"tasks": tasks}, as_json, "\n".join([*lines, f"written to {out}"]))
    return 0


@click.command("read-samples")
@click.argument("samples", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--tasks", type=click.Path(path_type=Path), required=True, help="The folder of the tasks, handout/lmms-eval."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The scores file to write (.jsonl).")
@json_option
@example("videochat read-samples out/*_samples_videochat_*_choice.jsonl --tasks handout/lmms-eval --out mine.jsonl")
def read_samples(samples: tuple[Path, ...], tasks: Path, out: Path, as_json: bool) -> int:
    """Make a scores file of what lmms-eval or lm-evaluation-harness logged.

    SAMPLES are the files that --log_samples wrote for tasks of `export-candidates`, all sets and splits of one model.
    """
    from videochat.benchmark.outside import harness

    if out.suffix != ".jsonl":
        raise UsageError(f"{out} is no name for JSON lines", fix="--out my-model.jsonl")
    found = harness.read_samples(samples, tasks)
    harness.write_scores_file(found, out)
    value = {"scores": str(out), "clips": len(found.rows), "notes": found.notes, "declared": found.declared}
    emit(value, as_json, "\n".join([*found.notes, f"{len(found.rows):,} rows written to {out}"]))
    return 0


@click.command("submit-check")
@data_option
@protocol_option
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@example("videochat submit-check submission.toml\nvideochat submit-check my-model.parquet")
def submit_check(data: Path, protocol: str | None, file: Path, as_json: bool) -> int:
    """Say all that would make a submission be refused.

    FILE is a submission.toml (or .json) beside its scores file, or a scores file alone. Every problem is a line, and
    the exit code 1; without one the signature lines and the metrics are printed. No model is run.
    """
    from videochat.benchmark.outside.submit_check import check_submission, describe

    _, _, sets = opened_sets(data, protocol)
    found = check_submission(file, sets, taken=api.catalog())
    emit(found.to_json(), as_json, describe(found))
    return 1 if found.problems else 0
