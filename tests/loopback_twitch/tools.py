"""What chat-downloader 0.2.8, yt-dlp and `videochat crawl` do in one scenario, each by its own command, unmodified.

A row of each: unit, held (messages or seconds that the service has), delivered (distinct ones that arrived), lost,
doubled, foreign (ids that the service never had), exit (of the process), said (the last line of complaint, or the
verdict with its reasons; "" if none), silent (something was lost, the exit is 0 and nothing was said), false_success
(something was lost and the exit is 0, whatever was said), requests, wall_s.

chat-downloader is run as it is today, and against a service that still knows its retired hash of VideoMetadata
("hash revived"), since nothing else of it can be seen without. It is given 5 attempts instead of 15 (the waits double:
15 would take hours). yt-dlp runs with its own defaults.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .hls import FPS
from .scenarios import URL, Scenario
from .server import LoopbackTwitch
from .vods import Vod

ATTEMPTS = 5
NOTHING = {"doubled": 0, "foreign": 0}
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


def count_ids(found: list[str], held: set[str]) -> dict[str, Any]:
    """The counts of messages that arrived against those that the service has."""
    distinct = set(found)
    counts = {"unit": "messages", "held": len(held), "delivered": len(held & distinct), "lost": len(held - distinct)}
    return {**counts, "doubled": len(found) - len(distinct), "foreign": len(distinct - held)}


def measure_chat(scenario: Scenario, twitch: LoopbackTwitch, folder: Path, *, revive: bool) -> dict[str, Any]:
    """chat-downloader's command."""
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
    counts = count_ids(found, held)
    return {**counts, **verdict(status, lines, counts["lost"], seconds), "requests": len(twitch.requests)}


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
    """yt-dlp's command with its defaults."""
    vod: Vod = scenario.lay_out(twitch)
    output = folder / "video.mp4"
    command = [sys.executable, "-m", "yt_dlp", "--no-progress", "--fixup", "never", "-f", "best[height<=160]"]
    status, lines, seconds = run_tool([*command, "-o", str(output), URL + vod.id], twitch.environment)
    delivered = round(video_seconds(output), 1)
    lost = round(max(0.0, vod.duration_s - delivered), 1)
    counts = {"unit": "seconds", "held": vod.duration_s, "delivered": delivered, "lost": lost, **NOTHING}
    return {**counts, **verdict(status, lines, lost, seconds), "requests": len(twitch.requests)}


def measure_crawl(scenario: Scenario, twitch: LoopbackTwitch, folder: Path) -> dict[str, Any]:
    """`videochat crawl`: chat alone where the scenario is about chat, else the video with it."""
    vod = scenario.lay_out(twitch)
    workspace = folder / "workspace"
    program = "from videochat.cli import main; main()"
    options = ["--data", str(workspace), "--i-may-collect-this"]
    options += ["--no-video"] if scenario.touches == "chat" else []
    status, lines, seconds = run_tool(
        [sys.executable, "-c", program, "crawl", URL + vod.id, *options], twitch.environment
    )
    ledger = workspace / "ledger.jsonl"
    rows = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    said = (
        "; ".join(filter(None, [rows[-1]["status"], rows[-1]["error_class"], rows[-1]["reason"]]))
        if rows
        else "\n".join(lines[-1:])
    )
    raw = workspace / "raw" / f"twitch-{vod.id}"
    if scenario.touches == "video":
        delivered = max([0.0, *(round(video_seconds(path), 1) for path in raw.glob("video.*"))])
        lost = round(max(0.0, vod.duration_s - delivered), 1)
        counts = {"unit": "seconds", "held": vod.duration_s, "delivered": delivered, "lost": lost, **NOTHING}
    else:
        chat = raw / "chat.jsonl.gz"
        found = (
            [json.loads(line)["id"] for line in gzip.decompress(chat.read_bytes()).splitlines()]
            if chat.exists()
            else []
        )
        counts = count_ids(found, {node["id"] for node in vod.comments} if scenario.held else set())
    row = {**counts, **verdict(status, lines, counts["lost"], seconds), "requests": len(twitch.requests)}
    if status not in (0, 3):
        said = "; ".join([said, *lines[-1:]])
    return row | {"said": "" if said == "ok" else said, "silent": counts["lost"] > 0 and said == "ok"}
