"""Frames by time with PyAV, in this process and on one thread.

Each frame that the decoder shows becomes a `Picture` with its rational presentation time. A packet that does not
decode is counted and passed over, as ffmpeg does, so that one damaged second does not cost the rest of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clock import to_ms
from ..errors import BadRecording
from .decode import HOLD_MS, DecodedFrame, DecodeReport, shortest_side
from .video import choose_stream, declared_end, open_video, reason_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTS_ONLY_FORMATS = frozenset({"avi"})  # AVI stores no presentation times; libav's guess runs backward with B-frames
KEYFRAME_SKIP = "NONKEY"


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded frame. pts: seconds in the stream's own time; seconds: how long it is shown (0 if unknown)."""

    frame: Any
    pts: Fraction
    seconds: Fraction

    @property
    def orientation(self) -> tuple[bool, bool, bool]:
        """(transpose, flip left-right, flip up-down), to be done in this order, from the display matrix."""
        raw = next((bytes(d) for d in self.frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
        if raw is None:
            return False, False, False
        a, b, _, c, d = np.frombuffer(raw, "<i4")[:5].tolist()
        if abs(a) >= abs(b):
            return False, a < 0, d < 0
        return True, c < 0, b < 0

    @property
    def rotation(self) -> int:
        """Degrees clockwise, a multiple of 90, that make the stored picture upright."""
        return {
            (False, True, True): 180,
            (True, True, False): 90,
            (True, False, True): 270,
        }.get(self.orientation, 90 if self.orientation[0] else 0)

    def rgb(self, shortest: int | None) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), upright; scaled (bicubic, antialiased by libswscale) if `shortest` is given."""
        frame = self.frame
        width, height = frame.width, frame.height
        if shortest is not None:
            width, height = shortest_side(width, height, _pixel_aspect(frame), shortest)
        converted = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC")
        array: NDArray[np.uint8] = converted.to_ndarray()
        transpose, left_right, up_down = self.orientation
        if transpose:
            array = array.swapaxes(0, 1)
        if left_right:
            array = array[:, ::-1]
        if up_down:
            array = array[::-1]
        return np.ascontiguousarray(array)


def _pixel_aspect(frame: Any) -> Fraction | None:
    return None


def decoded(
    container: Any, stream: Any, report: DecodeReport | None = None, *, keyframes: bool = False
) -> Iterator[Picture]:
    """All frames in presentation order, from wherever the container stands."""
    import av

    report = report if report is not None else DecodeReport()
    context = stream.codec_context
    context.thread_type = "NONE"  # the callers run several videos at once; one thread each is also deterministic
    context.thread_count = 1
    if keyframes:
        context.skip_frame = KEYFRAME_SKIP
    by_dts = container.format.name in DTS_ONLY_FORMATS
    rate = stream.guessed_rate or stream.average_rate
    usual = 1 / Fraction(rate) if rate else Fraction(0)
    packets = container.demux(stream)
    last: Fraction | None = None
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            _note(report, error)
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            _note(report, error)
            continue
        for frame in frames:
            units = frame.dts if by_dts and frame.dts is not None else frame.pts
            if units is None:
                units = frame.dts
            base = Fraction(frame.time_base or stream.time_base)
            if units is not None:
                pts = units * base
            elif last is not None:
                pts = last + usual
            else:
                pts = Fraction(0)
            last = pts
            report.ends_in_error = False
            report.num_damaged += bool(frame.is_corrupt)
            yield Picture(frame, pts, frame.duration * base if frame.duration else usual)


def _note(report: DecodeReport, error: Exception) -> None:
    report.num_errors += 1
    report.ends_in_error = True
    report.error = report.error or reason_of(error)


def frames(
    path: Path, times_ms: Sequence[int], *, mode: str, shortest: int | None, stream: int | None, report: DecodeReport
) -> Iterator[DecodedFrame]:
    """See `decode.frames_at`."""
    with open_video(path) as container:
        chosen = choose_stream(container, stream)
        if chosen is None:
            raise BadRecording("no-video-stream", f"{path.name} has no video stream")
        end = declared_end(container, chosen)
        pictures = decoded(container, chosen, report)
        first = next(pictures, None)
        if first is None:
            why = f": {report.error}" if report.error else ""
            raise BadRecording("no-frames", f"{path.name} decodes to no frame at all{why}")
        if end is not None:
            report.declared_ms = max(0, to_ms(end - first.pts))
        yield from _pick(pictures, first, times_ms, shortest, report)


def _pick(
    pictures: Iterator[Picture], first: Picture, times_ms: Sequence[int], shortest: int | None, report: DecodeReport
) -> Iterator[DecodedFrame]:
    """Pair wanted times with the picture on screen; `pictures` follow `first`."""
    zero = first.pts
    wanted = iter(times_ms)
    time_ms = next(wanted, None)
    shown, last = first, first
    array: NDArray[np.uint8] | None = None

    def emit() -> DecodedFrame:
        nonlocal array
        if array is None:
            array = shown.rgb(shortest)
        assert time_ms is not None
        return DecodedFrame(time_ms=time_ms, pts_ms=to_ms(shown.pts - zero), rgb=array)

    for picture in pictures:
        if picture.pts < shown.pts:
            continue  # backward timestamp: a later one is on screen already
        while time_ms is not None and Fraction(time_ms, 1000) + zero < picture.pts:
            yield emit()
            time_ms = next(wanted, None)
        if time_ms is None:
            return
        shown, array = picture, None
        last = picture
    report.end_ms = _end_ms(last, zero, report)
    while time_ms is not None and time_ms < report.end_ms:
        yield emit()
        time_ms = next(wanted, None)


def _end_ms(last: Picture, zero: Fraction, report: DecodeReport) -> int:
    end = max(1, to_ms(last.pts + last.seconds - zero))
    if report.declared_ms is not None and not report.ends_in_error and 0 < report.declared_ms - end <= HOLD_MS:
        return report.declared_ms
    return end
