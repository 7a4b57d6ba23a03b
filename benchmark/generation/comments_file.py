"""Comments that any code wrote: JSON lines with clip_id and comment, as `videochat generate --json` rows have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videochat.errors import MissingInput, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = 'write one line a clip: {"clip_id": "...", "comment": "..."}'


def read_comments(path: Path, clip_ids: Sequence[str]) -> list[str]:
    """The comments of `clip_ids`, in their order; comments of other clips are passed over.

    Raises MissingInput for an absent file or clips without a comment, UsageError for a line that is something else or
    a clip that comes twice.
    """
    if not path.is_file():
        raise MissingInput(f"no comments at {path}", fix=FORM)
    found: dict[str, str] = {}
    for number, row in _rows(path):
        clip_id, comment = (row.get(name) if isinstance(row, dict) else None for name in ("clip_id", "comment"))
        if not isinstance(clip_id, str) or not isinstance(comment, str):
            raise UsageError(f"{path}, line {number}: no clip_id and comment", fix=FORM)
        if not comment.isascii() and comment.encode(errors="replace").decode() != comment:
            raise UsageError(f"{path}, line {number}: the comment holds half a character", fix="write it as UTF-8")
        if clip_id in found:
            raise UsageError(f"{path}, line {number}: clip {clip_id} comes twice", fix="one comment a clip")
        found[clip_id] = comment
    if missing := [clip_id for clip_id in clip_ids if clip_id not in found]:
        raise MissingInput(f"{path} has no comment for {len(missing)} clips, {missing[0]} first", fix=FORM)
    return [found[clip_id] for clip_id in clip_ids]


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            if lines.read(1) == "[":
                lines.seek(0)
                yield from enumerate(json.load(lines), start=1)
                return
            lines.seek(0)
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, or of a number with thousands of digits
        raise UsageError(f"{path} is no JSON: {error}", fix=FORM) from None


def write_comments(path: Path, clip_ids: Sequence[str], comments: Sequence[str]) -> None:
    from videochat.files import write_text

    lines = [
        json.dumps({"clip_id": clip_id, "comment": comment}, ensure_ascii=False)
        for clip_id, comment in zip(clip_ids, comments, strict=True)
    ]
    write_text(path, "\n".join(lines) + "\n")
