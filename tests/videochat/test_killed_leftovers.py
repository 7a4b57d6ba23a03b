"""What killed commands leave: files that the next one clears, and workers that end with their command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from videochat.files import unfinished
from videochat.workspace import Workspace


def test_the_lock_clears_what_killed_processes_left_and_nothing_of_living_ones(root: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    dead, living = f"{ended.pid:06x}ff", unfinished()
    (recording,) = (root / "raw").iterdir()
    files = [
        root / f".splits.json.tmp-{dead}",
        recording / f".video.mp4.tmp-{dead}",
        root / "comments" / f".x.parquet.tmp-{dead}",
        root / f".shards.old-{dead}" / "dataset.json",
        root / "runs" / f".v1-sfat.{dead}" / "run.json",
    ]
    kept = [root / f".splits.json.tmp-{living}", root / ".hidden", root / "runs" / ".ipynb_checkpoints" / "x"]
    for path in (*files, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with Workspace.open(root).lock():
        assert not [
            path for path in files if path.exists() or (path.parent.name.startswith(".") and path.parent.exists())
        ]
        assert all(path.exists() for path in kept)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_their_killed_command(tmp_path: Path) -> None:
    """A worker that outlives its command would wait for work for ever."""
    (tmp_path / "waiting.py").write_text(
        "import os, time\n"
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "@dataclass\n"
        "class Item:\n"
        "    recording_id: str\n"
        "def wait(item):\n"
        "    (Path(__file__).parent / f'{item.recording_id}.pid').write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "command.py").write_text(
        "import sys\n"
        "from videochat.engines.local import run_step\n"
        "from videochat.workspace import Workspace\n"
        "from waiting import Item, wait\n"
        "if __name__ == '__main__':\n"
        "    workspace = Workspace.open(sys.argv[1], create=True)\n"
        "    run_step(workspace, 'clean', [Item('a'), Item('b')], wait, num_workers=2)\n"
    )
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py"), str(tmp_path / "w")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        files = [tmp_path / "a.pid", tmp_path / "b.pid"]
        until(lambda: all(path.exists() and path.read_text() for path in files))
    finally:
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
    workers = [int(path.read_text()) for path in files]
    until(lambda: not any(alive(worker) for worker in workers))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
