"""Twitch's own form: GraphQL `VideoComment` nodes, as today's chat replay answers them.

An array of nodes, nodes as JSON lines, or pages with edges, as tools store them. Oddities (seen in real files):
commenter null (a deleted account: the row is kept), emote null or {}, badges empty, null or with an empty setID,
fragments empty. `createdAt` is not used: only `contentOffsetSeconds` follows the video. `emote.from` is not used
either: fragments say what is an emote, and offsets do not survive the scrubbing of texts.
"""

from __future__ import annotations

from typing import Any

from ..schema import RawMessage
from .chat_file import ChatFile
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, seconds_to_ms, text_or_none
from .json_records import Record, read_messages


def read_badges(badges: list[Record] | None) -> list[str]:
    """Names of badge sets; [{"setID": …}] today, [{"_id": …}] in archives of older answers."""
    if not badges:
        return []
    names = [badge.get("setID") or badge.get("_id") for badge in badges]
    return [name for name in names if type(name) is str and name]


def emote_id(emote: Record | None) -> str | None:
    """The id of {"emoteID": …} today, {"emoticon_id": …} in older answers; None for null and {}."""
    if not emote:
        return None
    return text_or_none(emote.get("emoteID") or emote.get("emoticon_id") or emote.get("id"))


def read_fragments(message: Record, emote_key: str) -> list[tuple[str, str | None]]:
    """[(text, emote id or None)]; where fragments are missing, the whole body as one text."""
    fragments = message.get("fragments")
    if not fragments:
        body = message.get("body")
        return [(body, None)] if type(body) is str and body else []
    read = [(part["text"], emote_id(part.get(emote_key))) for part in fragments]
    for text, _ in read:
        if type(text) is not str:
            raise TypeError(f"fragment {text!r}")
    return read


def convert(node: Record, notes: Notes) -> RawMessage:
    """One node as a RawMessage. Raises KeyError, TypeError or ValueError for a node that is malformed."""
    commenter: Any = node.get("commenter")
    if commenter is None:
        author = author_id = None
    else:
        author = text_or_none(commenter.get("login") or commenter.get("displayName"))
        author_id = text_or_none(commenter.get("id"))
    message = node["message"]
    fragments = read_fragments(message, "emote")
    identity = node.get("contentId")
    if identity and identity != "0" and len(notes.platform_ids) < 3:
        notes.platform_ids.add(str(identity))
    return {
        "id": text_or_none(node.get("id")),
        "offset_ms": seconds_to_ms(node["contentOffsetSeconds"]),
        "author": author,
        "author_id": author_id,
        "badges": read_badges(message.get("userBadges")),
        "fragments": fragments,
    }


def read(file: ChatFile, notes: Notes) -> Batches:
    return read_messages(file, notes, convert)


CHAT_FORMATS.add(
    "twitch-graphql",
    ChatFormat(
        name="twitch-graphql",
        summary="GraphQL VideoComment nodes",
        platform="twitch",
        recognise=lambda _, record: record is not None and "contentOffsetSeconds" in record,
        read=read,
    ),
)
