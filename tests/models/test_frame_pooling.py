"""Frame weights: they sum to one, follow a planted match, and fall back to the mean where nothing can be told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from videochat.models.frame_pooling import frame_weights, similarity


@pytest.mark.parametrize("pooling", ["semantic", "mean", "max", "all", "oracle"])
def test_weights_are_a_distribution_over_the_frames_of_each_clip(make_sfat, views, pooling):
    for weights, clip in zip(make_sfat(pooling).frame_weights(views), views, strict=True):
        assert weights.dtype == np.float32
        assert weights.shape == (len(clip.frames),)
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        assert (weights >= 0).all()


def test_semantic_weights_lie_on_the_frames_that_the_chat_speaks_of(make_sfat, views):
    """The dummies show the object that the context names in seconds 8 to 11."""
    for weights, clip in zip(make_sfat().frame_weights(views), views, strict=True):
        focal = (clip.frame_ms >= clip.start_ms + 8_000) & (clip.frame_ms < clip.start_ms + 12_000)
        assert weights[focal].mean() > 5 * weights[~focal].mean()


def test_oracle_weights_lie_on_the_focal_event_alone(make_sfat, views):
    weights, clip = make_sfat("oracle").frame_weights(views[:1])[0], views[0]
    focal = (clip.frame_ms >= clip.start_ms + 8_000) & (clip.frame_ms < clip.start_ms + 12_000)
    np.testing.assert_allclose(weights, focal / focal.sum())


def test_text_only_has_no_weights_and_an_empty_clip_has_none_either(make_sfat, views):
    assert make_sfat("none").frame_weights(views[:2]) == []
    blind = dataclasses.replace(views[0], frames=None, frame_ms=None)
    assert make_sfat().frame_weights([blind])[0].shape == (0,)


def test_a_video_that_never_changes_makes_semantic_pooling_the_mean(make_sfat, views, texts):
    semantic, mean = make_sfat("semantic", seed=5), make_sfat("mean", seed=5)
    mean.model.load_state_dict(semantic.model.state_dict())
    still = dataclasses.replace(views[0], frames=np.repeat(views[0].frames[:1], len(views[0].frames), axis=0))
    rows = [list(range(6))]
    a, b = (model.score([still], rows, texts)[0].score for model in (semantic, mean))
    np.testing.assert_allclose(a, b, atol=1e-5)
    moving = (model.score([views[0]], rows, texts)[0].score for model in (semantic, mean))
    assert np.abs(np.subtract(*moving)).max() > 1e-3  # the two do differ where something happens


def test_without_comments_semantic_pooling_is_the_mean(make_sfat, views):
    bare = dataclasses.replace(views[0], context=(), context_clip=views[0].context_clip[:0])
    np.testing.assert_allclose(make_sfat().frame_weights([bare])[0], 1 / len(bare.frames), atol=1e-6)


def test_only_the_latest_comments_count(make_sfat, views):
    sfat = make_sfat(max_context_comments=2)
    short = dataclasses.replace(views[0], context=views[0].context[-2:], context_clip=views[0].context_clip[-2:])
    np.testing.assert_array_equal(sfat.frame_weights([views[0]])[0], sfat.frame_weights([short])[0])


def test_similarity_by_hand():
    import torch

    frames = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    comments = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])

    def found(weighting: str, aggregation: str) -> list[float]:
        values = similarity(frames, comments, mask, weighting=weighting, aggregation=aggregation)
        return [round(value, 4) for value in values[0].tolist()]

    assert found("cosine", "sum") == [1.0, 1.0]
    assert found("cosine", "mean") == [0.5, 0.5]
    assert found("dot", "sum") == [3.0, 8.0]
    old, new = 0.5 ** (1 / 5), 1.0  # the second comment is the latest
    assert found("cosine", "recency") == [round(2 * old / (old + new), 4), round(2 * new / (old + new), 4)]


def test_temperature_sharpens_and_max_is_its_limit():
    import torch

    frames = torch.nn.functional.normalize(torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    comments, frame_mask, comment_mask = frames[:, 2:3], torch.ones(1, 6).bool(), torch.ones(1, 1).bool()

    def weights(pooling: str, temperature: float) -> torch.Tensor:
        return frame_weights(pooling, frames, frame_mask, comments, comment_mask, temperature=temperature)[0]

    assert weights("semantic", 0.05)[2] > weights("semantic", 0.5)[2] > 1 / 6
    torch.testing.assert_close(weights("semantic", 1e-4), weights("max", 1.0))
    torch.testing.assert_close(weights("semantic", 1e6), weights("mean", 1.0))


def test_summing_at_a_temperature_is_averaging_at_it_divided_by_the_comments():
    import torch

    generator = torch.Generator().manual_seed(1)
    frames, comments = torch.randn(2, 5, 8, generator=generator), torch.randn(2, 4, 8, generator=generator)
    masks = torch.ones(2, 5).bool(), torch.ones(2, 4).bool()
    summed = frame_weights("semantic", frames, masks[0], comments, masks[1], temperature=0.4, aggregation="sum")
    mean = frame_weights("semantic", frames, masks[0], comments, masks[1], temperature=0.1, aggregation="mean")
    torch.testing.assert_close(summed, mean)


def test_padding_frames_and_comments_get_no_weight_and_move_none():
    import torch

    generator = torch.Generator().manual_seed(2)
    frames, comments = torch.randn(1, 5, 8, generator=generator), torch.randn(1, 4, 8, generator=generator)
    frame_mask, comment_mask = torch.tensor([[1, 1, 1, 0, 0]]).bool(), torch.tensor([[1, 1, 0, 0]]).bool()
    for pooling in ("semantic", "mean", "max"):
        padded = frame_weights(pooling, frames, frame_mask, comments, comment_mask, temperature=0.1)
        bare = frame_weights(
            pooling, frames[:, :3], frame_mask[:, :3], comments[:, :2], comment_mask[:, :2], temperature=0.1
        )
        torch.testing.assert_close(padded[:, :3], bare)
        assert padded[:, 3:].abs().max() == 0


def test_a_learnt_temperature_starts_where_it_is_told_and_gets_a_gradient(make_sfat, clips, views, texts):
    sfat = make_sfat(learn_temperature=True, frame_temperature=0.3)
    fixed = make_sfat(frame_temperature=0.3)
    np.testing.assert_allclose(sfat.frame_weights(views[:2])[0], fixed.frame_weights(views[:2])[0], atol=1e-6)
    batch = sfat.collator.clips(views[:2]) | sfat.collator.responses(texts.texts[:2], [0, 1])
    sfat.model(**batch).loss.backward()
    assert sfat.model.log_temperature.weight.grad.abs().item() > 0
