"""Video that a platform offers as one file instead of a playlist: fetched in byte ranges, by the same rules."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl import video
from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_graphql import Retry
from videochat.crawl.video import VideoFetch, fetch_video
from videochat.errors import BadRecording
from videochat.frames.video import ffmpeg_path, probe

FAST = HostLimits({}, Rate(per_second=10_000, burst=10_000))
IMPATIENT = Retry(max_attempts=3, first_wait_s=0.01, longest_wait_s=0.02)


class FileServer(ThreadingHTTPServer):
    """Hands out one MP4 in ranges. asked: first byte and status of each answer. refuse: [first bytes that get 403]."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[tuple[int, int]] = []
        self.refuse: list[int] = []
        self.ranges = True
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/evening.mp4"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        body = self.server.body
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.server.ranges else None
        first, end = (int(found[1]), min(int(found[2] or len(body)), len(body) - 1) + 1) if found else (0, len(body))
        status = 206 if found else 200
        if first in self.server.refuse and end - first > 1:
            self.server.refuse.remove(first)
            status = 403
        if end - first > 1 and found:
            self.server.asked.append((first, status))
        self.send_response(status)
        self.send_header("Content-Type", "video/mp4")
        part = body[first:end] if status != 403 else b""
        self.send_header("Content-Length", str(len(part)))
        if found:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(body)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    import subprocess

    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "source.mp4"  # its index is at the end: it has to be read before the rest
    command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=20"]
    command += [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "20",
        "-pix_fmt",
        "yuv420p",
        "-threads",
        "1",
        str(path),
    ]
    subprocess.run(command, check=True, timeout=60)
    made = FileServer(path.read_bytes())
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setattr(video, "CHUNK_BYTES", 50_000)
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def fetch(server: FileServer, folder: Path, **options: Any) -> VideoFetch:
    return fetch_video(server.url, folder, limits=FAST, retry=IMPATIENT, **options)


def test_one_file_in_ranges_of_bytes(server: FileServer, tmp_path: Path) -> None:
    fetched = fetch(server, tmp_path / "whole")
    assert len(server.asked) == -(-len(server.body) // 50_000) > 3
    ((span, path),) = fetched.files
    assert span == (0, 20_000) and probe(path).duration_ms == 20_000
    assert fetched.audit.is_complete and fetched.audit.desync_ms is None and fetched.audit.num_pictures == 200
    part = fetch(server, tmp_path / "part", ranges_ms=[(5_050, 9_000)])
    assert part.files[0][0][0] == 5_100 and abs(part.files[0][0][1] - 9_000) <= 300


def test_an_address_that_expired_is_asked_for_anew(server: FileServer, tmp_path: Path) -> None:
    server.refuse = [100_000]
    fetched = fetch(server, tmp_path / "again", num_workers=1)
    assert fetched.audit.is_complete
    assert [first for first, _ in server.asked].count(0) == 1  # what was there is not fetched again
    server.refuse = [100_000] * 9
    with pytest.raises(BadRecording) as caught:
        fetch(server, tmp_path / "never", num_workers=1)
    assert caught.value.error_class == "missing-fragment"


def test_a_server_without_ranges_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    with pytest.raises(BadRecording) as caught:
        fetch(server, tmp_path / "none")
    assert caught.value.error_class == "no-ranges"
