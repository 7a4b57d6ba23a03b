"""A real chat behind the loopback: by cursor, by offset, and with pages that the server leaves out in silence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_chat import ChatFetch, fetch_chat, read_pages
from videochat.crawl.twitch_graphql import Retry
from videochat.sources.formats import Notes

pytestmark = [pytest.mark.fixtures, pytest.mark.slow]

VOD = "1234567890"


@pytest.fixture
def vod(twitch: Any, real: Path) -> Any:
    """The busiest of the real chats: 34 comments a minute."""
    path = real / "chat" / "gql"
    busiest = max(path.glob("*.vod.json"), key=lambda file: _rate(json.loads(file.read_text())))
    facts = json.loads(busiest.read_text())
    nodes = json.loads(
        gzip.decompress(busiest.with_name(busiest.name.replace(".vod.", ".comments.") + ".gz").read_bytes())
    )
    return twitch.add_vod(twitch.Vod(id=VOD, duration_s=facts["duration"], comments=[_whole(node) for node in nodes]))


def _rate(facts: dict[str, Any]) -> float:
    return float(facts["n_comments"] / facts["duration"])


def _whole(node: dict[str, Any]) -> dict[str, Any]:
    """The fields that the loopback's schema asks for and some real nodes lack."""
    for fragment in node["message"]["fragments"]:
        if not fragment.get("emote"):
            fragment["emote"] = None
    return node


def fetch(vod: Any, folder: Path) -> ChatFetch:
    limits = HostLimits({"gql.twitch.tv": Rate(per_second=10_000, burst=10_000)})
    retry = Retry(max_attempts=2, first_wait_s=0.01)
    return fetch_chat(VOD, folder, duration_ms=vod.duration_s * 1000, retry=retry, limits=limits)


def ids(got: ChatFetch) -> list[str]:
    notes = Notes()
    found = [message for batch in read_pages(got.pages, notes) for message in batch]
    assert notes.oddities["malformed-message"] == 0
    return [str(message["id"]) for message in sorted(found, key=lambda message: message["offset_ms"])]


def test_a_real_chat_by_cursor(twitch: Any, vod: Any, tmp_path: Path) -> None:
    got = fetch(vod, tmp_path)
    assert ids(got) == [node["id"] for node in vod.ordered]
    assert got.is_complete and got.method == "cursor"
    print(got.counts)
    assert got.counts["found_by_probes"] == 0 and got.counts["probes"] <= 15


def test_a_real_chat_by_offset(twitch: Any, vod: Any, tmp_path: Path) -> None:
    twitch.fault("integrity-after-page", n=0)
    got = fetch(vod, tmp_path)
    print(got.counts)
    assert sorted(ids(got)) == sorted(node["id"] for node in vod.ordered)
    assert got.is_complete and got.method == "offset"


def test_pages_that_the_server_leaves_out_in_silence_are_found(
    twitch: Any, vod: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every 20th page by cursor is another one: nothing in the answers tells, only the chat's own pace does."""
    honest = twitch.answers.comments

    def leaving_out(vod: Any, offset_s: int | None, after: str | None) -> Any:
        page = honest(vod, offset_s, after)
        leaving_out.number += after is not None  # type: ignore[attr-defined]
        if after is not None and leaving_out.number % 20 == 0 and page["edges"]:  # type: ignore[attr-defined]
            return honest(vod, None, page["edges"][-1]["cursor"])
        return page

    leaving_out.number = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(twitch.answers, "comments", leaving_out)
    got = fetch(vod, tmp_path)
    print(got.counts)
    assert got.counts["found_by_probes"] >= 59 * 4
    assert sorted(ids(got)) == sorted(node["id"] for node in vod.ordered)
