"""Video fetches that are killed, and several at once: the same bytes, no finished fragment twice, the server's pace."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.video import fetch_video

pytestmark = pytest.mark.slow
FAST = HostLimits({}, Rate(per_second=10_000, burst=10_000))
CHILD = """
import sys
from pathlib import Path
from videochat.crawl.video import fetch_video
print("ready", flush=True)
fetch_video(sys.argv[1], Path(sys.argv[2]), ranges_ms=[(5_000, 75_000), (95_000, 115_000)])
"""
NUM_KILLS = 20


def url(number: int) -> str:
    return f"https://www.twitch.tv/videos/{number}"


def finished(folder: Path) -> set[int]:
    return {int(path.name[:6]) for path in folder.glob("fragments-*/*.part.ts") if not path.name.startswith(".")}


def test_killed_at_random_moments_it_goes_on(twitch: Any, tmp_path: Path) -> None:
    """A run is killed at a random moment and begun again, until it comes through; then another fetch is begun."""
    twitch.add_vod(twitch.Vod(duration_s=120, muted=[(30, 50)]))
    twitch.fault("muted-403")
    ranges = [(5_000, 75_000), (95_000, 115_000)]
    reference = fetch_video(url(1234567890), tmp_path / "reference", ranges_ms=ranges, limits=FAST)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in reference.files]
    twitch.fault("slow", host="media", latency_s=0.15, bytes_per_s=1_500_000)
    rng = random.Random(7)
    num_kills = num_fetches = num_midway = 0
    while num_kills < NUM_KILLS:
        folder = tmp_path / f"fetch-{num_fetches}"
        num_fetches += 1
        twitch.requests.clear()
        while True:
            had, num_before = finished(folder), len(twitch.fragments())
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, url(1234567890), str(folder)], stdout=subprocess.PIPE, text=True
            )
            with child:
                assert child.stdout is not None and child.stdout.readline() == "ready\n"
                try:
                    child.wait(timeout=rng.uniform(0.0, 2.5) if num_kills < NUM_KILLS else 60)
                except subprocess.TimeoutExpired:
                    child.kill()
                    num_kills += 1
                    num_midway += 0 < len(finished(folder)) < 9
            again = {row["segment"] for row in twitch.fragments()[num_before:]} & had
            assert not again, f"fragments {again} were fetched a second time"
            if child.returncode == 0:
                break
            assert child.returncode == -9
        assert [hashlib.sha256((folder / path.name).read_bytes()).hexdigest() for _, path in reference.files] == digests
        assert (folder / "fetch.json").read_bytes() == (tmp_path / "reference" / "fetch.json").read_bytes()
        assert not list(folder.glob("fragments-*")) and not list(folder.glob(".*"))
    assert num_midway >= 3  # kills that struck while fragments came


@pytest.mark.alone
def test_several_recordings_at_once_use_the_line(twitch: Any, tmp_path: Path) -> None:
    """Four VODs over a line of limited width take at most 1.3 times as long as their bytes need on it."""
    numbers = range(1001, 1005)
    for number in numbers:
        twitch.add_vod(twitch.Vod(id=str(number), duration_s=120))
    fetch_video(
        url(1001), tmp_path / "warm", ranges_ms=[(0, 10_000)], limits=FAST
    )  # renditions are encoded, tools imported
    twitch.requests.clear()
    rate = 1_000_000
    twitch.fault("slow", host="media", bytes_per_s=rate)
    begin = time.monotonic()
    threads = [
        threading.Thread(target=fetch_video, args=(url(number), tmp_path / str(number)), kwargs={"limits": FAST})
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin
    num_bytes = sum(row["bytes"] for row in twitch.requests if row["kind"] == "media")
    assert all((tmp_path / str(number) / "fetch.json").exists() for number in numbers)
    print(f"{num_bytes} bytes in {seconds:.2f} s: {seconds * rate / num_bytes:.3f} of the line's own time")
    assert seconds <= 1.3 * num_bytes / rate
