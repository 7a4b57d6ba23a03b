"""`videochat rehydrate`: fetch a data set again that was published as ids, and say what drifted or is gone.

    report = rehydrate(workspace, Path("ids.jsonl.gz"), CrawlOptions(affirmed=True))

The same VODs and parts are crawled, the splits are those of the published data set, and each recording is compared
with its line: messages that are gone, runs of messages whose digest differs, another length. What was deleted on the
platform stays deleted here; that is the point of publishing ids.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRecording, VideochatError
from ..files import read_json, write_json
from ..schema import Recording
from .ids import PLATFORMS, blocks, messages_of, read_ids

if TYPE_CHECKING:
    from ..crawl.jobs import CrawlOptions, Job
    from ..workspace import Workspace

REPORT = "rehydration.json"
DRIFT_MS = 1000  # a length or offset that differs by more is reported


def rehydrate(workspace: Workspace, path: Path, options: CrawlOptions) -> dict[str, Any]:
    """Fetch and compare; the report, which is also written as rehydration.json. The caller holds the lock.

    recordings: a row each with status "same", "drifted", "partial", "gone" (could not be fetched) or "not-fetchable"
    (no platform's), ids (expected, found, gone), blocks (same, changed, not comparable), and what else differs.
    """
    from ..crawl.crawl import run_jobs
    from .record import require_statement

    header, rows = read_ids(path)
    require_statement(workspace, options.affirmed)
    fetchable = [row for row in rows if row["platform"] in PLATFORMS and row["platform_id"]]
    jobs = _jobs(workspace, fetchable, options)
    summary = run_jobs(workspace, jobs[: options.limit], options)
    _write_splits(workspace, rows)
    there = {recording.recording_id: recording for recording in workspace.recordings()}
    reasons = {attempt.recording_id: f"{attempt.error_class}: {attempt.reason}" for attempt in summary.attempts}
    compared = [_compare(workspace, row, there.get(row["recording_id"]), reasons) for row in rows]
    report = {
        "dataset": header["dataset"],
        "counts": _counts(compared),
        "recordings": compared,
    }
    write_json(workspace.root / REPORT, report)
    return report


def settings_of(path: Path) -> dict[str, Any]:
    """The settings of the published data set, for a new workspace."""
    from ..clock import ClipGeometry
    from ..errors import UsageError
    from ..workspace import Settings

    header, _ = read_ids(path)
    try:
        found = dict(header["settings"])
        found["geometry"] = ClipGeometry(**found["geometry"])
        found["split_fractions"] = tuple(found["split_fractions"])
        Settings(**found)
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"{path.name} has settings that are none: {error}", fix="get the file again") from None
    return found


def _jobs(workspace: Workspace, rows: Sequence[Mapping[str, Any]], options: CrawlOptions) -> list[Job]:
    """One job for each VOD, with its parts as they were chosen then, not as today's chat would choose them."""
    from ..crawl.jobs import Job

    jobs: dict[str, Job] = {}
    for row in rows:
        try:
            stored = Job.from_json(row["job"]) if row["job"] else None
        except (TypeError, KeyError, ValueError):
            stored = None
        job = stored or Job(platform=row["platform"], video_id=row["platform_id"], category=row["category"])
        if (job.platform, job.video_id) != (row["platform"], row["platform_id"]):
            job = dataclasses.replace(job, platform=row["platform"], video_id=row["platform_id"])
        job = dataclasses.replace(job, video=job.video and options.video, min_rows=options.min_rows)
        if job.recording_id not in jobs:
            jobs[job.recording_id] = job
            if row["parts"] and not any(part.get("whole") for part in row["parts"]):
                _plan_parts(workspace, job, row["parts"])
    return list(jobs.values())


def _plan_parts(workspace: Workspace, job: Job, parts: Sequence[Mapping[str, Any]]) -> None:
    """Lay the parts into the staging folder, where the crawler finds them as if it had chosen them itself."""
    from ..crawl.fetch import read_facts
    from ..crawl.jobs import Job
    from ..crawl.segments import Part
    from ..crawl.vod import PLAN_FILE

    staging = job.staging(workspace.root)
    if (staging / PLAN_FILE).is_file() and Job.load(staging) == job:
        return  # an interrupted run goes on
    if any((workspace.raw_dir(Part(**part).recording_id(job.platform, job.video_id))).is_dir() for part in parts):
        return  # the recordings that are there tell the plan
    try:
        facts = read_facts(job.vod)
    except (BadRecording, VideochatError):
        return  # the crawl asks again and writes down why it failed
    job.save(workspace.root)
    write_json(staging / PLAN_FILE, {"facts": facts.to_json(), "parts": [dict(part) for part in parts]})


def _write_splits(workspace: Workspace, rows: Sequence[Mapping[str, Any]]) -> None:
    """The published assignment; `build` keeps what is assigned."""
    settings = workspace.settings
    path = workspace.root / "splits.json"
    rule = [settings.split_by, list(settings.split_fractions), settings.seed]
    stored = read_json(path) if path.is_file() else {}
    previous = stored.get("assignment", {}) if stored.get("rule") == rule else {}
    write_json(path, {"rule": rule, "assignment": previous | {row["recording_id"]: row["split"] for row in rows}})


def _compare(
    workspace: Workspace, row: Mapping[str, Any], recording: Recording | None, reasons: Mapping[str, str]
) -> dict[str, Any]:
    name = row["recording_id"]
    found: dict[str, Any] = {"recording_id": name, "ids": {"expected": len(row["ids"]), "found": 0}}
    if recording is None:
        fetchable = row["platform"] in PLATFORMS and row["platform_id"]
        why = reasons.get(name) or reasons.get(f"{row['platform']}-{row['platform_id']}") or "not tried"
        return found | {"status": "gone" if fetchable else "not-fetchable", "reason": why if fetchable else ""}
    messages = messages_of(workspace, recording, row["ids"])
    now = blocks(row["ids"], messages)
    pairs = [(old, new) for old, new in zip(row["blocks"], now, strict=True) if old and new]
    changed = sum(old != new for old, new in pairs)
    found["ids"]["found"] = len(messages)
    found["blocks"] = {"same": len(pairs) - changed, "changed": changed, "not_comparable": len(now) - len(pairs)}
    differs = {
        what: {"was": row[what], "is": getattr(recording, what)}
        for what in ("duration_ms", "offset_ms")
        if abs(row[what] - getattr(recording, what)) > DRIFT_MS
    }
    differs |= {
        what: {"was": row[what], "is": getattr(recording, what)}
        for what in ("category", "language")
        if row[what] != getattr(recording, what)
    }
    verdict = (recording.origin.get("crawl") or {}).get("verdict", "complete")
    drifted = len(messages) < len(row["ids"]) or changed or differs
    status = "partial" if verdict == "partial" else "drifted" if drifted else "same"
    return found | {"status": status, "differs": differs}


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts = {f"recordings_{status.replace('-', '_')}": 0 for status in ("same", "drifted", "partial", "gone")}
    counts |= {"recordings_not_fetchable": 0}
    for row in rows:
        counts[f"recordings_{row['status'].replace('-', '_')}"] += 1
    counts["messages"] = sum(row["ids"]["expected"] for row in rows)
    counts["messages_gone"] = sum(row["ids"]["expected"] - row["ids"]["found"] for row in rows)
    counts["blocks_changed"] = sum(row.get("blocks", {}).get("changed", 0) for row in rows)
    return counts
