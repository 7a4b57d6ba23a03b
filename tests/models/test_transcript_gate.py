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

from videochat.build import table_of, write_dataset
from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.dataset import Dataset
from videochat.errors import MissingInput, UsageError
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.schema import Segment
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
    expected = [0.5 if view.transcript else 0.0 for view in views]  # half open before any training
    assert found == pytest.approx(expected, abs=1e-6)
    by_position = make_sfat(pooling="semantic", transcript="position").gates(views)
    assert by_position == pytest.approx(expected, abs=1e-6)
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
    assert (loss - free.model(**batch).loss).item() == pytest.approx(0.5 * 2.0 * int(num_tokens), rel=1e-4)
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


NOISE = ("weather", "monday", "invoice", "kitchen", "market", "table", "server", "garden", "coffee", "ticket", "river")


def spoken_world(folder: Path, dummies: ModuleType, *, told: bool) -> tuple[Dataset, list[int]]:
    """The dummies with a streamer who says the answer's colour, or words that have to do with nothing; for each test
    clip the number of its colour."""
    random = np.random.default_rng(5)
    clips = []
    for clip in dummies.make_clips(num_channels=12, recordings_per_channel=1, clips_per_recording=24, dim=8):
        colour = clip.responses[0].text.split()[0]
        words = f"i would say it is {colour}" if told else " ".join(random.choice(NOISE, 6))
        segment = Segment(start_ms=clip.start_ms + 12_000, end_ms=clip.start_ms + 16_000, text=words)
        clips.append(dataclasses.replace(clip, transcript=(segment,)))
    write_dataset(
        Workspace.open(folder, create=True),
        [(clip.split, clip.category, clip.recording_id, table_of([clip], 8)) for clip in clips],
        dim=8,
        facts={"simulated": True, "split_by": "channel", "clip_fingerprint": {"model": "dummy"}},
    )
    test = [clip for clip in clips if clip.split == "test"]
    return Dataset.open(folder), [dummies.COLOURS.index(clip.responses[0].text.split()[0]) for clip in test]


@pytest.mark.slow
def test_words_that_tell_the_answer_open_the_gate_and_noise_closes_it(tmp_path: Path, dummies: ModuleType) -> None:
    """Without video, so that only the streamer can tell the colour: chance is 1 in 8, MRR 0.34."""
    texts = TextTable([f"{colour} one number 3" for colour in dummies.COLOURS], list(dummies.COLOURS))
    options = {"width": 64, "epochs": 16, "batch_size": 8, "mlm_epochs": 2, "vocab_size": 500, "dropout": 0.0}
    mrr, gates = {}, {}
    for kind in ("told", "noise"):
        data, truth = spoken_world(tmp_path / kind, dummies, told=kind == "told")
        workspace = Workspace.open(tmp_path / kind)
        context = LoadContext(
            workspace=workspace,
            dataset=data,
            checkpoint=workspace.checkpoint_dir("sfat-audio"),
            options={**options, "pooling": "none"},
        )
        entry = MODELS["sfat-audio"]
        assert entry.train is not None
        entry.train(context)
        model: Any = entry.load(context)
        views = [view(clip) for clip in data.clips("test")]
        for hears, shown in (("", views), (" silenced", silent(views))):
            scores = model.score(shown, [range(8)] * len(shown), texts)
            ranks = [1 + int((row.score > row.score[n]).sum()) for row, n in zip(scores, truth, strict=True)]
            mrr[kind + hears] = float(np.mean(1 / np.array(ranks)))
        info = json.loads((context.checkpoint / "training.json").read_text())
        gates[kind] = info["gates"]["transcript"]
        assert f"{gates[kind]:.3f}" in (context.checkpoint / "README.md").read_text()
        assert np.mean(model.gates(views)) == pytest.approx(gates[kind], abs=1e-4)
    print(mrr, gates)
    assert mrr["told"] > 0.75 and mrr["told silenced"] < 0.5, (mrr, gates)
    assert abs(mrr["noise"] - mrr["noise silenced"]) < 0.06 and mrr["noise"] < 0.5, (mrr, gates)
    assert gates["told"] > 0.5 > 0.3 > gates["noise"], (mrr, gates)
