"""One rate limit for each host, shared by everything in this process that talks to it.

A bucket of tokens for each host: `wait` takes one and sleeps until it is there; `pause` stops the host for everybody,
as a Retry-After asks. Callers are served in the order in which they came.

    LIMITS.wait("gql.twitch.tv")
    LIMITS.pause("gql.twitch.tv", 30)

Twitch documents no limit for its GraphQL and media hosts (FACTS §5); the rates below are what keeps a crawl far under
what one person's browser with a few tabs asks for. Helix documents 800 points a minute for an app token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError

MAX_SLEEP_S = 5.0  # a sleeper looks again this often if the host has been paused meanwhile


@dataclass(frozen=True, kw_only=True)
class Rate:
    """per_second: requests a second in the long run, > 0. burst: requests that may go at once after a rest, >= 1."""

    per_second: float
    burst: int = 1

    def __post_init__(self) -> None:
        if self.per_second <= 0 or self.burst < 1:
            raise UsageError(f"rate {self.per_second}/s, burst {self.burst}", fix="per_second > 0 and burst >= 1")


# A name stands for the host and everything under it, in one bucket: all of *.cloudfront.net together.
RATES: dict[str, Rate] = {
    "gql.twitch.tv": Rate(per_second=10, burst=20),
    "api.twitch.tv": Rate(per_second=10, burst=20),
    "id.twitch.tv": Rate(per_second=1, burst=2),
    "usher.ttvnw.net": Rate(per_second=2, burst=8),
    "cloudfront.net": Rate(per_second=40, burst=40),
    "ttvnw.net": Rate(per_second=40, burst=40),
    "youtube.com": Rate(per_second=4, burst=8),
    "googlevideo.com": Rate(per_second=20, burst=20),
}
DEFAULT_RATE = Rate(per_second=5, burst=10)


class HostLimits:
    """Token buckets by host; safe to use from many threads. rates: host or parent domain -> Rate."""

    def __init__(self, rates: Mapping[str, Rate] = RATES, default: Rate = DEFAULT_RATE) -> None:
        self._lock = threading.Lock()
        self._rates = dict(rates)
        self._default = default
        self._due: dict[str, float] = {}  # when the bucket would be full again (generic cell rate algorithm)
        self._paused: dict[str, float] = {}  # no request before this time

    def configure(self, rates: Mapping[str, Rate]) -> None:
        """Replace the rates of some hosts (or parent domains) from now on."""
        with self._lock:
            self._rates |= rates

    def bucket(self, host: str) -> str:
        """The longest known name that is `host` or a parent of it, else the host itself."""
        host = host.lower().rstrip(".")
        parts = host.split(".")
        names = (".".join(parts[start:]) for start in range(len(parts)))
        return next((name for name in names if name in self._rates), host)

    def wait(self, host: str) -> float:
        """Take a token, sleeping until it is due and no pause is on; the seconds that were slept."""
        begin = time.monotonic()
        name = self.bucket(host)
        with self._lock:
            rate = self._rates.get(name, self._default)
            interval = 1 / rate.per_second
            due = max(self._due.get(name, begin), begin)
            self._due[name] = due + interval
            turn = due - (rate.burst - 1) * interval
        while True:
            with self._lock:
                until = max(turn, self._paused.get(name, turn))
            left = until - time.monotonic()
            if left <= 0:
                return time.monotonic() - begin
            time.sleep(min(left, MAX_SLEEP_S))

    def pause(self, host: str, seconds: float) -> None:
        """Let nobody ask `host` for `seconds` from now; a longer pause that is on stays."""
        name = self.bucket(host)
        with self._lock:
            self._paused[name] = max(self._paused.get(name, 0.0), time.monotonic() + seconds)

    def paused_s(self, host: str) -> float:
        """Seconds that a pause of `host` still lasts; 0 if there is none."""
        with self._lock:
            return max(0.0, self._paused.get(self.bucket(host), 0.0) - time.monotonic())


LIMITS = HostLimits()
