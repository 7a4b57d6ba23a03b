"""The video of one VOD, or of ranges of it, by yt-dlp: every fragment once, resumed at any moment, audited.

    fetched = fetch_video("https://www.twitch.tv/videos/1234567890", folder, ranges_ms=[(600_000, 1_200_000)])
    for (start_ms, end_ms), path in fetched.files: ...     # the file's first picture is at start_ms of the VOD

H.264 in the smallest rendition whose shorter side has at least `min_rows` rows. In the folder:

    fetch.json                      facts, files and audits, written last: with it nothing is asked for again
    video.mp4, video-t600.mp4       the whole, or the range from second 600
    fragments-360p-<format>/        fragments of an unfinished fetch
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRecording, UsageError
from ..files import read_json, write_json
from .describe import Description, describe
from .facts import Interval, VodFacts, merge_intervals
from .join import join
from .limits import LIMITS, HostLimits
from .playlist import Fragment, Playlist, parse_playlist
from .twitch_graphql import Retry
from .video_audit import VideoAudit, audit_video, together

if TYPE_CHECKING:
    from .fragments import Piece, Progress
    from .ytdlp import Downloader

RESULT = "fetch.json"
FORMAT_VERSION = 1  # of fetch.json and of how files are made
MIN_ROWS = 224  # CLIP's input (FACTS §1)
CHUNK_BYTES = 8 << 20  # of a rendition that is one file
UNKNOWN_MS = 1 << 40  # end of a file whose length nobody declared
HLS = ("m3u8_native", "m3u8")
WHOLE_FILES = ("https", "http")


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """One of the forms in which a platform offers a video. rows: pixels of the shorter side, 0 if unknown."""

    id: str
    url: str
    protocol: str
    codec: str
    rows: int
    kbits_per_s: float
    headers: Mapping[str, str]

    @property
    def name(self) -> str:
        """For a folder: the same rendition has the same name in every run."""
        return re.sub(r"[^\w.-]+", "-", f"{self.rows}p-{self.id}")[:60]


@dataclass(frozen=True, kw_only=True)
class VideoFetch:
    """files: ((start_ms, end_ms), path) for each range in order, where start_ms is the VOD's time of the first picture
    that the file shows and end_ms that of its end. info: with muted intervals as they were found. audit: of all files
    together; audits: of each."""

    files: list[tuple[Interval, Path]]
    info: VodFacts
    audit: VideoAudit
    audits: tuple[VideoAudit, ...]
    rendition: str


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What is to be fetched. whole_file: the fragments are byte ranges of one file."""

    playlist: Playlist
    rendition: Rendition
    name: str
    whole_file: bool = False


def fetch_video(
    url: str,
    folder: Path,
    *,
    ranges_ms: Sequence[Interval] | None = None,
    min_rows: int = MIN_ROWS,
    limits: HostLimits = LIMITS,
    retry: Retry | None = None,
    num_workers: int = 4,
    progress: Progress | None = None,
) -> VideoFetch:
    """Fetch the ranges (None: all) of a VOD into `folder`; killed and called again it goes on, finished it returns.

    Raises BadRecording if the video as wanted cannot be had whole: "missing-fragment" (refused for good),
    "fragment-failed", "no-rendition", "zero-length", "still-live", "gone", "restricted" and others; the fragments that
    came stay in the folder. Raises UsageError for ranges that are none.
    """
    for start_ms, end_ms in ranges_ms or ():
        if not 0 <= start_ms < end_ms:
            raise UsageError(f"range {start_ms}..{end_ms} ms", fix="0 <= start < end")
    request = {
        "url": url,
        "ranges_ms": None if ranges_ms is None else [list(part) for part in ranges_ms],
        "min_rows": min_rows,
        "version": FORMAT_VERSION,
    }
    folder.mkdir(parents=True, exist_ok=True)
    done = _load(folder, request)
    if done is None:
        done = _fetch(url, folder, ranges_ms, min_rows, limits, retry, num_workers, progress)
        _save(folder, request, done)
    for leftover in folder.glob("fragments-*"):
        shutil.rmtree(leftover)
    for temporary in folder.glob(".*.tmp-*"):
        temporary.unlink(missing_ok=True)
    return done


def _fetch(
    url: str,
    folder: Path,
    ranges_ms: Sequence[Interval] | None,
    min_rows: int,
    limits: HostLimits,
    retry: Retry | None,
    num_workers: int,
    progress: Progress | None,
) -> VideoFetch:
    from .fragments import FragmentFetch
    from .ytdlp import Downloader

    for is_last in (False, True):
        with Downloader(limits, retry) as ydl:
            description = describe(url, formats=True, ydl=ydl)
            source = _source(ydl, description, min_rows)
            ranges = _clipped(ranges_ms, source.playlist)
            wanted = sorted({part for start, end in ranges for part in source.playlist.within(start, end)}, key=_index)
            fetch = FragmentFetch(
                ydl,
                folder / f"fragments-{source.name}",
                source.rendition.headers,
                num_workers=num_workers,
                whole_file=source.whole_file,
            )
            try:
                pieces = fetch.fetch(wanted, progress)
                break
            except BadRecording as error:
                # addresses of other platforms than Twitch hold for some hours only: ask for new ones, once
                if is_last or error.error_class != "missing-fragment" or not source.whole_file:
                    raise
    done = _finish(folder, description, source, ranges_ms is None, ranges, pieces)
    rows = min(done.audit.width, done.audit.height)
    if rows >= min_rows:
        return done
    note = f"small-rendition: {rows} rows, wanted are {min_rows}"
    audits = tuple(replace(audit, notes=(*audit.notes, note)) for audit in done.audits)
    return replace(done, audits=audits, audit=together(audits))


def _index(fragment: Fragment) -> int:
    return fragment.index


def _finish(
    folder: Path,
    description: Description,
    source: _Source,
    is_whole: bool,
    ranges: Sequence[Interval],
    pieces: Sequence[Piece],
) -> VideoFetch:
    """Join and audit each range."""
    playlist = source.playlist
    with_sound = {piece.fragment.index for piece in pieces if not piece.is_muted}
    muted = merge_intervals(
        (part.start_ms, part.end_ms) for part in playlist.fragments if part.is_muted and part.index not in with_sound
    )
    facts = replace(description.facts, muted_ms=muted or description.facts.muted_ms)
    files, audits = [], []
    for start_ms, end_ms in ranges:
        path = folder / ("video.mp4" if is_whole else f"video-t{_seconds(start_ms)}.mp4")
        inside = [piece for piece in pieces if piece.fragment.start_ms < end_ms and piece.fragment.end_ms > start_ms]
        report = join(inside, start_ms, None if is_whole else end_ms, path, whole_file=source.whole_file)
        audit = audit_video(
            path,
            (start_ms, 0 if end_ms == UNKNOWN_MS else end_ms),
            report,
            declared_ms=facts.duration_ms,
            playlist_ms=0 if source.whole_file else playlist.end_ms,
            num_fragments=len(inside),
            muted=facts.muted_ms,
            is_closed=playlist.is_closed,
        )
        files.append(((audit.first_ms, audit.first_ms + audit.video_ms), path))
        audits.append(audit)
    return VideoFetch(
        files=files, info=facts, audit=together(audits), audits=tuple(audits), rendition=source.rendition.name
    )


def _seconds(time_ms: int) -> str:
    return f"{time_ms // 1000}" + (f".{time_ms % 1000:03d}" if time_ms % 1000 else "")


def _clipped(ranges_ms: Sequence[Interval] | None, playlist: Playlist) -> list[Interval]:
    """The ranges as far as the video goes. Raises BadRecording if one lies behind its end."""
    if not playlist.fragments:
        raise BadRecording("no-pictures", "the playlist is empty")
    if ranges_ms is None:
        return [(0, playlist.end_ms)]
    for start_ms, end_ms in ranges_ms:
        if not playlist.within(start_ms, end_ms):
            raise BadRecording("no-pictures", f"the video has nothing between {start_ms} and {end_ms} ms")
    return [(start_ms, min(end_ms, playlist.end_ms)) for start_ms, end_ms in ranges_ms]


def choose_rendition(formats: Sequence[Mapping[str, Any]], min_rows: int) -> Rendition:
    """The smallest H.264 rendition with `min_rows` rows, else the largest; playlists go before single files.

    Raises BadRecording "no-rendition".
    """
    found = [rendition for value in formats if (rendition := _rendition(value)) is not None]
    if not found:
        raise BadRecording("no-rendition", "no rendition in H.264 is offered")
    large = [rendition for rendition in found if rendition.rows >= min_rows]

    def order(rendition: Rendition) -> tuple[Any, ...]:
        return rendition.rows, rendition.protocol not in HLS, rendition.kbits_per_s, rendition.id

    return min(large, key=order) if large else max(found, key=order)


def _rendition(value: Mapping[str, Any]) -> Rendition | None:
    codec = str(value.get("vcodec") or "")
    protocol = str(value.get("protocol") or "")
    if protocol not in (*HLS, *WHOLE_FILES) or value.get("has_drm") or not value.get("url"):
        return None
    if codec and not codec.startswith(("avc1", "avc3", "h264")):
        return None  # "none" is sound alone
    sides = [int(value[side]) for side in ("width", "height") if value.get(side)]
    return Rendition(
        id=str(value.get("format_id") or ""),
        url=str(value["url"]),
        protocol=protocol,
        codec=codec,
        rows=min(sides, default=0),
        kbits_per_s=float(value.get("tbr") or value.get("vbr") or 0),
        headers=dict(value.get("http_headers") or {}),
    )


def _source(ydl: Downloader, description: Description, min_rows: int) -> _Source:
    rendition = choose_rendition(description.formats, min_rows)
    if rendition.protocol in HLS:

        def ask() -> Playlist:
            return parse_playlist(ydl.text(rendition.url, dict(rendition.headers)), rendition.url)

        playlist = ydl.insist(ask, {"bad-playlist"})
        playlist = playlist.placed(description.facts.duration_ms)
        return _Source(playlist=playlist, rendition=rendition, name=rendition.name)
    size = ydl.size(rendition.url, dict(rendition.headers))
    # the bytes of one file belong to no time: every chunk spans all of it
    end_ms = description.facts.duration_ms or UNKNOWN_MS
    chunks = tuple(
        Fragment(
            index=index,
            url=rendition.url,
            start_ms=0,
            end_ms=end_ms,
            byte_range=(first, min(first + CHUNK_BYTES, size)),
        )
        for index, first in enumerate(range(0, size, CHUNK_BYTES))
    )
    return _Source(
        playlist=Playlist(fragments=chunks, is_closed=True),
        rendition=rendition,
        name=f"{rendition.name}-{size}",
        whole_file=True,
    )


def _save(folder: Path, request: Mapping[str, Any], done: VideoFetch) -> None:
    files = [[list(span), path.name, path.stat().st_size] for span, path in done.files]
    value = {
        "request": request,
        "facts": done.info.to_json(),
        "files": files,
        "audits": [audit.to_json() for audit in done.audits],
        "rendition": done.rendition,
    }
    write_json(folder / RESULT, value)


def _load(folder: Path, request: Mapping[str, Any]) -> VideoFetch | None:
    """The result of a finished run for the same request whose files are still there."""
    try:
        value = read_json(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None
    if value.get("request") != dict(request):
        return None
    files = [((int(span[0]), int(span[1])), folder / name) for span, name, _ in value["files"]]
    sizes = [size for _, _, size in value["files"]]
    if any(not path.is_file() or path.stat().st_size != size for (_, path), size in zip(files, sizes, strict=True)):
        return None
    audits = tuple(VideoAudit.from_json(audit) for audit in value["audits"])
    return VideoFetch(
        files=files,
        info=VodFacts.from_json(value["facts"]),
        audit=together(audits),
        audits=audits,
        rendition=str(value["rendition"]),
    )
