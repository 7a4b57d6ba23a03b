"""The walk through a chat, against a model of Twitch's pages: all comments, or a reason, and every request of use."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.crawl.chat_walk import ChatWalk, Span
from videochat.crawl.twitch_chat import plan_spans


class Server:
    """Pages of `size` comments; one by offset starts `lead` comments before the first at or after it."""

    def __init__(self, offsets_s: list[int], *, size: int = 5, lead: int = 2) -> None:
        self.nodes = [{"id": f"c{i}", "contentOffsetSeconds": second} for i, second in enumerate(sorted(offsets_s))]
        self.size, self.lead = size, lead

    def page(self, start: int) -> dict[str, Any]:
        nodes = self.nodes[start : start + self.size]
        edges = [{"cursor": str(start + i), "node": node} for i, node in enumerate(nodes)]
        return {"edges": edges, "pageInfo": {"hasNextPage": start + len(nodes) < len(self.nodes)}}

    def answer(self, ask: Any) -> dict[str, Any]:
        if ask.cursor is not None:
            return self.page(int(ask.cursor) + 1)
        at = bisect_left([node["contentOffsetSeconds"] for node in self.nodes], ask.offset_s)
        return self.page(max(0, at - self.lead) if at < len(self.nodes) else len(self.nodes))


def lead(walk: ChatWalk, server: Server, refuses: Any = lambda ask, number: False) -> list[Any]:
    asked = []
    while walk.ask is not None:
        assert len(asked) < 2000, "the walk does not end"
        asked.append(walk.ask)
        if slug := refuses(walk.ask, len(asked)):
            walk.refuse(slug)
        else:
            walk.feed(server.answer(walk.ask))
    return asked


chats = st.lists(st.integers(0, 300), max_size=80)
busy = st.lists(st.sampled_from([0, 0, 0, 1, 1, 7, 30, 31, 32, 32, 32, 150, 299]), max_size=80)
ends = st.none() | st.integers(1, 200)


@settings(deadline=None, max_examples=200)
@given(chats | busy, st.integers(1, 9), st.integers(0, 4))
def test_cursors_find_every_comment_once(offsets: list[int], size: int, before: int) -> None:
    walk = ChatWalk([Span(start_s=0)], duration_s=300)
    asked = lead(walk, Server(offsets, size=size, lead=0 if size <= before else before))
    assert sorted(walk.offsets_s) == sorted(offsets)
    assert walk.reasons == [] and walk.method == "cursor"
    assert walk.counts.cursor_pages == max(1, -(-len(offsets) // size)) - 1
    assert len(asked) == walk.num_pages


@settings(deadline=None, max_examples=200)
@given(chats | busy, st.integers(2, 9), st.integers(0, 4), st.integers(1, 12))
def test_by_offset_every_comment_is_found_or_a_loss_is_told(
    offsets: list[int], size: int, before: int, refused_from: int
) -> None:
    """Cursors are refused from some page on; a second busier than a page may lose its tail, never in silence."""
    walk = ChatWalk([Span(start_s=0)], duration_s=300)
    lead(
        walk,
        Server(offsets, size=size, lead=min(before, size - 2)),
        lambda ask, number: "integrity-failed" if ask.cursor is not None and number >= refused_from else "",
    )
    if sorted(walk.offsets_s) != sorted(offsets):
        assert any(reason.startswith("possible-loss") for reason in walk.reasons)
    busiest = max((offsets.count(second) for second in offsets), default=0)
    if busiest < size - before:
        assert walk.reasons == [] and sorted(walk.offsets_s) == sorted(offsets)


@settings(deadline=None, max_examples=200)
@given(chats | busy, st.sets(st.integers(1, 40)), st.sampled_from(["server-failed", "not-json", "comments-null"]), ends)
def test_with_any_requests_refused_all_is_found_or_told(
    offsets: list[int], refused: set[int], slug: str, end_s: int | None
) -> None:
    walk = ChatWalk([Span(start_s=0, end_s=end_s)], duration_s=300)
    lead(walk, Server(offsets, size=7), lambda ask, number: slug if number in refused else "")
    wanted = Counter(second for second in offsets if end_s is None or second < end_s)
    assert wanted <= Counter(walk.offsets_s) or walk.reasons


@settings(deadline=None, max_examples=200)
@given(chats, st.sets(st.integers(1, 40)), st.integers(0, 40))
def test_a_walk_led_again_through_its_pages_asks_for_the_same(
    offsets: list[int], refused: set[int], killed_at: int
) -> None:
    server = Server(offsets, size=7)
    first, pages, pending = ChatWalk([Span(start_s=0)], duration_s=300), [], []
    number = 0
    while first.ask is not None and number < killed_at:
        number += 1
        ask = first.ask
        if number in refused:
            first.refuse("server-failed")
            pending.append("server-failed")
        else:
            first.feed(server.answer(ask))
            pages.append((pending, ask))
            pending = []
    again = ChatWalk([Span(start_s=0)], duration_s=300)
    for slugs, ask in pages:
        for slug in slugs:
            again.refuse(slug)
        assert again.ask == ask
        again.feed(server.answer(ask))
    assert again.offsets_s == first.offsets_s
    assert again.ask == first.ask or pending


def test_a_busy_second_by_offset_is_flagged_with_its_place() -> None:
    offsets = [10, 20, *[30] * 12, 40, 50]
    walk = ChatWalk([Span(start_s=0)], duration_s=60)
    lead(walk, Server(offsets, size=5, lead=1), lambda ask, _: "integrity-failed" if ask.cursor else "")
    assert walk.reasons == ["possible-loss: 1 seconds busier than a page (30 s)"]
    assert {10, 20, 40, 50} <= set(walk.offsets_s)


def test_a_busy_last_second_by_offset_is_flagged_too() -> None:
    walk = ChatWalk([Span(start_s=0)], duration_s=60)
    server = Server([10, 20, *[30] * 12], size=5, lead=1)
    lead(walk, server, lambda ask, _: "integrity-failed" if ask.cursor else "")
    assert len(walk.offsets_s) < 14
    assert walk.reasons and walk.reasons[0].startswith("possible-loss")


def test_a_busy_last_second_of_a_range_by_offset_is_flagged_too() -> None:
    walk = ChatWalk([Span(start_s=0, end_s=31)], duration_s=600)
    server = Server([10, 20, *[30] * 12, 40, 50], size=5, lead=1)
    lead(walk, server, lambda ask, _: "integrity-failed" if ask.cursor else "")
    assert walk.reasons == ["possible-loss: 1 seconds busier than a page (30 s)"]


def test_a_hole_behind_a_busy_second_is_flagged() -> None:
    walk = ChatWalk([Span(start_s=0)], duration_s=300)
    server = Server([*[0] * 8, 1, 1, 30], size=7, lead=2)
    lead(walk, server, lambda ask, number: "server-failed" if number in (2, 3) else "")
    assert len(walk.offsets_s) == 10 and walk.reasons[0].startswith("possible-loss")


def test_a_busy_second_by_cursor_is_whole_and_counted() -> None:
    walk = ChatWalk([Span(start_s=0)], duration_s=60)
    lead(walk, Server([10, *[30] * 90, 40], size=25))
    assert len(walk.offsets_s) == 92 and walk.reasons == []
    assert walk.counts.full_seconds == {30}


def test_comments_that_cursors_leave_out_are_asked_for_again() -> None:
    """A server whose cursor jumps over a page: the silence is unlikely, so it is asked for by offset."""

    class Jumping(Server):
        def answer(self, ask: Any) -> dict[str, Any]:
            return self.page(120) if ask.cursor == "59" else super().answer(ask)

    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    lead(walk, Jumping([2 * i for i in range(300)], size=60, lead=10))
    assert len(walk.offsets_s) == 300
    assert walk.reasons == [] and walk.counts.found_by_probes == 60


def test_a_silence_after_a_busy_second_is_asked_for_from_its_first_second_on() -> None:
    """The second before the silence fills more than a page; what the cursor left out begins one second later."""

    class Jumping(Server):
        def answer(self, ask: Any) -> dict[str, Any]:
            return self.page(120) if ask.cursor == "79" else super().answer(ask)

    offsets = [*[100] * 80, *range(101, 141), *range(400, 600)]
    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    lead(walk, Jumping(offsets, size=20, lead=0))
    assert sorted(walk.offsets_s) == offsets
    assert walk.reasons == [] and walk.counts.found_by_probes == 40


def test_a_chat_cut_off_early_is_asked_for_again_at_its_end() -> None:
    class Short(Server):
        def page(self, start: int) -> dict[str, Any]:
            page = super().page(start)
            return page | {"pageInfo": {"hasNextPage": False}} if start == 60 else page

    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    lead(walk, Short([2 * i for i in range(300)], size=60, lead=10))
    assert len(walk.offsets_s) == 300 and walk.reasons == []


def test_a_hole_after_refused_offsets_is_filled_at_the_end_or_told() -> None:
    offsets = list(range(0, 600, 2))

    def refuses(ask: Any, number: int) -> str:
        return "server-failed" if ask.cursor or (100 <= ask.offset_s < 140 and number < 12) else ""

    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    lead(walk, Server(offsets, size=20, lead=3), refuses)
    assert sorted(walk.offsets_s) == offsets and walk.reasons == []

    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    lead(walk, Server(offsets, size=20, lead=3), lambda ask, n: refuses(ask, 0))
    assert len(walk.offsets_s) < 300
    assert any(reason.startswith("unproven-gap: 1 gaps") for reason in walk.reasons)


def test_a_hole_in_a_slow_chat_is_filled_though_its_silence_is_likely() -> None:
    offsets = list(range(0, 3000, 20))
    walk = ChatWalk([Span(start_s=0)], duration_s=3000)
    lead(walk, Server(offsets, size=5, lead=1), lambda ask, number: "server-failed" if 4 <= number <= 6 else "")
    assert sorted(walk.offsets_s) == offsets and walk.reasons == []
    assert walk.counts.found_by_probes > 0


def test_where_cursors_fail_the_integrity_check_they_are_not_tried_in_every_range() -> None:
    spans = [Span(start_s=start, end_s=start + 100) for start in (0, 1000, 2000)]
    walk = ChatWalk(spans, duration_s=3000)
    lead(walk, Server(list(range(0, 3000, 5)), size=9), lambda ask, _: "integrity-failed" if ask.cursor else "")
    assert walk.num_refusals == 1 and walk.reasons == []


def test_a_fatal_refusal_stops_at_once_and_names_the_place() -> None:
    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    server = Server(list(range(0, 600, 2)), size=20)
    walk.feed(server.answer(walk.ask))
    walk.refuse("unauthorized", fatal=True)
    assert walk.ask is None and walk.reasons == ["chat-stopped: unauthorized at 38 s"]


@pytest.mark.parametrize("more", [True, False])
def test_an_empty_chat_ends(more: bool) -> None:
    walk = ChatWalk([Span(start_s=0)], duration_s=600)
    number = 0
    while walk.ask is not None:
        number += 1
        walk.feed({"edges": [], "pageInfo": {"hasNextPage": more}})
    assert number < 60 and walk.offsets_s == []


def test_a_cursor_that_repeats_itself_does_not_go_on_for_ever() -> None:
    server = Server(list(range(100)), size=10)
    walk = ChatWalk([Span(start_s=0)], duration_s=100)
    while walk.ask is not None:
        walk.feed(server.page(10) if walk.ask.cursor else server.answer(walk.ask))
    assert sorted(walk.offsets_s) == list(range(100)) and walk.method == "cursor+offset"


def test_odd_edges_are_counted_and_passed_over() -> None:
    node = {"id": None, "contentOffsetSeconds": 3, "message": {}}
    edges = [None, {"cursor": "a"}, {"node": {"id": "x", "contentOffsetSeconds": "3"}}, {"cursor": None, "node": node}]
    walk = ChatWalk([Span(start_s=0)], duration_s=100)
    walk.feed({"edges": edges, "pageInfo": None})
    assert walk.offsets_s == [3] and walk.counts.malformed == 3 and walk.counts.without_id == 1


def test_only_the_spans_are_walked() -> None:
    server = Server(list(range(0, 3600, 3)), size=30, lead=5)
    walk = ChatWalk([Span(start_s=600, end_s=700), Span(start_s=2000, end_s=2100)], duration_s=3600)
    asked = lead(walk, server)
    assert {s for s in range(600, 700) if s % 3 == 0} <= set(walk.offsets_s)
    assert {s for s in range(2000, 2100) if s % 3 == 0} <= set(walk.offsets_s)
    assert len(asked) <= 6 and walk.reasons == []


def test_ranges_get_a_margin_join_and_open_at_the_end() -> None:
    assert plan_spans(3_600_000, None, 30_000) == [Span(start_s=0)]
    assert plan_spans(3_600_000, [(10_000, 20_500)], 30_000) == [Span(start_s=0, end_s=51)]
    assert plan_spans(3_600_000, [(600_000, 700_000), (100_000, 200_000), (750_000, 800_000)], 30_000) == [
        Span(start_s=70, end_s=230),
        Span(start_s=570, end_s=830),
    ]
    assert plan_spans(3_600_000, [(3_000_000, 3_600_000)], 30_000) == [Span(start_s=2970)]
    assert plan_spans(3_600_000, [(3_000_000, 3_600_000), (3_100_000, 3_200_000)], 0) == [Span(start_s=3000)]
