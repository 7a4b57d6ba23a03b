"""What is known of a VOD before its video and chat are fetched: names, length, chapters, muted intervals.

Times are integer milliseconds on the VOD's own clock (0 = its first frame, as chat offsets count), intervals half-open.

    facts.category_at(90_000)                     the game that was on, ("Minecraft", "27471")
    facts.muted_within(600_000, 1_200_000)        muted intervals cut to one segment
    VodFacts.from_json(facts.to_json()) == facts
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError

Interval = tuple[int, int]  # [start_ms, end_ms)


def merge_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The union, ascending and disjoint; intervals that touch become one, empty ones vanish."""
    merged: list[Interval] = []
    for start_ms, end_ms in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if merged and start_ms <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_ms))
        else:
            merged.append((start_ms, end_ms))
    return tuple(merged)


def cut_intervals(intervals: Iterable[Interval], start_ms: int, end_ms: int) -> tuple[Interval, ...]:
    """The parts of `intervals` inside [start_ms, end_ms), merged, still on the same clock."""
    return merge_intervals((max(start, start_ms), min(end, end_ms)) for start, end in intervals)


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """[start_ms, end_ms) of a VOD in which one category (game) was on. category_id: the platform's, "" if unknown."""

    start_ms: int
    end_ms: int
    category: str
    category_id: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_ms <= self.end_ms:
            raise UsageError(f"chapter {self.category!r} from {self.start_ms} to {self.end_ms} ms is no interval")


@dataclass(frozen=True, kw_only=True)
class VodFacts:
    """One VOD as its platform describes it.

    platform: "twitch" or "youtube". video_id: the platform's id without a prefix ("1234567890").
    channel: login or channel name; "" if unknown. language: ISO 639-1, "" if the platform does not say.
    duration_ms: as declared; the video may be longer or shorter, see VideoAudit. 0 if it is not known.
    created_at: when the VOD was made, RFC 3339 in UTC ("2026-10-26T12:00:00Z"), "" if unknown.
    category, category_id: what the platform files the whole VOD under; `category_at` says what was on at a time.
    chapters: ascending, disjoint; empty where the platform gives none.
    muted_ms: intervals whose sound the platform took out; the pictures are there.
    """

    platform: str
    video_id: str
    url: str
    channel: str = ""
    title: str = ""
    language: str = ""
    duration_ms: int
    created_at: str = ""
    category: str = ""
    category_id: str = ""
    chapters: tuple[Chapter, ...] = field(default=())
    muted_ms: tuple[Interval, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.duration_ms < 0:
            raise UsageError(f"duration of {self.video_id} is {self.duration_ms} ms")

    def category_at(self, time_ms: int) -> tuple[str, str]:
        """(category, category id) that was on at `time_ms`; the VOD's own where no chapter covers the time."""
        for chapter in self.chapters:
            if chapter.start_ms <= time_ms < chapter.end_ms:
                return chapter.category, chapter.category_id
        return self.category, self.category_id

    def main_category(self, start_ms: int, end_ms: int) -> tuple[str, str]:
        """(category, category id) that was on for the longest part of [start_ms, end_ms); ties: the earlier one."""
        parts: dict[tuple[str, str], int] = {}
        for chapter in self.chapters:
            part_ms = min(chapter.end_ms, end_ms) - max(chapter.start_ms, start_ms)
            if part_ms > 0:
                key = (chapter.category, chapter.category_id)
                parts[key] = parts.get(key, 0) + part_ms
        return max(parts, key=parts.__getitem__) if parts else self.category_at(start_ms)

    def muted_within(self, start_ms: int, end_ms: int) -> tuple[Interval, ...]:
        """Muted intervals inside [start_ms, end_ms), on the VOD's clock."""
        return cut_intervals(self.muted_ms, start_ms, end_ms)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> VodFacts:
        """The reverse of `to_json`, also after a way through JSON text (tuples became lists)."""
        chapters = tuple(Chapter(**chapter) for chapter in value.get("chapters", ()))
        muted = tuple((int(start_ms), int(end_ms)) for start_ms, end_ms in value.get("muted_ms", ()))
        return cls(**{**value, "chapters": chapters, "muted_ms": muted})
