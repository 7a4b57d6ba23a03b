"""A client for gql.twitch.tv: persisted queries first, raw text when they are unknown; every failure typed.

    data = GraphQLClient().call("VideoMetadata", {"channelLogin": "", "videoID": "1234567890"})

Errors inside an answer with status 200 are errors. What may pass (connection, 5xx, 429, half an answer, a service
error) is tried again with doubling waits, or as Retry-After says; then it is raised. No cookie, token or netrc entry
is ever sent.
"""

from __future__ import annotations

import datetime
import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from .. import __version__
from ..errors import UsageError
from ..sources.formats import Notes
from ..sources.json_records import parse_lenient
from .limits import LIMITS, HostLimits
from .twitch_errors import (
    BadRequest,
    ConnectionFailed,
    IntegrityFailed,
    NotJson,
    QueryRefused,
    RateLimited,
    ServerFailed,
    ServiceFailed,
    TwitchError,
    Unauthorized,
)
from .twitch_operations import CLIENT_ID, ENDPOINT, OPERATIONS, Operation

if TYPE_CHECKING:
    import requests

USER_AGENT = f"videochat-toolkit/{__version__}"
TIMEOUT_S = (15.0, 60.0)  # to connect; between two bytes
UNKNOWN_HASH = "PersistedQueryNotFound"


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How long to insist on one request.

    max_attempts: >= 1. first_wait_s: before the second attempt; it doubles up to longest_wait_s.
    max_pause_s: a Retry-After beyond this is not waited for: the request fails at once.
    """

    max_attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    max_pause_s: float = 900.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or min(self.first_wait_s, self.longest_wait_s, self.max_pause_s) < 0:
            raise UsageError(f"{self}", fix="max_attempts >= 1, waits >= 0")

    def wait_s(self, attempt: int) -> float:
        """Seconds before attempt number `attempt` (2 is the second)."""
        return float(min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 2)))


PATIENT = Retry()


class GraphQLClient:
    """session: a requests session of this client alone (sessions are not for several threads)."""

    def __init__(
        self,
        *,
        session: requests.Session | None = None,
        limits: HostLimits = LIMITS,
        retry: Retry = PATIENT,
        client_id: str = CLIENT_ID,
        endpoint: str = ENDPOINT,
    ) -> None:
        if session is None:
            import requests

            session = requests.Session()
        self.session = session
        self.limits = limits
        self.retry = retry
        self.client_id = client_id
        self.endpoint = endpoint
        self.num_requests = 0
        self._host = urlsplit(endpoint).hostname or ""
        self._rotated: set[str] = set()  # operations whose hash Twitch no longer knows

    def call(
        self, operation: str | Operation, variables: Mapping[str, Any], *, retry: Retry | None = None
    ) -> dict[str, Any]:
        """The answer's `data`. Raises TwitchError, after `retry.max_attempts` requests where trying again may help."""
        if isinstance(operation, str):
            operation = OPERATIONS[operation]
        retry = retry or self.retry
        attempt = 1
        while True:
            raw = operation.name in self._rotated
            try:
                answer = self._post([operation.body(variables, raw=raw)])
                return _data(answer[0])
            except QueryRefused as error:
                if error.what != UNKNOWN_HASH or raw or operation.sha256 is None:
                    raise
                self._rotated.add(operation.name)
            except TwitchError as error:
                attempt += 1
                may_help = error.retryable or (isinstance(error, Unauthorized) and attempt == 2)  # a hiccup, or not
                if not may_help or attempt > retry.max_attempts:
                    raise
                self._rest(error, retry, attempt)

    @property
    def rotated(self) -> frozenset[str]:
        """Operations whose persisted hash was refused, so that the table wants an update."""
        return frozenset(self._rotated)

    def _rest(self, error: TwitchError, retry: Retry, attempt: int) -> None:
        if error.retry_after_s is None:
            time.sleep(retry.wait_s(attempt))
            return
        if error.retry_after_s > retry.max_pause_s:
            raise error
        self.limits.pause(self._host, error.retry_after_s)  # for everybody; the next request waits in limits.wait

    def _post(self, calls: list[dict[str, Any]]) -> list[Any]:
        """One request; the list of answers, one for each call."""
        import requests

        self.limits.wait(self._host)
        self.num_requests += 1
        headers = {"Content-Type": "application/json", "Client-ID": self.client_id, "User-Agent": USER_AGENT}
        try:
            response = self.session.post(
                self.endpoint,
                data=orjson.dumps(calls),
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                auth=_nobody,
            )
            content = response.content
        except requests.RequestException as error:
            raise ConnectionFailed(f"{self._host}: no whole answer ({type(error).__name__})") from None
        _check_status(self._host, response.status_code, response.headers)
        return _parse(self._host, content, len(calls))


def _nobody(request: Any) -> Any:
    """Authorization by nobody: requests would else send what the user's netrc holds for this host."""
    return request


def _check_status(host: str, status: int, headers: Mapping[str, str]) -> None:
    if status == 200:
        return
    what = f"{host} answered {status}"
    after = retry_after_s(headers.get("Retry-After"))
    if status == 429:
        raise RateLimited(what, fix="wait, or ask fewer recordings at once", retry_after_s=after)
    if status in (401, 403):
        raise Unauthorized(what, fix="the public client id is refused: `videochat doctor --probe` says what works")
    if status >= 500:
        raise ServerFailed(what, retry_after_s=after)
    raise BadRequest(what)


def retry_after_s(value: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds of a Retry-After header: a number, or a date; None if it is absent or neither."""
    if value is None:
        return None
    try:
        return max(0.0, min(float(value), 1e9)) if float(value) == float(value) else None
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, when.timestamp() - now())


def _parse(host: str, content: bytes, count: int) -> list[Any]:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = _repaired(content)
    if value is None:
        start = content.lstrip()[:200].lower()
        seen = "an HTML page" if start.startswith((b"<!doctype html", b"<html")) else f"{len(content)} bytes, no JSON"
        raise NotJson(f"{host} answered {seen}")
    if isinstance(value, dict) and count == 1:
        value = [value]  # an error of the whole request comes without the list
    if not isinstance(value, list) or len(value) != count or not all(isinstance(item, dict) for item in value):
        raise NotJson(f"{host} answered JSON that is no GraphQL answer")
    return value


def _repaired(content: bytes) -> Any:
    """Whole JSON with damaged characters, such as half a surrogate pair in somebody's name; None if it is not whole."""
    try:
        return parse_lenient(content, Notes())
    except (ValueError, RecursionError):
        return None


def _data(answer: dict[str, Any]) -> dict[str, Any]:
    """The data of one answer. Raises for anything in `errors`, and where there is neither."""
    data = answer.get("data")
    held = data if isinstance(data, dict) else None
    errors = answer.get("errors")
    if errors:
        raise _error(errors, answer, held)
    if held is None:
        raise NotJson("gql.twitch.tv answered without data and without errors")
    return held


def _error(errors: Any, answer: dict[str, Any], data: dict[str, Any] | None) -> TwitchError:
    listed = errors if isinstance(errors, list) else [errors]
    messages = [str(error.get("message", "")) if isinstance(error, dict) else str(error) for error in listed]
    what = "; ".join(messages)[:300] or "an error without a message"
    extensions = answer.get("extensions")
    challenge = extensions.get("challenge") if isinstance(extensions, dict) else None
    lowered = what.lower()
    if "integrity" in lowered or (isinstance(challenge, dict) and challenge.get("type") == "integrity"):
        return IntegrityFailed(what, data=data)
    if UNKNOWN_HASH.lower() in lowered.replace("_", ""):
        return QueryRefused(UNKNOWN_HASH, fix="videochat/crawl/twitch_operations.py wants an update")
    if "service" in lowered or "timeout" in lowered or "unavailable" in lowered or "internal" in lowered:
        return ServiceFailed(what, data=data)
    return QueryRefused(what, data=data)
