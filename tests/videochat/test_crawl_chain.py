"""From the loopback Twitch to a table: crawl by recipe over 3 categories, clean, features, shards, candidates, bench.

As a user types it, with the released way of choosing segments: ten-minute bins, more than twelve of them, the densest.
Secrets and user names that the service knows must be in no log, in no ledger and in no shard.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videochat.sample.generate import generate
from videochat.workspace import Workspace

pytestmark = pytest.mark.slow

CATEGORIES = (("Minecraft", "27471"), ("Just Chatting", "509658"), ("Art", "509660"))
RATES = [120, 300, 100, 90, 420, 110, 100, 90, 100, 350, 100, 90, 80, 110]  # comments in each ten minutes
DENSEST = (600, 2400, 5400)  # seconds at which the three densest bins start
RECIPE = """
name: three
segments: {mode: densest, bin_minutes: 10, more_than_bins: 12, take: 3}
categories:
- {name: Minecraft, id: '27471', hours: 0.5}
- {name: Just Chatting, id: '509658', hours: 0.5}
- {name: Art, id: '509660', hours: 0.5}
"""
LOGIN = "streamer_planted_name"


def videochat(folder: Path, *arguments: str) -> tuple[str, str]:
    """(stdout, stderr) of one command, which must end well."""
    command = [sys.executable, "-c", "from videochat.cli import main; main()", *arguments, "--data", "data"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, env=dict(os.environ))
    assert done.returncode == 0, f"{arguments[0]}: {done.stderr[-3000:]}"
    return done.stdout, done.stderr


def lay_out(twitch: Any, folder: Path) -> None:
    """Three VODs of simulated pictures, each its own (equal pictures would count as one channel's rebroadcasts)."""
    world = Workspace.open(folder / "world", create=True, clip="sample")
    generate(world, num_recordings=3, minutes=2, num_workers=1)
    videos = sorted((world.root / "raw").glob("*/video.mp4"))
    for number, (category, identity) in enumerate(CATEGORIES):
        twitch.add_category(category, identity)
        nodes = []
        for index, rate in enumerate(RATES):
            for node in twitch.comments(rate, 600, seed=100 * number + index, users=60):
                node["contentOffsetSeconds"] += 600 * index
                nodes.append(node)
        twitch.add_vod(
            twitch.Vod(id=f"{1_000_001 + number}", channel=f"{LOGIN}_{number}", category=category, comments=nodes,
                       duration_s=600 * len(RATES), video=videos[number], heights=(360,))
        )  # fmt: skip


def bytes_of(folder: Path, pattern: str) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob(pattern)) if path.is_file())


def test_from_twitch_to_a_table(twitch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(twitch, tmp_path)
    for name, value in twitch.credentials.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "three.yaml").write_text(RECIPE)
    logs = []

    def run(*arguments: str) -> str:
        output, log = videochat(tmp_path, *arguments)
        logs.extend([output, log])
        return output

    crawled = json.loads(run("crawl", "--recipe", "three.yaml", "--i-may-collect-this", "--json"))
    assert crawled["ok"] == 9 and not crawled["failed"] and not crawled["partial"]
    data = tmp_path / "data"
    names = {f"twitch-{1_000_001 + number}-t{start}" for number in range(3) for start in DENSEST}
    assert {folder.name for folder in (data / "raw").iterdir()} == names
    for folder in (data / "raw").iterdir():
        recording = json.loads((folder / "recording.json").read_text())
        assert (folder / "video.mp4").stat().st_size > 100_000
        assert abs(recording["duration_ms"] - 600_000) <= 200 and recording["category"] in dict(CATEGORIES)
    assert 9 * 60 <= len(twitch.fragments()) <= 9 * 62, "ranges only where segments were chosen"

    run("clean")
    run("build-features", "--clip", "sample", "--device", "cpu")
    run("build", "--fractions", "0.34,0.33,0.33")
    run("candidates", "--k", "4")
    run("train", "--model", "sfat", "--seed", "1", "--set", "epochs=1", "--limit", "16")
    table = json.loads(run("bench", "--model", "sfat", "--seed", "1", "--json"))
    rows = table["metrics"]["rows"]
    assert {"oracle", "constant", "tfidf"} <= {row["model"] for row in rows}
    assert any(row["model"].startswith("sfat") for row in rows)
    assert {row["metrics"]["R@1"]["value"] for row in rows if row["model"] == "oracle"} == {1.0}
    run("validate")
    status = json.loads(run("status", "--json"))
    assert status["steps"]["crawl"]["ok"] == 9
    again = json.loads(run("crawl", "--json"))
    assert again["current"] == 9, "the workspace follows its own recipe"

    # Nothing of what is secret, or of who spoke, has left raw/
    users = {node["commenter"]["login"] for vod in twitch.vods.values() for node in vod.comments if node["commenter"]}
    assert len(users) > 100 and len(twitch.secrets) >= 4
    said = "\n".join(logs).encode()
    outside = {
        "logs": said,
        "ledger": (data / "ledger.jsonl").read_bytes(),
        "shards": bytes_of(data, "shards/**/*"),
        "comments": bytes_of(data, "comments/*"),
        "candidates": bytes_of(data, "candidates/**/*"),
        "runs": bytes_of(data, "runs/**/*"),
    }
    everything = bytes_of(data, "**/*") + bytes_of(data, ".crawl/**/*") + said
    for secret in [*twitch.secrets, twitch.credentials["TWITCH_CLIENT_SECRET"]]:
        assert secret.encode() not in everything, "a secret is nowhere, not even in raw/"
    for place, content in outside.items():
        assert content, place
        assert LOGIN.encode() not in content.lower(), place
        assert not re.search(rb"viewer_\d+_\d+", content.lower()), place
    import pyarrow.parquet as pq

    for path in [*data.glob("shards/**/*.parquet"), *data.glob("comments/*.parquet")]:  # compressed: read them, too
        text = json.dumps(pq.read_table(path).drop_columns(_vectors(path)).to_pylist()).lower()
        assert LOGIN not in text and not re.search(r"viewer_\d+_\d+", text), path.name


def _vectors(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return [name for name in pq.read_schema(path).names if name in ("frames", "context_clip", "frame_ms")]
