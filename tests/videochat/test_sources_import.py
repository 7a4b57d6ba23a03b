"""Imports: whole folders or none, the same again is current, another content is a conflict, identities, durations."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videochat.schema import Recording
from videochat.sources.local import ImportItem, import_recordings, plan_import
from videochat.workspace import Workspace


def chat(path: Path, num_messages: int = 3, *, step: int = 10, text: str = "hi", packed: bool = False) -> Path:
    nodes = [
        {
            "id": f"{path.stem}-{number}",
            "commenter": {"id": "1", "login": "ann"},
            "contentOffsetSeconds": number * step,
            "message": {"fragments": [{"emote": None, "text": text}], "userBadges": []},
        }
        for number in range(num_messages)
    ]
    data = json.dumps(nodes).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def run(workspace: Workspace, *items: ImportItem, **more: Any) -> list[tuple[str, str | None]]:
    summary = import_recordings(workspace, items, num_workers=1, **more)
    return [(attempt.status, attempt.error_class) for attempt in summary.attempts]


def contents(workspace: Workspace) -> dict[str, bytes]:
    raw = workspace.root / "raw"
    return {str(path.relative_to(raw)): path.read_bytes() for path in sorted(raw.rglob("*")) if path.is_file()}


def test_a_text_only_recording_says_so(tmp_path: Path, workspace: Workspace):
    path = chat(tmp_path / "c.json")
    assert run(workspace, ImportItem(chat=path, category="Art", channel="ann", title="T")) == [("ok", None)]
    (recording,) = workspace.recordings()
    stored = gzip.decompress((workspace.raw_dir(recording.recording_id) / "chat.jsonl.gz").read_bytes())
    digest = hashlib.sha256(stored).hexdigest()
    assert recording.chat_digest == digest
    assert recording.recording_id == f"file-{digest[:12]}"
    assert (recording.platform, recording.platform_id, recording.channel) == ("twitch", "", "ann")
    assert (recording.duration_ms, recording.num_messages, recording.video) == (21_000, 3, None)
    assert recording.origin["text_only"] is True
    assert recording.origin["duration_from"] == "last-comment"
    assert recording.origin["source"]["sha256"]["chat"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(tmp_path) not in json.dumps(recording.to_json())
    (attempt,) = workspace.ledger
    assert attempt.counts["recording_id"] == recording.recording_id
    assert attempt.counts["messages"] == 3


def test_the_same_again_is_current_and_changes_no_byte(tmp_path: Path, workspace: Workspace):
    item = ImportItem(chat=chat(tmp_path / "c.json"), category="Art")
    run(workspace, item)
    before = contents(workspace)
    assert run(workspace, item) == [("current", None)]
    assert contents(workspace) == before
    other = Workspace.open(tmp_path / "other", create=True)
    run(other, item)
    assert contents(other) == before


def test_the_id_of_a_file_does_not_depend_on_its_packing(tmp_path: Path, workspace: Workspace):
    plain = ImportItem(chat=chat(tmp_path / "c.json"), category="Art")
    (tmp_path / "packed").mkdir()
    packed = ImportItem(chat=chat(tmp_path / "packed/c.json", packed=True), category="Art")
    assert run(workspace, plain) == [("ok", None)]
    assert run(workspace, packed) == [("current", None)]


def test_other_content_under_the_same_id_is_a_conflict_unless_replaced(tmp_path: Path, workspace: Workspace):
    first = ImportItem(chat=chat(tmp_path / "a.json"), category="Art", platform_id="7")
    second = ImportItem(chat=chat(tmp_path / "b.json"), category="Music", platform_id="7")
    run(workspace, first)
    before = contents(workspace)
    assert run(workspace, second) == [("failed", "conflict")]
    assert contents(workspace) == before
    reason = workspace.ledger.latest("import")[second.recording_id].reason
    assert reason is not None
    assert "category" in reason
    assert "chat_digest" in reason
    assert run(workspace, second, replace=True) == [("ok", None)]
    (recording,) = workspace.recordings()
    assert (recording.recording_id, recording.category) == ("twitch-7", "Music")
    assert not list((workspace.root / ".import").iterdir())


def test_two_items_of_one_id_in_one_run(tmp_path: Path, workspace: Workspace):
    items = [ImportItem(chat=chat(tmp_path / f"{n}.json", 3 + n), category="Art", platform_id="7") for n in range(2)]
    summary = import_recordings(workspace, items, num_workers=2)
    assert sorted(attempt.status for attempt in summary.attempts) == ["failed", "ok"]
    assert len(workspace.recordings()) == 1


def test_a_list_goes_on_past_a_bad_item(tmp_path: Path, workspace: Workspace):
    items = [
        ImportItem(chat=tmp_path / "missing.json", category="Art"),
        ImportItem(chat=chat(tmp_path / "a.json"), category="Art"),
        ImportItem(chat=chat(tmp_path / "empty.json", 0), category="Art"),
        ImportItem(chat=chat(tmp_path / "b.json"), category="Art"),
    ]
    summary = import_recordings(workspace, items, num_workers=1)
    assert sorted(attempt.error_class or "" for attempt in summary.attempts) == ["", "", "missing-file", "no-messages"]
    assert summary.exit_code == 3
    assert len(workspace.recordings()) == 2
    assert len(list(workspace.ledger)) == 4


def test_limit(tmp_path: Path, workspace: Workspace):
    items = [ImportItem(chat=chat(tmp_path / f"{n}.json"), category="Art") for n in range(3)]
    assert run(workspace, *items, limit=2) == [("ok", None)] * 2


def test_an_info_file_beside_the_chat_is_found(tmp_path: Path, workspace: Workspace):
    path = chat(tmp_path / "x.comments.json.gz", packed=True)
    (tmp_path / "x.vod.json").write_text('{"vod_id": "918", "title": null, "duration": 29190}')
    run(workspace, ImportItem(chat=path, category="Art"))
    (recording,) = workspace.recordings()
    assert (recording.recording_id, recording.platform_id) == ("twitch-918", "918")
    assert (recording.duration_ms, recording.origin["duration_from"]) == (29_190_000, "declared")
    assert recording.origin["info"] == "x.vod.json"


def test_yt_dlp_info(tmp_path: Path, workspace: Workspace):
    info = tmp_path / "i.json"
    facts = {"id": "v123", "extractor_key": "TwitchVod", "uploader_id": "ann", "duration": 90.5, "title": "Live"}
    info.write_text(json.dumps(facts))
    run(workspace, ImportItem(chat=chat(tmp_path / "c.json"), category="Art", info=info))
    (recording,) = workspace.recordings()
    assert (recording.recording_id, recording.channel, recording.title) == ("twitch-123", "ann", "Live")
    assert recording.duration_ms == 90_500


@pytest.mark.parametrize("text", ["", "[]", "{", '{"vod_id": '])
def test_a_bad_info_file(tmp_path: Path, workspace: Workspace, text: str):
    info = tmp_path / "i.json"
    info.write_text(text)
    item = ImportItem(chat=chat(tmp_path / "c.json"), category="Art", info=info)
    assert run(workspace, item) == [("failed", "bad-info")]


def test_info_and_chat_of_two_videos_do_not_pair(tmp_path: Path, workspace: Workspace):
    path = tmp_path / "c.json"
    comment = {"_id": "1", "content_id": "55", "content_offset_seconds": 1, "commenter": None, "message": {"body": "x"}}
    path.write_text(json.dumps({"comments": [comment]}))
    (tmp_path / "c.info.json").write_text('{"id": "v66", "extractor": "twitch:vod"}')
    item = ImportItem(chat=path, category="Art")
    assert run(workspace, item) == [("failed", "id-mismatch")]
    (tmp_path / "c.info.json").unlink()
    assert run(workspace, item) == [("ok", None)]
    assert workspace.recordings()[0].recording_id == "twitch-55"


def test_a_hostile_id_stays_a_file_name(tmp_path: Path, workspace: Workspace):
    item = ImportItem(chat=chat(tmp_path / "c.json"), category="Art", platform_id="../../etc/passwd", platform="../x")
    assert run(workspace, item) == [("ok", None)]
    (recording,) = workspace.recordings()
    assert "/" not in recording.recording_id
    assert not recording.recording_id.startswith(".")
    assert workspace.raw_dir(recording.recording_id).parent == workspace.root / "raw"


def test_offset_moves_the_end_and_what_is_past_it(tmp_path: Path, workspace: Workspace):
    path = chat(tmp_path / "c.json")
    run(workspace, ImportItem(chat=path, category="Art", offset_ms=5_000))
    run(workspace, ImportItem(chat=path, category="Art", offset_ms=5_000, duration_ms=25_000, platform_id="9"))
    last, declared = workspace.recordings()
    assert (last.offset_ms, last.duration_ms, last.origin["oddities"]) == (5_000, 26_000, {})
    assert (declared.duration_ms, declared.origin["oddities"]) == (25_000, {"past-end": 1})


def test_the_video_is_linked_and_tells_the_length(tmp_path: Path, workspace: Workspace):
    import av
    import numpy as np

    video = tmp_path / "My Film.MP4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for value in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value * 10, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    item = ImportItem(chat=chat(tmp_path / "c.json"), category="Art", video=video)
    assert run(workspace, item) == [("ok", None)]
    (recording,) = workspace.recordings()
    linked = workspace.raw_dir(recording.recording_id) / "video.mp4"
    assert recording.video == linked.name
    assert linked.samefile(video)
    assert recording.video_digest == hashlib.sha256(video.read_bytes()).hexdigest()
    assert (recording.duration_ms, recording.origin["duration_from"]) == (4_000, "video")
    assert recording.origin["text_only"] is False
    assert recording.origin["oddities"] == {"past-end": 2}


def test_a_broken_video_is_imported_with_a_note(tmp_path: Path, workspace: Workspace):
    video = tmp_path / "v.mp4"
    video.write_bytes(b"no video at all")
    assert run(workspace, ImportItem(chat=chat(tmp_path / "c.json"), category="Art", video=video)) == [("ok", None)]
    (recording,) = workspace.recordings()
    assert recording.video == "video.mp4"
    assert recording.origin["duration_from"] == "last-comment"
    assert recording.origin["probe_error"]
    assert str(tmp_path) not in recording.origin["probe_error"]


def test_a_missing_video_is_a_failed_row(tmp_path: Path, workspace: Workspace):
    item = ImportItem(chat=chat(tmp_path / "c.json"), category="Art", video=tmp_path / "none.mp4")
    assert run(workspace, item) == [("failed", "missing-file")]
    assert workspace.recordings() == []


def test_an_unfinished_folder_is_replaced(tmp_path: Path, workspace: Workspace):
    item = ImportItem(chat=chat(tmp_path / "c.json"), category="Art", platform_id="7")
    rubbish = workspace.raw_dir("twitch-7") / "chat.jsonl.gz"
    rubbish.parent.mkdir(parents=True)
    rubbish.write_bytes(b"half")
    assert run(workspace, item) == [("ok", None)]
    assert gzip.decompress(rubbish.read_bytes()).count(b"\n") == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from videochat.sources import local
from videochat.workspace import Workspace

real = local.write_json
def die(path, value):
    real(path, value)
    os.kill(os.getpid(), signal.SIGKILL)
local.write_json = die
workspace = Workspace.open(sys.argv[1], create=True)
local.import_recordings(workspace, [local.ImportItem(chat=Path(sys.argv[2]), category="Art")], num_workers=1)
"""


@pytest.mark.slow
def test_killed_before_the_end_nothing_is_there_and_the_next_run_completes(tmp_path: Path):
    path = chat(tmp_path / "c.json")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "data", path], check=False)
    assert done.returncode == -signal.SIGKILL
    workspace = Workspace.open(tmp_path / "data")
    assert workspace.recordings() == []
    assert len(list((workspace.root / ".import").iterdir())) == 1
    assert run(workspace, ImportItem(chat=path, category="Art")) == [("ok", None)]
    assert not list((workspace.root / ".import").iterdir())
    assert len(workspace.recordings()) == 1


def test_the_number_of_processes_changes_nothing(tmp_path: Path):
    items = [ImportItem(chat=chat(tmp_path / f"{n}.json", 5 + n), category="Art") for n in range(3)]
    results = []
    for workers in (1, 2):
        workspace = Workspace.open(tmp_path / f"data{workers}", create=True)
        import_recordings(workspace, items, num_workers=workers)
        results.append(contents(workspace))
    assert results[0] == results[1]
    assert len(results[0]) == 6


def test_a_plan_counts_and_writes_nothing(tmp_path: Path):
    good = ImportItem(chat=chat(tmp_path / "a.json"), category="Art", duration_ms=1_800_000)
    bad = ImportItem(chat=tmp_path / "none.json", category="Music")
    before = sorted(os.listdir(tmp_path))
    plan = plan_import([good, bad])
    assert (plan["recordings"], plan["text_only"], plan["declared_hours"]) == (2, 2, 0.5)
    assert plan["bytes"] == good.chat.stat().st_size
    assert plan["formats"] == {"twitch-graphql": 1}
    assert plan["categories"] == {"Art": 1, "Music": 1}
    assert len(plan["problems"]) == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_recordings_come_back_from_their_json(tmp_path: Path, workspace: Workspace):
    run(workspace, ImportItem(chat=chat(tmp_path / "c.json"), category="Art"))
    (recording,) = workspace.recordings()
    assert Recording.from_json(json.loads(json.dumps(recording.to_json()))) == recording
