"""Four recordings at once take the time of their slowest part: the loopback server's own limit, times 1.3 at most."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.crawl import crawl
from videochat.crawl.jobs import CrawlOptions
from videochat.crawl.targets import read_targets
from videochat.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.usefixtures("hurried")]

NUM_VODS = 4
IDEAL_S = 16.0  # what the throttled line needs for the media alone
LATENCY_S = 0.25  # of each page of chat
FACTOR = 1.3


def fetch(twitch: Any, folder: Path, names: list[str]) -> float:
    workspace = Workspace.open(folder, create=True)
    begin = time.monotonic()
    summary = crawl(workspace, read_targets(names), CrawlOptions(affirmed=True, at_once=NUM_VODS))
    seconds = time.monotonic() - begin
    assert summary.count("ok") == len(names)
    return seconds


def test_four_at_once(twitch: Any, tmp_path: Path) -> None:
    names = [f"{1_000_001 + number}" for number in range(NUM_VODS)]
    for number, name in enumerate(names):
        twitch.add_vod(twitch.Vod(id=name, duration_s=120, comments=twitch.comments(1500, 120, seed=number)))
    fetch(twitch, tmp_path / "warm", names)  # modules are imported, media are made
    num_bytes = sum(row["bytes"] for row in twitch.fragments())
    num_before = len(twitch.requests)
    twitch.fault("slow", host="media", bytes_per_s=num_bytes / IDEAL_S)
    twitch.fault("slow", host="gql", latency_s=LATENCY_S)
    seconds = fetch(twitch, tmp_path / "timed", names)
    rows = twitch.requests[num_before:]
    chat_s = {
        name: sum(row["seconds"] for row in rows if row["kind"] == "gql" and row["vod"] == name) for name in names
    }
    assert sum(row["bytes"] for row in rows if row["segment"] is not None) == num_bytes
    assert min(chat_s.values()) > 5, "the chat of one VOD alone takes seconds"
    print(f"{seconds:.2f} s for {NUM_VODS} VODs, the line needs {IDEAL_S} s: {seconds / IDEAL_S:.3f}; chat {chat_s}")
    assert seconds <= FACTOR * IDEAL_S
