"""How the released code scores candidates, for whoever wants to see what it does; `bench` ranks by likelihood.

One greedy decode a clip, which no candidate touches: at each step the chosen token is appended, and nothing is masked,
so that the prefix attends to itself in both directions. A candidate's score is the sum over its places of the
log-probability that the decode gave, at that place, to the candidate's token: a unigram at each place (FACTS §3).
Candidates are cut to 5 ids with [CLS] and [SEP]; [SEP] and padding count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .model import SfatReleasedEncoding, SfatReleasedModel

MIN_STEPS = 5  # before that many, [SEP] gives way to the second best (FACTS §1)
CANDIDATE_TOKENS = 5  # [CLS] and [SEP] included (FACTS §1)


@torch.inference_mode()
def free_running(model: SfatReleasedModel, encoding: SfatReleasedEncoding, num_steps: int) -> tuple[Tensor, Tensor]:
    """The released greedy decode: chosen tokens (B, num_steps) and the logits behind them (B, num_steps, V).

    [SEP] gives way to the second best in the first MIN_STEPS steps, a second [CLS] to the third best; it never stops.
    """
    config = model.config
    assert encoding.last_hidden_state is not None
    num_clips, device = len(encoding.last_hidden_state), encoding.last_hidden_state.device
    ids = torch.full((num_clips, 1), int(config.bos_token_id), device=device)
    steps = []
    for step in range(num_steps):
        logits = model.logits(encoding, ids, causal=False)[:, -1]
        best, second, third = logits.topk(3).indices.unbind(1)
        chosen = torch.where((best == config.eos_token_id) & (step < MIN_STEPS), second, best)
        chosen = torch.where(chosen == config.bos_token_id, third, chosen)
        steps.append(logits)
        ids = torch.cat([ids, chosen[:, None]], 1)
    return ids[:, 1:], torch.stack(steps, 1)


@torch.inference_mode()
def released_scores(model: SfatReleasedModel, encoding: SfatReleasedEncoding, candidates_BKT: Tensor) -> Tensor:
    """Scores (B, K), higher is better. candidates_BKT: int64, [CLS], tokens, [SEP], padding; T is CANDIDATE_TOKENS."""
    assert candidates_BKT.shape[2] <= CANDIDATE_TOKENS, "cut the candidates"
    _, logits = free_running(model, encoding, candidates_BKT.shape[2] - 1)
    log_probs_BTV = logits.log_softmax(-1)
    return log_probs_BTV.gather(2, candidates_BKT[:, :, 1:].transpose(1, 2)).sum(1)
