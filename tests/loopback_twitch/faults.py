"""How the loopback Twitch misbehaves: `twitch.fault(name, **options)`.

    twitch.fault("integrity-after-page", n=2)          the cursor is refused after two pages of each VOD
    twitch.fault("rate-limit", times=1, retry_after_s=2, host="gql")
    twitch.fault("cut", segment=3, times=1)            the connection ends in the middle of that fragment

Each fault sees the requests of its kinds of host and answers in the service's place or changes the answer. Options of
every fault: vod (only that VOD), times (how often it strikes in all, None for always), after or n (how many counted
requests of each VOD pass first), host (another kind of host than its own: gql, usher, media, api, id). Its own options
stand in its docstring. `fault.struck` counts, `fault.remove()` ends it. Some misfortunes need no fault, they are in
what is held: a VOD of 0 s, an id that nobody added, `comments(…, burst=(second, n))` for more comments in one second
than a page holds, `comments(…, after_end=n)`, `Vod(gaps=…)`.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .messages import Request, Response

Serve = Callable[[], Response]
COMMENTS = "VideoCommentsByOffsetOrCursor"
HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"


class Behaviour(NamedTuple):
    """strike: answers. kinds: hosts that it concerns. counts: requests that `after` counts. wants: those it strikes."""

    strike: Callable[[Fault, Request, Serve], Response]
    kinds: tuple[str, ...]
    counts: Callable[[Request], bool]
    wants: Callable[[Request], bool]


@dataclass(eq=False, kw_only=True)
class Fault:
    """One fault that is on. violations: requests that came before the time that a Retry-After had stated."""

    name: str
    behaviour: Behaviour
    kinds: tuple[str, ...]
    vod: str | None = None
    times: int | None = None
    after: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    struck: int = 0
    violations: int = 0
    is_on: bool = True
    pause_until_s: float = 0.0  # on the monotonic clock
    _seen: Counter[str] = field(default_factory=Counter)
    _free_s: dict[Any, float] = field(default_factory=dict)  # when the throttled line is free again
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, request: Request) -> bool:
        """True if the fault strikes at this request; counts it."""
        if not self.is_on or request.kind not in self.kinds or self.vod not in (None, request.vod):
            return False
        if self.options.get("segment", request.segment) != request.segment:
            return False
        with self._lock:
            if time.monotonic() < self.pause_until_s:
                self.violations += 1
                return True
            if not self.behaviour.counts(request):
                return False
            self._seen[request.vod] += 1
            if self._seen[request.vod] <= self.after or not self.behaviour.wants(request):
                return False
            if self.times is not None and self.struck >= self.times:
                return False
            self.struck += 1
            return True

    def remove(self) -> None:
        self.is_on = False

    def delay_s(self, size: int, connection: Any) -> float:
        """Seconds until `size` more bytes may have gone over the throttled line."""
        rate = self.options.get("bytes_per_s")
        if not rate:
            return 0.0
        line = connection if self.options.get("per") == "connection" else None
        with self._lock:
            now = time.monotonic()
            self._free_s[line] = max(now, self._free_s.get(line, 0.0)) + size / rate
            return self._free_s[line] - now


def anything(_: Request) -> bool:
    return True


def is_comments(request: Request) -> bool:
    return COMMENTS in request.operations


def has_cursor(request: Request) -> bool:
    return is_comments(request) and any(variables.get("cursor") for variables in request.variables)


def is_segment(request: Request) -> bool:
    return request.segment is not None


def is_playlist(request: Request) -> bool:
    return request.path.endswith("index-dvr.m3u8")


def is_persisted(request: Request) -> bool:
    return b'"sha256Hash"' in request.body and b'"query"' not in request.body


def edit_video(response: Response, edit: Callable[[dict[str, Any], dict[str, Any]], None]) -> Response:
    """The response after edit(answer, its data) of each GraphQL answer."""
    value = json.loads(response.body)
    for answer in value if isinstance(value, list) else [value]:
        edit(answer, answer.get("data") or {})
    return Response.of(value, response.status)


def strike_integrity(fault: Fault, request: Request, serve: Serve) -> Response:
    """After n pages the cursor is refused: `comments: null`, "failed integrity check", a challenge in extensions.
    Offsets are answered on."""
    challenge = {"challenge": {"type": "integrity"}, "durationMilliseconds": 12, "operationName": COMMENTS}

    def edit(answer: dict[str, Any], data: dict[str, Any]) -> None:
        data["video"]["comments"] = None
        answer["errors"] = [{"message": "failed integrity check", "path": ["video", "comments"]}]
        answer["extensions"] = challenge

    return edit_video(serve(), edit)


def strike_comments_null(fault: Fault, request: Request, serve: Serve) -> Response:
    """`comments: null`, for offsets too. message: an error beside it, such as "service error"; default none at all."""

    def edit(answer: dict[str, Any], data: dict[str, Any]) -> None:
        data["video"]["comments"] = None
        if message := fault.options.get("message"):
            answer["errors"] = [{"message": message, "path": ["video", "comments"]}]

    return edit_video(serve(), edit)


def strike_rotated(fault: Fault, request: Request, serve: Serve) -> Response:
    """No persisted hash is known: PersistedQueryNotFound. Raw texts are answered on."""
    value = json.loads(request.body)
    answer = {"errors": [{"message": "PersistedQueryNotFound"}]}
    return Response.of([answer] * len(value) if isinstance(value, list) else answer)


def strike_unauthorized(fault: Fault, request: Request, serve: Serve) -> Response:
    """401."""
    return Response.of({"error": "Unauthorized", "status": 401, "message": "Invalid OAuth token"}, 401)


def strike_rate_limit(fault: Fault, request: Request, serve: Serve) -> Response:
    """429 with Retry-After of retry_after_s (default 1); whoever comes before that gets it again, as a violation."""
    now = time.monotonic()
    if now >= fault.pause_until_s:
        fault.pause_until_s = now + fault.options.get("retry_after_s", 1)
        left = fault.options.get("retry_after_s", 1)
    else:
        left = max(1, round(fault.pause_until_s - now + 0.5))
    return Response.of({"error": "Too Many Requests", "status": 429}, 429, Retry_After=left)


def strike_server_error(fault: Fault, request: Request, serve: Serve) -> Response:
    """status (default 500), with `times` a burst."""
    status = fault.options.get("status", 500)
    return Response.of({"error": "Internal Server Error", "status": status}, status)


def strike_truncated(fault: Fault, request: Request, serve: Serve) -> Response:
    """The body stops after `fraction` (default 0.5) of it, and Content-Length agrees: JSON that does not end."""
    response = serve()
    response.body = response.body[: int(len(response.body) * fault.options.get("fraction", 0.5))]
    return response


def strike_html(fault: Fault, request: Request, serve: Serve) -> Response:
    """A page for people, with `status` (default 200)."""
    return Response(fault.options.get("status", 200), HTML, "text/html; charset=utf-8")


def strike_cut(fault: Fault, request: Request, serve: Serve) -> Response:
    """The connection ends after `fraction` (default 0.5) of a fragment. segment: only that one."""
    response = serve()
    response.cut_after = int(len(response.body) * fault.options.get("fraction", 0.5))
    return response


def strike_missing(fault: Fault, request: Request, serve: Serve) -> Response:
    """A fragment of the playlist is not there: `status` (default 404). segment: which one."""
    return Response(fault.options.get("status", 404), b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")


def strike_muted(fault: Fault, request: Request, serve: Serve) -> Response:
    """The playlist names muted parts N-unmuted.ts, which answer 403, while N-muted.ts would be there."""
    response = serve()
    response.body = response.body.replace(b"-muted.ts", b"-unmuted.ts")
    return response


def strike_zero_length(fault: Fault, request: Request, serve: Serve) -> Response:
    """The playlist has no fragments, whatever the declared length; Vod(duration_s=0) is the honest kind."""
    kept = [line for line in serve().body.splitlines() if line.startswith(b"#") and not line.startswith(b"#EXTINF")]
    return Response(200, b"\n".join(kept) + b"\n", "application/vnd.apple.mpegurl")


def strike_gone(fault: Fault, request: Request, serve: Serve) -> Response:
    """A VOD that was here is not any more: `video: null` with HTTP 200, no playlist, no media."""
    if request.kind != "gql":
        return Response.of([{"type": "error", "error": "Not Found", "error_code": "vod_not_found"}], 404)

    def edit(answer: dict[str, Any], data: dict[str, Any]) -> None:
        data.update(dict.fromkeys({"video", "videoPlaybackAccessToken"} & set(data)))

    return edit_video(serve(), edit)


def strike_restricted(fault: Fault, request: Request, serve: Serve) -> Response:
    """The playlist is for subscribers only: 403 with error_code vod_manifest_restricted."""
    error = {"type": "error", "error": "Manifest is restricted", "error_code": "vod_manifest_restricted"}
    return Response.of([error], 403)


def strike_slow(fault: Fault, request: Request, serve: Serve) -> Response:
    """latency_s before each answer; bytes_per_s for all connections together, or each with per="connection"."""
    time.sleep(fault.options.get("latency_s", 0.0))
    return serve()


GQL = ("gql",)
MEDIA = ("media",)
ALL = ("gql", "usher", "media", "api", "id", "www")
FAULTS: dict[str, Behaviour] = {
    "integrity-after-page": Behaviour(strike_integrity, GQL, is_comments, has_cursor),
    "comments-null": Behaviour(strike_comments_null, GQL, is_comments, is_comments),
    "rotated-hashes": Behaviour(strike_rotated, GQL, is_persisted, anything),
    "unauthorized": Behaviour(strike_unauthorized, GQL, anything, anything),
    "rate-limit": Behaviour(strike_rate_limit, GQL, anything, anything),
    "server-error": Behaviour(strike_server_error, GQL, anything, anything),
    "truncated-json": Behaviour(strike_truncated, GQL, anything, anything),
    "html-page": Behaviour(strike_html, GQL, anything, anything),
    "cut": Behaviour(strike_cut, MEDIA, is_segment, is_segment),
    "cut-answer": Behaviour(strike_cut, GQL, anything, anything),
    "missing-fragment": Behaviour(strike_missing, MEDIA, is_segment, is_segment),
    "muted-403": Behaviour(strike_muted, MEDIA, is_playlist, is_playlist),
    "zero-length": Behaviour(strike_zero_length, MEDIA, is_playlist, is_playlist),
    "gone": Behaviour(strike_gone, ALL, anything, anything),
    "restricted": Behaviour(strike_restricted, ("usher",), anything, anything),
    "slow": Behaviour(strike_slow, ALL, anything, anything),
}


def make_fault(name: str, options: dict[str, Any]) -> Fault:
    """A fault from its name and options. Raises KeyError for a name that is not in FAULTS."""
    behaviour = FAULTS[name]
    host = options.pop("host", None)
    kinds = ALL if host == "all" else (host,) if host else behaviour.kinds
    after = options.pop("n", options.pop("after", 0))
    own = {key: options.pop(key, None) for key in ("vod", "times")}
    if name in ("cut", "server-error", "rate-limit", "truncated-json", "html-page", "unauthorized") and host == "media":
        behaviour = behaviour._replace(counts=is_segment, wants=is_segment)
    return Fault(name=name, behaviour=behaviour, kinds=kinds, after=after, options=options, **own)
