"""What Bilibili's and AcFun's comments share: comma-joined parameters, and comments that are drawings or programs.

Mode 7 comments are placed by a small JSON program that contains the text; modes 8 and 9 are scripts, not speech: they
are kept as rows with no text and counted.
"""

from __future__ import annotations

import json
from typing import Any

from .formats import Notes

PLACED_MODE = "7"
SCRIPT_MODES = frozenset({"8", "9"})


def danmaku_fragments(mode: str, text: str, notes: Notes) -> list[tuple[str, str | None]]:
    """The text that a viewer reads, as one fragment; none for scripts and blanks.

    mode: the platform's display mode. A mode-7 comment whose program cannot be read keeps it as its text; counted.
    """
    if mode in SCRIPT_MODES:
        notes.oddities["script-comment"] += 1
        return []
    if mode == PLACED_MODE:
        notes.oddities["placed-comment"] += 1
        try:
            text = _placed_text(json.loads(text, strict=False))
        except (ValueError, KeyError, IndexError, RecursionError):
            notes.oddities["placed-comment-unreadable"] += 1
    if not text.strip():
        return []
    return [(text, None)]


def _placed_text(program: Any) -> str:
    """Bilibili: [x, y, opacity, seconds, text, …]; AcFun: {"n": text, …}."""
    if isinstance(program, list):
        return str(program[4])
    if isinstance(program, dict):
        return str(program["n"])
    raise ValueError("no program")
