"""What a likelihood model learns from: the clips of a split as views with the answers that people gave.

An answer is a response with at least two letters or digits that does not merely repeat the clip's own context
(as PROTOCOL draws its truths). Clips without any are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from videochat.commenter import ClipView, view
from videochat.schema import Clip

from .batches import Collator, empty_view

EVALUATION_RESPONSES = 4  # of each dev clip; the first ones, so that every evaluation reads the same
EVALUATION_CLIPS = 64  # in a batch


@dataclass(frozen=True, eq=False)
class Example:
    view: ClipView
    responses: tuple[str, ...]


def examples_of(clips: Iterable[Clip], *, max_context_comments: int) -> list[Example]:
    """Only what models read is kept in memory: the latest context comments, the frames before the answer."""
    found = []
    for clip in clips:
        said = {" ".join(comment.text.casefold().split()) for comment in clip.context}
        texts = dict.fromkeys(comment.text for comment in clip.responses)
        responses = tuple(text for text in texts if _is_answer(text, said))
        if responses:
            found.append(Example(_latest(view(clip), max_context_comments), responses))
    return found


def _is_answer(text: str, said: set[str]) -> bool:
    return sum(map(str.isalnum, text)) >= 2 and " ".join(text.casefold().split()) not in said


def _latest(clip: ClipView, num_comments: int) -> ClipView:
    if len(clip.context) <= num_comments:
        return clip
    embeddings = None if clip.context_clip is None else clip.context_clip[-num_comments:].copy()
    return dataclasses.replace(clip, context=clip.context[-num_comments:], context_clip=embeddings)


@dataclass(frozen=True, kw_only=True)
class ResponseBatches:
    """Batches for stage 2. responses_per_clip: at most so many, drawn anew each time; the clip is encoded once.

    null_probability: a clip is shown empty so often, so that the likelihood on an empty clip means something.
    """

    examples: Sequence[Example]
    collator: Collator
    responses_per_clip: int
    null_probability: float

    def __call__(self, indices: np.ndarray, random: np.random.Generator) -> dict[str, Tensor]:
        views, texts, owners = [], [], []
        for place, index in enumerate(indices):
            example = self.examples[index]
            views.append(empty_view() if random.random() < self.null_probability else self.shown(example.view, random))
            count = min(self.responses_per_clip, len(example.responses))
            for chosen in sorted(random.choice(len(example.responses), size=count, replace=False)):
                texts.append(example.responses[chosen])
                owners.append(place)
        return self.collator.clips(views) | self.collator.responses(texts, owners)

    def shown(self, clip: ClipView, random: np.random.Generator) -> ClipView:
        """The clip, with its context drawn anew where the collator says so."""
        if not self.collator.draws or not clip.context:
            return clip
        rows = random.integers(len(clip.context), size=self.collator.draws)
        embeddings = None if clip.context_clip is None else clip.context_clip[rows]
        return dataclasses.replace(clip, context=tuple(clip.context[i] for i in rows), context_clip=embeddings)


def dev_loss(model: nn.Module, examples: Sequence[Example], collator: Collator) -> float:
    """Mean negative log-likelihood a token over the first responses of these clips. Call without gradients."""
    device = next(model.parameters()).device
    loss, num_tokens = torch.zeros((), dtype=torch.float64), 0
    for start in range(0, len(examples), EVALUATION_CLIPS):
        part = examples[start : start + EVALUATION_CLIPS]
        texts = [(text, owner) for owner, e in enumerate(part) for text in e.responses[:EVALUATION_RESPONSES]]
        batch: dict[str, Any] = collator.clips([e.view for e in part])
        batch |= collator.responses([text for text, _ in texts], [owner for _, owner in texts])
        summed, count = model(**{name: value.to(device) for name, value in batch.items()})
        loss += summed.double().cpu()
        num_tokens += int(count)
    return float(loss) / max(1, num_tokens)
