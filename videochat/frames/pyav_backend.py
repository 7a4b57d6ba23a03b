"""Frames by time with PyAV, in this process and on one thread.

Each frame that the decoder shows becomes a `Picture` with its rational presentation time. A packet that does not
decode is counted and passed over, as ffmpeg does, so that one damaged second does not cost the rest of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clock import to_ms
from ..errors import BadRecording
from .decode import HOLD_MS, DecodedFrame, DecodeReport, shortest_side
from .gops import Plan, PlanFailed, planned
from .video import AGAIN, choose_stream, declared_end, open_video, reason_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTS_ONLY_FORMATS = frozenset({"avi"})  # AVI stores no presentation times; libav's guess runs backward with B-frames
SEEK_FROM_MS = 10_000  # seeking costs about as much as reading a few seconds


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded frame. pts: seconds in the stream's own time; seconds: how long it is shown (0 if unknown).
    aspect: width over height of a stored pixel, None if square or unknown."""

    frame: Any
    pts: Fraction
    seconds: Fraction
    aspect: Fraction | None

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
            width, height = shortest_side(width, height, self.aspect, shortest)
        converted = frame.reformat(width=width, height=height, format="rgb24", interpolation=_scaling())
        array: NDArray[np.uint8] = converted.to_ndarray()
        transpose, left_right, up_down = self.orientation
        if transpose:
            array = array.swapaxes(0, 1)
        if left_right:
            array = array[:, ::-1]
        if up_down:
            array = array[::-1]
        return np.ascontiguousarray(array)


@cache
def _scaling() -> int:
    """Bicubic; full chroma brings the picture within 0.1 grey levels of PIL's (1.0 without, 1080p), at no cost."""
    from av.video.reformatter import Interpolation

    return int(Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND)


def decoded(
    container: Any, stream: Any, report: DecodeReport | None = None, *, keyframes: bool = False
) -> Iterator[Picture]:
    """All frames (or all keyframes) in presentation order, from wherever the container stands.

    report.end: how far the stream reaches: the end of the last frame; with keyframes, of the last packet.
    """
    import av

    report = report if report is not None else DecodeReport()
    context = single_threaded(stream)
    if keyframes:
        context.skip_frame = "NONKEY"
    by_dts = container.format.name in DTS_ONLY_FORMATS
    usual, aspect = usual_seconds(stream), pixel_aspect(stream)
    packets = container.demux(stream)
    last: Fraction | None = None
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            report.note(reason_of(error))
            return
        if keyframes:
            report.reach(packet_end(packet, stream))
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            report.note(reason_of(error))
            continue
        for frame in frames:
            units = frame.dts if by_dts and frame.dts is not None else frame.pts
            base = Fraction(frame.time_base or stream.time_base)
            units = frame.dts if units is None else units
            if units is not None:
                pts = units * base
            else:
                pts = last + usual if last is not None else Fraction(0)
            last = pts
            picture = Picture(frame, pts, frame.duration * base if frame.duration else usual, aspect)
            report.ends_in_error = False
            report.num_damaged += bool(frame.is_corrupt)
            if not keyframes:
                report.reach(pts + picture.seconds)
            yield picture


def single_threaded(stream: Any) -> Any:
    """The stream's decoder on one thread: callers run several videos at once, and one thread is deterministic."""
    context = stream.codec_context
    context.thread_type = "NONE"
    context.thread_count = 1
    return context


def usual_seconds(stream: Any) -> Fraction:
    """How long a frame is shown if nothing says so: one over the declared rate, 0 if there is none."""
    rate = stream.guessed_rate or stream.average_rate
    return 1 / Fraction(rate) if rate else Fraction(0)


def pixel_aspect(stream: Any) -> Fraction | None:
    ratio = stream.sample_aspect_ratio
    return Fraction(ratio) if ratio else None


def packet_end(packet: Any, stream: Any) -> Fraction | None:
    """When the packet's picture leaves the screen, in the stream's seconds; None if it has no time."""
    if packet.pts is None or packet.is_discard:
        return None
    base = Fraction(packet.time_base or stream.time_base)
    return base * int(packet.pts) + (base * int(packet.duration) if packet.duration else usual_seconds(stream))


def frames(
    path: Path, times_ms: Sequence[int], *, mode: str, shortest: int | None, stream: int | None, report: DecodeReport
) -> Iterator[DecodedFrame]:
    """See `decode.frames_at`."""
    begun = DecodeReport()
    with open_video(path) as container:
        chosen = choose_stream(container, stream)
        if chosen is None:
            raise BadRecording("no-video-stream", f"{path.name} has no video stream", fix=AGAIN)
        first = next(decoded(container, chosen, begun), None)
        if first is None:
            why = f": {begun.error}" if begun.error else ""
            raise BadRecording("no-frames", f"{path.name} decodes to no frame at all{why}", fix=AGAIN)
        end, index = declared_end(container, chosen), chosen.index
        if end is not None:
            report.declared_ms = max(0, to_ms(end - first.pts))
    if mode == "keyframe":
        pictures = _keyframes(path, index, first, times_ms, report)
    else:
        pictures = _exact(path, index, first, times_ms, report)
    yield from _pick(pictures, first, times_ms, shortest, report)


def _exact(path: Path, index: int, first: Picture, times_ms: Sequence[int], report: DecodeReport) -> Iterator[Picture]:
    """The pictures on screen at `times_ms`: by a plan from the packets' times, else by decoding everything."""
    last = first.pts
    try:
        with open_video(path) as container:
            for picture in _planned(container, container.streams[index], first, times_ms, report):
                last = picture.pts
                yield picture
        return
    except PlanFailed as failure:
        report.plan = str(failure)
        report.end = None
    with open_video(path) as container:
        yield from (p for p in decoded(container, container.streams[index], report) if p.pts >= last)


def _planned(
    container: Any, stream: Any, first: Picture, times_ms: Sequence[int], report: DecodeReport
) -> Iterator[Picture]:
    import av

    base = Fraction(first.frame.time_base or stream.time_base)
    if container.format.name in DTS_ONLY_FORMATS or first.frame.pts is None:
        raise PlanFailed("the file stores no presentation times")

    def watched() -> Iterator[Any]:
        try:
            for packet in container.demux(stream):
                report.reach(packet_end(packet, stream))
                yield packet
        except av.error.FFmpegError as error:
            raise PlanFailed(reason_of(error)) from error

    _seek(container, stream, first, times_ms)
    zero = first.frame.pts
    times = (zero + Fraction(time_ms, 1000) / base for time_ms in times_ms)
    usual, aspect = usual_seconds(stream), pixel_aspect(stream)
    for frame in planned(single_threaded(stream), watched(), Plan(times, zero)):
        yield Picture(frame, frame.pts * base, frame.duration * base if frame.duration else usual, aspect)


def _keyframes(
    path: Path, index: int, first: Picture, times_ms: Sequence[int], report: DecodeReport
) -> Iterator[Picture]:
    """The keyframes after the first frame."""
    with open_video(path) as container:
        stream = container.streams[index]
        sought = _seek(container, stream, first, times_ms)
        pictures = decoded(container, stream, report, keyframes=True)
        begin = next(pictures, None)
        if sought and (begin is None or begin.pts > first.pts + Fraction(times_ms[0], 1000)):
            container.seek(0, stream=stream)
            stream.codec_context.flush_buffers()
            pictures, begin = decoded(container, stream, report, keyframes=True), None
        if begin is not None and begin.pts > first.pts:
            yield begin
        yield from (p for p in pictures if p.pts > first.pts)


def _seek(container: Any, stream: Any, first: Picture, times_ms: Sequence[int]) -> bool:
    """Go to the keyframe at or before the first wanted time; False if reading from the start is as good."""
    import av

    if times_ms[0] < SEEK_FROM_MS:
        return False
    wanted = first.pts + Fraction(times_ms[0], 1000)
    try:
        container.seek(int(wanted / Fraction(stream.time_base)), stream=stream, backward=True)
    except av.error.FFmpegError:
        container.seek(0)
        return False
    return True


def _pick(
    pictures: Iterator[Picture], first: Picture, times_ms: Sequence[int], shortest: int | None, report: DecodeReport
) -> Iterator[DecodedFrame]:
    """Pair wanted times with the picture on screen, the last one whose time is not later."""
    zero = first.pts
    wanted = iter(times_ms)
    time_ms = next(wanted, None)
    shown = first
    array: NDArray[np.uint8] | None = None

    def emit(at_ms: int) -> DecodedFrame:
        nonlocal array
        if array is None:
            array = shown.rgb(shortest)
        return DecodedFrame(time_ms=at_ms, pts_ms=to_ms(shown.pts - zero), rgb=array)

    for picture in pictures:
        if picture.pts < shown.pts:
            continue  # backward timestamp: a later one is on screen already
        while time_ms is not None and Fraction(time_ms, 1000) + zero < picture.pts:
            yield emit(time_ms)
            time_ms = next(wanted, None)
        if time_ms is None:
            return
        shown, array = picture, None
    report.end_ms = end_ms(zero, report)
    while time_ms is not None and time_ms < report.end_ms:
        yield emit(time_ms)
        time_ms = next(wanted, None)


def end_ms(zero: Fraction, report: DecodeReport) -> int:
    """Where the last picture leaves the screen (see `decode`), at least 1 ms."""
    end = max(1, to_ms((report.end or zero) - zero))
    if report.declared_ms is not None and not report.ends_in_error and 0 < report.declared_ms - end <= HOLD_MS:
        return report.declared_ms
    return end
