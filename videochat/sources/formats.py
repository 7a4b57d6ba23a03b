"""What a chat format is, the notes a reader takes, and the registry of formats.

A reader turns a file into batches of RawMessage, in the order of arrival. It never drops anything in silence: what it
cannot read, and what is unusual, it counts by name in `Notes.oddities`, which ends up in `Recording.origin`.

    CHAT_FORMATS.add("my-format", ChatFormat(name="my-format", summary="…", platform="", recognise=…, read=…))
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..registry import Registry
from ..schema import RawMessage
from .chat_file import ChatFile


@dataclass(kw_only=True)
class Notes:
    """What a reader learns beside the messages.

    oddities: counts by name, such as "null-commenter" or "malformed-message".
    platform_ids: ids of the video as the messages state them; channel, title, duration_ms: as the file's header says.
    more_pages: the last page of a paged download says that another one follows, so the chat is cut off.
    """

    oddities: Counter[str] = field(default_factory=Counter)
    platform_ids: set[str] = field(default_factory=set)
    channel: str = ""
    title: str = ""
    duration_ms: int | None = None
    more_pages: bool = False


Batches = Iterator[list[RawMessage]]


@dataclass(frozen=True, kw_only=True)
class ChatFormat:
    """summary: one clause for help and errors; platform: where such chats come from, "" if they do not tell.

    recognise: (file, first record or None) -> is it this format? The record is the first element of a JSON file.
    read: (file, notes) -> batches of messages. Raises BadRecording where the file as a whole is broken.
    """

    name: str
    summary: str
    platform: str
    recognise: Callable[[ChatFile, dict[str, Any] | None], bool]
    read: Callable[[ChatFile, Notes], Batches]


CHAT_FORMATS = Registry[ChatFormat]("chat format")


def seconds_to_ms(value: object) -> int:
    """A platform's offset in seconds -> whole milliseconds, to the nearest (12.345 is meant as 12345 ms).

    Raises TypeError or ValueError for anything but a finite number.
    """
    if type(value) is int:
        return value * 1000
    if type(value) is float and math.isfinite(value):
        return round(value * 1000)
    raise TypeError(f"offset {value!r}")


def text_or_none(value: object) -> str | None:
    """An id or name that may be null, a string or a number. Raises TypeError for anything else."""
    if value is None or type(value) is str:
        return value or None
    if type(value) is int:
        return str(value)
    raise TypeError(f"name {value!r}")
