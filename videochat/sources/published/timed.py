"""LiveBot's and VideoIC's files: comments of a video by the second, Chinese, words parted by spaces or not.

LiveBot (Ma et al. 2019, lancopku/livebot): JSON lines {"video", "time", "comment"}; in the -context and -candidate
files `comment` may be five comments of one second, and `context` repeats comments of other lines, so it is not read.
VideoIC (Wang et al. 2020, AIM3-RUC/VideoIC): comments/<aid>.json {"second": [comments]} with info.json {"aid":
{duration, v_class, title, ...}}, or the processed JSON lines {"video", "time", "comment", "context": {"second":
[comments]}}. MovieLC's processed files are read where they have the form of the latter; its own form was not to be
had (FACTS §4). Features: <folder>/<video>.npy, one vector a second. LiveBot publishes its features as a pickle, which
is never loaded: save each video as a .npy.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadRecording
from .stream import STREAMS, Stream, StreamForm, load_frames, rows_of, texts_of, video_id

TAIL_MS = 1000  # a second after the last comment, where nothing tells the length
MAX_SECONDS = 24 * 86_400
_CHINESE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_PARTED = re.compile(f"(?<=[{_CHINESE}]) (?=[{_CHINESE}])")

Seconds = dict[int, list[str]]


def joined(text: str) -> str:
    """Chinese words without the spaces that a segmenter put between them; other words keep theirs."""
    return _PARTED.sub("", text.strip())


def _second(value: Any) -> int | None:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        return None
    return int(number) if 0 <= number < MAX_SECONDS else None


def _add(seconds: Seconds, second: int, texts: list[str]) -> None:
    """Lines repeat each other: of one second the longest list is taken, and single comments that it lacks."""
    known = seconds.setdefault(second, [])
    lacking = Counter(texts) - Counter(known)
    known += list(lacking.elements())


def read_lines(files: Sequence[Path], features: Path | None, oddities: Counter[str]) -> Iterator[Stream]:
    """JSON lines of LiveBot, or of VideoIC as processed."""
    videos: dict[str, Seconds] = {}
    for path in files:
        for row in rows_of(path, oddities):
            video, second = video_id(row.get("video")), _second(row.get("time"))
            if video is None or second is None:
                oddities["rows without a usable video or time"] += 1
                continue
            seconds = videos.setdefault(video, {})
            said = [joined(text) for text in texts_of(row.get("comment"), oddities)]
            if len(said) == 1 and isinstance(row["comment"], str) and not isinstance(row.get("context"), dict):
                seconds.setdefault(second, []).append(said[0])  # one line a comment: two equal lines are two comments
            else:
                _add(seconds, second, said)
            if isinstance(around := row.get("context"), dict):
                for key, texts in around.items():
                    if (when := _second(key)) is None:
                        oddities["context seconds that are no numbers"] += 1
                        continue
                    _add(seconds, when, [joined(text) for text in texts_of(texts, oddities)])
    for video in sorted(videos):
        yield _stream(video, videos[video], features, oddities, category="Bilibili", duration_s=None)


def read_videoic(files: Sequence[Path], features: Path | None, oddities: Counter[str]) -> Iterator[Stream]:
    """Folders with comments/<aid>.json and info.json as published, or processed JSON lines."""
    lines = [path for path in files if not path.is_dir()]
    if lines:
        yield from read_lines(lines, features, oddities)
    for folder in files:
        if not folder.is_dir():
            continue
        info = _object(folder / "info.json") if (folder / "info.json").is_file() else {}
        paths = sorted((folder / "comments").rglob("*.json"))
        if not paths:
            raise BadRecording("missing-file", f"no comments/*.json in {folder}", fix="pass VideoIC's folder data/")
        for path in paths:
            if video_id(path.stem) is None:
                oddities["files whose name is no id"] += 1
                continue
            seconds: Seconds = {}
            for key, texts in _object(path).items():
                if (when := _second(key)) is None:
                    oddities["context seconds that are no numbers"] += 1
                    continue
                seconds[when] = [joined(text) for text in texts_of(texts, oddities)]
            facts = info.get(path.stem)
            facts = facts if isinstance(facts, dict) else {}
            category = str(facts.get("v_class") or path.parent.name.replace("comments", "") or "Bilibili")
            yield _stream(
                path.stem, seconds, features, oddities, category=category, duration_s=_second(facts.get("duration"))
            )


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadRecording("invalid-json", f"{path.name} is no JSON: {error}", fix="download it again") from None
    if not isinstance(found, dict):
        raise BadRecording("invalid-json", f"{path.name} is no object", fix="download it again")
    return found


def _stream(
    video: str,
    seconds: Seconds,
    features: Path | None,
    oddities: Counter[str],
    *,
    category: str,
    duration_s: int | None,
) -> Stream:
    comments = [(second * 1000, text) for second in sorted(seconds) for text in seconds[second]]
    last_ms = comments[-1][0] if comments else 0
    stream = Stream(
        platform_id=video,
        category=category,
        language="zh",
        duration_ms=(duration_s or 0) * 1000 or last_ms + TAIL_MS,
        comments=comments,
        facts={"comment_times": "whole seconds", "duration": "declared" if duration_s else "last comment"},
    )
    if features is not None and (found := load_frames(features / f"{video}.npy", oddities)) is not None:
        stream.frames.append((found, np.arange(len(found), dtype=np.int64) * 1000))
        stream.duration_ms = max(stream.duration_ms, len(found) * 1000) if not duration_s else stream.duration_ms
    return stream


for _name, _read, _source, _summary in (
    ("livebot", read_lines, "arXiv 1809.04938; lancopku/livebot", "LiveBot: JSON lines of comments by the second"),
    ("videoic", read_videoic, "ACM MM 2020; AIM3-RUC/VideoIC", "VideoIC: its folder data/, or processed JSON lines"),
):
    STREAMS.add(
        _name,
        StreamForm(
            name=_name,
            summary=_summary,
            platform=_name,
            language="zh",
            source=_source,
            unknown="authors, channels (each video counts as a channel of its own)",
            read=_read,
        ),
    )
