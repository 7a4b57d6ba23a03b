"""A clip of one split found again in another: what the audits for near-duplicate chat and video report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

EARLIER = {"dev": ("train",), "test": ("train", "dev")}  # where clips of a split must not occur
MIN_CLIPS = 2  # of one recording in one other: a minute; a lone clip may be the same advertisement


@dataclass(frozen=True, kw_only=True)
class Match:
    """Clip `clip_id` of `recording_id` in `split` stands in the recording `other` of another split.

    share: of its shingles (chat), or the mean cosine of its seconds (video). shift_ms: time in `other` minus time in
    its own recording, None for chat.
    """

    clip_id: str
    recording_id: str
    other: str
    split: str
    share: float
    shift_ms: int | None = None


def leaking(matches: Sequence[Match]) -> list[tuple[str, str, int]]:
    """(recording, other, number of clips) of the pairs that share at least MIN_CLIPS clips, most clips first."""
    clips = {(match.recording_id, match.other, match.clip_id) for match in matches}
    counts = Counter((recording, other) for recording, other, _ in clips)
    pairs = [(a, b, count) for (a, b), count in counts.items() if count >= MIN_CLIPS]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))
