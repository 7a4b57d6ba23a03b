"""Twitch's retired v5 ("rechat") form, and TwitchDownloader, which still writes it with additions.

    {"video": {…}, "comments": [{"_id", "content_offset_seconds", "commenter": {…}, "message": {"body", "fragments"}}]}

TwitchDownloader's offsets may be fractions, its `user_badges` and `emoticon` null, and embedded pictures of emotes,
which may take tens of MB behind the comments, are passed over. Cropped downloads keep offsets from the VOD's start.
"""

from __future__ import annotations

from ..schema import RawMessage
from .chat_file import ChatFile
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, seconds_to_ms, text_or_none
from .json_records import Record, read_messages
from .twitch_graphql import read_badges, read_fragments


def convert(comment: Record, notes: Notes) -> RawMessage:
    """One comment as a RawMessage. Raises KeyError, TypeError or ValueError for one that is malformed."""
    commenter = comment.get("commenter")
    if commenter is None:
        author = author_id = None
    else:
        author = text_or_none(commenter.get("name") or commenter.get("display_name"))
        author_id = text_or_none(commenter.get("_id"))
    identity = comment.get("content_id")
    if identity and len(notes.platform_ids) < 3:
        notes.platform_ids.add(str(identity))
    message = comment["message"]
    fragments = read_fragments(message, "emoticon")
    raw: RawMessage = {
        "id": text_or_none(comment.get("_id")),
        "offset_ms": seconds_to_ms(comment["content_offset_seconds"]),
        "author": author,
        "author_id": author_id,
        "badges": read_badges(message.get("user_badges")),
        "fragments": fragments,
    }
    if message.get("is_action"):
        raw["action"] = True
    return raw


def read(file: ChatFile, notes: Notes) -> Batches:
    return read_messages(file, notes, convert)


def _is_v5(record: Record | None) -> bool:
    return record is not None and "content_offset_seconds" in record


def _is_twitch_downloader(record: Record | None) -> bool:
    if record is None or not _is_v5(record):
        return False
    return "more_replies" in record or "bits_spent" in (record.get("message") or {})


CHAT_FORMATS.add(
    "twitch-downloader",
    ChatFormat(
        name="twitch-downloader",
        summary="TwitchDownloader JSON",
        platform="twitch",
        recognise=lambda _, record: _is_twitch_downloader(record),
        read=read,
    ),
)
CHAT_FORMATS.add(
    "twitch-v5",
    ChatFormat(
        name="twitch-v5",
        summary="v5/rechat JSON",
        platform="twitch",
        recognise=lambda _, record: _is_v5(record),
        read=read,
    ),
)
