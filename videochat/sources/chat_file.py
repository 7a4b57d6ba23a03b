"""A chat file on disk, gzip or not: its first bytes for recognition, and its bytes in chunks.

Everything that is wrong with the file itself, whatever its format, is said here in one line: it is missing, a folder,
empty, a cut-off or damaged gzip, an HTML page, a video.

    file = ChatFile(Path("chat.json.gz"))
    file.head[:20], sum(map(len, file.chunks()))
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import BadRecording

HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 512 * 1024  # parsed chat takes about ten times its bytes: a few MB live at a time
UTF8_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"

# First bytes of things that people hand over in place of a chat.
_MAGIC = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"PK\x03\x04", "a zip archive"),
    (b"%PDF", "a PDF"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"(\xb5/\xfd", "a zstd file"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)


class ChatFile:
    """path: the file; compressed: True for gzip; head: its first 64 KiB, unpacked, without a byte order mark."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise BadRecording("not-a-file", f"{path} is a folder, not a chat file", fix="pass the file inside it")
        if path.exists() and not path.is_file():
            what = f"{path} is a device or a pipe, not a chat file"
            raise BadRecording("not-a-file", what, fix="write it to a file first: it is read more than once")
        try:
            with path.open("rb") as handle:
                self.compressed = handle.read(2) == GZIP_MAGIC
            self.head = b"".join(self._some(HEAD_BYTES))
        except FileNotFoundError:
            raise BadRecording("missing-file", f"there is no chat file {path}", fix="check the path") from None
        except OSError as error:
            raise BadRecording(
                "unreadable-file", f"{path} cannot be read: {error.strerror}", fix="check its mode"
            ) from None
        if not self.head.strip():
            raise BadRecording("empty-file", f"{path} is empty", fix="fetch the chat again")

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The unpacked bytes from the start. Raises BadRecording if the gzip is cut off or damaged."""
        with gzip.open(self.path) if self.compressed else self.path.open("rb") as handle:
            first = True
            while chunk := self._read(handle, size):
                if first and chunk.startswith(UTF8_MARK):
                    chunk = chunk[len(UTF8_MARK) :]
                first = False
                if chunk:
                    yield chunk

    def _some(self, size: int) -> Iterator[bytes]:
        for chunk in self.chunks(size):
            yield chunk
            return

    def _read(self, handle: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
        try:
            return handle.read(size)
        except EOFError:
            raise BadRecording(
                "truncated-gzip",
                f"{self.path.name} ends in the middle of its gzip stream",
                fix="copy or fetch it again",
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadRecording(
                "corrupt-gzip", f"{self.path.name} is a damaged gzip file: {error}", fix="copy or fetch it again"
            ) from None

    def seen(self) -> str:
        """What the first bytes look like, for the error about a file of no known format."""
        head = self.head
        if head[4:8] == b"ftyp":
            return "an MP4 video"
        for magic, name in _MAGIC:
            if head.startswith(magic):
                return name
        start = head.lstrip()[:200].lower()
        if start.startswith((b"<!doctype html", b"<html")) or b"<head" in start:
            return "an HTML page"
        if b"\0" in head:
            return "binary data"
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(head)  # a character cut off at the end is no error
        except UnicodeDecodeError:
            return "binary data"
        return f"text that begins with {text.strip()[:40]!r}"
