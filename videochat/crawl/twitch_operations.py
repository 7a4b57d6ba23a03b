"""The GraphQL operations that are asked of gql.twitch.tv: name, persisted hash, raw text, when and where checked.

This is the one place to look at when Twitch rotates a hash. A persisted query names a text that Twitch keeps by its
SHA-256; when Twitch answers PersistedQueryNotFound, the client sends the raw text below instead, which asks for the
same fields and survives the rotation (FACTS §5).

    OPERATIONS["VideoCommentsByOffsetOrCursor"].body({"videoID": "1", "contentOffsetSeconds": 0})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENDPOINT = "https://gql.twitch.tv/gql"
HOST = "gql.twitch.tv"
CLIENT_ID = "kd1unb4b3q4t58fwlpcbzcbnm76a8fp"  # FACTS §5: Twitch's own public client, as chat-downloader sends it


@dataclass(frozen=True, kw_only=True)
class Operation:
    """sha256: of the persisted text, hex; None where only the raw text is used. query: the raw text.

    checked: the day on which the source was seen to work with it, ISO 8601.
    """

    name: str
    sha256: str | None
    query: str
    checked: str
    source: str

    def body(self, variables: Mapping[str, Any], *, raw: bool = False) -> dict[str, Any]:
        """What is posted: by hash, or with the text if `raw` or if there is no hash."""
        call: dict[str, Any] = {"operationName": self.name, "variables": dict(variables)}
        if raw or self.sha256 is None:
            return call | {"query": self.query}
        return call | {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": self.sha256}}}


_TABLE = (
    Operation(
        name="VideoMetadata",
        sha256="45111672eea2e507f8ba44d101a61862f9c56b11dee09a15634cb75cb9b9084d",
        query="""query VideoMetadata($videoID: ID!) {
  video(id: $videoID) {
    id title description lengthSeconds createdAt publishedAt viewCount status broadcastType language
    game { id name displayName }
    owner { id login displayName }
  }
}""",
        checked="2026-10-26",
        source="yt-dlp 2026.10.26; chat-downloader 0.2.8 has 226edb3e…, dead since 2025-11 (its issue 283)",
    ),
    Operation(
        name="VideoCommentsByOffsetOrCursor",
        sha256="b70a3591ff0f4e0313d126c6a1502d79a1c02baebb288227c582044aa76adf6a",
        query="""query VideoCommentsByOffsetOrCursor($videoID: ID!, $contentOffsetSeconds: Int, $cursor: Cursor) {
  video(id: $videoID) {
    id
    creator { id channel { id } }
    comments(contentOffsetSeconds: $contentOffsetSeconds, after: $cursor) {
      edges {
        cursor
        node {
          id createdAt contentOffsetSeconds
          commenter { id login displayName }
          message { fragments { text emote { id emoteID from } } userBadges { id setID version } userColor }
        }
      }
      pageInfo { hasNextPage hasPreviousPage }
    }
  }
}""",
        checked="2026-07-12",
        source="FACTS §5; in use by TwitchDownloader and others",
    ),
    Operation(
        name="VideoPlayer_ChapterSelectButtonVideo",
        sha256="71835d5ef425e154bf282453a926d99b328cdc5e32f36d3a209d0f4778b41203",
        query="""query VideoPlayer_ChapterSelectButtonVideo($videoID: ID!) {
  video(id: $videoID) {
    id
    moments(momentRequestType: VIDEO_CHAPTER_MARKERS) {
      edges {
        node {
          id positionMilliseconds durationMilliseconds type description
          details { ... on GameChangeMomentDetails { game { id displayName } } }
        }
      }
    }
  }
}""",
        checked="2026-10-26",
        source="yt-dlp 2026.10.26",
    ),
    Operation(
        name="VideoPlayer_MutedSegmentsAlertOverlay",
        sha256=None,
        query="""query VideoPlayer_MutedSegmentsAlertOverlay($videoID: ID!) {
  video(id: $videoID) { id muteInfo { mutedSegmentConnection { nodes { offset duration } } } }
}""",
        checked="",
        source="public clients; not checked against the live endpoint",
    ),
    Operation(
        name="FilterableVideoTower_Videos",
        sha256="67004f7881e65c297936f32c75246470629557a393788fb5a69d6d9a25a8fd5f",
        query="""query FilterableVideoTower_Videos(
  $channelOwnerLogin: String!, $limit: Int, $cursor: Cursor, $broadcastType: BroadcastType, $videoSort: VideoSort
) {
  user(login: $channelOwnerLogin) {
    id
    videos(first: $limit, after: $cursor, type: $broadcastType, sort: $videoSort) {
      edges {
        cursor
        node { id title lengthSeconds viewCount publishedAt game { id displayName } owner { id login } }
      }
      pageInfo { hasNextPage }
    }
  }
}""",
        checked="2026-10-26",
        source="yt-dlp 2026.10.26",
    ),
    Operation(
        name="CollectionSideBar",
        sha256="016e1e4ccee0eb4698eb3bf1a04dc1c077fb746c78c82bac9a8f0289658fbd1a",
        query="""query CollectionSideBar($collectionID: ID!) {
  collection(id: $collectionID) {
    id title
    items { edges { cursor node { ... on Video { id title lengthSeconds viewCount owner { id login } } } } }
  }
}""",
        checked="2026-10-26",
        source="yt-dlp 2026.10.26",
    ),
)

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _TABLE}
