"""The lag: a planted delay is found to the second, none where there is none, and the sample world's own latency."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from videochat.benchmark.audits.lag import FOUND_P, MIN_COMMENTS, Aligned, Lag, align, estimate, measure, min_seconds
from videochat.cli import cli
from videochat.cli.audit import sentence
from videochat.errors import MissingInput
from videochat.workspace import Workspace

DIM, SECONDS = 12, 900


def stream(random, *, delay=None, num_comments=400, noise=1.0):
    """A recording on its grid: events of some seconds; comments about what was shown `delay` seconds before."""
    events = np.repeat(random.standard_normal((SECONDS // 5 + 1, DIM)), 5, axis=0)[:SECONDS]
    shown = events + 0.3 * random.standard_normal((SECONDS, DIM)) + 3 * random.standard_normal(DIM)
    times = np.sort(random.integers(40, SECONDS, size=num_comments))
    about = random.standard_normal((num_comments, DIM)) if delay is None else events[times - delay]
    comments = about + noise * random.standard_normal((num_comments, DIM)) + 2 * random.standard_normal(DIM)
    return align(times, comments.astype(np.float32), np.arange(SECONDS), shown.astype(np.float32), SECONDS)


@pytest.mark.parametrize("delay", [0, 4, 17, 30])
def test_a_planted_delay_is_found(delay):
    lag, _ = estimate(stream(np.random.default_rng(delay), delay=delay), "c", 30)
    # an event lasts 5 s, so the frames within it are as near: the delay is that of the middle of what fits
    assert lag.delay_s is not None and abs(lag.delay_s - delay) <= 1
    assert lag.found and lag.p is not None and lag.p < 0.005 and lag.z is not None and lag.z > 5
    assert lag.low is not None and lag.high is not None and lag.low <= lag.delay_s <= lag.high
    assert lag.high - lag.low <= 4 and len(lag.curve) == 31
    assert lag.at_the_edge == (lag.delay_s == 30)


def test_without_a_relation_p_is_uniform():
    p = [estimate(stream(np.random.default_rng(seed)), "c", 30)[0].p for seed in range(120)]
    assert np.mean(np.array(p) < 0.05) <= 0.12  # 6 expected; 14 or fewer with p > .999
    assert 0.35 < np.mean(p) < 0.65


def test_the_correlation_is_the_sum_by_hand_and_the_windows_add_up():
    given = stream(np.random.default_rng(1), delay=3, num_comments=200)
    around = given.correlation()
    for delay in (0, 1, 7):
        shifted = np.roll(given.frames, delay, axis=0)
        assert around[delay] == pytest.approx(float((given.comments * shifted).sum()), rel=1e-3, abs=1e-2)
    assert given.windows(8).sum(axis=0) == pytest.approx(around[:8], rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("max_delay_s", [1, 30, 300])
def test_the_shortest_recording_still_has_a_null(max_delay_s):
    random, num = np.random.default_rng(0), min_seconds(max_delay_s)
    frames, comments = random.standard_normal((2, num, DIM)).astype(np.float32)
    given = Aligned(comments=comments, frames=frames, num_comments=np.ones(num, np.int64))
    lag, kept = estimate(given, "c", max_delay_s)
    assert len(kept.null) >= 3 and lag.p is not None and 0.005 < lag.p <= 1 and not lag.found
    still, _ = estimate(dataclasses.replace(given, frames=np.zeros_like(frames)), "c", max_delay_s)
    assert still.p == 1 and still.z is None


def test_frames_and_comments_outside_and_lacking_count_as_nothing():
    times = np.array([-3, 5, 10_000])
    given = align(times, np.ones((3, DIM), np.float32), np.array([4, 70]), np.ones((2, DIM), np.float32), 60)
    assert given.num_comments.sum() == 1 and (given.frames == 0).all()  # one frame is its own surroundings


def test_what_cannot_be_measured_is_said(planted_copy):
    found = measure(planted_copy)
    assert {row.reason for row in found.recordings} == {"240 s long, shorter than 420 s"}
    assert found.pooled == Lag() and sentence(found) == "No recording could be measured."
    name = found.recordings[0].recording_id
    planted_copy.frames_path(name).unlink()
    planted_copy.texts_path(found.recordings[1].recording_id).unlink()
    reasons = [row.reason for row in measure(planted_copy).recordings]
    assert reasons[:2] == ["no frames: text-only", "no embedded comments"]
    result = CliRunner().invoke(cli, ["audit", "lag", "--data", str(planted_copy.root)], standalone_mode=False)
    assert result.return_value == 0 and "no frames: text-only" in result.stdout
    shutil.rmtree(planted_copy.root / "raw")
    with pytest.raises(MissingInput, match="no recordings"):
        measure(planted_copy)


def sample(folder, *, world, spec, offset_ms=0):
    from videochat.cleaning.run import clean
    from videochat.files import write_json
    from videochat.frames.features import build_features
    from videochat.sample.generate import generate

    workspace = Workspace.open(folder, create=True, seed=5)
    generate(workspace, world=world, num_recordings=5, minutes=8, spec=spec, num_workers=1)
    for recording in workspace.recordings():  # chat that is out of step with its video
        moved = dataclasses.replace(recording, offset_ms=offset_ms).to_json()
        write_json(workspace.raw_dir(recording.recording_id) / "recording.json", moved)
    clean(workspace, num_workers=1)
    build_features(workspace, num_workers=1)
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize(("latency_ms", "offset_ms"), [(1_000, 0), (2_500, 0), (1_000, 9_000)])
def test_the_latency_of_the_sample_world_is_found(tmp_path, latency_ms, offset_ms):
    """Most comments come right after the least latency, while what they name is on screen."""
    from videochat.sample.world import WorldSpec

    spec = WorldSpec(min_latency_ms=latency_ms, mean_latency_ms=1_000)
    workspace = sample(tmp_path / "ws", world="screen", spec=spec, offset_ms=offset_ms)
    lag = measure(workspace).pooled
    assert lag.found and lag.delay_s is not None
    # comments carry whole seconds, cut off: half a second is lost on average
    assert abs(lag.delay_s - (latency_ms + offset_ms - 500) / 1000) <= 1, lag
    result = CliRunner().invoke(cli, ["audit", "lag", "--json", "--data", str(workspace.root)], standalone_mode=False)
    value = json.loads(result.stdout)
    assert value["pooled"]["delay_s"] == lag.delay_s and len(value["recordings"]) == 5
    assert all(row["num_comments"] > MIN_COMMENTS and row["reason"] is None for row in value["recordings"])


@pytest.mark.slow
def test_no_lag_is_found_where_chat_does_not_refer(tmp_path):
    from videochat.sample.world import WorldSpec

    workspace = sample(tmp_path / "ws", world="unrelated", spec=WorldSpec())
    found = measure(workspace)
    assert found.pooled.p is not None and found.pooled.p >= FOUND_P, found.pooled
    assert sentence(found).startswith("No lag was found")
