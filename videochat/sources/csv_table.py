"""A CSV of comments with a header line: a time, an author, a text; comma, semicolon or tab.

Header names, in any case: milliseconds `offset_ms`, `time_ms`, `timestamp_ms`, `ms`; seconds or h:mm:ss `offset`,
`time`, `seconds`, `offset_s`, `time_s`, `offset_seconds`, `time_in_seconds`, `content_offset_seconds`, `timestamp`;
author `author`, `user`, `username`, `user_name`, `login`, `name`, `nick`, `author.name`, `author_name`; text `text`,
`message`, `comment`, `body`, `content`; optional `id`, `message_id`, `comment_id`, and `author_id`, `user_id`,
`author.id`, and `badges` (split at "|"). Other columns are passed over.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator

from ..clock import parse_ms
from ..errors import BadRecording, UsageError
from ..schema import RawMessage
from .chat_file import ChatFile
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, seconds_to_ms

MILLISECONDS = ("offset_ms", "time_ms", "timestamp_ms", "ms")
SECONDS = (
    "offset",
    "time",
    "seconds",
    "offset_s",
    "time_s",
    "offset_seconds",
    "time_in_seconds",
    "content_offset_seconds",
    "timestamp",
)
AUTHOR = ("author", "user", "username", "user_name", "login", "name", "nick", "author.name", "author_name")
AUTHOR_ID = ("author_id", "user_id", "author.id")
TEXT = ("text", "message", "comment", "body", "content")
IDENTITY = ("id", "message_id", "comment_id")
BADGES = ("badges",)
_BATCH = 4096


def _header(head: bytes) -> tuple[list[str], str] | None:
    """The column names, lower case, and the delimiter; None if the first line is no header of a chat."""
    line = head.lstrip().partition(b"\n")[0].decode("utf-8", errors="replace").strip()
    for delimiter in (",", ";", "\t"):
        try:
            names = [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]
        except csv.Error:
            continue
        if set(names) & {*MILLISECONDS, *SECONDS} and set(names) & set(TEXT):
            return names, delimiter
    return None


def _find(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _lines(file: ChatFile) -> Iterator[str]:
    """Text lines with their ends, so that quoted fields may span lines. Raises BadRecording if it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    try:
        for chunk in file.chunks():
            *lines, rest = (rest + decoder.decode(chunk)).split("\n")
            yield from (line + "\n" for line in lines)
        rest += decoder.decode(b"", True)
    except UnicodeDecodeError:
        raise BadRecording("invalid-csv", f"{file.path.name} is not UTF-8", fix="save it as UTF-8") from None
    if rest:
        yield rest


def _offset_ms(text: str, in_ms: bool) -> int:
    """Milliseconds of a number (of ms or of seconds) or of h:mm:ss. Raises ValueError."""
    if in_ms:
        return round(float(text))
    if ":" in text:
        try:
            negative = text.startswith("-")
            return -parse_ms(text[1:]) if negative else parse_ms(text)
        except UsageError as error:
            raise ValueError(text) from error
    return seconds_to_ms(float(text))


def read(file: ChatFile, notes: Notes) -> Batches:
    """Batches of messages; a row with too few fields or no time is counted. Raises BadRecording("invalid-csv")."""
    found = _header(file.head)
    if found is None:
        raise BadRecording("invalid-csv", f"{file.path.name} has no header line with a time and a text column")
    names, delimiter = found
    in_ms = _find(names, MILLISECONDS)
    time = in_ms if in_ms is not None else _find(names, SECONDS)
    text, author, author_id = _find(names, TEXT), _find(names, AUTHOR), _find(names, AUTHOR_ID)
    identity, badges = _find(names, IDENTITY), _find(names, BADGES)
    assert time is not None and text is not None

    def cell(row: list[str], column: int | None) -> str | None:
        return row[column].strip() or None if column is not None else None

    batch: list[RawMessage] = []
    rows = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    try:
        next(row for row in rows if row)  # the header
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                notes.oddities["malformed-message"] += 1
                continue
            try:
                offset_ms = _offset_ms(row[time].strip(), in_ms is not None)
            except (ValueError, OverflowError, TypeError):
                notes.oddities["malformed-message"] += 1
                continue
            name, name_id = cell(row, author), cell(row, author_id)
            batch.append(
                {
                    "id": cell(row, identity),
                    "offset_ms": offset_ms,
                    "author": name,
                    "author_id": name_id,
                    "badges": [badge for badge in (cell(row, badges) or "").split("|") if badge],
                    "fragments": [(row[text], None)] if row[text] else [],
                }
            )
            if len(batch) == _BATCH:
                yield batch
                batch = []
    except csv.Error as error:
        raise BadRecording(
            "invalid-csv", f"{file.path.name}, line {rows.line_num}: {error}", fix="quote fields as RFC 4180 says"
        ) from None
    yield batch


CHAT_FORMATS.add(
    "csv",
    ChatFormat(
        name="csv",
        summary="CSV with columns time, author, text",
        platform="",
        recognise=lambda file, _: file.head.lstrip()[:1] not in (b"{", b"[", b"<") and _header(file.head) is not None,
        read=read,
    ),
)
