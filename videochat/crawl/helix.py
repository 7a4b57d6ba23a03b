"""Twitch's official API, for what only it can do: list the VODs of a category.

    helix = Helix.from_environment()          # TWITCH_CLIENT_ID and TWITCH_CLIENT_SECRET; the token stays in memory
    for vod in helix.videos(game_id="27471", language="en", period="week", sort="views"): ...

Source: dev.twitch.tv/docs/api/reference (Get Videos, Get Games), dev.twitch.tv/docs/api/guide (rate limits: the
headers Ratelimit-Limit, -Remaining, -Reset; Reset is the Unix second at which the bucket is full again).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import MissingInput, VideochatError
from .limits import LIMITS, HostLimits

if TYPE_CHECKING:
    import requests

API_HOST = "api.twitch.tv"
TOKEN_HOST = "id.twitch.tv"
CLIENT_ID = "TWITCH_CLIENT_ID"
CLIENT_SECRET = "TWITCH_CLIENT_SECRET"
PAGE_SIZE = 100  # the API's most
NUM_TRIES = 6
MAX_BACKOFF_S = 30.0
MAX_PAUSE_S = 900.0  # buckets refill each minute; a later reset is a clock that differs
TIMEOUT_S = (10, 30)  # connect, read
HOW_TO_GET = (
    f"register an application at dev.twitch.tv/console/apps and set {CLIENT_ID} and {CLIENT_SECRET}, "
    "or pass VOD URLs: videochat crawl URL..."
)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True, kw_only=True)
class HelixVideo:
    """One archived broadcast. channel: login; language: as the channel declares it; duration_ms: whole seconds."""

    id: str
    channel: str
    language: str
    duration_ms: int
    views: int


def duration_ms(text: str) -> int:
    """ "3h8m33s" -> 11313000; 0 for anything else."""
    found = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000


class HelixError(VideochatError):
    """The API refused or could not be reached."""


class Helix:
    """A client with an app access token. Neither the secret nor the token is ever written or printed."""

    def __init__(self, client_id: str, client_secret: str, *, limits: HostLimits = LIMITS) -> None:
        import requests

        self._client_id, self._client_secret = client_id, client_secret
        self._limits = limits
        self._session = requests.Session()
        self._token = ""

    @classmethod
    def from_environment(cls, *, limits: HostLimits = LIMITS) -> Helix:
        """Raises MissingInput, which says how to get credentials, if they are not set."""
        values = [os.environ.get(name, "").strip() for name in (CLIENT_ID, CLIENT_SECRET)]
        if missing := [name for name, value in zip((CLIENT_ID, CLIENT_SECRET), values, strict=True) if not value]:
            raise MissingInput(
                f"VODs of a category need Twitch API credentials: no {', '.join(missing)}", fix=HOW_TO_GET
            )
        return cls(values[0], values[1], limits=limits)

    def videos(self, *, game_id: str, language: str, period: str, sort: str) -> Iterator[HelixVideo]:
        """Archived broadcasts of a category in the API's order, page by page as they are asked for; each id once."""
        query = {"game_id": game_id, "language": language, "period": period, "sort": sort, "type": "archive"}
        seen: set[str] = set()
        for row in self._pages("videos", {**query, "first": str(PAGE_SIZE)}):
            identity = str(row.get("id", ""))
            if not identity.isdecimal() or identity in seen or row.get("viewable", "public") != "public":
                continue
            seen.add(identity)
            yield HelixVideo(
                id=identity,
                channel=str(row.get("user_login") or ""),
                language=str(row.get("language") or ""),
                duration_ms=duration_ms(str(row.get("duration") or "")),
                views=int(row.get("view_count") or 0),
            )

    def games(self, ids: Sequence[str]) -> dict[str, str]:
        """Game id -> Twitch's name for it now, of those that exist; at most 100 ids."""
        rows = self._get("games", [("id", identity) for identity in ids]).get("data") or []
        return {str(row["id"]): str(row["name"]) for row in rows}

    def check(self) -> None:
        """Get a token. Raises HelixError if the credentials do not work."""
        self._new_token()

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            answer = self._get(path, [*query.items(), *([("after", cursor)] if cursor else [])])
            yield from (row for row in answer.get("data") or [] if isinstance(row, dict))
            following = (answer.get("pagination") or {}).get("cursor") or ""
            if not following or following == cursor or not answer.get("data"):
                return
            cursor = following

    def _get(self, path: str, query: list[tuple[str, str]]) -> dict[str, Any]:
        renewed = False
        if not self._token:
            self._new_token()
            renewed = True
        while True:
            headers = {"Client-Id": self._client_id, "Authorization": f"Bearer {self._token}"}
            answer = self._ask("GET", API_HOST, f"/helix/{path}", params=query, headers=headers)
            if answer.status_code == 401 and not renewed:
                self._new_token()  # app tokens live about 60 days and can be revoked
                renewed = True
                continue
            if answer.status_code != 200:
                raise HelixError(f"Twitch's API answers {answer.status_code} to /helix/{path}", fix=HOW_TO_GET)
            return _json(answer)

    def _new_token(self) -> None:
        data = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "grant_type": "client_credentials",
        }
        answer = self._ask("POST", TOKEN_HOST, "/oauth2/token", data=data)
        token = _json(answer).get("access_token") if answer.status_code == 200 else None
        if not isinstance(token, str) or not token:
            raise HelixError(
                f"Twitch gives no token for these credentials (status {answer.status_code})",
                fix=f"check {CLIENT_ID} and {CLIENT_SECRET}",
            )
        self._token = token

    def _ask(self, method: str, host: str, path: str, **arguments: Any) -> requests.Response:
        """One request within the host's limits; 429, 5xx, cut connections and broken JSON are tried again."""
        import requests

        reason = ""
        for number in range(NUM_TRIES):
            self._limits.wait(host)
            try:
                answer = self._session.request(method, f"https://{host}{path}", timeout=TIMEOUT_S, **arguments)
                if answer.status_code == 200:
                    answer.json()
            except (requests.RequestException, ValueError) as error:
                reason = type(error).__name__  # the text may hold the request
            else:
                if answer.status_code == 429:
                    self._limits.pause(host, _seconds_to_reset(answer.headers) or 2.0**number)
                    reason = "too many requests (429)"
                    continue
                if answer.headers.get("Ratelimit-Remaining") == "0":
                    self._limits.pause(host, _seconds_to_reset(answer.headers))
                if answer.status_code < 500:
                    return answer
                reason = f"status {answer.status_code}"
            self._limits.pause(host, min(MAX_BACKOFF_S, 0.5 * 2**number))
        raise HelixError(f"{host}{path} failed {NUM_TRIES} times, at last: {reason}", fix="try again later")


def _seconds_to_reset(headers: Mapping[str, str]) -> float:
    """Seconds until the bucket is filled: Retry-After, else Ratelimit-Reset (Unix seconds); 0 if neither is there."""
    for name, base in (("Retry-After", 0.0), ("Ratelimit-Reset", time.time())):
        try:
            return min(MAX_PAUSE_S, max(0.0, float(headers[name]) - base))
        except (KeyError, ValueError):
            continue
    return 0.0


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
