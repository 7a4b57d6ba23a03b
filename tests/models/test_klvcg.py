"""KLVCG-style: what the store may give back, what the model reads of a clip, and training by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat import api
from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.errors import Damaged, UsageError
from videochat.models.knowledge import Fact, KnowledgeStore, chat_facts, read_facts
from videochat.workspace import Workspace

QUICK: dict[str, Any] = {"width": 32, "epochs": 1, "mlm_epochs": 1, "vocab_size": 400, "batch_size": 8}


@pytest.fixture
def context(tmp_path: Path, dummies: ModuleType) -> LoadContext:
    api.catalog()
    data = dummies.make_dataset(tmp_path / "w", num_channels=4, clips_per_recording=6, dim=8)
    workspace = Workspace.open(tmp_path / "w")
    checkpoint = workspace.checkpoint_dir("klvcg-style")
    return LoadContext(workspace=workspace, dataset=data, checkpoint=checkpoint, options=dict(QUICK))


def asking(views: list, text: str, **fields: Any) -> Any:
    comment = dataclasses.replace(views[0].context[0], text=text)
    return dataclasses.replace(views[0], context=(comment,), **fields)


# -- the store


def test_nothing_of_the_own_recording_is_retrieved(clips):
    store = KnowledgeStore(chat_facts(clips))
    spoken: dict[str, set[str]] = {}
    for clip in clips:
        for comment in (*clip.context, *clip.responses):
            spoken.setdefault(comment.text, set()).add(clip.recording_id)
    found = store.retrieve([view(clip) for clip in clips], num_facts=20)
    assert sum(map(len, found)) > len(clips)
    for clip, facts in zip(clips, found, strict=True):
        assert all(spoken[fact] - {clip.recording_id} for fact in facts)
        assert not {comment.text for comment in clip.context} & set(facts)


def test_an_answer_that_only_its_own_recording_knows_never_comes_back(clips):
    clip = clips[0]
    secret = dataclasses.replace(clip.responses[0], text="look at the zebra crossing here")
    leaky = dataclasses.replace(clip, responses=(secret,))
    store = KnowledgeStore(chat_facts([leaky, *clips[1:]]))
    question = dataclasses.replace(view(leaky), context=(dataclasses.replace(clip.context[0], text="what zebra"),))
    assert secret.text not in store.retrieve([question], num_facts=50)[0]
    stranger = dataclasses.replace(question, recording_id="another")
    assert store.retrieve([stranger], num_facts=50)[0] == [secret.text]


def test_the_most_similar_come_first_and_categories_are_kept(views):
    store = KnowledgeStore(
        [
            Fact(text="the red dragon lives in the north tower"),
            Fact(text="dragons sleep"),
            Fact(text="the red dragon breathes fire", category="Chess"),
            Fact(text="bananas are yellow fruit"),
        ]
    )
    question = asking(views, "is that the red dragon", category="Minecraft")
    assert store.retrieve([question], num_facts=5) == [["the red dragon lives in the north tower"]]
    chess = asking(views, "is that the red dragon", category="Chess")
    assert store.retrieve([chess], num_facts=1) == [["the red dragon breathes fire"]]
    assert store.retrieve([asking(views, "")], num_facts=5) == [[]]
    assert KnowledgeStore([]).retrieve([question], num_facts=5) == [[]]
    assert KnowledgeStore([Fact(text="🙂")]).retrieve([question], num_facts=5) == [[]]
    assert store.retrieve([], num_facts=5) == []


def test_neighbours_in_a_batch_change_no_retrieval(clips):
    store = KnowledgeStore(chat_facts(clips))
    views = [view(clip) for clip in clips]
    together = store.retrieve(views, num_facts=8)
    assert together == [store.retrieve([one], num_facts=8)[0] for one in views]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"text": "a fact"}\nnonsense\n', "line 2 is no fact"),
        ('{"text": "a fact", "channel": "x"}\n', "line 1 is no fact"),
        ('{"text": 3}\n', "line 1 is no fact"),
        ('{"category": "Art"}\n', "line 1 has no text"),
        ("[1]\n", "line 1 is no fact"),
    ],
)
def test_a_file_that_holds_no_facts_names_the_line(tmp_path, text, words):
    (tmp_path / "facts.jsonl").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_facts(tmp_path / "facts.jsonl")
    with pytest.raises(UsageError, match="cannot be read"):
        read_facts(tmp_path / "none.jsonl")


# -- what the model reads


def test_chat_falls_into_slots_and_the_latest_is_last(make_model, views):
    commenter = make_model("klvcg")  # comments at 2, 4, 6, 8 and 10 s of 20 s; slots of 2 s
    batch = commenter.collator.clips(views[:1])
    assert batch["slot_mask"][0].tolist() == [False, True, True, True, True, True, False, False, False, False]
    ids = batch["slot_ids"][batch["slot_index"][0, 5]]
    assert "5" in commenter.tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(("step", "num_read"), [(1, 11), (3, 10)])
def test_frames_are_read_at_their_step_and_no_others(make_model, views, texts, step, num_read):
    """Eleven of them at most; three seconds apart, the latest first, they span all that a clip shows."""
    commenter = make_model("klvcg", frame_step_s=step)
    clip = views[5]
    assert len(clip.frames) == 30
    read = [29 - step * number for number in range(num_read)]
    others = [place for place in range(30) if place not in read]
    early, late = clip.frames.copy(), clip.frames.copy()
    early[others], late[read] = -early[others], -late[read]
    scores = [
        commenter.score([dataclasses.replace(clip, frames=frames)], [[0, 1, 2]], texts)[0].score
        for frames in (clip.frames, early, late)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 1e-4
    weights = commenter.frame_weights([clip])[0]
    assert weights.sum() == pytest.approx(1)
    assert np.flatnonzero(weights).tolist() == sorted(read)


def test_knowledge_changes_scores_and_none_is_read_without_it(make_model, views, texts):
    commenter = make_model("klvcg")
    before = commenter.score(views[:1], [[0, 1, 2]], texts)[0].score
    commenter.collator.extra.knowledge.store = KnowledgeStore([Fact(text="look at this other thing entirely")])
    commenter.collator.extra.knowledge._known.clear()
    after = commenter.score(views[:1], [[0, 1, 2]], texts)[0].score
    assert np.abs(before - after).max() > 1e-4
    assert make_model("klvcg", num_facts=0).collator.clips(views[:1])["knowledge_mask"].sum() == 0


def test_the_size_of_the_paper_has_its_layers_and_widths():
    import torch

    from videochat.models.klvcg.config import SIZES, KlvcgConfig
    from videochat.models.klvcg.model import KlvcgModel

    config = KlvcgConfig(vocab_size=1000, clip_dim=512, **SIZES["paper"])
    with torch.device("meta"):
        model = KlvcgModel(config)
    assert (config.width, config.feed_forward_width, config.num_heads) == (384, 1536, 12)
    layers = (model.video, model.temporal, model.knowledge, model.cross)
    assert [len(part.layers) for part in layers] == [2, 2, 1, 2]
    assert (len(model.context_encoder.layers), len(model.decoder.layers)) == (2, 1)
    assert (config.max_frames, config.num_slots, config.max_knowledge_tokens) == (11, 10, 80)
    assert (config.max_slot_tokens, config.target_mask) == (100, 0.3)


def test_pretraining_looks_both_ways_and_learns_masked_tokens(make_model, clips):
    import torch

    from videochat.models.examples import ResponseBatches, examples_of
    from videochat.models.klvcg.train import MaskedAnswers
    from videochat.models.mlm import mask_tokens

    commenter = make_model("klvcg", dropout=0.0)
    examples = examples_of(clips[:4], max_context_comments=15)
    draw = ResponseBatches(examples=examples, collator=commenter.collator, responses_per_clip=1, null_probability=0.0)
    batch = draw(np.arange(4), np.random.default_rng(0))
    random = np.random.default_rng(1)
    ids, labels = mask_tokens(batch["response_ids"], batch["response_lengths"], random, probability=0.3)
    batch |= {"response_ids": ids, "labels": labels}
    trainer = MaskedAnswers(commenter.model.train())
    first = trainer(**batch).loss.item()
    changed = ids.clone()
    row = int((labels >= 0).any(1).nonzero()[0])
    last = int(batch["response_lengths"][row]) - 1  # the end token, after every masked one
    changed[row, last] = 7
    with torch.no_grad():
        assert abs(trainer(**{**batch, "response_ids": changed}).loss.item() - first) > 1e-5
    optimizer = torch.optim.AdamW(trainer.parameters(), lr=5e-3)
    for _ in range(40):
        loss, count = trainer(**batch)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    assert loss.item() < 0.2 * first


# -- training by name


def test_training_twice_gives_the_same_bytes_and_the_facts_are_kept(context, tmp_path):
    facts = tmp_path / "games.jsonl"
    facts.write_text('{"text": "the boat in look at the boat is always gold", "category": "Minecraft"}\n')
    context.options["facts"] = str(facts)
    MODELS["klvcg-style"].train(context)
    info = json.loads((context.checkpoint / "training.json").read_text())
    log = [json.loads(line)["stage"] for line in (context.checkpoint / "training.jsonl").read_text().splitlines()]
    assert log == ["masked-answers", "answers"]
    assert info["model"] == "klvcg-style"
    assert str(tmp_path) not in (context.checkpoint / "config.json").read_text()
    model = MODELS["klvcg-style"].load(context)
    (kept,) = context.checkpoint.glob("facts-*.jsonl")
    assert kept.read_bytes() == facts.read_bytes()
    test = [view(clip) for clip in context.dataset.clips("test")]
    scores = model.score(test, [[0, 1]] * len(test), TextTable(["red one", "lol"], ["red one", "lol"]))
    assert all(np.isfinite(row.score).all() for row in scores)
    owners = {fact.recording_id for fact in model.collator.extra.knowledge.store.facts}
    assert owners <= {"", *info["train_recordings"]}, "no recording of dev or test is in the store"
    before = (context.checkpoint / "model.safetensors").read_bytes()
    (context.checkpoint / "training.json").unlink()
    MODELS["klvcg-style"].train(context)
    assert (context.checkpoint / "model.safetensors").read_bytes() == before
    kept.write_text('{"text": "something else"}\n')
    with pytest.raises(Damaged, match="--set facts=FILE"):
        MODELS["klvcg-style"].load(context)


@pytest.mark.slow
def test_it_learns_to_look_where_the_answer_is_in_the_frames(tmp_path, dummies):
    """The dummies' answer is the colour seen in seconds 8 to 11: one or two of the frames that are read."""
    api.catalog()
    data = dummies.make_dataset(tmp_path / "w", num_channels=10, clips_per_recording=20, dim=32)
    workspace = Workspace.open(tmp_path / "w")
    options = {"width": 64, "epochs": 12, "batch_size": 16, "mlm_epochs": 1, "num_heads": 4, "dropout": 0.0}
    context = LoadContext(
        workspace=workspace, dataset=data, checkpoint=workspace.checkpoint_dir("klvcg-style"), options=options
    )
    test = list(data.clips("test"))
    texts = TextTable([f"{colour} one number 3" for colour in dummies.COLOURS], list(dummies.COLOURS))
    truth = [dummies.COLOURS.index(clip.responses[0].text.split()[0]) for clip in test]
    MODELS["klvcg-style"].train(context)
    views = [view(clip) for clip in test]
    model = MODELS["klvcg-style"].load(context)
    for shown, least, most in (
        (views, 0.8, 1.0),
        ([dataclasses.replace(v, frames=-v.frames) for v in views], 0.0, 0.4),
    ):
        scores = model.score(shown, [range(8)] * len(shown), texts)
        right = np.mean([int(found.score.argmax()) == row for found, row in zip(scores, truth, strict=True)])
        assert least <= right <= most  # chance is 1 in 8
