"""Ready transcripts: WebVTT, SRT and JSON lines, as segments on the recording's clock.

    read_transcript(Path("twitch-1.vtt"))      # [(start_ms, end_ms, text), ...] in order of time

Times count from the start of the video. JSON lines are {"start": seconds, "end": seconds, "text": ...}, or start_ms and
end_ms in whole milliseconds. A file that breaks its format is a BadRecording with the line in it; nothing is guessed.
Formats: https://www.w3.org/TR/webvtt1/ §4; SRT has no specification.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadRecording

Said = tuple[int, int, str]

SUFFIXES = (".vtt", ".srt", ".jsonl")
MAX_BYTES = 64 * 1024 * 1024  # a day of speech is about 2 MB
_TIME = r"(?:(\d+):)?([0-5]?\d):([0-5]?\d)[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_TIME}\s+-->\s+{_TIME}(?:\s.*)?")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_VTT_OTHER = ("NOTE", "STYLE", "REGION")


def read_transcript(path: Path) -> list[Said]:
    """Segments with words, in order of (start, end). Raises BadRecording "bad-transcript"."""
    lines = _lines(path)
    read = {".vtt": _vtt, ".srt": _srt, ".jsonl": _jsonl}[path.suffix.lower()]
    found = [(start, end, _plain(text)) for start, end, text in read(path.name, lines)]
    return sorted((row for row in found if row[2] and row[0] < row[1]), key=lambda row: row[:2])


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > MAX_BYTES:
        raise _bad(path.name, None, f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _bad(path.name, None, f"it is not UTF-8 text ({error.reason} at byte {error.start})") from None


def _bad(name: str, line: int | None, what: str) -> BadRecording:
    place = name if line is None else f"{name}, line {line}"
    return BadRecording("bad-transcript", f"{place}: {what}", fix="mend the file and run the command again")


def _vtt(name: str, lines: Sequence[str]) -> Iterator[Said]:
    if not lines or not re.match(r"WEBVTT(\s|$)", lines[0]):
        raise _bad(name, 1, "a WebVTT file begins with WEBVTT")
    shown = ""
    for number, block in _blocks(lines[1:], first=2):
        if block[0].split(" ")[0].strip() in _VTT_OTHER:
            continue
        place = next((n for n, line in enumerate(block[:2]) if "-->" in line), None)
        if place is None:
            if number == 2 or all(":" in line or "=" in line for line in block):
                continue  # header lines, such as "Kind: captions"
            raise _bad(name, number, f"{block[0][:40]!r} is no cue")
        start, end = _times(name, number + place, block[place])
        said = [line for line in map(_plain, block[place + 1 :]) if line]
        fresh = said[1:] if said and said[0] == shown else said  # rolling captions show the last line again
        shown = said[-1] if said else shown
        yield start, end, " ".join(fresh)


def _srt(name: str, lines: Sequence[str]) -> Iterator[Said]:
    for number, block in _blocks(lines, first=1):
        place = next((n for n, line in enumerate(block[:2]) if "-->" in line), None)
        if place is None:
            raise _bad(name, number, f"{block[0][:40]!r} is no subtitle: a line such as 00:00:01,000 --> 00:00:02,500")
        start, end = _times(name, number + place, block[place])
        yield start, end, " ".join(block[place + 1 :])


def _jsonl(name: str, lines: Sequence[str]) -> Iterator[Said]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _bad(name, number, "it is not JSON") from None
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise _bad(name, number, 'expected {"start": seconds, "end": seconds, "text": "..."}')
        start, end = (_time_of(name, number, row, key) for key in ("start", "end"))
        yield start, end, text


def _time_of(name: str, number: int, row: dict[str, Any], key: str) -> int:
    scale, value = (1, row[f"{key}_ms"]) if f"{key}_ms" in row else (1000, row.get(key))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(name, number, f"its {key} is {json.dumps(value)[:40]}, not a number of seconds")
    if not 0 <= value * scale < 2**31:
        raise _bad(name, number, f"its {key} {value:g} is outside of any recording")
    return round(value * scale)


def _times(name: str, number: int, line: str) -> tuple[int, int]:
    match = _TIMING.fullmatch(line)
    if not match:
        raise _bad(name, number, f"{line.strip()[:60]!r} is not two times such as 00:00:01.000 --> 00:00:02.500")
    start, end = (_ms(match.groups()[part : part + 4]) for part in (0, 4))
    if max(start, end) >= 2**31:
        raise _bad(name, number, f"{line.strip()[:60]!r} is outside of any recording")
    return start, end


def _ms(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths


def _blocks(lines: Sequence[str], *, first: int) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, with the number of their first line."""
    block: list[str] = []
    for number, line in enumerate([*lines, ""], start=first):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _plain(text: str) -> str:
    """Words without tags, entities, control characters and runs of white space."""
    return " ".join(_CONTROL.sub("", html.unescape(_TAG.sub("", text))).split())
