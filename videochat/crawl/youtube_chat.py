"""The chat of a YouTube replay, by chat-downloader as it is, under our rate limits and with its silence broken.

    fetch = fetch_youtube_chat("https://www.youtube.com/watch?v=…", folder, duration_ms=3_600_000)
    store_chat(read_pages(fetch.pages, notes), final, notes)

chat-downloader ends quietly when YouTube refuses the next page; YouTubeSite notes every refusal, and a chat that ended
with one is incomplete. YouTube has no way to ask for a page again, so an interrupted fetch begins anew, and silences
are judged by chat_audit alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from ..errors import BadRecording
from ..files import atomic_path, read_json, write_json
from ..schema import slug
from .limits import LIMITS, HostLimits
from .twitch_chat import CHAT_DOWNLOADER, MARGIN_MS, ChatFetch, PageHook
from .twitch_graphql import PATIENT, Retry

FILE_NAME = "messages.jsonl"
GROUPS = ("messages", "superchat")
HOOK_EVERY = 100  # messages, about what a page of YouTube's holds

# chat-downloader's errors -> classes of the ledger.
_CLASSES = {
    "VideoUnavailable": "unknown-video",
    "VideoNotFound": "unknown-video",
    "LoginRequired": "restricted",
    "VideoUnplayable": "restricted",
    "NoChatReplay": "no-chat-replay",
    "ChatDisabled": "no-chat-replay",
    "NoContinuation": "no-chat-replay",
    "RetriesExceeded": "connection-failed",
    "ParsingError": "not-json",
}


def fetch_youtube_chat(
    url: str,
    folder: Path,
    *,
    duration_ms: int,
    ranges_ms: Sequence[tuple[int, int]] | None = None,
    margin_ms: int = MARGIN_MS,
    page_hook: PageHook | None = None,
    retry: Retry = PATIENT,
    limits: HostLimits = LIMITS,
) -> ChatFetch:
    """Fetch a replay's chat into `folder`/messages.jsonl; with ranges, from the start to the last one's end.

    A complete chat asks nothing again, an incomplete one is fetched anew. Raises BadRecording: "unknown-video",
    "restricted", "no-chat-replay", "still-live", "no-messages", or what kept the first page from coming.
    """
    end_ms = None
    if ranges_ms is not None and (last_ms := max(end for _, end in ranges_ms)) < duration_ms:
        end_ms = last_ms + margin_ms
    settings = {"url": url, "end_ms": end_ms, "duration_ms": duration_ms}
    path, summary = folder / FILE_NAME, folder / "messages.json"
    if path.exists() and summary.exists():
        done = read_json(summary)
        if done["settings"] == settings and not done["reasons"]:
            return _fetch(path, done["reasons"], done["counts"])
    summary.unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        reasons, counts = _write(url, end_ms, temporary, page_hook, retry, limits)
    write_json(summary, {"settings": settings, "reasons": reasons, "counts": counts})
    return _fetch(path, reasons, counts)


def _fetch(path: Path, reasons: list[str], counts: dict[str, Any]) -> ChatFetch:
    return ChatFetch(pages=path, method=CHAT_DOWNLOADER, is_complete=not reasons, reasons=reasons, counts=counts)


def _write(
    url: str,
    end_ms: int | None,
    path: Path,
    hook: PageHook | None,
    retry: Retry,
    limits: HostLimits,
) -> tuple[list[str], dict[str, Any]]:
    """(reasons, counts) of the messages written to `path`."""
    from chat_downloader.errors import ChatDownloaderError

    from .youtube_site import YouTubeSite

    site = YouTubeSite(retry=retry, limits=limits)
    num, last_s, stopped = 0, 0.0, ""
    try:
        with path.open("wb") as handle:
            chat = site.messages(url, end_ms, GROUPS)
            try:
                for item in chat:
                    handle.write(orjson.dumps(item, default=str, option=orjson.OPT_APPEND_NEWLINE))
                    num += 1
                    last_s = max(last_s, float(item.get("time_in_seconds") or 0))
                    if hook is not None and num % HOOK_EVERY == 0:
                        hook(site.num_requests, num, int(last_s))
            except ChatDownloaderError as error:
                stopped = _CLASSES.get(type(error).__name__, slug(type(error).__name__))
                if not num:
                    raise BadRecording(stopped, f"no chat of {url}: {type(error).__name__}") from None
    finally:
        site.close()
    stopped = stopped or site.refused
    if not num:
        if stopped:
            raise BadRecording(stopped, f"no chat of {url}: {stopped}")
        raise BadRecording("no-messages", f"{url} has a chat replay without a message")
    reasons = [f"chat-stopped: {stopped} at {last_s:.0f} s"] if stopped else []
    return reasons, {"pages": site.num_requests, "comments": num}
