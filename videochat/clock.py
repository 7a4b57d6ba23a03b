"""Time: integer milliseconds from the start of a recording, half-open intervals, and the clip grid.

Media timestamps are rational until they cross `to_ms`. Clips tile a recording from 0 (PROTOCOL v1): with the
default geometry a clip starting at s shows context [s, s + 20 s) and answers [s + 20 s, s + 30 s).

    >>> list(ClipGeometry().starts(95_000))
    [0, 30000, 60000]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from .errors import UsageError


def to_ms(seconds: Fraction | float | int) -> int:
    """Whole milliseconds, floored: the frame shown at `to_ms(t)` has never a later timestamp than t."""
    return int(Fraction(seconds) * 1000 // 1)


def format_ms(time_ms: int) -> str:
    """1234567 -> "0:20:34"; negative times keep their sign."""
    sign = "-" if time_ms < 0 else ""
    seconds = abs(time_ms) // 1000
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def parse_ms(text: str) -> int:
    """ "12:30", "90:00", "1:02:03.5" or "95" (seconds) -> milliseconds. Raises UsageError on anything else, such as
    "12:75": what follows a colon is below 60."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", text.strip())
    hours, minutes, seconds = match.groups() if match else (None, None, "0")
    past_sixty = (minutes and Fraction(seconds) >= 60) or (hours and int(minutes or 0) >= 60)
    if not match or past_sixty:
        raise UsageError(f"{text!r} is not a time", fix="write seconds, mm:ss or h:mm:ss")
    return to_ms(Fraction(seconds) + 60 * int(minutes or 0) + 3600 * int(hours or 0))


@dataclass(frozen=True, kw_only=True)
class ClipGeometry:
    """How a recording is cut into clips. All values in milliseconds; the defaults are PROTOCOL v1's."""

    clip_ms: int = 30_000
    context_ms: int = 20_000  # context is [start, start + context_ms), responses [start + context_ms, start + clip_ms)
    frames_before_ms: int = 10_000  # a shard row stores frames of [start - frames_before_ms, start + clip_ms)
    frame_step_ms: int = 1_000

    def __post_init__(self) -> None:
        if not 0 < self.context_ms < self.clip_ms or self.frames_before_ms < 0 or self.frame_step_ms <= 0:
            raise UsageError(f"impossible clip geometry {self}", fix="0 < context_ms < clip_ms, frame_step_ms > 0")
        if self.clip_ms % self.frame_step_ms or self.frames_before_ms % self.frame_step_ms:
            raise UsageError(f"clip geometry {self} is off its frame grid", fix="use multiples of frame_step_ms")

    def starts(self, duration_ms: int) -> Iterator[int]:
        """Starts of the whole clips in a recording of `duration_ms`; an incomplete tail is dropped."""
        return iter(range(0, duration_ms - self.clip_ms + 1, self.clip_ms))
