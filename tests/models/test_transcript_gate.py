"""The stream of the streamer's words behind a gate: nothing said changes nothing, and what the gate does is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat.commenter import MODELS, LoadContext
from videochat.errors import MissingInput, UsageError
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.workspace import Workspace

AUDIO = {"pooling": "semantic", "transcript": "scalar"}


def silent(views: Any) -> Any:
    return [dataclasses.replace(view, transcript=()) for view in views]


@pytest.mark.parametrize("kind", ["open", "scalar", "position"])
def test_where_nothing_was_said_it_is_sfat_without_the_stream(
    make_sfat: Callable[..., Any], views: Any, texts: Any, kind: str
) -> None:
    import torch

    plain = make_sfat(seed=3)
    audio = make_sfat(seed=4, transcript=kind)
    missing, unknown = audio.model.load_state_dict(plain.model.state_dict(), strict=False)
    assert not unknown
    assert all(".2." in name or "gates" in name or name.startswith("transcript_norm") for name in missing)
    with torch.no_grad():
        for gate in audio.model._gates():
            if gate.bias is not None:
                gate.bias.fill_(1.0)  # wide open
    rows = [[0, 1, 2, 3]] * len(views)
    without = plain.score(views, rows, texts)
    for left, right in zip(without, audio.score(silent(views), rows, texts), strict=True):
        np.testing.assert_array_equal(left.score, right.score)
    spoken = audio.score(views, rows, texts)
    changed = [not np.array_equal(a.score, b.score) for a, b in zip(without, spoken, strict=True)]
    assert changed == [bool(view.transcript) for view in views]


def test_a_closed_gate_lets_nothing_in(make_sfat: Callable[..., Any], views: Any, texts: Any) -> None:
    import torch

    audio = make_sfat(**AUDIO)
    with torch.no_grad():
        for gate in audio.model._gates():
            gate.bias.fill_(-10.0)
    rows = [[0, 1, 2, 3]] * len(views)
    for left, right in zip(audio.score(silent(views), rows, texts), audio.score(views, rows, texts), strict=True):
        np.testing.assert_allclose(left.score, right.score, atol=1e-5)


def test_the_gate_is_reported_for_each_clip(make_sfat: Callable[..., Any], views: Any) -> None:
    audio = make_sfat(**AUDIO)
    found = audio.gates(views, ["red one"] * len(views))
    assert found == [0.5 if view.transcript else 0.0 for view in views]  # half open before any training
    by_position = make_sfat(pooling="semantic", transcript="position").gates(views)
    assert by_position == found
    assert make_sfat().gates(views) == []


def test_an_open_gate_costs_in_training_only(make_sfat: Callable[..., Any], clips: Any) -> None:
    from videochat.models.examples import ResponseBatches, examples_of

    dear, free = (make_sfat(**AUDIO, dropout=0.0, gate_cost=cost) for cost in (2.0, 0.0))
    examples = examples_of(clips[1:3], max_context_comments=15)
    draw = ResponseBatches(examples=examples, collator=dear.collator, responses_per_clip=1, null_probability=0.0)
    batch = draw(np.arange(2), np.random.default_rng(0))
    for model in (dear.model, free.model):
        model.train()
    loss, num_tokens = dear.model(**batch)
    assert (loss - free.model(**batch).loss).item() == pytest.approx(0.5 * 2.0 * int(num_tokens), rel=1e-5)
    loss.backward()
    assert all(gate.bias.grad is not None and float(gate.bias.grad) != 0 for gate in dear.model._gates())
    assert dear.model.eval()(**batch).loss.item() == pytest.approx(free.model.eval()(**batch).loss.item())


def test_the_switch_leaves_no_trace_where_it_is_off(make_sfat: Callable[..., Any], tmp_path: Path) -> None:
    from videochat.models.sfat.config import SfatConfig

    off = make_sfat()
    off.model.save_pretrained(tmp_path / "off")
    stored = json.loads((tmp_path / "off" / "config.json").read_text())
    assert not {"transcript", "max_transcript_tokens", "gate_cost"} & set(stored)
    assert not [name for name in off.model.state_dict() if "gate" in name or "transcript" in name]
    make_sfat(**AUDIO, gate_cost=0.5).model.save_pretrained(tmp_path / "on")
    again = SfatConfig.from_pretrained(tmp_path / "on")
    assert (again.transcript, again.gate_cost, again.max_transcript_tokens) == ("scalar", 0.5, 98)
    assert again.needs == {"frames", "text_embeddings", "transcript"}
    assert SfatConfig.from_pretrained(tmp_path / "off").transcript == "off"
    for wrong in ({"transcript": "loud"}, {"gate_cost": -1.0}, {"max_transcript_tokens": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            SfatConfig(**wrong)


def test_without_transcripts_in_the_shards_the_error_says_how_to_get_them(tmp_path: Path, dummies: ModuleType) -> None:
    data = dummies.make_dataset(tmp_path / "w", num_channels=3, clips_per_recording=6)
    workspace = Workspace.open(tmp_path / "w")
    folder = workspace.checkpoint_dir("sfat-audio")
    context = LoadContext(workspace=workspace, dataset=data, checkpoint=folder, options={"epochs": 1})
    train = MODELS["sfat-audio"].train
    assert train is not None
    with pytest.raises(MissingInput, match="transcript") as error:
        train(context)
    assert "videochat transcribe" in error.value.fix
