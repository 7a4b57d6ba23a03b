"""In bfloat16 a model ranks as it does in float32, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest

OTHERS = ("sfat_released", "tte", "livebot", "videoic", "klvcg", "video_chatgpt")


@pytest.mark.parametrize("folder", ["sfat", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_bfloat16_moves_no_likelihood_by_a_hundredth_and_hardly_any_first_place(make_model, views, texts, folder):
    import torch

    model = make_model(folder)
    rows = [list(range(len(texts)))] * 20
    exact = model.score(views[:20], rows, texts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.score(views[:20], rows, texts)
    pairs = list(zip(exact, rounded, strict=True))
    assert any((a.score != b.score).any() for a, b in pairs), "it did run in bfloat16"
    for a, b in pairs:
        np.testing.assert_allclose(b.log_likelihood, a.log_likelihood, rtol=1e-2)
    same = [(a.score / a.num_tokens).argmax() == (b.score / b.num_tokens).argmax() for a, b in pairs]
    assert np.mean(same) >= 0.95
