"""What every model owes the benchmark: a clip's scores depend on that clip and that candidate alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from videochat.commenter import ClipScores, Commenter, view
from videochat.models.batches import empty_view

TOLERANCE = 1e-5
SFAT = [{"pooling": pooling} for pooling in ("semantic", "mean", "max", "attention", "none", "all", "oracle")] + [
    {"pooling": "uniform", "context_positions": "none"},
    {"pooling": "semantic", "learn_temperature": True, "weighting": "dot", "aggregation": "recency"},
    {"pooling": "all", "cross_attention_order": "video_text", "num_fusion_layers": 0, "aggregation": "mean"},
    {"pooling": "semantic", "transcript": "scalar"},
    {"pooling": "semantic", "transcript": "position", "cross_attention_order": "video_text"},
    {"pooling": "none", "transcript": "open"},
    {"pooling": "semantic", "knowledge": "scalar"},
    {"pooling": "semantic", "knowledge": "position", "transcript": "scalar"},
]
BETWEEN = [  # what lies between the description and the released network
    {"released": True, "aggregation": "sum", "learn_temperature": True},
    {"released": True, "pooling": "mean", "memory_marks": True, "num_fusion_layers": 1},
    {"released": True, "pooling": "all", "count_padding": False},
    {"released": True, "pooling": "attention", "context_positions": "recency"},
    {"released": True, "pooling": "none"},
    {"released": True, "weighting": "cosine", "num_video_layers": 0},
    {"released": True, "norm": "pre", "knowledge": "scalar"},
    {"pooling": "semantic", "weighting": "learned", "num_video_layers": 1, "num_video_heads": 4},
    {"pooling": "semantic", "norm": "post", "transcript": "scalar"},
    {"pooling": "semantic", "aggregation": "each", "memory_marks": False},
]
OTHERS = [{"folder": folder} for folder in ("tte", "livebot", "videoic", "klvcg")]
LIKELIHOOD = [*SFAT, *BETWEEN, {"released": True}, *OTHERS]
LANGUAGE = [
    {"folder": "video_chatgpt"},
    {"folder": "video_chatgpt", "lora_rank": 2},
    {"folder": "video_chatgpt", "lora_rank": 2, "frame_weighting": "semantic", "num_frame_tokens": 5},
]
BLIND = [{"folder": folder, "use_video": False} for folder in ("tte", "livebot", "videoic", "klvcg")]
GENERATIVE = [*LIKELIHOOD, *BLIND, *LANGUAGE]  # the last train beside a language model, and do not save that
KINDS = [*GENERATIVE, {"zero_shot": "mean"}, {"zero_shot": "max"}]
ABLATIONS = [*(kind for kind in SFAT if kind["pooling"] not in ("semantic", "none")), *BETWEEN]


def name_of(kind: dict[str, Any]) -> str:
    return "-".join(name if value is True else str(value) for name, value in kind.items())


def quick(kinds: list[dict[str, Any]]) -> list[Any]:
    """SFAT's ablations and mixtures wait for the slow tests."""
    return [pytest.param(kind, marks=pytest.mark.slow) if kind in ABLATIONS else kind for kind in kinds]


@pytest.fixture(params=quick(KINDS), ids=name_of)
def commenter(request: pytest.FixtureRequest, make_model: Callable[..., Any]) -> Any:
    from videochat.models.zero_shot import ClipZeroShot

    kind = dict(request.param)
    return ClipZeroShot(pooling=kind["zero_shot"]) if "zero_shot" in kind else make_model(**kind)


def close(left: ClipScores, right: ClipScores) -> None:
    for name in ("score", "log_likelihood", "num_tokens", "null_log_likelihood"):
        a, b = getattr(left, name), getattr(right, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=TOLERANCE)


def test_scores_have_the_shapes_and_types_of_the_protocol(commenter, views, texts):
    assert isinstance(commenter, Commenter)
    rows = [[0, 1, 2], [3, 4, 5, 6], [7]]
    for found, wanted in zip(commenter.score(views[:3], rows, texts), rows, strict=True):
        assert found.score.shape == (len(wanted),)
        assert found.score.dtype == np.float64
        assert np.isfinite(found.score).all()
        if found.log_likelihood is not None:
            assert found.num_tokens.dtype == np.int32
            assert (found.log_likelihood < 0).all()
            assert (found.num_tokens >= 2).all()  # a text has a token, and the end counts
            assert np.isfinite(found.null_log_likelihood).all()


def test_batch_size_and_neighbours_change_no_score(commenter, views, texts):
    rows = [list(range(n % 7 + 1)) for n in range(12)]
    together = commenter.score(views[:12], rows, texts)
    for clip, wanted, found in zip(views, rows, together, strict=False):
        close(found, commenter.score([clip], [wanted], texts)[0])


def test_order_and_number_of_candidates_change_no_score(commenter, views, texts):
    rows = list(range(len(texts)))
    whole = commenter.score(views[:1], [rows], texts)[0]
    close(
        ClipScores(**{f.name: _at(getattr(whole, f.name), rows[::-1]) for f in dataclasses.fields(whole)}),
        commenter.score(views[:1], [rows[::-1]], texts)[0],
    )
    for row in rows[::5]:
        one = commenter.score(views[:1], [[row]], texts)[0]
        assert one.score[0] == pytest.approx(whole.score[row], abs=TOLERANCE, rel=TOLERANCE)


def _at(values: Any, rows: list[int]) -> Any:
    return None if values is None else values[rows]


def test_later_comments_frames_and_words_change_no_score(commenter, clips, texts):
    """The view is built from the clip, so whatever comes after the context must not matter to any model."""
    clip = clips[1]
    later = dataclasses.replace(
        clip,
        responses=tuple(dataclasses.replace(comment, text="SPOILER") for comment in clip.responses),
        frames=np.where((clip.frame_ms < clip.context_end_ms)[:, None], clip.frames, -clip.frames),
        transcript=tuple(
            dataclasses.replace(segment, text=segment.text if segment.end_ms <= clip.context_end_ms else "SPOILER")
            for segment in clip.transcript
        ),
    )
    assert later.transcript != clip.transcript
    rows = [list(range(10))]
    close(commenter.score([view(clip)], rows, texts)[0], commenter.score([view(later)], rows, texts)[0])


def test_an_empty_clip_has_finite_scores_without_context(commenter, texts):
    assert np.isfinite(commenter.score([empty_view()], [[0, 1]], texts)[0].score).all()


def test_a_clip_without_frames_or_without_comments_has_finite_scores(commenter, views, texts):
    bare = dataclasses.replace(views[0], context=(), context_clip=views[0].context_clip[:0])
    blind = dataclasses.replace(views[0], frames=views[0].frames[:0], frame_ms=views[0].frame_ms[:0])
    for found in commenter.score([bare, views[1], blind], [[0, 1]] * 3, texts):
        assert np.isfinite(found.score).all()


def test_no_clips_give_no_scores(commenter, texts):
    assert commenter.score([], [], texts) == []


@pytest.fixture(params=quick(GENERATIVE), ids=name_of)
def likely(request: pytest.FixtureRequest, make_model: Callable[..., Any]) -> Any:
    """A model with log-likelihoods and `generate`."""
    return make_model(**request.param)


def test_shared_scoring_equals_a_plain_forward_for_each_candidate(likely, views, texts):
    import torch

    rows = list(range(8))
    found = likely.score(views[2:3], [rows], texts)[0]
    batch = likely.collator.clips(views[2:3])
    for row in rows:
        ids = torch.tensor([likely.collator.response_ids(texts.texts[row])])
        with torch.no_grad():
            logits = likely.model(**batch, decoder_input_ids=ids[:, :-1]).logits
        expected = logits.double().log_softmax(-1).gather(-1, ids[:, 1:, None]).sum()
        assert found.log_likelihood[row] == pytest.approx(float(expected), abs=1e-4)
        assert found.num_tokens[row] == ids.shape[1] - 1


def test_null_likelihood_is_that_of_an_empty_clip(likely, views, texts):
    found = likely.score(views[:1], [[0, 1, 2]], texts)[0]
    empty = likely.score([empty_view()], [[0, 1, 2]], texts)[0]
    np.testing.assert_allclose(found.null_log_likelihood, empty.log_likelihood, atol=1e-5)


def test_greedy_generation_with_cache_equals_step_by_step_without(likely, views):
    import torch

    from videochat.models.generation import SaysSomething, comments_of

    found = likely.generate(views[:3], max_new_tokens=6)
    rule = SaysSomething(likely.tokenizer, start=1, max_new_tokens=6)
    batch = likely.collator.clips(views[:3])
    ids = torch.full((3, 1), likely.collator.response_ids("")[0])
    ended = torch.zeros(3, dtype=torch.bool)
    for _ in range(6):
        with torch.no_grad():
            best = rule(ids, likely.model(**batch, decoder_input_ids=ids).logits[:, -1]).argmax(-1)
        best = torch.where(ended, torch.full_like(best, likely.tokenizer.pad_token_id), best)
        ended |= best == likely.tokenizer.eos_token_id
        ids = torch.cat([ids, best[:, None]], 1)
    assert found == comments_of(likely.tokenizer, ids[:, 1:])
    assert all(found)


def test_sampling_and_beams_run_and_follow_the_seed(make_sfat, views):
    sfat = make_sfat()
    first = sfat.generate(views[:2], max_new_tokens=5, seed=3, top_k=50)
    assert first == sfat.generate(views[:2], max_new_tokens=5, seed=3, top_k=50)
    assert len(sfat.generate(views[:2], max_new_tokens=5, num_beams=2)) == 2


@pytest.mark.parametrize("kind", quick(LIKELIHOOD), ids=name_of)
def test_weights_survive_saving_and_loading(make_model, kind, views, tmp_path):
    """`from_pretrained` builds on the meta device: what is not a saved weight would come back as garbage."""
    import torch

    likely = make_model(**kind)
    likely.model.save_pretrained(tmp_path)
    batch, ids = likely.collator.clips(views[:4]), torch.tensor([[1, 5, 9]] * 4)
    with torch.no_grad():
        expected = likely.model(**batch, decoder_input_ids=ids).logits
        found = type(likely.model).from_pretrained(tmp_path).eval()(**batch, decoder_input_ids=ids).logits
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_fresh_process_scores_as_the_one_that_saved(make_sfat, views, tmp_path):
    import subprocess
    import sys

    import torch
    from safetensors.torch import load_file, save_file

    sfat = make_sfat(learn_temperature=True)
    sfat.model.save_pretrained(tmp_path)
    batch, ids = sfat.collator.clips(views[:4]), torch.tensor([[1, 5, 9]] * 4)
    with torch.no_grad():
        expected = sfat.model(**batch, decoder_input_ids=ids).logits
    save_file({**{k: v.contiguous() for k, v in batch.items()}, "ids": ids}, tmp_path / "batch.safetensors")
    script = (
        "import sys, torch; from safetensors.torch import load_file, save_file;"
        "from videochat.models.sfat.model import SfatModel;"
        "torch.set_num_threads(1); model = SfatModel.from_pretrained(sys.argv[1]).eval();"
        "batch = load_file(sys.argv[1] + '/batch.safetensors'); ids = batch.pop('ids');"
        "logits = model(**batch, decoder_input_ids=ids).logits.detach();"
        "save_file({'logits': logits}, sys.argv[1] + '/logits.safetensors')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    torch.testing.assert_close(load_file(tmp_path / "logits.safetensors")["logits"], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "kind",
    [
        {"pooling": "semantic"},
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (
                {"pooling": "none"},
                {"pooling": "all"},
                {"pooling": "semantic", "transcript": "scalar"},
                {"pooling": "semantic", "knowledge": "scalar"},
                {"released": True},
                *OTHERS,
            )
        ),
    ],
    ids=name_of,
)
def test_one_batch_can_be_learnt_by_heart(make_model, clips, kind):
    import torch

    from videochat.models.examples import ResponseBatches, examples_of

    likely = make_model(**kind, dropout=0.0)
    examples = examples_of(clips[:4], max_context_comments=15)
    draw = ResponseBatches(examples=examples, collator=likely.collator, responses_per_clip=1, null_probability=0.0)
    batch = draw(np.arange(4), np.random.default_rng(0))
    model = likely.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    first = model(**batch).loss.item()
    for _ in range(60):
        loss, num_tokens = model(**batch)
        optimizer.zero_grad()
        (loss / num_tokens).backward()
        optimizer.step()
    assert loss.item() < 0.1 * first
