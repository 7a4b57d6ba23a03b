"""Small made-up data sets for tests: clips with chat and random features, written as real shards.

Every clip has a focal object; context comments name it, responses name its colour, and the frames of seconds 8-11
carry a feature made of both, so that a model that looks can find the answer.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from videochat.build import table_of, write_dataset
from videochat.dataset import Dataset
from videochat.schema import Clip, Comment, clip_id
from videochat.workspace import Workspace

OBJECTS = ("cat", "dog", "boat", "tree", "car", "lamp", "fish", "ball", "kite", "drum", "ring", "cake")
COLOURS = ("red", "blue", "green", "pink", "gold", "grey", "black", "white")
CATEGORIES = ("Minecraft", "Just Chatting")


def make_clips(
    *,
    num_channels: int = 4,
    recordings_per_channel: int = 2,
    clips_per_recording: int = 24,
    dim: int | None = 8,
    seed: int = 0,
) -> list[Clip]:
    """Clips with float16 features of width `dim` (None: text-only). Channels 0.. are train, then dev, then test."""
    random = np.random.default_rng(seed)
    width = dim or 8
    words = {word: _unit(random.standard_normal(width)) for word in (*OBJECTS, *COLOURS)}
    clips = []
    for channel in range(num_channels):
        split = "test" if channel == num_channels - 1 else "dev" if channel == num_channels - 2 else "train"
        for part in range(recordings_per_channel):
            recording = f"dummy-{channel:02}-{part}"
            for index in range(clips_per_recording):
                start = index * 30_000
                item, colour = str(random.choice(OBJECTS)), str(random.choice(COLOURS))
                context = tuple(
                    Comment(offset_ms=start + 2_000 * n, author=f"u_{n}", text=f"look at the {item} {n}", emotes=())
                    for n in range(1, 6)
                )
                responses = tuple(
                    Comment(offset_ms=start + 20_000 + 900 * n, author=f"u_{n}", text=text, emotes=("Kappa",))
                    for n, text in enumerate(
                        (
                            f"{colour} one number {index}",
                            "lol" if index % 4 == 0 else f"nice {index}",
                            f"so {colour} {index}{part}",
                        )
                    )
                )
                frame_ms = np.arange(max(0, start - 10_000), start + 30_000, 1_000, dtype=np.int32)
                frames = random.standard_normal((len(frame_ms), width))
                frames /= np.linalg.norm(frames, axis=1, keepdims=True)
                focal = (frame_ms >= start + 8_000) & (frame_ms < start + 12_000)
                frames[focal] = _unit(words[item] + words[colour])
                clips.append(
                    Clip(
                        clip_id=clip_id(recording, start),
                        recording_id=recording,
                        channel_id=f"c_{channel}",
                        category=CATEGORIES[channel % len(CATEGORIES)],
                        language="en",
                        split=split,
                        start_ms=start,
                        context_end_ms=start + 20_000,
                        end_ms=start + 30_000,
                        context=context,
                        responses=responses,
                        frame_ms=frame_ms if dim else None,
                        frames=frames.astype(np.float16) if dim else None,
                        context_clip=np.stack([words[item]] * len(context)).astype(np.float16) if dim else None,
                    )
                )
    return clips


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def _split_category_and_recording(clip: Clip) -> tuple[str, str, str]:
    return clip.split, clip.category, clip.recording_id


def make_dataset(folder: Path, *, simulated: bool = True, split_by: str = "channel", **sizes: Any) -> Dataset:
    """A workspace in `folder` that holds only shards; see make_clips for the sizes."""
    clips = make_clips(**sizes)
    dim = sizes.get("dim", 8)
    workspace = Workspace.open(folder, create=True)
    write_dataset(
        workspace,
        [(*of, table_of(list(same), dim)) for of, same in itertools.groupby(clips, _split_category_and_recording)],
        dim=dim,
        facts={"simulated": simulated, "split_by": split_by, "clip_fingerprint": {"model": "dummy"} if dim else None},
    )
    return Dataset.open(folder)
