"""Decoding that always says something: no special token, no empty comment, whatever the method.

    rule = SaysSomething(tokenizer, start=1, max_new_tokens=20)
    model.generate(..., logits_processor=LogitsProcessorList([rule]))

A model that was trained little may put its end token, or a space, first. Until a comment shows a character the end is
therefore out of reach, and at the last chance only tokens that show one are left. A byte-level tokenizer spells rare
characters in several tokens; one that was cut off shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CUT_OFF = "\ufffd"  # what a decoder shows of an incomplete character


def shown(text: str) -> str:
    """A decoded comment as people see it: one line, no control characters, no rest of a character."""
    kept = "".join(" " if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in text.replace(CUT_OFF, ""))
    return " ".join(kept.split())


class SaysSomething(LogitsProcessor):
    """start: tokens of `input_ids` before the comment; the end token is any of `eos`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, start: int, max_new_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.start, self.max_new_tokens = start, max_new_tokens
        self.eos = int(tokenizer.eos_token_id)
        self.special = sorted(set(tokenizer.all_special_ids) - {self.eos})
        self._visible: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        scores[:, [i for i in self.special if i < scores.shape[1]]] = -torch.inf
        said = self.tokenizer.batch_decode(input_ids[:, self.start :], skip_special_tokens=True)
        silent = torch.tensor([not shown(text) for text in said], device=scores.device)
        scores[silent, self.eos] = -torch.inf
        if silent.any() and input_ids.shape[1] - self.start >= self.max_new_tokens - 1:
            scores[silent.nonzero(), self._dark(scores)] = -torch.inf
        return scores

    def _dark(self, scores: Tensor) -> Tensor:
        """Tokens that show nothing by themselves."""
        if self._visible is None:
            single = self.tokenizer.batch_decode([[i] for i in range(scores.shape[1])], skip_special_tokens=True)
            dark = [i for i, text in enumerate(single) if not shown(text)]
            self._visible = torch.tensor(dark, dtype=torch.int64)
        return self._visible.to(scores.device)


def method_options(tokenizer: Any, *, max_new_tokens: int, seed: int | None, options: dict[str, Any]) -> Any:
    """A GenerationConfig: greedy, sampled where `seed` is given, beams by options. Seeds torch for sampling."""
    from transformers import GenerationConfig

    if seed is not None:
        torch.manual_seed(seed)
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=seed is not None,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        **options,
    )


def comments_of(tokenizer: Any, ids: Tensor | Sequence[Sequence[int]]) -> list[str]:
    return [shown(text) for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
