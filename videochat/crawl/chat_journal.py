"""The pages of one chat as they came, one fsynced line each, so that a fetch that is killed goes on from the last one.

    {"walk": 1, "video": {"id": "1234567890", "lengthSeconds": 3600}, "spans": [[0, null]]}
    {"asked": {"offset": 0}, "refused": [], "comments": {"edges": [...], "pageInfo": {"hasNextPage": true}}}
    {"asked": {"cursor": "..."}, "refused": ["integrity-failed"], "comments": {...}}

Lines are only ever added; a line torn by a crash is cut off at the next start. What was refused is written with the
page that came after it, so what ended a fetch is tried again by the next one. The file is itself a chat of the format
twitch-graphql: `videochat import` reads it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..files import write_text
from ..sources import twitch_graphql
from ..sources.chat_file import ChatFile
from ..sources.formats import Batches, Notes
from ..sources.json_records import Record, read_messages
from ..sources.recognise import recognise
from .chat_walk import WALK_VERSION, Ask, Span, comment_key

FILE_NAME = "pages.jsonl"


@dataclass(frozen=True, kw_only=True)
class Page:
    """asked: the request; refused: slugs of what was refused since the page before; comments: as Twitch gave them."""

    asked: Ask
    refused: tuple[str, ...]
    comments: dict[str, Any]


class PageJournal:
    """`with PageJournal(folder, header) as journal:` for pages in `journal.pages()`, then `journal.add(page)`.

    start: the byte where its first page begins. A journal with another header (another walk, other spans) is replaced
    by an empty one.
    """

    def __init__(self, folder: Path, *, video_id: str, duration_ms: int, spans: Sequence[Span]) -> None:
        self.path = folder / FILE_NAME
        header = {
            "walk": WALK_VERSION,
            "video": {"id": video_id, "lengthSeconds": duration_ms / 1000},
            "spans": [[span.start_s, span.end_s] for span in spans],
        }
        self._header = orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
        self.start = len(self._header)
        self._begin()
        self._handle = self.path.open("r+b")

    def __enter__(self) -> PageJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.path.open("rb") as handle:
                if handle.readline() == self._header:
                    return
        except FileNotFoundError:
            pass
        write_text(self.path, self._header.decode())

    def pages(self) -> Iterator[Page]:
        """The pages so far, in order; ends (and cuts the file) at the first line that is not whole."""
        self._handle.seek(self.start)
        while line := self._handle.readline():
            page = _page(line)
            if page is None:
                self.cut(self._handle.tell() - len(line))
                return
            yield page

    def tell(self) -> int:
        """Where the next line begins."""
        return self._handle.tell()

    def cut(self, size: int) -> None:
        """Drop everything from byte `size` on."""
        self._handle.truncate(size)
        self._handle.seek(size)
        os.fsync(self._handle.fileno())

    def add(self, page: Page) -> None:
        """Append one page; it is on the disk when this returns."""
        line = {"asked": page.asked.to_json(), "refused": list(page.refused), "comments": page.comments}
        self._handle.seek(0, os.SEEK_END)
        self._handle.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._handle.flush()
        os.fsync(self._handle.fileno())


def _page(line: bytes) -> Page | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = orjson.loads(line)
        asked = value["asked"]
        ask = Ask(cursor=asked.get("cursor"), offset_s=asked.get("offset"))
        return Page(asked=ask, refused=tuple(value["refused"]), comments=value["comments"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


def read_pages(path: Path, notes: Notes, *, start_ms: int | None = None, end_ms: int | None = None) -> Batches:
    """The messages of a fetched chat for `store_chat`, each once, those of [start_ms, end_ms) of the VOD's clock.

    path: ChatFetch.pages, a journal or what chat-downloader wrote. notes: counts malformed messages, as every reader
    does. Raises BadRecording where the file is unreadable.
    """
    file = ChatFile(path)
    if path.name == FILE_NAME:
        seen: set[str] = set()
        batches = read_messages(file, notes, functools.partial(_convert, seen))
    else:
        batches = recognise(file).read(file, notes)
    for batch in batches:
        yield [
            message
            for message in batch
            if message
            and (start_ms is None or message["offset_ms"] >= start_ms)
            and (end_ms is None or message["offset_ms"] < end_ms)
        ]
    notes.more_pages = False  # the walk knows better than the flag of the page that came last


def _convert(seen: set[str], node: Record, notes: Notes) -> Any:
    """The message of a node; None for one that an earlier page had."""
    key = comment_key(node)
    if key in seen:
        return None
    message = twitch_graphql.convert(node, notes)
    seen.add(key)
    return message
