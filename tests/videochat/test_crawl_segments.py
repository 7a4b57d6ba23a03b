"""Density of a chat from a few pages, and the choice of segments."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from videochat.crawl.facts import Chapter, VodFacts
from videochat.crawl.recipe import SegmentRule
from videochat.crawl.segments import PROBES_PER_BIN, Page, Part, choose, count_chat, survey_chat, whole
from videochat.errors import BadRecording

BIN_MS = 600_000
HOURS = 3_600_000


class PagedChat:
    """A chat that is answered in pages as Twitch does: whole seconds, and a page begins before what was asked for."""

    def __init__(self, offsets_s: list[int], page_size: int = 59, lead: int = 10) -> None:
        self.offsets_ms = sorted(offset * 1000 for offset in offsets_s)
        self.page_size, self.lead, self.num_pages = page_size, lead, 0

    def __call__(self, start_ms: int) -> Page:
        self.num_pages += 1
        first = max(0, sum(offset < start_ms for offset in self.offsets_ms) - self.lead)
        page = self.offsets_ms[first : first + self.page_size]
        return page, first + self.page_size < len(self.offsets_ms)

    def counts(self, num_bins: int) -> list[int]:
        found = Counter(offset // BIN_MS for offset in self.offsets_ms)
        return [found[index] for index in range(num_bins)]


def test_a_quiet_chat_is_counted_exactly_where_pages_reach_its_end() -> None:
    chat = PagedChat([3, 70, 610, 611, 1900])
    assert survey_chat(chat, 2 * HOURS, BIN_MS) == [2, 2, 0, 1] + [0] * 8
    assert chat.num_pages == 1


def test_a_busy_chat_is_estimated_from_few_pages() -> None:
    rng = random.Random(0)
    rates = [200, 900, 4000, 300, 2500, 100, 1500, 3000, 50, 800, 700, 600]
    chat = PagedChat([600 * index + rng.randrange(600) for index, rate in enumerate(rates) for _ in range(rate)])
    estimate = survey_chat(chat, 2 * HOURS, BIN_MS)
    true = chat.counts(12)
    assert chat.num_pages <= PROBES_PER_BIN * 12 + 2
    assert all(abs(found - count) <= 0.35 * count + 20 for found, count in zip(estimate, true, strict=True))
    ranked = sorted(range(12), key=lambda index: -estimate[index])[:3]
    assert set(ranked) == {2, 7, 4}


def test_a_second_that_fills_a_page_counts() -> None:
    chat = PagedChat([0] * 300 + [900], lead=0)
    assert survey_chat(chat, 1_200_000, BIN_MS)[0] > 0


def test_counting_all() -> None:
    assert count_chat([-5, 0, 599_999, 600_000, 1_250_000], 1_300_000, BIN_MS) == [2, 1]


@pytest.mark.fixtures
@pytest.mark.slow
def test_the_survey_finds_the_densest_bins_of_real_chats(real: Path) -> None:
    """27 real VODs: the three bins it chooses hold almost all that the three densest hold, for fewer pages."""
    shares, num_pages, num_full = [], 0, 0
    for path in sorted((real / "chat" / "gql").glob("*.comments.json.gz")):
        with gzip.open(path) as handle:
            chat = PagedChat([int(node["contentOffsetSeconds"]) for node in json.load(handle)])
        duration_ms = chat.offsets_ms[-1] + 1
        true = count_chat(chat.offsets_ms, duration_ms, BIN_MS)
        if sum(count > 0 for count in true) <= 3:
            continue
        estimate = survey_chat(chat, duration_ms, BIN_MS)
        chosen = sorted(range(len(true)), key=lambda index: (-estimate[index], index))[:3]
        shares.append(sum(true[index] for index in chosen) / sum(sorted(true)[-3:]))
        num_pages, num_full = num_pages + chat.num_pages, num_full + len(chat.offsets_ms) / chat.page_size
    share = sum(shares) / len(shares)
    print(f"{len(shares)} VODs: {share:.4f}, at least {min(shares):.3f}; {num_pages} pages of {num_full:.0f}")
    assert len(shares) >= 25 and share > 0.97 and min(shares) > 0.85
    assert num_pages < num_full


def test_no_chat_and_no_whole_bin() -> None:
    assert survey_chat(PagedChat([]), 2 * BIN_MS, BIN_MS) == [0, 0]
    assert survey_chat(PagedChat([1]), BIN_MS - 1, BIN_MS) == []


FACTS = VodFacts(
    platform="twitch",
    video_id="1",
    url="",
    duration_ms=14 * BIN_MS,
    category="Minecraft",
    category_id="27471",
    chapters=(
        Chapter(start_ms=0, end_ms=4 * BIN_MS, category="Minecraft", category_id="27471"),
        Chapter(start_ms=4 * BIN_MS, end_ms=14 * BIN_MS, category="Fortnite", category_id="33214"),
    ),
)
RULE = SegmentRule()


def test_the_three_densest_bins_in_order_of_time() -> None:
    counts = [10.0, 90, 10, 10, 50, 10, 10, 10, 10, 10, 10, 10, 90, 70]
    parts = choose(RULE, FACTS, counts)
    assert [(part.start_ms // BIN_MS, part.category) for part in parts] == [
        (1, "Minecraft"), (12, "Fortnite"), (13, "Fortnite"),
    ]  # fmt: skip
    assert parts[1].recording_id("twitch", "1") == "twitch-1-t7200"
    assert all(part.end_ms - part.start_ms == BIN_MS for part in parts)
    assert [part.start_ms // BIN_MS for part in choose(RULE, FACTS, counts, category_id="27471")] == [0, 1, 2], (
        "ties: early"
    )


def test_too_little_chat_and_other_games_are_left_out() -> None:
    with pytest.raises(BadRecording) as error:
        choose(RULE, FACTS, [5.0] * 12 + [0, 0])
    assert error.value.error_class == "too-little-chat"
    assert len(choose(RULE, FACTS, [5.0] * 13 + [0])) == 3, "more than 12 are enough"
    with pytest.raises(BadRecording) as error:
        choose(RULE, FACTS, [5.0] * 14, category_id="509658")
    assert error.value.error_class == "other-category"


def test_a_whole_vod_has_the_category_that_was_on_longest() -> None:
    part = whole(FACTS)
    assert part == Part(start_ms=0, end_ms=14 * BIN_MS, category="Fortnite", category_id="33214", whole=True)
    assert part.recording_id("twitch", "1") == "twitch-1"
