"""What is left of one video when a published data set is read: comments with times, frame vectors, words spoken.

STREAMS.add("livechat", StreamForm(...)) is the registry line of a form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ...errors import BadRecording
from ...registry import Registry
from ..chat_file import ChatFile
from ..json_stream import JsonStream

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(kw_only=True)
class Stream:
    """One video. platform_id: its id there. comments: (ms, text), times on the recording's clock. frames: (features
    (n, D) of any float type, times in ms (n,)) pieces in order of time. transcript: (start_ms, end_ms, text).
    facts: what its recording.json says of the origin."""

    platform_id: str
    category: str
    language: str
    duration_ms: int
    comments: list[tuple[int, str]]
    frames: list[tuple[NDArray[Any], NDArray[np.int64]]] = field(default_factory=list)
    transcript: list[tuple[int, int, str]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StreamForm:
    """read: (files, folder of features or None, oddities to count in) -> streams in order of their ids.

    platform: as recording ids begin. source: paper and repository. unknown: what these files do not hold.
    """

    name: str
    summary: str
    platform: str
    language: str
    source: str
    unknown: str
    read: Callable[[Sequence[Path], Path | None, Counter[str]], Iterator[Stream]]


STREAMS: Registry[StreamForm] = Registry("published form")


_ID = re.compile(r"[\w-][\w.-]{0,79}")


def video_id(value: Any) -> str | None:
    """An id that is a plain file name, from a string or a number; None for anything else."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if _ID.fullmatch(text) else None


def rows_of(path: Path, oddities: Counter[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array or of JSON lines, gzip or not, a megabyte in memory; what is no object is counted.

    Raises BadRecording for a file that is not there, cut off or no JSON.
    """
    file = ChatFile(path)
    stream = JsonStream(file.chunks(), what=path.name)
    for blob in stream.array() if file.head.lstrip().startswith(b"[") else _lines(file):
        try:
            rows = orjson.loads(b"[" + blob + b"]")
        except orjson.JSONDecodeError as error:
            raise BadRecording("invalid-json", f"{path.name} is no JSON: {error}", fix="download it again") from None
        for row in rows:
            if isinstance(row, dict):
                yield row
            else:
                oddities["rows that are no objects"] += 1


def _lines(file: ChatFile) -> Iterator[bytes]:
    """JSON lines, joined by commas, a chunk at a time."""
    rest = b""
    for chunk in file.chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        if found := [line for line in lines if line.strip()]:
            yield b",".join(found)
    if rest.strip():
        yield rest


def load_frames(path: Path, oddities: Counter[str]) -> NDArray[Any] | None:
    """A .npy of (n, D) floats; None, counted, if it is not there or something else. Pickled arrays are not read."""
    if not path.is_file():
        oddities["feature files missing"] += 1
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        found = None
    if found is None or getattr(found, "ndim", 0) != 2 or found.dtype.kind != "f" or not found.size:
        oddities["feature files that are no (frames, D) of floats"] += 1
        return None
    return np.asarray(found)


def texts_of(value: Any, oddities: Counter[str]) -> list[str]:
    """The strings of a list (or one string) that are not empty; the rest is counted."""
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    found = [text for text in values if isinstance(text, str) and text.strip()]
    if lost := len(values) - len(found):
        oddities["comments that are empty or no text"] += lost
    return found
