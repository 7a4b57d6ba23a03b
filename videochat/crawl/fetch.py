"""Chat and video of the parts of one VOD, fetched by the modules for each platform, in the form that is published."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadRecording
from ..rights.tombstones import Tombstones
from ..sources.chat_store import store_chat
from ..sources.formats import Batches, Notes
from .facts import VodFacts
from .jobs import Job
from .publish import MARGIN_MS, PartChat, PartVideo
from .segments import Page, Part, count_chat
from .targets import Vod

if TYPE_CHECKING:
    from .twitch_chat import ChatFetch

COMMENTS = "VideoCommentsByOffsetOrCursor"
EXTRACTORS = {"twitch": "TwitchVod", "youtube": "Youtube"}  # yt-dlp's names
_LOADING = threading.Lock()
_LOADED: set[str] = set()


def load(platform: str) -> None:
    """Import what fetching needs, one thread after the other; to be called before a thread fetches anything.

    yt-dlp's and chat-downloader's modules import one another in circles: threads that meet in the middle of the first
    import get half of a module.
    """
    with _LOADING:
        if platform in _LOADED:
            return
        import av  # noqa: F401

        from . import fragments, join, twitch_site, video, video_audit, youtube_site  # noqa: F401
        from .ytdlp import Downloader

        with Downloader() as downloader:
            downloader.get_info_extractor(EXTRACTORS[platform])
        _LOADED.add(platform)


def read_facts(vod: Vod) -> VodFacts:
    """What the platform says of a VOD. Raises BadRecording."""
    from .describe import fetch_facts

    return fetch_facts(vod.url)


def read_page(vod: Vod, start_ms: int) -> Page:
    """One page of chat for the survey. Raises BadRecording where the platform has none or refuses it."""
    from .twitch_errors import TwitchError
    from .twitch_graphql import GraphQLClient

    if vod.platform != "twitch":
        raise BadRecording("no-survey", "only Twitch's chat can be looked into", fix="pass --segments whole")
    client = GraphQLClient()
    try:
        with client.session:
            answer = client.call(COMMENTS, {"videoID": vod.id, "contentOffsetSeconds": start_ms // 1000})
    except TwitchError as error:
        raise BadRecording(error.slug, error.what, fix=error.fix) from None
    comments = (answer.get("video") or {}).get("comments")
    if comments is None:
        raise BadRecording("comments-null", "Twitch gives no chat for this VOD")
    nodes = [edge.get("node") or {} for edge in comments.get("edges") or [] if isinstance(edge, dict)]
    offsets = [node.get("contentOffsetSeconds") for node in nodes]
    has_next = bool((comments.get("pageInfo") or {}).get("hasNextPage"))
    return sorted(round(offset * 1000) for offset in offsets if isinstance(offset, int | float)), has_next


def fetch_part_chats(
    job: Job, facts: VodFacts, parts: Sequence[Part], folder: Path, tombstones: Tombstones
) -> dict[Part, PartChat]:
    """Fetch the chat of `parts` into `folder`, or go on with it.

    Raises BadRecording, "chat-lost" if there is none and something went wrong, "no-messages" if nobody said anything.
    """
    ranges = None if _reads_all(job) else [(part.start_ms, part.end_ms) for part in parts]
    fetch = _fetch_chat(job, facts, folder, ranges)
    return {part: _part_chat(job, part, fetch, folder, tombstones) for part in parts}


def count_bins(job: Job, facts: VodFacts, folder: Path) -> list[float]:
    """Comments in each whole bin, of the chat itself, which is fetched into `folder`. Raises BadRecording."""
    from .chat_journal import read_pages

    fetch = _fetch_chat(job, facts, folder, None)
    offsets = (message["offset_ms"] for batch in read_pages(fetch.pages, Notes()) for message in batch)
    return count_chat(offsets, facts.duration_ms, job.segments.bin_ms)


def _reads_all(job: Job) -> bool:
    return job.segments.mode == "whole" or job.segments.density == "counted"


def _fetch_chat(job: Job, facts: VodFacts, folder: Path, ranges: list[tuple[int, int]] | None) -> ChatFetch:
    from .twitch_chat import fetch_chat
    from .youtube_chat import fetch_youtube_chat

    bring = (
        functools.partial(fetch_youtube_chat, job.vod.url)
        if job.platform == "youtube"
        else functools.partial(fetch_chat, job.video_id)
    )
    return bring(folder, duration_ms=facts.duration_ms, ranges_ms=ranges, margin_ms=MARGIN_MS)


def _part_chat(job: Job, part: Part, fetch: ChatFetch, folder: Path, tombstones: Tombstones) -> PartChat:
    from .chat_audit import audit_chat
    from .chat_journal import read_pages

    notes = Notes()
    low_ms = None if part.whole else part.start_ms - MARGIN_MS
    high_ms = None if part.whole else part.end_ms + MARGIN_MS
    batches = read_pages(fetch.pages, notes, start_ms=low_ms, end_ms=high_ms)
    path = folder / f"{part.recording_id(job.platform, job.video_id)}.jsonl.gz"
    stored = store_chat(_not_forgotten(batches, tombstones, notes), path, notes)
    audit = audit_chat(
        stored.offsets_ms,
        start_ms=part.start_ms,
        end_ms=part.end_ms,
        fetch=fetch,
        num_duplicates=notes.oddities["duplicate-id"],
    )
    if stored.num_messages == 0:
        if audit.reasons:
            raise BadRecording("chat-lost", f"no message could be had: {'; '.join(audit.reasons)}")
        raise BadRecording("no-messages", "nobody said anything in this VOD's chat")
    return PartChat(
        path=path,
        num_messages=stored.num_messages,
        digest=stored.digest,
        method=fetch.method,
        reasons=audit.reasons,
        audit={name: value for name, value in audit.to_json().items() if name not in ("reasons", "method")},
        oddities=dict(+notes.oddities),
    )


def _not_forgotten(batches: Batches, tombstones: Tombstones, notes: Notes) -> Batches:
    for batch in batches:
        kept = next(tombstones.without([batch]))
        if len(kept) < len(batch):
            notes.oddities["forgotten"] += len(batch) - len(kept)
        yield kept


def fetch_part_videos(job: Job, parts: Sequence[Part], folder: Path) -> dict[Part, PartVideo]:
    """Fetch the video of `parts` into `folder`, or go on with it. Raises BadRecording."""
    from .video import fetch_video

    ranges = None if any(part.whole for part in parts) else [(part.start_ms, part.end_ms) for part in parts]
    fetch = fetch_video(job.vod.url, folder, ranges_ms=ranges, min_rows=job.min_rows)
    return {
        part: PartVideo(
            path=path,
            start_ms=start_ms,
            duration_ms=end_ms - start_ms,
            reasons=audit.reasons,
            audit={name: value for name, value in audit.to_json().items() if name != "reasons"},
            muted_ms=fetch.info.muted_ms,
        )
        for part, ((start_ms, end_ms), path), audit in zip(parts, fetch.files, fetch.audits, strict=True)
    }
