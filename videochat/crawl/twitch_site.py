"""chat-downloader's Twitch site with its broken parts replaced. Import this module only where it is used: it is slow.

    site = TwitchSite()
    for message in site.get_chat_by_vod_id("1234567890", params).chat: ...      as chat-downloader has it
    for page in site.pages("1234567890", walk): ...                             raw, for a journal

What is replaced, and why (0.2.8, FACTS §5): the hash of VideoMetadata is dead; `comments: null` was taken for the end
of the chat; errors inside an answer, 429 and 5xx were not seen; channel badges were fetched though only their pictures
are used; one comment of an unknown form ended everything. Everything else is chat-downloader's: the session, the
remapping of a comment, the selection of message groups, clips.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from chat_downloader.debugging import disable_logger
from chat_downloader.sites.twitch import TwitchChatDownloader
from chat_downloader.utils.core import ensure_seconds

from .chat_journal import Page
from .chat_walk import Ask, ChatWalk, Span, comment_key
from .limits import LIMITS, HostLimits
from .twitch_errors import (
    ChatIncomplete,
    CommentsRefused,
    ConnectionFailed,
    IntegrityFailed,
    RateLimited,
    ServiceFailed,
    TwitchError,
    Unauthorized,
    VideoGone,
)
from .twitch_graphql import PATIENT, GraphQLClient, Retry
from .twitch_operations import OPERATIONS, Operation

COMMENTS = "VideoCommentsByOffsetOrCursor"
NUM_ASKED_AGAIN = 3  # a page without comments, or one that failed the integrity check, is asked for so often
EMPTY_PAGE: dict[str, Any] = {"edges": [], "pageInfo": {"hasNextPage": False}}

disable_logger()  # its log lines quote answers, and so names

# After these, another page would meet the same: a walk stops, and a later one goes on.
FATAL = (ConnectionFailed, RateLimited, Unauthorized, VideoGone)


class TwitchSite(TwitchChatDownloader):  # type: ignore[misc]  # chat-downloader is untyped
    """retry: how long to insist on one request; limits: the rate limits to obey."""

    def __init__(self, *, retry: Retry = PATIENT, limits: HostLimits = LIMITS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = GraphQLClient(session=self.session, limits=limits, retry=retry)

    # -- pages

    def pages(self, video_id: str, walk: ChatWalk) -> Iterator[Page]:
        """Lead `walk` through the chat, page by page, until it asks for no more.

        Raises TwitchError if the very first page of the walk cannot be had; later, `walk.reasons` says what is missing.
        """
        refused: list[str] = []
        while walk.ask is not None:
            ask = walk.ask
            try:
                comments = self.page(video_id, ask, past_end=walk.is_past_end(ask))
            except TwitchError as error:
                if not walk.num_pages:
                    raise
                walk.refuse(error.slug, fatal=isinstance(error, FATAL))
                refused.append(error.slug)
                continue
            walk.feed(comments)
            yield Page(asked=ask, refused=tuple(refused), comments=comments)
            refused = []

    def page(self, video_id: str, ask: Ask, *, past_end: bool = False) -> dict[str, Any]:
        """`comments` of one answer. past_end: no edges and a service error mean that there is nothing, as Twitch does
        beyond the end of a VOD. Raises TwitchError."""
        variables: dict[str, Any] = {"videoID": video_id}
        variables |= {"contentOffsetSeconds": ask.offset_s} if ask.cursor is None else {"cursor": ask.cursor}
        attempt = 1
        while True:
            try:
                return _comments(self._call(variables, past_end))
            except (IntegrityFailed, CommentsRefused) as error:
                attempt += 1
                if error.insisted or attempt > min(NUM_ASKED_AGAIN, self.client.retry.max_attempts):
                    raise
                time.sleep(self.client.retry.wait_s(attempt))

    def _call(self, variables: dict[str, Any], past_end: bool) -> dict[str, Any]:
        try:
            return self.client.call(COMMENTS, variables)
        except ServiceFailed as error:
            video = (error.data or {}).get("video")
            if past_end and isinstance(video, dict) and (video.get("comments") or {}).get("edges") == []:
                return {"video": {"comments": EMPTY_PAGE}}
            if isinstance(video, dict) and "comments" in video and video["comments"] is None:
                refused = CommentsRefused(f"the chat came back as null ({error.what})")
                refused.insisted = True
                raise refused from None
            raise

    # -- replaced parts of chat-downloader

    def _download_gql(self, ops: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One call for each operation: by our table, or by chat-downloader's own hash where we have none."""
        answers = []
        for call in ops:
            name = call["operationName"]
            operation = OPERATIONS.get(name) or Operation(
                name=name, sha256=self._OPERATION_HASHES[name], query="", checked="2023-09", source="chat-downloader"
            )
            answers.append({"data": self.client.call(operation, call.get("variables", {}))})
        return answers

    def _update_badge_info(self, channel: str) -> None:
        """Nothing: the pictures of badges are not used, and their operation fails where the rest works."""

    def _get_chat_messages_by_vod_id(
        self, vod_id: str, params: dict[str, Any], max_duration: float, offset: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """The messages of [start_time, end_time], each once. Raises ChatIncomplete at the end if some may be missing.

        offset: a clip's place in its VOD, None for a VOD.
        """
        zero = offset or 0
        begin_s = ensure_seconds(params.get("start_time"), 0) or 0
        end_s = ensure_seconds(params.get("end_time"), None if offset is None else max_duration)
        last_s = None if end_s is None else int(zero + end_s) + 1
        length_s = max_duration if offset is None else None
        walk = ChatWalk([Span(start_s=int(zero + begin_s), end_s=last_s)], duration_s=length_s)
        seen: set[str] = set()
        for page in self.pages(vod_id, walk):
            for edge in page.comments.get("edges") or []:
                node = edge.get("node") if isinstance(edge, dict) else None
                if not node or (key := comment_key(node)) in seen:
                    continue
                seen.add(key)
                item = self._parse_item(node, zero)
                if begin_s <= item.get("time_in_seconds", 0) and (end_s is None or item["time_in_seconds"] <= end_s):
                    groups, types = params.get("message_groups") or [], params.get("message_types") or []
                    if self._must_add_item(item, self._MESSAGE_GROUPS, groups, types):
                        yield item
        if walk.reasons:
            raise ChatIncomplete("; ".join(walk.reasons))

    @staticmethod
    def _parse_item(item: dict[str, Any], offset: float, channel_id: str | None = None) -> dict[str, Any]:
        """chat-downloader's form of a comment; one that it stumbles over is read without emotes and badges."""
        try:
            parsed: dict[str, Any] = TwitchChatDownloader._parse_item(item, offset, channel_id)
        except (KeyError, TypeError, ValueError, AttributeError):
            fragments = (item.get("message") or {}).get("fragments") or []
            text = "".join(str(part.get("text") or "") for part in fragments if isinstance(part, dict))
            plain = {"fragments": [{"text": text}]}
            bare = {key: item[key] for key in ("id", "contentOffsetSeconds") if key in item}
            commenter = {"commenter": item.get("commenter")} if isinstance(item.get("commenter"), dict) else {}
            parsed = TwitchChatDownloader._parse_item(bare | commenter | {"message": plain}, offset, channel_id)
        return parsed


def _comments(data: dict[str, Any]) -> dict[str, Any]:
    """`comments` of the data of an answer. Raises VideoGone or CommentsRefused where there is none."""
    video = data.get("video")
    if not isinstance(video, dict):
        raise VideoGone("Twitch knows no VOD of this id", fix="check the id; VODs are deleted after 7 to 60 days")
    comments = video.get("comments")
    if not isinstance(comments, dict) or not isinstance(comments.get("edges"), list):
        raise CommentsRefused("the chat came back as null", fix="try again later; an old VOD may have lost its chat")
    return comments
