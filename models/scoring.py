"""Log-likelihoods of candidate comments: each clip encoded once, all its candidates on one query axis.

What is shared (FACTS §7): the encoding of the clip, the keys and values of its memories for every layer; candidates
are packed by length without padding; only real tokens reach the output layer.

    log_likelihood, num_tokens = candidate_log_likelihoods(model, collator, views, texts)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from videochat.commenter import ClipView

from .batches import Collator, pad

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTPUT_TOKENS = 1024  # tokens through the output layer at once: 200 MB of logits at a vocabulary of 50,000
BATCH_TOKENS = 16_384  # candidate tokens in one forward pass
BATCH_CLIPS = 64


class LikelihoodModel(Protocol):
    """What a model offers to be scored here."""

    def encode(self, batch: dict[str, Tensor]) -> Any: ...

    def token_log_probs(
        self,
        encoding: Any,
        response_ids: Tensor,
        response_lengths: Tensor,
        response_clip: Tensor,
        *,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor]: ...


@torch.inference_mode()
def candidate_log_likelihoods(
    model: LikelihoodModel,
    collator: Collator,
    views: Sequence[ClipView],
    candidates: Sequence[Sequence[tuple[int, ...]]],
    *,
    device: torch.device | str = "cpu",
) -> list[NDArray[np.float64]]:
    """candidates: for each clip the token ids of its candidates, begin and end included.

    Returns for each clip the summed log-probabilities float64 (K,), end-of-sequence included; batching changes them
    only by float32 rounding.
    """
    results: list[NDArray[np.float64]] = []
    for start, end in batches_of([sum(map(len, rows)) for rows in candidates]):
        batch = {k: v.to(device) for k, v in collator.clips(views[start:end]).items()}
        rows = [row for clip in candidates[start:end] for row in clip]
        counts = [len(clip) for clip in candidates[start:end]]
        if not rows:
            results += [np.zeros(0) for _ in counts]
            continue
        ids, lengths = pad(rows)
        owner = torch.from_numpy(np.repeat(np.arange(end - start), counts))
        log_probs, response = model.token_log_probs(
            model.encode(batch), ids.to(device), lengths.to(device), owner.to(device), chunk=OUTPUT_TOKENS
        )
        sums = np.bincount(response.cpu().numpy(), weights=log_probs.double().cpu().numpy(), minlength=len(rows))
        results += np.split(sums, np.cumsum(counts)[:-1])
    return results


def batches_of(num_tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Cut clips with so many candidate tokens each into runs [start, end) of bounded size, at least one clip each."""
    runs, start, total = [], 0, 0
    for index, tokens in enumerate(num_tokens):
        if index > start and (total + tokens > BATCH_TOKENS or index - start >= BATCH_CLIPS):
            runs.append((start, index))
            start, total = index, 0
        total += tokens
    return [*runs, (start, len(num_tokens))] if len(num_tokens) else []
