"""Fetch the chat of a Twitch VOD into a journal of pages: complete, or with reasons; killed at any time, it goes on.

    fetch = fetch_chat("1234567890", folder, duration_ms=3_600_000)
    fetch.is_complete, fetch.reasons
    store_chat(read_pages(fetch.pages, notes), final, notes)

The requests go through TwitchSite and GraphQLClient, the choice of pages is ChatWalk's, the pages lie in PageJournal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadRecording
from .chat_journal import PageJournal, read_pages
from .chat_walk import ChatWalk, Span
from .limits import LIMITS, HostLimits
from .twitch_errors import TwitchError
from .twitch_graphql import PATIENT, Retry

__all__ = ["ChatFetch", "PageHook", "fetch_chat", "plan_spans", "read_pages"]

MARGIN_MS = 30_000
CHAT_DOWNLOADER = "chat-downloader"  # the method of a chat that chat-downloader fetched as it is

PageHook = Callable[[int, int, int], None]  # (pages so far, comments so far, last second) after each stored page


@dataclass(frozen=True, kw_only=True)
class ChatFetch:
    """pages: the journal. method: "cursor", "offset" or "cursor+offset"; CHAT_DOWNLOADER for
    YouTube. reasons: [] if complete, else "slug: …".

    counts: pages, cursor_pages, offset_pages, comments, and what was odd (see WalkCounts); equal however often the
    fetch was killed.
    """

    pages: Path
    method: str
    is_complete: bool
    reasons: list[str]
    counts: dict[str, Any]

    @property
    def proves(self) -> bool:
        """Do `reasons` tell all: were the pages joined and unlikely silences asked for again?"""
        return self.method != CHAT_DOWNLOADER


def fetch_chat(
    video_id: str,
    folder: Path,
    *,
    duration_ms: int,
    ranges_ms: Sequence[tuple[int, int]] | None = None,
    margin_ms: int = MARGIN_MS,
    page_hook: PageHook | None = None,
    retry: Retry = PATIENT,
    limits: HostLimits = LIMITS,
) -> ChatFetch:
    """Fetch the chat of one VOD into `folder`/pages.jsonl, or go on with it; all of it, or ranges with a margin.

    ranges_ms: [start, end) intervals of the VOD's clock. An interrupted fetch, and one that stopped short, goes on
    where it ended; a finished one asks nothing. Raises BadRecording, with the kind of refusal as its class, if not
    even the first page can be had.
    """
    spans = plan_spans(duration_ms, ranges_ms, margin_ms)
    with PageJournal(folder, video_id=video_id, duration_ms=duration_ms, spans=spans) as journal:
        walk = _replay(journal, spans, duration_ms)
        if walk.ask is not None:
            _go_on(journal, walk, video_id, page_hook, retry, limits)
    return ChatFetch(
        pages=journal.path,
        method=walk.method,
        is_complete=not walk.reasons,
        reasons=walk.reasons,
        counts={"pages": walk.num_pages, **walk.counts.to_json(), "refusals": walk.num_refusals},
    )


def plan_spans(duration_ms: int, ranges_ms: Sequence[tuple[int, int]] | None, margin_ms: int) -> list[Span]:
    """Whole seconds to walk through: the ranges with their margins, joined where they meet; open where one reaches
    the end of the VOD, since comments lie past it."""
    if ranges_ms is None:
        return [Span(start_s=0)]
    spans: list[Span] = []
    for start_ms, end_ms in sorted(ranges_ms):
        start_s = max(0, start_ms - margin_ms) // 1000
        end_s = None if end_ms >= duration_ms else -(-(end_ms + margin_ms) // 1000)
        if spans and ((held := spans[-1].end_s) is None or held >= start_s):
            joined = None if held is None or end_s is None else max(held, end_s)
            spans[-1] = Span(start_s=spans[-1].start_s, end_s=joined)
        else:
            spans.append(Span(start_s=start_s, end_s=end_s))
    return spans


def _replay(journal: PageJournal, spans: Sequence[Span], duration_ms: int) -> ChatWalk:
    """A walk led through the stored pages. A page that it would not have asked for, and what follows, is cut off."""
    while True:
        walk = ChatWalk(spans, duration_s=duration_ms / 1000)
        begin = journal.start
        for page in journal.pages():
            for slug in page.refused:
                if walk.ask is not None:
                    walk.refuse(slug)
            if walk.ask != page.asked:
                break
            walk.feed(page.comments)
            begin = journal.tell()
        else:
            walk.replayed()
            return walk
        journal.cut(begin)  # then lead another walk, which has not seen those refusals


def _go_on(
    journal: PageJournal, walk: ChatWalk, video_id: str, hook: PageHook | None, retry: Retry, limits: HostLimits
) -> None:
    from .twitch_site import TwitchSite

    site = TwitchSite(retry=retry, limits=limits)
    try:
        for page in site.pages(video_id, walk):
            journal.add(page)
            if hook is not None:
                hook(walk.num_pages, walk.counts.comments, max(walk.offsets_s, default=0))
    except TwitchError as error:
        raise BadRecording(error.slug, f"no chat of {video_id}: {error.what}", fix=error.fix) from None
    finally:
        site.close()
