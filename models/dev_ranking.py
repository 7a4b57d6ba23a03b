"""How well a model ranks the dev split, for `select=mrr` and `r1`: candidate sets of dev's own answers alone.

    rank = DevRanking(examples, collator)
    rank(model)                       # MRR, in (0, 1]; DevRanking(..., measure="r1"): R@1, in [0, 1]

As in protocol v1, GROUP clips rank the same GROUP answers, each of which is the answer of one of them, so a model that
ignores the clip is at chance. What is ranked by is the log-likelihood beyond that on an empty clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .batches import Collator, empty_view
from .examples import Example
from .scoring import candidate_log_likelihoods

GROUP = 10  # PROTOCOL "Official number": K = 10


class DevRanking:
    """measure: "mrr" or "r1". groups: for each the clips (their numbers) and the answers, the i-th answer being the
    i-th clip's own."""

    def __init__(self, examples: Sequence[Example], collator: Collator, *, measure: str = "mrr") -> None:
        self.examples, self.collator, self.measure = examples, collator, MEASURES[measure]
        self.groups = groups_of(examples)

    def __call__(self, model: nn.Module) -> float:
        """The mean of the measure over the clips, ties by their expectation. The caller has set eval mode."""
        device = next(model.parameters()).device
        model_: Any = model
        found: list[float] = []
        for clips, answers in self.groups:
            ids = [self.collator.response_ids(text) for text in answers]
            views = [self.examples[index].view for index in clips]
            with torch.no_grad():
                rows = candidate_log_likelihoods(model_, self.collator, views, [ids] * len(views), device=device)
                null = candidate_log_likelihoods(model_, self.collator, [empty_view()], [ids], device=device)[0]
            found += [self.measure(row - null, truth) for truth, row in enumerate(rows)]
        return float(np.mean(found))


def groups_of(examples: Sequence[Example]) -> list[tuple[list[int], list[str]]]:
    """Clips in their order, GROUP at a time, each with its first answer that no other of the group gives; the last
    group may be smaller, a clip by itself is left out."""
    groups: list[tuple[list[int], list[str]]] = []
    clips: list[int] = []
    answers: dict[str, str] = {}
    for index, example in enumerate(examples):
        own = next((t for t in example.responses if " ".join(t.casefold().split()) not in answers), None)
        if own is None:
            continue
        clips.append(index)
        answers[" ".join(own.casefold().split())] = own
        if len(clips) == GROUP:
            groups.append((clips, list(answers.values())))
            clips, answers = [], {}
    if len(clips) > 1:
        groups.append((clips, list(answers.values())))
    return groups


def reciprocal_rank(scores: np.ndarray, truth: int) -> float:
    """E[1/rank] of the truth under random order of ties: the mean of 1/r over the ranks that it shares."""
    better, equal = int((scores > scores[truth]).sum()), int((scores == scores[truth]).sum())
    return float(np.mean(1.0 / np.arange(better + 1, better + equal + 1)))


def first_place(scores: np.ndarray, truth: int) -> float:
    """The probability that the truth is first under random order of ties."""
    if (scores > scores[truth]).any():
        return 0.0
    return 1.0 / int((scores == scores[truth]).sum())


MEASURES: dict[str, Callable[[np.ndarray, int], float]] = {"mrr": reciprocal_rank, "r1": first_place}
