"""What can be said of one chat's completeness: figures, and the reasons to call it partial.

    audit = audit_chat(stored.offsets_ms, start_ms=0, end_ms=duration_ms, fetch=fetch)
    audit.reasons      [] or ["chat-stopped: server-failed at 812 s", ...]

A fetch by ChatWalk proves what it can: its pages join, and every unlikely silence has been asked for again. Where a
chat was fetched by other means, silences that no whole chat was seen to have are reasons too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .chat_gaps import SUSPICIOUS, Gap, find_gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .twitch_chat import ChatFetch

MAX_LATE_MS = 600_000  # comments up to 178 s past the stated end were seen (FACTS §5); much later ones are odd


@dataclass(frozen=True, kw_only=True)
class ChatAudit:
    """Figures of the chat of [start_ms, end_ms) of a VOD; times are milliseconds on the VOD's clock.

    first_ms, last_ms: first and last comment, None without any; head_ms, tail_ms: silence before and after them inside
    the interval, tail_ms negative if comments lie past the end. num_before, num_after: comments outside, in the margin
    or past the end of the VOD. longest_gap_ms: the longest silence, head and tail included; unlikely_gaps: those with
    at least chat_gaps.SUSPICIOUS expected comments, as (start_ms, end_ms, expected). rate_per_minute: of the interval.
    full_seconds: seconds that filled a page alone. num_duplicates: comments that cursor pages repeated, or double ids.
    asked_again, found_again: unlikely silences that were asked for a second time, and comments found in them.
    proven: every page joins the one before and every unlikely silence was asked for again.
    """

    start_ms: int
    end_ms: int
    num_messages: int
    num_before: int
    num_after: int
    num_duplicates: int
    first_ms: int | None
    last_ms: int | None
    head_ms: int | None
    tail_ms: int | None
    rate_per_minute: float
    longest_gap_ms: int
    unlikely_gaps: tuple[tuple[int, int, float], ...]
    full_seconds: tuple[int, ...]
    method: str
    num_pages: int | None
    asked_again: int
    found_again: int
    proven: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def audit_chat(
    offsets_ms: NDArray[np.int64],
    *,
    start_ms: int,
    end_ms: int,
    fetch: ChatFetch | None = None,
    num_duplicates: int = 0,
) -> ChatAudit:
    """offsets_ms: int64 (N,), the messages' offsets on the VOD's clock, any order (StoredChat.offsets_ms fits).

    fetch: how they were fetched; None, or one that proves nothing (method "chat-downloader"), makes unlikely silences
    reasons. num_duplicates: double ids that were taken out (the oddity duplicate-id), beside those of the fetch.
    """
    times = np.sort(np.asarray(offsets_ms, dtype=np.int64))
    inside = times[(times >= start_ms) & (times < end_ms)]
    counts = fetch.counts if fetch is not None else {}
    proves = fetch is not None and fetch.proves
    gaps = find_gaps(times // 1000, start_ms / 1000, end_ms / 1000, min_expected=SUSPICIOUS)
    reasons = list(fetch.reasons) if fetch is not None else []
    if gaps and not proves:
        reasons.append(_unlikely(gaps))
    very_late = int((times >= end_ms + MAX_LATE_MS).sum())
    if very_late:
        reasons.append(f"out-of-range: {very_late} comments lie more than {MAX_LATE_MS // 60_000} minutes past the end")
    edges = np.concatenate(([start_ms], inside, [end_ms])) if len(inside) else np.array([start_ms, end_ms])
    return ChatAudit(
        start_ms=start_ms,
        end_ms=end_ms,
        num_messages=len(times),
        num_before=int((times < start_ms).sum()),
        num_after=int((times >= end_ms).sum()),
        num_duplicates=num_duplicates + counts.get("known_by_cursor", 0),
        first_ms=int(times[0]) if len(times) else None,
        last_ms=int(times[-1]) if len(times) else None,
        head_ms=int(inside[0]) - start_ms if len(inside) else None,
        tail_ms=end_ms - int(times[-1]) if len(times) else None,
        rate_per_minute=round(60_000 * len(inside) / max(1, end_ms - start_ms), 3),
        longest_gap_ms=int(np.diff(edges).max()),
        unlikely_gaps=tuple((gap.start_s * 1000, gap.end_s * 1000, gap.expected) for gap in gaps),
        full_seconds=tuple(counts.get("full_seconds", ())),
        method=fetch.method if fetch is not None else "file",
        num_pages=counts.get("pages"),
        asked_again=counts.get("probes", 0),
        found_again=counts.get("found_by_probes", 0),
        proven=fetch is not None and proves and fetch.is_complete,
        reasons=tuple(reasons),
    )


def _unlikely(gaps: list[Gap]) -> str:
    worst = max(gaps, key=lambda gap: gap.expected)
    return (
        f"unlikely-gap: {len(gaps)} silences, the worst from {worst.start_s} to {worst.end_s} s, where the pace around "
        f"it suggests {worst.expected:.0f} comments"
    )
