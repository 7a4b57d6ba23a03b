"""Forgetting: nothing of a planted person is left in any file of a workspace, and nobody else loses a word."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videochat.build import build
from videochat.cleaning.pseudonyms import pseudonym
from videochat.cleaning.run import clean
from videochat.dataset import Dataset
from videochat.errors import UsageError
from videochat.files import digest_file, parquet_metadata
from videochat.rights.forget import forget, plan, read_pending
from videochat.rights.search import Request
from videochat.rights.tombstones import Tombstones
from videochat.validate import validate_shards
from videochat.workspace import Workspace


def rows_of(workspace: Workspace) -> list[dict[str, Any]]:
    return Dataset.open(workspace.root).table().to_pylist()


@pytest.fixture
def workspace(planted_copy: Workspace) -> Workspace:
    return planted_copy


def test_a_planted_person_is_in_no_file(planted: Any, workspace: Workspace) -> None:
    wanted = planted.needles(workspace)
    assert {needle for _, needle in planted.traces(workspace.root, *wanted)} == set(wanted), (
        "the search would find them"
    )
    before = plan(workspace, Request(users=(planted.LOGIN,)))
    result = forget(workspace, Request(users=(f"@{planted.LOGIN.upper()}",)))
    assert planted.traces(workspace.root, *wanted) == []
    assert (
        result["messages"]
        == before["messages"]
        == sum(row["author_id"] == planted.USER_ID for number in range(6) for row in planted.chat(number))
    )
    assert result["version"] == 2
    assert result["failed"] == []
    assert all(finding.ok for finding in validate_shards(workspace.root))
    assert read_pending(workspace) is None


def test_the_next_version_is_the_old_one_without_the_items(planted: Any, workspace: Workspace) -> None:
    old_rows, old = rows_of(workspace), Dataset.open(workspace.root).manifest
    gone = set(planted.needles(workspace))
    forget(workspace, Request(users=(planted.LOGIN,)))
    expected = []
    num_lost = 0
    for row in old_rows:
        stay = [
            [c["author"] not in gone and planted.LOGIN not in c["text"] for c in row[s]]
            for s in ("context", "responses")
        ]
        num_lost += sum(not ok for side in stay for ok in side)
        for side, mask in zip(("context", "responses"), stay, strict=True):
            row[side] = [comment for comment, ok in zip(row[side], mask, strict=True) if ok]
        row["context_clip"] = [vector for vector, ok in zip(row["context_clip"], stay[0], strict=True) if ok]
        if row["context"] and row["responses"]:
            expected.append(row)
        else:
            num_lost += len(row["context"]) + len(row["responses"])
    new = Dataset.open(workspace.root).manifest
    assert rows_of(workspace) == expected
    assert len(expected) == len(old_rows) - 1, "one clip had no other answer"
    assert new["version"] == 2
    (entry,) = new["takedowns"]
    assert entry["previous"] == old["digest"] != new["digest"] == entry["digest"]
    assert (entry["clips"], entry["comments"], entry["recordings"]) == (1, num_lost, 0)
    assert old["num_comments"] - new["num_comments"] == num_lost
    assert "Version 2" in (workspace.shards_dir / "README.md").read_text()
    for name in ("previous", "digest"):
        assert isinstance(entry[name], str)


def test_a_build_from_the_comments_gives_the_same_version(planted: Any, workspace: Workspace) -> None:
    forget(workspace, Request(users=(planted.LOGIN,)))
    rows, manifest = rows_of(workspace), Dataset.open(workspace.root).manifest
    built = build(workspace)
    assert built["stamp"] != manifest["stamp"], "it was built again"
    assert rows_of(workspace) == rows
    same = (
        "digest",
        "version",
        "takedowns",
        "drops",
        "num_messages",
        "per_split",
        "per_category",
        "files",
        "recordings",
    )
    assert {name: built[name] for name in same} == {name: manifest[name] for name in same}


def test_cleaning_and_import_do_not_bring_the_person_back(
    planted: Any, workspace: Workspace, planted_root: Path, tmp_path: Path
) -> None:
    wanted = planted.needles(workspace)
    forget(workspace, Request(users=(planted.LOGIN,)))
    left = {r.recording_id: r.chat_digest for r in workspace.recordings()}
    clean(workspace, num_workers=1)
    build(workspace, text_only=True)
    assert planted.traces(workspace.root, *wanted) == []
    # The same files imported elsewhere under the same tombstones give the same raw planted.chat.
    other = Workspace.open(tmp_path / "other", create=True)
    for name in ("tombstones.json", "tombstone.key"):
        os.link(workspace.root / name, other.root / name)
    summary = planted.import_chats(other, tmp_path)
    assert not summary.failed
    assert summary.total("forgotten") > 0
    assert {r.recording_id: r.chat_digest for r in other.recordings()} == left
    assert planted.traces(other.root, planted.LOGIN, planted.USER_ID, "purple submarines") == []
    # A raw planted.chat restored from a backup is cleaned without them.
    name = "twitch-1000000"
    backup = planted_root / "raw" / name / "chat.jsonl.gz"
    (workspace.raw_dir(name) / "chat.jsonl.gz").write_bytes(backup.read_bytes())
    clean(workspace, num_workers=1)
    text = json.dumps(pq.read_table(workspace.comments_path(name)).to_pylist())
    assert not [needle for needle in wanted if needle in text]


def test_the_funnel_counts_without_the_person(planted: Any, workspace: Workspace) -> None:
    forget(workspace, Request(users=(planted.LOGIN,)))
    for recording in workspace.recordings():
        path = workspace.comments_path(recording.recording_id)
        metadata, table = parquet_metadata(path), pq.read_table(path)
        assert metadata["counts"]["num_messages"] == recording.num_messages - _cleaned_away(metadata, table, recording)
        assert metadata["counts"]["num_kept"] == sum(table["kept"].to_pylist()) == metadata["funnel"][-1]["left"]
        for entry in metadata["funnel"]:
            if entry["drops"]:
                assert entry["count"] == table["reason"].to_pylist().count(entry["rule"])
        assert table["position"].to_pylist() == list(range(table.num_rows))


def _cleaned_away(metadata: dict[str, Any], table: pa.Table, recording: Any) -> int:
    """Rows of others that went because their cleaned text still named the person."""
    return int(recording.num_messages - table.num_rows)


def test_a_channel_goes_with_everything_of_it(planted: Any, workspace: Workspace) -> None:
    channel = pseudonym(workspace.pseudonym_key(), "channel", "twitch", planted.CHANNELS[0])
    names = ("twitch-1000000", "twitch-1000001")
    (workspace.root / ".crawl" / names[0]).mkdir(parents=True)
    (workspace.root / ".crawl" / names[0] / "pages.jsonl").write_text("{}\n")
    assert planted.traces(workspace.root, channel) and planted.traces(workspace.root, planted.CHANNELS[0])
    result = forget(workspace, Request(channels=(planted.CHANNELS[0],)))
    assert result["recordings"] == list(names)
    assert result["dataset"]["recordings"] == 2
    assert planted.traces(workspace.root, channel, planted.CHANNELS[0], *names) == []
    assert {row["recording_id"] for row in rows_of(workspace)} == {f"twitch-100000{n}" for n in range(2, 6)}
    assert not (workspace.root / ".crawl" / names[0]).exists()
    stones = Tombstones.open(workspace)
    assert stones.forgets(channel=planted.CHANNELS[0].upper())
    assert stones.forgets(recording_id=f"{names[0]}-t600")
    summary = planted.import_chats(workspace, workspace.root.parent)
    assert [a.error_class for a in summary.failed] == ["forgotten", "forgotten"]
    assert planted.traces(workspace.root, planted.CHANNELS[0]) == []


def test_a_part_of_a_recording_does_not_take_the_others(workspace: Workspace) -> None:
    stones = Tombstones.open(workspace)
    forget(workspace, Request(recordings=("twitch-5-t600",)))
    stones = Tombstones.open(workspace)
    assert stones.forgets(recording_id="twitch-5-t600")
    assert stones.forgets(recording_id="twitch-5"), "the whole would bring it back"
    assert not stones.forgets(recording_id="twitch-5-t1200")
    assert len(workspace.recordings()) == 6


def test_forgetting_every_recording_leaves_no_shards(planted: Any, workspace: Workspace) -> None:
    result = forget(workspace, Request(channels=planted.CHANNELS))
    assert "digest" not in result["dataset"]
    assert not workspace.shards_dir.exists()
    assert workspace.recordings() == []
    assert planted.traces(workspace.root, *planted.CHANNELS) == []


def test_somebody_who_never_wrote_changes_nothing_but_gets_a_tombstone(workspace: Workspace) -> None:
    def digests() -> dict[str, str]:
        files = [path for path in workspace.root.rglob("*") if path.is_file()]
        ours = ("tombstone", "ledger", ".lock")
        return {str(p): digest_file(p) for p in files if not p.name.startswith(ours)}

    before = digests()
    result = forget(workspace, Request(users=("nobody_1",)))
    assert result["version"] is None
    assert digests() == before
    assert Tombstones.open(workspace).forgets(user="Nobody_1")
    assert "nobody" not in (workspace.root / "tombstones.json").read_text()
    assert oct((workspace.root / "tombstone.key").stat().st_mode & 0o777) == "0o600"


def test_a_name_that_is_a_word_stays_in_what_others_wrote(planted: Any, workspace: Workspace) -> None:
    result = forget(workspace, Request(user_ids=(planted.USER_ID,), words=False))
    assert planted.traces(workspace.root, planted.USER_ID, "purple submarines") == []
    left = [name for name, _ in planted.traces(workspace.root, planted.LOGIN)]
    assert any("chat.jsonl.gz" in name for name in left)
    assert any("--take-words" in note for note in result["notes"])
    assert not [1 for _, text in planted.everything(workspace.root) if f"@{planted.LOGIN}" in text], (
        "@names go all the same"
    )


def test_a_common_word_is_not_taken_for_a_name_unasked(planted: Any, workspace: Workspace) -> None:
    before = _tree(workspace.root)
    with pytest.raises(UsageError, match="may be a word"):
        forget(workspace, Request(users=("wonderful",)))
    assert _tree(workspace.root) == before
    forget(workspace, Request(users=("wonderful",), words=False))
    assert _tree(workspace.root) == before
    forget(workspace, Request(users=("wonderful",), words=True))
    assert [name for name, _ in planted.traces(workspace.root, "wonderful")] == []


def test_candidate_sets_and_runs_of_the_old_version_go(planted: Any, workspace: Workspace) -> None:
    manifest = Dataset.open(workspace.root).manifest
    for kind, name, facts in (
        ("candidates", "v1", "manifest.json"),
        ("runs", "v1-sfat-1", "run.json"),
        ("checkpoints", "sfat", "training.json"),
    ):
        folder = workspace.root / kind / name
        folder.mkdir(parents=True)
        (folder / facts).write_text(json.dumps({"data_digest": manifest["digest"]}))
        (folder / "page.html").write_text(planted.TEXT)
    forget(workspace, Request(users=("nobody_1",)))
    assert (workspace.root / "runs" / "v1-sfat-1").is_dir(), "nothing of that person is in it"
    result = forget(workspace, Request(users=(planted.LOGIN,)))
    assert (result["candidates"], result["runs"]) == (["v1"], ["v1-sfat-1"])
    assert result["stale_checkpoints"] == ["sfat"], "named, and kept: training is dear"
    again = forget(workspace, Request(users=(planted.LOGIN,), recordings=("twitch-1000000",)), checkpoints=True)
    assert again["checkpoints"] == ["sfat"]
    assert planted.traces(workspace.root, "purple submarines") == []


def test_a_damaged_chat_is_said_and_tried_again(planted: Any, workspace: Workspace) -> None:
    path = workspace.raw_dir("twitch-1000001") / "chat.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    result = forget(workspace, Request(users=(planted.LOGIN,)))
    assert [row["recording_id"] for row in result["failed"]] == ["twitch-1000001"]
    assert oct((workspace.root / "forgetting.json").stat().st_mode & 0o777) == "0o600"
    assert [row["recording_id"] for row in forget(workspace)["failed"]] == ["twitch-1000001"]
    assert forget(workspace, Request(recordings=("twitch-1000001",)))["failed"] == []
    assert planted.traces(workspace.root, *planted.needles(workspace)) == []
    with pytest.raises(UsageError, match="nobody is named"):
        forget(workspace)


# Ends itself by SIGKILL before its n-th change of the file system; without one it prints how many there were.
KILL = """
import os, signal, sys
from videochat.workspace import Workspace
from videochat.rights.forget import forget
from videochat.rights.search import Request

count = 0

def counted(function):
    def call(*arguments, **options):
        global count
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("replace", "rename", "unlink", "rmdir", "link", "mkdir", "fsync"):
    setattr(os, name, counted(getattr(os, name)))
workspace = Workspace.open(sys.argv[1])
with workspace.lock():
    forget(workspace, Request(users=("planted_user7",), channels=("streamer_two",)))
print(count)
"""


def _tree(root: Path) -> dict[str, str]:
    skip = ("tombstone", "ledger", ".lock", "pseudonym")
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(skip)]
    return {str(path.relative_to(root)): digest_file(path) for path in files}


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_completes_it(planted: Any, planted_root: Path, tmp_path: Path) -> None:
    request = Request(users=(planted.LOGIN,), channels=("streamer_two",))
    plain = tmp_path / "plain" / "ws"
    shutil.copytree(planted_root, plain)
    done = subprocess.run([sys.executable, "-c", KILL, str(plain), "0"], capture_output=True, text=True, check=True)
    expected, num_steps = _tree(plain), int(done.stdout)
    assert num_steps > 60
    for step in np.linspace(1, num_steps, 20).astype(int).tolist():
        root = tmp_path / str(step) / "ws"
        shutil.copytree(planted_root, root)
        killed = subprocess.run([sys.executable, "-c", KILL, str(root), str(step)], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        forget(Workspace.open(root), request)
        assert _tree(root) == expected, f"killed before change {step} of {num_steps}"
        assert planted.traces(root, *planted.needles(Workspace.open(root))) == []
