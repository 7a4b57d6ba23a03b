"""Frames by time with an ffmpeg command line, built with ffmpeg-python and run as a list of arguments, never a shell.

    ffmpeg -copyts [-skip_frame nokey] -i V
           -filter_complex "[0:N] showinfo, setpts=PTS-zero, tpad, fps=1000/step:round=up:start_time=0, select, scale"
           -f rawvideo -

`showinfo` prints the presentation time of every frame that the decoder shows; from those and the rule of `decode`
each output frame gets its time here. The fps filter with upward rounding implements the same rule: it gives each grid
time the last frame that is not later. `tpad` holds the last frame, since the fps filter ends on its own idea of the
end. The second backend proves the first; it is slower, as it decodes every picture.
"""

from __future__ import annotations

import math
import queue
import re
import subprocess
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..clock import to_ms
from ..errors import BadRecording
from .decode import DecodedFrame, DecodeReport, shortest_side
from .pyav_backend import end_ms
from .video import AGAIN, choose_stream, declared_end, ffmpeg_path, open_video, scanned_end

HOLD_SECONDS = 10  # how long the last frame is repeated; a longer last frame is left to the PyAV backend
FRAME = re.compile(rb"Parsed_showinfo_(\d+) .*? n: *\d+ pts: *(-?\d+|NOPTS) .*?duration: *(-?\d+)")
SIZE = re.compile(rb" sar:(\d+)/(\d+) s:(\d+)x(\d+) ")
TIME_BASE = re.compile(rb"Parsed_showinfo_0 .*?config in time_base: *(\d+)/(\d+)")
BROKEN = re.compile(rb"Error submitting packet|Decoding error|corrupt decoded frame")


class Timeline:
    """What two showinfo filters print on stderr: the first shows each decoded frame, the second each output frame.

    One thread runs the filters, so when an output frame is printed, every frame that could be on screen at its time
    has been printed. times: the wanted times on the stream's clock, in seconds, one for each output frame.
    """

    def __init__(self, times: Iterator[Fraction] | None = None) -> None:
        self.pts: list[Fraction] = []  # ascending
        self.end: Fraction | None = None
        self.num_errors = 0
        self.error = ""
        self.base = Fraction(1)  # seconds in one unit of the filter's timestamps
        self.size = (0, 0)  # upright width and height of the first frame
        self.aspect: Fraction | None = None  # width of a pixel over its height, if stated
        self._times = times or iter(())
        self._outputs: queue.SimpleQueue[tuple[Fraction | None, bool] | None] = queue.SimpleQueue()

    def read(self, stderr: Any) -> None:
        for line in stderr:
            self._take(line)
        self._outputs.put(None)

    def _take(self, line: bytes) -> None:
        if found := FRAME.search(line):
            if found[1] != b"0":
                self._put_output()
            elif found[2] != b"NOPTS":
                self._add_frame(int(found[2]) * self.base, int(found[3]) * self.base, SIZE.search(line))
        elif found := TIME_BASE.search(line):
            self.base = Fraction(int(found[1]), int(found[2]))
        elif BROKEN.search(line):
            self.num_errors += 1
            self.error = self.error or line.decode(errors="replace").rpartition("] ")[2].strip()

    def _add_frame(self, pts: Fraction, seconds: Fraction, shape: re.Match[bytes] | None) -> None:
        if shape and not self.pts:
            self.size = (int(shape[3]), int(shape[4]))
            self.aspect = Fraction(int(shape[1]), int(shape[2])) if int(shape[1]) else None
        if not self.pts or pts >= self.pts[-1]:
            self.pts.append(pts)
        self.end = max(self.end or pts, pts + seconds)

    def _put_output(self) -> None:
        time = next(self._times, None)
        if time is not None:
            place = bisect_right(self.pts, time)
            self._outputs.put((self.pts[place - 1] if place else None, place == len(self.pts)))

    def next_output(self) -> tuple[Fraction | None, bool] | None:
        """(presentation time of the next output frame, whether it is the last frame of the video); None at the end.

        The time is None where no frame is that early.
        """
        return self._outputs.get()


def frames(
    path: Path, times_ms: Sequence[int], *, mode: str, shortest: int | None, stream: int | None, report: DecodeReport
) -> Iterator[DecodedFrame]:
    """See `decode.frames_at`."""
    with open_video(path) as container:
        chosen = choose_stream(container, stream)
        if chosen is None:
            raise BadRecording("no-video-stream", f"{path.name} has no video stream")
        index, end = chosen.index, declared_end(container, chosen)
    begin = _begin(path, index)
    zero = begin.pts[0]
    width, height = begin.size
    if shortest is not None:
        width, height = shortest_side(width, height, begin.aspect, shortest)
    if end is not None:
        report.declared_ms = max(0, to_ms(end - zero))
    run = Run(path, index, begin, (width, height), report)
    if mode == "exact":
        yield from run.frames(times_ms, keyframes=False)
    else:
        report.end = scanned_end(path, index)
        yield from run.keyframes(times_ms)


def _begin(path: Path, index: int) -> Timeline:
    """A timeline of the first frame that is shown. Raises BadRecording "no-frames" if there is none."""
    import ffmpeg

    video = ffmpeg.input(f"file:{path}", threads=1)[str(index)].filter("showinfo", checksum=0)
    timeline = Timeline()
    with _started(ffmpeg.output(video, "pipe:", format="null", frames="1", fps_mode="passthrough"), timeline) as stdout:
        stdout.read()
    if not timeline.pts:
        why = f": {timeline.error}" if timeline.error else ""
        raise BadRecording("no-frames", f"{path.name} decodes to no frame at all{why}", fix=AGAIN)
    return timeline


@contextmanager
def _started(output: Any, timeline: Timeline) -> Iterator[Any]:
    """Run ffmpeg; yields its stdout while `timeline` reads its stderr, and ends it in any case."""
    arguments = output.global_args("-hide_banner", "-nostdin", "-nostats", "-copyts", "-max_error_rate", "1")
    command = arguments.compile(cmd=ffmpeg_path())
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader = threading.Thread(target=timeline.read, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield process.stdout
    finally:
        process.kill()
        reader.join()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


class Run:
    """One video whose first frame and target size are known."""

    def __init__(self, path: Path, index: int, begin: Timeline, size: tuple[int, int], report: DecodeReport) -> None:
        self.path = path
        self.index = index
        self.begin = begin
        self.width, self.height = size
        self.report = report

    def frames(self, times_ms: Sequence[int], *, keyframes: bool) -> Iterator[DecodedFrame]:
        """Frames at `times_ms`; with `keyframes`, choosing among keyframes alone."""
        zero = self.begin.pts[0]
        timeline = Timeline(zero + Fraction(time_ms, 1000) for time_ms in times_ms)
        with _started(self._output(times_ms, keyframes), timeline) as stdout:
            for time_ms in times_ms:
                output = timeline.next_output()
                pts, is_last = output or (None, True)
                if is_last:
                    self._finish(timeline, keyframes)
                if output is None or (is_last and time_ms >= (self.report.end_ms or 0)):
                    return
                data = stdout.read(self.width * self.height * 3)
                if len(data) < self.width * self.height * 3:
                    return
                rgb = np.frombuffer(data, np.uint8).reshape(self.height, self.width, 3)
                yield DecodedFrame(time_ms=time_ms, pts_ms=to_ms((zero if pts is None else pts) - zero), rgb=rgb)

    def keyframes(self, times_ms: Sequence[int]) -> Iterator[DecodedFrame]:
        """As `frames`, but before the first keyframe the first frame is on screen."""
        first = next(self.frames([0], keyframes=False))
        self.report.end_ms = None
        for frame in self.frames(times_ms, keyframes=True):
            if frame.pts_ms <= 0:
                yield DecodedFrame(time_ms=frame.time_ms, pts_ms=0, rgb=first.rgb)
            else:
                yield frame

    def _finish(self, timeline: Timeline, keyframes: bool) -> None:
        report = self.report
        if report.end_ms is not None:
            return
        report.num_errors, report.error = timeline.num_errors, timeline.error
        if not keyframes:
            report.end = timeline.end
        report.end_ms = end_ms(self.begin.pts[0], report)

    def _output(self, times_ms: Sequence[int], keyframes: bool) -> Any:
        import ffmpeg

        options = {"skip_frame": "nokey"} if keyframes else {}
        zero = int(self.begin.pts[0] / self.begin.base)
        hold = HOLD_SECONDS + (math.ceil((self.report.declared_ms or 0) / 1000) if keyframes else 0)
        if isinstance(times_ms, range) and times_ms.start == 0:
            step_ms, picks = times_ms.step, None
        else:
            step_ms = math.gcd(*times_ms) or 1000
            picks = "+".join(f"eq(n,{time_ms // step_ms})" for time_ms in times_ms)
        video = ffmpeg.input(f"file:{self.path}", threads=1, **options)[str(self.index)]
        video = video.filter("showinfo", checksum=0).filter("setpts", f"PTS-({zero})")
        video = video.filter("tpad", stop_mode="clone", stop_duration=hold)
        video = video.filter("fps", fps=f"1000/{step_ms}", round="up", start_time=0)
        if picks is not None:
            video = video.filter("select", picks)
        video = video.filter("scale", self.width, self.height, flags="bicubic+full_chroma_int+accurate_rnd")
        video = video.filter("showinfo", checksum=0)
        return ffmpeg.output(video, "pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough")
