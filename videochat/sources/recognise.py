"""Which format a chat file has, by its content. Importing this module fills CHAT_FORMATS.

chat_format = recognise(ChatFile(path))       # BadRecording("unknown-format") says what was seen and what is known
"""

from __future__ import annotations

from ..errors import BadRecording

# The list of formats: one line for each file, in the order in which they are asked.
from . import acfun, bilibili_xml, chat_downloader, csv_table, raw_jsonl, twitch_graphql, twitch_v5
from .chat_file import ChatFile
from .formats import CHAT_FORMATS, ChatFormat, Notes
from .json_records import Record, first_record

__all__ = ["CHAT_FORMATS", "recognise"]

_READERS = (twitch_graphql, twitch_v5, chat_downloader, acfun, raw_jsonl, bilibili_xml, csv_table)


def recognise(file: ChatFile) -> ChatFormat:
    """The format of `file`. Raises BadRecording: "unknown-format", "no-messages" or what is wrong with its JSON."""
    record: Record | None = None
    start = file.head.lstrip()[:1]
    if start in (b"{", b"["):
        notes = Notes()
        record = first_record(file, notes)
        if record is None:
            why = (
                ", its pages say `comments: null`, as Twitch answers when it refuses"
                if "null-page" in notes.oddities
                else ""
            )
            raise BadRecording("no-messages", f"{file.path.name} holds no message{why}", fix="fetch the chat again")
    for chat_format in CHAT_FORMATS.values():
        if chat_format.recognise(file, record):
            return chat_format
    known = ", ".join(chat_format.summary for chat_format in CHAT_FORMATS.values())
    seen = f"JSON whose records have {sorted(map(str, record))[:6]}" if record else file.seen()
    raise BadRecording("unknown-format", f"{file.path.name} is {seen}", fix=f"known chat formats: {known}")
