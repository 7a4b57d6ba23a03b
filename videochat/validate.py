"""Check any shards against the schema and the promises of the protocol, row by row.

    for finding in validate_shards("videochat-data"): print(finding.check, finding.ok, finding.detail)

Works on a downloaded dataset as on a workspace; reads everything once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .clock import ClipGeometry
from .dataset import Dataset, clips_of, row_groups, schema_of
from .errors import Damaged
from .files import digest_file
from .schema import SCHEMA_VERSION, Clip, clip_id, shard_schema

NORM_TOLERANCE = 0.01  # of an L2-normalised float16 vector of any usual width
MAX_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check over all rows. detail: how much was checked, or what is wrong with the first examples."""

    check: str
    ok: bool
    detail: str


def validate_shards(root: Path | str) -> list[Finding]:
    """All checks, in the order below. Raises MissingInput if there are no shards."""
    dataset = Dataset.open(root)
    findings = [_version(dataset), _files(dataset)]
    try:
        findings.append(_schema(dataset))
        if findings[-1].ok:  # rows of other columns have no meaning to check
            findings += _rows(dataset)
            findings.append(_split_units(dataset))
    except Damaged as error:
        findings.append(Finding(check="every row can be read", ok=False, detail=str(error)))
    return findings


def finding(check: str, problems: list[str], checked: str) -> Finding:
    """ok if there are no problems; else the first of them. checked: how much was looked at."""
    if not problems:
        return Finding(check=check, ok=True, detail=checked)
    more = f" and {len(problems) - MAX_EXAMPLES} more" if len(problems) > MAX_EXAMPLES else ""
    return Finding(check=check, ok=False, detail="; ".join(problems[:MAX_EXAMPLES]) + more)


def _version(dataset: Dataset) -> Finding:
    found = dataset.manifest.get("schema_version")
    problems = [] if found == SCHEMA_VERSION else [f"schema version {found}, this tool reads {SCHEMA_VERSION}"]
    return finding("schema version", problems, f"version {found}")


def _files(dataset: Dataset) -> Finding:
    problems = [
        f"{file['path']}: SHA-256 differs from dataset.json"
        for file in dataset.manifest["files"]
        if digest_file(dataset.folder / file["path"]) != file["sha256"]
    ]
    return finding("file digests", problems, f"{len(dataset.manifest['files'])} files")


def _schema(dataset: Dataset) -> Finding:
    wanted = shard_schema(dataset.dim)
    problems = []
    for path in dataset.paths():
        found = schema_of(path)
        if not found.equals(wanted):
            problems.append(f"{path.name}: {_difference(found, wanted)}")
    return finding("columns and types", problems, f"{len(wanted)} columns")


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    for name in wanted.names:
        if name not in found.names:
            return f"column {name} is missing"
        if found.field(name).type != wanted.field(name).type:
            return f"column {name} is {found.field(name).type}, not {wanted.field(name).type}"
    return f"unexpected or reordered columns {found.names}"


def _rows(dataset: Dataset) -> Iterator[Finding]:
    geometry = ClipGeometry(**dataset.manifest["geometry"]) if "geometry" in dataset.manifest else ClipGeometry()
    checks = {"clip ids and times": _time_problem, "comments in their intervals": _comment_problem}
    if "transcript" in dataset.provides:
        checks["speech in its window"] = _speech_problem
    if dataset.dim is not None:
        checks |= {"frame times": _frame_problem, "features normalised and aligned": _feature_problem}
    problems: dict[str, list[str]] = {name: [] for name in ("unique, ordered rows", *checks)}
    num_rows, seen = 0, set()
    for file in dataset.manifest["files"]:
        previous: tuple[str, int] = ("", -1)
        for table in row_groups(dataset.folder / file["path"]):
            for clip in clips_of(table):
                num_rows += 1
                place = (clip.recording_id, clip.start_ms)
                if clip.clip_id in seen or place <= previous or clip.split != file["split"]:
                    problems["unique, ordered rows"].append(f"{clip.clip_id} in {file['path']}")
                seen.add(clip.clip_id)
                previous = place
                for name, check in checks.items():
                    if problem := check(clip, geometry):
                        problems[name].append(f"{clip.clip_id}: {problem}")
    for name, found in problems.items():
        yield finding(name, found, f"{num_rows:,} rows")


def _time_problem(clip: Clip, geometry: ClipGeometry) -> str:
    if clip.clip_id != clip_id(clip.recording_id, clip.start_ms):
        return "id does not say recording and start"
    if clip.start_ms < 0 or clip.start_ms % geometry.clip_ms:
        return f"starts at {clip.start_ms} ms, off the grid of {geometry.clip_ms} ms"
    ends = (clip.start_ms + geometry.context_ms, clip.start_ms + geometry.clip_ms)
    return "" if (clip.context_end_ms, clip.end_ms) == ends else "ends are not the geometry's"


def _comment_problem(clip: Clip, geometry: ClipGeometry) -> str:
    for name, items, begin, end in (
        ("context", clip.context, clip.start_ms, clip.context_end_ms),
        ("responses", clip.responses, clip.context_end_ms, clip.end_ms),
    ):
        times = [comment.offset_ms for comment in items]
        if not items:
            return f"no {name}"
        if times != sorted(times) or times[0] < begin or times[-1] >= end:
            return f"{name} out of order or outside [{begin}, {end})"
        if not all(comment.text.strip() for comment in items):
            return f"empty text in {name}"
    return ""


def _speech_problem(clip: Clip, geometry: ClipGeometry) -> str:
    seen_from = clip.start_ms - geometry.frames_before_ms
    times = [(segment.start_ms, segment.end_ms) for segment in clip.transcript]
    if times != sorted(times) or any(begin >= end for begin, end in times):
        return "speech out of order, or a segment that ends before it begins"
    if any(begin >= clip.end_ms or end <= seen_from for begin, end in times):
        return f"speech outside [{seen_from}, {clip.end_ms})"
    return "" if all(segment.text.strip() for segment in clip.transcript) else "empty text in transcript"


def _frame_problem(clip: Clip, geometry: ClipGeometry) -> str:
    if clip.frame_ms is None or clip.frames is None:
        return "no frames"
    if len(clip.frame_ms) != len(clip.frames):
        return f"{len(clip.frame_ms)} times for {len(clip.frames)} frames"
    inside = (clip.frame_ms >= clip.start_ms - geometry.frames_before_ms) & (clip.frame_ms < clip.end_ms)
    return "" if inside.all() and (np.diff(clip.frame_ms) > 0).all() else "frame times out of order or window"


def _feature_problem(clip: Clip, geometry: ClipGeometry) -> str:
    for name, vectors, rows in (
        ("frames", clip.frames, None),
        ("context_clip", clip.context_clip, len(clip.context)),
    ):
        if vectors is None:
            continue
        if rows is not None and len(vectors) != rows:
            return f"{len(vectors)} {name} for {rows} comments"
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        if not np.all(np.abs(norms - 1) < NORM_TOLERANCE):  # NaN fails, too
            return f"{name} not L2-normalised"
    return ""


def _split_units(dataset: Dataset) -> Finding:
    """No channel (or recording) in two splits."""
    table = dataset.table(columns=["recording_id", "channel_id", "split"]).to_pandas()
    unit = "channel_id" if dataset.split_by == "channel" else "recording_id"
    splits = table.groupby(unit)["split"].nunique()
    problems = [f"{name} lies in {count} splits" for name, count in splits[splits > 1].items()]
    return finding(f"splits apart by {unit.removesuffix('_id')}", problems, f"{len(splits):,} units")


def findings_table(findings: list[Finding]) -> str:
    width = max(len(finding.check) for finding in findings)
    return "\n".join(f"{'ok  ' if f.ok else 'FAIL'}  {f.check.ljust(width)}  {f.detail}" for f in findings)


def as_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    return [{"check": f.check, "ok": f.ok, "detail": f.detail} for f in findings]
