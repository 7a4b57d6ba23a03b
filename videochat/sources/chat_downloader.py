"""What the chat-downloader package writes, as a JSON array or as JSON lines, for Twitch, YouTube and others.

    {"message_id", "time_in_seconds", "message", "author": {"id", "name", "badges"}, "emotes": [{"id", "name", …}]}

Emotes are given beside the text: by `locations` ("6-10" or "6-10,12-16", ends inclusive, in characters) or, on
YouTube, by a name such as ":smile:" that stands in the text. Locations that do not show the emote's name (they break
when texts are edited) are looked up by name instead and counted. A capture of a live chat has no `time_in_seconds`:
its messages cannot be placed on a recording and are counted as malformed.
"""

from __future__ import annotations

import re

from ..schema import RawMessage
from .chat_file import ChatFile
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, seconds_to_ms, text_or_none
from .json_records import Record, read_messages

_UNDERSCORED_BADGES = frozenset({"no_audio", "no_video"})  # sets whose own name has underscores


def _spans(text: str, emote: Record, notes: Notes) -> list[tuple[int, int]]:
    """Half-open character spans of one emote in `text`."""
    name = emote.get("name") or ""
    locations = emote.get("locations") or []
    if isinstance(locations, str):
        locations = locations.split(",")
    spans = []
    for location in locations:
        begin, _, end = str(location).partition("-")
        spans.append((int(begin), int(end) + 1))
    if name and any(text[begin:end] != name for begin, end in spans):
        notes.oddities["emote-misplaced"] += 1
        spans = []
    if name and not spans:
        if name.startswith(":"):
            pattern = re.escape(name)
        else:
            pattern = rf"(?<!\S){re.escape(name)}(?!\S)"
        spans = [match.span() for match in re.finditer(pattern, text)]
    return [(begin, end) for begin, end in spans if 0 <= begin < end <= len(text)]


def cut_fragments(text: str, emotes: list[Record], notes: Notes) -> list[tuple[str, str | None]]:
    """The text cut at its emotes: [(text, emote id or None)]; together the pieces are the text."""
    found = sorted(
        (begin, end, text_or_none(emote.get("id"))) for emote in emotes for begin, end in _spans(text, emote, notes)
    )
    pieces: list[tuple[str, str | None]] = []
    done = 0
    for begin, end, identity in found:
        if begin < done:
            notes.oddities["emote-overlap"] += 1
            continue
        if begin > done:
            pieces.append((text[done:begin], None))
        pieces.append((text[begin:end], identity))
        done = end
    if done < len(text):
        pieces.append((text[done:], None))
    return pieces


def _badge(badge: Record | str) -> str:
    name = str(badge["name"] if isinstance(badge, dict) else badge)
    return name if name in _UNDERSCORED_BADGES else name.replace("_", "-")  # the package writes bot-badge as bot_badge


def convert(item: Record, notes: Notes) -> RawMessage:
    """One item as a RawMessage. Raises KeyError, TypeError or ValueError for one that is malformed or has no offset."""
    text = item.get("message")
    if text is None:
        text = ""
    elif type(text) is not str:
        raise TypeError(f"message {text!r}")
    author = item.get("author") or {}
    name = text_or_none(author.get("name") or author.get("display_name"))
    identity = text_or_none(author.get("id"))
    emotes = item.get("emotes")
    return {
        "id": text_or_none(item.get("message_id")),
        "offset_ms": seconds_to_ms(item["time_in_seconds"]),
        "author": name,
        "author_id": identity,
        "badges": [_badge(badge) for badge in author.get("badges") or []],
        "fragments": cut_fragments(text, emotes, notes) if emotes else [(text, None)] if text else [],
    }


def read(file: ChatFile, notes: Notes) -> Batches:
    return read_messages(file, notes, convert)


def _recognise(_: ChatFile, record: Record | None) -> bool:
    if record is None:
        return False
    return "time_in_seconds" in record or {"message_id", "message_type", "author"} <= record.keys()


CHAT_FORMATS.add(
    "chat-downloader",
    ChatFormat(
        name="chat-downloader",
        summary="chat-downloader JSON or JSONL",
        platform="",
        recognise=_recognise,
        read=read,
    ),
)
