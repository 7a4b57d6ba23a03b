"""Simulated video: a scene, sprites that move on it, H.264 with one key frame a second.

Planes are composed in YUV 4:2:0 with integers and x264 runs on one thread, so equal input gives equal bytes.
Only frames with an event are drawn; the empty scene is one picture encoded again and again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scenes import background
from .sprites import sprite
from .world import Event, WorldSpec

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

# BT.601, limited range, in 1/65536: what decoders assume of untagged video of this size.
_MATRIX = np.array([[16829, 33039, 6416], [-9714, -19070, 28784], [28784, -24103, -4681]], dtype=np.int64)
_OFFSET = np.array([16, 128, 128], dtype=np.int64)


def to_yuv(rgb: NDArray[np.uint8]) -> Planes:
    """RGB uint8 (H, W, 3), even sizes -> Y (H, W), U and V (H/2, W/2), uint8."""
    yuv = (rgb.astype(np.int64) @ _MATRIX.T + 32768 >> 16) + _OFFSET
    height, width = rgb.shape[:2]
    chroma = yuv[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).sum(axis=(1, 3)) + 2 >> 2
    return yuv[..., 0].astype(np.uint8), chroma[..., 0].astype(np.uint8), chroma[..., 1].astype(np.uint8)


@dataclass(frozen=True)
class _Stamp:
    """A sprite ready to be laid over a scene: planes and their weights in [0, 256] of int32."""

    planes: tuple[NDArray[np.int32], ...]
    alphas: tuple[NDArray[np.int32], ...]


@functools.cache
def _stamp(name: str, colour: str, size: int) -> _Stamp:
    rgba = sprite(name, colour, size)
    planes = to_yuv(np.ascontiguousarray(rgba[..., :3]))
    alpha = (rgba[..., 3].astype(np.int32) * 257 + 255) >> 8
    half = alpha.reshape(size // 2, 2, size // 2, 2).sum(axis=(1, 3)) >> 2
    return _Stamp(tuple(plane.astype(np.int32) for plane in planes), (alpha, half, half))


def position(event: Event, time_ms: int) -> tuple[int, int]:
    """Top left corner of the sprite at `time_ms`, even pixels; movement stays within 14 pixels of the centre."""
    t = (time_ms - event.start_ms) / 1000
    dx, dy = {
        "jumping": (0.0, -14 * abs(math.sin(math.pi * t))),
        "sliding": (14 * math.sin(math.pi * t / 2), 0.0),
        "shaking": (8.0 if int(t * 4) % 2 else -8.0, 0.0),
        "floating": (4 * math.cos(math.pi * t), 10 * math.sin(math.pi * t / 2)),
        "circling": (12 * math.cos(math.pi * t), 12 * math.sin(math.pi * t)),
    }[event.action]
    return int(event.x + dx - event.size / 2) & ~1, int(event.y + dy - event.size / 2) & ~1


def compose(scene: Planes, event: Event, time_ms: int) -> Planes:
    """The scene with the event's sprite as it stands at `time_ms`."""
    stamp = _stamp(event.object, event.colour, event.size)
    left, top = position(event, time_ms)
    planes = []
    for number, (plane, over, alpha) in enumerate(zip(scene, stamp.planes, stamp.alphas, strict=True)):
        scale = 2 if number else 1
        y, x, size = top // scale, left // scale, event.size // scale
        drawn = plane.copy()
        under = drawn[y : y + size, x : x + size]
        under[:] = (under * (256 - alpha) + over * alpha) >> 8
        planes.append(drawn)
    return planes[0], planes[1], planes[2]


def frames(spec: WorldSpec, scene: Planes, events: Sequence[Event], duration_ms: int) -> Iterator[Planes]:
    """All frames in order, `spec.fps` a second; `events` do not overlap and are in order of time."""
    upcoming = iter(events)
    event = next(upcoming, None)
    for number in range(duration_ms * spec.fps // 1000):
        time_ms = number * spec.frame_ms
        while event is not None and event.end_ms <= time_ms:
            event = next(upcoming, None)
        yield scene if event is None or event.start_ms > time_ms else compose(scene, event, time_ms)


def render(
    spec: WorldSpec, seed: int, index: int, category: str, events: Sequence[Event], duration_ms: int, path: Path
) -> None:
    """Write the recording's video to `path` (its suffix may be anything; the container is MP4)."""
    scene = to_yuv(background(spec, seed, index, category))
    encode(spec, frames(spec, scene, events, duration_ms), path)


def encode(spec: WorldSpec, pictures: Iterator[Planes], path: Path) -> None:
    """H.264 in MP4: constant quality, a key frame a second, no B-frames, one thread, no encoder times or tags."""
    import av

    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("libx264", rate=spec.fps)
        stream.width, stream.height, stream.pix_fmt = spec.width, spec.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = spec.fps
        stream.options = {
            "preset": "veryfast",
            "crf": str(spec.crf),
            "x264-params": f"threads=1:lookahead-threads=1:keyint={spec.fps}:min-keyint={spec.fps}:scenecut=0:bframes=0"
            ":rc-lookahead=0:mbtree=0:ref=1",
        }
        previous: Planes | None = None
        frame = None
        for number, planes in enumerate(pictures):
            if planes is not previous or frame is None:
                frame = av.VideoFrame(spec.width, spec.height, "yuv420p")
                for plane, data in zip(frame.planes, planes, strict=True):
                    padded = np.zeros((plane.height, plane.line_size), dtype=np.uint8)
                    padded[:, : plane.width] = data
                    plane.update(padded.tobytes())
                previous = planes
            frame.pts = number
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
