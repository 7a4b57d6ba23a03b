"""`validate` and `status`: what is in a workspace and whether it can be trusted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from ..dataset import REBUILD
from ..errors import MissingInput
from ..files import read_json
from ..workspace import Workspace
from .options import data_option, emit, example, human_bytes, json_option

SHOWN = ("num_clips", "num_comments", "hours", "digest", "files")  # of dataset.json
STEPS = ("sample", "import", "crawl", "clean", "build-features", "transcribe")


@click.command()
@data_option
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@json_option
@example("videochat validate\nvideochat validate downloaded-dataset/")
def validate(data: Path, folder: Path | None, as_json: bool) -> int:
    """Check shards and candidate sets against their schema.

    FOLDER may be any folder with a dataset.json; without it the workspace is checked, candidate sets included. Exits
    with 1 if a check fails.
    """
    from videochat.benchmark.audits.validation import validate_candidates

    from ..validate import as_rows, findings_table, validate_shards

    findings = validate_shards(folder or data)
    if folder is None:
        findings += validate_candidates(Workspace.open(data))
    emit(as_rows(findings), as_json, findings_table(findings))
    return 0 if all(finding.ok for finding in findings) else 1


@click.command()
@data_option
@click.option("--ledger", is_flag=True, help="Print every attempt of the ledger.")
@json_option
@example("videochat status\nvideochat status --ledger --json")
def status(data: Path, ledger: bool, as_json: bool) -> int:
    """Show counts, hours and the ledger."""
    workspace = Workspace.open(data)
    value = workspace_status(workspace)
    if ledger:
        value["ledger"] = [
            {"step": a.step, "recording_id": a.recording_id, "status": a.status, "error_class": a.error_class}
            | {"reason": a.reason, "seconds": a.seconds, "at": a.at, "version": a.version}
            for a in workspace.ledger
        ]
    emit(value, as_json, _status_text(value))
    return 0


def workspace_status(workspace: Workspace) -> dict[str, Any]:
    """Counts and hours of what is there, and the last attempt of each recording at each step."""
    recordings = workspace.recordings()
    hours: Counter[str] = Counter()
    for recording in recordings:
        hours[recording.category] += recording.duration_ms
    value: dict[str, Any] = {
        "workspace": str(workspace.root),
        "clip": workspace.settings.clip,
        "seed": workspace.settings.seed,
        "recordings": len(recordings),
        "simulated": sum(recording.simulated for recording in recordings),
        "with_video": sum(recording.video is not None for recording in recordings),
        "channels": len({recording.channel_key for recording in recordings}),
        "messages": sum(recording.num_messages for recording in recordings),
        "hours": round(sum(hours.values()) / 3_600_000, 3),
        "hours_per_category": {name: round(ms / 3_600_000, 3) for name, ms in sorted(hours.items())},
        "steps": {},
    }
    for step in STEPS:
        latest = workspace.ledger.latest(step)
        if latest:
            counts = Counter(attempt.status for attempt in latest.values())
            failed = Counter(str(attempt.error_class) for attempt in latest.values() if attempt.status == "failed")
            value["steps"][step] = dict(counts) | {"failed_by_class": dict(failed)}
    try:
        manifest = read_json(workspace.shards_dir / "dataset.json", needs=SHOWN, fix=REBUILD)
        value["dataset"] = {name: manifest[name] for name in SHOWN if name != "files"}
        value["dataset"]["bytes"] = sum(file["bytes"] for file in manifest["files"])
    except (FileNotFoundError, NotADirectoryError):
        value["dataset"] = None
    for name, folder in (("candidates", "candidates"), ("checkpoints", "checkpoints"), ("runs", "runs")):
        value[name] = sorted(path.name for path in (workspace.root / folder).glob("*") if path.is_dir())
    return value


def _status_text(value: dict[str, Any]) -> str:
    kind = f" ({value['simulated']} simulated)" if value["simulated"] else ""
    lines = [
        f"workspace   {value['workspace']}  (clip {value['clip']}, seed {value['seed']})",
        f"recordings  {value['recordings']}{kind} of {value['channels']} channels, {value['with_video']} with video, "
        f"{value['messages']:,} messages, {value['hours']:.2f} hours",
    ]
    lines += [f"            {hours:>9.2f} h  {name}" for name, hours in value["hours_per_category"].items()]
    for step, counts in value["steps"].items():
        done = ", ".join(f"{n} {status}" for status, n in counts.items() if status != "failed_by_class")
        failed = "".join(f"  [{n} {name}]" for name, n in counts["failed_by_class"].items())
        lines.append(f"{step:<15} {done}{failed}")
    if dataset := value["dataset"]:
        lines.append(
            f"shards      {dataset['num_clips']:,} clips, {dataset['num_comments']:,} comments, "
            f"{human_bytes(dataset['bytes'])}, digest {dataset['digest'][:12]}"
        )
    else:
        lines.append("shards      none yet")
    lines += [f"{name:<11} {', '.join(value[name]) or 'none yet'}" for name in ("candidates", "checkpoints", "runs")]
    for attempt in value.get("ledger", ()):
        lines.append(
            f"{attempt['at']}  {attempt['step']:<14} {attempt['recording_id']:<28} {attempt['status']:<8}"
            f" {attempt['seconds']:>8.2f} s  {attempt['error_class'] or ''} {attempt['reason'] or ''}".rstrip()
        )
    return "\n".join(lines)


def latest_run(workspace: Workspace) -> Path:
    """The run folder that was written last. Raises MissingInput if there is none."""
    runs = sorted(workspace.runs_dir.glob("*/run.json"), key=lambda path: (path.stat().st_mtime_ns, path))
    if not runs:
        raise MissingInput(f"no run in {workspace.root}", fix="make one with `videochat bench --model sfat`")
    return runs[-1].parent


def resolved(data: Path, run: Path) -> Path:
    """A run folder by its path, or by its id in the workspace."""
    if (run / "run.json").is_file() or len(run.parts) != 1:
        return run
    inside = data / "runs" / run
    return inside if inside.is_dir() else run
