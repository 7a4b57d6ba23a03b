"""One recording that is to be imported, and lists of many.

A list is a CSV or JSON lines; its columns are the fields of ImportItem; paths are relative to the list's folder:

    chat,video,category,channel
    chats/a.json.gz,videos/a.mp4,Minecraft,somebody
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError

MAX_DURATION_MS = 2**31 - 1  # times are int32 on the recording's clock: 24 days
MAX_SHIFT_MS = 86_400_000  # what chat_store leaves free of that clock for offset_ms


@dataclass(frozen=True, kw_only=True)
class ImportItem:
    """What the user says of one recording.

    chat: the chat file, any known format. video: a text-only recording has none.
    features: precomputed frame features, .npy (N, D) or .npz; then features_clip names the CLIP that made them
        ("ViT-B-32:openai"), and feature_times (.npy of ms), the .npz itself or feature_step_ms gives their times.
    category: the game or topic. channel: "" if unknown. language: ISO 639-1, "" for any.
    offset_ms: added to the chat's times to meet the video's. duration_ms: length, where no video tells it.
    platform, platform_id: who has this recording under which id; otherwise as the chat or `info` says.
    info: a vod.json or yt-dlp info.json; by default the one beside the chat, if there is one.
    """

    chat: Path
    category: str
    video: Path | None = None
    features: Path | None = None
    feature_times: Path | None = None
    feature_step_ms: float | None = None
    features_clip: str = ""
    channel: str = ""
    language: str = "en"
    title: str = ""
    offset_ms: int = 0
    duration_ms: int | None = None
    platform: str | None = None
    platform_id: str | None = None
    info: Path | None = None

    def __post_init__(self) -> None:
        if not self.category.strip():
            raise UsageError(f"{self.chat.name} has no category", fix="name the game or topic, such as 'Minecraft'")
        if self.features is not None and not self.features_clip:
            raise UsageError(f"{self.features.name}: features_clip is missing", fix="name the CLIP: ViT-B-32:openai")
        if self.features is None and (self.feature_times or self.feature_step_ms is not None or self.features_clip):
            raise UsageError(f"{self.chat.name}: features_clip or feature times without features", fix="give features")
        if self.feature_step_ms is not None and not self.feature_step_ms > 0:
            raise UsageError(f"feature_step_ms is {self.feature_step_ms}", fix="milliseconds between frames, > 0")
        if self.duration_ms is not None and not 0 < self.duration_ms <= MAX_DURATION_MS:
            raise UsageError(f"duration_ms is {self.duration_ms}", fix=f"milliseconds, 1 to {MAX_DURATION_MS}")
        if abs(self.offset_ms) > MAX_SHIFT_MS:
            raise UsageError(f"offset_ms is {self.offset_ms}", fix=f"milliseconds, at most a day ({MAX_SHIFT_MS})")
        if self.language and not re.fullmatch("[a-z]{2}", self.language):
            raise UsageError(f"language is {self.language!r}", fix="two letters of ISO 639-1 such as en, or '' for any")

    @property
    def recording_id(self) -> str:
        """The item's name in the ledger; the id of its recording is known only when the chat has been read."""
        if self.platform and self.platform_id:
            return f"{self.platform}-{self.platform_id}"
        place = hashlib.sha256(str(self.chat.absolute()).encode(errors="surrogateescape")).hexdigest()[:8]
        return f"import-{self.chat.name}-{place}"


_FIELDS = {field.name: field for field in dataclasses.fields(ImportItem)}
_PATHS = frozenset({"chat", "video", "features", "feature_times", "info"})
_INTEGERS = frozenset({"offset_ms", "duration_ms"})
_REQUIRED = ("chat", "category")


def read_list(path: Path) -> list[ImportItem]:
    """The items of a CSV (with a header) or JSONL list. Raises UsageError that names the line and the column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no list {path}", fix="check the path") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder, not a list", fix="pass a CSV or JSONL file") from None
    except UnicodeDecodeError:
        raise UsageError(f"the list {path.name} is not UTF-8 text", fix="pass a CSV or JSONL file") from None
    rows = list(_json_rows(path, text) if text.lstrip().startswith("{") else _csv_rows(path, text))
    if not rows:
        raise UsageError(f"the list {path.name} has no recordings", fix="write one line for each recording")
    return [_item(path, number, row) for number, row in rows]


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        _check_names(path, 1, names)
        reader.fieldnames = names
        for row in reader:
            if None in row or None in row.values():
                raise UsageError(f"{path.name}, line {reader.line_num}: {len(names)} fields expected", fix="see line 1")
            yield reader.line_num, {name: value for name, value in row.items() if value.strip()}
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num}: {error}", fix="quote fields as RFC 4180 says") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path.name}, line {number}: not JSON: {error}", fix="one object a line") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path.name}, line {number}: an object expected", fix='{"chat": …, "category": …}')
        _check_names(path, number, list(row))
        yield number, {name: value for name, value in row.items() if value is not None}


def _check_names(path: Path, number: int, names: list[str]) -> None:
    for name in names:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"columns are {', '.join(_FIELDS)}"
            raise UsageError(f"{path.name}, line {number}: unknown column {name!r}", fix=hint)


def _item(path: Path, number: int, row: dict[str, Any]) -> ImportItem:
    place = f"{path.name}, line {number}"
    for name in _REQUIRED:
        if not row.get(name):
            raise UsageError(f"{place}: {name} is missing", fix=f"every recording needs {' and '.join(_REQUIRED)}")
    try:
        return ImportItem(**{name: _value(path, place, name, value) for name, value in row.items()})
    except UsageError as error:
        if error.what.startswith(place):
            raise
        raise UsageError(f"{place}: {error.what}", fix=error.fix) from None


def _value(path: Path, place: str, name: str, value: Any) -> Any:
    if name in _INTEGERS or name == "feature_step_ms":
        try:
            number = float(value)
            if name in _INTEGERS and number != int(number):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise UsageError(f"{place}: {name} is {value!r}", fix="a number of milliseconds") from None
        return int(number) if name in _INTEGERS else number
    if name == "platform_id" and isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise UsageError(f"{place}: {name} is {value!r}", fix="a string")
    return path.parent / value.strip() if name in _PATHS else value.strip()
