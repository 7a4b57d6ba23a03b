"""This package's own RawMessage as JSON lines or an array: what raw/<recording>/chat.jsonl.gz holds.

For chats of platforms that no reader knows: write one such line a message and import the file.
"""

from __future__ import annotations

from ..schema import RawMessage
from .chat_file import ChatFile
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, text_or_none
from .json_records import Record, read_messages


def convert(item: Record, notes: Notes) -> RawMessage:
    """One checked RawMessage; id, author, author_id, badges may be missing. Raises KeyError, TypeError."""
    offset_ms = item["offset_ms"]
    if type(offset_ms) is not int:
        raise TypeError(f"offset_ms {offset_ms!r}")
    fragments = [(text, text_or_none(emote)) for text, emote in item["fragments"]]
    badges = [badge for badge in item.get("badges") or [] if type(badge) is str]
    for text, _ in fragments:
        if type(text) is not str:
            raise TypeError(f"fragment {text!r}")
    author, author_id = text_or_none(item.get("author")), text_or_none(item.get("author_id"))
    raw: RawMessage = {
        "id": text_or_none(item.get("id")),
        "offset_ms": offset_ms,
        "author": author,
        "author_id": author_id,
        "badges": badges,
        "fragments": fragments,
    }
    if item.get("action"):
        raw["action"] = True
    return raw


def read(file: ChatFile, notes: Notes) -> Batches:
    return read_messages(file, notes, convert)


CHAT_FORMATS.add(
    "raw-jsonl",
    ChatFormat(
        name="raw-jsonl",
        summary="this package's RawMessage JSONL",
        platform="",
        recognise=lambda _, record: record is not None and {"offset_ms", "fragments"} <= record.keys(),
        read=read,
    ),
)
