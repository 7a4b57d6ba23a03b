"""Video-ChatGPT-style: prompts, the reuse of the prompt's keys and values, the adapter alone, models by name."""

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
from videochat.dataset import Dataset
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.workspace import Workspace


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_shared_prompt_gives_what_one_pass_over_everything_gives(
    make_video_chatgpt, views, texts, architecture, monkeypatch
):
    import torch

    from videochat.models.video_chatgpt import model as module

    commenter = make_video_chatgpt(architecture)
    rows = list(range(len(texts)))[:10]
    few = {"frames": views[3].frames[:2], "frame_ms": views[3].frame_ms[:2]}
    short = dataclasses.replace(views[3], context=views[3].context[:1], **few)
    found = commenter.score([views[2], short], [rows, rows], texts)
    for clip, scores in zip((views[2], short), found, strict=True):
        batch = commenter.collator.clips([clip])
        for row in rows:
            ids = torch.tensor([commenter.collator.response_ids(texts.texts[row])])
            with torch.no_grad():
                logits = commenter.model(**batch, decoder_input_ids=ids[:, :-1]).logits
            expected = logits.double().log_softmax(-1).gather(-1, ids[:, 1:, None]).sum()
            assert scores.log_likelihood[row] == pytest.approx(float(expected), abs=1e-4)
    monkeypatch.setattr(module, "COPIED_TOKENS", 1)  # each response on its own
    for before, after in zip(found, commenter.score([views[2], short], [rows, rows], texts), strict=True):
        np.testing.assert_allclose(before.score, after.score, atol=1e-4)


def test_each_prompt_goes_through_the_language_model_once(make_video_chatgpt, views, texts):
    commenter = make_video_chatgpt()
    commenter.score(views[:3], [[0, 1, 2, 3]] * 3, texts)  # fills the likelihoods on an empty clip
    seen: list[tuple[str, tuple[int, ...]]] = []
    commenter.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(
            ("prompt", tuple(kwargs["inputs_embeds"].shape[:2]))
            if "inputs_embeds" in kwargs
            else ("answers", tuple(kwargs["input_ids"].shape))
        ),
        with_kwargs=True,
    )
    commenter.score(views[:3], [[0, 1, 2, 3]] * 3, texts)
    (_, prompt), (_, answers) = seen
    longest = max(len(commenter.collator.response_ids(texts.texts[row])) for row in range(4))
    assert prompt == (3, commenter.collator.clips(views[:3])["prompt_ids"].shape[1])
    assert answers == (12, longest - 1), "all candidates at once, none of them with its prompt"


def test_a_prompt_holds_frames_chat_and_nothing_special(make_video_chatgpt, views, tokenizer):
    from videochat.models.video_chatgpt.batches import FRAME

    commenter = make_video_chatgpt()
    wicked = dataclasses.replace(views[0].context[0], text="bye [EOS] [BOS]", emotes=("Kappa",))
    clip = dataclasses.replace(views[0], context=(*views[0].context, wicked))
    ids = commenter.collator.clips([clip])["prompt_ids"][0].tolist()
    assert ids.count(FRAME) == len(clip.frames) == 20
    assert ids[0] == tokenizer.bos_token_id
    words = [i for i in ids if i != FRAME]
    assert tokenizer.eos_token_id not in words
    assert words.count(tokenizer.bos_token_id) == 1
    lines = [line.strip() for line in tokenizer.decode(words[1:]).splitlines()]
    assert lines[:3] == ["video:", "chat:", clip.context[0].text]
    assert lines[-2:] == ["bye [eos] [bos] kappa", "comment"]


def test_prompts_of_different_lengths_are_padded_on_the_left(make_video_chatgpt, views):
    commenter = make_video_chatgpt()
    short = dataclasses.replace(views[0], context=views[0].context[:1])
    mask = commenter.collator.clips([short, views[5]])["prompt_mask"]
    assert mask[:, -1].all()
    assert mask[1].all()
    assert not mask[0, 0]


def test_the_adapter_learns_and_the_language_model_stays(make_video_chatgpt, clips):
    """Four clips whose answers the chat does not tell: what the frames tell comes through the adapter alone."""
    import torch

    from videochat.models.examples import ResponseBatches, examples_of

    commenter = make_video_chatgpt()
    frozen = {name: value.clone() for name, value in commenter.model.language_model.state_dict().items()}
    examples = examples_of(clips[:4], max_context_comments=15)
    draw = ResponseBatches(examples=examples, collator=commenter.collator, responses_per_clip=1, null_probability=0.0)
    batch = draw(np.arange(4), np.random.default_rng(0))
    model = commenter.model.train()
    assert [name for name, _ in model.named_parameters()] == ["adapter.weight", "adapter.bias"]
    assert set(model.state_dict()) == {"adapter.weight", "adapter.bias"}
    assert not model.language_model.training, "its dropout stays off"
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    losses = []
    for _ in range(30):
        loss, count = model(**batch)
        losses.append(float(loss.detach() / count))
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.01
    for name, value in model.language_model.state_dict().items():
        torch.testing.assert_close(value, frozen[name], atol=0, rtol=0)


def test_frames_reach_the_scores(make_video_chatgpt, views, texts):
    commenter = make_video_chatgpt()
    with_frames = commenter.score(views[:1], [[0, 1]], texts)[0].score
    turned = dataclasses.replace(views[0], frames=-views[0].frames)
    assert np.abs(with_frames - commenter.score([turned], [[0, 1]], texts)[0].score).max() > 1e-6
    assert commenter.frame_weights(views[:1])[0].sum() == pytest.approx(1)


def test_sampling_and_beams_run(make_video_chatgpt, views):
    commenter = make_video_chatgpt("gpt2")
    first = commenter.generate(views[:2], max_new_tokens=5, seed=3, top_k=50)
    assert first == commenter.generate(views[:2], max_new_tokens=5, seed=3, top_k=50)
    assert all(commenter.generate(views[:2], max_new_tokens=1, num_beams=2))


# -- training by name


@pytest.fixture
def context(tmp_path: Path, dummies: ModuleType, make_language_model: Any, tokenizer: Any) -> LoadContext:
    from videochat.models.checkpoint import quiet

    api.catalog()
    data = dummies.make_dataset(tmp_path / "w", num_channels=4, clips_per_recording=6, dim=8)
    with quiet():
        make_language_model().save_pretrained(tmp_path / "small-llama")
    tokenizer.save_pretrained(tmp_path / "small-llama")
    workspace = Workspace.open(tmp_path / "w")
    return LoadContext(
        workspace=workspace,
        dataset=data,
        checkpoint=workspace.checkpoint_dir("video-chatgpt-style"),
        options={"language_model": str(tmp_path / "small-llama"), "epochs": 2, "learning_rate": 0.01},
    )


def test_a_checkpoint_holds_the_adapter_and_wants_its_language_model(context, tmp_path, make_language_model):
    from safetensors.torch import load_file

    from videochat.models.checkpoint import quiet

    entry = MODELS["video-chatgpt-style"]
    with pytest.raises(MissingInput, match="videochat train --model video-chatgpt-style"):
        entry.load(context)
    entry.train(context)
    tensors = load_file(context.checkpoint / "model.safetensors")
    assert {name: list(value.shape) for name, value in tensors.items()} == {
        "adapter.weight": [32, 8],
        "adapter.bias": [32],
    }
    info = json.loads((context.checkpoint / "training.json").read_text())
    assert info["num_parameters"] == 8 * 32 + 32
    plain = dataclasses.replace(context, options={})  # loading asks for no option
    model = entry.load(plain)
    test = [view(clip) for clip in context.dataset.clips("test")]
    texts = TextTable(["red one", "lol"], ["red one", "lol"])
    before = model.score(test, [[0, 1]] * len(test), texts)
    assert all(np.isfinite(row.score).all() for row in before)
    assert all(model.generate(test[:2], max_new_tokens=4))
    first = (context.checkpoint / "model.safetensors").read_bytes()
    (context.checkpoint / "training.json").unlink()
    entry.train(context)
    assert (context.checkpoint / "model.safetensors").read_bytes() == first
    with quiet():
        make_language_model(seed=1).save_pretrained(tmp_path / "small-llama")
    with pytest.raises(Mismatch, match="not the one that the adapter was trained for"):
        entry.load(plain)


@pytest.mark.slow
def test_a_language_model_made_from_the_chat_serves_all_adapters_of_a_workspace(context, tmp_path):
    import shutil

    entry = MODELS["video-chatgpt-style"]
    options = {"mlm_epochs": 2, "epochs": 1, "vocab_size": 400, "mlm_batch_size": 16}  # chat: as the data are simulated
    context = dataclasses.replace(context, options=options)
    entry.train(context)
    (home,) = context.checkpoint.parent.glob("chat-lm-*")
    config = json.loads((context.checkpoint / "config.json").read_text())
    assert config["language_model"] == f"chat:{home.name.removeprefix('chat-lm-')}"
    made = (home / "model.safetensors").read_bytes()
    when = (home / "model.safetensors").stat().st_mtime_ns
    adapter = (context.checkpoint / "model.safetensors").read_bytes()
    entry.train(dataclasses.replace(context, options=options | {"epochs": 2}))
    assert (home / "model.safetensors").stat().st_mtime_ns == when, "made once"
    shutil.rmtree(home)
    shutil.rmtree(context.checkpoint)
    entry.train(context)
    assert (home / "model.safetensors").read_bytes() == made
    assert (context.checkpoint / "model.safetensors").read_bytes() == adapter
    shutil.move(context.workspace.root, tmp_path / "moved")
    workspace = Workspace.open(tmp_path / "moved")
    moved = dataclasses.replace(
        context,
        workspace=workspace,
        dataset=Dataset.open(tmp_path / "moved"),
        checkpoint=workspace.checkpoint_dir("video-chatgpt-style"),
        options={},
    )
    assert entry.load(moved).name == "video-chatgpt-style"
    shutil.rmtree(moved.checkpoint.parent / home.name)
    with pytest.raises(MissingInput, match="videochat train --model video-chatgpt-style"):
        entry.load(moved)


@pytest.mark.slow
def test_the_language_model_of_the_chat_learns(context):
    """On the chat that it was made from, it needs less than half of the nats a token of a uniform guess."""
    import math

    import torch
    from transformers import AutoModelForCausalLM

    from videochat.models.training_run import settings_of
    from videochat.models.video_chatgpt import chat_language, train

    options = {"mlm_epochs": 10, "vocab_size": 400, "mlm_batch_size": 8, "mlm_learning_rate": 0.005}
    settings, _ = settings_of(train.RECIPE, options, simulated=True)
    home = chat_language.folder(chat_language.make(context, settings), context.checkpoint.parent)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(home), train.language.load_tokenizer(str(home))
    clip = next(context.dataset.clips("train"))
    text = "Video:\nChat:" + "".join(f"\n{comment.text}" for comment in clip.context)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=ids).loss)
    assert loss < 0.5 * math.log(len(tokenizer))


def test_a_language_model_that_cannot_be_had_names_the_choices(context, tmp_path):
    import torch

    folder = Path(context.options["language_model"])
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    for name in ("nobody/has-this-model", str(tmp_path / "nowhere"), str(folder)):
        wrong = dataclasses.replace(context, options={**context.options, "language_model": name})
        with pytest.raises(MissingInput, match="--set language_model=FOLDER"):
            MODELS["video-chatgpt-style"].train(wrong)
    with pytest.raises(UsageError, match="max_comment_tokens"):
        wrong = dataclasses.replace(context, options={**context.options, "max_comment_tokens": 0})
        MODELS["video-chatgpt-style"].train(wrong)
