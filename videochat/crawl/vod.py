"""One VOD: its facts, the parts that are wanted, their chat and video at the same time, and into raw/ they go.

The staging folder .crawl/<vod>/ holds what a killed run had: job.json, plan.json (facts and parts), chat/, video/,
ready/. It is removed when all recordings of the VOD are in raw/; a failed VOD keeps it, so that the next try goes on.
"""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import BadRecording, VideochatError
from ..files import read_json, write_json
from ..ledger import Attempt
from ..rights.tombstones import Tombstones
from ..schema import Recording
from ..workspace import Workspace
from .facts import VodFacts
from .fetch import count_bins, fetch_part_chats, fetch_part_videos, load, read_facts, read_page
from .jobs import Job, job_of, vod_of
from .publish import OLD, PartChat, PartVideo, make_ready, publish, ready
from .segments import Part, choose, survey_chat, whole

PLAN_FILE = "plan.json"
STEP = "crawl"
# A VOD that ends so is not asked for again: nothing about it will be other tomorrow.
FINAL = frozenset({"too-little-chat", "other-category", "forgotten", "no-messages"})

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one recording ended; see Attempt."""

    recording_id: str
    status: str
    error_class: str | None = None
    reason: str | None = None
    counts: dict[str, Any] = field(default_factory=dict)


class Known:
    """What the workspace already has, read once. retry: go for recordings again that are partial."""

    def __init__(self, workspace: Workspace, tombstones: Tombstones, *, retry: bool = False) -> None:
        self.root = workspace.root
        self.tombstones = tombstones
        self.retry = retry
        self._recordings: dict[str, dict[str, Recording]] = defaultdict(dict)
        for recording in workspace.recordings():
            if "crawl" in recording.origin and (vod := vod_of(recording.recording_id)):
                self._recordings[vod.recording_id][recording.recording_id] = recording
        self._latest = workspace.ledger.latest(STEP)

    def recordings(self, job: Job) -> dict[str, Recording]:
        """The recordings in raw/ that a job of this kind made (the same parts; a video if one is wanted)."""
        return {
            recording_id: recording
            for recording_id, recording in self._recordings[job.recording_id].items()
            if (old := job_of(recording)) is not None and old.parts_digest == job.parts_digest
        }

    def finished(self, job: Job) -> list[Recording] | None:
        """The job's recordings if all of them are in raw/, partial ones included; else None."""
        recordings = self.recordings(job)
        if not recordings:
            return None
        newest = next(iter(recordings.values()))
        wanted = [part.recording_id(job.platform, job.video_id) for part in planned(newest)]
        if any(name not in recordings and not self.tombstones.forgets(recording_id=name) for name in wanted):
            return None
        if job.video and any((old := job_of(r)) is None or not old.video for r in recordings.values()):
            return None  # fetched with --no-video before
        return list(recordings.values())

    def skipped(self, job: Job) -> Attempt | None:
        """The attempt that found that this VOD is nothing to fetch; None if there is none."""
        attempt = self._latest.get(job.recording_id)
        if attempt is None or attempt.status != "skipped" or attempt.counts.get("job") != job.digest:
            return None
        return attempt

    def is_told(self, recording: Recording) -> bool:
        """Whether the ledger says how it was made; a run that was killed may not have come so far."""
        attempt = self._latest.get(recording.recording_id)
        return attempt is not None and attempt.status in ("ok", "partial")

    def is_open(self, job: Job) -> bool:
        """Whether the last that the ledger says of the VOD as a whole is that it failed."""
        attempt = self._latest.get(job.recording_id)
        return attempt is not None and attempt.status == "failed"


def planned(recording: Recording) -> list[Part]:
    """All parts of the VOD that a crawled recording is one of."""
    return [Part(**part) for part in recording.origin["crawl"]["plan"]]


def crawl_vod(known: Known, job: Job) -> list[Outcome]:
    """Fetch what is missing of one VOD; an outcome for each of its recordings, or one for a VOD left out.

    Raises BadRecording or another VideochatError if the VOD as a whole failed; the staging folder stays then.
    """
    done = known.finished(job)
    if done is not None:
        return _again(known, job, done)
    if (attempt := known.skipped(job)) is not None:
        return [_left_out(job, str(attempt.error_class), str(attempt.reason))]
    staging = _open_staging(known, job)
    try:
        return _crawl(known, job, staging)
    except BadRecording as error:
        if error.error_class not in FINAL:
            raise
        shutil.rmtree(staging)
        return [_left_out(job, error.error_class, error.what)]


def _open_staging(known: Known, job: Job) -> Path:
    """The staging folder, as an earlier run for the same job has left it, else empty."""
    staging = job.staging(known.root)
    if Job.load(staging) != job:
        shutil.rmtree(staging, ignore_errors=True)
        job.save(known.root)
    return staging


def _again(known: Known, job: Job, done: Sequence[Recording]) -> list[Outcome]:
    """What to do about recordings that are all there: nothing, unless partial ones are to be retried."""
    staging = job.staging(known.root)
    if all(_is_complete(recording) for recording in done):
        if (unfinished := Job.load(staging)) and unfinished.parts_digest == job.parts_digest:
            shutil.rmtree(staging)  # killed when all was done but this
    elif known.retry:
        try:
            return _crawl(known, job, _open_staging(known, job))
        except VideochatError as error:
            name = error.error_class if isinstance(error, BadRecording) else getattr(error, "slug", "fetch-failed")
            remark = f"a new attempt failed ({name}: {error.what}); the earlier one stays"
            return [_outcome(r, remark) if not _is_complete(r) else _current(r) for r in done]
    return [_current(r) if known.is_told(r) else _outcome(r, "") for r in done]


def _left_out(job: Job, error_class: str, reason: str) -> Outcome:
    return Outcome(recording_id=job.recording_id, status="skipped", error_class=error_class, reason=reason)


def _crawl(known: Known, job: Job, staging: Path) -> list[Outcome]:
    load(job.platform)
    old = known.recordings(job)
    facts, parts = _plan(known, job, staging, old)
    ids = {part: part.recording_id(job.platform, job.video_id) for part in parts}
    allowed = [part for part in parts if not known.tombstones.forgets(recording_id=ids[part], channel=facts.channel)]
    if not allowed:
        raise BadRecording("forgotten", "this recording or its channel was forgotten")
    facts = dataclasses.replace(facts, title=known.tombstones.redacted(facts.title))
    todo = [part for part in allowed if not _has_all(job, old.get(ids[part])) and ready(staging, ids[part]) is None]
    if todo:
        _fetch(known, job, staging, facts, parts, todo, old)
    outcomes = []
    kept: list[Recording] = []
    for part in allowed:
        new = ready(staging, ids[part])
        if new is None:
            outcomes.append(_current(old[ids[part]]))
            continue
        recording, remark = publish(known.root, staging, new)
        kept.append(recording)
        outcomes.append(_outcome(recording, remark))
    _tidy(staging, job, kept)
    return outcomes


def _tidy(staging: Path, job: Job, kept: Sequence[Recording]) -> None:
    """Remove the staging folder, but for the pages and fragments with which `--retry partial` can go on."""
    stopped = any("chat-stopped" in reason for r in kept for reason in r.origin["crawl"]["chat"]["reasons"])
    without_video = job.video and any(recording.video is None for recording in kept)
    if not stopped and not without_video:
        shutil.rmtree(staging)
        return
    for name, is_needed in (("chat", stopped), ("video", without_video), ("ready", False), (OLD, False)):
        if not is_needed:
            shutil.rmtree(staging / name, ignore_errors=True)


def _has_all(job: Job, recording: Recording | None) -> bool:
    return recording is not None and _is_complete(recording) and (recording.video is not None or not job.video)


def _is_complete(recording: Recording) -> bool:
    return bool(recording.origin["crawl"]["verdict"] == "complete")


def _current(recording: Recording) -> Outcome:
    return Outcome(recording_id=recording.recording_id, status="current")


def _outcome(recording: Recording, remark: str) -> Outcome:
    crawled = recording.origin["crawl"]
    reasons = [*crawled["reasons"], *([remark] if remark else [])]
    counts = {
        "messages": recording.num_messages,
        "hours": round(recording.duration_ms / 3_600_000, 3),
        "verdict": crawled["verdict"],
        "method": crawled["chat"]["method"],
        "chat": crawled["chat"]["audit"],
        "video": crawled["video"] and crawled["video"]["audit"],
    }
    partial = crawled["verdict"] == "partial"
    error_class = None
    if partial:
        error_class = "chat" if crawled["chat"]["reasons"] else "video"
    return Outcome(
        recording_id=recording.recording_id,
        status="partial" if partial else "ok",
        error_class=error_class,
        reason="; ".join(reasons) or None,
        counts=counts,
    )


# -- what to fetch


def _plan(known: Known, job: Job, staging: Path, old: dict[str, Recording]) -> tuple[VodFacts, list[Part]]:
    """Facts and parts, as an earlier run planned them, else asked of the platform and written down."""
    path = staging / PLAN_FILE
    if path.is_file():
        value = read_json(path)
        return VodFacts.from_json(value["facts"]), [Part(**part) for part in value["parts"]]
    if old:
        recording = next(iter(old.values()))
        facts, parts = VodFacts.from_json(recording.origin["crawl"]["facts"]), planned(recording)
    else:
        facts = read_facts(job.vod)
        if known.tombstones.forgets(channel=facts.channel):
            raise BadRecording("forgotten", "the channel was forgotten")
        if facts.duration_ms <= 0:
            raise BadRecording("zero-length", "the VOD is 0 s long", fix="it may still be in the making: try later")
        parts = _parts(job, facts, staging)
    write_json(path, {"facts": facts.to_json(), "parts": [dataclasses.asdict(part) for part in parts]})
    return facts, parts


def _parts(job: Job, facts: VodFacts, staging: Path) -> list[Part]:
    if job.segments.mode == "whole":
        part = whole(facts)
        if job.category_id and part.category_id and part.category_id != job.category_id:
            raise BadRecording("other-category", f"{part.category} was on for most of it")
        return [part]
    if job.segments.density == "counted":
        counts = count_bins(job, facts, staging / "chat")
    else:
        counts = survey_chat(lambda start_ms: read_page(job.vod, start_ms), facts.duration_ms, job.segments.bin_ms)
    return choose(job.segments, facts, counts, category_id=job.category_id)


# -- fetching


def _fetch(
    known: Known,
    job: Job,
    staging: Path,
    facts: VodFacts,
    parts: Sequence[Part],
    todo: Sequence[Part],
    old: dict[str, Recording],
) -> None:
    """Fetch chat and video of the parts at the same time and make their recordings ready.

    What an earlier, partial recording has whole is taken from there. A failed video leaves the chat, marked partial;
    a failed chat fails the VOD.
    """
    chats: dict[Part, PartChat] = {}
    videos: dict[Part, PartVideo] = {}
    for part in todo:
        recording = old.get(part.recording_id(job.platform, job.video_id))
        if recording is not None:
            _reuse(known.root, job, recording, part, chats, videos)
    want_chat = [part for part in todo if part not in chats]
    want_video = [part for part in todo if part not in videos] if job.video else []
    video = _Background(lambda: fetch_part_videos(job, want_video, staging / "video")) if want_video else None
    if want_chat:
        chats |= fetch_part_chats(job, facts, want_chat, staging / "chat", known.tombstones)
    if video is not None:
        try:
            videos |= video.result()
        except BadRecording as error:
            reason = f"video: {error.error_class}: {error.what}"
            videos |= {part: _no_video(part, reason) for part in want_video}
        except VideochatError as error:
            videos |= {part: _no_video(part, f"video: {error.what}") for part in want_video}
    for part in todo:
        make_ready(staging, job, facts, part, parts, chats[part], videos.get(part) or _no_video(part))


def _no_video(part: Part, reason: str = "") -> PartVideo:
    return PartVideo(
        path=None,
        start_ms=part.start_ms,
        duration_ms=part.end_ms - part.start_ms,
        reasons=(reason,) if reason else (),
    )


def _reuse(
    root: Path,
    job: Job,
    recording: Recording,
    part: Part,
    chats: dict[Part, PartChat],
    videos: dict[Part, PartVideo],
) -> None:
    """Take over the half of an earlier recording that has nothing wrong with it."""
    crawled = recording.origin["crawl"]
    folder = root / "raw" / recording.recording_id
    if not crawled["chat"]["reasons"]:
        chats[part] = PartChat(
            path=folder / recording.chat,
            num_messages=recording.num_messages,
            digest=recording.chat_digest,
            method=crawled["chat"]["method"],
            audit=crawled["chat"]["audit"],
            oddities=recording.origin["oddities"],
        )
    if job.video and recording.video and not crawled["video"]["reasons"]:
        videos[part] = PartVideo(
            path=folder / recording.video,
            start_ms=-recording.offset_ms,
            duration_ms=recording.duration_ms,
            audit=crawled["video"]["audit"],
            muted_ms=VodFacts.from_json(crawled["facts"]).muted_ms,
        )


class _Background(Generic[T]):
    """A function that runs in a daemon thread, which an interrupt does not wait for; `result` waits and raises."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="crawl-video")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again in `result`
            self._error = error

    def result(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
