"""Read the elements of a huge JSON array piece by piece, in constant memory and at the speed of numpy and orjson.

Brackets and commas outside strings are found for a whole window of bytes at once; the running sum of brackets is the
depth; commas at depth 0 are the borders between elements. So elements leave in blobs ("e1,e2,…"), which orjson
parses in one call as "[" + blob + "]". The result does not depend on how the bytes were cut into chunks.

    stream = JsonStream([b'[{"a": 1}, {"a"', b': 2}]'])
    [orjson.loads(b"[" + blob + b"]") for blob in stream.array()]

Memory: one window plus one unfinished element, which may have at most MAX_ELEMENT_BYTES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadRecording

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ELEMENT_BYTES = 64 * 1024 * 1024  # a page of 100 comments has about 100 KB
KEPT_VALUE_BYTES = 1024 * 1024  # header values beyond this (embedded pictures of emotes) are passed over

_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR_END = re.compile(rb"[,\]}\s]")


def structure(window: bytes, in_string: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Brackets and commas outside strings in `window`, which starts inside a string or not, never inside an escape.

    Returns their positions, their steps in depth (+1 opens, -1 closes, 0 comma), and if the end is inside a string.
    """
    if b"\\" in window:  # escapes cover two bytes; what they cover is neither a quote nor a bracket
        window = window.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    octets = np.frombuffer(window, np.uint8)
    inside = np.cumsum(octets == 0x22, dtype=np.uint8)  # wraps at 256 and keeps its parity
    inside &= 1
    if in_string:
        inside ^= 1
    folded = octets | 0x20  # [ and { become 0x7b, ] and } become 0x7d
    marks = (folded == 0x7B) | (folded == 0x7D) | (octets == 0x2C)
    marks &= inside == 0
    positions = np.flatnonzero(marks)
    kinds = folded[positions]
    steps = (kinds == 0x7B).astype(np.int64) - (kinds == 0x7D)
    return positions, steps, bool(inside[-1])


def split_elements(blob: bytes) -> list[bytes]:
    """ "e1, e2,…" -> [e1, e2, …]: cut at the commas of depth 0."""
    positions, steps, _ = structure(blob, False) if blob else (np.empty(0, np.int64),) * 2 + (False,)
    borders = positions[(steps == 0) & (np.cumsum(steps) == 0)].tolist()
    return [blob[a:b] for a, b in zip([0, *(p + 1 for p in borders)], [*borders, len(blob)], strict=True)]


class JsonStream:
    """Pull-style reading of JSON text that arrives in chunks. `what` names the file in errors."""

    def __init__(self, chunks: Iterable[bytes], *, what: str = "the file") -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0
        self.what = what

    def peek(self) -> bytes:
        """The next byte that is not white space, not yet taken; b"" at the end of the file."""
        while True:
            if match := _NOT_SPACE.search(self._buffer, self._at):
                self._at = match.start()
                return self._buffer[self._at : self._at + 1]
            self._at = len(self._buffer)
            if not self._fill():
                return b""

    def take(self, expected: bytes) -> None:
        """Pass over one byte, which must be `expected`."""
        found = self.peek()
        if not found:
            raise self.truncated()
        if found != expected:
            raise self.invalid(f"{expected.decode()!r} expected, {found.decode(errors='replace')!r} found")
        self._at += 1

    def string(self) -> bytes:
        """A whole JSON string with its quotes."""
        if self.peek() not in (b'"', b""):
            raise self.invalid(f"a string expected, {self.peek().decode(errors='replace')!r} found")
        while not (match := _STRING.match(self._buffer, self._at)):
            if len(self._buffer) - self._at > MAX_ELEMENT_BYTES:
                raise self.oversized()
            if not self._fill():
                raise self.truncated()
        self._at = match.end()
        return match.group()

    def value(self, keep: int = KEPT_VALUE_BYTES) -> bytes | None:
        """The bytes of one whole value of any kind; None if it is a container of more than `keep` bytes."""
        first = self.peek()
        if first == b'"':
            return self.string()
        if first not in (b"[", b"{"):
            return self._scalar()
        parts: list[bytes] = []
        size, depth, in_string = 0, 0, False
        while True:
            window = self._window()
            positions, steps, in_string = structure(window, in_string)
            levels = depth + np.cumsum(steps)
            ends = positions[(levels == 0) & (steps < 0)]
            part = window[: ends[0] + 1] if len(ends) else window
            size += len(part)
            if size <= keep:
                parts.append(part)
            if len(ends):
                self._unread(window[ends[0] + 1 :])
                return b"".join(parts) if size <= keep else None
            depth = int(levels[-1]) if len(levels) else depth

    def array(self) -> Iterator[bytes]:
        """Blobs of whole elements, joined by commas, of the array that comes next; then stand behind its `]`."""
        self.take(b"[")
        held: list[bytes] = []  # of the unfinished element
        held_bytes, depth, in_string = 0, 0, False
        while True:
            window = self._window()
            positions, steps, in_string = structure(window, in_string)
            levels = depth + np.cumsum(steps)
            ends = np.flatnonzero(levels < 0)
            end = int(positions[ends[0]]) if len(ends) else None
            borders = positions[(levels == 0) & (steps == 0)]
            if end is not None:
                borders = borders[borders < end]
            begin = 0
            if len(borders):
                yield b"".join([*held, window[: borders[-1]]])
                held, held_bytes, begin = [], 0, int(borders[-1]) + 1
            held.append(window[begin:end])
            held_bytes += len(held[-1])
            if end is not None:
                if window[end : end + 1] != b"]":
                    raise self.invalid("an array is closed with '}'")
                self._unread(window[end + 1 :])
                last = b"".join(held)
                if last.strip():
                    yield last
                return
            if held_bytes > MAX_ELEMENT_BYTES:
                raise self.oversized()
            depth = int(levels[-1]) if len(levels) else depth

    def invalid(self, why: str) -> BadRecording:
        return BadRecording("invalid-json", f"{self.what} is not valid JSON: {why}", fix="fetch the chat again")

    def truncated(self) -> BadRecording:
        return BadRecording("truncated-json", f"{self.what} ends in the middle of its JSON", fix="fetch the chat again")

    def oversized(self) -> BadRecording:
        limit = MAX_ELEMENT_BYTES >> 20
        what = f"{self.what} holds one JSON element of more than {limit} MiB"
        return BadRecording("oversized-message", what, fix="no chat has such a message; fetch the chat again")

    def _fill(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def _window(self) -> bytes:
        """All bytes that are there (at least one), without a trailing escape that the next chunk completes."""
        while True:
            window = self._buffer[self._at :]
            complete = len(window) - (len(window) - len(window.rstrip(b"\\"))) % 2
            if complete:
                self._buffer, self._at = window[complete:], 0
                return window[:complete]
            if not self._fill():
                raise self.truncated()

    def _unread(self, rest: bytes) -> None:
        self._buffer, self._at = rest + self._buffer[self._at :], 0

    def _scalar(self) -> bytes:
        if not self.peek():
            raise self.truncated()
        while not (match := _SCALAR_END.search(self._buffer, self._at)):
            if len(self._buffer) - self._at > KEPT_VALUE_BYTES:
                raise self.invalid("an endless number")
            if not self._fill():
                break
        end = match.start() if match else len(self._buffer)
        if end == self._at:
            raise self.invalid(f"a value expected, {self.peek().decode(errors='replace')!r} found")
        value, self._at = self._buffer[self._at : end], end
        return value
