"""Retrieved facts behind the gate that the transcript has, too: what helps is let in, noise is kept out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.dataset import Dataset
from videochat.errors import Damaged, UsageError
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.models.knowledge import Fact, KnowledgeStore
from videochat.models.retrieval import KnowledgeTensors
from videochat.models.sfat.make_rounds import NOISE, TOLD, round_facts, round_name, write_rounds
from videochat.workspace import Workspace

KNOWING = {"pooling": "semantic", "knowledge": "scalar"}


def ignorant(commenter: Any) -> Any:
    """The commenter with an empty store."""
    commenter.collator.extra = KnowledgeTensors(KnowledgeStore([]), num_facts=3, max_tokens=12)
    return commenter


@pytest.mark.parametrize("kind", ["open", "scalar", "position"])
def test_where_nothing_is_found_it_is_sfat_without_knowledge(
    make_sfat: Callable[..., Any], views: Any, texts: Any, kind: str
) -> None:
    import torch

    plain = make_sfat(seed=3)
    knowing = make_sfat(seed=4, knowledge=kind)
    missing, unknown = knowing.model.load_state_dict(plain.model.state_dict(), strict=False)
    assert not unknown
    assert all(".2." in name or "gates" in name or name.startswith("knowledge_norm") for name in missing)
    with torch.no_grad():
        for gate in knowing.model._gates():
            if gate.bias is not None:
                gate.bias.fill_(1.0)  # wide open
    rows = [[0, 1, 2, 3]] * len(views)
    without = plain.score(views, rows, texts)
    informed = knowing.score(views, rows, texts)
    assert all(not np.array_equal(a.score, b.score) for a, b in zip(without, informed, strict=True))
    for left, right in zip(without, ignorant(knowing).score(views, rows, texts), strict=True):
        np.testing.assert_array_equal(left.score, right.score)


def test_a_closed_gate_lets_no_fact_in(make_sfat: Callable[..., Any], views: Any, texts: Any) -> None:
    import torch

    knowing = make_sfat(**KNOWING)
    with torch.no_grad():
        for gate in knowing.model._gates():
            gate.bias.fill_(-10.0)
    rows = [[0, 1, 2, 3]] * len(views)
    informed = knowing.score(views, rows, texts)
    for left, right in zip(informed, ignorant(knowing).score(views, rows, texts), strict=True):
        np.testing.assert_allclose(left.score, right.score, atol=1e-5)


def test_each_stream_has_gates_of_its_own(make_sfat: Callable[..., Any], views: Any) -> None:
    import torch

    both = make_sfat(pooling="semantic", transcript="scalar", knowledge="position")
    assert (
        len(both.model._gates()) == 2 * len(both.model._gates("knowledge")) == 2 * len(both.model._gates("transcript"))
    )
    with torch.no_grad():
        for gate in both.model._gates("knowledge"):
            gate.bias.fill_(10.0)
    answers = ["red one"] * len(views)
    assert both.gates(views, answers, stream="knowledge") == pytest.approx([1.0] * len(views))
    untouched = make_sfat(pooling="semantic", transcript="scalar").gates(views, answers)
    assert both.gates(views, answers, stream="transcript") == pytest.approx(untouched)
    assert [value > 0 for value in untouched] == [bool(view.transcript) for view in views]


def test_the_switch_leaves_no_trace_where_it_is_off(make_sfat: Callable[..., Any], tmp_path: Path) -> None:
    from videochat.models.sfat.config import SfatConfig

    fields = {"knowledge", "num_facts", "max_knowledge_tokens", "chat_knowledge", "facts_digest", "gate_cost"}
    off = make_sfat()
    off.model.save_pretrained(tmp_path / "off")
    assert not fields & set(json.loads((tmp_path / "off" / "config.json").read_text()))
    assert not [name for name in off.model.state_dict() if "gate" in name or "knowledge" in name]
    make_sfat(**KNOWING, num_facts=7).model.save_pretrained(tmp_path / "on")
    again = SfatConfig.from_pretrained(tmp_path / "on")
    assert (again.knowledge, again.num_facts, again.transcript) == ("scalar", 7, "off")
    for wrong in (
        {"knowledge": "much"},
        {"num_facts": 0},
        {"facts_digest": "ab"},
        {"knowledge": "open", "chat_knowledge": False},
    ):
        with pytest.raises(UsageError):
            SfatConfig(**wrong)


# -- trained


def rounds(folder: Path, dummies: ModuleType, **sizes: int) -> tuple[Dataset, dict[str, str]]:
    """The dummies with named rounds, and the colour of each: what their first answer begins with."""
    dummies.make_dataset(folder, dim=8, **sizes)
    workspace = Workspace.open(folder)
    clips = [clip for split in ("train", "dev", "test") for clip in Dataset.open(folder).clips(split)]
    colours = {clip.clip_id: clip.responses[0].text.split()[0] for clip in clips}
    write_rounds(workspace, clips, colours)
    return Dataset.open(folder), colours


def context_of(folder: Path, data: Dataset, name: str, **options: Any) -> LoadContext:
    workspace = Workspace.open(folder)
    return LoadContext(
        workspace=workspace, dataset=data, checkpoint=folder / "checkpoints" / name, options=dict(options)
    )


QUICK = {"width": 32, "epochs": 1, "mlm_epochs": 1, "vocab_size": 400, "batch_size": 8}


def test_the_store_holds_nothing_of_dev_and_test_and_the_checkpoint_keeps_the_facts(
    tmp_path: Path, dummies: ModuleType
) -> None:
    data, _ = rounds(tmp_path / "w", dummies, num_channels=3, recordings_per_channel=1, clips_per_recording=6)
    facts = tmp_path / "w" / TOLD
    context = context_of(tmp_path / "w", data, "sfat-knowledge", facts=str(facts), **QUICK)
    entry = MODELS["sfat-knowledge"]
    assert entry.train is not None
    entry.train(context)
    model: Any = entry.load(dataclasses.replace(context, options={}))
    (store,) = (stream.store for stream in model.collator.extra.args[0])
    info = json.loads((context.checkpoint / "training.json").read_text())
    own = {json.loads(line)["text"] for line in facts.read_text().splitlines()}
    heard = [fact for fact in store.facts if fact.text not in own]
    assert heard
    assert {fact.recording_id for fact in heard} <= {"", *info["train_recordings"]}
    later = {comment.text for split in ("dev", "test") for clip in data.clips(split) for comment in clip.responses}
    seen = {comment.text for clip in data.clips("train") for comment in (*clip.context, *clip.responses)}
    assert not {fact.text for fact in heard} & (later - seen)
    train = [view(clip) for clip in data.clips("train")]
    said = {c.text: clip.recording_id for clip in data.clips("train") for c in clip.responses}
    for clip, found in zip(train, store.retrieve(train, num_facts=50), strict=True):
        assert all(said.get(text) != clip.recording_id or text in own for text in found), "no future of its own"
    assert 0 < info["gates"]["knowledge"] < 1
    assert model.gates(train[:2], ["red one"] * 2) != [0.0, 0.0]
    (kept,) = context.checkpoint.glob("facts-*.jsonl")
    before = (context.checkpoint / "model.safetensors").read_bytes()
    (context.checkpoint / "training.json").unlink()
    entry.train(context)
    assert (context.checkpoint / "model.safetensors").read_bytes() == before
    kept.write_text('{"text": "something else"}\n')
    with pytest.raises(Damaged, match="train --model sfat-knowledge"):
        entry.load(context)
    with pytest.raises(UsageError, match="train sfat-knowledge"):
        MODELS["sfat"].train(dataclasses.replace(context, checkpoint=tmp_path / "w" / "checkpoints" / "sfat"))  # type: ignore[misc]


@pytest.mark.slow
def test_facts_that_tell_the_answer_are_let_in_and_noise_does_no_good(tmp_path: Path, dummies: ModuleType) -> None:
    """Without video, so that only the facts can tell the colour: chance is 1 in 8."""
    folder = tmp_path / "w"
    data, colours = rounds(folder, dummies, num_channels=12, recordings_per_channel=1, clips_per_recording=24)
    assert sorted(round_facts(colours, told=True)) != sorted(round_facts(colours, told=False))
    assert len({round_name(clip_id) for clip_id in colours}) == len(colours)
    test = list(data.clips("test"))
    texts = TextTable([f"{colour} one number 3" for colour in dummies.COLOURS], list(dummies.COLOURS))
    truth = [dummies.COLOURS.index(colours[clip.clip_id]) for clip in test]
    right, gates = {}, {}
    options = {"width": 64, "epochs": 16, "batch_size": 8, "mlm_epochs": 2, "vocab_size": 500, "dropout": 0.0}
    for name in (TOLD, NOISE):
        settings = {**options, "pooling": "none", "num_facts": 1, "facts": str(folder / name), "chat_knowledge": False}
        context = context_of(folder, data, f"knowing-{name}", **settings)
        entry = MODELS["sfat-knowledge"]
        assert entry.train is not None
        entry.train(context)
        scores = entry.load(context).score([view(clip) for clip in test], [range(8)] * len(test), texts)
        right[name] = np.mean([int(row.score.argmax()) == place for row, place in zip(scores, truth, strict=True)])
        gates[name] = json.loads((context.checkpoint / "training.json").read_text())["gates"]["knowledge"]
    assert right[TOLD] > 0.7, (right, gates)
    assert right[NOISE] < 0.35, (right, gates)
    assert gates[TOLD] > 0.5 and gates[TOLD] > gates[NOISE], (right, gates)


def test_a_fact_is_found_by_the_name_of_its_round(dummies: ModuleType, clips: Any) -> None:
    from videochat.models.sfat.make_rounds import with_round

    colours = {clip.clip_id: "red" for clip in clips}
    facts = [Fact(text=json.loads(line)["text"]) for line in round_facts(colours, told=True).splitlines()]
    store = KnowledgeStore(facts)
    named = [view(with_round(clip)) for clip in clips]
    for clip, found in zip(clips, store.retrieve(named, num_facts=1), strict=True):
        assert found == [f"round {round_name(clip.clip_id)} was red"]
