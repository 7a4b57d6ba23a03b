"""The ledger: one JSON line for every attempt of every recording at every step, never rewritten.

ledger.add(step="clean", recording_id="twitch-1", status="failed", error_class="bad-chat", reason="...")
ledger.latest("clean")["twitch-1"].status
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from . import __version__

STATUSES = ("ok", "current", "skipped", "partial", "failed")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """status: ok (made), current (nothing to do), skipped (not applicable, with reason), partial (made and kept,
    but something is known to be missing), failed."""

    step: str
    recording_id: str
    status: str
    error_class: str | None = None
    reason: str | None = None
    seconds: float = 0.0
    counts: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    at: str = ""  # UTC, ISO 8601


_FIELDS = tuple(field.name for field in fields(Attempt))


class Ledger:
    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, attempt: Attempt) -> None:
        """Append one line; safe beside other writers. `at` is filled in."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = json.dumps(asdict(attempt) | {"at": attempt.at or now}, ensure_ascii=False) + "\n"
        with self.path.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if handle.seek(0, os.SEEK_END) and handle.seek(-1, os.SEEK_END) is not None and handle.read(1) != b"\n":
                line = "\n" + line  # a crash tore the last line: do not write on it
            handle.write(line.encode())

    def __iter__(self) -> Iterator[Attempt]:
        """All attempts in order. A line torn by a crash is passed over; what a newer version adds is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as handle:
            for line in handle:
                try:
                    value = json.loads(line)
                    yield Attempt(**{name: value[name] for name in _FIELDS if name in value})
                except (ValueError, TypeError):
                    continue

    def latest(self, step: str) -> dict[str, Attempt]:
        """The last attempt of each recording at `step`; "current" does not hide the attempt that it repeats."""
        found: dict[str, Attempt] = {}
        for attempt in self:
            if attempt.step == step and not (attempt.status == "current" and attempt.recording_id in found):
                found[attempt.recording_id] = attempt
        return found
