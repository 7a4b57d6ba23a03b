"""What a small JSON file beside a recording says of it: Twitch's own metadata (vod.json) or yt-dlp's info.json.

info = read_info(Path("v123.info.json"))
info.platform, info.platform_id, info.channel, info.duration_ms
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadRecording

MAX_INFO_BYTES = 64 * 1024 * 1024
_PLATFORMS = ("twitch", "youtube", "bilibili", "acfun")
_CHAT_SUFFIXES = (".gz", ".json", ".jsonl", ".xml", ".csv", ".comments", ".chat", ".rechat", ".live_chat")


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known; "" or None where the file does not say. platform: "twitch" for yt-dlp's "TwitchVod", and so on."""

    platform: str = ""
    platform_id: str = ""
    channel: str = ""
    title: str = ""
    duration_ms: int | None = None


def read_info(path: Path) -> VideoFacts:
    """Raises BadRecording("bad-info") if the file is missing or no such file."""
    try:
        if path.stat().st_size > MAX_INFO_BYTES:
            raise BadRecording("bad-info", f"{path.name} has more than 64 MiB, too much for a video's metadata")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise BadRecording("bad-info", f"the info file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadRecording("bad-info", f"the info file {path.name} is not JSON") from None
    if not isinstance(value, dict):
        raise BadRecording("bad-info", f"the info file {path.name} is not a JSON object")
    extractor = str(value.get("extractor_key") or value.get("extractor") or "").lower()
    platform = next((name for name in _PLATFORMS if extractor.startswith(name)), "")
    identity = value.get("vod_id") or value.get("id") or ""
    if "vod_id" in value or platform == "twitch":
        platform = "twitch"
        identity = str(identity).removeprefix("v")  # yt-dlp writes v123 for VOD 123
    return VideoFacts(
        platform=platform,
        platform_id=_text(identity),
        channel=_text(value.get("channel") or value.get("uploader_id") or value.get("uploader") or value.get("login")),
        title=_text(value.get("title")),
        duration_ms=_duration_ms(value.get("duration")),
    )


def find_info(chat: Path) -> Path | None:
    """The info file beside `chat` under the same stem: x.vod.json or x.info.json for x.comments.json.gz."""
    stem = chat.name
    while True:
        for suffix in (".vod.json", ".info.json"):
            beside = chat.with_name(stem + suffix)
            if beside.is_file() and beside != chat:
                return beside
        suffix = Path(stem).suffix.lower()
        if suffix not in _CHAT_SUFFIXES:
            return None
        stem = stem[: -len(suffix)]


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else ""


def _duration_ms(value: Any) -> int | None:
    return round(value * 1000) if isinstance(value, int | float) and 0 < value < 1e7 else None
