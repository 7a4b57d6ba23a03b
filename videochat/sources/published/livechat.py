"""The released LiveChat (2023) and VideoChat (2025) JSON: one object a clip of 30 s, frame features as .npy.

Fields, as FACTS §2 lists them: id_video, start (of a ten-minute extract, s), offset_start (of the clip in it, s),
chat_context, responses, transcript_audio, category (a Twitch game id); context_emotes and responses_emotes name no
comment and are left out, response_index and candidates are made anew by our protocols. Features lie in
<folder>/<category>/<id_video>_<start>_<offset_start>.npy, 30 frames of 1 fps.

No comment has a time or an author there, and their order was lost to a set: comments are spread evenly over the 20 s
of the context and the 10 s of the answers. Extracts of one video lie one after the other with a clip's length between
them, so that no frame of one is seen with chat of another. All of this is written into recording.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .stream import STREAMS, Stream, StreamForm, load_frames, rows_of, texts_of, video_id

CLIP_S, CONTEXT_S = 30, 20
CATEGORIES = {  # FACTS §2
    "18122": "World of Warcraft",
    "21779": "League of Legends",
    "26936": "Music",
    "27471": "Minecraft",
    "32399": "Counter-Strike",
    "33214": "Fortnite",
    "509658": "Just Chatting",
    "509660": "Art",
    "509663": "Special Events",
    "515025": "Overwatch 2",
    "516575": "VALORANT",
}


def read(files: Sequence[Path], features: Path | None, oddities: Counter[str]) -> Iterator[Stream]:
    videos: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
    for path in files:
        for row in rows_of(path, oddities):
            video, start, offset = (
                video_id(row.get("id_video")),
                _seconds(row.get("start")),
                _seconds(row.get("offset_start")),
            )
            if video is None or start is None or offset is None:
                oddities["clips without a usable id_video, start or offset_start"] += 1
                continue
            clips = videos.setdefault(video, {})
            if (start, offset) in clips:
                oddities["clips that come twice"] += 1
                continue
            clips[start, offset] = row
    for video in sorted(videos):
        yield _stream(video, videos[video], features, oddities)


def _seconds(value: Any) -> int | None:
    """A count of seconds, 0 or more, from a number or its digits."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        return None
    return int(number) if 0 <= number < 2**31 / 1000 and number == int(number) else None


def _stream(
    video: str, clips: dict[tuple[int, int], dict[str, Any]], features: Path | None, oddities: Counter[str]
) -> Stream:
    first = clips[min(clips)]
    category = str(first.get("category") or "").strip()
    stream = Stream(
        platform_id=video,
        category=CATEGORIES.get(category, category or "unknown"),
        language="en",
        duration_ms=0,
        comments=[],
    )
    extracts = []
    at_s = 0
    for start in sorted({start for start, _ in clips}):
        offsets = sorted(offset for begun, offset in clips if begun == start)
        extracts.append({"start_s": start, "at_ms": at_s * 1000})
        for offset in offsets:
            if offset % CLIP_S:
                oddities["clips off the grid of 30 s"] += 1
                continue
            begin_ms = (at_s + offset) * 1000
            row = clips[start, offset]
            for name, from_s, to_s in (("chat_context", 0, CONTEXT_S), ("responses", CONTEXT_S, CLIP_S)):
                texts = texts_of(row.get(name), oddities)
                step = (to_s - from_s) * 1000 / max(1, len(texts))
                stream.comments += [
                    (begin_ms + from_s * 1000 + int((i + 0.5) * step), text) for i, text in enumerate(texts)
                ]
            said = row.get("transcript_audio")
            if isinstance(said, str) and said.strip():
                stream.transcript.append((begin_ms, begin_ms + CLIP_S * 1000, said.strip()))
            if features is not None:
                folder = Path(category).name  # never outside of the folder, whatever a file says
                name = f"{video}_{start}_{offset}.npy"
                if (found := load_frames(features / folder / name, oddities)) is not None:
                    times = begin_ms + np.arange(len(found), dtype=np.int64) * 1000
                    stream.frames.append((found[:CLIP_S], times[:CLIP_S]))
        at_s += max(offsets, default=0) // CLIP_S * CLIP_S + 2 * CLIP_S  # its last clip, and a gap as long
    stream.duration_ms = (at_s - CLIP_S) * 1000
    stream.facts = {
        "extracts": extracts,
        "comment_times": "unknown: spread evenly over context and answers",
        "transcript_times": "of pieces of 30 s: a model hears a piece only when all of it is past",
    }
    return stream


STREAMS.add(
    "livechat",
    StreamForm(
        name="livechat",
        summary="LiveChat 2023 / VideoChat 2025: JSON of 30-second clips, CLIP features as .npy",
        platform="livechat",
        language="en",
        source="arXiv 2510.26978; yy1lab/LiveChat",
        unknown="authors, comment times, channels (each video counts as a channel of its own)",
        read=read,
    ),
)
