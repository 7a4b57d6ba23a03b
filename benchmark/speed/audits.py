"""How long the audits of the splits take at the size of the published data set, in simulated shards.

    python -m videochat.benchmark.speed.audits                       # 52,560 clips, 3.2 M comments; 2 GB of frames
    python -m videochat.benchmark.speed.audits --recordings 88       # a tenth of it

Chat: `speed.full_size`. Video: pictures that wander about a scene of their own, one a second, 512 wide (as CLIP
ViT-B/32), with neither text nor copies; products grow with the square of the number of recordings. Core-seconds and
peak memory of this process are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.build import table_of, write_dataset
from videochat.dataset import Dataset
from videochat.schema import Clip, Comment, clip_id
from videochat.shards import Part
from videochat.workspace import Workspace

from ..audits.near_chat import COLUMNS, chat_matches
from ..audits.near_video import video_matches
from .full_size import CLIPS_PER_RECORDING, NUM_CATEGORIES, NUM_RECORDINGS, full_size

if TYPE_CHECKING:
    import pyarrow as pa

DIM = 512
SCENE_AXES = 16  # in which a recording's pictures wander
SPLITS = {8: "dev", 9: "test"}  # of every ten recordings


def wandering(folder: Path, num_recordings: int) -> Dataset:
    """Shards with frames and hardly any chat."""
    workspace = Workspace.open(folder, create=True)
    parts = []
    for number in range(num_recordings):
        split, category = SPLITS.get(number % 10, "train"), f"Category {number % NUM_CATEGORIES:02}"
        size = CLIPS_PER_RECORDING * 41 * DIM * 2
        read = partial(_rows, number, split, category)
        parts.append(
            (split, category, f"sim-{number:04}", Part(num_clips=CLIPS_PER_RECORDING, num_bytes=size, read=read))
        )
    facts = {"simulated": True, "split_by": "channel", "clip_fingerprint": {"model": "simulated"}}
    write_dataset(workspace, parts, dim=DIM, facts=facts)
    return Dataset.open(folder)


def _rows(number: int, split: str, category: str) -> pa.Table:
    random = np.random.default_rng([1, number])
    steps = random.standard_normal((CLIPS_PER_RECORDING * 30, SCENE_AXES))
    for second in range(1, len(steps)):
        steps[second] = 0.9 * steps[second - 1] + 0.5 * steps[second]
    film = (steps + 2 * random.standard_normal(SCENE_AXES)) @ random.standard_normal((SCENE_AXES, DIM))
    film = (film / np.linalg.norm(film, axis=1, keepdims=True)).astype(np.float16)
    clips = []
    for start in range(0, CLIPS_PER_RECORDING * 30_000, 30_000):
        frame_ms = np.arange(max(0, start - 10_000), start + 30_000, 1000, dtype=np.int32)
        clips.append(
            Clip(
                clip_id=clip_id(f"sim-{number:04}", start),
                recording_id=f"sim-{number:04}",
                channel_id=f"c_{number:04}",
                category=category,
                language="en",
                split=split,
                start_ms=start,
                context_end_ms=start + 20_000,
                end_ms=start + 30_000,
                context=(Comment(offset_ms=start + 1000, author="a", text="hello"),),
                responses=(Comment(offset_ms=start + 21_000, author="b", text="well"),),
                frame_ms=frame_ms,
                frames=film[frame_ms // 1000],
                context_clip=np.zeros((1, DIM), np.float16),
            )
        )
    return table_of(clips, DIM)


def measure(folder: Path, num_recordings: int) -> dict[str, Any]:
    """Core-seconds of both searches, what they found (nothing), and the peak memory."""
    chat = full_size(folder / "chat", num_recordings=num_recordings)
    video = wandering(folder / "video", num_recordings)
    result: dict[str, Any] = {"recordings": num_recordings, "clips": len(video)}
    start = time.process_time()
    result["chat_matches"] = len(chat_matches(chat.table(columns=list(COLUMNS))))
    result["chat_core_seconds"] = round(time.process_time() - start, 1)
    start = time.process_time()
    result["video_matches"] = len(video_matches(video))
    result["video_core_seconds"] = round(time.process_time() - start, 1)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the audits of the splits take.")
    parser.add_argument("--recordings", type=int, default=NUM_RECORDINGS, help="default %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options.recordings), indent=2))


if __name__ == "__main__":
    main()
