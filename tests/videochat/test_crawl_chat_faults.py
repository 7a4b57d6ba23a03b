"""The chat fetcher against the loopback Twitch, fault by fault: whole, partial with its reason, or one bad recording.

None may end in silent loss.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from videochat.crawl.chat_audit import audit_chat
from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_chat import ChatFetch, fetch_chat, read_pages
from videochat.crawl.twitch_graphql import Retry
from videochat.errors import BadRecording
from videochat.sources.chat_store import store_chat
from videochat.sources.formats import Notes

VOD = "1234567890"
DURATION_S = 900
HASTY = Retry(max_attempts=4, first_wait_s=0.01, longest_wait_s=0.05)
UNLIMITED = {"gql.twitch.tv": Rate(per_second=10_000, burst=10_000)}


def fetch(folder: Path, **options: Any) -> ChatFetch:
    settings = {"duration_ms": DURATION_S * 1000, "retry": HASTY, "limits": HostLimits(UNLIMITED)} | options
    return fetch_chat(VOD, folder, **settings)


def ids(got: ChatFetch, folder: Path, **window: Any) -> list[str]:
    """The ids of the stored chat, in its order; through the same reader and store as a crawl."""
    import gzip

    notes = Notes()
    stored = store_chat(read_pages(got.pages, notes, **window), folder / "chat.jsonl.gz", notes)
    lines = gzip.decompress((folder / "chat.jsonl.gz").read_bytes()).splitlines()
    assert len(lines) == stored.num_messages and notes.oddities["duplicate-id"] == 0
    return [orjson.loads(line)["id"] for line in lines]


@pytest.fixture
def vod(twitch: Any) -> Any:
    nodes = twitch.comments(300, DURATION_S, seed=3, after_end=4)
    return twitch.add_vod(twitch.Vod(id=VOD, duration_s=DURATION_S, comments=nodes))


def truth(vod: Any) -> list[str]:
    return [node["id"] for node in vod.ordered]


def pages_asked(twitch: Any) -> list[str]:
    return [str(row["variables"]) for row in twitch.requests if "VideoCommentsByOffsetOrCursor" in row["operations"]]


def test_without_faults_every_comment_comes_once_and_each_page_is_asked_once(
    twitch: Any, vod: Any, tmp_path: Path
) -> None:
    got = fetch(tmp_path)
    assert ids(got, tmp_path) == truth(vod)
    assert got.is_complete and got.method == "cursor" and got.reasons == []
    asked = pages_asked(twitch)
    assert len(asked) == len(set(asked)) == got.counts["pages"] == -(-304 // 59)
    assert not twitch.foreign and not twitch.crashes
    assert fetch(tmp_path) == got and pages_asked(twitch) == asked, "a finished chat asks nothing"


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("integrity-after-page", {"n": 1}, "offset"),
    ("integrity-after-page", {"n": 4}, "cursor+offset"),
    ("integrity-after-page", {"n": 3, "times": 1}, "cursor"),
    ("comments-null", {"n": 2, "times": 1}, "cursor"),
    ("comments-null", {"n": 2, "times": 3}, "cursor+offset"),
    ("comments-null", {"n": 3, "times": 5, "message": "service error"}, "cursor+offset"),
    ("rotated-hashes", {}, "cursor"),
    ("rotated-hashes", {"n": 3}, "cursor"),
    ("rate-limit", {"n": 2, "times": 2, "retry_after_s": 1}, "cursor"),
    ("server-error", {"n": 2, "times": 3}, "cursor"),
    ("server-error", {"n": 2, "times": 5, "status": 503}, "cursor+offset"),
    ("truncated-json", {"n": 1, "times": 2}, "cursor"),
    ("truncated-json", {"n": 1, "times": 6}, "offset"),
    ("html-page", {"n": 1, "times": 2}, "cursor"),
    ("html-page", {"n": 1, "times": 3, "status": 502}, "cursor"),
    ("cut-answer", {"n": 2, "times": 2}, "cursor"),
    ("slow", {"latency_s": 0.05}, "cursor"),
]


@pytest.mark.parametrize(("name", "options", "method"), FAULTS)
def test_a_fault_that_passes_or_can_be_gone_around_loses_nothing(
    twitch: Any, vod: Any, tmp_path: Path, name: str, options: dict[str, Any], method: str
) -> None:
    fault = twitch.fault(name, **options)
    got = fetch(tmp_path)
    assert fault.struck, "the fault was not met"
    assert ids(got, tmp_path) == truth(vod)
    assert got.is_complete and got.reasons == [] and got.method == method
    assert fault.violations == 0, "Retry-After was not honoured"


LASTING: list[tuple[str, dict[str, Any], str]] = [
    ("comments-null", {"n": 3}, "comments-null"),
    ("comments-null", {"n": 3, "message": "service error"}, "comments-null"),
    ("unauthorized", {"n": 3}, "unauthorized"),
    ("rate-limit", {"n": 3, "retry_after_s": 100_000}, "rate-limited"),
    ("server-error", {"n": 3}, "server-failed"),
    ("truncated-json", {"n": 3}, "not-json"),
    ("html-page", {"n": 3}, "not-json"),
    ("cut-answer", {"n": 3}, "connection-failed"),
    ("gone", {"n": 3}, "unknown-video"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "slug"), LASTING)
def test_a_fault_that_lasts_is_told_what_came_is_kept_and_a_later_fetch_goes_on(
    twitch: Any, vod: Any, tmp_path: Path, name: str, options: dict[str, Any], slug: str
) -> None:
    fault = twitch.fault(name, **options)
    got = fetch(tmp_path)
    kept = ids(got, tmp_path)
    assert kept == truth(vod)[: 3 * 59]
    assert not got.is_complete and len(got.reasons) == 1
    assert got.reasons[0].startswith(f"chat-stopped: {slug} at ")
    offsets = np.array([node["contentOffsetSeconds"] for node in vod.ordered[: 3 * 59]]) * 1000
    audit = audit_chat(offsets, start_ms=0, end_ms=DURATION_S * 1000, fetch=got)
    assert audit.reasons == tuple(got.reasons) and not audit.proven
    assert audit.tail_ms is not None and audit.tail_ms > 300_000 and audit.unlikely_gaps

    fault.remove()
    before = len(pages_asked(twitch))
    got = fetch(tmp_path)
    assert ids(got, tmp_path) == truth(vod)
    assert got.is_complete and got.method == "cursor"
    assert len(pages_asked(twitch)) - before == got.counts["pages"] - 3, "stored pages are not asked for again"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "slug"),
    [
        ("comments-null", {}, "comments-null"),
        ("comments-null", {"message": "service error"}, "comments-null"),
        ("unauthorized", {}, "unauthorized"),
        ("rate-limit", {"retry_after_s": 100_000}, "rate-limited"),
        ("server-error", {}, "server-failed"),
        ("truncated-json", {}, "not-json"),
        ("html-page", {}, "not-json"),
        ("html-page", {"status": 403}, "unauthorized"),
        ("cut-answer", {}, "connection-failed"),
        ("gone", {}, "unknown-video"),
    ],
)
def test_a_chat_of_which_nothing_comes_is_one_bad_recording(
    twitch: Any, vod: Any, tmp_path: Path, name: str, options: dict[str, Any], slug: str
) -> None:
    fault = twitch.fault(name, **options)
    with pytest.raises(BadRecording) as caught:
        fetch(tmp_path)
    assert caught.value.error_class == slug
    assert not any(secret in str(caught.value) for secret in twitch.secrets)
    fault.remove()
    assert ids(fetch(tmp_path), tmp_path) == truth(vod)


def test_an_unknown_id_is_refused(twitch: Any, tmp_path: Path) -> None:
    with pytest.raises(BadRecording) as caught:
        fetch(tmp_path)
    assert caught.value.error_class == "unknown-video"
    assert len(twitch.requests) == 1, "nothing is gained by asking again"


def test_a_silent_vod_is_complete_and_empty(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, duration_s=DURATION_S))
    got = fetch(tmp_path)
    assert got.is_complete and got.counts["comments"] == 0 and ids(got, tmp_path) == []


def test_a_vod_of_zero_length_ends(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, duration_s=0, comments=twitch.comments(0, 0, after_end=3)))
    got = fetch(tmp_path, duration_ms=0)
    assert got.is_complete and len(ids(got, tmp_path)) == 3


def test_comments_after_the_end_are_kept_and_counted(twitch: Any, vod: Any, tmp_path: Path) -> None:
    got = fetch(tmp_path)
    offsets = np.array([node["contentOffsetSeconds"] for node in vod.ordered]) * 1000
    audit = audit_chat(offsets, start_ms=0, end_ms=DURATION_S * 1000, fetch=got)
    assert audit.num_after == 4 and audit.tail_ms is not None and audit.tail_ms < 0
    assert audit.proven and audit.reasons == () and audit.num_messages == 304


def test_a_second_busier_than_a_page_is_whole_by_cursor(twitch: Any, tmp_path: Path) -> None:
    vod = twitch.add_vod(
        twitch.Vod(id=VOD, duration_s=DURATION_S, comments=twitch.comments(300, DURATION_S, seed=5, burst=(400, 200)))
    )
    got = fetch(tmp_path)
    assert ids(got, tmp_path) == truth(vod) and got.is_complete
    assert got.counts["full_seconds"] == [400]


def test_a_second_busier_than_a_page_is_a_told_loss_by_offset(twitch: Any, tmp_path: Path) -> None:
    vod = twitch.add_vod(
        twitch.Vod(id=VOD, duration_s=DURATION_S, comments=twitch.comments(300, DURATION_S, seed=5, burst=(400, 200)))
    )
    twitch.fault("integrity-after-page", n=1)
    got = fetch(tmp_path)
    came = set(ids(got, tmp_path))
    missing = [node for node in vod.ordered if node["id"] not in came]
    assert missing and {node["contentOffsetSeconds"] for node in missing} == {400}, "all else came"
    assert got.reasons == ["possible-loss: 1 seconds busier than a page (400 s)"] and not got.is_complete


def test_only_the_range_and_its_margin_are_asked_for(twitch: Any, tmp_path: Path) -> None:
    vod = twitch.add_vod(twitch.Vod(id=VOD, duration_s=36_000, comments=twitch.comments(9000, 36_000, seed=6)))
    got = fetch(tmp_path, duration_ms=36_000_000, ranges_ms=[(18_000_000, 18_600_000), (3_000_000, 3_600_000)])
    for start_s in (18_000, 3_000):
        window = {"start_ms": (start_s - 30) * 1000, "end_ms": (start_s + 630) * 1000}
        wanted = [n["id"] for n in vod.ordered if start_s - 30 <= n["contentOffsetSeconds"] < start_s + 630]
        assert ids(got, tmp_path, **window) == wanted
    assert got.is_complete and len(pages_asked(twitch)) <= 10 and got.counts["comments"] < 600


def test_other_ranges_start_anew(twitch: Any, vod: Any, tmp_path: Path) -> None:
    fetch(tmp_path, ranges_ms=[(0, 100_000)])
    assert ids(fetch(tmp_path), tmp_path) == truth(vod)


@pytest.mark.parametrize("damage", ["torn", "garbage", "foreign page"])
def test_a_damaged_journal_is_cut_at_its_damage_and_goes_on(twitch: Any, vod: Any, tmp_path: Path, damage: str) -> None:
    got = fetch(tmp_path)
    whole = got.pages.read_bytes()
    lines = whole.splitlines(keepends=True)
    tail = {
        "torn": lines[4][:100],
        "garbage": b"\x00\x00\n" + lines[4],
        "foreign page": lines[5] + lines[6],
    }[damage]
    got.pages.write_bytes(b"".join(lines[:4]) + tail)
    before = len(pages_asked(twitch))
    assert fetch(tmp_path) == got and got.pages.read_bytes() == whole
    assert len(pages_asked(twitch)) - before == len(lines) - 4


def test_a_hash_that_is_rotated_costs_one_request_and_no_cookie_goes_back(
    twitch: Any, vod: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine gql.twitch.tv login somebody password planted-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    fault = twitch.fault("rotated-hashes")
    got = fetch(tmp_path)
    assert fault.struck == 1 and got.is_complete
    assert all(row["status"] == 200 for row in twitch.requests), "an Authorization header would be answered 401"


def test_the_limit_of_the_host_is_kept(twitch: Any, vod: Any, tmp_path: Path) -> None:
    limits = HostLimits({"gql.twitch.tv": Rate(per_second=20, burst=1)})
    begin = time.monotonic()
    got = fetch(tmp_path, limits=limits)
    assert time.monotonic() - begin >= (got.counts["pages"] - 1) / 20
