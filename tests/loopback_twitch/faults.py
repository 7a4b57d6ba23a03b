"""How the loopback Twitch misbehaves: `twitch.fault(name, **options)`.

Each fault sees the requests of its kind of host and either answers in the service's place or changes the answer.
Common options: vod (only that VOD), times (how often it strikes, None for always), after (how many matching requests
pass first). The table FAULTS names them all; `fault.struck` counts how often one struck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .messages import Request, Response

Serve = Callable[[], Response]
COMMENTS = "VideoCommentsByOffsetOrCursor"


@dataclass(eq=False)
class Fault:
    """One fault that is on. kinds: the hosts that it concerns. options: what its behaviour takes."""

    name: str
    strike: Callable[[Fault, Request, Serve], Response]
    kinds: tuple[str, ...]
    wants: Callable[[Request], bool]
    vod: str | None = None
    times: int | None = None
    after: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    struck: int = 0
    is_on: bool = True
    seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, request: Request) -> bool:
        """True if the fault strikes at this request; counts it."""
        if not self.is_on or request.kind not in self.kinds or self.vod not in (None, request.vod):
            return False
        if not self.wants(request):
            return False
        with self._lock:
            self.seen += 1
            if self.seen <= self.after or (self.times is not None and self.struck >= self.times):
                return False
            self.struck += 1
            return True

    def remove(self) -> None:
        self.is_on = False


def is_comments(request: Request) -> bool:
    return COMMENTS in request.operations


FAULTS: dict[str, tuple[Callable[[Fault, Request, Serve], Response], tuple[str, ...], Callable[[Request], bool]]] = {}
