"""AcFun's danmaku JSON: [{"c": "seconds,color,mode,size,user,date[,id]", "m": "text"}, …], or three such arrays in one.

The user "guest" is nobody in particular: such rows have no author. The last parameter is no id: it is the date and a
random digit, and different comments of one second share it (24 pairs in a real file of 2,146).
"""

from __future__ import annotations

from ..schema import RawMessage
from .chat_file import ChatFile
from .danmaku import danmaku_fragments
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, seconds_to_ms
from .json_records import Record, read_messages

GUEST = "guest"


def convert(item: Record, notes: Notes) -> RawMessage:
    """One comment as a RawMessage. Raises KeyError, TypeError, ValueError or IndexError if it is malformed."""
    values = item["c"].split(",")
    if type(item["m"]) is not str:
        raise TypeError(f"text {item['m']!r}")
    user = values[4] if values[4] and values[4] != GUEST else None
    return {
        "id": None,
        "offset_ms": seconds_to_ms(float(values[0])),
        "author": user,
        "author_id": user,
        "badges": [],
        "fragments": danmaku_fragments(values[2], item["m"], notes),
    }


def read(file: ChatFile, notes: Notes) -> Batches:
    return read_messages(file, notes, convert)


CHAT_FORMATS.add(
    "acfun-json",
    ChatFormat(
        name="acfun-json",
        summary="AcFun JSON",
        platform="acfun",
        recognise=lambda _, record: record is not None and {"c", "m"} <= record.keys(),
        read=read,
    ),
)
