"""The GraphQL service of the loopback Twitch: persisted and raw queries over its VODs, channels and collections.

Behaviour seen at the real service: a page asked for by offset starts before that offset; past the end there are no
edges and a "service error" in the body; an unknown id is HTTP 200 with `video: null`; a hash that is not known is
HTTP 200 with PersistedQueryNotFound; an unknown channel is a user with an empty id.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from .graphql import FieldError, execute
from .vods import Collection, Node, Vod, number, slug

if TYPE_CHECKING:
    from .server import LoopbackTwitch

MEDIA_HOST = "d2nvs31859zcd8.cloudfront.net"
THUMBNAIL = "https://static-cdn.jtvnw.net/cf_vods/{id}/thumb/thumb0-320x180.jpg"


def media_folder(vod: Vod) -> str:
    """The folder of a VOD at the media host."""
    return f"{number(vod.id)}abcdef_{vod.channel}_{vod.id}_1772388000"


def encode_cursor(vod: Vod, index: int) -> str:
    """The cursor after comment `index`, opaque to clients."""
    return base64.b64encode(json.dumps({"id": vod.id, "sk": index}).encode()).decode()


def decode_cursor(vod: Vod, cursor: str) -> int | None:
    try:
        read = json.loads(base64.b64decode(cursor, validate=True))
        return int(read["sk"]) if read["id"] == vod.id else None
    except (ValueError, KeyError, TypeError):
        return None


class Answers:
    """Resolvers over one loopback Twitch."""

    def __init__(self, twitch: LoopbackTwitch) -> None:
        self.twitch = twitch

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to one operation: raw text if there is any, else the persisted query of its hash."""
        name = str(asked.get("operationName") or "")
        variables = asked.get("variables") or {}
        text = asked.get("query")
        if not text:
            digest = ((asked.get("extensions") or {}).get("persistedQuery") or {}).get("sha256Hash")
            persisted = self.twitch.persisted.get(str(digest))
            if persisted is None:
                return {"errors": [{"message": "PersistedQueryNotFound"}]}
            text = persisted.text
        return execute(text, variables, self.root(), name)

    def root(self) -> dict[str, Any]:
        return {
            "__typename": "Query",
            "video": self.video,
            "user": self.user,
            "currentUser": None,
            "collection": self.collection,
            "videoPlaybackAccessToken": self.video_token,
            "badges": lambda: [self.badge("subscriber", "6"), self.badge("moderator", "1")],
            "game": lambda name=None, id=None, slug=None: self.game(str(name or self.twitch.category_of(id) or slug)),
        }

    def badge(self, set_id: str, version: str) -> Node:
        picture = f"https://static-cdn.jtvnw.net/badges/v1/{number(set_id)}/"
        return {
            "__typename": "Badge",
            "id": base64.b64encode(f"{set_id};{version};".encode()).decode(),
            "setID": set_id,
            "version": version,
            "title": set_id.title(),
            "image1x": f"{picture}1",
            "image2x": f"{picture}2",
            "image4x": f"{picture}3",
            "clickAction": None,
            "clickURL": None,
        }

    def game(self, name: str) -> Node:
        return {
            "__typename": "Game",
            "id": self.twitch.category_id(name),
            "slug": slug(name),
            "name": name,
            "displayName": name,
            "boxArtURL": lambda **_: f"https://static-cdn.jtvnw.net/ttv-boxart/{number(name)}-144x192.jpg",
        }

    def owner(self, login: str) -> Node:
        channel = self.twitch.channels[login]
        return {
            "__typename": "User",
            "id": channel.id,
            "login": channel.login,
            "displayName": channel.display_name,
            "isPartner": False,
            "primaryColorHex": None,
            "profileImageURL": lambda **_: None,
            "channel": {"__typename": "Channel", "id": channel.id},
            "broadcastBadges": [],
            "stream": None,
            "videos": lambda first=30, after=None, type=None, sort="TIME": self.videos(login, first, after, type, sort),
            "collections": lambda first=100, after=None: self.collections(login),
        }

    def user(self, login: str | None = None, id: str | None = None) -> Node | None:
        known = next((c.login for c in self.twitch.channels.values() if c.login == login or (id and c.id == id)), None)
        if known:
            return self.owner(known)
        if not login:
            return None
        nothing = {"edges": [], "pageInfo": {"hasNextPage": False, "__typename": "PageInfo"}, "__typename": "None"}
        blank: Node = dict.fromkeys(("login", "displayName", "stream", "channel"))
        return {
            **blank,
            "__typename": "User",
            "id": "",
            "isPartner": False,
            "primaryColorHex": None,
            "profileImageURL": lambda **_: None,
            "broadcastBadges": [],
            "videos": lambda **_: nothing,
            "collections": lambda **_: nothing,
        }

    def videos(self, login: str, first: int, after: str | None, kind: str | None, sort: str) -> Node:
        """A page of a channel's VODs, newest first."""
        own = [vod for vod in self.twitch.vods.values() if vod.channel == login and kind in (None, vod.broadcast_type)]
        own.sort(key=lambda vod: vod.views if sort == "VIEWS" else vod.created_at, reverse=True)
        start = int(base64.b64decode(after)) if after else 0
        page = own[start : start + (first or 30)]
        edges = []
        for index, vod in enumerate(page, start + 1):
            cursor = base64.b64encode(str(index).encode()).decode() if index < len(own) else ""
            edges.append({"__typename": "VideoEdge", "cursor": cursor, "node": self.video(vod.id)})
        info = {"__typename": "PageInfo", "hasNextPage": start + len(page) < len(own)}
        return {"__typename": "VideoConnection", "edges": edges, "pageInfo": info}

    def collections(self, login: str) -> Node:
        own = [collection for collection in self.twitch.collections.values() if collection.channel == login]
        edges = []
        for collection in own:
            node = self.collection(collection.id)
            edges.append({"__typename": "CollectionsItemEdge", "cursor": "", "node": node})
        return {"__typename": "CollectionConnection", "edges": edges}

    def collection(self, id: str) -> Node | None:
        found: Collection | None = self.twitch.collections.get(id)
        if found is None:
            return None
        vods = [self.twitch.vods[vod] for vod in found.vods if vod in self.twitch.vods]
        edges = [
            {"__typename": "CollectionItemEdge", "cursor": str(index), "node": self.video(vod.id)}
            for index, vod in enumerate(vods)
        ]
        return {
            "__typename": "Collection",
            "id": found.id,
            "title": found.title,
            "description": None,
            "owner": lambda: self.owner(found.channel),
            "lengthSeconds": sum(vod.duration_s for vod in vods),
            "viewCount": sum(vod.views for vod in vods),
            "updatedAt": vods[-1].created_at if vods else None,
            "items": lambda first=100, after=None: {"__typename": "CollectionItemConnection", "edges": edges[:first]},
        }

    def video(self, id: str | None = None, options: Any = None) -> Node | None:
        vod = self.twitch.vods.get(str(id))
        if vod is None:
            return None
        preview = f"https://{MEDIA_HOST}/{media_folder(vod)}/storyboards/{vod.id}-info.json"
        return {
            "__typename": "Video",
            "id": vod.id,
            "title": vod.title,
            "description": None,
            "lengthSeconds": vod.duration_s,
            "createdAt": vod.created_at,
            "publishedAt": vod.created_at,
            "recordedAt": vod.created_at,
            "viewCount": vod.views,
            "language": vod.language,
            "broadcastType": vod.broadcast_type,
            "status": "RECORDED",
            "previewThumbnailURL": lambda **_: THUMBNAIL.format(id=vod.id),
            "seekPreviewsURL": preview if vod.duration_s else None,
            "owner": lambda: self.owner(vod.channel),
            "creator": lambda: self.owner(vod.channel),
            "game": lambda: self.game(vod.category),
            "moments": lambda **_: self.moments(vod),
            "muteInfo": lambda: self.mute_info(vod),
            "comments": lambda contentOffsetSeconds=None, after=None, **_: self.comments(
                vod, contentOffsetSeconds, after
            ),
        }

    def moments(self, vod: Vod) -> Node:
        """Chapters: only VODs with a game change have any."""
        edges = []
        start_s = 0
        for index, (end_s, name) in enumerate(vod.segments if vod.chapters else []):
            details = {"__typename": "GameChangeMomentDetails", "game": self.game(name)}
            node = {
                "__typename": "VideoMoment",
                "id": f"{vod.id}-{index}",
                "positionMilliseconds": start_s * 1000,
                "durationMilliseconds": (end_s - start_s) * 1000,
                "type": "GAME_CHANGE",
                "description": name,
                "subDescription": "",
                "details": details,
            }
            edges.append({"__typename": "VideoMomentEdge", "node": node})
            start_s = end_s
        return {"__typename": "VideoMomentConnection", "edges": edges}

    def mute_info(self, vod: Vod) -> Node:
        nodes = [
            {"__typename": "VideoMutedSegment", "offset": start, "duration": end - start} for start, end in vod.muted
        ]
        connection = {"__typename": "VideoMutedSegmentConnection", "nodes": nodes} if nodes else None
        return {"__typename": "VideoMuteInfo", "mutedSegmentConnection": connection}

    def comments(self, vod: Vod, offset_s: int | None, after: str | None) -> Any:
        """A page of chat: by cursor what follows it, by offset from some comments before that second."""
        ordered = vod.ordered
        if after:
            index = decode_cursor(vod, after)
            if index is None:
                return FieldError("service error")
            start = index + 1
        else:
            at = bisect_left(ordered, int(offset_s or 0), key=lambda node: node["contentOffsetSeconds"])
            if at == len(ordered) and ordered:
                return FieldError("service error", self.page(vod, [], len(ordered)))
            start = max(0, at - self.twitch.lead)
        return self.page(vod, ordered[start : start + self.twitch.page_size], start)

    def page(self, vod: Vod, nodes: list[Node], start: int) -> Node:
        end = start + len(nodes)
        edges = [
            {"__typename": "VideoCommentEdge", "cursor": encode_cursor(vod, index), "node": node}
            for index, node in enumerate(nodes, start)
        ]
        info = {"__typename": "PageInfo", "hasNextPage": end < len(vod.comments), "hasPreviousPage": start > 0}
        return {"__typename": "VideoCommentConnection", "edges": edges, "pageInfo": info}

    def video_token(self, id: str, params: Any = None) -> Node | None:
        if id not in self.twitch.vods:
            return None
        value = json.dumps({"vod_id": id, "expires": 4102444800, "user_id": None}, separators=(",", ":"))
        return {"__typename": "PlaybackAccessToken", "value": value, "signature": self.twitch.signature(value)}
