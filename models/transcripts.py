"""What was said in a clip, as tokens: the transcript segments that a model may see, joined, the latest tokens kept.

collator.extra = partial(transcript_tensors, most=98)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from videochat.commenter import ClipView

from .batches import Collator, pad

NO_LIMIT = 1_000_000  # tokens; a transcript is cut from the left, comments from the right


def transcript_text(view: ClipView) -> str:
    return " ".join(segment.text for segment in view.transcript)


def transcript_tensors(collator: Collator, views: Sequence[ClipView], *, most: int) -> dict[str, Tensor]:
    """transcript_ids int64 (B, L): begin, the latest tokens, end; transcript_lengths (B,); transcript_mask bool (B, 1):
    whether anything was said."""
    rows = []
    for view in views:
        begin, *tokens, end = collator.encode(transcript_text(view), (), NO_LIMIT)
        rows.append((begin, *tokens[-most:], end))
    ids, lengths = pad(rows)
    return {"transcript_ids": ids, "transcript_lengths": lengths, "transcript_mask": lengths[:, None] > 2}
