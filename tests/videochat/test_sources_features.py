"""Precomputed features: unit float16 vectors on the grid, each from the last frame that was there by then."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.errors import BadRecording
from videochat.sources.features import resample, write_features
from videochat.sources.local import ImportItem, import_recordings
from videochat.workspace import Workspace


def save(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def write(tmp_path: Path, features: Any, times: Any = None, step_ms: float | None = None) -> tuple[dict[str, Any], Any]:
    report = write_features(
        save(tmp_path / "f.npy", features),
        None if times is None else save(tmp_path / "t.npy", times),
        final=tmp_path / "out.npz",
        step_ms=step_ms,
        grid_ms=1000,
    )
    return report, np.load(tmp_path / "out.npz")


@settings(deadline=None)
@given(st.lists(st.integers(-5_000, 100_000), min_size=1, max_size=40), st.sampled_from([250, 1000]))
def test_each_grid_point_gets_the_last_frame_by_then(times: list[int], grid_ms: int):
    times_ms = np.array(sorted(times), dtype=np.int64)
    grid, index = resample(times_ms, grid_ms)
    for t, i in zip(grid.tolist(), index.tolist(), strict=True):
        assert t % grid_ms == 0
        assert t >= 0
        assert times_ms[i] == max(time for time in times if time <= t)
    assert list(np.diff(grid)) == [grid_ms] * (len(grid) - 1)
    expected = [t for t in range(0, times_ms[-1] + 1, grid_ms) if t >= times_ms[0]]
    assert set(expected) <= set(grid.tolist())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_type_becomes_unit_float16(tmp_path: Path, dtype: Any):
    vectors = np.random.default_rng(0).normal(size=(50, 16)).astype(dtype) * 10
    report, found = write(tmp_path, vectors, step_ms=200.0)
    assert found["embeddings"].dtype == np.float16
    assert found["frame_ms"].dtype == np.int32
    assert found["frame_ms"].tolist() == list(range(0, 10_000, 1000))
    chosen = vectors[::5].astype(np.float64)
    expected = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-3)
    assert (report["num_frames"], report["num_input"], report["dim"], report["end_ms"]) == (10, 50, 16, 10_000)


def test_times_may_be_odd(tmp_path: Path):
    vectors = np.eye(5, dtype=np.float32)
    report, found = write(tmp_path, vectors, times=[1999.9, 50.2, 2000.0, 3100.0, 5000.0])
    assert found["frame_ms"].tolist() == [1000, 2000, 3000, 4000, 5000]
    assert found["embeddings"].argmax(1).tolist() == [1, 2, 2, 3, 4]
    assert found["pts_ms"].tolist() == [50, 2000, 2000, 3100, 5000]
    assert report["num_unsorted"] == 1


def test_zero_and_broken_frames_are_no_frames(tmp_path: Path):
    vectors = np.eye(4, 8, dtype=np.float32)
    vectors[1] = 0
    vectors[2, 3] = np.nan
    report, found = write(tmp_path, vectors, step_ms=1000)
    assert found["embeddings"].argmax(1).tolist() == [0, 0, 0, 3]
    assert report["num_bad_rows"] == 2


def test_tiny_and_huge_vectors_keep_their_direction(tmp_path: Path):
    vectors = np.array([[3e-30, 4e-30], [3e30, 4e30]], dtype=np.float32)
    _, found = write(tmp_path, vectors, step_ms=1000)
    np.testing.assert_allclose(found["embeddings"], [[0.6, 0.8]] * 2, atol=1e-3)


def test_an_npz_brings_its_times(tmp_path: Path):
    np.savez(tmp_path / "f.npz", embeddings=np.eye(3, dtype=np.float16), frame_ms=np.array([0, 1000, 2500]))
    write_features(tmp_path / "f.npz", None, final=tmp_path / "out.npz", step_ms=None, grid_ms=1000)
    assert np.load(tmp_path / "out.npz")["embeddings"].argmax(1).tolist() == [0, 1, 1]


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    first, _ = write(tmp_path, np.eye(3, dtype=np.float32), step_ms=1000)
    one = (tmp_path / "out.npz").read_bytes()
    second, _ = write(tmp_path, np.eye(3, dtype=np.float32), step_ms=1000)
    assert (first, one) == (second, (tmp_path / "out.npz").read_bytes())


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("features", "times", "words"),
    [
        (b"no array", None, "no .npy"),
        (b"", None, "no .npy"),
        (pickled(), [0], "no .npy"),
        (np.zeros((0, 8), np.float32), [], "no frame"),
        (np.zeros(8, np.float32), [0] * 8, "shape (8,)"),
        (np.zeros((2, 8), np.int64), [0, 1], "int64"),
        (np.zeros((2, 8), np.float32), [0, 1000], "zero or not finite"),
        (np.ones((2, 8), np.float32), None, "no frame times"),
        (np.ones((2, 8), np.float32), [0.0], "shape (1,)"),
        (np.ones((2, 8), np.float32), [0.0, np.nan], "not a number"),
        (np.ones((2, 8), np.float32), [0.0, 1e300], "below 2^31"),
        (np.ones((2, 8), np.float32), ["a", "b"], "shape (2,)"),
    ],
)
def test_bad_features_say_why(tmp_path: Path, features: Any, times: Any, words: str):
    path = tmp_path / "f.npy"
    path.write_bytes(features) if isinstance(features, bytes) else np.save(path, features)
    times_path = None if times is None else save(tmp_path / "t.npy", np.array(times))
    with pytest.raises(BadRecording) as caught:
        write_features(path, times_path, final=tmp_path / "out.npz", step_ms=None, grid_ms=1000)
    assert caught.value.error_class == "bad-features"
    assert words in str(caught.value)
    assert not (tmp_path / "out.npz").exists()


def test_features_stand_in_for_a_video(tmp_path: Path):
    chat = tmp_path / "c.jsonl"
    chat.write_text("".join(json.dumps({"offset_ms": t, "fragments": [["hi", None]]}) + "\n" for t in (0, 9_000)))
    item = ImportItem(
        chat=chat,
        category="Art",
        features=save(tmp_path / "f.npy", np.eye(8, dtype=np.float32)),
        feature_step_ms=1000,
        features_clip="ViT-B-32:openai",
    )
    workspace = Workspace.open(tmp_path / "data", create=True)
    for status in ("ok", "current"):
        (attempt,) = import_recordings(workspace, [item], num_workers=1).attempts
        assert attempt.status == status
    (recording,) = workspace.recordings()
    assert recording.features == "features.npz"
    assert (recording.duration_ms, recording.origin["duration_from"]) == (8_000, "features")
    assert recording.origin["features_model"] == "ViT-B-32:openai"
    assert recording.origin["text_only"] is False
    assert recording.origin["oddities"]["past-end"] == 1
    stored = np.load(workspace.raw_dir(recording.recording_id) / "features.npz")
    assert stored["embeddings"].shape == (8, 8)


def test_missing_features_are_a_failed_row(tmp_path: Path):
    chat = tmp_path / "c.jsonl"
    chat.write_text('{"offset_ms": 1, "fragments": [["hi", null]]}\n')
    item = ImportItem(chat=chat, category="Art", features=tmp_path / "none.npy", features_clip="X:y")
    (attempt,) = import_recordings(Workspace.open(tmp_path / "d", create=True), [item], num_workers=1).attempts
    assert (attempt.status, attempt.error_class) == ("failed", "missing-file")
