"""Which page of a VOD's chat to ask for next: a state machine without a network, so that it can be replayed.

    walk = ChatWalk([Span(start_s=0, end_s=None)], duration_s=3600)
    while walk.ask is not None:
        try: walk.feed(page_of(walk.ask))
        except TwitchError as error: walk.refuse(error.slug)
    walk.reasons                                   [] or what is missing

The way through each span: the first page by offset, then cursor after cursor. Where a cursor is refused, repeats
itself or leads nowhere, on by offset: each page is asked for at the second of the last comment, and is joined to what
is known by an id that both hold. Where an offset is refused too, some way further on, which leaves a hole. When the
spans are through, every hole, and every silence that the chat's own pace makes unlikely, is asked for again.

A page by offset starts at or before the second asked for and is an unbroken run of the chat (FACTS §5: offset 60 gave
16–126 s). So a page that shares a comment with what is known leaves nothing out. One that was asked for at a later
second and shares none may: then the last second was busier than a page, and a loss is possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..files import stable_hash
from .chat_gaps import ASK_AGAIN, find_gaps

WALK_VERSION = 1  # of the order of pages: another one makes stored pages useless for going on
SKIPS_S = (30, 120, 600)  # how far to go on past an offset that is refused
MAX_IDLE_PAGES = 40  # pages in a row without news, though each says that more follow
LATE_S = 600  # comments lie up to 178 s past the stated end (FACTS §5): nothing is asked for beyond this
MAX_PROBES = 500  # a chat with more unlikely silences than this is not one that we understand
FULL_SECOND = 20  # a page of so many comments within one second counts as filled by it


@dataclass(frozen=True, kw_only=True)
class Span:
    """[start_s, end_s) of the VOD in whole seconds; end_s None: to the end of the chat, however late."""

    start_s: int
    end_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One page to ask for, by cursor or by offset (whole seconds); exactly one of them."""

    cursor: str | None = None
    offset_s: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"cursor": self.cursor} if self.cursor is not None else {"offset": self.offset_s}


@dataclass(kw_only=True)
class WalkCounts:
    """What the pages held. known: comments that an earlier page had too, expected by offset and odd by cursor."""

    cursor_pages: int = 0
    offset_pages: int = 0
    comments: int = 0
    known_by_offset: int = 0
    known_by_cursor: int = 0
    malformed: int = 0
    without_id: int = 0
    probes: int = 0
    found_by_probes: int = 0
    full_seconds: set[int] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"full_seconds": sorted(self.full_seconds)}


class ChatWalk:
    """ask: the page to fetch next, None when there is nothing more to ask or no use in asking.

    spans: in order, not overlapping. duration_s: length of the VOD, None if unknown.
    """

    def __init__(self, spans: Sequence[Span], *, duration_s: float | None) -> None:
        self.counts = WalkCounts()
        self.offsets_s: list[int] = []  # of each comment once, in the order in which they came
        self.num_refusals = 0
        self.possible_losses: list[tuple[int, int]] = []  # (last second before, first second after)
        self.stopped: str | None = None  # why no more is asked although there is more
        self.ask: Ask | None = None
        self._spans = list(spans)
        self._duration_s = duration_s
        self._todo = deque(spans)
        self._probes: deque[Span] | None = None  # None until the spans are through
        self._holes: list[Span] = []
        self._seen: set[str] = set()
        self._seconds: set[int] = set()
        self._were_holes: set[Span] = set()
        self._asked: set[Span] = set()
        self.num_unasked = 0
        self._by_offset_only = False
        self._fell_back = False
        self._refused_probes = 0
        # of the span that is being walked:
        self._span = Span(start_s=0)
        self._last_s: int | None = None  # the last second known of it
        self._skips = 0  # steps past an offset that was refused
        self._step_s = 1  # to the next offset where a page brought nothing further on
        self._idle_pages = 0
        self._said_more = False  # the page before, that another one follows
        self._news_in_span = False
        self._next_span()

    # -- what came

    def feed(self, comments: dict[str, Any]) -> None:
        """Take the page that was asked for: {"edges": [{"cursor", "node"}, …], "pageInfo": {"hasNextPage"}}."""
        assert self.ask is not None
        by_cursor = self.ask.cursor is not None
        page = self._read(comments)
        joined = self._joined(page)
        new = [second for second, known in page.rows if not known]
        self._count(page, by_cursor, len(new))
        self._refused_probes = 0
        if by_cursor:
            self._after_cursor(page, bool(new))
        else:
            self._after_offset(page, bool(new), joined)

    def refuse(self, slug: str, *, fatal: bool = False) -> None:
        """The page that was asked for cannot be had. fatal: no other page can be had either, now."""
        assert self.ask is not None
        self.num_refusals += 1
        at_s = self._last_s if self._last_s is not None else self._span.start_s
        if self._probes is not None:
            self._probes.append(self._span)
            self._refused_probes += 1
            fatal = fatal or self._refused_probes >= len(self._probes)
        if fatal or not self.num_pages:
            self._stop(f"{slug} at {at_s} s")
        elif self._probes is not None:
            self._next_span()
        elif self.ask.cursor is not None:
            self._by_offset_only = self._by_offset_only or slug == "integrity-failed"
            self._go_on_by_offset()
        elif self._skips < len(SKIPS_S):
            self._ask_offset(at_s + SKIPS_S[self._skips])
            self._skips += 1
        else:
            self._stop(f"{slug} at {at_s} s")

    def replayed(self) -> None:
        """What was refused in an earlier run may be granted in this one."""
        self._refused_probes = 0

    # -- what is known

    @property
    def num_pages(self) -> int:
        return self.counts.cursor_pages + self.counts.offset_pages

    def is_past_end(self, ask: Ask) -> bool:
        """Is the page asked for at or beyond the stated end of the VOD?"""
        return ask.offset_s is not None and self._duration_s is not None and ask.offset_s >= self._duration_s

    @property
    def method(self) -> str:
        """How the chat was paged: "cursor", "offset", or "cursor+offset" where the walk had to change."""
        if not self._fell_back:
            return "cursor"
        return "cursor+offset" if self.counts.cursor_pages else "offset"

    @property
    def open_holes(self) -> list[Span]:
        """What was to be asked for again and has not been answered."""
        return self._holes if self._probes is None else list(self._probes)

    @property
    def reasons(self) -> list[str]:
        """Why the chat may lack something, each "slug: figures"; [] when the walk came through and all is joined."""
        found = []
        if self.stopped:
            found.append(f"chat-stopped: {self.stopped}")
        if self.possible_losses:
            places = ", ".join(str(before) for before, _ in self.possible_losses[:5])
            found.append(f"possible-loss: {len(self.possible_losses)} seconds busier than a page ({places} s)")
        if holes := self.open_holes:
            places = ", ".join(f"{hole.start_s}–{hole.end_s}" for hole in holes[:5])
            found.append(f"unproven-gap: {len(holes)} gaps could not be asked for again ({places} s)")
        if self.num_unasked:
            found.append(f"unproven-gap: {self.num_unasked} more than {MAX_PROBES} gaps were not asked for again")
        return found

    # -- the way

    def _after_cursor(self, page: _Page, news: bool) -> None:
        if not page.more or self._reached(page):
            self._next_span()
        elif news and page.cursor:
            self.ask = Ask(cursor=page.cursor)
        else:
            self._go_on_by_offset()

    def _after_offset(self, page: _Page, news: bool, joined: bool) -> None:
        asked_s = self.ask.offset_s if self.ask and self.ask.offset_s is not None else 0
        before_s, first_of_span = self._last_s, self._last_s is None
        if page.rows:
            first_s = page.rows[0][0]
            start_s = self._span.start_s if before_s is None else before_s
            if self._skips and (not joined or first_of_span) and first_s > start_s:
                self._holes.append(Span(start_s=start_s, end_s=first_s))
            elif not (joined or self._is_settled(before_s)):
                self.possible_losses.append((start_s, first_s))
            self._last_s = max(page.rows[-1][0], before_s or 0)
        elif self._said_more and not page.more and before_s is not None and not self._is_settled(before_s):
            self.possible_losses.append((before_s, asked_s))  # more was promised, and there is nothing further on
        self._skips, self._said_more = 0, page.more
        last_s = self._last_s if self._last_s is not None else self._span.start_s
        self._news_in_span = self._news_in_span or news
        self._idle_pages = 0 if news else self._idle_pages + 1
        next_s = last_s if last_s > asked_s else asked_s + self._step_s
        self._step_s = 1 if news else min(2 * self._step_s, 64)
        ended = not page.more or self._reached(page)
        if not ended and next_s >= self._limit_s():
            if page.rows and asked_s == last_s and not self._is_settled(last_s):
                self.possible_losses.append((last_s, next_s))  # the last second of the span fills more than a page
            ended = True
        if ended or self._idle_pages > MAX_IDLE_PAGES:
            self._next_span()
        elif first_of_span and page.cursor and not self._by_offset_only and self._probes is None:
            self.ask = Ask(cursor=page.cursor)
        else:
            self._ask_offset(next_s)

    def _joined(self, page: _Page) -> bool:
        """Does the page leave nothing out between what is known of this span and its own first comment?"""
        if self._last_s is None or self._last_s not in self._seconds:
            return True  # nothing is known here that it could share
        return any(known and second <= self._last_s for second, known in page.rows)

    def _is_settled(self, second: int | None) -> bool:
        """Is the rest of the second from which a silence is asked for again known from the walk that came there?

        Where that was by cursor it is whole, and where it was by offset a loss in it has been told already.
        """
        silence = self._probes is not None and self._span not in self._were_holes
        return silence and second == self._span.start_s and not self._news_in_span

    def _reached(self, page: _Page) -> bool:
        end_s = self._span.end_s
        return end_s is not None and bool(page.rows) and page.rows[-1][0] >= end_s

    def _limit_s(self) -> float:
        if self._span.end_s is not None:
            return self._span.end_s
        return float("inf") if self._duration_s is None else self._duration_s + LATE_S

    def _go_on_by_offset(self) -> None:
        self._fell_back = True
        self._ask_offset(self._last_s if self._last_s is not None else self._span.start_s)

    def _ask_offset(self, offset_s: int) -> None:
        self.ask = Ask(offset_s=offset_s)

    def _stop(self, why: str) -> None:
        self.ask = None
        self.stopped = why

    def _next_span(self) -> None:
        if not self._todo and not self._probes:
            self._probes = self._plan_probes()
        queue = self._todo if self._probes is None else self._probes
        self._skips, self._step_s, self._idle_pages = 0, 1, 0
        self._said_more = self._news_in_span = False
        if not queue:
            self.ask = None
            return
        self._span = queue.popleft()
        self._last_s = None if self._probes is None else self._span.start_s
        self._ask_offset(self._span.start_s)

    def _plan_probes(self) -> deque[Span]:
        """Holes and unlikely silences that have not been asked for, those first that miss most."""
        gaps = []
        for span in self._spans:
            end_s = span.end_s if span.end_s is not None else self._duration_s
            if end_s is None:
                end_s = max(self.offsets_s, default=0) + 1
            gaps += find_gaps(self.offsets_s, span.start_s, end_s, min_expected=ASK_AGAIN)
        gaps.sort(key=lambda gap: (-gap.expected, gap.start_s))
        wanted = [*self._holes, *(Span(start_s=gap.start_s, end_s=gap.end_s) for gap in gaps)]
        probes = [probe for probe in dict.fromkeys(wanted) if probe not in self._asked]
        room = MAX_PROBES - self.counts.probes
        self.num_unasked = max(0, len(probes) - room)
        probes = probes[:room]
        self._were_holes.update(self._holes)
        self._holes = []
        self._asked.update(probes)
        self.counts.probes += len(probes)
        return deque(probes)

    # -- pages

    def _read(self, comments: dict[str, Any]) -> _Page:
        edges = comments.get("edges") or []
        page = _Page(rows=[], cursor=None, more=bool((comments.get("pageInfo") or {}).get("hasNextPage")))
        for edge in edges:
            node = edge.get("node") if isinstance(edge, dict) else None
            second = node.get("contentOffsetSeconds") if isinstance(node, dict) else None
            if node is None or not isinstance(second, int | float):
                self.counts.malformed += 1
                continue
            page.cursor = edge.get("cursor") or page.cursor
            key = comment_key(node)
            page.rows.append((int(second), key in self._seen))
            if key not in self._seen:
                self._seen.add(key)
                self.offsets_s.append(int(second))
                self._seconds.add(int(second))
                self.counts.without_id += not node.get("id")
        return page

    def _count(self, page: _Page, by_cursor: bool, num_new: int) -> None:
        counts = self.counts
        num_known = len(page.rows) - num_new
        if by_cursor:
            counts.cursor_pages += 1
            counts.known_by_cursor += num_known
        else:
            counts.offset_pages += 1
            counts.known_by_offset += num_known
        counts.comments += num_new
        if self._probes is not None:
            counts.found_by_probes += num_new
        if len(page.rows) >= FULL_SECOND and page.more and page.rows[0][0] == page.rows[-1][0]:
            counts.full_seconds.add(page.rows[0][0])
        if by_cursor and page.rows:
            self._last_s = max(page.rows[-1][0], self._last_s or 0)


@dataclass(kw_only=True)
class _Page:
    """rows: (second, was it known before) of each comment; cursor: of the last; more: another page follows."""

    rows: list[tuple[int, bool]]
    cursor: str | None
    more: bool


def comment_key(node: dict[str, Any]) -> str:
    """What tells one comment from another: its id, or a hash of all it says where there is none."""
    identity = node.get("id")
    return str(identity) if identity else f"#{stable_hash(orjson.dumps(node, option=orjson.OPT_SORT_KEYS).decode())}"
