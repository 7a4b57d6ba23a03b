"""Clips as tensors: what `SfatModel` and its siblings take.

A batch of B clips, with at most N frames and C context comments (the latest ones, in order, the latest last) and U
distinct comments of at most L tokens, each encoded once however often it is repeated:

    comment_ids int64 (U, L)      begin, tokens, end, padding       comment_lengths int64 (U,)
    comment_index int64 (B, C)    rows of comment_ids               comment_mask bool (B, C)
    comment_clip float32 (B, C, D)  CLIP text embeddings            (only where the model needs them)
    frames float32 (B, N, D)      frame_mask bool (B, N)            frame_age int64 (B, N), seconds before now
    focal_mask bool (B, N)        frames of the focal event         (only for oracle pooling)
    and whatever the model's own `extra` adds, batch first

and R responses: response_ids int64 (R, T), response_lengths (R,), response_clip (R,). Places where a mask is False
hold zeros and are never read. Every clip is padded on the right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from videochat.commenter import ClipView
from videochat.schema import Comment

FRAME_STEP_MS = 1_000  # frames are stored at 1 per second (PROTOCOL)
Interval = tuple[int, int]  # [start_ms, end_ms) on the recording's clock


def comment_text(comment: Comment) -> tuple[str, tuple[str, ...]]:
    """What the models read of a comment: its text and its emotes, as a key for caches."""
    return comment.text, comment.emotes


@dataclass(kw_only=True)
class Collator:
    """Makes batches for one model.

    encode: (text, emotes, most tokens) -> token ids with begin and end. needs: of {"frames", "text_embeddings"}.
    focal: clip id -> interval of its focal event, for oracle pooling. extra: (collator, clips) -> more tensors, for a
    model that reads what the others do not. draws: in training a clip's context is so many comments, drawn with
    replacement at each read, as the released SFAT has it; 0: the context as it was said.
    """

    encode: Callable[[str, tuple[str, ...], int], tuple[int, ...]]
    needs: frozenset[str]
    clip_dim: int
    max_context_comments: int
    max_comment_tokens: int
    max_response_tokens: int
    focal: Mapping[str, Interval] | None = None
    extra: Callable[[Collator, Sequence[ClipView]], dict[str, Tensor]] | None = None
    draws: int = 0
    _cache: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = field(default_factory=dict)

    def clips(self, views: Sequence[ClipView]) -> dict[str, Tensor]:
        contexts = [view.context[-self.max_context_comments :] for view in views]
        width = max(1, *(len(context) for context in contexts)) if contexts else 1
        rows: dict[tuple[int, ...], int] = {}
        index = np.zeros((len(views), width), dtype=np.int64)
        mask = np.zeros((len(views), width), dtype=bool)
        for b, context in enumerate(contexts):
            for c, comment in enumerate(context):
                index[b, c] = rows.setdefault(self.comment_ids(comment), len(rows))
            mask[b, : len(context)] = True
        if not rows:
            rows[self.encode("", (), self.max_comment_tokens)] = 0
        ids, lengths = pad(list(rows))
        batch = {
            "comment_index": torch.from_numpy(index),
            "comment_mask": torch.from_numpy(mask),
            "comment_ids": ids,
            "comment_lengths": lengths,
        }
        if "text_embeddings" in self.needs:
            batch["comment_clip"] = self._comment_clip(views, contexts, width)
        if "frames" in self.needs:
            batch |= self._frames(views)
        if self.extra is not None:
            batch |= self.extra(self, views)
        return batch

    def responses(self, texts: Sequence[str], clips: Sequence[int]) -> dict[str, Tensor]:
        """texts: the responses; clips: for each the number of its clip in the batch."""
        ids, lengths = pad([self.response_ids(text) for text in texts])
        return {
            "response_ids": ids,
            "response_lengths": lengths,
            "response_clip": torch.tensor(clips, dtype=torch.int64),
        }

    def response_ids(self, text: str) -> tuple[int, ...]:
        return self.encode(text, (), self.max_response_tokens)

    def comment_ids(self, comment: Comment) -> tuple[int, ...]:
        key = comment_text(comment)
        if key not in self._cache:
            self._cache[key] = self.encode(*key, self.max_comment_tokens)
        return self._cache[key]

    def _comment_clip(self, views: Sequence[ClipView], contexts: Sequence[Sequence[Comment]], width: int) -> Tensor:
        out = np.zeros((len(views), width, self.clip_dim), dtype=np.float32)
        for b, (view, context) in enumerate(zip(views, contexts, strict=True)):
            if context and view.context_clip is not None:
                out[b, : len(context)] = view.context_clip[-len(context) :]
        return torch.from_numpy(out)

    def _frames(self, views: Sequence[ClipView]) -> dict[str, Tensor]:
        counts = [0 if view.frames is None else len(view.frames) for view in views]
        width = max(1, *counts) if counts else 1
        frames = np.zeros((len(views), width, self.clip_dim), dtype=np.float32)
        age = np.zeros((len(views), width), dtype=np.int64)
        focal = np.zeros((len(views), width), dtype=bool)
        for b, (view, count) in enumerate(zip(views, counts, strict=True)):
            if count:
                assert view.frames is not None and view.frame_ms is not None
                frames[b, :count] = view.frames
                age[b, :count] = (view.now_ms - 1 - view.frame_ms) // FRAME_STEP_MS
                if self.focal is not None and view.clip_id in self.focal:
                    start_ms, end_ms = self.focal[view.clip_id]
                    focal[b, :count] = (view.frame_ms >= start_ms) & (view.frame_ms < end_ms)
        batch = {
            "frames": torch.from_numpy(frames),
            "frame_mask": torch.from_numpy(np.arange(width) < np.array(counts)[:, None]),
            "frame_age": torch.from_numpy(age),
        }
        if self.focal is not None:
            batch["focal_mask"] = torch.from_numpy(focal)
        return batch


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of token ids as int64 (rows, longest), zero-padded on the right, and their lengths."""
    lengths = [len(row) for row in rows]
    out = np.zeros((len(rows), max(lengths)), dtype=np.int64)
    for row, target in zip(rows, out, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(out), torch.tensor(lengths, dtype=torch.int64)


def empty_view(like: ClipView | None = None) -> ClipView:
    """A clip without context, frames or transcript: what the null likelihood is asked of."""
    return ClipView(
        clip_id="",
        recording_id="",
        channel_id="",
        category="",
        language="" if like is None else like.language,
        start_ms=0,
        now_ms=0,
        context=(),
    )
