"""What is in a fetched video, measured on its packets and held against what was declared.

    audit = audit_video(path, (600_000, 1_200_000), report, playlist_end_ms=7_210_000, declared_ms=7_211_000)
    audit.missing_ms, audit.gaps_ms, audit.desync_ms, audit.reasons

Nothing is decoded: a packet that the container shows is a picture. Times are milliseconds on the VOD's clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadRecording
from .facts import Interval, cut_intervals
from .join import JoinReport

GAP_MS = 1000  # pictures that are further apart than this, and one usual picture more, have something missing between
MISSING_SHARE = 0.005  # of the length, or
MISSING_MS = 2000  # this much, whichever is more, may be missing: encoders pause, streams have advertisements
DESYNC_MS = 1000  # chat is timed in whole seconds
LENGTH_MS = 5000  # declared lengths are whole seconds, and end when the broadcaster stops, not with the last picture
TOTALS = (
    *("video_ms", "missing_ms", "num_pictures", "num_fragments", "num_breaks", "num_squeezed", "muted_ms", "num_bytes"),
)


@dataclass(frozen=True, kw_only=True)
class VideoAudit:
    """start_ms, end_ms: what was wanted. first_ms: the first picture that is shown. video_ms: from it to the end of the
    last one. missing_ms: sum of gaps_ms, the intervals of the wanted range without pictures.

    num_breaks: places where the timestamps leapt and were set anew by the playlist. desync_ms: how far the pictures may
    be off the VOD's clock, which chat follows, signed (positive: pictures late); None if nothing tells. desync_method:
    how it was estimated. declared_ms, playlist_ms: length of the whole VOD by its metadata and by its fragments (0:
    unknown). muted_ms: length without sound. reasons: what makes the video partial, each with its figure; notes: the
    remarkable rest.
    """

    start_ms: int
    end_ms: int
    first_ms: int
    video_ms: int
    missing_ms: int = 0
    gaps_ms: tuple[Interval, ...] = ()
    num_pictures: int = 0
    num_fragments: int = 0
    num_breaks: int = 0
    num_squeezed: int = 0
    desync_ms: float | None = None
    desync_method: str = ""
    declared_ms: int = 0
    playlist_ms: int = 0
    muted_ms: int = 0
    codec: str = ""
    width: int = 0
    height: int = 0
    has_sound: bool = False
    num_bytes: int = 0
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> VideoAudit:
        lists = {"gaps_ms": tuple((int(start), int(end)) for start, end in value["gaps_ms"])}
        lists |= {name: tuple(value[name]) for name in ("reasons", "notes")}
        return cls(**{**value, **lists})


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures that a file shows. times_ms: ascending, from the file's time 0. usual_ms: between two of them."""

    times_ms: np.ndarray[Any, np.dtype[np.float64]]
    usual_ms: float


def shown_pictures(path: Path) -> Pictures:
    """Presentation times of a file's pictures, after its edit list. Raises BadRecording if there are none."""
    import av

    from ..frames.video import choose_stream, open_video

    times: list[int] = []
    with open_video(path) as container:
        stream = choose_stream(container)
        if stream is None:
            raise BadRecording("no-video-stream", f"{path.name} has no video stream")
        base = Fraction(stream.time_base)
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and not packet.is_discard and packet.size:
                    times.append(packet.pts)
        except av.error.FFmpegError as error:
            raise BadRecording("unreadable-video", f"{path.name}: {error.strerror}") from None
    if not times:
        raise BadRecording("no-pictures", f"{path.name} shows no picture")
    ordered = np.sort(np.asarray(times, np.float64)) * float(base * 1000)
    usual = float(np.median(np.diff(ordered))) if len(ordered) > 1 else 0.0
    return Pictures(times_ms=ordered, usual_ms=usual)


def gaps(pictures: Pictures, begin_ms: float, start_ms: int, end_ms: int) -> tuple[Interval, ...]:
    """Intervals of [start_ms, end_ms) without pictures. begin_ms: the VOD's time of the first picture."""
    times = pictures.times_ms - pictures.times_ms[0] + begin_ms
    edges = np.concatenate([[start_ms - pictures.usual_ms], times, [end_ms]])
    wide = np.flatnonzero(np.diff(edges) > GAP_MS + pictures.usual_ms)
    return cut_intervals(
        ((round(edges[at] + pictures.usual_ms), round(edges[at + 1])) for at in wide), start_ms, end_ms
    )


def desync(report: JoinReport) -> tuple[float | None, str]:
    """(the widest difference between timestamps and playlist in ms, how many fragments told)."""
    if not report.drifts_ms:
        return None, "one file without a playlist: nothing tells"
    widest = max((drift for _, drift in report.drifts_ms), key=abs)
    return widest, f"timestamps against playlist at {len(report.drifts_ms)} fragments"


def audit_video(
    path: Path,
    wanted: Interval,
    report: JoinReport,
    *,
    declared_ms: int,
    playlist_ms: int,
    num_fragments: int,
    muted: Sequence[Interval] = (),
    is_closed: bool = True,
) -> VideoAudit:
    """Measure one file. wanted: [start_ms, end_ms) of the VOD; end_ms 0: not known."""
    start_ms, end_ms = wanted
    pictures = shown_pictures(path)
    first_ms = report.first_ms if report.first_ms is not None else float(start_ms)
    end_ms = end_ms or round(first_ms + pictures.times_ms[-1] - pictures.times_ms[0] + pictures.usual_ms)
    missing = gaps(pictures, first_ms, start_ms, end_ms)
    missing_ms = sum(end - start for start, end in missing)
    desync_ms, method = desync(report)
    reasons, notes = [], []
    if missing_ms > max(MISSING_MS, MISSING_SHARE * (end_ms - start_ms)):
        reasons.append(f"missing-video: {missing_ms / 1000:.1f} s of {(end_ms - start_ms) / 1000:.1f} s")
    if desync_ms is not None and abs(desync_ms) > DESYNC_MS:
        reasons.append(f"desync: pictures and playlist are up to {desync_ms / 1000:+.1f} s apart")
    if declared_ms and playlist_ms and declared_ms - playlist_ms > LENGTH_MS:
        reasons.append(f"short-video: {playlist_ms / 1000:.1f} s of the declared {declared_ms / 1000:.1f} s")
    elif declared_ms and playlist_ms - declared_ms > LENGTH_MS:
        notes.append(f"long-video: {playlist_ms / 1000:.1f} s, declared are {declared_ms / 1000:.1f} s")
    if not is_closed:
        reasons.append("open-playlist: the VOD is still growing")
    if not report.has_sound:
        notes.append("no-sound")
    return VideoAudit(
        start_ms=start_ms,
        end_ms=end_ms,
        first_ms=round(first_ms),
        video_ms=round(pictures.times_ms[-1] - pictures.times_ms[0] + pictures.usual_ms),
        missing_ms=missing_ms,
        gaps_ms=missing,
        num_pictures=len(pictures.times_ms),
        num_fragments=num_fragments,
        num_breaks=len(report.steps_ms),
        num_squeezed=report.num_squeezed,
        desync_ms=desync_ms,
        desync_method=method,
        declared_ms=declared_ms,
        playlist_ms=playlist_ms,
        muted_ms=sum(end - start for start, end in cut_intervals(muted, start_ms, end_ms)),
        codec=report.codec,
        width=report.width,
        height=report.height,
        has_sound=report.has_sound,
        num_bytes=path.stat().st_size,
        reasons=tuple(reasons),
        notes=tuple(notes),
    )


def together(audits: Sequence[VideoAudit]) -> VideoAudit:
    """The audit of several files of one VOD: sums, the widest desync, all reasons once."""
    if len(audits) == 1:
        return audits[0]
    first = audits[0]
    known = [audit for audit in audits if audit.desync_ms is not None]
    widest = max(known, key=lambda audit: abs(audit.desync_ms or 0.0), default=first)

    totals: dict[str, Any] = {name: sum(getattr(audit, name) for audit in audits) for name in TOTALS}
    return dataclasses.replace(
        first,
        start_ms=min(audit.start_ms for audit in audits),
        end_ms=max(audit.end_ms for audit in audits),
        first_ms=min(audit.first_ms for audit in audits),
        gaps_ms=tuple(gap for audit in audits for gap in audit.gaps_ms),
        desync_ms=widest.desync_ms,
        desync_method=widest.desync_method,
        has_sound=all(audit.has_sound for audit in audits),
        reasons=tuple(dict.fromkeys(reason for audit in audits for reason in audit.reasons)),
        notes=tuple(dict.fromkeys(note for audit in audits for note in audit.notes)),
        **totals,
    )
