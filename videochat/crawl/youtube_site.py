"""chat-downloader's YouTube site under our rate limits. Import this module only where it is used: it is slow.

Its requests wait their turn, a 429 or 5xx is repeated as Retry-After says, and what is refused all the same is kept in
`refused`, since chat-downloader takes a page without a continuation for the end of the chat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from chat_downloader.debugging import disable_logger
from chat_downloader.sites.youtube import YouTubeChatDownloader

from ..errors import BadRecording
from .limits import HostLimits
from .twitch_graphql import TIMEOUT_S, Retry, retry_after_s

disable_logger()  # its log lines quote answers, and so names


class YouTubeSite(YouTubeChatDownloader):  # type: ignore[misc]  # chat-downloader is untyped
    """refused: how the last refusal is called, "" if there was none; num_requests: so far."""

    def __init__(self, *, retry: Retry, limits: HostLimits) -> None:
        super().__init__()
        self.retry_plan = retry
        self.limits = limits
        self.refused = ""
        self.num_requests = 0

    def messages(self, url: str, end_ms: int | None, groups: Sequence[str]) -> Iterator[Any]:
        """chat-downloader's messages of the replay at `url` up to `end_ms` (None: all). Raises its errors, or
        BadRecording.

        Its own start_time and end_time are not used: with them, one message without a time ends the chat in silence.
        """
        match_info = self.matches(url)
        if not match_info or match_info[0] != "_get_chat_by_video_id":
            raise BadRecording("unknown-video", f"{url} is not the address of a YouTube video")
        params = {
            "max_attempts": self.retry_plan.max_attempts,
            "retry_timeout": self.retry_plan.first_wait_s,
            "interruptible_retry": False,  # else it reads the terminal
            "message_groups": list(groups),
            "chat_type": "live",  # all messages, not the "top" ones
        }
        chat = self.get_chat_by_video_id(match_info[1].group("id"), params)
        if chat.status != "past":
            raise BadRecording("still-live", f"{url} is {chat.status}", fix="crawl it when it has ended")
        for item in chat:
            if end_ms is not None and float(item.get("time_in_seconds") or 0) * 1000 >= end_ms:
                return
            yield item

    def _session_get(self, url: str, **options: Any) -> Any:
        return self._politely(super()._session_get, url, options)

    def _session_post(self, url: str, **options: Any) -> Any:
        return self._politely(super()._session_post, url, options)

    def _politely(self, send: Callable[..., Any], url: str, options: dict[str, Any]) -> Any:
        host = urlsplit(url).hostname or ""
        attempt = 1
        while True:
            self.limits.wait(host)
            self.num_requests += 1
            response = send(url, timeout=TIMEOUT_S, **options)
            status = response.status_code
            self.refused = "" if status == 200 else f"http-{status}"
            attempt += 1
            if not (status == 429 or status >= 500) or attempt > self.retry_plan.max_attempts:
                return response
            after = retry_after_s(response.headers.get("Retry-After"))
            if after is None:
                time.sleep(self.retry_plan.wait_s(attempt))
            elif after > self.retry_plan.max_pause_s:
                return response
            else:
                self.limits.pause(host, after)
