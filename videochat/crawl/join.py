"""Fragments on disk become one MP4 of a range: packets are copied, nothing is encoded.

    report = join(pieces, 600_000, 1_200_000, folder / "video-t600.mp4")

A fragment's timestamps are put on the VOD's clock by the playlist: the first one at its start, the following ones by
their own timestamps as long as these run on, anew after a break (an advertisement, a restarted encoder), as players
do. How far timestamps and playlist are apart at each fragment is reported, as nobody can tell which of them is right.
Time 0 of the file is the first picture at or after the start; what lies between the last key frame and that picture is
kept but hidden by an edit list. Equal fragments give equal bytes.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRecording
from ..files import atomic_path

if TYPE_CHECKING:
    from .fragments import Piece

STEP_S = 1.0  # timestamps that leap by more than this against the playlist start anew
BREAK_STEP_S = 0.1  # the same where the playlist says that there is a break
BUFFER_BYTES = 1 << 20
TINY_S = 1e-6  # far below a tick of any clock, far above what sums of floats are off by


@dataclass(kw_only=True)
class JoinReport:
    """What was seen on the way; times on the VOD's clock.

    first_ms: of the first picture that is shown. drifts_ms: (start of a fragment by the playlist, by how much its
    timestamps are later). steps_ms: the same where timestamps leapt and were set anew. num_squeezed: packets moved to
    keep their order. empty: places of fragments without any picture. codec, width, height: of the first fragment.
    """

    first_ms: float | None = None
    drifts_ms: list[tuple[int, float]] = field(default_factory=list)
    steps_ms: list[tuple[int, float]] = field(default_factory=list)
    num_packets: int = 0
    num_squeezed: int = 0
    empty: list[int] = field(default_factory=list)
    codec: str = ""
    width: int = 0
    height: int = 0
    has_sound: bool = False


class Joined(io.RawIOBase):
    """Files one after the other, as one. places: where each of them starts."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.places = [0]
        for path in self.paths:
            self.places.append(self.places[-1] + path.stat().st_size)
        self.size = self.places.pop()
        self._at = 0
        self._open: tuple[int, Any] | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._at >= self.size:
            return b""
        index = bisect_right(self.places, self._at) - 1
        if self._open is None or self._open[0] != index:
            self._shut()
            self._open = (index, self.paths[index].open("rb"))
        handle = self._open[1]
        handle.seek(self._at - self.places[index])
        data: bytes = handle.read(size)
        self._at += len(data)
        return data

    def _shut(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        self._shut()
        super().close()


class SeekableJoined(Joined):
    """For media that say in one place where the rest lies."""

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + {0: 0, 1: self._at, 2: self.size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at


@dataclass(slots=True)
class Timed:
    """A packet with its times in seconds on the VOD's clock. Floats: after a day they still tell 2**-35 s apart."""

    packet: Any
    is_video: bool
    pts: float
    dts: float


def join(
    pieces: Sequence[Piece], start_ms: int, end_ms: int | None, final: Path, *, whole_file: bool = False
) -> JoinReport:
    """Write [start_ms, end_ms) of the pieces (None: all) as `final`, an MP4. whole_file: together they are one file.

    Raises BadRecording: "unreadable-video", "no-video-stream", "no-pictures", "codec-changed".
    """
    import av

    report = JoinReport()
    begin = start_ms / 1000
    end = None if end_ms is None else end_ms / 1000
    av.logging.set_libav_level(av.logging.PANIC)
    try:
        with atomic_path(final) as temporary:
            writer = Writer(temporary, begin, end, report)
            try:
                clock = Clock(report)
                for group in [list(pieces)] if whole_file else groups(pieces):
                    _copy(group, writer, None if whole_file else clock)
                    if writer.is_over:
                        break
                if not writer.is_started:
                    writer.flush()
            finally:
                writer.close()
            if report.first_ms is None:
                raise BadRecording("no-pictures", f"no picture between {start_ms} and {end_ms} ms of the video")
    except (av.error.FFmpegError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadRecording("unreadable-video", f"the fragments cannot be joined: {why}") from None
    return report


def groups(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Runs of pieces that one demuxer can read: up to a break or another initialisation."""
    run: list[Piece] = []
    for piece in pieces:
        if run and (piece.fragment.after_break or piece.init != run[-1].init):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _copy(group: Sequence[Piece], writer: Writer, clock: Clock | None) -> None:
    """Demux one group into the writer, its packets on the VOD's clock; without one it is a whole file from 0."""
    import av

    inits = [group[0].init] if group[0].init else []
    source = (Joined if clock else SeekableJoined)([*inits, *(piece.path for piece in group)])
    with source, av.open(source, "r", buffer_size=BUFFER_BYTES) as container:
        video: Any = container.streams.best("video")
        audio: Any = container.streams.best("audio")
        if video is None:
            raise BadRecording("no-video-stream", "the fragments hold no video stream")
        writer.use(video, audio)
        streams = [stream for stream in (video, audio) if stream is not None]
        if clock is None:
            zero = (video.start_time or 0) * float(video.time_base)
            if writer.begin > 0:
                container.seek(int((writer.begin + zero) * av.time_base), backward=True)
            for packet in container.demux(streams):
                if packet.pts is not None and packet.dts is not None:
                    base = float(packet.time_base)
                    writer.add(
                        Timed(packet, packet.stream is video, packet.pts * base - zero, packet.dts * base - zero)
                    )
            return
        clock.use(group, source.places[len(inits) :], video)
        for packet in container.demux(streams):
            for timed in clock.place(packet):
                writer.add(timed)
                if writer.is_over:
                    return
        for timed in clock.rest():
            writer.add(timed)


class Clock:
    """Puts packets on the VOD's clock, group after group. shift: what is added to timestamps now, None at the begin."""

    def __init__(self, report: JoinReport) -> None:
        self.report = report
        self.shift: float | None = None
        self.drift = 0.0

    def use(self, group: Sequence[Piece], places: Sequence[int], video: Any) -> None:
        """Go on with another group of pieces. places: the byte at which each of them starts."""
        self.group = group
        self.places = places
        self.video = video
        self.shifts: list[float | None] = [None] * len(group)  # of each piece
        self.current = -1  # the last piece whose shift is known
        self._waiting: list[tuple[int, Any]] = []
        self._last_piece: dict[int, int] = {}

    def place(self, packet: Any) -> Iterator[Timed]:
        """The packet, and those that waited for it; nothing while the shift of its piece is unknown."""
        if packet.pts is None or packet.dts is None:
            return
        index = self._piece_of(packet)
        if index > self.current:
            if packet.stream is not self.video:
                self._waiting.append((index, packet))
                return
            self._begin(index, packet)
            yield from self.rest()
        yield self._timed(index, packet)

    def rest(self) -> Iterator[Timed]:
        """Packets that waited; at the end those of a piece without pictures, by the shift of the one before."""
        waiting, self._waiting = self._waiting, []
        for index, packet in waiting:
            if self.current >= 0:
                yield self._timed(min(index, self.current), packet)

    def _piece_of(self, packet: Any) -> int:
        """By its place in the stream of bytes; frames that share a place with another have none of their own."""
        stream = packet.stream.index
        if packet.pos is not None and packet.pos >= 0:
            self._last_piece[stream] = max(0, bisect_right(self.places, packet.pos) - 1)
        return self._last_piece.get(stream, 0)

    def _begin(self, index: int, packet: Any) -> None:
        self.report.empty += [self.group[place].fragment.index for place in range(self.current + 1, index)]
        fragment = self.group[index].fragment
        start = fragment.start_ms / 1000
        pts = packet.pts * float(packet.time_base)
        if self.shift is None:
            self.shift = start - pts
        else:
            drift = pts + self.shift - start
            step = drift - self.drift
            if abs(step) > (BREAK_STEP_S if fragment.after_break else STEP_S):
                self.report.steps_ms.append((fragment.start_ms, round(step * 1000, 1)))
                self.shift, drift = start - pts, 0.0
            self.drift = drift
        self.report.drifts_ms.append((fragment.start_ms, round(self.drift * 1000, 1)))
        for place in range(self.current + 1, index + 1):
            self.shifts[place] = self.shift
        self.current = index

    def _timed(self, index: int, packet: Any) -> Timed:
        shift = self.shifts[index]
        assert shift is not None
        base = float(packet.time_base)
        return Timed(packet, packet.stream is self.video, packet.pts * base + shift, packet.dts * base + shift)


class Writer:
    """The MP4 under way: takes packets on the VOD's clock, keeps those of [begin, end)."""

    def __init__(self, path: Path, begin: float, end: float | None, report: JoinReport) -> None:
        import av

        options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled", "use_editlist": "1"}
        self.container = av.open(str(path), "w", format="mp4", options=options)
        self.begin = begin
        self.end = end
        self.report = report
        self.is_over = False
        self.video: Any = None
        self.audio: Any = None
        self._extradata: bytes | None = None
        self._pending: list[Timed] | None = []  # from the last key frame before the begin on, until _first is known
        self._first: float | None = None
        self._last_dts: dict[bool, int] = {}

    def use(self, video: Any, audio: Any) -> None:
        """Make the streams of the output like those of the first group; later groups have to fit them."""
        extradata = bytes(video.codec_context.extradata or b"")
        if self.video is None:
            self.video = self.container.add_stream_from_template(video)
            if audio is not None:
                self.audio = self.container.add_stream_from_template(audio)
            context = video.codec_context
            self.report.codec, self.report.width, self.report.height = context.name, context.width, context.height
            self.report.has_sound = audio is not None
            self._extradata = extradata
            return
        is_annexb = extradata.startswith((b"\0\0\0\1", b"\0\0\1"))  # parameters come with the pictures
        if video.codec_context.name != self.report.codec or (not is_annexb and extradata != self._extradata):
            raise BadRecording("codec-changed", "the video changes its codec or its parameters midway")

    def add(self, timed: Timed) -> None:
        if self.end is not None and timed.dts >= self.end - TINY_S:
            self.is_over = self.is_over or timed.is_video
            return
        if not timed.is_video and (self.audio is None or timed.pts < self.begin):
            return
        if self._pending is None:
            self._write(timed)
            return
        if timed.is_video and timed.packet.is_keyframe and timed.pts <= self.begin + TINY_S:
            self._pending = [kept for kept in self._pending if not kept.is_video]
        elif timed.is_video and not any(kept.is_video for kept in self._pending) and not timed.packet.is_keyframe:
            return  # nothing can be decoded before a key frame
        self._pending.append(timed)
        if timed.is_video and timed.pts >= self.begin - TINY_S:
            self._first = timed.pts if self._first is None else min(self._first, timed.pts)
        if timed.is_video and self._first is not None and timed.dts > self._first:
            self.flush()

    @property
    def is_started(self) -> bool:
        return self._pending is None

    def flush(self) -> None:
        """Write what was held back until the first picture was known, which becomes time 0."""
        pending, self._pending = self._pending or [], None
        if self._first is None:
            return
        self.report.first_ms = self._first * 1000
        for timed in pending:
            if timed.is_video or timed.pts >= self._first - TINY_S:
                self._write(timed)

    def _write(self, timed: Timed) -> None:
        packet = timed.packet
        base = float(packet.time_base)
        assert self._first is not None
        dts = round((timed.dts - self._first) / base)
        pts = round((timed.pts - self._first) / base)
        last = self._last_dts.get(timed.is_video)
        if last is not None and dts <= last:
            self.report.num_squeezed += 1
            if not timed.is_video:
                return
            dts = last + 1
            pts = max(pts, dts)
        self._last_dts[timed.is_video] = dts
        self.report.num_packets += timed.is_video
        packet.dts, packet.pts = dts, pts
        packet.stream = self.video if timed.is_video else self.audio
        self.container.mux(packet)

    def close(self) -> None:
        self.container.close()
