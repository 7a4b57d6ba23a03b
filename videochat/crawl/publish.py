"""From what was fetched to raw/<recording>/: whole, or not at all.

A recording is put together in <staging>/ready/<recording>/, recording.json last, and moved to raw/ by one rename. A
kill between any two steps is mended by the next run: what is ready is moved, what is not is put together again.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import BadRecording
from ..files import digest_file, read_json, write_json
from ..schema import Recording
from .facts import Interval, VodFacts
from .jobs import Job
from .segments import Part

MARGIN_MS = 30_000  # chat kept before and after a part, for a desync between chat and video
VERDICTS = ("complete", "partial", "failed")
OLD = "old"


@dataclass(frozen=True, kw_only=True)
class PartVideo:
    """The video of one part. start_ms: the VOD's time of its first frame. reasons: what is wrong with it, if anything.

    path None: there is none (chat alone was wanted, or it failed). audit: figures, JSON-able. muted_ms: intervals on
    the VOD's clock as the playlist has them, None if only the facts tell.
    """

    path: Path | None
    start_ms: int
    duration_ms: int
    reasons: tuple[str, ...] = ()
    audit: dict[str, Any] | None = None
    muted_ms: tuple[Interval, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class PartChat:
    """The chat of one part in its final form. reasons: what may be missing. audit: figures, JSON-able."""

    path: Path
    num_messages: int
    digest: str
    method: str
    reasons: tuple[str, ...] = ()
    audit: dict[str, Any] | None = None
    oddities: dict[str, int] | None = None


def make_ready(
    staging: Path, job: Job, facts: VodFacts, part: Part, plan: Sequence[Part], chat: PartChat, video: PartVideo
) -> Recording:
    """Write <staging>/ready/<recording>/ with its recording.json; the files are linked, not moved."""
    recording_id = part.recording_id(job.platform, job.video_id)
    folder = staging / "ready" / recording_id
    folder.mkdir(parents=True, exist_ok=True)
    _link(chat.path, folder / "chat.jsonl.gz")
    name = None
    if video.path is not None:
        name = f"video{video.path.suffix}"
        _link(video.path, folder / name)
    reasons = [*chat.reasons, *video.reasons]
    if video.muted_ms is not None:
        facts = dataclasses.replace(facts, muted_ms=video.muted_ms)
    muted = facts.muted_within(video.start_ms, video.start_ms + max(video.duration_ms, 1))
    crawled = {
        "job": job.to_json(),
        "plan": [dataclasses.asdict(planned) for planned in plan],
        "facts": facts.to_json(),
        "start_ms": part.start_ms,
        "end_ms": part.end_ms,
        "verdict": "partial" if reasons else "complete",
        "reasons": reasons,
        "chat": {"method": chat.method, "reasons": list(chat.reasons), "audit": chat.audit},
        "video": {"reasons": list(video.reasons), "audit": video.audit} if job.video else None,
        "muted_ms": [[start - video.start_ms, end - video.start_ms] for start, end in muted],
    }
    recording = Recording(
        recording_id=recording_id,
        platform=job.platform,
        platform_id=job.video_id,
        channel=facts.channel,
        category=part.category or job.category,
        language=facts.language or job.language,
        title=facts.title,
        duration_ms=video.duration_ms,
        offset_ms=-video.start_ms,
        video=name,
        num_messages=chat.num_messages,
        chat_digest=chat.digest,
        video_digest=digest_file(video.path) if video.path else None,
        origin={
            "format": "crawl",
            "tool": f"videochat {__version__}",
            "text_only": name is None,
            "oddities": dict(sorted((chat.oddities or {}).items())),
            "crawl": crawled,
        },
    )
    if not recording.category:
        raise BadRecording("no-category", "the platform names no category", fix="pass --category")
    _sync(folder)
    write_json(folder / "recording.json", recording.to_json())
    return recording


def ready(staging: Path, recording_id: str) -> Recording | None:
    """The recording that an earlier run has made ready and not yet moved; None if there is none."""
    return read_recording(staging / "ready" / recording_id)


def read_recording(folder: Path) -> Recording | None:
    try:
        return Recording.from_json(read_json(folder / "recording.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def publish(root: Path, staging: Path, new: Recording) -> tuple[Recording, str]:
    """Move a ready recording to raw/; (the one that is there then, "" or why the old one stays).

    An old one is replaced unless the new one has less: a worse verdict, fewer messages, no video where there was one.
    """
    source = staging / "ready" / new.recording_id
    final = root / "raw" / new.recording_id
    final.parent.mkdir(parents=True, exist_ok=True)
    old = read_recording(final)
    if old is not None and (loss := _loss(old, new)):
        shutil.rmtree(source)
        return old, f"a new attempt brought {loss}; the earlier one stays"
    if final.exists():
        aside = staging / OLD / new.recording_id
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        final.rename(aside)
    source.rename(final)
    _sync(final.parent)
    return new, ""


def _loss(old: Recording, new: Recording) -> str:
    verdicts = [VERDICTS.index(recording.origin["crawl"]["verdict"]) for recording in (old, new)]
    if verdicts[1] != verdicts[0]:
        return "" if verdicts[1] < verdicts[0] else "a worse verdict"
    if new.num_messages < old.num_messages:
        return f"{old.num_messages - new.num_messages} messages less"
    if old.video and not new.video:
        return "no video"
    return ""


def _link(source: Path, target: Path) -> None:
    """Hard-link, so that the staging copy is still there for a run after a kill."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as handle:
            os.fsync(handle.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
