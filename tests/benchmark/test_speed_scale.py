"""The benchmarks of scale at a small size: what they compare is the same work, and ours is many times faster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videochat.benchmark.speed import metrics_scale
from videochat.benchmark.speed.candidates_scale import Chat, released_way, side_by_side, whole
from videochat.benchmark.speed.full_size import full_size


def test_the_simulated_chat_is_like_chat(tmp_path: Path) -> None:
    dataset = full_size(tmp_path / "a", num_recordings=20, comments_per_clip=30)
    assert len(dataset) == 20 * 60
    comments = dataset.manifest["num_comments"]
    assert 0.8 < comments / (30 * len(dataset)) < 1.25
    texts = [c.text for clip in dataset.clips() for c in (*clip.context, *clip.responses)]
    assert 0.5 < len(set(texts)) / len(texts) < 0.85, "two thirds of chat texts are unique"
    assert dataset.simulated
    assert full_size(tmp_path / "b", num_recordings=20, comments_per_clip=30).digest == dataset.digest
    assert {row["split"]: row["clips"] for row in dataset.manifest["per_split"]} == {
        "train": 960,
        "dev": 120,
        "test": 120,
    }


def test_the_rival_does_what_the_released_code_does() -> None:
    """FACTS §3: truth first and most similar, own context in the pool, nine of the stored ones."""
    clips = [Chat(context=[f"the boss {n}", "so dead"], responses=[f"boss {n} down", "lol"]) for n in range(30)]
    made = released_way(3, clips, np.random.default_rng(0))
    assert list(made) == ["cosine", "popularity", "random"]
    for texts in made.values():
        assert len(texts) == 10
        assert texts[0] == "boss 3 down"
    assert made["popularity"][1:3] == ["so dead", "lol"]


@pytest.mark.slow
@pytest.mark.alone
def test_candidates_are_made_many_times_faster_than_by_the_released_way(tmp_path: Path) -> None:
    full_size(tmp_path, num_recordings=60)
    found = side_by_side(tmp_path)
    assert found["times faster"] > 15  # 32 where it was measured
    assert whole(tmp_path)["within the limits"]


@pytest.mark.slow
@pytest.mark.alone
def test_metrics_are_those_of_trec_eval_many_times_faster() -> None:
    found = metrics_scale.measure(1_000, 4, rounds=2)
    assert found["side by side"]["largest difference"] <= metrics_scale.TOLERANCE
    assert found["side by side"]["times faster"] > 10
