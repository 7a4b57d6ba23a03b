"""What the user names on the command line, as VODs: ids, URLs, channels, collections, files of these.

    parse_target("https://www.twitch.tv/videos/1234567890")   # Target(kind="vod", platform="twitch", id="1234567890")
    list(resolve([parse_target("somebody")]))                  # that channel's archived broadcasts

Channels and collections are listed by GraphQL; nothing of the videos themselves is fetched here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from ..errors import UsageError, VideochatError

if TYPE_CHECKING:
    from .twitch_graphql import GraphQLClient

PAGE_SIZE = 100  # of a channel's VODs, as yt-dlp asks
MAX_DEPTH = 3  # files that name files
TWITCH_HOSTS = ("twitch.tv", "www.twitch.tv", "m.twitch.tv", "go.twitch.tv", "player.twitch.tv")
YOUTUBE_HOSTS = ("youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be")
_CHANNEL = re.compile(r"[A-Za-z0-9]\w{2,24}")  # Twitch logins: 4 to 25 characters, older ones 3
_YOUTUBE_ID = re.compile(r"[\w-]{11}")
_NOT_CHANNELS = frozenset({"videos", "collections", "directory", "downloads", "settings", "p", "jobs"})
HELP = "a VOD URL or id, a channel, a collection URL, a YouTube URL, or a file with one of these a line"


@dataclass(frozen=True, kw_only=True)
class Vod:
    """One VOD to fetch. channel: login where the listing told it."""

    platform: str
    id: str
    channel: str = ""

    @property
    def url(self) -> str:
        if self.platform == "twitch":
            return f"https://www.twitch.tv/videos/{self.id}"
        return f"https://www.youtube.com/watch?v={self.id}"

    @property
    def recording_id(self) -> str:
        """The id that a recording of the whole of it has."""
        return f"{self.platform}-{self.id}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """kind: "vod", "channel" or "collection"."""

    kind: str
    platform: str
    id: str


def parse_target(text: str) -> Target:
    """Raises UsageError for what is none of the forms in HELP (files are read by `read_targets`)."""
    text = text.strip()
    if re.fullmatch(r"v?\d{6,}", text):
        return Target(kind="vod", platform="twitch", id=text.removeprefix("v"))
    if re.fullmatch(r"twitch-\d+", text):  # a recording id of this package
        return Target(kind="vod", platform="twitch", id=text.removeprefix("twitch-"))
    if "/" not in text and _CHANNEL.fullmatch(text):
        return Target(kind="channel", platform="twitch", id=text.lower())
    parts = urlsplit(text if "://" in text else f"https://{text}")
    host = (parts.hostname or "").lower()
    path = [piece for piece in parts.path.split("/") if piece]
    if parts.scheme in ("http", "https"):
        if host in TWITCH_HOSTS and (target := _twitch(path, parse_qs(parts.query))):
            return target
        if host in YOUTUBE_HOSTS and (target := _youtube(host, path, parse_qs(parts.query))):
            return target
    raise UsageError(f"{text!r} is no target", fix=HELP)


def _twitch(path: list[str], query: dict[str, list[str]]) -> Target | None:
    if not path:
        video = query.get("video", [""])[0].removeprefix("v")
        return Target(kind="vod", platform="twitch", id=video) if video.isdecimal() else None
    if path[0] == "videos" and len(path) > 1 and path[1].isdecimal():
        return Target(kind="vod", platform="twitch", id=path[1])
    if len(path) > 2 and path[1] in ("v", "video") and path[2].isdecimal():
        return Target(kind="vod", platform="twitch", id=path[2])
    if path[0] == "collections" and len(path) > 1 and re.fullmatch(r"[\w-]+", path[1]):
        return Target(kind="collection", platform="twitch", id=path[1])
    if path[0] not in _NOT_CHANNELS and _CHANNEL.fullmatch(path[0]) and path[1:2] in ([], ["videos"], ["profile"]):
        return Target(kind="channel", platform="twitch", id=path[0].lower())
    return None


def _youtube(host: str, path: list[str], query: dict[str, list[str]]) -> Target | None:
    identity = ""
    if host == "youtu.be" and path:
        identity = path[0]
    elif path[:1] == ["watch"]:
        identity = query.get("v", [""])[0]
    elif path[:1] in (["live"], ["embed"], ["shorts"]) and len(path) > 1:
        identity = path[1]
    return Target(kind="vod", platform="youtube", id=identity) if _YOUTUBE_ID.fullmatch(identity) else None


def read_targets(texts: Iterable[str], *, depth: int = 0) -> list[Target]:
    """The targets of the command line; a name of an existing file stands for its lines (# begins a comment)."""
    found: list[Target] = []
    for text in texts:
        path = Path(text)
        if not path.is_file():
            found.append(parse_target(text))
            continue
        if depth >= MAX_DEPTH:
            raise UsageError(f"{path} is named by a list of lists of lists", fix="name the VODs themselves")
        try:
            lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"the list {path} is no UTF-8 text that can be read", fix=HELP) from None
        beside = [str(path.parent / line) if (path.parent / line).is_file() else line for line in lines if line]
        try:
            found += read_targets(beside, depth=depth + 1)
        except UsageError as error:
            raise UsageError(f"{path.name}: {error.what}", fix=error.fix) from None
    return found


def resolve(targets: Iterable[Target]) -> Iterator[Vod]:
    """The VODs of the targets, in order, each once. Raises VideochatError if a channel or collection is not there."""
    seen: set[tuple[str, str]] = set()
    for target in targets:
        for vod in [_vod(target)] if target.kind == "vod" else _listed(target):
            if (vod.platform, vod.id) not in seen:
                seen.add((vod.platform, vod.id))
                yield vod


def _vod(target: Target) -> Vod:
    return Vod(platform=target.platform, id=target.id)


def _listed(target: Target) -> Iterator[Vod]:
    from .twitch_errors import TwitchError
    from .twitch_graphql import GraphQLClient

    client = GraphQLClient()
    try:
        found = _channel(client, target.id) if target.kind == "channel" else _collection(client, target.id)
    except TwitchError as error:
        raise VideochatError(f"the {target.kind} cannot be listed: {error.what}", fix="try again later") from None
    if found is None:
        raise VideochatError(f"there is no such {target.kind}", fix="check its name")
    yield from found


def _channel(client: GraphQLClient, login: str) -> list[Vod] | None:
    """Its archived broadcasts, the newest first; None if there is no such channel."""
    vods: list[Vod] = []
    cursor = None
    while True:
        variables = {
            "channelOwnerLogin": login,
            "limit": PAGE_SIZE,
            "cursor": cursor,
            "broadcastType": "ARCHIVE",
            "videoSort": "TIME",
        }
        user = client.call("FilterableVideoTower_Videos", variables).get("user")
        if not user or user.get("id") == "":  # an unknown login is answered by null, or by a user without an id
            return None
        edges = (user.get("videos") or {}).get("edges") or []
        vods += _vods(edges, login)
        following = edges[-1].get("cursor") if edges and isinstance(edges[-1], dict) else None
        if not following or following == cursor:
            return vods
        cursor = following


def _collection(client: GraphQLClient, identity: str) -> list[Vod] | None:
    collection = client.call("CollectionSideBar", {"collectionID": identity}).get("collection")
    if not collection:
        return None
    return _vods((collection.get("items") or {}).get("edges") or [], "")


def _vods(edges: list[Any], login: str) -> list[Vod]:
    """The VODs among the edges; clips and what has no id of digits are passed over."""
    nodes = [edge.get("node") for edge in edges if isinstance(edge, dict)]
    ids = [str(node.get("id")) for node in nodes if node and node.get("__typename", "Video") == "Video"]
    return [Vod(platform="twitch", id=identity, channel=login) for identity in ids if identity.isdecimal()]
