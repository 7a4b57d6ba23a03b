"""The records of a JSON chat file, whatever holds them: an array, JSON lines, a "comments" member, pages of edges.

`read_records` finds the lists that hold messages, parses them in batches and unfolds pages, so that a format's file
says only how one record becomes one message:

    [r, r, …]    r⏎r⏎…    {"video": …, "comments": [r, …]}
    [{"data": {"video": {"comments": {"edges": [{"node": r}, …]}}}}, …]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from ..schema import RawMessage
from .chat_file import CHUNK_BYTES, ChatFile
from .formats import Batches, Notes
from .json_stream import MAX_ELEMENT_BYTES, JsonStream, split_elements

# Members that hold messages, or hold something that does. A record with one of these is a page, not a message.
CONTAINERS = frozenset({"data", "video", "comments", "edges", "node"})
MAX_DEPTH = 16  # of pages in pages; a GraphQL answer has 6
_LISTS = frozenset({"comments", "edges"})
_RECOGNISE_CHUNK = 8 * 1024

Record = dict[str, Any]
Convert = Callable[[Record, Notes], RawMessage]


def read_records(file: ChatFile, notes: Notes, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[list[Any]]:
    """Batches of records, in order. notes: gets the header's facts and the counts of what could not be read."""
    blobs = _line_blobs(file, chunk_bytes, notes) if _is_lines(file.head) else _blobs(file, chunk_bytes, notes)
    for batch in blobs:
        if all(type(record) is dict and CONTAINERS.isdisjoint(record) for record in batch):
            yield batch
        else:
            yield [record for value in batch for record in _unfold(value, notes)]


def first_record(file: ChatFile, notes: Notes) -> Record | None:
    """The first record that is an object, for recognition; None if there is none."""
    for batch in read_records(file, notes, chunk_bytes=_RECOGNISE_CHUNK):
        for record in batch:
            if isinstance(record, dict):
                return record
    return None


def read_messages(file: ChatFile, notes: Notes, convert: Convert) -> Batches:
    """Apply `convert` to every record; one that it cannot read is counted and passed over."""
    for batch in read_records(file, notes):
        messages: list[RawMessage] = []
        for record in batch:
            try:
                messages.append(convert(record, notes))
            except (KeyError, TypeError, ValueError, AttributeError, IndexError):
                notes.oddities["malformed-message"] += 1
        yield messages


def parse_lenient(text: bytes, notes: Notes) -> Any:
    """One JSON value that orjson refused: bytes that are no UTF-8, raw control characters, half surrogate pairs.

    Damaged characters become U+FFFD and are counted. Raises ValueError if it is no JSON even so.
    """
    value = _without_surrogates(json.loads(text.decode("utf-8", errors="replace"), strict=False))
    notes.oddities["repaired-text"] += 1
    return value


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _parse(parts: list[bytes], notes: Notes) -> list[Any]:
    values = []
    for part in parts:
        try:
            values.append(orjson.loads(part))
        except orjson.JSONDecodeError:
            try:
                values.append(parse_lenient(part, notes))
            except (ValueError, RecursionError):
                notes.oddities["malformed-message"] += 1
    return values


def _is_lines(head: bytes) -> bool:
    """JSON lines of messages: the first line is a whole object and no page."""
    line, newline, _ = head.lstrip().partition(b"\n")
    if not line.startswith(b"{") or not (newline or len(head) == len(line)):
        return False
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and CONTAINERS.isdisjoint(value)


def _line_blobs(file: ChatFile, chunk_bytes: int, notes: Notes) -> Iterator[list[Any]]:
    """Whole lines, parsed many at once; where that fails, one by one. A torn last line means a cut-off file."""
    held: list[bytes] = []
    held_bytes = 0
    for chunk in file.chunks(chunk_bytes):
        whole, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            held.append(chunk)
            held_bytes += len(chunk)
            if held_bytes > MAX_ELEMENT_BYTES:
                raise JsonStream([], what=file.path.name).oversized()
            continue
        yield _parse_lines(b"".join([*held, whole]), notes)
        held, held_bytes = [rest], len(rest)
    last = b"".join(held)
    if last.strip():
        before = notes.oddities["malformed-message"]
        yield _parse_lines(last, notes)
        if notes.oddities["malformed-message"] > before:
            raise JsonStream([], what=file.path.name).truncated()


def _parse_lines(block: bytes, notes: Notes) -> list[Any]:
    lines = [line for line in block.split(b"\n") if line.strip()]
    try:
        values: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError:
        return _parse(lines, notes)
    return values if len(values) == len(lines) else _parse(lines, notes)


def _blobs(file: ChatFile, chunk_bytes: int, notes: Notes) -> Iterator[list[Any]]:
    """The elements of all message lists of one JSON document, or of several one after another."""
    stream = JsonStream(file.chunks(chunk_bytes), what=file.path.name)
    while first := stream.peek():
        if first == b"[":
            for blob in stream.array():
                yield _parse_blob(blob, notes)
        elif first == b"{":
            header: Record = {}
            found = False
            for batch in _members(stream, header, notes, 0):
                found = True
                yield batch
            if not found and CONTAINERS.isdisjoint(header):
                yield [header]  # an object without any list is itself a message
            note_header(header, notes)
        else:
            raise stream.invalid(f"an object or an array expected, {first.decode(errors='replace')!r} found")


def _parse_blob(blob: bytes, notes: Notes) -> list[Any]:
    try:
        values: list[Any] = orjson.loads(b"[" + blob + b"]")
    except orjson.JSONDecodeError:
        return _parse(split_elements(blob), notes)
    return values


def _members(stream: JsonStream, header: Record, notes: Notes, depth: int) -> Iterator[list[Any]]:
    """Walk one object: message lists are yielded, everything else goes into `header` (if it is small)."""
    stream.take(b"{")
    if depth > MAX_DEPTH:
        raise stream.invalid(f"pages are nested more than {MAX_DEPTH} deep")
    while stream.peek() != b"}":
        try:
            key: str = orjson.loads(stream.string())
        except orjson.JSONDecodeError:
            raise stream.invalid("a member's name is not UTF-8") from None
        stream.take(b":")
        following = stream.peek()
        if key in _LISTS and following == b"[":
            yield []  # even an empty list makes the object a page
            for blob in stream.array():
                yield _parse_blob(blob, notes)
        elif key in CONTAINERS and following == b"{":
            header[key] = {}
            yield from _members(stream, header[key], notes, depth + 1)
        else:
            value = stream.value()
            if key == "comments" and value == b"null":
                notes.oddities["null-page"] += 1  # a failed integrity check looks like this
            try:
                header[key] = None if value is None else orjson.loads(value)
            except orjson.JSONDecodeError:
                raise stream.invalid(f"the value of {key!r}") from None
        if stream.peek() == b",":
            stream.take(b",")
        elif stream.peek() != b"}":
            stream.take(b"}")
    stream.take(b"}")
    _note_page(header, notes)


def _note_page(page: Record, notes: Notes) -> None:
    if isinstance(info := page.get("pageInfo"), dict) and "hasNextPage" in info:
        notes.more_pages = bool(info["hasNextPage"])


def note_header(header: Record, notes: Notes) -> None:
    """What TwitchDownloader, v5 archives and GraphQL answers say about the video itself."""
    video = header.get("video") or (header.get("data") or {}).get("video") or {}
    streamer = header.get("streamer") or {}
    if isinstance(streamer, dict):
        notes.channel = str(streamer.get("login") or streamer.get("name") or notes.channel)
    if isinstance(video, dict):
        notes.title = str(video.get("title") or notes.title)
        length = video.get("length") or video.get("lengthSeconds") or video.get("end")
        if isinstance(length, int | float) and 0 < length < 1e7:
            notes.duration_ms = round(length * 1000)
        if isinstance(identity := video.get("id"), str | int) and str(identity).strip("v0"):
            notes.platform_ids.add(str(identity).removeprefix("v"))
    if header.get("errors"):
        notes.oddities["error-page"] += 1


def _unfold(value: Any, notes: Notes, depth: int = 0) -> Iterator[Any]:
    """The records inside a page, an edge or a list of them; anything else is a record itself."""
    if depth > MAX_DEPTH:
        notes.oddities["malformed-message"] += 1
    elif isinstance(value, list):
        for item in value:
            yield from _unfold(item, notes, depth + 1)
    elif isinstance(value, dict) and not CONTAINERS.isdisjoint(value):
        _note_page(value, notes)
        if value.get("errors"):
            notes.oddities["error-page"] += 1
        for key in CONTAINERS & value.keys():
            if value[key] is None:
                notes.oddities["null-page"] += 1
            else:
                yield from _unfold(value[key], notes, depth + 1)
    else:
        yield value
