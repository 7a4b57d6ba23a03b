"""Real, unmodified clients take the loopback Twitch for Twitch: yt-dlp, chat-downloader 0.2.8, requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_yt_dlp_reads_metadata_and_playlists(twitch: Any) -> None:
    import yt_dlp

    twitch.add_vod(twitch.Vod(duration_s=35, chapters=[(0, "Minecraft"), (20, "Chess")]))
    with yt_dlp.YoutubeDL({"quiet": True, "compat_opts": {"no-certifi"}}) as client:
        info = client.extract_info("https://www.twitch.tv/videos/1234567890", download=False)
    assert info["duration"] == 35
    assert info["uploader_id"] == "streamer"
    assert [(c["start_time"], c["end_time"], c["title"]) for c in info["chapters"]] == [
        (0, 20, "Minecraft"),
        (20, 35, "Chess"),
    ]
    heights = [entry["height"] for entry in info["formats"] if entry.get("protocol", "").startswith("m3u8")]
    assert heights == [160, 360]
    assert not twitch.foreign


def test_yt_dlp_downloads_by_the_environment_alone(twitch: Any, tmp_path: Path) -> None:
    import av

    twitch.add_vod(twitch.Vod(duration_s=35))
    command = [sys.executable, "-m", "yt_dlp", "--quiet", "--downloader", "m3u8:native", "--fixup", "never"]
    command += ["-f", "best[height<=160]", "-o", str(tmp_path / "out.mp4"), "https://www.twitch.tv/videos/1234567890"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["segment"] for row in twitch.fragments()] == [0, 1, 2, 3]
    with av.open(str(tmp_path / "out.mp4")) as file:
        stream = file.streams.video[0]
        times = [packet.pts * stream.time_base for packet in file.demux(stream) if packet.pts is not None]
    assert len(times) == 350
    assert float(max(times) - min(times)) == pytest.approx(34.9)
    assert not twitch.foreign


def test_chat_downloader_delivers_every_message_of_a_healthy_vod(twitch: Any) -> None:
    from chat_downloader import ChatDownloader

    nodes = twitch.comments(300, 120, seed=1)
    twitch.add_vod(twitch.Vod(comments=nodes))
    twitch.revive("VideoMetadata")
    messages = list(ChatDownloader().get_chat("https://www.twitch.tv/videos/1234567890", message_groups=["all"]))
    assert [message["message_id"] for message in messages] == [node["id"] for node in nodes]
    assert len(twitch.pages()) == 6
    assert not twitch.foreign


def test_chat_downloader_cannot_start_since_its_hash_was_forgotten(twitch: Any) -> None:
    from chat_downloader import ChatDownloader
    from chat_downloader.errors import RetriesExceeded

    twitch.add_vod(twitch.Vod(comments=twitch.comments(10, 120)))
    with pytest.raises(RetriesExceeded):
        ChatDownloader().get_chat("https://www.twitch.tv/videos/1234567890", max_attempts=2, interruptible_retry=False)
    assert [row["operation"] for row in twitch.requests] == ["VideoMetadata"] * 2


def test_any_other_host_is_refused_and_recorded(twitch: Any) -> None:
    import requests

    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.org/", timeout=5)
    assert requests.get("http://example.net/", timeout=5).status_code == 502
    assert twitch.foreign == ["example.org", "example.net"]
