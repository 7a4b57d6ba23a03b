"""Simulated recordings in a workspace: whole, repeatable, shared between worlds, with their truth."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import digest_file
from videochat.sample.generate import generate, plan
from videochat.sample.truth import focal_events
from videochat.workspace import Workspace


def _make(
    root: Path, *, world: str = "screen", workers: int = 1, videos: Path | None = None, seed: int = 4
) -> Workspace:
    workspace = Workspace.open(root, create=True, seed=seed)
    summary = generate(workspace, world=world, num_recordings=2, minutes=1.5, num_workers=workers, videos_from=videos)
    assert not summary.failed
    return workspace


def _digests(workspace: Workspace) -> dict[str, str]:
    files = sorted((workspace.root / "raw").rglob("*.*"))
    return {str(path.relative_to(workspace.root)): digest_file(path) for path in files}


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return _make(tmp_path_factory.mktemp("sample") / "screen")


def test_same_bytes_whatever_the_workers(screen: Workspace, tmp_path: Path) -> None:
    again = _make(tmp_path / "two", workers=2)
    assert _digests(again) == _digests(screen)
    assert len(_digests(screen)) == 8


def test_recordings_say_that_they_are_simulated(screen: Workspace) -> None:
    recordings = screen.recordings()
    assert [r.recording_id for r in recordings] == ["sample-s4-0000", "sample-s4-0001"]
    assert len({r.channel for r in recordings}) == 2
    for recording in recordings:
        folder = screen.raw_dir(recording.recording_id)
        assert recording.simulated
        assert recording.duration_ms == 90_000
        assert recording.video_digest == digest_file(folder / "video.mp4")
        assert recording.chat_digest == digest_file(folder / "chat.jsonl.gz")
        lines = gzip.decompress((folder / "chat.jsonl.gz").read_bytes()).splitlines()
        truth = json.loads((folder / "truth.json").read_text())
        assert len(lines) == recording.num_messages == len(truth["answers"])
        assert {json.loads(line)["id"] for line in lines} == set(truth["answers"])
        assert truth["simulated"] is True


def test_a_second_run_makes_nothing_and_a_torn_one_is_mended(tmp_path: Path) -> None:
    workspace = _make(tmp_path / "ws")
    before = _digests(workspace)
    summary = generate(workspace, num_recordings=2, minutes=1.5, num_workers=1)
    assert [attempt.status for attempt in summary.attempts] == ["current", "current"]
    (workspace.raw_dir("sample-s4-0001") / "recording.json").unlink()  # killed before its last file
    (workspace.raw_dir("sample-s4-0001") / "truth.json").write_text("{")
    summary = generate(workspace, num_recordings=2, minutes=1.5, num_workers=1)
    assert [attempt.status for attempt in summary.attempts] == ["current", "ok"]
    assert _digests(workspace) == before


def test_worlds_share_their_videos_and_differ_in_chat(screen: Workspace, tmp_path: Path) -> None:
    linked = _make(tmp_path / "unrelated", world="unrelated", videos=screen.root)
    drawn = _make(tmp_path / "beyond", world="beyond")
    for recording in screen.recordings():
        name = recording.recording_id
        video = screen.raw_dir(name) / "video.mp4"
        assert (linked.raw_dir(name) / "video.mp4").samefile(video)
        assert (drawn.raw_dir(name) / "video.mp4").read_bytes() == video.read_bytes()
        chats = {(w.raw_dir(name) / "chat.jsonl.gz").read_bytes() for w in (screen, linked, drawn)}
        assert len(chats) == 3
        events = [json.loads((w.raw_dir(name) / "truth.json").read_text())["events"] for w in (screen, linked, drawn)]
        assert events[0] == events[1] == events[2]
    assert focal_events(linked) == {}
    assert len(focal_events(screen)) == 6
    assert all(event.in_window for event in focal_events(screen).values())
    assert len(focal_events(drawn)) == 4  # nothing is earlier than the first clip
    assert not any(event.in_window for event in focal_events(drawn).values())


def test_foreign_videos_are_refused(screen: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="sample-s5-0000"):
        _make(tmp_path / "other-seed", videos=screen.root, seed=5)
    assert Workspace.open(tmp_path / "other-seed").recordings() == []


def test_impossible_requests(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path, create=True)
    for wrong in ({"minutes": 0.2}, {"num_recordings": 0}, {"world": "moon"}, {"minutes": 1e9}):
        with pytest.raises(UsageError):
            generate(workspace, **({"num_recordings": 1, "minutes": 1} | wrong))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="seed -1"):
        generate(Workspace.open(tmp_path / "negative", create=True, seed=-1), num_recordings=1, minutes=1)
    assert plan(60, 12)["clips"] == 1440
    with pytest.raises(UsageError):
        plan(0, 12)


def test_truth_is_missing_where_nothing_is_simulated(screen: Workspace, tmp_path: Path) -> None:
    workspace = _make(tmp_path / "ws")
    recording = workspace.recordings()[0]
    (workspace.raw_dir(recording.recording_id) / "truth.json").unlink()
    with pytest.raises(MissingInput, match="truth"):
        focal_events(workspace)
