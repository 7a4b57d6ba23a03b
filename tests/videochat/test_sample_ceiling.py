"""The ceiling: right on simulated data, refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from videochat.commenter import MODELS, ClipView, LoadContext, TextTable
from videochat.dataset import Dataset
from videochat.errors import MissingInput
from videochat.sample.ceiling import Ceiling, load
from videochat.sample.phrases import response_table
from videochat.sample.truth import FocalEvent
from videochat.sample.world import WorldSpec
from videochat.workspace import Workspace

TEXTS = ("it was blue", "Blue!!", "it was red", "lol", "look at that key", "SOOO blue ngl", "")


def _score(focal: dict[str, FocalEvent]) -> np.ndarray:
    clip = ClipView(
        clip_id="r_0", recording_id="r", channel_id="c", category="Art", language="en", start_ms=0, now_ms=20_000,
        context=(),
    )  # fmt: skip
    ceiling = Ceiling(focal, response_table(WorldSpec()))
    scores = ceiling.score([clip], [range(len(TEXTS))], TextTable(TEXTS, TEXTS))[0]
    assert scores.log_likelihood is not None
    assert scores.null_log_likelihood is not None
    assert np.array_equal(scores.score, scores.log_likelihood - scores.null_log_likelihood)
    assert np.isfinite(scores.score).all()
    return scores.score


def test_the_colour_of_the_event_is_favoured() -> None:
    event = FocalEvent(clip_id="r_0", start_ms=0, end_ms=1, object="key", colour="blue", in_window=True)
    score = _score({"r_0": event})
    assert score[0] == pytest.approx(score[1])
    assert score[0] == pytest.approx(score[5])
    assert score[0] > score[3] > score[2] > score[4]  # right colour, generic, wrong colour, no response at all
    assert score[3] == pytest.approx(0)
    assert score[4] == score[6]


def test_without_an_event_nothing_is_known() -> None:
    assert (_score({}) == 0).all()


def test_it_is_a_model_and_refuses_what_is_not_simulated(tmp_path: Path, dummies: ModuleType) -> None:
    assert MODELS["ceiling"].train is None
    dataset: Dataset = dummies.make_dataset(tmp_path / "real", simulated=False)
    workspace = Workspace.open(tmp_path / "ws", create=True)
    context = LoadContext(workspace=workspace, dataset=dataset, checkpoint=tmp_path / "none")
    with pytest.raises(MissingInput, match="simulated"):
        load(context)
