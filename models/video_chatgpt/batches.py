"""Clips as prompts of a language model.

    <begin> Video: F F F ... F        one F for each frame that becomes a token: the frame's vector takes its place
    Chat:
    first comment
    latest comment
    Comment:                          the language model goes on with " the answer" and its end token

    prompt_ids int64 (B, P)    FRAME where a frame comes, all but the last token of the prompt, padded on the LEFT
    prompt_mask bool (B, P)    last_prompt_id int64 (B,)

The last token of every prompt is the same; it takes the place of the begin token of the responses. What is written in
chat is plain text to the tokenizer: nobody can end a prompt from inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videochat.commenter import ClipView

from ..batches import Collator
from ..tokenizer import encoder_of
from .config import VideoChatgptConfig

FRAME = -1
ANY_LENGTH = 1_000_000


class Prompts:
    """`encode` and `extra` of a Collator for the tokenizer of a language model."""

    def __init__(self, tokenizer: Any, config: VideoChatgptConfig) -> None:
        self.config = config
        self._plain = encoder_of(tokenizer)
        begin = tokenizer.bos_token_id
        self.head = (*(() if begin is None else (begin,)), *self._ids("Video:"))
        self.chat = self._ids("\nChat:")
        *self.tail, self.last = self._ids("\nComment:")
        self.end = int(tokenizer.eos_token_id)

    def _ids(self, text: str, max_tokens: int = ANY_LENGTH) -> tuple[int, ...]:
        return self._plain(text, (), max_tokens)[1:-1]

    def encode(self, text: str, emotes: tuple[str, ...], max_tokens: int) -> tuple[int, ...]:
        """A response: the last token of the prompt, the text, the end."""
        return (self.last, *self._ids(" " + " ".join([text, *emotes]), max_tokens), self.end)

    def __call__(self, collator: Collator, views: Sequence[ClipView]) -> dict[str, Tensor]:
        rows = [self.prompt(view) for view in views]
        width = max((len(row) for row in rows), default=0)
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=bool)
        for b, row in enumerate(rows):
            ids[b, width - len(row) :] = row
            mask[b, width - len(row) :] = True
        return {
            "prompt_ids": torch.from_numpy(ids),
            "prompt_mask": torch.from_numpy(mask),
            "last_prompt_id": torch.full((len(rows),), self.last, dtype=torch.int64),
        }

    def prompt(self, view: ClipView) -> list[int]:
        """All but its last token, which `encode` puts before a response."""
        num_frames = 0 if view.frames is None else len(view.frames)
        num_frames = min(num_frames, self.config.num_frame_tokens or num_frames)
        ids = [*self.head, *[FRAME] * num_frames, *self.chat]
        for comment in view.context[-self.config.max_context_comments :]:
            ids += self._ids("\n" + " ".join([comment.text, *comment.emotes]), self.config.max_comment_tokens)
        return [*ids, *self.tail]
