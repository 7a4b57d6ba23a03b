"""What a video file says of itself, and the one place that opens video files.

    info = probe(Path("vod.mp4"))
    info.duration_ms, info.width, info.height, info.rotation

Time 0 of a recording is its first presentable video frame: the first one a decoder shows after edit lists and
discard flags, whatever its timestamp. The stream is the one libavformat calls best (highest resolution, never a
cover picture) unless a stream index is given. Probing uses PyAV, since the packaged ffmpeg comes without ffprobe.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..clock import to_ms
from ..errors import BadRecording, MissingInput

STILLS = frozenset({"image2", "ico"})  # libavformat names of what has pictures but no time; and *_pipe
TEXTS = frozenset({"tty"})  # it takes any text for drawings made of letters
PLAYLISTS = frozenset({"hls", "concat", "dash", "sdp"})  # they name other files, which were not imported
AGAIN = "import a whole copy of it with --replace, or import the chat without it"


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """duration_ms: from the first presentable frame to the declared end of the video stream (0 if unknown).
    width, height: as shown, after rotation. rotation: degrees clockwise, one of 0, 90, 180, 270.
    fps: the declared mean rate, often wrong: never use it for time. first_pts: seconds, None if nothing decodes.
    stream: index of the chosen stream in the container. reason: why there is no first frame, else "".
    """

    has_video: bool
    duration_ms: int
    width: int = 0
    height: int = 0
    rotation: int = 0
    codec: str = ""
    fps: Fraction | None = None
    first_pts: Fraction | None = None
    stream: int | None = None
    reason: str = ""


def ffmpeg_path() -> str:
    """The ffmpeg on PATH, else the one that comes with imageio-ffmpeg. Raises MissingInput if there is neither."""
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingInput(f"no ffmpeg: {error}", fix="install ffmpeg, or pip install imageio-ffmpeg") from None


@contextmanager
def open_video(path: Path) -> Iterator[Any]:
    """An open PyAV container. Raises MissingInput, or BadRecording "unreadable-video" if it is no media file."""
    import av

    av.logging.set_libav_level(av.logging.PANIC)  # its warnings are counted by us, not printed
    if not path.is_file():
        raise MissingInput(f"no video file at {path}", fix="check the path")
    try:
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        what = f"{path.name} cannot be opened as a video: {reason_of(error)}"
        raise BadRecording("unreadable-video", what, fix=AGAIN) from None
    with container:
        names = set(container.format.name.split(","))
        for kind, found in (
            ("a picture", names & STILLS or container.format.name.endswith("_pipe")),
            ("text", names & TEXTS),
            ("a playlist", names & PLAYLISTS),
        ):
            if found:
                raise BadRecording("unreadable-video", f"{path.name} is {kind}, not a video", fix=AGAIN)
        yield container


def reason_of(error: Exception) -> str:
    """The text of a libav error without the path in it."""
    return str(getattr(error, "strerror", None) or error)


def choose_stream(container: Any, stream: int | None = None) -> Any:
    """The video stream with that index, else the best one; None if there is no moving picture."""
    if stream is not None:
        found = container.streams[stream] if stream < len(container.streams) else None
        return found if found is not None and found.type == "video" else None
    best = container.streams.best("video")
    return None if best is None or _is_cover(best) else best


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(stream.disposition).lower()


def declared_end(container: Any, stream: Any) -> Fraction | None:
    """Declared end of the video stream in its own seconds; the container's end if only that is known."""
    if stream.duration is not None:
        return Fraction(stream.time_base) * int((stream.start_time or 0) + stream.duration)
    if container.duration is not None:
        begin = 0 if "matroska" in container.format.name else container.start_time or 0  # Matroska counts from 0
        return Fraction(begin + container.duration, 1_000_000)
    return None


def probe(path: Path | str, *, stream: int | None = None) -> VideoInfo:
    """Describe the video, decoding only its first frame.

    A file without video has has_video False; one whose video does not decode has first_pts None and the reason.
    Raises MissingInput if there is no file, BadRecording "unreadable-video" if it is no media file.
    """
    from .pyav_backend import Picture, decoded

    path = Path(path)
    with open_video(path) as container:
        chosen = choose_stream(container, stream)
        if chosen is None:
            known = container.duration or 0
            return VideoInfo(has_video=False, duration_ms=known // 1000, reason="no video stream")
        end = declared_end(container, chosen)
        first: Picture | None = next(iter(decoded(container, chosen)), None)
        if end is None:
            end = scanned_end(path, chosen.index)
        context = chosen.codec_context
        begin = first.pts if first else (chosen.start_time or 0) * Fraction(chosen.time_base)
        turned = first.rotation if first else 0
        width, height = (first.frame.width, first.frame.height) if first else (context.width, context.height)
        return VideoInfo(
            has_video=True,
            duration_ms=max(0, to_ms(end - begin)) if end is not None else 0,
            width=height if turned in (90, 270) else width,
            height=width if turned in (90, 270) else height,
            rotation=turned,
            codec=context.name,
            fps=chosen.average_rate or chosen.guessed_rate,
            first_pts=first.pts if first else None,
            stream=chosen.index,
            reason="" if first else "no frame decodes",
        )


def scanned_end(path: Path, stream: int) -> Fraction | None:
    """End of the last packet, for files that declare no duration."""
    import av

    end: Fraction | None = None
    with open_video(path) as container:
        chosen = container.streams[stream]
        try:
            for packet in container.demux(chosen):
                time = packet.pts if packet.pts is not None else packet.dts
                if time is not None:
                    shown = (time + (packet.duration or 0)) * Fraction(chosen.time_base)
                    end = shown if end is None else max(end, shown)
        except av.error.FFmpegError:
            pass  # a cut file: the end is where reading stops
    return end
