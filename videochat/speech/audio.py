"""A recording's audio as windows of 16 kHz mono samples, decoded in a stream with PyAV.

    for window in windows(path, ends_ms):
        window.start_ms, window.samples       # float32 in [-1, 1]

Time 0 is the first presentable video frame, as everywhere (see `videochat.frames.video`); audio before it is left out,
gaps are silence. At most one window is in memory, however long the recording is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadRecording
from ..frames.video import AGAIN, open_video, probe, reason_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000  # samples a second: what Whisper and wav2vec 2.0 were trained on
TOLERANCE = RATE // 20  # samples; timestamps of audio packets are rounded, a gap of 50 ms and more is one


@dataclass(frozen=True, eq=False)
class Window:
    """samples: float32 (n,) from start_ms on the recording's clock; the last window may be short."""

    start_ms: int
    samples: NDArray[np.float32]


@dataclass(kw_only=True)
class AudioReport:
    """num_errors: packets that did not decode (their time is silent). error: why reading ended early, else ""."""

    num_errors: int = 0
    error: str = ""
    num_samples: int = 0


def windows(path: Path, ends_ms: Sequence[int], report: AudioReport | None = None) -> Iterator[Window]:
    """The audio of a video file in windows that end at `ends_ms` (ascending; the first begins at 0), as far as it goes.

    Raises MissingInput if there is no file, BadRecording "unreadable-video" if it is no media file, "no-audio" if it
    has no audio stream, "broken-audio" if none of it decodes.
    """
    report = report if report is not None else AudioReport()
    zero = probe(path).first_pts
    with open_video(path) as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise BadRecording("no-audio", f"{path.name} has no audio stream")
        parts = _placed(container, stream, zero or Fraction(0), report)
        yield from _cut(parts, [end_ms * RATE // 1000 for end_ms in ends_ms])
    if not report.num_samples:
        why = f": {report.error}" if report.error else ""
        raise BadRecording("broken-audio", f"the audio of {path.name} does not decode{why}", fix=AGAIN)


def _cut(parts: Iterator[NDArray[np.float32]], ends: Sequence[int]) -> Iterator[Window]:
    """Windows out of a stream of samples that begins at 0. ends: sample numbers."""
    waiting: list[NDArray[np.float32]] = []
    held = begin = 0
    remaining = list(ends)[::-1]
    for part in parts:
        waiting.append(part)
        held += len(part)
        while remaining and held >= remaining[-1] - begin:
            joined = np.concatenate(waiting)
            size = remaining.pop() - begin
            yield Window(begin * 1000 // RATE, joined[:size])
            waiting, held, begin = [joined[size:]], held - size, begin + size
        if not remaining:
            return
    if held:
        yield Window(begin * 1000 // RATE, np.concatenate(waiting))


def _placed(container: Any, stream: Any, zero: Fraction, report: AudioReport) -> Iterator[NDArray[np.float32]]:
    """Samples from time 0 on without a gap: each decoded frame at its own time, silence in between."""
    position = 0
    for begin, samples in _decoded(container, stream, report):
        report.num_samples += len(samples)
        place = round((begin - zero) * RATE)
        if place > position + TOLERANCE:
            for size in _pieces(place - position):
                yield np.zeros(size, np.float32)
            position = place
        elif place < position - TOLERANCE:
            samples = samples[position - place :]
        if len(samples):
            yield samples
            position += len(samples)


def _pieces(size: int) -> Iterator[int]:
    """A long silence in pieces of at most a minute."""
    while size > 0:
        yield min(size, 60 * RATE)
        size -= 60 * RATE


def _decoded(container: Any, stream: Any, report: AudioReport) -> Iterator[tuple[Fraction, NDArray[np.float32]]]:
    """(time in the file's own seconds, samples) of each frame; what does not decode is counted and passed over."""
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    packets = container.demux(stream)
    last: Fraction | None = None
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError as error:
            report.error = reason_of(error)
            break
        try:
            frames = [out for frame in packet.decode() for out in resampler.resample(frame)]
        except (av.error.FFmpegError, ValueError) as error:  # ValueError: the format changed in mid-stream
            report.num_errors += 1
            report.error = report.error or reason_of(error)
            continue
        for frame in frames:
            base = Fraction(frame.time_base or Fraction(1, RATE))
            begin = frame.pts * base if frame.pts is not None else last or Fraction(0)
            samples = frame.to_ndarray().reshape(-1).astype(np.float32, copy=False)
            last = begin + Fraction(len(samples), RATE)
            yield begin, samples
