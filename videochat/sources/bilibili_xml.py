"""Bilibili's danmaku XML: <i><chatid>…</chatid><d p="seconds,mode,size,color,date,pool,user,row">text</d>…</i>

Read by expat, a piece at a time. The file is not trusted: a DOCTYPE or an entity declaration is refused before
anything is expanded. Control characters that XML forbids, common in old dumps, become spaces and are counted. Rows
are in the platform's order, not in order of time. The user is a hash, used as name and id.
"""

from __future__ import annotations

from typing import NoReturn
from xml.parsers import expat

from ..errors import BadRecording
from ..schema import RawMessage
from .chat_file import ChatFile
from .danmaku import danmaku_fragments
from .formats import CHAT_FORMATS, Batches, ChatFormat, Notes, seconds_to_ms
from .json_stream import MAX_ELEMENT_BYTES

_FORBIDDEN = bytes(code for code in range(0x20) if code not in b"\t\n\r")
_SPACES = bytes.maketrans(_FORBIDDEN, b" " * len(_FORBIDDEN))


class _Reader:
    """The expat handlers; `batch` gathers the messages since it was last emptied."""

    def __init__(self, file: ChatFile, notes: Notes) -> None:
        self.file = file
        self.notes = notes
        self.batch: list[RawMessage] = []
        self.parameters: str | None = None  # of the open <d>
        self.text: list[str] = []
        self.size = 0
        self.depth = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.EntityDeclHandler = self.refuse

    def invalid(self, why: str) -> BadRecording:
        return BadRecording("invalid-xml", f"{self.file.path.name} is not valid XML: {why}", fix="fetch the chat again")

    def refuse(self, *_: object) -> NoReturn:
        raise BadRecording(
            "invalid-xml",
            f"{self.file.path.name} declares a DOCTYPE or an entity, which danmaku never does",
            fix="fetch the chat again",
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.depth == 0 and name != "i":
            raise BadRecording(
                "invalid-xml",
                f"{self.file.path.name} is not danmaku: its root is <{name[:40]}>, <i> expected",
                fix="pass the XML that holds the comments",
            )
        self.depth += 1
        self.text, self.size = [], 0
        if name == "d":
            self.parameters = attributes.get("p", "")

    def characters(self, text: str) -> None:
        self.text.append(text)
        self.size += len(text)
        if self.size > MAX_ELEMENT_BYTES:
            raise BadRecording("oversized-message", f"{self.file.path.name} has one comment of more than 64 MiB")

    def end(self, name: str) -> None:
        self.depth -= 1
        text = "".join(self.text)
        if name == "chatid" and text.strip().isdecimal() and text.strip("0 "):
            self.notes.platform_ids.add(text.strip())
        if name != "d" or self.parameters is None:
            return
        parameters, self.parameters = self.parameters, None
        try:
            self.batch.append(_message(parameters, text, self.notes))
        except (ValueError, TypeError, IndexError):
            self.notes.oddities["malformed-message"] += 1


def _message(parameters: str, text: str, notes: Notes) -> RawMessage:
    values = parameters.split(",")
    mode = values[1]
    user = values[6] if len(values) > 6 and values[6] else None
    return {
        "id": values[7] if len(values) > 7 and values[7] else None,
        "offset_ms": seconds_to_ms(float(values[0])),
        "author": user,
        "author_id": user,
        "badges": [],
        "fragments": danmaku_fragments(mode, text, notes),
    }


def read(file: ChatFile, notes: Notes) -> Batches:
    """Batches of messages. Raises BadRecording("invalid-xml") with the line and column of what is wrong."""
    reader = _Reader(file, notes)
    try:
        for chunk in file.chunks():
            if forbidden := len(chunk) - len(chunk.translate(None, _FORBIDDEN)):
                notes.oddities["control-character"] += forbidden
                chunk = chunk.translate(_SPACES)
            reader.parser.Parse(chunk, False)
            yield reader.batch
            reader.batch = []
        reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise reader.invalid(
            f"{expat.ErrorString(error.code)} in line {error.lineno}, column {error.offset + 1}"
        ) from None
    except LookupError:
        raise reader.invalid("it declares an unknown encoding") from None
    yield reader.batch


CHAT_FORMATS.add(
    "bilibili-xml",
    ChatFormat(
        name="bilibili-xml",
        summary="Bilibili XML",
        platform="bilibili",
        recognise=lambda file, _: file.head.lstrip().startswith(b"<") and "HTML" not in file.seen(),
        read=read,
    ),
)
