"""What every model that weighs frames owes, what a model without video does, and that a fresh process loads each."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from videochat.models import auto

SEMANTIC: list[dict[str, Any]] = [
    {"pooling": "semantic"},
    {"pooling": "semantic", "transcript": "scalar"},
    {"pooling": "semantic", "learn_temperature": True, "aggregation": "recency"},
    {"pooling": "semantic", "weighting": "dot", "aggregation": "mean", "frame_temperature": 0.02},
    {"pooling": "semantic", "aggregation": "each"},
    {"folder": "video_chatgpt", "frame_weighting": "semantic", "lora_rank": 2},
]
WEIGHING = [
    *SEMANTIC,
    *({"pooling": pooling} for pooling in ("mean", "max", "all", "oracle", "attention")),
    {"released": True},
    {"folder": "klvcg"},
    {"folder": "video_chatgpt"},
]
WITHOUT_VIDEO = ("tte", "livebot", "videoic", "klvcg")


def name_of(kind: dict[str, Any]) -> str:
    return "-".join(name if value is True else str(value) for name, value in kind.items())


@pytest.mark.parametrize("kind", WEIGHING, ids=name_of)
def test_frame_weights_are_a_distribution_over_the_frames_of_each_clip(make_model, views, kind):
    model = make_model(**kind)
    rows = model.frame_weights(views[:6])
    assert len(rows) == 6
    for weights, clip in zip(rows, views, strict=False):
        assert weights.dtype == np.float32
        assert weights.shape == (len(clip.frames),)
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", SEMANTIC, ids=name_of)
def test_semantic_weights_follow_a_planted_match_and_are_the_mean_of_a_still_video(make_model, views, kind):
    """The dummies show what the context names in seconds 8 to 11."""
    model = make_model(**kind)
    for weights, clip in zip(model.frame_weights(views[:6]), views, strict=False):
        focal = (clip.frame_ms >= clip.start_ms + 8_000) & (clip.frame_ms < clip.start_ms + 12_000)
        assert weights[focal].mean() > 3 * weights[~focal].mean()
    still = dataclasses.replace(views[0], frames=np.repeat(views[0].frames[:1], len(views[0].frames), axis=0))
    np.testing.assert_allclose(model.frame_weights([still])[0], 1 / len(still.frames), atol=1e-6)


@pytest.mark.parametrize("folder", WITHOUT_VIDEO)
def test_without_video_a_model_needs_chat_alone_and_no_frame_reaches_it(make_model, views, texts, folder):
    blind, seeing = make_model(folder, use_video=False), make_model(folder)
    assert blind.needs == frozenset()
    assert seeing.needs == frozenset({"frames"})
    clip = views[2]
    turned = dataclasses.replace(clip, frames=-clip.frames)
    gone = dataclasses.replace(clip, frames=None, frame_ms=None, context_clip=None)
    rows = [[0, 1, 2]]
    expected = blind.score([clip], rows, texts)[0].score
    for other in (turned, gone):
        np.testing.assert_array_equal(blind.score([other], rows, texts)[0].score, expected)
    assert np.abs(seeing.score([clip], rows, texts)[0].score - seeing.score([turned], rows, texts)[0].score).max() > 0


LOAD = """
import json, sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM
from videochat.models import auto
torch.set_num_threads(1)
auto.register()
for folder in sys.argv[1:]:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    batch = load_file(folder + "/batch.safetensors")
    ids = batch.pop("ids")
    with torch.no_grad():
        save_file({"logits": model(**batch, decoder_input_ids=ids).logits.contiguous()}, folder + "/logits.safetensors")
"""


@pytest.mark.slow
def test_a_fresh_process_opens_each_model_by_its_folder_alone_and_scores_the_same(
    make_model: Callable[..., Any], views, tmp_path
):
    """transformers builds on the meta device: a table that is not saved would come back as garbage (FACTS §10)."""
    import torch
    from safetensors.torch import load_file, save_file

    expected = {}
    kinds = {name: {"folder": name} for name in auto.FOLDERS}
    kinds["audio"] = {"pooling": "semantic", "transcript": "position"}
    kinds["blind"] = {"folder": "tte", "use_video": False}
    for name, kind in kinds.items():
        made, folder = make_model(**kind), tmp_path / name
        made.model.save_pretrained(folder)
        batch, ids = made.collator.clips(views[:3]), torch.tensor([[1, 5, 9]] * 3)
        save_file({**{k: v.contiguous() for k, v in batch.items()}, "ids": ids}, folder / "batch.safetensors")
        with torch.no_grad():
            expected[name] = made.model(**batch, decoder_input_ids=ids).logits
        assert json.loads((folder / "config.json").read_text())["model_type"] == made.model.config.model_type
    folders = [str(tmp_path / name) for name in kinds]
    subprocess.run([sys.executable, "-c", LOAD, *folders], check=True, capture_output=True)
    for name, logits in expected.items():
        found = load_file(tmp_path / name / "logits.safetensors")["logits"]
        torch.testing.assert_close(found, logits, atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
