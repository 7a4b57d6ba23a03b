"""Frames by time: the frame on screen at each wanted moment, from any container and codec that libav reads.

    for frame in frames_at("vod.mp4", step_ms=1000, shortest=224):
        frame.time_ms, frame.pts_ms, frame.rgb.shape

The rule (PROTOCOL): time 0 is the first presentable frame; the frame at time t is the one with the last presentation
time <= t. In keyframe mode the choice is among the first frame and the keyframes, again the last one <= t, never a
later one. Timestamps stay rational until the millisecond border. A frame is on screen until the next one; the last
for its own duration, or to the declared end of the stream where that is at most HOLD_MS later and nothing broke.
Wanted times after that have no frame: they are left out and the report counts them.

Two backends pick the same frames: "pyav" in this process, and "ffmpeg", a command line. PyAV is the default: it is
faster, since it skips the pictures that nobody needs (see `videochat.benchmark.speed.features`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECODER_VERSION = "pyav-1"  # of the rule that picks frames and of the scaling; part of every fingerprint
MODES = ("exact", "keyframe")
BACKENDS = ("pyav", "ffmpeg")
HOLD_MS = 1000  # declared stream ends are off by a frame or by rounding; more than a second is a truncated video


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedFrame:
    """time_ms: the wanted time; pts_ms: presentation time of the frame on screen then; rgb: uint8 (H, W, 3)."""

    time_ms: int
    pts_ms: int
    rgb: NDArray[np.uint8]


@dataclass(kw_only=True, slots=True)
class DecodeReport:
    """Filled in while frames come: what was met, and where the video ends.

    num_errors: packets that did not decode; error: text of the first. num_damaged: frames that the decoder marked as
    concealed. ends_in_error: no frame came after the last error. end: how far the stream was seen to reach, on its
    own clock. end_ms: end of what decodes, from time 0 (None: not reached). declared_ms: declared duration from the
    first frame, None if the file declares none. plan: why decoding could not leave anything out, "" if it could.
    """

    num_errors: int = 0
    error: str = ""
    num_damaged: int = 0
    ends_in_error: bool = False
    end: Fraction | None = None
    end_ms: int | None = None
    declared_ms: int | None = None
    plan: str = ""

    def note(self, error: str) -> None:
        self.num_errors += 1
        self.error = self.error or error
        self.ends_in_error = True

    def reach(self, end: Fraction | None) -> None:
        if end is not None and (self.end is None or end > self.end):
            self.end = end

    def to_json(self) -> dict[str, int | str | bool | None]:
        return {
            "num_errors": self.num_errors,
            "error": self.error,
            "num_damaged": self.num_damaged,
            "end_ms": self.end_ms,
            "declared_ms": self.declared_ms,
        }


def shortest_side(width: int, height: int, pixel_aspect: Fraction | None, shortest: int) -> tuple[int, int]:
    """(width, height) scaled so that the shown picture has square pixels and that shortest side.

    The long side is floored, as torchvision's Resize does, so that the centre crop falls on the same pixels.
    """
    shown = Fraction(width) * (pixel_aspect or 1)
    if shown <= height:
        return shortest, max(shortest, int(shortest * height / shown))
    return max(shortest, int(shortest * shown / height)), shortest


def frames_at(
    path: Path | str,
    times_ms: Sequence[int] | None = None,
    *,
    step_ms: int | None = None,
    mode: str = "exact",
    shortest: int | None = None,
    backend: str = "pyav",
    stream: int | None = None,
    report: DecodeReport | None = None,
) -> Iterator[DecodedFrame]:
    """The frames on screen at `times_ms` (ascending, >= 0), or at 0, step_ms, 2 step_ms ... to the end.

    shortest: scale so that the shortest side has that many pixels (bicubic, antialiased); None: stored size.
    stream: index of the video stream in the container; None: the best one.
    Raises MissingInput without a file, BadRecording "unreadable-video", "no-video-stream" or "no-frames".
    """
    if (times_ms is None) == (step_ms is None):
        raise UsageError("frames_at needs either times_ms or step_ms", fix="pass one of them")
    if mode not in MODES:
        raise UsageError(f"unknown decode mode {mode!r}", fix=f"one of {', '.join(MODES)}")
    if backend not in BACKENDS:
        raise UsageError(f"unknown decode backend {backend!r}", fix=f"one of {', '.join(BACKENDS)}")
    if step_ms is not None and step_ms <= 0:
        raise UsageError(f"step_ms is {step_ms}", fix="a positive number of milliseconds")
    if times_ms is not None and (any(b <= a for a, b in pairwise(times_ms)) or min(times_ms, default=0) < 0):
        raise UsageError("times_ms must ascend from 0 or later", fix="sort them and drop doubles")
    wanted: Sequence[int] | range = times_ms if times_ms is not None else range(0, 1 << 50, step_ms or 1)
    if not wanted:
        return iter(())
    report = report if report is not None else DecodeReport()
    if backend == "ffmpeg":
        from .ffmpeg_backend import frames
    else:
        from .pyav_backend import frames
    return frames(Path(path), wanted, mode=mode, shortest=shortest, stream=stream, report=report)
