"""Unlikely silences and the audit of one chat; the thresholds' figures on real chats, measured again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.crawl.chat_audit import audit_chat
from videochat.crawl.chat_gaps import ASK_AGAIN, SUSPICIOUS, find_gaps
from videochat.crawl.twitch_chat import CHAT_DOWNLOADER, ChatFetch


def fetched(**changes: Any) -> ChatFetch:
    plain: dict[str, Any] = {"pages": Path("pages.jsonl"), "method": "cursor", "reasons": [], "counts": {"pages": 9}}
    plain |= changes
    return ChatFetch(is_complete=not plain["reasons"], **plain)


def test_a_silence_is_measured_by_the_slower_side() -> None:
    """One comment a second before, one every ten seconds after: the silence is worth a tenth of its length."""
    times = [*range(600), *range(800, 1400, 10)]
    (gap,) = find_gaps(times, 0, 1400, min_expected=5)
    assert (gap.start_s, gap.end_s) == (599, 800)
    assert gap.expected == pytest.approx(0.1 * 201, rel=0.05)


def test_silences_at_both_ends_are_found() -> None:
    gaps = find_gaps(list(range(500, 1000)), 0, 1500, min_expected=ASK_AGAIN)
    assert [(gap.start_s, gap.end_s) for gap in gaps] == [(0, 500), (999, 1500)]


def test_only_the_interval_is_looked_at() -> None:
    times = [*range(100), *range(300, 400), *range(900, 1000)]  # of which 250 to 1000 are asked for
    assert [gap.start_s for gap in find_gaps(times, 250, 1000, min_expected=5)] == [250, 399]


@pytest.mark.parametrize("times", [[], [50], [50, 50, 50], list(range(100))])
def test_few_comments_or_no_silence_make_no_gap(times: list[int]) -> None:
    assert find_gaps(times, 0, 100, min_expected=ASK_AGAIN) == []


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 5000), max_size=300), st.floats(1, 50))
def test_gaps_are_empty_ordered_and_as_heavy_as_asked(times: list[int], threshold: float) -> None:
    gaps = find_gaps(times, 0, 5000, min_expected=threshold)
    assert [gap.start_s for gap in gaps] == sorted(gap.start_s for gap in gaps)
    for gap in gaps:
        assert gap.expected >= threshold - 0.01
        assert not any(gap.start_s < second < gap.end_s for second in times)


def test_the_figures_of_a_plain_chat() -> None:
    offsets = np.array([-5000, 1000, 2000, 2000, 50_000, 119_000, 121_000])
    audit = audit_chat(offsets, start_ms=0, end_ms=120_000, fetch=fetched(), num_duplicates=2)
    assert (audit.num_messages, audit.num_before, audit.num_after, audit.num_duplicates) == (7, 1, 1, 2)
    assert (audit.first_ms, audit.last_ms, audit.head_ms, audit.tail_ms) == (-5000, 121_000, 1000, -1000)
    assert audit.longest_gap_ms == 69_000 and audit.rate_per_minute == 2.5
    assert audit.proven and audit.reasons == ()
    assert json.loads(json.dumps(audit.to_json()))["num_pages"] == 9


def test_an_empty_chat_has_figures_too() -> None:
    audit = audit_chat(np.array([], dtype=np.int64), start_ms=0, end_ms=60_000)
    assert audit.first_ms is None and audit.longest_gap_ms == 60_000 and audit.reasons == ()
    assert audit_chat(np.array([], dtype=np.int64), start_ms=0, end_ms=0).rate_per_minute == 0


def test_an_unlikely_silence_is_a_reason_unless_it_was_asked_for_again() -> None:
    offsets = np.concatenate([np.arange(0, 600), np.arange(700, 1300)]) * 1000
    span = {"start_ms": 0, "end_ms": 1_300_000}
    for unproven in (None, fetched(method=CHAT_DOWNLOADER)):
        audit = audit_chat(offsets, fetch=unproven, **span)
        assert len(audit.reasons) == 1 and audit.reasons[0].startswith("unlikely-gap: 1 silences, the worst from 599")
        assert not audit.proven
    assert audit_chat(offsets, fetch=fetched(), **span).reasons == ()


def test_comments_far_past_the_end_are_a_reason() -> None:
    audit = audit_chat(np.array([1000, 9_000_000]), start_ms=0, end_ms=60_000, fetch=fetched())
    assert audit.reasons == ("out-of-range: 1 comments lie more than 10 minutes past the end",)


def test_the_reasons_of_the_fetch_are_kept() -> None:
    audit = audit_chat(np.array([1000]), start_ms=0, end_ms=60_000, fetch=fetched(reasons=["chat-stopped: x at 1 s"]))
    assert audit.reasons == ("chat-stopped: x at 1 s",) and not audit.proven


@pytest.mark.fixtures
@pytest.mark.slow
def test_thresholds_on_real_chats(real: Path) -> None:
    """The table of chat_gaps: natural silences of 27 real VODs, and lost pages that are found, 40 for each VOD."""
    rng = np.random.default_rng(0)
    ask = tell = most = 0
    found = {59: [0, 0], 30: [0, 0], 15: [0, 0]}
    chats = []
    for path in sorted((real / "chat" / "gql").glob("*.comments.json.gz")):
        times = np.sort([node["contentOffsetSeconds"] for node in json.loads(gzip.decompress(path.read_bytes()))])
        if len(times) >= 300:
            chats.append(times)
    for times in chats:
        end_s = float(times[-1]) + 1
        natural = find_gaps(times, times[0], end_s, min_expected=ASK_AGAIN)
        ask, most = ask + len(natural), max(most, len(natural))
        tell += sum(gap.expected >= SUSPICIOUS for gap in natural)
        for lost, hits in found.items():
            for _ in range(40):
                place = int(rng.integers(60, len(times) - lost - 60))
                left = np.delete(times, slice(place, place + lost))
                gaps = find_gaps(left, times[0], end_s, min_expected=ASK_AGAIN)
                here = [gap.expected for gap in gaps if gap.start_s == left[place - 1]]
                hits[0] += bool(here)
                hits[1] += bool(here) and here[0] >= SUSPICIOUS
    rates = {lost: [round(hit / (40 * len(chats)), 3) for hit in hits] for lost, hits in found.items()}
    print(len(chats), ask, most, tell, rates)
    assert len(chats) == 27 and tell == 0
    assert ask <= 110 and most <= 15
    assert rates[59][0] >= 0.99 and rates[30][0] >= 0.95 and rates[59][1] >= 0.88
