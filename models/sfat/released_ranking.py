"""How the released code scores candidates, for whoever wants to see what it does; `bench` ranks by likelihood.

One greedy decode a clip, which no candidate touches: at each step the chosen token is appended, and nothing is masked,
so that the prefix attends to itself in both directions. A candidate's score is the sum over its places of the
log-probability that the decode gave, at that place, to the candidate's token: a unigram at each place (FACTS §3).
Candidates are cut to 5 ids with [CLS] and [SEP]; [SEP] and padding count.

    OneDecode(trained).score(views, candidates, texts)     # a Commenter that scores so
    cut_to(trained, 3)                                     # likelihood, of the first three word pieces alone
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from videochat.commenter import ClipScores, ClipView, TextTable

from ..commenter import LikelihoodCommenter

if TYPE_CHECKING:
    from .model import SfatEncoding, SfatModel

MIN_STEPS = 5  # before that many, [SEP] gives way to the second best (FACTS §1)
CANDIDATE_TOKENS = 5  # [CLS] and [SEP] included (FACTS §1)


@torch.inference_mode()
def free_running(model: SfatModel, encoding: SfatEncoding, num_steps: int) -> tuple[Tensor, Tensor]:
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
def released_scores(
    model: SfatModel, encoding: SfatEncoding, candidates_BKT: Tensor, *, most_tokens: int | None = None
) -> Tensor:
    """Scores (B, K), higher is better. candidates_BKT: int64, [CLS], tokens, [SEP], padding.

    T is at most CANDIDATE_TOKENS, or `most_tokens` where the cut is to be longer than the released one.
    """
    most = CANDIDATE_TOKENS if most_tokens is None else most_tokens
    assert candidates_BKT.shape[2] <= most, "cut the candidates"
    _, logits = free_running(model, encoding, candidates_BKT.shape[2] - 1)
    log_probs_BTV = logits.log_softmax(-1)
    return log_probs_BTV.gather(2, candidates_BKT[:, :, 1:].transpose(1, 2)).sum(1)


class OneDecode:
    """A trained released SFAT that scores as the released evaluation does; a `videochat.commenter.Commenter`.

    max_pieces: word pieces of a candidate that count (3: released); 0: as many as the model was trained on. Every
    candidate is padded to the same length, since padding counts.
    """

    scoring = "one decode"

    def __init__(self, trained: LikelihoodCommenter, *, max_pieces: int = CANDIDATE_TOKENS - 2) -> None:
        self.name = trained.name
        self.needs = trained.needs
        self.checkpoint_digest = trained.checkpoint_digest
        self.seed = trained.seed
        self.trained = trained
        self.max_pieces = max_pieces or trained.collator.max_response_tokens

    def ids(self, text: str) -> list[int]:
        """[CLS], at most max_pieces tokens, [SEP], padding up to max_pieces + 2."""
        collator, config = self.trained.collator, self.trained.model.config
        row = list(collator.encode(text, (), self.max_pieces))
        return row + [config.pad_token_id] * (self.max_pieces + 2 - len(row))

    @torch.inference_mode()
    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        batch = {name: value.to(self.trained.device) for name, value in self.trained.collator.clips(clips).items()}
        encoding = self.trained.model.encode(batch)
        known: dict[int, list[int]] = {row: self.ids(texts.texts[row]) for rows in candidates for row in rows}
        width = max(map(len, candidates), default=0)
        empty = [self.trained.model.config.pad_token_id] * (self.max_pieces + 2)
        ids = [[known[row] for row in rows] + [empty] * (width - len(rows)) for rows in candidates]
        tensor = torch.tensor(ids, dtype=torch.int64, device=self.trained.device)
        scores = released_scores(self.trained.model, encoding, tensor, most_tokens=self.max_pieces + 2)
        found = scores.double().cpu().numpy()
        return [ClipScores(score=row[: len(rows)]) for row, rows in zip(found, candidates, strict=True)]


def cut_to(trained: LikelihoodCommenter, max_pieces: int) -> LikelihoodCommenter:
    """The same model, which scores the likelihood of the first `max_pieces` tokens and an end; 0: the model itself."""
    if not max_pieces:
        return trained
    other = copy.copy(trained)
    other.scoring = f"first {max_pieces}"  # type: ignore[attr-defined]  # for the table
    other.collator = dataclasses.replace(trained.collator, max_response_tokens=max_pieces)
    other._ids, other._null = {}, {}
    return other
