"""In bfloat16 a model ranks as it does in float32, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest

OTHERS = ("tte", "livebot", "videoic", "klvcg", "video_chatgpt")
KINDS = [{"released": True}, *({"folder": folder} for folder in OTHERS)]


@pytest.mark.parametrize("kind", [{}, *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS)], ids=str)
def test_bfloat16_moves_no_likelihood_by_a_hundredth_and_hardly_any_first_place(make_model, views, texts, kind):
    import torch

    model = make_model(**kind)
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
