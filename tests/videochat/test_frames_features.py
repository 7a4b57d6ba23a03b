"""The build-features step: files, ledger rows, resumption, equal bytes for any number of threads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from videochat.errors import MissingInput
from videochat.files import digest_file, parquet_metadata, write_parquet
from videochat.frames import frame_files
from videochat.frames.clip_model import load_clip
from videochat.frames.decode import frames_at
from videochat.frames.features import build_features, plan_features
from videochat.frames.video import ffmpeg_path
from videochat.ledger import Attempt
from videochat.schema import COMMENTS, Recording, frames_schema, texts_schema
from videochat.workspace import Workspace

CONFIG = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "tiny"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 s of a moving pattern whole and cut in half, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    source = ffmpeg.input("testsrc2=size=96x64:rate=10:duration=6", format="lavfi")
    output = ffmpeg.output(
        source, str(folder / "whole.mp4"), vcodec="libx264", g=10, pix_fmt="yuv420p", movflags="faststart"
    )
    subprocess.run(output.global_args("-loglevel", "error").compile(cmd=ffmpeg_path()), check=True)
    data = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    (folder / "text.mp4").write_text("not a video")
    return folder


def add(
    workspace: Workspace, name: str, video: Path | None = None, texts: Sequence[str] = ("hi", "gg"), **fields: object
) -> None:
    """A recording of 6 s with comments; the text "dropped" is not kept."""
    folder = workspace.raw_dir(name)
    folder.mkdir(parents=True)
    if video is not None:
        (folder / "video.mp4").write_bytes(video.read_bytes())
        fields |= {"video": "video.mp4", "video_digest": digest_file(video)}
    base = {"platform": "file", "platform_id": name, "channel": "c", "category": "x", "duration_ms": 6000}
    workspace.add_recording(
        Recording(recording_id=name, num_messages=len(texts), chat_digest="", **(base | fields))  # type: ignore[arg-type]
    )
    columns = {field.name: pa.nulls(len(texts), field.type) for field in COMMENTS}
    columns |= {"text": pa.array(texts), "kept": pa.array([text != "dropped" for text in texts])}
    write_parquet(pa.table(columns, schema=COMMENTS), workspace.comments_path(name), {"stamp": "test"})


def workspace_at(root: Path, clip_folder: Path) -> Workspace:
    return Workspace.open(root, create=True, clip=str(clip_folder))


def files_of(workspace: Workspace) -> dict[str, bytes]:
    return {
        f"{kind}/{path.name}": path.read_bytes()
        for kind in ("frames", "texts")
        for path in sorted((workspace.root / kind).glob("*.parquet"))
    }


def test_every_recording_gets_features_or_a_reason(tmp_path: Path, clip_folder: Path, videos: Path) -> None:
    workspace = workspace_at(tmp_path, clip_folder)
    add(workspace, "a-whole", videos / "whole.mp4", ["gg", "hello", "gg", "dropped"])
    add(workspace, "b-cut", videos / "cut.mp4")
    add(workspace, "c-text", videos / "text.mp4")
    add(workspace, "d-chat-only")
    summary = build_features(workspace, device="cpu")
    assert [(a.status, a.error_class) for a in summary.attempts] == [
        ("ok", None),
        ("ok", None),
        ("failed", "unreadable-video"),
        ("skipped", None),
    ]
    assert summary.exit_code == 3
    whole, cut, broken, chat_only = summary.attempts
    assert whole.counts == {"frames": 6, "missing_frames": 0, "texts": 2} and whole.reason is None
    assert chat_only.reason == "no video" and broken.reason and "cannot be opened" in broken.reason
    assert cut.counts["frames"] + cut.counts["missing_frames"] == 6 and 1 <= cut.counts["frames"] < 6
    assert cut.reason and "frames are missing" in cut.reason
    assert workspace.ledger.latest("build-features")["b-cut"].reason == cut.reason
    assert sorted(files_of(workspace)) == [
        "frames/a-whole.parquet", "frames/b-cut.parquet", "texts/a-whole.parquet", "texts/b-cut.parquet",
    ]  # fmt: skip

    clip = load_clip(str(clip_folder))
    table = pq.read_table(workspace.frames_path("a-whole"))
    assert table.schema.equals(frames_schema(16), check_metadata=False)
    assert table["frame_ms"].to_pylist() == list(range(0, 6000, 1000))
    pictures = [clip.prepare(f.rgb) for f in frames_at(videos / "whole.mp4", step_ms=1000, shortest=32)]
    stored = np.array(table["embedding"].to_pylist(), np.float16)
    np.testing.assert_array_equal(stored, clip.encode_images(np.stack(pictures)))
    table = pq.read_table(workspace.texts_path("a-whole"))
    assert table.schema.equals(texts_schema(16), check_metadata=False)
    assert table["text"].to_pylist() == ["gg", "hello"]

    metadata = parquet_metadata(workspace.frames_path("a-whole"))
    assert metadata["fingerprint"]["weights"] == clip.fingerprint["weights"]
    assert metadata["fingerprint"]["decoder"].endswith("exact")
    assert parquet_metadata(workspace.frames_path("b-cut"))["num_missing"] == cut.counts["missing_frames"]


def test_running_again_does_nothing_and_a_changed_input_is_done_again(
    tmp_path: Path, clip_folder: Path, videos: Path
) -> None:
    workspace = workspace_at(tmp_path, clip_folder)
    add(workspace, "a", videos / "whole.mp4")
    assert build_features(workspace, device="cpu").count("ok") == 1
    before = files_of(workspace)
    assert build_features(workspace, device="cpu").count("current") == 1
    assert files_of(workspace) == before
    workspace.texts_path("a").unlink()
    again = build_features(workspace, device="cpu").attempts[0]
    assert again.counts == {"texts": 2} and files_of(workspace) == before
    by_keyframes = build_features(workspace, device="cpu", mode="keyframe").attempts[0]
    assert by_keyframes.counts == {"frames": 6, "missing_frames": 0}
    assert parquet_metadata(workspace.frames_path("a"))["mode"] == "keyframe"


def test_frames_of_a_video_that_broke_since_do_not_stay(tmp_path: Path, clip_folder: Path, videos: Path) -> None:
    workspace = workspace_at(tmp_path, clip_folder)
    add(workspace, "a", videos / "whole.mp4")
    build_features(workspace, device="cpu")
    broken = workspace.recordings()[0].to_json() | {"video_digest": digest_file(videos / "text.mp4")}
    (workspace.raw_dir("a") / "video.mp4").write_text("not a video")
    workspace.add_recording(Recording.from_json(broken))
    assert build_features(workspace, device="cpu").exit_code == 3
    assert not workspace.frames_path("a").exists()


def test_bytes_do_not_depend_on_the_number_of_threads(
    tmp_path: Path, clip_folder: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_files, "SEGMENT_FRAMES", 32)  # several segments in a short video
    found = []
    for workers in (1, 3):
        workspace = Workspace.open(tmp_path / str(workers), create=True, clip=str(clip_folder))
        workspace = workspace.change(geometry=type(workspace.settings.geometry)(frame_step_ms=50))
        for name in ("a", "b"):
            add(workspace, name, videos / "whole.mp4")
        threads = torch.get_num_threads()
        assert build_features(workspace, device="cpu", num_workers=workers).total("frames") == 240
        assert torch.get_num_threads() == threads
        found.append(files_of(workspace))
    assert found[0] == found[1]
    assert found[0]["frames/a.parquet"] == found[0]["frames/b.parquet"]


def test_frames_of_another_workspace_are_reused_where_they_are_the_same(
    tmp_path: Path, clip_folder: Path, videos: Path
) -> None:
    first = workspace_at(tmp_path / "first", clip_folder)
    second = workspace_at(tmp_path / "second", clip_folder)
    add(first, "a", videos / "whole.mp4")
    add(second, "a", videos / "whole.mp4", ["other chat"])
    add(second, "b", videos / "cut.mp4")
    build_features(first, device="cpu")
    summary = build_features(second, device="cpu", reuse=first.root)
    assert [a.counts.get("reused", False) for a in summary.attempts] == [True, False]
    assert summary.attempts[0].counts["frames"] == 6
    assert first.frames_path("a").samefile(second.frames_path("a"))
    assert pq.read_table(second.texts_path("a"))["text"].to_pylist() == ["other chat"]


def test_comments_come_first(tmp_path: Path, clip_folder: Path, videos: Path) -> None:
    workspace = workspace_at(tmp_path, clip_folder)
    add(workspace, "a", videos / "whole.mp4")
    workspace.comments_path("a").unlink()
    with pytest.raises(MissingInput, match="videochat clean"):
        build_features(workspace, device="cpu")
    workspace.ledger.add(Attempt(step="clean", recording_id="a", status="failed", error_class="x", reason="x"))
    assert build_features(workspace, device="cpu").attempts[0].status == "skipped"


def test_a_text_only_workspace_loads_no_model(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path, create=True, clip="no-such:model")
    add(workspace, "a")
    assert build_features(workspace).attempts[0].reason == "no video"


def test_precomputed_features_go_on_the_grid(tmp_path: Path, clip_folder: Path) -> None:
    workspace = workspace_at(tmp_path, clip_folder)
    ours = {"features_model": str(clip_folder)}
    add(workspace, "a", features="features.npz", origin=ours)
    add(workspace, "b", features="features.npz", origin=ours)
    add(workspace, "c", features="features.npz", origin=ours)
    add(workspace, "d", features="features.npz", origin={"features_model": "ViT-B-32:openai"})
    rng = np.random.default_rng(0)
    given_ms = np.array([0, 900, 1100, 2000, 3500], np.int32)
    given = rng.normal(size=(5, 16)).astype(np.float16)
    np.savez(workspace.raw_dir("a") / "features.npz", embeddings=given, frame_ms=given_ms)
    np.savez(workspace.raw_dir("b") / "features.npz", embeddings=given[:, :8], frame_ms=given_ms)
    (workspace.raw_dir("c") / "features.npz").write_bytes(b"no archive")
    np.savez(workspace.raw_dir("d") / "features.npz", embeddings=given, frame_ms=given_ms)
    ok, narrow, broken, strange = build_features(workspace, device="cpu").attempts
    assert (narrow.error_class, broken.error_class) == ("clip-mismatch", "bad-features")
    assert strange.error_class == "features-of-another-clip" and "--clip ViT-B-32:openai" in str(strange.reason)
    assert ok.counts["missing_frames"] == 1 and ok.reason and "1 of 6 frames" in ok.reason
    table = pq.read_table(workspace.frames_path("a"))
    assert table["frame_ms"].to_pylist() == [0, 1000, 2000, 3000, 4000]
    assert table["pts_ms"].to_pylist() == [0, 900, 2000, 2000, 3500]
    stored = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=2e-3)
    unit = given[3].astype(np.float32) / np.linalg.norm(given[3].astype(np.float32))
    np.testing.assert_allclose(stored[2], unit, atol=1e-3)
    fingerprint = parquet_metadata(workspace.frames_path("a"))["fingerprint"]
    assert fingerprint["imported"] and fingerprint["model"] == str(clip_folder)


def test_the_plan_counts_hours_and_frames(tmp_path: Path, clip_folder: Path, videos: Path) -> None:
    workspace = workspace_at(tmp_path, clip_folder)
    add(workspace, "a", videos / "whole.mp4", duration_ms=3_600_500)
    add(workspace, "b")
    plan = plan_features(workspace)
    assert (plan["recordings"], plan["text_only"], plan["frames"], plan["hours"]) == (1, 1, 3601, 1.0)
    assert plan["bytes"] == 3601 * (16 * 2 + 8)
    assert not (workspace.root / "frames").exists()


@pytest.mark.gpu
def test_on_cuda_the_features_are_the_same_up_to_bfloat16(tmp_path: Path, clip_folder: Path, videos: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = []
    for device in ("cpu", "cuda"):
        workspace = workspace_at(tmp_path / device, clip_folder)
        add(workspace, "a", videos / "whole.mp4")
        build_features(workspace, device=device)
        table = pq.read_table(workspace.frames_path("a"))
        found.append(np.array(table["embedding"].to_pylist(), np.float32))
    assert (found[0] * found[1]).sum(axis=1).min() > 0.99
