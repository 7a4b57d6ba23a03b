"""Fetch the fragments of a video into a folder, each once: what has its final name is whole and checked.

    files = FragmentFetch(ydl, folder, headers).fetch(fragments)     # [Piece(path=…/000012.ts, is_muted=False), …]

yt-dlp's own downloader for HLS appends each fragment to one file and notes its number afterwards in another: killed
between the two, it appends that fragment again; and ranges it leaves to ffmpeg, which starts anew. Here a fragment is
held in memory, measured against its declared length, looked at, written under a temporary name and renamed, so a kill
costs at most the fragments that were under way. A fragment that fails for good ends the fetch: there are no holes.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, RequestError, TransportError

from ..errors import BadRecording
from ..files import atomic_path
from .facts import Interval
from .playlist import Fragment, Init
from .ytdlp import Downloader

NUM_WORKERS = 4  # fragments of one recording at once
MAX_BYTES = 256 << 20  # of one fragment; ten seconds of Twitch's best source are under 15 MB
READ_BYTES = 1 << 16
TS_PACKET = 188
TS_SYNC = 0x47
BOXES = frozenset({b"ftyp", b"styp", b"sidx", b"moof", b"moov", b"emsg", b"prft", b"free", b"skip", b"mdat", b"uuid"})
Progress = Callable[[int, int], None]  # fragments done, fragments in all


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A fragment on disk. init: the file that has to precede it, if any. is_muted: the sound was taken out."""

    fragment: Fragment
    path: Path
    init: Path | None = None
    is_muted: bool = False


class BadFragment(TransportError):  # type: ignore[misc]
    """What came is no media: cut off, an error page, empty. Trying again may help."""


class FragmentFetch:
    """One folder of fragments of one rendition. headers: sent with every request. whole_file: the fragments are byte
    ranges of one file, which only together make media."""

    def __init__(
        self,
        ydl: Downloader,
        folder: Path,
        headers: Mapping[str, str] | None = None,
        *,
        num_workers: int = NUM_WORKERS,
        whole_file: bool = False,
    ) -> None:
        self.ydl = ydl
        self.folder = folder
        self.headers = {**(headers or {}), "Accept-Encoding": "identity"}
        self.num_workers = num_workers
        self.whole_file = whole_file
        self._unmuted_refused = threading.Event()

    def finished(self, fragment: Fragment) -> Piece | None:
        """The fragment on disk, from whichever run; None if it has to be fetched."""
        for is_muted in (False, True):
            path = self._path(fragment, is_muted)
            if path.exists():
                is_muted = is_muted or (fragment.is_muted and fragment.muted_url is None)
                return Piece(fragment=fragment, path=path, init=self._init_path(fragment.init), is_muted=is_muted)
        return None

    def fetch(self, fragments: Sequence[Fragment], progress: Progress | None = None) -> list[Piece]:
        """All of them, in the same order; those on disk are not asked for.

        Raises BadRecording of the first failure, after the requests that were under way; the finished ones stay.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.tmp-*"):
            leftover.unlink(missing_ok=True)
        for init in {part.init for part in fragments if part.init}:
            self._fetch_init(init)
        todo = [part for part in fragments if self.finished(part) is None]
        num_done = len(fragments) - len(todo)
        for _ in _in_threads(self._fetch_one, todo, self.num_workers, self.ydl.stop):
            num_done += 1
            if progress is not None:
                progress(num_done, len(fragments))
        pieces = [self.finished(part) for part in fragments]
        return [piece for piece in pieces if piece is not None]

    def _path(self, fragment: Fragment, is_muted: bool) -> Path:
        return self.folder / f"{fragment.index:06d}{'.muted' if is_muted else ''}.part{_suffix(fragment.url)}"

    def _init_path(self, init: Init | None) -> Path | None:
        return None if init is None else self.folder / f"init-{init.index:03d}{_suffix(init.url)}"

    def _fetch_init(self, init: Init) -> None:
        path = self._init_path(init)
        if path is not None and not path.exists():
            _store(path, self._insist(init.url, init.byte_range, f"initialisation {init.index}"))

    def _fetch_one(self, fragment: Fragment) -> None:
        what = f"fragment {fragment.index}"
        muted_url = fragment.muted_url
        if muted_url is not None and self._unmuted_refused.is_set():
            _store(self._path(fragment, True), self._insist(muted_url, fragment.byte_range, what))
            return
        try:
            data = self._insist(fragment.url, fragment.byte_range, what)
        except BadRecording as error:
            if muted_url is None or error.error_class != "missing-fragment":
                raise
            data = self._insist(muted_url, fragment.byte_range, what)
            self._unmuted_refused.set()
            _store(self._path(fragment, True), data)
            return
        _store(self._path(fragment, False), data)

    def _insist(self, url: str, byte_range: Interval | None, what: str) -> bytes:
        """The bytes, after as many requests as may help. Raises BadRecording "missing-fragment" if the server refuses,
        "fragment-failed" if no request brought it whole, "stopped" if another fragment failed first."""
        attempt = 1
        while True:
            if self.ydl.stop.is_set():
                raise BadRecording("stopped", f"{what} was not asked for any more")
            try:
                return self._get(url, byte_range)
            except RequestError as error:
                attempt += 1
                try:
                    self.ydl.rest(error, attempt)
                except HTTPError as final:
                    final.close()
                    if final.status in (429, *range(500, 600)):
                        raise _failed(what, f"HTTP {final.status}") from None
                    raise BadRecording(
                        "missing-fragment",
                        f"{what}: the server answers HTTP {final.status}",
                        fix="run it again; what was fetched is kept",
                    ) from None
                except RequestError as final:
                    raise _failed(what, final.msg if isinstance(final, BadFragment) else type(final).__name__) from None

    def _get(self, url: str, byte_range: Interval | None) -> bytes:
        """One request. Raises yt-dlp's RequestError, BadFragment for what is no media."""
        headers = dict(self.headers)
        if byte_range:
            headers["Range"] = f"bytes={byte_range[0]}-{byte_range[1] - 1}"
        with self.ydl.open_once(Request(url, headers=headers)) as response:
            declared = response.headers.get("Content-Length")
            data = self._read(response)
            if declared is not None and declared.isdigit() and int(declared) != len(data):
                raise IncompleteRead(partial=len(data), expected=int(declared) - len(data))
            status = response.status
        if byte_range:
            first, end = byte_range
            if status == 206:
                said = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
                if said and int(said[1]) != first:
                    raise BadFragment("another part than was asked for")
            else:
                data = data[first:end]  # the server sent everything
            if len(data) != end - first:
                raise BadFragment(f"{len(data)} bytes instead of {end - first}")
        if not self.whole_file:
            _check_media(data)
        return data

    def _read(self, response: Any) -> bytes:
        """The body, given up when the fetch is stopped."""
        parts, size = [], 0
        while part := response.read(READ_BYTES):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise BadFragment(f"more than {MAX_BYTES} bytes")
            if self.ydl.stop.is_set():
                raise TransportError("stopped")
        return b"".join(parts)


def _failed(what: str, why: str) -> BadRecording:
    return BadRecording("fragment-failed", f"{what}: {why}", fix="run it again; what was fetched is kept")


def _suffix(url: str) -> str:
    suffix = Path(urlsplit(url).path).suffix.lower()
    return suffix if re.fullmatch(r"\.(ts|mp4|m4s|m4v|m4a|aac)", suffix) else ".bin"


def _check_media(data: bytes) -> None:
    """Raise BadFragment unless this looks like a transport stream or fragmented MP4."""
    if not data:
        raise BadFragment("an empty answer")
    if (
        data[0] == TS_SYNC
        and len(data) % TS_PACKET == 0
        and all(data[place] == TS_SYNC for place in range(0, len(data), TS_PACKET))
    ):
        return
    if len(data) >= 8 and data[4:8] in BOXES:
        return
    page = data.lstrip()[:15].lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    raise BadFragment("a page instead of media" if page else "no transport stream and no MP4")


def _store(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _in_threads(
    work: Callable[[Fragment], None], items: Iterable[Fragment], num_threads: int, stop: threading.Event
) -> Iterable[None]:
    """Run `work` on all items, yielding None after each. The first failure stops the others and is raised.

    The threads are daemons: an interrupt of the program does not wait for them.
    """
    waiting: queue.SimpleQueue[Fragment] = queue.SimpleQueue()
    results: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    num_items = 0
    for item in items:
        waiting.put(item)
        num_items += 1

    def worker() -> None:
        while not stop.is_set():
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work(item)
                results.put(None)
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                stop.set()
                results.put(error)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(num_threads, num_items))]
    for thread in threads:
        thread.start()
    try:
        for _ in range(num_items):
            error = results.get()
            if error is not None:
                raise error
            yield None
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(timeout=5)
        raise
