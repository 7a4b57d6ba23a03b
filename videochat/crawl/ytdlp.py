"""yt-dlp as we use it: what it extracts and how it talks to servers, under our limits, silent, without credentials.

    with Downloader(LIMITS) as ydl:
        info = ydl.describe("https://www.youtube.com/watch?v=…")

Every request of it, whatever for, goes through `open_once`: it waits for its host's turn and lets a 429 or 503 stop
the host for everybody. Cookies live in memory for one VOD; no cookie file, netrc, cache or configuration is read.
yt-dlp is imported with this module, so import it inside functions.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yt_dlp
from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, RequestError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, determine_protocol

from ..errors import BadRecording
from .limits import LIMITS, HostLimits
from .scrub import scrub
from .twitch_graphql import Retry, retry_after_s

T = TypeVar("T")
LOG = logging.getLogger(__name__)
SOCKET_TIMEOUT_S = 30
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


class _Log:
    """yt-dlp's messages in our log, without addresses and tokens."""

    def debug(self, message: str) -> None:
        LOG.debug("%s", scrub(message))

    info = warning = error = debug


def is_passing(error: Exception) -> bool:
    """True if the same request may well succeed later: a broken connection, 429, 408, 5xx."""
    if isinstance(error, HTTPError):
        return error.status in (408, 429) or error.status >= 500
    return isinstance(error, TransportError) and not isinstance(error, CertificateVerifyError)


class Downloader(yt_dlp.YoutubeDL):  # type: ignore[misc]
    """A YoutubeDL for one VOD. stop: set by another thread, it ends all waiting."""

    def __init__(self, limits: HostLimits = LIMITS, retry: Retry | None = None) -> None:
        self.limits = limits
        self.retry = retry or Retry()
        self.stop = threading.Event()
        super().__init__(
            {
                "logger": _Log(),
                "quiet": True,
                "no_warnings": False,
                "noprogress": True,
                "color": "never",
                "cachedir": False,
                "usenetrc": False,
                "noplaylist": True,
                "ignoreerrors": False,
                "check_formats": False,
                "skip_unavailable_fragments": False,
                "socket_timeout": SOCKET_TIMEOUT_S,
                # the operating system's authorities where the user names them, else the ones that certifi brings
                "compat_opts": {"no-certifi"} if any(os.environ.get(name) for name in AUTHORITIES) else set(),
            }
        )

    def save_cookies(self) -> None:
        """Never."""

    def open_once(self, request: Any) -> Any:
        """One request in its turn. Raises yt-dlp's RequestError; a Retry-After holds the host back for everybody."""
        host = urlsplit(request.url if isinstance(request, Request) else request).hostname or ""
        self.limits.wait(host)
        try:
            return super().urlopen(request)
        except HTTPError as error:
            if error.status in (429, 503):
                seconds = retry_after_s(error.response.headers.get("Retry-After"))
                if seconds is not None and seconds <= self.retry.max_pause_s:
                    self.limits.pause(host, seconds)
            raise

    def urlopen(self, req: Any) -> Any:
        """What yt-dlp's extractors call: `open_once`, again and again while that may help."""
        attempt = 1
        while True:
            try:
                return self.open_once(req.copy() if isinstance(req, Request) else req)
            except RequestError as error:
                attempt += 1
                self.rest(error, attempt)

    def rest(self, error: Exception, attempt: int) -> None:
        """Sleep before attempt number `attempt`; raises `error` if there is to be none."""
        if attempt > self.retry.max_attempts or not is_passing(error) or self.stop.is_set():
            raise error
        if isinstance(error, HTTPError):
            error.close()
            seconds = retry_after_s(error.response.headers.get("Retry-After"))
            if seconds is not None:
                if seconds > self.retry.max_pause_s:
                    raise error
                return  # the next request waits for the end of the pause
        self.stop.wait(self.retry.wait_s(attempt))

    def insist(self, ask: Callable[[], T], passing: Collection[str]) -> T:
        """What `ask` returns, asking again where it raises a BadRecording of a class that may pass."""
        attempt = 1
        while True:
            try:
                return ask()
            except BadRecording as error:
                attempt += 1
                if error.error_class not in passing or attempt > self.retry.max_attempts:
                    raise
                self.stop.wait(self.retry.wait_s(attempt))

    def describe(self, url: str) -> dict[str, Any]:
        """What yt-dlp knows of one video: names, times, formats. Raises BadRecording with the class of the failure."""
        try:
            info = self.extract_info(url, download=False, process=False)
            while info and info.get("_type") in ("url", "url_transparent"):
                info = self.extract_info(info["url"], download=False, process=False, ie_key=info.get("ie_key"))
        except (DownloadError, ExtractorError) as error:
            raise _bad_recording(error) from None
        if not info or info.get("_type", "video") != "video":
            raise BadRecording("no-video", "the address is not that of one video", fix="pass the address of a VOD")
        for offered in info.get("formats") or ([info] if info.get("url") else []):
            offered["protocol"] = offered.get("protocol") or determine_protocol(offered)
        return dict(info)

    def twitch_formats(self, video_id: str, token: Mapping[str, str]) -> list[dict[str, Any]]:
        """The renditions that Twitch's playlist server offers for an access token. Raises BadRecording."""
        extractor = self.get_info_extractor("TwitchVod")

        def ask() -> list[dict[str, Any]]:
            try:
                formats = extractor._extract_twitch_m3u8_formats("vod", video_id, token["value"], token["signature"])
            except (DownloadError, ExtractorError) as error:
                raise _bad_recording(error) from None
            if not formats:
                raise BadRecording("bad-playlist", "the answer for the renditions is no playlist", fix="run it again")
            return list(formats)

        return self.insist(ask, {"bad-playlist"})

    def size(self, url: str, headers: dict[str, str]) -> int:
        """Bytes of one file. Raises BadRecording, "no-ranges" if the server does not hand it out in parts."""
        asked = {**headers, "Range": "bytes=0-0", "Accept-Encoding": "identity"}
        try:
            with self.urlopen(Request(url, headers=asked)) as response:
                said = re.fullmatch(r"bytes 0-0/(\d+)", response.headers.get("Content-Range") or "")
        except RequestError as error:
            raise _bad_recording(error) from None
        if not said:
            raise BadRecording("no-ranges", "the server does not hand out the video in parts")
        return int(said[1])

    def text(self, url: str, headers: dict[str, str]) -> str:
        """A small text such as a playlist. Raises BadRecording."""
        try:
            with self.urlopen(Request(url, headers=headers)) as response:
                return str(response.read().decode("utf-8", "replace"))
        except RequestError as error:
            raise _bad_recording(error) from None


def _cause(error: BaseException) -> BaseException:
    """The innermost exception that yt-dlp wrapped."""
    seen = error
    for _ in range(8):
        info = getattr(seen, "exc_info", None)
        inner = getattr(seen, "cause", None) or (info[1] if info and info[1] is not seen else None)
        if not isinstance(inner, BaseException):
            return seen
        seen = inner
    return seen


def _bad_recording(error: Exception) -> BadRecording:
    cause = _cause(error)
    if isinstance(cause, BadRecording):
        return cause
    text = scrub(str(error).removeprefix("ERROR: "))
    lowered = text.lower()
    if isinstance(cause, HTTPError):
        status = cause.status
        if status in (404, 410):
            return BadRecording("gone", f"the video is not there any more (HTTP {status})")
        if status in (401, 403):
            return BadRecording("restricted", f"the server refuses the video (HTTP {status})")
        return BadRecording("rate-limited" if status == 429 else "server-failed", f"HTTP {status} for the video")
    if isinstance(cause, TransportError):
        return BadRecording("connection-failed", f"no whole answer ({type(cause).__name__})", fix="run it again")
    if "no m3u header" in lowered:
        return BadRecording("bad-playlist", "the answer for the renditions is no playlist", fix="run it again")
    if any(words in lowered for words in ("does not exist", "unavailable", "removed", "private video")):
        return BadRecording("gone", text)
    if any(words in lowered for words in ("subscriber", "log in", "logged in", "login", "sign in", "restricted")):
        return BadRecording("restricted", text)
    return BadRecording("no-video", text)
