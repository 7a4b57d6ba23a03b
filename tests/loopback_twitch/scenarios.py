"""The misfortunes that a crawler is judged by, one VOD and at most two faults each, the same for every tool.

    vod = SCENARIOS["integrity"].lay_out(twitch)       # then let a tool fetch vod.id and compare with vod.comments

Chat has 600 comments over 120 s (11 pages of 59) unless the scenario is about something else; video is 120 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .vods import Vod, comments

if TYPE_CHECKING:
    from .server import LoopbackTwitch

URL = "https://www.twitch.tv/videos/"
LENGTH_S = 120


def plain(**options: Any) -> Vod:
    return Vod(comments=comments(600, LENGTH_S, seed=11), duration_s=LENGTH_S, **options)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """summary: for the table. touches: what it can spoil, "chat" or "video". faults: (name, options).

    is_recoverable: a client that persists can get everything. held: False if the service has no such VOD at all.
    """

    summary: str
    touches: str = "chat"
    faults: tuple[tuple[str, dict[str, Any]], ...] = ()
    build: Callable[[], Vod] = plain
    is_recoverable: bool = True
    held: bool = True

    def lay_out(self, twitch: LoopbackTwitch) -> Vod:
        """Put the VOD and the faults into a fresh loopback. Returns the VOD; its comments are what could be had."""
        vod = self.build()
        if self.held:
            twitch.add_vod(vod)
        for name, options in self.faults:
            twitch.fault(name, **options)
        return vod


def in_the_middle(name: str, **options: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The fault strikes the first time after four pages of chat or requests before them have passed."""
    return ((name, {"n": 6, **options}),)


SCENARIOS: dict[str, Scenario] = {
    "healthy": Scenario(summary="nothing wrong"),
    "integrity": Scenario(
        summary="integrity failure of the cursor after page 2, for good", faults=(("integrity-after-page", {"n": 2}),)
    ),
    "integrity-passing": Scenario(
        summary="integrity failure after page 2, once", faults=(("integrity-after-page", {"n": 2, "times": 1}),)
    ),
    "null-once": Scenario(
        summary="`comments: null` once, after page 4", faults=(("comments-null", {"n": 4, "times": 1}),)
    ),
    "null-service-error": Scenario(
        summary="`comments: null` with a service error, three times after page 4",
        faults=(("comments-null", {"n": 4, "times": 3, "message": "service error"}),),
    ),
    "null-always": Scenario(
        summary="`comments: null` from the first page on (an old VOD)",
        faults=(("comments-null", {}),),
        is_recoverable=False,
    ),
    "rotated": Scenario(summary="all persisted hashes unknown", faults=(("rotated-hashes", {}),)),
    "unauthorized": Scenario(summary="401 once, in the middle", faults=in_the_middle("unauthorized", times=1)),
    "unauthorized-always": Scenario(summary="401 always", faults=(("unauthorized", {}),), is_recoverable=False),
    "rate-limit": Scenario(
        summary="429 with Retry-After: 2, in the middle", faults=in_the_middle("rate-limit", times=1, retry_after_s=2)
    ),
    "server-error": Scenario(summary="a burst of three 500s", faults=in_the_middle("server-error", times=3)),
    "truncated-json": Scenario(summary="JSON cut in half, once", faults=in_the_middle("truncated-json", times=1)),
    "html-page": Scenario(summary="an HTML error page, once", faults=in_the_middle("html-page", times=1)),
    "cut-answer": Scenario(summary="connection cut in an answer, once", faults=in_the_middle("cut-answer", times=1)),
    "unknown-id": Scenario(summary="an id that does not exist", held=False, is_recoverable=False),
    "zero-length": Scenario(
        summary="a VOD of 0 s with 20 comments",
        build=lambda: Vod(duration_s=0, comments=comments(0, 0, seed=12, after_end=20)),
    ),
    "overflow": Scenario(
        summary="150 comments in one second, cursor works",
        build=lambda: Vod(comments=comments(450, LENGTH_S, seed=13, burst=(60, 150)), duration_s=LENGTH_S),
    ),
    "overflow-integrity": Scenario(
        summary="150 comments in one second, cursor refused after page 2",
        build=lambda: Vod(comments=comments(450, LENGTH_S, seed=13, burst=(60, 150)), duration_s=LENGTH_S),
        faults=(("integrity-after-page", {"n": 2}),),
        is_recoverable=False,
    ),
    "after-end": Scenario(
        summary="70 of 600 comments 1 to 178 s after the end",
        build=lambda: Vod(comments=comments(530, LENGTH_S, seed=14, after_end=70), duration_s=LENGTH_S),
    ),
    "slow": Scenario(
        summary="a slow server: 0.2 s an answer, 400 kB/s in all",
        faults=(("slow", {"latency_s": 0.2, "bytes_per_s": 400_000}),),
    ),
    "cut-fragment": Scenario(
        summary="connection cut mid-fragment, once", touches="video", faults=(("cut", {"segment": 5, "times": 1}),)
    ),
    "missing-fragment": Scenario(
        summary="one fragment answers 404",
        touches="video",
        faults=(("missing-fragment", {"segment": 5}),),
        is_recoverable=False,
    ),
    "muted": Scenario(
        summary="a muted part, named N-unmuted.ts (403) in the playlist",
        touches="video",
        build=lambda: plain(muted=[(40, 60)]),
        faults=(("muted-403", {}),),
    ),
    "gap": Scenario(
        summary="20 s missing in the playlist, with a discontinuity",
        touches="video",
        build=lambda: plain(gaps=[(40, 60)]),
        is_recoverable=False,
    ),
    "fragment-burst": Scenario(
        summary="a burst of three 500s on fragments",
        touches="video",
        faults=(("server-error", {"host": "media", "times": 3}),),
    ),
    "slow-media": Scenario(
        summary="media at 400 kB/s in all",
        touches="video",
        faults=(("slow", {"host": "media", "bytes_per_s": 400_000}),),
    ),
}
