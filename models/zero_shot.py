"""Zero-shot CLIP: how well does a candidate describe what was on screen? No training, no context.

score = cosine of the candidate's CLIP text embedding with the frames of the clip: with their mean direction, or the
best of them. A clip without frames scores 0 for every candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from videochat.commenter import ClipScores, ClipView, TextTable
from videochat.errors import MissingInput, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOLINGS = ("mean", "max")


class ClipZeroShot:
    """Implements `videochat.commenter.Commenter`. pooling: "mean" (cosine averaged over frames) or "max"."""

    name = "clip-zero-shot"
    needs = frozenset({"frames", "candidate_embeddings"})

    def __init__(self, *, pooling: str = "mean") -> None:
        if pooling not in POOLINGS:
            raise UsageError(f"pooling is {pooling!r}", fix=f"choose one of {', '.join(POOLINGS)}")
        self.pooling = pooling

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        if texts.embeddings is None:
            raise MissingInput("the candidates have no text embeddings", fix="run `videochat candidates` again")
        embeddings = _normalised(np.asarray(texts.embeddings))
        found = []
        for clip, rows in zip(clips, candidates, strict=True):
            if clip.frames is None or not len(clip.frames):
                found.append(ClipScores(score=np.zeros(len(rows))))
                continue
            cosine_NK = _normalised(clip.frames) @ embeddings[list(rows)].T
            found.append(ClipScores(score=cosine_NK.mean(0) if self.pooling == "mean" else cosine_NK.max(0)))
        return found


def _normalised(vectors: NDArray[np.float16]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    lengths: NDArray[np.float64] = np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12)
    return wide / lengths
