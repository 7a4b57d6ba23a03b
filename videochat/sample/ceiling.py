"""The ceiling row of simulated tables: a scorer that knows the true event and how the simulator draws responses.

log P(text | a response, colour of the focal event), and the same without the colour; their difference is the score:
in a group of strings of which each is the truth once, what counts is how much likelier the event makes a text.
No model can do better than a scorer that sees everything; what it lacks to 1 is noise and candidates that share the
true colour. Where chat speaks of nothing that was on screen every text scores 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..commenter import MODELS, ClipScores, ClipView, LoadContext, ModelEntry, TextTable
from ..errors import MissingInput
from . import phrases
from .truth import FocalEvent, focal_events, read_truth
from .world import WorldSpec

NAME = "ceiling"
FLOOR = 1e-12  # probability of words that no simulated response has; given as unlikelier with an event than without
FLOOR_WITH_EVENT = 1e-15


class Ceiling:
    """focal: clip id -> its focal event; table: `phrases.response_table` of the world that made the recordings."""

    name = NAME
    needs: frozenset[str] = frozenset()

    def __init__(self, focal: dict[str, FocalEvent], table: dict[str, dict[str | None, float]]) -> None:
        self.focal = focal
        self.table = table

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        found = []
        for clip, ids in zip(clips, candidates, strict=True):
            event = self.focal.get(clip.clip_id)
            without = np.array([self.log_probability(texts.texts[row], None) for row in ids], dtype=np.float64)
            given = without
            if event is not None:
                given = np.array(
                    [self.log_probability(texts.texts[row], event.colour) for row in ids], dtype=np.float64
                )
            found.append(
                ClipScores(
                    score=given - without,
                    log_likelihood=given,
                    num_tokens=np.ones(len(ids), dtype=np.int32),
                    null_log_likelihood=without,
                )
            )
        return found

    def log_probability(self, text: str, colour: str | None) -> float:
        """log P(words of `text` | a kept response to an event of `colour`); None: whatever the colour."""
        row = self.table.get(phrases.canonical(text))
        if row is None:
            return math.log(FLOOR if colour is None else FLOOR_WITH_EVENT)
        return math.log(row[colour])


def load(context: LoadContext) -> Ceiling:
    """Raises MissingInput on a dataset that is not wholly simulated."""
    recordings = context.workspace.recordings()
    if not context.dataset.simulated or not recordings or not all(r.simulated for r in recordings):
        raise MissingInput(
            "the ceiling is known for simulated data alone", fix="leave out --model ceiling, or use `videochat sample`"
        )
    truth = read_truth(context.workspace, recordings[0])
    spec = WorldSpec(**truth["spec"])
    return Ceiling(focal_events(context.workspace, context.workspace.settings.geometry), phrases.response_table(spec))


MODELS.add(
    NAME,
    ModelEntry(name=NAME, summary="knows the true event and the simulator (simulated data only)", load=load),
)
