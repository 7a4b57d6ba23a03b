"""The fragments of an HLS media playlist: where each lies on the VOD's clock, and which of them a range needs.

    playlist = parse_playlist(text, url)
    playlist.fragments[12]                      Fragment(index=12, start_ms=120000, end_ms=130000, …)
    playlist.within(600_000, 1_200_000)         those that show any of it

Times are sums of EXTINF, as every player counts. Twitch numbers its fragments ("117.ts", "118-unmuted.ts"): a hole in
the numbers is a fragment that was lost, and where the declared length confirms it, what follows is placed after the
hole, since chat offsets run on through it. Format: RFC 8216.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from ..errors import BadRecording
from .facts import Interval, merge_intervals

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
TWITCH_NAME = re.compile(r"(\d+)(-muted|-unmuted)?\.\w+")
UNMUTED = re.compile(r"-unmuted(?=\.\w+$)")


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """One media file of a playlist, shown in [start_ms, end_ms) of the VOD's clock.

    index: 0-based place in the playlist. number: in Twitch's name, else None. byte_range: [first, end) of the resource.
    init: what has to precede it (EXT-X-MAP). is_muted: its name says that Twitch took out its sound.
    after_break: its timestamps need not follow on the fragment before it.
    """

    index: int
    url: str
    start_ms: int
    end_ms: int
    number: int | None = None
    byte_range: Interval | None = None
    init: Init | None = None
    is_muted: bool = False
    after_break: bool = False

    @property
    def muted_url(self) -> str | None:
        """The address of the same pictures without sound, for an "-unmuted" one; else None."""
        parts = urlsplit(self.url)
        path, count = UNMUTED.subn("-muted", parts.path)
        return parts._replace(path=path).geturl() if count else None


@dataclass(frozen=True, kw_only=True)
class Init:
    """The initialisation section of fragmented MP4. index: 0-based among those of the playlist."""

    index: int
    url: str
    byte_range: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Playlist:
    """fragments: in order of time. is_closed: nothing will be added (EXT-X-ENDLIST).
    holes_ms: intervals of the VOD's clock for which there is no fragment."""

    fragments: tuple[Fragment, ...]
    is_closed: bool
    holes_ms: tuple[Interval, ...] = ()

    @property
    def end_ms(self) -> int:
        return self.fragments[-1].end_ms if self.fragments else 0

    @property
    def muted_ms(self) -> tuple[Interval, ...]:
        return merge_intervals((part.start_ms, part.end_ms) for part in self.fragments if part.is_muted)

    def within(self, start_ms: int, end_ms: int) -> list[Fragment]:
        """Fragments that show any of [start_ms, end_ms)."""
        return [part for part in self.fragments if part.start_ms < end_ms and part.end_ms > start_ms]

    def placed(self, declared_ms: int) -> Playlist:
        """The same fragments, moved behind the holes in their numbers, if that fits the declared length better."""
        lost = _lost(self.fragments)
        if not lost or abs(declared_ms - self.end_ms - sum(lost.values())) >= abs(declared_ms - self.end_ms):
            return self
        moved, holes, shift_ms = [], [], 0
        for part in self.fragments:
            if gap_ms := lost.get(part.index, 0):
                holes.append((part.start_ms + shift_ms, part.start_ms + shift_ms + gap_ms))
                shift_ms += gap_ms
                part = replace(part, after_break=True)
            moved.append(replace(part, start_ms=part.start_ms + shift_ms, end_ms=part.end_ms + shift_ms))
        return replace(self, fragments=tuple(moved), holes_ms=merge_intervals(holes))


def _lost(fragments: Sequence[Fragment]) -> dict[int, int]:
    """Milliseconds that are missing before the fragment with that index, by the holes in the numbers."""
    if not fragments or any(part.number is None for part in fragments):
        return {}
    usual_ms = round(statistics.median(part.end_ms - part.start_ms for part in fragments))
    lost, expected = {}, 0
    for part in fragments:
        assert part.number is not None
        if part.number > expected:
            lost[part.index] = (part.number - expected) * usual_ms
        elif part.number < expected:
            return {}  # the numbers start anew: they say nothing
        expected = part.number + 1
    return lost


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in ATTRIBUTE.findall(text)}


def _byte_range(text: str, follows: int) -> Interval:
    """ "LENGTH@FIRST", or "LENGTH" for bytes that follow on the range before."""
    length, _, first = text.partition("@")
    begin = int(first) if first else follows
    return begin, begin + int(length)


def parse_playlist(text: str, url: str) -> Playlist:
    """Read a media playlist; `url` is where it came from, for relative addresses.

    Raises BadRecording "bad-playlist" (an HTML page, a cut line, no number where one belongs) or "encrypted-video".
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].lstrip("\ufeff").startswith("#EXTM3U"):
        raise BadRecording("bad-playlist", "the answer for the playlist is no playlist", fix="run it again")
    try:
        return _parse(lines[1:], url)
    except ValueError as error:
        raise BadRecording("bad-playlist", f"the playlist cannot be read: {error}", fix="run it again") from None


def _parse(lines: Sequence[str], url: str) -> Playlist:
    fragments: list[Fragment] = []
    init: Init | None = None
    num_inits, seconds_ms, follows, duration_ms = 0, 0.0, 0, None
    byte_range: Interval | None = None
    after_break = is_closed = False
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXTINF":
            duration_ms = float(value.split(",")[0]) * 1000
        elif tag == "#EXT-X-BYTERANGE":
            byte_range = _byte_range(value, follows)
        elif tag == "#EXT-X-DISCONTINUITY":
            after_break = True
        elif tag == "#EXT-X-KEY" and _attributes(value).get("METHOD", "NONE") != "NONE":
            raise BadRecording("encrypted-video", "the video is encrypted")
        elif tag == "#EXT-X-MAP":
            attributes = _attributes(value)
            part = _byte_range(attributes["BYTERANGE"], 0) if "BYTERANGE" in attributes else None
            init = Init(index=num_inits, url=urljoin(url, attributes.get("URI", "")), byte_range=part)
            num_inits += 1
        elif tag == "#EXT-X-ENDLIST":
            is_closed = True
        elif not line.startswith("#"):
            if duration_ms is None or not 0 <= duration_ms < 3_600_000:
                raise ValueError(f"fragment {len(fragments)} has no length")
            address = urljoin(url, line)
            name = TWITCH_NAME.fullmatch(PurePosixPath(urlsplit(address).path).name)
            fragments.append(
                Fragment(
                    index=len(fragments),
                    url=address,
                    start_ms=round(seconds_ms),
                    end_ms=round(seconds_ms + duration_ms),
                    number=int(name[1]) if name else None,
                    byte_range=byte_range,
                    init=init,
                    is_muted=bool(name and name[2]),
                    after_break=after_break,
                )
            )
            seconds_ms += duration_ms
            follows = byte_range[1] if byte_range else 0
            duration_ms, byte_range, after_break = None, None, False
    if duration_ms is not None:
        raise ValueError("it ends within an entry")
    return Playlist(fragments=tuple(fragments), is_closed=is_closed)
