"""The end of the key, of the retention, and a data set published as ids."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from videochat.build import build
from videochat.cleaning.run import clean
from videochat.dataset import Dataset
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import digest_file
from videochat.rights.forget import forget
from videochat.rights.ids import BLOCK, MIN_BLOCK, blocks, export_ids, read_ids, runs
from videochat.rights.keys import destroy_key
from videochat.rights.purge import plan as plan_purge
from videochat.rights.purge import purge
from videochat.rights.record import change_record, require_statement
from videochat.rights.search import Request
from videochat.rights.tombstones import Tombstones
from videochat.workspace import Workspace

PAST = datetime.date(2020, 1, 1)


@pytest.fixture
def workspace(planted_copy: Workspace) -> Workspace:
    return planted_copy


def shards(workspace: Workspace) -> dict[str, str]:
    return {str(path): digest_file(path) for path in workspace.shards_dir.rglob("*.parquet")}


# -- what is published


def test_shards_hold_no_name_no_id_and_no_key(planted: Any, workspace: Workspace) -> None:
    stones = Tombstones.open(workspace)
    stones.add("user", ["nobody_1"])
    stones.save()
    names = {row["author"] for number in range(6) for row in planted.chat(number)} | {planted.USER_ID, "id-0-"}
    assert len(names) == 12
    assert planted.traces(workspace.shards_dir, *names, *planted.CHANNELS) == []
    assert len(planted.traces(workspace.root, *planted.CHANNELS)) >= 6, "raw data does hold them"
    for secret in ("pseudonym.key", "tombstone.key"):
        key = (workspace.root / secret).read_bytes()
        for form in (key, key.hex().encode(), base64.b64encode(key)):
            holders = [p.name for p in workspace.root.rglob("*") if p.is_file() and form in p.read_bytes()]
            assert holders in ([secret], []), f"{secret} is in {holders}"


# -- the key


def test_without_the_key_no_name_is_left_and_the_data_set_is_the_same(planted: Any, workspace: Workspace) -> None:
    before, manifest = shards(workspace), Dataset.open(workspace.root).manifest
    pseudonyms = planted.needles(workspace)[-2:]
    result = destroy_key(workspace)
    assert planted.traces(workspace.root, planted.LOGIN, planted.USER_ID, *planted.CHANNELS) == []
    assert planted.traces(workspace.root, "viewer_", "id-0-") == []
    assert not (workspace.root / "pseudonym.key").exists()
    assert any("forget --user" in note for note in result["notes"])
    assert shards(workspace) == before
    built = build(workspace)
    assert built["stamp"] != manifest["stamp"]
    assert (built["digest"], built["files"]) == (manifest["digest"], manifest["files"]), (
        "channels keep their pseudonyms"
    )
    assert planted.traces(workspace.root, *pseudonyms), "rows keep theirs, too"


def test_nothing_is_added_under_a_second_key(workspace: Workspace) -> None:
    destroy_key(workspace)
    for attempt in (
        lambda: clean(workspace, num_workers=1),
        lambda: require_statement(workspace, True),
        lambda: export_ids(workspace, workspace.root / "ids.gz"),
        lambda: destroy_key(workspace),
        workspace.pseudonym_key,
    ):
        with pytest.raises(Mismatch, match="destroyed on 20"):
            attempt()
    assert not (workspace.root / "pseudonym.key").exists()


def test_a_killed_destruction_is_completed(planted: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import videochat.rights.keys as keys

    whole = keys._without_ids
    seen: list[str] = []

    def killed(workspace: Workspace, recording: Any) -> None:
        seen.append(recording.recording_id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        whole(workspace, recording)

    monkeypatch.setattr(keys, "_without_ids", killed)
    with pytest.raises(KeyboardInterrupt):
        destroy_key(workspace)
    with pytest.raises(Mismatch, match="destroyed"):
        clean(workspace, num_workers=1)
    before = Dataset.open(workspace.root).digest
    monkeypatch.setattr(keys, "_without_ids", whole)
    destroy_key(workspace)
    assert planted.traces(workspace.root, planted.LOGIN, *planted.CHANNELS, "id-0-") == []
    assert build(workspace)["digest"] == before


def test_what_forgetting_can_and_cannot_do_without_the_key(planted: Any, workspace: Workspace) -> None:
    pseudonym = planted.needles(workspace)[-2]
    destroy_key(workspace)
    result = forget(workspace, Request(users=(planted.LOGIN,)))
    assert any("key was destroyed" in note for note in result["notes"])
    assert Tombstones.open(workspace).forgets(user=planted.LOGIN), "under its own secret"
    assert planted.traces(workspace.root, pseudonym), "their rows cannot be told"
    assert forget(workspace, Request(pseudonyms=(pseudonym,)))["version"] == 2
    assert planted.traces(workspace.root, pseudonym) == []
    assert forget(workspace, Request(recordings=("twitch-1000000",)))["version"] == 3


def test_a_workspace_without_a_key_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no pseudonym key"):
        destroy_key(Workspace.open(tmp_path / "ws", create=True))


# -- retention


def test_purge_takes_everything_but_the_memory_of_what_to_leave_alone(planted: Any, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="no retention date"):
        purge(workspace)
    forget(workspace, Request(users=("nobody_1",)))
    (workspace.root / "checkpoints" / "sfat").mkdir(parents=True)
    change_record(workspace, retain_until=datetime.date(2999, 1, 1))
    before = shards(workspace)
    assert purge(workspace)["removed"] == []
    assert shards(workspace) == before
    change_record(workspace, retain_until=PAST)
    found = plan_purge(workspace)
    assert found["expired"] and found["files"] > 20 and found["bytes"] > 10_000
    result = purge(workspace)
    assert {"raw", "comments", "shards", "texts", "frames", "pseudonym.key"} <= set(result["removed"])
    assert planted.traces(workspace.root, planted.LOGIN, *planted.CHANNELS, "twitch-1000", "viewer_") == []
    left = {path.name for path in workspace.root.iterdir()}
    assert left == {"workspace.toml", "rights.json", "tombstones.json", "tombstone.key", "ledger.jsonl", ".lock"} | {
        "checkpoints"
    } or left == {"workspace.toml", "rights.json", "tombstones.json", "tombstone.key", "ledger.jsonl", "checkpoints"}
    assert Tombstones.open(workspace).forgets(user="nobody_1")
    assert purge(workspace, checkpoints=True)["removed"] == ["ledger.jsonl", "checkpoints"]


# -- ids


def test_ids_hold_no_text_and_no_name(planted: Any, workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "ids.jsonl.gz"
    result = export_ids(workspace, out)
    text = gzip.decompress(out.read_bytes()).decode().casefold()
    for needle in (*planted.needles(workspace), *planted.CHANNELS, "viewer_", "number", "bravo", "u_", "c_"):
        assert needle.casefold() not in text, needle
    header, rows = read_ids(out)
    assert header["dataset"]["digest"] == Dataset.open(workspace.root).digest
    kept = {
        r.recording_id: pq.read_table(workspace.comments_path(r.recording_id), filters=[("kept", "=", True)])
        for r in workspace.recordings()
    }
    assert {row["recording_id"]: row["ids"] for row in rows} == {
        name: table["comment_id"].to_pylist() for name, table in kept.items()
    }
    assert result["messages"] == sum(len(row["ids"]) for row in rows) > 300
    again = tmp_path / "again.gz"
    export_ids(workspace, again)
    assert again.read_bytes() == out.read_bytes()


def test_forgotten_people_are_not_exported(planted: Any, workspace: Workspace, tmp_path: Path) -> None:
    forget(workspace, Request(users=(planted.LOGIN,)))
    export_ids(workspace, tmp_path / "ids.gz")
    header, rows = read_ids(tmp_path / "ids.gz")
    assert header["dataset"]["version"] == 2
    theirs = {row["id"] for number in range(6) for row in planted.chat(number) if row["author_id"] == planted.USER_ID}
    assert len(theirs) == 108
    assert not theirs & {name for row in rows for name in row["ids"]}


def test_blocks_are_never_small_enough_to_guess() -> None:
    for count in (0, 1, MIN_BLOCK - 1, MIN_BLOCK, BLOCK, BLOCK + 1, BLOCK + MIN_BLOCK, 3 * BLOCK + 5):
        ids = [str(n) for n in range(count)]
        parts = runs(ids)
        assert [name for part in parts for name in part] == ids
        messages: dict[str, Any] = {name: (0, [["lol", None]]) for name in ids}
        digests = blocks(ids, messages)
        assert len(digests) == len(parts)
        for part, digest in zip(parts, digests, strict=True):
            assert (digest is not None) == (len(part) >= MIN_BLOCK)
        if count >= MIN_BLOCK:
            assert all(len(part) >= MIN_BLOCK for part in parts)
            messages["0"] = (0, [["lool", None]])
            assert blocks(ids, messages)[0] != digests[0] and blocks(ids, messages)[1:] == digests[1:]
            del messages["0"]
            assert blocks(ids, messages)[0] is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows[0].update(format="other"), "no list of ids"),
        (lambda rows: rows[0].update(format_version=99), "format 99"),
        (lambda rows: rows.pop(), "holds 5 of 6"),
        (lambda rows: rows[1].update(recording_id="../../etc"), "line 2: recording id"),
        (lambda rows: rows[2].pop("blocks"), "line 3: blocks is missing"),
        (lambda rows: rows[2].update(ids=["a"]), "line 3: blocks do not fit"),
        (lambda rows: rows[2].update(ids=[1]), "line 3: ids is no list"),
        (lambda rows: rows[2].update(duration_ms=1.5), "line 3: a time"),
        (lambda rows: rows[2].update(platform=None), "line 3: a name"),
    ],
)
def test_a_strange_list_is_refused(planted_root: Path, tmp_path: Path, change: Any, problem: str) -> None:
    out = tmp_path / "ids.gz"
    export_ids(Workspace.open(planted_root), out)
    rows = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    change(rows)
    out.write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
    with pytest.raises(UsageError, match=problem):
        read_ids(out)
    out.write_bytes(b"plain")
    with pytest.raises(UsageError, match="no gzip file"):
        read_ids(out)
