"""kill -9 at random moments of a chat fetch: the next run completes it, with the same bytes, and asks for no page again
that was stored."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_chat import ChatFetch, fetch_chat, read_pages
from videochat.crawl.twitch_graphql import Retry
from videochat.sources.chat_store import store_chat
from videochat.sources.formats import Notes

VOD = "1234567890"
DURATION_S = 1800
NUM_KILLS = 20
HASTY = Retry(max_attempts=3, first_wait_s=0.01)
CHILD = """
import sys
from pathlib import Path
from videochat.crawl import twitch_site
from videochat.crawl.twitch_chat import fetch_chat
from videochat.crawl.twitch_graphql import Retry
print("begin", flush=True)
retry = Retry(max_attempts=3, first_wait_s=0.01)
fetch_chat(sys.argv[1], Path(sys.argv[2]), duration_ms=int(sys.argv[3]), retry=retry)
print("end", flush=True)
"""

pytestmark = pytest.mark.slow


def fetch(folder: Path) -> ChatFetch:
    limits = HostLimits({"gql.twitch.tv": Rate(per_second=10_000, burst=10_000)})
    return fetch_chat(VOD, folder, duration_ms=DURATION_S * 1000, retry=HASTY, limits=limits)


def chat_bytes(got: ChatFetch) -> bytes:
    final = got.pages.with_name("chat.jsonl.gz")
    store_chat(read_pages(got.pages, Notes()), final, Notes())
    return final.read_bytes()


def stored(folder: Path) -> list[dict[str, Any]]:
    """The requests whose pages lie whole in the journal."""
    path = folder / "pages.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)[1:] if path.exists() else []
    return [orjson.loads(line)["asked"] for line in lines if line.endswith(b"\n")]


def killed(folder: Path, after_s: float) -> bool:
    """Fetch in a child process that is killed `after_s` after it began; False if it had ended by then."""
    command = [sys.executable, "-c", CHILD, VOD, str(folder), str(DURATION_S * 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "begin\n"
        time.sleep(after_s)
        child.kill()
        return "end" not in child.stdout.read()


def asked(row: dict[str, Any]) -> dict[str, Any]:
    variables = row["variables"][0]
    if "cursor" in variables:
        return {"cursor": variables["cursor"]}
    return {"offset": variables["contentOffsetSeconds"]}


@pytest.mark.parametrize("fault", ["", "integrity-after-page", "server-error"])
def test_twenty_kills(twitch: Any, tmp_path: Path, fault: str) -> None:
    nodes = twitch.comments(900, DURATION_S, seed=7, after_end=3)
    vod = twitch.add_vod(twitch.Vod(id=VOD, duration_s=DURATION_S, comments=nodes))
    twitch.fault("slow", latency_s=0.02)
    if fault == "integrity-after-page":
        twitch.fault(fault, n=0)
    begin = time.monotonic()
    whole = fetch(tmp_path / "whole")
    seconds = time.monotonic() - begin
    pages, chat = whole.pages.read_bytes(), chat_bytes(whole)
    assert whole.is_complete and whole.counts["comments"] == len(vod.comments)
    rng = random.Random(11)
    assert whole.method == ("offset" if fault == "integrity-after-page" else "cursor")
    num_killed = num_resumed = 0
    for number in range(NUM_KILLS if not fault else 5):
        folder = tmp_path / str(number)
        burst = twitch.fault(fault, n=3, times=2) if fault == "server-error" else None
        num_killed += killed(folder, rng.uniform(0, seconds))
        kept = stored(folder)
        num_resumed += 0 < len(kept) < whole.counts["pages"]
        if burst:
            burst.remove()
        before = len(twitch.requests)
        again = fetch(folder)
        assert not [row for row in twitch.requests[before:] if asked(row) in kept]
        assert again == ChatFetch(**(vars(whole) | {"pages": again.pages}))
        assert again.pages.read_bytes() == pages
        assert chat_bytes(again) == chat
    assert num_killed >= 2 and num_resumed >= 2, "no kill met a fetch at work"


def test_kills_in_a_row_add_up_to_one_fetch(twitch: Any, tmp_path: Path) -> None:
    nodes = twitch.comments(900, DURATION_S, seed=8)
    vod = twitch.add_vod(twitch.Vod(id=VOD, duration_s=DURATION_S, comments=nodes))
    twitch.fault("slow", latency_s=0.03)
    rng, num_kills = random.Random(5), 0
    while killed(tmp_path, rng.uniform(0.05, 0.4)):
        num_kills += 1
        assert num_kills < 100
    got = fetch(tmp_path)
    asks = [str(asked(row)) for row in twitch.requests]
    assert got.is_complete and got.counts["comments"] == len(vod.comments)
    assert num_kills > 1
    assert len(asks) <= got.counts["pages"] + num_kills, "more than the page in flight was asked for again"
