"""Speed of frame features: how near the whole step comes to what decoding and encoding cost by themselves.

    python -m videochat.benchmark.speed.features                         # 4 videos of 60 s, 360p H.264, ViT-B/32 size
    python -m videochat.benchmark.speed.features --model ViT-S-32-alt --seconds 30 --json

The step cannot be faster than cores / (decode + encode core-seconds). Both are measured in the same run, on the same
videos, with all cores busy (a lone thread runs at another clock): decoding alone, encoding alone, then the step as
`videochat build-features` runs it, files written and ledger kept. efficiency = that bound / the step's wall time;
the aim is at least 0.9. The weights are random, which costs the same as trained ones. On a machine that others use,
wall time measures them too (the load average tells): `cpu_efficiency` divides by the step's own CPU time instead, and
`overlap` compares the step's wall time with decoding and encoding one after the other in the same conditions.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from videochat.engines.local import available_cores
from videochat.files import digest_file, write_parquet
from videochat.frames.decode import frames_at
from videochat.frames.features import Clip, features_with
from videochat.frames.video import ffmpeg_path
from videochat.schema import COMMENTS, Recording
from videochat.workspace import Workspace

FPS = 30
GOP_SECONDS = 2  # what Twitch sends
BITS_PER_SECOND = 630_000  # of Twitch's 360p30 rendition


def make_video(path: Path, *, seconds: int, height: int, seed: int) -> None:
    """A moving test pattern with a little noise, as H.264 at the bit rate of a 360p stream, GOPs of 2 s."""
    import ffmpeg

    width = height * 16 // 9 // 2 * 2
    source = ffmpeg.input(f"testsrc2=size={width}x{height}:rate={FPS}:duration={seconds}", format="lavfi")
    source = source.filter("noise", alls=4, allf="t", all_seed=seed)
    output = ffmpeg.output(
        source,
        str(path),
        vcodec="libx264",
        preset="fast",
        video_bitrate=BITS_PER_SECOND,
        g=FPS * GOP_SECONDS,
        pix_fmt="yuv420p",
    )
    command = output.global_args("-hide_banner", "-nostdin", "-loglevel", "error").compile(cmd=ffmpeg_path())
    subprocess.run(command, check=True)


def make_workspace(root: Path, *, num_videos: int, seconds: int, height: int, spec: str) -> Workspace:
    workspace = Workspace.open(root, create=True, clip=spec)
    for number in range(num_videos):
        name = f"speed-{number}"
        folder = workspace.raw_dir(name)
        folder.mkdir(parents=True)
        make_video(folder / "video.mp4", seconds=seconds, height=height, seed=number)
        workspace.add_recording(
            Recording(
                recording_id=name,
                platform="speed",
                platform_id=str(number),
                channel=name,
                category="test",
                duration_ms=seconds * 1000,
                video="video.mp4",
                num_messages=0,
                chat_digest="",
                video_digest=digest_file(folder / "video.mp4"),
                simulated=True,
            )
        )
        write_parquet(COMMENTS.empty_table(), workspace.comments_path(name), {"stamp": "speed"})
    return workspace


def timed(work: Callable[[Path], Any], paths: Sequence[Path], cores: int) -> tuple[list[Any], float, float]:
    """Run `work` on every path with `cores` threads: (results, wall seconds, CPU seconds of this process)."""
    import torch

    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        wall, cpu = time.perf_counter(), time.process_time()
        results = list(pool.map(work, paths))
        return results, time.perf_counter() - wall, time.process_time() - cpu


def measure(root: Path, *, num_videos: int, seconds: int, height: int, model: str, mode: str) -> dict[str, Any]:
    """Figures of one run, in seconds, frames and ratios."""
    import torch

    from videochat.frames.clip_model import load_clip

    spec = f"untrained:{model}"
    workspace = make_workspace(root, num_videos=num_videos, seconds=seconds, height=height, spec=spec)
    clip = load_clip(spec, "cpu")
    cores = available_cores()
    torch.set_num_threads(1)
    step_ms = workspace.settings.geometry.frame_step_ms
    paths = [workspace.raw_dir(r.recording_id) / "video.mp4" for r in workspace.recordings()]
    shortest = clip.preprocessing.decoder_shortest

    def decode(path: Path) -> np.ndarray[Any, Any]:
        return np.stack([clip.prepare(f.rgb) for f in frames_at(path, step_ms=step_ms, mode=mode, shortest=shortest)])

    clip.encode_images(decode(paths[0])[:8])  # warm
    assert clip.fingerprint  # computed once for each model, as its weights are loaded once
    pictures, decode_wall, decode_cpu = timed(decode, paths, cores)
    by_path = dict(zip(paths, pictures, strict=True))
    _, encode_wall, encode_cpu = timed(lambda path: clip.encode_images(by_path[path]), paths, cores)
    wall, cpu = time.perf_counter(), time.process_time()
    summary = features_with(workspace, workspace.recordings(), Clip(lambda: clip), mode=mode, num_workers=cores)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    frames = int(summary.total("frames"))
    assert summary.exit_code == 0 and frames == sum(len(p) for p in pictures)
    bound = (decode_cpu + encode_cpu) / cores
    return {
        "cores": cores,
        "model": model,
        "mode": mode,
        "video": f"{num_videos} x {seconds} s, {height}p{FPS} H.264, GOP {GOP_SECONDS} s",
        "frames": frames,
        "decode_core_seconds": round(decode_cpu, 3),
        "encode_core_seconds": round(encode_cpu, 3),
        "decode_wall": round(decode_wall, 3),
        "encode_wall": round(encode_wall, 3),
        "step_wall": round(wall, 3),
        "step_cpu": round(cpu, 3),
        "frames_per_second": round(frames / wall, 1),
        "times_real_time_per_core": round(num_videos * seconds / decode_cpu, 1),
        "bound_frames_per_second": round(frames / bound, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "efficiency": round(bound / wall, 3),
        "overlap": round((decode_wall + encode_wall) / wall, 3),
        "cpu_efficiency": round((decode_cpu + encode_cpu) / cpu, 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture; its weights are random")
    parser.add_argument("--mode", choices=("exact", "keyframe"), default="exact")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            Path(folder),
            num_videos=given.videos,
            seconds=given.seconds,
            height=given.height,
            model=given.model,
            mode=given.mode,
        )
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:26} {value}")


if __name__ == "__main__":
    main()
