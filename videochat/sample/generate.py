"""Write simulated recordings into a workspace: raw/<recording>/{video.mp4, chat.jsonl.gz, truth.json, recording.json}.

    workspace = Workspace.open(folder, create=True, seed=0)
    generate(workspace, world="screen", num_recordings=60, minutes=12)

The same seed gives the same videos in every world; only chat differs. All of it is marked as simulated.
"""

from __future__ import annotations

import functools
import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import orjson

from ..engines.local import StepSummary, run_step
from ..errors import Damaged, Mismatch, UsageError
from ..files import atomic_path, digest_file, digest_json, read_json, write_json
from ..schema import Recording, clip_id
from ..workspace import Workspace, read_recording
from .world import GEOMETRY, WORLDS, WorldSpec, category, channel_name, plan_events, recording_id

FORMAT = 2  # of truth.json and of what is written; a change makes every recording again
STEP = "sample"


def generate(
    workspace: Workspace,
    *,
    world: str = "screen",
    num_recordings: int,
    minutes: float,
    spec: WorldSpec | None = None,
    recordings_per_channel: int = 1,
    num_workers: int | None = None,
    videos_from: Path | None = None,
) -> StepSummary:
    """Make recordings 0 .. num_recordings - 1 of the workspace's seed; those that are current are left alone.

    world: of WORLDS. minutes: length of each recording; at least one clip (0.5).
    videos_from: root of another sample workspace with the same seed, spec and length, whose videos are linked.
    Raises UsageError on an impossible request, Mismatch if `videos_from` holds other videos.
    """
    spec = spec or WorldSpec()
    duration_ms = _check(world, num_recordings, minutes, recordings_per_channel)
    seed = workspace.settings.seed
    if seed < 0:  # the small CLIP was trained on those
        raise UsageError(f"a sample world of seed {seed}", fix="use a seed of 0 or more")
    planned = []
    for index in range(num_recordings):
        name = recording_id(seed, index)
        origin = {
            "generator": "videochat sample",
            "format": FORMAT,
            "world": world,
            "seed": seed,
            "index": index,
            "spec": spec.to_json(),
            "video_stamp": digest_json([FORMAT, spec.to_json(), seed, index, duration_ms]),
        }
        planned.append(
            Recording(
                recording_id=name,
                platform="sample",
                platform_id=name.removeprefix("sample-"),
                channel=channel_name(seed, index // recordings_per_channel),
                category=category(spec, index // recordings_per_channel),
                title=f"Simulated stream {index}",
                duration_ms=duration_ms,
                video="video.mp4",
                simulated=True,
                num_messages=0,
                chat_digest="",
                origin=origin | {"stamp": digest_json([origin, duration_ms, recordings_per_channel])},
            )
        )
    worker = functools.partial(make_recording, workspace.root, spec, videos_from)
    return run_step(workspace, STEP, planned, worker, num_workers=num_workers)


def plan(num_recordings: int, minutes: float) -> dict[str, Any]:
    """What `generate` would make: hours, clips, and bytes and core-seconds as measured (about 0.12 MB and 0.12 s a
    minute of video)."""
    duration_ms = _check("screen", num_recordings, minutes, 1)
    total_minutes = num_recordings * duration_ms / 60_000
    return {
        "recordings": num_recordings,
        "hours": round(total_minutes / 60, 3),
        "clips": num_recordings * len(list(GEOMETRY.starts(duration_ms))),
        "bytes": int(total_minutes * 125_000),
        "core_seconds": round(total_minutes * 0.12, 1),
    }


def _check(world: str, num_recordings: int, minutes: float, recordings_per_channel: int) -> int:
    if world not in WORLDS:
        raise UsageError(f"unknown sample world {world!r}", fix=f"choose one of {', '.join(WORLDS)}")
    if num_recordings < 1 or recordings_per_channel < 1:
        raise UsageError(f"cannot make {num_recordings} recordings", fix="ask for at least 1")
    if not GEOMETRY.clip_ms <= minutes * 60_000 <= 24 * 3_600_000:
        raise UsageError(f"a recording of {minutes} minutes", fix="between 0.5 (one clip) and 1440 minutes")
    return int(minutes * 60) * 1000


def make_recording(root: Path, spec: WorldSpec, videos_from: Path | None, planned: Recording) -> dict[str, Any] | None:
    """Write one recording; None if it is there already, made from the same parameters."""
    folder = root / "raw" / planned.recording_id
    done = folder / "recording.json"
    if _is_whole(folder, planned):
        return None
    from .chat import converse
    from .render import render

    world, seed, index = planned.origin["world"], planned.origin["seed"], planned.origin["index"]
    events = plan_events(spec, seed, index, planned.duration_ms)
    chat = converse(spec, world, seed, index, events, planned.duration_ms)
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)  # until it is written again the recording does not exist
    with atomic_path(folder / "video.mp4") as temporary:
        if videos_from is None:
            render(spec, seed, index, planned.category, events, planned.duration_ms, temporary)
        else:
            _link_video(videos_from, planned, temporary)
    lines = b"".join(orjson.dumps(message) + b"\n" for message in chat.messages)
    with atomic_path(folder / "chat.jsonl.gz") as temporary:
        temporary.write_bytes(gzip.compress(lines, mtime=0))
    starts = GEOMETRY.starts(planned.duration_ms)
    shown = [
        {"start_ms": e.start_ms, "end_ms": e.end_ms, "object": e.object, "colour": e.colour, "action": e.action}
        for e in events
    ]
    clips = []
    for start in starts:
        topic = chat.topics[start]
        focal = None if topic.event is None else shown[topic.event] | {"event": topic.event}
        spoken = {"object": topic.object, "colour": topic.colour}
        clips.append(
            {"clip_id": clip_id(planned.recording_id, start), "start_ms": start, "focal": focal, "spoken_of": spoken}
        )
    truth = {
        "simulated": True,
        "format": FORMAT,
        "world": world,
        "spec": spec.to_json(),
        "events": shown,
        "clips": clips,
        "answers": chat.answers,
    }
    write_json(folder / "truth.json", truth)
    counts = {"messages": len(chat.messages), "events": len(events), "hours": planned.duration_ms / 3_600_000}
    made = Recording.from_json(
        planned.to_json()
        | {
            "num_messages": len(chat.messages),
            "chat_digest": digest_file(folder / "chat.jsonl.gz"),
            "video_digest": digest_file(folder / "video.mp4"),
        }
    )
    write_json(done, made.to_json())
    return counts


def _is_whole(folder: Path, planned: Recording) -> bool:
    """Whether the recording is there, made from the same parameters, and its files are as they were made."""
    try:
        found = read_recording(folder / "recording.json")
        return (
            found.origin.get("stamp") == planned.origin["stamp"]
            and digest_file(folder / "chat.jsonl.gz") == found.chat_digest
            and digest_file(folder / "video.mp4") == found.video_digest
            and bool(read_json(folder / "truth.json", needs=("clips", "spec")))
        )
    except (OSError, Damaged):
        return False


def _link_video(source: Path, planned: Recording, target: Path) -> None:
    folder = source / "raw" / planned.recording_id
    try:
        found = read_recording(folder / "recording.json")
    except FileNotFoundError:
        found = None
    if found is None or found.origin.get("video_stamp") != planned.origin["video_stamp"]:
        raise Mismatch(
            f"{source} does not hold the video of {planned.recording_id} with these parameters",
            fix="use a sample workspace of the same seed, spec and length, or leave out videos_from",
        )
    try:
        os.link(folder / "video.mp4", target)
    except OSError:  # another file system
        shutil.copyfile(folder / "video.mp4", target)
