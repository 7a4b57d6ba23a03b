"""What a platform says of a VOD, as VodFacts, and what yt-dlp needs to fetch it, without asking twice.

    facts = describe("https://www.twitch.tv/videos/1234567890").facts
    facts.duration_ms, facts.chapters, facts.muted_ms

Twitch is asked through our own GraphQL client, whose operations survive a rotated hash and whose failures have names;
yt-dlp turns the access token into formats. Every other address is yt-dlp's alone.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import BadRecording
from .facts import Chapter, Interval, VodFacts, cut_intervals
from .limits import LIMITS, HostLimits
from .twitch_errors import TwitchError
from .twitch_graphql import GraphQLClient, Retry
from .twitch_operations import OPERATIONS, Operation

if TYPE_CHECKING:
    from .ytdlp import Downloader

TWITCH_VOD = re.compile(
    r"https?://(?:(?:(?:www|go|m)\.)?twitch\.tv/(?:[^/]+/v(?:ideo)?|videos)/|player\.twitch\.tv/\?.*?\bvideo=v?)(\d+)"
)
ONCE_MORE = Retry(max_attempts=2)  # for what can be done without
ACCESS_TOKEN = Operation(
    name="VideoPlaybackAccessToken",
    sha256=None,
    query="""query VideoPlaybackAccessToken($id: ID!) {
  videoPlaybackAccessToken(
    id: $id, params: {platform: "web", playerBackend: "mediaplayer", playerType: "site"}
  ) { value signature }
}""",
    checked="2026-10-26",
    source="yt-dlp 2026.10.26, which sends it as text",
)


@dataclass(frozen=True, kw_only=True)
class Description:
    """facts, and formats as yt-dlp gives them (empty where they were not asked for)."""

    facts: VodFacts
    formats: tuple[Mapping[str, Any], ...] = ()


def twitch_id(url: str) -> str | None:
    """The id in the address of a Twitch VOD, else None."""
    found = TWITCH_VOD.match(url)
    return found[1] if found else None


def describe(
    url: str,
    *,
    formats: bool = False,
    limits: HostLimits = LIMITS,
    retry: Retry | None = None,
    ydl: Downloader | None = None,
) -> Description:
    """Facts of one VOD, with `formats` also what can be fetched of it. ydl: to be used instead of a new one.

    Raises BadRecording: "gone", "restricted", "zero-length", "still-live", or a class of failure of the network.
    """
    from .ytdlp import Downloader

    if ydl is None:
        with Downloader(limits, retry) as ydl:
            return describe(url, formats=formats, ydl=ydl)
    video_id = twitch_id(url)
    if video_id is None:
        return _described(url, ydl.describe(url))
    try:
        client = GraphQLClient(limits=ydl.limits, retry=ydl.retry)
        with client.session:
            facts = twitch_facts(client, video_id)
            if not formats:
                return Description(facts=facts)
            _check_length(facts)
            token = client.call(ACCESS_TOKEN, {"id": video_id}).get("videoPlaybackAccessToken")
    except TwitchError as error:
        raise BadRecording(error.slug, error.what, fix=error.fix) from None
    if not token:
        raise BadRecording("restricted", f"Twitch gives no access token for video {video_id}")
    return Description(facts=facts, formats=tuple(ydl.twitch_formats(video_id, token)))


def fetch_facts(url: str, *, limits: HostLimits = LIMITS, retry: Retry | None = None) -> VodFacts:
    """Facts of one VOD; see `describe`. A VOD of zero length is described, not refused."""
    return describe(url, limits=limits, retry=retry).facts


def _check_length(facts: VodFacts) -> None:
    if facts.duration_ms == 0:
        raise BadRecording("zero-length", f"video {facts.video_id} is declared to be 0 s long")


def twitch_facts(client: GraphQLClient, video_id: str) -> VodFacts:
    """Metadata, chapters and muted intervals of a Twitch VOD. Raises BadRecording "gone" or TwitchError.

    Twitch's public clients leave the chapters out where the game never changed; then there are none.
    """
    video = client.call("VideoMetadata", {"channelLogin": "", "videoID": video_id}).get("video")
    if not video:
        raise BadRecording("gone", f"video {video_id} does not exist or is not public")
    asked = {"includePrivate": False, "videoID": video_id}
    moments = client.call("VideoPlayer_ChapterSelectButtonVideo", asked).get("video") or {}
    duration_ms = int(float(video.get("lengthSeconds") or 0) * 1000)
    game = video.get("game") or {}
    return VodFacts(
        platform="twitch",
        video_id=video_id,
        url=f"https://www.twitch.tv/videos/{video_id}",
        channel=str((video.get("owner") or {}).get("login") or "").lower(),
        title=str(video.get("title") or ""),
        language=_language(video.get("language")),
        duration_ms=duration_ms,
        created_at=str(video.get("createdAt") or video.get("publishedAt") or ""),
        category=str(game.get("displayName") or game.get("name") or ""),
        category_id=str(game.get("id") or ""),
        chapters=_twitch_chapters(moments, duration_ms),
        muted_ms=_muted(client, video_id, duration_ms),
    )


def _language(value: Any) -> str:
    """ISO 639-1 of "en", "EN" or "en-gb"; "" for "other" and nonsense."""
    found = re.match(r"([a-z]{2})(?:[-_]|$)", str(value or "").lower())
    return found[1] if found else ""


def _twitch_chapters(video: Mapping[str, Any], duration_ms: int) -> tuple[Chapter, ...]:
    edges = (video.get("moments") or {}).get("edges") or []
    found = []
    for edge in edges:
        node = edge.get("node") or {}
        start, length = node.get("positionMilliseconds"), node.get("durationMilliseconds")
        if type(start) is not int or start < 0:
            continue
        game = (node.get("details") or {}).get("game") or {}
        end = start + length if type(length) is int and length > 0 else duration_ms
        name = str(game.get("displayName") or node.get("description") or "")
        found.append(
            Chapter(start_ms=start, end_ms=max(start, end), category=name, category_id=str(game.get("id") or ""))
        )
    return _disjoint(found)


def _disjoint(chapters: list[Chapter]) -> tuple[Chapter, ...]:
    """In order of time, each cut where the next one starts."""
    ordered = sorted(chapters, key=lambda chapter: (chapter.start_ms, chapter.end_ms))
    cut = []
    for chapter, after in zip(ordered, [*ordered[1:], None], strict=False):
        end_ms = min(chapter.end_ms, after.start_ms) if after else chapter.end_ms
        if chapter.start_ms < end_ms:
            cut.append(replace(chapter, end_ms=end_ms))
    return tuple(cut)


def _muted(client: GraphQLClient, video_id: str, duration_ms: int) -> tuple[Interval, ...]:
    """Muted intervals; none where Twitch does not answer that question: the names of the fragments tell them too."""
    operation = OPERATIONS["VideoPlayer_MutedSegmentsAlertOverlay"]
    try:
        video = client.call(operation, {"videoID": video_id}, retry=ONCE_MORE).get("video") or {}
    except TwitchError:
        return ()
    nodes = ((video.get("muteInfo") or {}).get("mutedSegmentConnection") or {}).get("nodes") or []
    spans = [(int(node["offset"]) * 1000, int(node["offset"] + node["duration"]) * 1000) for node in nodes]
    return cut_intervals(spans, 0, duration_ms or 1 << 40)


def _described(url: str, info: Mapping[str, Any]) -> Description:
    """Facts as yt-dlp's extractors name them."""
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
        raise BadRecording("still-live", "the broadcast is not over", fix="crawl it when it is a finished VOD")
    stamp = info.get("timestamp") or info.get("release_timestamp")
    created = datetime.datetime.fromtimestamp(stamp, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if stamp else ""
    facts = VodFacts(
        platform=str(info.get("extractor_key") or info.get("extractor") or "").lower(),
        video_id=str(info.get("id") or ""),
        url=str(info.get("webpage_url") or url),
        channel=str(info.get("uploader_id") or info.get("channel_id") or info.get("channel") or ""),
        title=str(info.get("title") or ""),
        language=_language(info.get("language")),
        duration_ms=round(float(info.get("duration") or 0) * 1000),
        created_at=created,
        category=str((info.get("categories") or [""])[0]),
    )
    formats = info.get("formats") or ([info] if info.get("url") else [])
    return Description(facts=facts, formats=tuple(formats))
