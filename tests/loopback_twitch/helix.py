"""The public API of the loopback Twitch: an app token, games, users, videos, paged and with a rate limit.

https://dev.twitch.tv/docs/api/reference and /guide: a bucket of points a minute, told by Ratelimit-Limit, -Remaining
and -Reset (epoch seconds); 429 when it is empty; 401 for a token that is not ours or has expired.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from .messages import Request, Response
from .vods import Vod, number

if TYPE_CHECKING:
    from .server import LoopbackTwitch


def duration_text(seconds: int) -> str:
    """3h8m33s, as Helix writes lengths: leading units that are zero are left out."""
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    text = f"{hours}h" if hours else ""
    return f"{text}{minutes}m{rest}s" if hours or minutes else f"{rest}s"


class Helix:
    """points: requests allowed in window_s. client_id and client_secret: the only pair that gets a token."""

    def __init__(self, twitch: LoopbackTwitch) -> None:
        self.twitch = twitch
        self.client_id = "loopbackclient0123456789abcdef"
        self.client_secret = f"secret{secrets.token_hex(12)}"
        self.tokens: set[str] = set()
        self.points = 800
        self.window_s = 60.0
        self.num_refused = 0
        self._lock = threading.Lock()
        self._spent = 0
        self._reset_at = 0.0  # epoch seconds

    def expire_tokens(self) -> None:
        """No token that was given out works any more."""
        self.tokens.clear()

    def token(self, request: Request) -> Response:
        """id.twitch.tv/oauth2/token, by query or form."""
        if request.method != "POST" or request.path != "/oauth2/token":
            return Response.of({"error": "Not Found", "status": 404}, 404)
        asked = {**request.query, **dict(parse_qsl(request.body.decode("utf-8", "replace")))}
        if asked.get("client_id") != self.client_id:
            return Response.of({"status": 400, "message": "invalid client"}, 400)
        if asked.get("client_secret") != self.client_secret:
            return Response.of({"status": 403, "message": "invalid client secret"}, 403)
        if asked.get("grant_type") != "client_credentials":
            return Response.of({"status": 400, "message": "missing grant type"}, 400)
        token = f"token{secrets.token_hex(12)}"
        self.tokens.add(token)
        self.twitch.secrets.add(token)
        return Response.of({"access_token": token, "expires_in": 5184000, "token_type": "bearer"})

    def answer(self, request: Request) -> Response:
        """api.twitch.tv/helix/…"""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or request.headers.get("client-id") != self.client_id:
            return Response.of({"error": "Unauthorized", "status": 401, "message": "Invalid OAuth token"}, 401)
        with self._lock:
            now = time.time()
            if now >= self._reset_at:
                self._spent, self._reset_at = 0, now + self.window_s
            self._spent += 1
            left = self.points - self._spent
        headers = {
            "Ratelimit-Limit": str(self.points),
            "Ratelimit-Remaining": str(max(0, left)),
            "Ratelimit-Reset": str(int(self._reset_at + 1)),
        }
        if left < 0:
            self.num_refused += 1
            response = Response.of({"error": "Too Many Requests", "status": 429, "message": "rate limited"}, 429)
        else:
            response = self.resource(request)
        response.headers |= headers
        return response

    def resource(self, request: Request) -> Response:
        values: dict[str, list[str]] = {}
        for name, value in request.pairs:
            values.setdefault(name, []).append(value)
        if request.path == "/helix/games":
            return self.games(values)
        if request.path == "/helix/users":
            return self.users(values)
        if request.path == "/helix/videos":
            return self.videos(values)
        return Response.of({"error": "Not Found", "status": 404, "message": ""}, 404)

    def games(self, values: dict[str, list[str]]) -> Response:
        found = []
        for name, id in self.twitch.categories.items():
            if name in values.get("name", []) or id in values.get("id", []):
                picture = f"https://static-cdn.jtvnw.net/ttv-boxart/{id}-{{width}}x{{height}}.jpg"
                found.append({"id": id, "name": name, "box_art_url": picture, "igdb_id": number(name)[:5]})
        return Response.of({"data": found})

    def users(self, values: dict[str, list[str]]) -> Response:
        found = []
        for channel in self.twitch.channels.values():
            if channel.login in values.get("login", []) or channel.id in values.get("id", []):
                blank = {"type": "", "broadcaster_type": "", "description": "", "profile_image_url": ""}
                own = {"id": channel.id, "login": channel.login, "display_name": channel.display_name}
                found.append({**own, **blank, "offline_image_url": "", "created_at": "2020-01-01T00:00:00Z"})
        return Response.of({"data": found})

    def videos(self, values: dict[str, list[str]]) -> Response:
        """Newest first; by ids, or a page of those of a game or a user, filtered by language and type."""
        if not {"id", "user_id", "game_id"} & set(values):
            message = 'The parameter "id", "user_id" or "game_id" is required'
            return Response.of({"error": "Bad Request", "status": 400, "message": message}, 400)
        games = {name for name, id in self.twitch.categories.items() if id in values.get("game_id", [])}
        languages = {language.lower() for language in values.get("language", [])}
        kind = values.get("type", ["all"])[0].upper()

        def is_asked(vod: Vod) -> bool:
            if "id" in values:
                return vod.id in values["id"]
            if "user_id" in values:
                return self.twitch.channels[vod.channel].id in values["user_id"]
            return vod.category in games and (not languages or vod.language in languages)

        found = [vod for vod in self.twitch.vods.values() if is_asked(vod) and kind in ("ALL", vod.broadcast_type)]
        if "id" in values and not found:
            return Response.of({"error": "Not Found", "status": 404, "message": "no videos"}, 404)
        sort = values.get("sort", ["time"])[0]
        found.sort(key=lambda vod: (vod.views if sort == "views" else vod.created_at, vod.id), reverse=True)
        first = min(100, int(values.get("first", ["20"])[0]))
        start = int(base64.b64decode(values["after"][0])) if values.get("after", [""])[0] else 0
        page = found[start : start + first]
        more = start + first < len(found)
        pagination = {"cursor": base64.b64encode(str(start + first).encode()).decode()} if more else {}
        return Response.of({"data": [self.video(vod) for vod in page], "pagination": pagination})

    def video(self, vod: Vod) -> dict[str, Any]:
        channel = self.twitch.channels[vod.channel]
        muted = [{"duration": end - start, "offset": start} for start, end in vod.muted]
        return {
            "id": vod.id,
            "stream_id": number(f"stream{vod.id}"),
            "user_id": channel.id,
            "user_login": channel.login,
            "user_name": channel.display_name,
            "title": vod.title,
            "description": "",
            "created_at": vod.created_at,
            "published_at": vod.created_at,
            "url": f"https://www.twitch.tv/videos/{vod.id}",
            "thumbnail_url": f"https://static-cdn.jtvnw.net/cf_vods/{vod.id}/%{{width}}x%{{height}}.jpg",
            "viewable": "public",
            "view_count": vod.views,
            "language": vod.language,
            "type": vod.broadcast_type.lower(),
            "duration": duration_text(vod.duration_s),
            "muted_segments": muted or None,
        }
