"""The service's persisted queries: hash → operation and text. A hash that is not here is unknown.

The hashes are those that yt-dlp 2026.10.26 and chat-downloader 0.2.8 send, less the one of `VideoMetadata` that
chat-downloader has and the service forgot in November 2025 (RETIRED; `twitch.revive` brings it back for measurements).
The texts ask for what those two programs read, in the shape of the real answers.
"""

from __future__ import annotations

from typing import NamedTuple


class Persisted(NamedTuple):
    operation: str
    text: str


COMMENTS = """
query VideoCommentsByOffsetOrCursor($videoID: ID!, $contentOffsetSeconds: Int, $cursor: Cursor) {
  video(id: $videoID) {
    id
    creator { id channel { id __typename } __typename }
    comments(contentOffsetSeconds: $contentOffsetSeconds, after: $cursor) {
      edges {
        cursor
        node {
          id
          commenter { id login displayName __typename }
          contentOffsetSeconds
          createdAt
          message {
            fragments { emote { id emoteID from __typename } text __typename }
            userBadges { id setID version __typename }
            userColor
            __typename
          }
          __typename
        }
        __typename
      }
      pageInfo { hasNextPage hasPreviousPage __typename }
      __typename
    }
    __typename
  }
}
"""

METADATA = """
query VideoMetadata($channelLogin: String!, $videoID: ID!) {
  user(login: $channelLogin) { id primaryColorHex isPartner profileImageURL(width: 70) __typename }
  currentUser { id __typename }
  video(id: $videoID) {
    id title description previewThumbnailURL(height: 60, width: 90) createdAt viewCount publishedAt lengthSeconds
    broadcastType
    owner { id login displayName __typename }
    game { id slug boxArtURL name displayName __typename }
    __typename
  }
}
"""

CHAPTERS = """
query VideoPlayer_ChapterSelectButtonVideo($videoID: ID!, $includePrivate: Boolean) {
  video(id: $videoID, options: {includePrivate: $includePrivate}) {
    id
    moments(momentRequestType: VIDEO_CHAPTER_MARKERS) {
      edges { node { id durationMilliseconds positionMilliseconds type description subDescription
        details { game { id displayName boxArtURL __typename } __typename }
        __typename } __typename }
      __typename
    }
    __typename
  }
}
"""

SEEK_PREVIEW = """
query VideoPlayer_VODSeekbarPreviewVideo($videoID: ID!, $includePrivate: Boolean) {
  video(id: $videoID, options: {includePrivate: $includePrivate}) { id seekPreviewsURL __typename }
}
"""

MUTED = """
query VideoPlayer_MutedSegmentsAlertOverlay($vodID: ID, $includePrivate: Boolean) {
  video(id: $vodID, options: {includePrivate: $includePrivate}) {
    id muteInfo { mutedSegmentConnection { nodes { duration offset __typename } __typename } __typename } __typename
  }
}
"""

TOWER = """
query FilterableVideoTower_Videos(
  $channelOwnerLogin: String!, $limit: Int, $cursor: Cursor, $broadcastType: BroadcastType, $videoSort: VideoSort
) {
  user(login: $channelOwnerLogin) {
    id
    videos(first: $limit, after: $cursor, type: $broadcastType, sort: $videoSort) {
      edges { cursor
        node { id title previewThumbnailURL lengthSeconds viewCount publishedAt
          game { id displayName name boxArtURL __typename } owner { id login displayName __typename } __typename }
        __typename }
      pageInfo { hasNextPage __typename }
      __typename
    }
    __typename
  }
}
"""

COLLECTION = """
query CollectionSideBar($collectionID: ID!) {
  collection(id: $collectionID) {
    id title description
    items(first: 100) {
      edges { cursor
        node { id title previewThumbnailURL lengthSeconds viewCount publishedAt
          owner { id login displayName __typename } __typename }
        __typename }
      __typename
    }
    owner { id login displayName __typename }
    __typename
  }
}
"""

CHANNEL_COLLECTIONS = """
query ChannelCollectionsContent($ownerLogin: String, $limit: Int, $cursor: Cursor) {
  user(login: $ownerLogin) {
    id
    collections(first: $limit, after: $cursor) {
      edges { cursor node { id title lengthSeconds viewCount updatedAt __typename } __typename }
      __typename
    }
    __typename
  }
}
"""

BADGES = """
query ChatList_Badges($channelLogin: String!) {
  badges { id setID version title image1x image2x image4x clickAction clickURL __typename }
  user(login: $channelLogin) {
    id broadcastBadges { id setID version title image1x image2x image4x clickAction clickURL __typename } __typename
  }
}
"""

PERSISTED = {
    "b70a3591ff0f4e0313d126c6a1502d79a1c02baebb288227c582044aa76adf6a": Persisted(
        "VideoCommentsByOffsetOrCursor", COMMENTS
    ),
    "45111672eea2e507f8ba44d101a61862f9c56b11dee09a15634cb75cb9b9084d": Persisted("VideoMetadata", METADATA),
    "71835d5ef425e154bf282453a926d99b328cdc5e32f36d3a209d0f4778b41203": Persisted(
        "VideoPlayer_ChapterSelectButtonVideo", CHAPTERS
    ),
    "07e99e4d56c5a7c67117a154777b0baf85a5ffefa393b213f4bc712ccaf85dd6": Persisted(
        "VideoPlayer_VODSeekbarPreviewVideo", SEEK_PREVIEW
    ),
    "c36e7400657815f4704e6063d265dff766ed8fc1590361c6d71e4368805e0b49": Persisted(
        "VideoPlayer_MutedSegmentsAlertOverlay", MUTED
    ),
    "67004f7881e65c297936f32c75246470629557a393788fb5a69d6d9a25a8fd5f": Persisted("FilterableVideoTower_Videos", TOWER),
    "016e1e4ccee0eb4698eb3bf1a04dc1c077fb746c78c82bac9a8f0289658fbd1a": Persisted("CollectionSideBar", COLLECTION),
    "5247910a19b1cd2b760939bf4cba4dcbd3d13bdf8c266decd16956f6ef814077": Persisted(
        "ChannelCollectionsContent", CHANNEL_COLLECTIONS
    ),
    "86f43113c04606e6476e39dcd432dee47c994d77a83e54b732e11d4935f0cd08": Persisted("ChatList_Badges", BADGES),
}

RETIRED = {
    "226edb3e692509f727fd56821f5653c05740242c82b0388883e0c0e75dcbf687": Persisted("VideoMetadata", METADATA),
}
