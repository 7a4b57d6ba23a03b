"""LoRA on a language model, and frames weighted before it: what is learnt, saved, chosen and shared."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat import api
from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.errors import MissingInput, UsageError
from videochat.workspace import Workspace

MLLM = {"frame_weighting": "semantic", "lora_rank": 2}


def log_likelihoods(commenter: Any, views: Any, texts: TextTable) -> Any:
    rows = list(range(len(texts)))[:8]
    return np.stack([found.log_likelihood for found in commenter.score(views, [rows] * len(views), texts)])


# -- LoRA


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_lora_starts_from_the_language_model_and_its_changes_reach_the_scores(
    make_video_chatgpt, views, texts, architecture
):
    import torch

    plain = make_video_chatgpt(architecture)
    tuned = make_video_chatgpt(architecture, lora_rank=2)
    tuned.model.adapter.load_state_dict(plain.model.adapter.state_dict())
    expected = log_likelihoods(plain, views[:2], texts)
    assert np.abs(log_likelihoods(tuned, views[:2], texts) - expected).max() > 1e-3
    for low_rank in tuned.model.lora.values():
        torch.nn.init.zeros_(low_rank.up.weight)
    tuned._null.clear()
    np.testing.assert_allclose(log_likelihoods(tuned, views[:2], texts), expected, atol=1e-5)


def test_lora_starts_at_nothing(make_language_model):
    import torch

    from videochat.models.video_chatgpt import lora
    from videochat.models.video_chatgpt.config import VideoChatgptConfig
    from videochat.models.video_chatgpt.model import VideoChatgptModel

    config = VideoChatgptConfig(clip_dim=8, language_width=32, lora_rank=3)
    config.lora_shapes = lora.shapes(make_language_model().config, config)
    torch.manual_seed(0)
    model = VideoChatgptModel(config)
    assert len(model.lora) == 2 * 7, "query, key, value, output and the three of the feed-forward, in two layers"
    for low_rank in model.lora.values():
        assert not low_rank.up.weight.any()
        assert low_rank.down.weight.detach().std() == pytest.approx(low_rank.down.in_features**-0.5, rel=0.5)


def test_the_prompts_keys_and_values_serve_all_candidates_with_lora_too(make_video_chatgpt, views, texts):
    """K candidates together score as each alone, and each as one pass over prompt and candidate."""
    import torch

    commenter = make_video_chatgpt(**MLLM)
    together = log_likelihoods(commenter, views[2:3], texts)[0]
    batch = commenter.collator.clips(views[2:3])
    for row, expected in enumerate(together):
        alone = commenter.score(views[2:3], [[row]], texts)[0].log_likelihood[0]
        ids = torch.tensor([commenter.collator.response_ids(texts.texts[row])])
        with torch.no_grad():
            logits = commenter.model(**batch, decoder_input_ids=ids[:, :-1]).logits
        whole = logits.double().log_softmax(-1).gather(-1, ids[:, 1:, None]).sum()
        assert alone == pytest.approx(expected, abs=1e-5)
        assert float(whole) == pytest.approx(expected, abs=1e-4)


def test_adapter_and_lora_learn_and_the_language_model_stays(make_video_chatgpt, clips):
    import torch

    from videochat.models.examples import ResponseBatches, examples_of

    commenter = make_video_chatgpt(**MLLM)
    model = commenter.model.train()
    names = {name for name, _ in model.named_parameters()}
    assert names == set(model.state_dict())
    assert {name.split(".")[0] for name in names} == {"adapter", "lora"}
    inside = dict(model.language_model.named_parameters())
    learnt = {name for name, value in inside.items() if value.requires_grad}
    assert learnt and all("lora_" in name for name in learnt)
    before = {name: value.detach().clone() for name, value in inside.items()}
    examples = examples_of(clips[:4], max_context_comments=15)
    draw = ResponseBatches(examples=examples, collator=commenter.collator, responses_per_clip=1, null_probability=0.0)
    batch = draw(np.arange(4), np.random.default_rng(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss, count = model(**batch)
        losses.append(float(loss.detach() / count))
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1, "ten times what the adapter alone must reach in its test"
    for name, value in inside.items():
        assert torch.equal(value, before[name]) == (name not in learnt), name


def test_without_peft_the_line_that_installs_it_is_named(make_video_chatgpt, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    make_video_chatgpt()  # the adapter alone needs none
    with pytest.raises(MissingInput, match=r"pip install 'videochat-toolkit\[llm\]'"):
        make_video_chatgpt(lora_rank=2)


def test_layers_that_are_not_there_and_impossible_settings_are_named(make_video_chatgpt):
    with pytest.raises(UsageError, match="lora_targets is 'no_such_layer'"):
        make_video_chatgpt(lora_rank=2, lora_targets="no_such_layer")
    assert len(make_video_chatgpt(lora_rank=2, lora_targets="q_proj, v_proj").model.lora) == 4
    for wrong, message in (
        ({"lora_rank": -1}, "lora_rank is -1"),
        ({"lora_alpha": 0.0}, "lora_alpha is 0"),
        ({"frame_weighting": "some"}, "choose one of none, semantic"),
        ({"num_frame_tokens": 4}, "no weights choose the frames"),
    ):
        with pytest.raises(UsageError, match=message):
            make_video_chatgpt(**wrong)


# -- weighted frames


def spoken_of(clip: Any, frame: int) -> Any:
    """The clip, whose chat speaks of what that frame shows: the comments' embeddings are the frame's."""
    return dataclasses.replace(clip, context_clip=np.repeat(clip.frames[frame : frame + 1], len(clip.context), 0))


def test_frames_alike_are_as_without_weights(make_video_chatgpt, views, texts):
    weighted, plain = make_video_chatgpt(frame_weighting="semantic"), make_video_chatgpt()
    weighted.model.adapter.load_state_dict(plain.model.adapter.state_dict())
    constant = dataclasses.replace(views[2], frames=np.repeat(views[2].frames[:1], len(views[2].frames), 0))
    expected = log_likelihoods(plain, [constant], texts)
    np.testing.assert_allclose(log_likelihoods(weighted, [constant], texts), expected, atol=1e-4)
    assert np.abs(log_likelihoods(weighted, views[2:3], texts) - log_likelihoods(plain, views[2:3], texts)).max() > 1e-4


def test_frames_that_nobody_speaks_of_say_nothing(make_video_chatgpt, views, texts):
    commenter = make_video_chatgpt(**MLLM, frame_temperature=0.01)
    clip = spoken_of(views[2], 7)
    assert commenter.frame_weights([clip])[0].argmax() == 7
    assert commenter.frame_weights([clip])[0].sum() == pytest.approx(1, abs=1e-5)
    frames = clip.frames.copy()
    frames[[3, 4]] = frames[[4, 3]]
    other = dataclasses.replace(clip, frames=frames)
    seen = clip.frames.copy()
    seen[7] = -seen[7]
    turned = dataclasses.replace(clip, frames=seen)
    expected = log_likelihoods(commenter, [clip], texts)
    np.testing.assert_allclose(log_likelihoods(commenter, [other], texts), expected, atol=1e-4)
    assert np.abs(log_likelihoods(commenter, [turned], texts) - expected).max() > 1e-3


def test_only_the_chosen_frames_become_tokens(make_video_chatgpt, views, texts):
    from videochat.models.video_chatgpt.batches import FRAME

    commenter = make_video_chatgpt(**MLLM, num_frame_tokens=1)
    clip, short = spoken_of(views[2], 7), dataclasses.replace(views[3], frames=None, frame_ms=None)
    batch = commenter.collator.clips([clip, short])
    assert (batch["prompt_ids"] == FRAME).sum(1).tolist() == [1, 0]
    chosen = commenter.model._frames(batch).numpy()
    np.testing.assert_allclose(chosen, clip.frames[7:8].astype(np.float32), atol=1e-6)
    few = dataclasses.replace(clip, frames=clip.frames[6:8], frame_ms=clip.frame_ms[6:8])
    np.testing.assert_allclose(
        log_likelihoods(commenter, [clip], texts), log_likelihoods(commenter, [few], texts), atol=1e-4
    )


# -- by name


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
        checkpoint=workspace.checkpoint_dir("mllm"),
        options={"language_model": str(tmp_path / "small-llama"), "epochs": 2, "learning_rate": 0.01},
    )


SCORE = """
import json, sys, torch
from videochat import api
from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.dataset import Dataset
from videochat.workspace import Workspace
torch.set_num_threads(1)
api.catalog()
workspace, data = Workspace.open(sys.argv[1]), Dataset.open(sys.argv[1])
context = LoadContext(workspace=workspace, dataset=data, checkpoint=workspace.checkpoint_dir("mllm"))
clips = [view(clip) for clip in data.clips("test")]
texts = TextTable(["red one", "lol"], ["red one", "lol"])
found = MODELS["mllm"].load(context).score(clips, [[0, 1]] * len(clips), texts)
print(json.dumps([row.score.tolist() for row in found]))
"""


@pytest.mark.slow
def test_a_checkpoint_holds_adapter_and_lora_and_a_fresh_process_scores_the_same(context, tmp_path):
    from safetensors.torch import load_file

    entry = MODELS["mllm"]
    with pytest.raises(MissingInput, match="videochat train --model mllm"):
        entry.load(context)
    entry.train(context)
    tensors = load_file(context.checkpoint / "model.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"adapter", "lora"}
    assert any(value.any() for name, value in tensors.items() if name.endswith("up.weight")), "it has learnt"
    config = json.loads((context.checkpoint / "config.json").read_text())
    assert (config["frame_weighting"], config["lora_rank"]) == ("semantic", 8)
    clips = [view(clip) for clip in context.dataset.clips("test")]
    texts = TextTable(["red one", "lol"], ["red one", "lol"])
    model = entry.load(dataclasses.replace(context, options={}))
    expected = [row.score.tolist() for row in model.score(clips, [[0, 1]] * len(clips), texts)]
    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(tmp_path / "w")], check=True, capture_output=True, text=True
    )
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-6)
    first = (context.checkpoint / "model.safetensors").read_bytes()
    (context.checkpoint / "training.json").unlink()
    entry.train(context)
    assert (context.checkpoint / "model.safetensors").read_bytes() == first
