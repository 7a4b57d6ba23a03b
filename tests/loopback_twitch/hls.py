"""Real HLS for VODs, made by ffmpeg: a few renditions, 10 s transport-stream segments, playlists in Twitch's shape.

A rendition is encoded once a session for each source and height; a VOD of any length is cut from it without encoding
again (repeated where it is too short, with one running clock), and a muted segment is cut again without sound.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from .vods import Vod

SEGMENT_S = 10
BASE_S = 120  # length of the test picture; 5625 AAC frames of 48 kHz exactly, so repeats do not drift
FPS = 10
BITRATES = {160: 230_000, 360: 630_000, 480: 1_427_999, 720: 2_373_000, 1080: 6_000_000}  # as Twitch states them
EXTINF = re.compile(r"#EXTINF:([\d.]+)")


@dataclass(frozen=True)
class Rendition:
    name: str  # "360p30"; the widest is "chunked", the source
    height: int
    width: int
    folder: Path  # holds 0.ts, 1.ts, …
    seconds: tuple[float, ...]  # length of each segment
    bits_per_s: int


def run_ffmpeg(*arguments: str | Path) -> None:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ffmpeg: {done.stderr.strip()[-500:]}")


class Media:
    """The session's media folder: bases by source and height, segments by base and length.

    Test processes may share it: what is made gets a name of its process first and is renamed when it is whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._cut: dict[tuple[Path | None, int, tuple[int, ...]], list[Rendition]] = {}

    def base(self, video: Path | None, height: int, duration_s: int) -> Path:
        """One encoded rendition of a source: H.264 with a key frame every 2 s, AAC."""
        if video:
            stat = video.stat()
            name = f"{video.stem}-{stat.st_size}-{stat.st_mtime_ns}-{height}.mp4"
            source: list[str | Path] = ["-t", str(duration_s), "-i", video, "-map", "0:v:0", "-map", "0:a:0?"]
            source += ["-vf", f"scale=-2:{height},fps={FPS}", "-af", "aresample=48000"]
        else:
            name = f"test-{height}.mp4"
            picture = f"testsrc=size={width_of(height)}x{height}:rate={FPS}:duration={BASE_S}"
            sound = f"sine=frequency=330:sample_rate=48000:duration={BASE_S}"
            source = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
        path = self.folder / name
        if not path.exists():
            video_codec = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "36", "-g", str(FPS * 2)]
            video_codec += ["-sc_threshold", "0", "-pix_fmt", "yuv420p", "-threads", "1"]
            part = path.with_suffix(f".part{os.getpid()}.mp4")
            run_ffmpeg(*source, *video_codec, "-c:a", "aac", "-aac_coder", "fast", "-b:a", "32k", part)
            part.rename(path)
        return path

    def renditions(self, vod: Vod) -> list[Rendition]:
        """The VOD's renditions, the largest first, with their segments on disk."""
        key = (vod.video, vod.duration_s, vod.heights)
        with self._lock:
            if key not in self._cut:
                heights = sorted(vod.heights, reverse=True)
                self._cut[key] = [self.cut(vod, height, height == heights[0]) for height in heights]
            return self._cut[key]

    def cut(self, vod: Vod, height: int, is_source: bool) -> Rendition:
        seconds: tuple[float, ...] = ()
        folder = self.folder / "none"
        if vod.duration_s > 0:
            base = self.base(vod.video, height, vod.duration_s)
            folder = self.folder / f"{base.stem}-{vod.duration_s}s"
            if not folder.exists():
                part = folder.with_name(f"{folder.name}.part{os.getpid()}")
                part.mkdir()
                loop = ["-stream_loop", "-1", "-i", base, "-t", str(vod.duration_s), "-c", "copy"]
                shape = ["-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_playlist_type", "vod"]
                run_ffmpeg(*loop, *shape, "-hls_segment_filename", part / "%d.ts", part / "index.m3u8")
                try:
                    part.rename(folder)
                except OSError:  # another process was faster
                    shutil.rmtree(part)
            seconds = tuple(float(found) for found in EXTINF.findall((folder / "index.m3u8").read_text()))
        name = "chunked" if is_source else f"{height}p30"
        return Rendition(name, height, width_of(height), folder, seconds, BITRATES.get(height, height * 2000))

    def muted(self, segment: Path) -> Path:
        """The same segment without sound, on the same clock."""
        silent = segment.with_name(f"{segment.stem}-muted.ts")
        with self._lock:
            if not silent.exists():
                part = segment.with_name(f"{segment.stem}-muted.part{os.getpid()}.ts")
                clock = ["-copyts", "-muxdelay", "0", "-muxpreload", "0"]
                run_ffmpeg(*clock[:1], "-i", segment, "-c:v", "copy", "-af", "volume=0", "-c:a", "aac", *clock, part)
                part.rename(silent)
        return silent


def width_of(height: int) -> int:
    return {160: 284, 360: 640, 480: 852, 720: 1280, 1080: 1920}.get(height, height * 16 // 9 // 2 * 2)


def is_inside(start_s: float, end_s: float, intervals: list[tuple[int, int]]) -> bool:
    return any(start_s < until and since < end_s for since, until in intervals)


def master_playlist(renditions: list[Rendition], root: str) -> str:
    """The multivariant playlist that usher answers. root: address of the VOD's folder at the media host."""
    info = '#EXT-X-TWITCH-INFO:ORIGIN="s3",B="false",REGION="EU",CLUSTER="cloudfront_vod",MANIFEST-CLUSTER="usher"'
    lines = ["#EXTM3U", info]
    for rendition in renditions:
        label = f"{rendition.height}p"
        name = f'NAME="{label}",AUTOSELECT=YES,DEFAULT=YES'
        lines.append(f'#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="{rendition.name}",{name}')
        shape = f'CODECS="avc1.4D401E,mp4a.40.2",RESOLUTION={rendition.width}x{rendition.height}'
        rate = f'VIDEO="{rendition.name}",FRAME-RATE={FPS:.3f}'
        lines.append(f"#EXT-X-STREAM-INF:BANDWIDTH={rendition.bits_per_s},{shape},{rate}")
        lines.append(f"{root}/{rendition.name}/index-dvr.m3u8")
    return "\n".join(lines) + "\n"


def media_playlist(vod: Vod, rendition: Rendition, *, muted_suffix: str = "-muted") -> str:
    """The segments of one rendition: muted ones under their own names, those in gaps left out."""
    longest = max([*rendition.seconds, SEGMENT_S])
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{round(longest)}", "#EXT-X-PLAYLIST-TYPE:EVENT"]
    lines += ["#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-TWITCH-ELAPSED-SECS:0.000"]
    lines.append(f"#EXT-X-TWITCH-TOTAL-SECS:{sum(rendition.seconds):.3f}")
    start_s = 0.0
    skipped = False
    for index, seconds in enumerate(rendition.seconds):
        end_s = start_s + seconds
        if is_inside(start_s + 0.5, end_s - 0.5, vod.gaps):
            skipped = True
        else:
            if skipped:
                lines.append("#EXT-X-DISCONTINUITY")
            skipped = False
            suffix = muted_suffix if is_inside(start_s + 0.5, end_s - 0.5, vod.muted) else ""
            lines += [f"#EXTINF:{seconds:.3f},", f"{index}{suffix}.ts"]
        start_s = end_s
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"
