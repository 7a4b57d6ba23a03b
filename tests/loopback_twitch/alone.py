"""What chat-downloader 0.2.8 and yt-dlp do alone, by their own commands, in each scenario. JSON on stdout.

    PYTHONPATH=tests python -m loopback_twitch.alone [SCENARIO ...] > alone.json

One row for each tool and scenario: held (messages or seconds that the service has), delivered (distinct ones that
arrived), lost, doubled, foreign (ids that the service never had), exit (of the process), said (the last line of
complaint, "" if none), silent (something was lost, the exit is 0 and nothing was said), false_success (something was
lost and the exit is 0, whatever was said), requests, wall_s.
chat-downloader is run twice: as it is today ("chat-downloader"), and against a service that still knows its retired
hash of VideoMetadata ("chat-downloader, hash revived"), since nothing else of it can be seen without. It is given 5
attempts instead of 15 (the waits double: 15 would take hours); yt-dlp runs with its own defaults.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .hls import FPS, Media
from .scenarios import SCENARIOS, URL, Scenario
from .server import Authority, LoopbackTwitch
from .vods import Vod

ATTEMPTS = 5
TIMEOUT_S = 120
COMPLAINT = re.compile(r"error|warning|exceeded|exception|unable|unavailable", re.IGNORECASE)


def run_tool(command: list[str], environment: dict[str, str]) -> tuple[int | None, list[str], float]:
    """(exit status, None if it was ended after TIMEOUT_S; its lines of complaint; seconds)."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        status, text = (
            done.returncode,
            done.stderr + "\n".join(line for line in done.stdout.splitlines() if line.startswith("[")),
        )
    except subprocess.TimeoutExpired as error:
        status, text = None, (error.stderr or b"").decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if COMPLAINT.search(line)]
    return status, lines, time.monotonic() - started


def verdict(status: int | None, lines: list[str], lost: float, seconds: float) -> dict[str, Any]:
    """The columns that all tools share."""
    is_silent = lost > 0 and status == 0 and not lines
    said = lines[-1][:200] if lines else ""
    claims = {"silent": is_silent, "false_success": lost > 0 and status == 0}
    return {"exit": status, "said": said, **claims, "wall_s": round(seconds, 2)}


def measure_chat(scenario: Scenario, twitch: LoopbackTwitch, folder: Path, *, revive: bool) -> dict[str, Any]:
    """One row for chat-downloader's command."""
    vod = scenario.lay_out(twitch)
    if revive:
        twitch.revive("VideoMetadata")
    output = folder / "chat.jsonl"
    options = ["--message_groups", "all", "--max_attempts", str(ATTEMPTS), "--interruptible_retry", "False"]
    command = [sys.executable, "-m", "chat_downloader", URL + vod.id, "--output", str(output), *options]
    status, lines, seconds = run_tool(command, twitch.environment)
    lines = [line for line in lines if "Retry #" not in line or status != 0]
    found = [json.loads(line)["message_id"] for line in output.read_text().splitlines()] if output.exists() else []
    held = {node["id"] for node in vod.comments} if scenario.held else set()
    lost = len(held - set(found))
    counts = {"unit": "messages", "held": len(held), "delivered": len(held & set(found)), "lost": lost}
    counts |= {"doubled": len(found) - len(set(found)), "foreign": len(set(found) - held)}
    tool = "chat-downloader, hash revived" if revive else "chat-downloader"
    return {"tool": tool, **counts, **verdict(status, lines, lost, seconds), "requests": len(twitch.requests)}


def video_seconds(path: Path) -> float:
    """Seconds of video that are in the file by its number of frames, whatever its clock says; 0 for none."""
    import av

    if not path.exists() or not path.stat().st_size:
        return 0.0
    with av.open(str(path)) as file:
        if not file.streams.video:
            return 0.0
        return sum(packet.size > 0 for packet in file.demux(file.streams.video[0])) / FPS


def measure_video(scenario: Scenario, twitch: LoopbackTwitch, folder: Path) -> dict[str, Any]:
    """One row for yt-dlp's command with its defaults."""
    vod: Vod = scenario.lay_out(twitch)
    output = folder / "video.mp4"
    command = [sys.executable, "-m", "yt_dlp", "--no-progress", "--fixup", "never", "-f", "best[height<=160]"]
    status, lines, seconds = run_tool([*command, "-o", str(output), URL + vod.id], twitch.environment)
    delivered = round(video_seconds(output), 1)
    lost = round(max(0.0, vod.duration_s - delivered), 1)
    counts = {"unit": "seconds", "held": vod.duration_s, "delivered": delivered, "lost": lost}
    return {"tool": "yt-dlp", **counts, **verdict(status, lines, lost, seconds), "requests": len(twitch.requests)}


def main(names: list[str]) -> None:
    authority = Authority()
    rows = []
    with tempfile.TemporaryDirectory() as root:
        media = Media(Path(root) / "media")
        for name in names or SCENARIOS:
            scenario = SCENARIOS[name]
            runs: list[dict[str, bool]] = [{"revive": False}, {"revive": True}] if scenario.touches == "chat" else [{}]
            for options in runs:
                folder = Path(tempfile.mkdtemp(dir=root))
                twitch = LoopbackTwitch(media, authority, folder)
                try:
                    measure = measure_chat if options else measure_video
                    row = measure(scenario, twitch, folder, **options)  # type: ignore[operator]
                finally:
                    twitch.stop()
                if twitch.crashes or twitch.foreign:
                    raise RuntimeError(f"{name}: {[*twitch.crashes, *twitch.foreign]}")
                rows.append({"scenario": name, "summary": scenario.summary, **row})
                print(f"{name}: {row}", file=sys.stderr)
    versions = {tool: version(tool) for tool in ("chat-downloader", "yt-dlp")}
    print(json.dumps({"versions": versions, "attempts": ATTEMPTS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
