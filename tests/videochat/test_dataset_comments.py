"""The comments of a dataset without its features are those of its clips, in the same order."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("dim", [8, None])
def test_comments_are_those_of_the_clips_in_their_order(tmp_path, dummies, dim):
    dataset = dummies.make_dataset(tmp_path / "w", num_channels=3, clips_per_recording=4, dim=dim)
    for split in ("train", "test", None):
        expected = [comment for clip in dataset.clips(split) for comment in (*clip.context, *clip.responses)]
        assert list(dataset.comments(split)) == expected
        assert expected
