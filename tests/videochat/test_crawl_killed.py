"""`videochat crawl` killed with SIGKILL at random moments: the next run completes it, with the bytes of a whole run."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

VOD = 1_000_001
TAKEN = ".crawl/recipe.json"
COMMAND = [sys.executable, "-c", "from videochat.cli import main; main()", "crawl"]


def start(data: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [*COMMAND, *arguments, "--data", str(data), "--i-may-collect-this", "--json"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, env=dict(os.environ)
    )


def finish(data: Path, arguments: list[str]) -> None:
    process = start(data, arguments)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()[-2000:]


def tree(data: Path) -> dict[str, str]:
    """Digest of every file that the crawl leaves, but for the ledger, the lock and the dated statement."""
    found = {}
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if path.is_file() and name not in ("ledger.jsonl", ".lock", "rights.json"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def message_ids(data: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in (data / "raw").glob("*/chat.jsonl.gz"):
        with gzip.open(path) as handle:
            found.update(json.loads(line)["id"] for line in handle)
    return found


def kill_after(process: subprocess.Popen[bytes], is_time: Callable[[], bool]) -> bool:
    """SIGKILL to the process and all its children as soon as it is time; False if it ended before."""
    while not is_time():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def lay_out(twitch: Any, folder: Path) -> dict[str, list[str]]:
    """Two VODs to be fetched whole, and a recipe that takes two segments of each of three VODs."""
    names = (("Minecraft", "27471"), ("Art", "509660"))
    for name, identity in names:
        twitch.add_category(name, identity)
    for number, (category, channel) in enumerate([("Minecraft", "anna"), ("Minecraft", "berta"), ("Art", "clara")]):
        twitch.add_vod(
            twitch.Vod(id=f"{VOD + number}", channel=channel, category=category, duration_s=120,
                       comments=twitch.comments(500, 120, seed=number, after_end=3))
        )  # fmt: skip
    (folder / "targets.txt").write_text(f"{VOD}\n{VOD + 1}\n")
    (folder / "recipe.yaml").write_text(
        "name: small\nsegments: {bin_minutes: 0.5, more_than_bins: 3, take: 2}\ncategories:\n"
        "- {name: Minecraft, id: '27471', hours: 0.0333}\n- {name: Art, id: '509660', hours: 0.0166}\n"
    )
    return {"targets": [str(folder / "targets.txt")], "recipe": ["--recipe", str(folder / "recipe.yaml")]}


@pytest.mark.parametrize(("way", "num_kills"), [("targets", 20), ("recipe", 10)])
def test_killed_at_random_moments(
    twitch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, num_kills: int
) -> None:
    """Odd kills come after a random number of requests, even ones after a random time, so that all phases are met."""
    for name, value in twitch.credentials.items():
        monkeypatch.setenv(name, value)
    arguments = lay_out(twitch, tmp_path)[way]
    begin = time.monotonic()
    finish(tmp_path / "undisturbed", arguments)
    seconds = time.monotonic() - begin
    num_requests = len(twitch.requests)
    num_fragments = len(twitch.fragments())
    expected, expected_ids = tree(tmp_path / "undisturbed"), message_ids(tmp_path / "undisturbed")
    recordings = [name for name in expected if name.endswith("recording.json")]
    assert len(recordings) == (2 if way == "targets" else 6)
    assert all(name.startswith("raw/") for name in expected.keys() - {"workspace.toml", "recipe.yaml", TAKEN})
    if way == "targets":
        assert sum(expected_ids.values()) == len(expected_ids) == 2 * 503

    rng = random.Random(7)
    num_killed = 0
    for number in range(num_kills):
        data = tmp_path / f"killed-{number}"
        first = len(twitch.requests)
        process = start(data, arguments)
        if number % 2:
            last = first + rng.randrange(1, num_requests)
            num_killed += kill_after(process, lambda last=last: len(twitch.requests) >= last)
        else:
            moment = time.monotonic() + rng.uniform(0.1, seconds)
            num_killed += kill_after(process, lambda moment=moment: time.monotonic() >= moment)
        assert process.stderr
        process.stderr.close()
        for folder in (data / "raw").glob("*"):
            assert (folder / "recording.json").is_file(), "what is in raw/ is whole"
        finish(data, arguments)
        assert tree(data) == expected, f"kill {number}"
        assert message_ids(data) == expected_ids, f"kill {number}"
        rows = twitch.requests[first:]
        fragments = Counter(row["path"] for row in rows if row["segment"] is not None and not row["cut"])
        assert len(fragments) == num_fragments
        assert sum(fragments.values()) <= num_fragments + 4 * 3, "only what was under way is asked for again"
        if way == "targets":
            pages = Counter(json.dumps([row["vod"], row["variables"]]) for row in twitch.pages() if row in rows)
            assert sum(pages.values()) <= len(pages) + 2, "only the page that was under way is asked for again"
    assert num_killed >= num_kills * 3 // 4
