"""A chat file much larger than the memory it takes, and the speed figure's own command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from videochat.benchmark.speed.import_ import measure

NUM_COMMENTS = 200_000
CHILD = """
import gzip, json, re, sys
from pathlib import Path
from videochat.sources.local import ImportItem, import_recordings
from videochat.workspace import Workspace

def peak():  # not ru_maxrss: that of a child begins with its parent's
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

workspace = Workspace.open(sys.argv[1], create=True)
small, big = [ImportItem(chat=Path(name), category="Art") for name in sys.argv[2:]]
peaks = []
for item in (small, big):
    (attempt,) = import_recordings(workspace, [item], num_workers=1).attempts
    peaks.append(peak())
print(json.dumps({"messages": attempt.counts["messages"], "oddities": attempt.counts, "peaks": peaks}))
"""


def write_nodes(path: Path, num_comments: int, *, disorder: bool) -> int:
    """A JSON array of nodes, in a stirred order if `disorder`; its bytes."""
    with path.open("wb") as handle:
        handle.write(b"[")
        for number in range(num_comments):
            place = number * 7919 % num_comments if disorder else number
            node = {
                "id": f"{place:032x}",
                "commenter": {"id": str(place % 999), "login": f"user_{place % 999}"},
                "contentOffsetSeconds": place // 3,
                "createdAt": "2026-05-03T17:52:56.132Z",
                "message": {
                    "fragments": [{"emote": None, "text": "word " * 60, "__typename": "VideoCommentMessageFragment"}],
                    "userBadges": [],
                },
            }
            handle.write((b"," if number else b"") + json.dumps(node).encode())
        handle.write(b"]")
    return path.stat().st_size


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("disorder", [False, True], ids=["in order", "out of order"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, disorder: bool):
    write_nodes(tmp_path / "small.json", 10_000, disorder=disorder)
    size = write_nodes(tmp_path / "big.json", NUM_COMMENTS, disorder=disorder)
    assert size > 100e6
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path / "data", tmp_path / "small.json", tmp_path / "big.json"],
        capture_output=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert result["messages"] == NUM_COMMENTS
    small, big = result["peaks"]
    assert big - small < size / 5, f"{(big - small) / 1e6:.0f} MB more for {size / 1e6:.0f} MB"
    assert big < 300e6


def test_the_speed_command_imports_what_it_makes(tmp_path: Path):
    result = measure(400, 1, tmp_path)
    assert result["comments"] == 400
    assert result["one_process_per_s"] > 0
    assert 0 < result["ratio"] < 10
