"""Which parts of a VOD become recordings, and how dense its chat is.

    survey = survey_chat(one_page, duration_ms, rule.bin_ms, seen)      # a few pages a bin, not the whole chat
    parts = choose(rule, facts, survey)                                 # [Part(start_ms=600000, end_ms=1200000, …)]

The released way counts the whole chat and keeps three bins of it (`density: counted`). By default a bin's count is
estimated from pages read at its quarters, each of which holds a run of successive comments: their number over the time
they span, which is exact wherever the pages cover the bin. So a VOD of 8 hours costs at most 192 pages, however busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import BadRecording
from .facts import VodFacts
from .recipe import SegmentRule

PROBES_PER_BIN = 4  # on 27 real VODs the bins so chosen held 98.6 % of the comments of the truly densest, see docs
Page = tuple[Sequence[int], bool]  # offsets_ms of successive comments, ascending; is there a page after them?


@dataclass(frozen=True, kw_only=True)
class Part:
    """[start_ms, end_ms) of a VOD, on its own clock, and the category that was on. whole: all of the VOD."""

    start_ms: int
    end_ms: int
    category: str
    category_id: str = ""
    whole: bool = False

    def recording_id(self, platform: str, video_id: str) -> str:
        """ "twitch-123" for a whole VOD, "twitch-123-t600" for a part that starts at second 600."""
        return f"{platform}-{video_id}" + ("" if self.whole else f"-t{self.start_ms // 1000}")


def survey_chat(read_page: Callable[[int], Page], duration_ms: int, bin_ms: int) -> list[float]:
    """Estimated comments in each whole bin [i·bin_ms, (i+1)·bin_ms).

    read_page(start_ms): one page of successive comments, the first of which may lie before start_ms (FACTS: a page
    asked for at 60 s began at 16 s).
    """
    num_bins = duration_ms // bin_ms
    counts = [0.0] * num_bins
    covered = [0] * num_bins  # milliseconds of each bin that pages have shown
    known_ms = 0  # everything before this has been counted
    step_ms = max(1, bin_ms // PROBES_PER_BIN)
    for start_ms in range(0, num_bins * bin_ms, step_ms):
        if start_ms < known_ms:
            continue
        offsets, has_next = read_page(start_ms)
        page = [offset for offset in offsets if offset >= start_ms]
        end_ms = num_bins * bin_ms
        if has_next:  # the last second may be cut by the page's end: it does not count as seen
            end_ms = max(page[-1], start_ms + 1000) if page else start_ms
        for index in range(start_ms // bin_ms, num_bins):
            low, high = max(start_ms, index * bin_ms), min(end_ms, (index + 1) * bin_ms)
            if low >= high:
                break
            counts[index] += sum(low <= offset < high for offset in page)
            covered[index] += high - low
        known_ms = max(known_ms, end_ms)
    return [count * bin_ms / seen if seen else 0.0 for count, seen in zip(counts, covered, strict=True)]


def count_chat(offsets_ms: Iterable[int], duration_ms: int, bin_ms: int) -> list[float]:
    """Comments in each whole bin, from all of them; those before the start or past the last whole bin count nowhere."""
    counts = [0.0] * (duration_ms // bin_ms)
    for offset_ms in offsets_ms:
        if 0 <= offset_ms < len(counts) * bin_ms:
            counts[offset_ms // bin_ms] += 1
    return counts


def whole(facts: VodFacts) -> Part:
    """All of a VOD as one part, under the category that was on longest."""
    category, category_id = facts.main_category(0, max(1, facts.duration_ms))
    return Part(start_ms=0, end_ms=facts.duration_ms, category=category, category_id=category_id, whole=True)


def choose(rule: SegmentRule, facts: VodFacts, counts: Sequence[float], *, category_id: str = "") -> list[Part]:
    """The densest bins, in order of time; ties go to the earlier one.

    counts: of each whole bin, see `survey_chat`. category_id: keep bins in which this category was on longest.
    Raises BadRecording "too-little-chat" or "other-category".
    """
    chatty = [index for index, count in enumerate(counts) if count >= max(rule.min_comments_per_bin, 1e-9)]
    if len(chatty) <= rule.more_than_bins:
        raise BadRecording(
            "too-little-chat",
            f"{len(chatty)} bins of {rule.bin_minutes:g} minutes hold chat, more than {rule.more_than_bins} are needed",
        )
    parts = {}
    for index in chatty:
        start_ms, end_ms = index * rule.bin_ms, (index + 1) * rule.bin_ms
        name, identity = facts.main_category(start_ms, end_ms)
        if not category_id or identity == category_id or not identity:
            parts[index] = Part(start_ms=start_ms, end_ms=end_ms, category=name, category_id=identity)
    if not parts:
        raise BadRecording("other-category", "the wanted category was on in none of its bins of chat")
    densest = sorted(parts, key=lambda index: (-counts[index], index))[: rule.take]
    return [parts[index] for index in sorted(densest)]
