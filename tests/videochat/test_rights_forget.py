"""Forgetting: nothing of a planted person is left in any file of a workspace, and nobody else loses a word."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videochat.build import build
from videochat.cleaning.pseudonyms import pseudonym
from videochat.cleaning.run import clean
from videochat.dataset import Dataset
from videochat.errors import UsageError
from videochat.files import digest_file, parquet_metadata, write_parquet
from videochat.frames.text_files import stamp_of
from videochat.rights.forget import forget, plan, read_pending
from videochat.rights.search import Request
from videochat.rights.tombstones import Tombstones
from videochat.schema import frames_schema, texts_schema
from videochat.sources.items import ImportItem
from videochat.sources.local import import_recordings
from videochat.validate import validate_shards
from videochat.workspace import Workspace

LOGIN = "planted_user7"
USER_ID = "777001777"
TEXT = "my grandmother sells purple submarines"
DIM = 8
FINGERPRINT = {"model": "m", "dim": DIM}
CHANNELS = ("streamer_one", "streamer_two", "streamer_three")
MINUTES = 4


def message(number: int, offset_ms: int, author: str, text: str, author_id: str | None = None) -> dict[str, Any]:
    return {
        "id": f"id-{number}-{offset_ms}-{author}",
        "offset_ms": offset_ms,
        "author": author,
        "author_id": author_id or f"9{sum(map(ord, author))}",
        "badges": [],
        "fragments": [[text, None]],
    }


def chat(number: int) -> list[dict[str, Any]]:
    """A chat in which the planted person writes, is greeted, and once stands alone on the answering side of a clip."""
    rows = []
    words = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "wonderful")
    for index, offset in enumerate(range(0, MINUTES * 60_000, 3000)):
        in_responses = offset % 30_000 >= 20_000
        if not (number == 0 and 30_000 <= offset < 60_000 and in_responses):
            rows.append(
                message(number, offset, f"viewer_{index % 7}", f"{words[index % 8]} number {index} of {number}")
            )
        if index % 5 == 2:
            rows.append(message(number, offset, "Planted_User7", f"{TEXT} {index} {number}", USER_ID))
        if index % 11 == 3:
            rows.append(message(number, offset, "viewer_1", f"hey @{LOGIN} good {words[index % 7]} {index}"))
    rows.append(message(number, 55_000, LOGIN, f"{TEXT} alone {number}", USER_ID))
    rows.append(message(number, 71_000, "viewer_2", f"i think {LOGIN} is right about {number}"))
    rows.append(message(number, 100_000, "renamed_user8", f"{TEXT} under my new name {number}", USER_ID))
    return sorted(rows, key=lambda row: row["offset_ms"])


def make_workspace(folder: Path, *, features: bool = True) -> Workspace:
    """Imported, cleaned, with features and shards: three channels, two recordings each."""
    workspace = Workspace.open(folder / "ws", create=True, split_fractions=(0.34, 0.33, 0.33))
    import_chats(workspace, folder)
    clean(workspace, num_workers=1)
    random = np.random.default_rng(0)
    for recording in workspace.recordings() if features else ():
        name = recording.recording_id
        kept = pq.read_table(workspace.comments_path(name), filters=[("kept", "=", True)])["text"].to_pylist()
        texts = sorted(set(kept))
        for path, schema, first, stamp in (
            (workspace.frames_path(name), frames_schema(DIM), list(range(0, recording.duration_ms, 1000)), "f"),
            (workspace.texts_path(name), texts_schema(DIM), texts, stamp_of(texts, FINGERPRINT)),
        ):
            vectors = random.standard_normal((len(first), DIM))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            columns = [first] * (len(schema) - 1) + [list(vectors.astype(np.float16))]
            write_parquet(pa.table(columns, schema=schema), path, {"stamp": stamp, "fingerprint": FINGERPRINT})
    build(workspace)
    return workspace


def import_chats(workspace: Workspace, folder: Path) -> Any:
    items = []
    for number in range(6):
        path = folder / f"chat{number}.jsonl"
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in chat(number)))
        items.append(
            ImportItem(
                chat=path,
                category="Art",
                channel=CHANNELS[number // 2],
                title=f"playing with @{LOGIN}",
                platform="twitch",
                platform_id=f"100000{number}",
                duration_ms=MINUTES * 60_000,
            )
        )
    return import_recordings(workspace, items, num_workers=1)


def everything(root: Path) -> Iterator[tuple[str, str]]:
    """(path, all text in it, lower case) of every file of a workspace: gzip unpacked, Parquet with its metadata."""
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield str(path.relative_to(root)), data.decode("utf-8", "replace").casefold()
        if path.suffix == ".gz":
            yield f"{path.name} unpacked", gzip.decompress(data).decode().casefold()
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            plain = table.drop_columns([n for n in ("frames", "context_clip", "embedding") if n in table.column_names])
            text = json.dumps(plain.to_pylist(), default=str, ensure_ascii=False)
            yield f"{path.name} rows", (text + str(table.schema.metadata)).casefold()


def traces(root: Path, *needles: str) -> list[tuple[str, str]]:
    return [(name, n) for name, text in everything(root) for n in needles if n.casefold() in text]


def rows_of(workspace: Workspace) -> list[dict[str, Any]]:
    return Dataset.open(workspace.root).table().to_pylist()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that tests copy; the folder beside it holds the imported files."""
    return make_workspace(tmp_path_factory.mktemp("rights")).root


@pytest.fixture
def workspace(original: Path, tmp_path: Path) -> Workspace:
    subprocess.run(["cp", "-a", str(original), str(tmp_path / "ws")], check=True)
    return Workspace.open(tmp_path / "ws")


def needles(workspace: Workspace) -> tuple[str, ...]:
    key = workspace.pseudonym_key()
    names = [pseudonym(key, "author", "twitch", name) for name in (LOGIN, "renamed_user8")]
    return (LOGIN, "renamed_user8", USER_ID, "purple submarines", *names)


def test_a_planted_person_is_in_no_file(workspace: Workspace) -> None:
    wanted = needles(workspace)
    assert {needle for _, needle in traces(workspace.root, *wanted)} == set(wanted), "the search would find them"
    before = plan(workspace, Request(users=(LOGIN,)))
    result = forget(workspace, Request(users=(f"@{LOGIN.upper()}",)))
    assert traces(workspace.root, *wanted) == []
    assert (
        result["messages"]
        == before["messages"]
        == sum(row["author_id"] == USER_ID for number in range(6) for row in chat(number))
    )
    assert result["version"] == 2
    assert result["failed"] == []
    assert all(finding.ok for finding in validate_shards(workspace.root))
    assert read_pending(workspace) is None


def test_the_next_version_is_the_old_one_without_the_items(workspace: Workspace) -> None:
    old_rows, old = rows_of(workspace), Dataset.open(workspace.root).manifest
    gone = set(needles(workspace))
    forget(workspace, Request(users=(LOGIN,)))
    expected = []
    num_lost = 0
    for row in old_rows:
        stay = [[c["author"] not in gone and LOGIN not in c["text"] for c in row[s]] for s in ("context", "responses")]
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


def test_a_build_from_the_comments_gives_the_same_version(workspace: Workspace) -> None:
    forget(workspace, Request(users=(LOGIN,)))
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


def test_cleaning_and_import_do_not_bring_the_person_back(workspace: Workspace, original: Path, tmp_path: Path) -> None:
    wanted = needles(workspace)
    forget(workspace, Request(users=(LOGIN,)))
    left = {r.recording_id: r.chat_digest for r in workspace.recordings()}
    clean(workspace, num_workers=1)
    build(workspace, text_only=True)
    assert traces(workspace.root, *wanted) == []
    # The same files imported elsewhere under the same tombstones give the same raw chat.
    other = Workspace.open(tmp_path / "other", create=True)
    for name in ("tombstones.json", "tombstone.key"):
        os.link(workspace.root / name, other.root / name)
    summary = import_chats(other, tmp_path)
    assert not summary.failed
    assert summary.total("forgotten") > 0
    assert {r.recording_id: r.chat_digest for r in other.recordings()} == left
    assert traces(other.root, LOGIN, USER_ID, "purple submarines") == []
    # A raw chat restored from a backup is cleaned without them.
    name = "twitch-1000000"
    backup = original / "raw" / name / "chat.jsonl.gz"
    (workspace.raw_dir(name) / "chat.jsonl.gz").write_bytes(backup.read_bytes())
    clean(workspace, num_workers=1)
    text = json.dumps(pq.read_table(workspace.comments_path(name)).to_pylist())
    assert not [needle for needle in wanted if needle in text]


def test_the_funnel_counts_without_the_person(workspace: Workspace) -> None:
    forget(workspace, Request(users=(LOGIN,)))
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


def test_a_channel_goes_with_everything_of_it(workspace: Workspace) -> None:
    channel = pseudonym(workspace.pseudonym_key(), "channel", "twitch", CHANNELS[0])
    names = ("twitch-1000000", "twitch-1000001")
    (workspace.root / ".crawl" / names[0]).mkdir(parents=True)
    (workspace.root / ".crawl" / names[0] / "pages.jsonl").write_text("{}\n")
    assert traces(workspace.root, channel) and traces(workspace.root, CHANNELS[0])
    result = forget(workspace, Request(channels=(CHANNELS[0],)))
    assert result["recordings"] == list(names)
    assert result["dataset"]["recordings"] == 2
    assert traces(workspace.root, channel, CHANNELS[0], *names) == []
    assert {row["recording_id"] for row in rows_of(workspace)} == {f"twitch-100000{n}" for n in range(2, 6)}
    assert not (workspace.root / ".crawl" / names[0]).exists()
    stones = Tombstones.open(workspace)
    assert stones.forgets(channel=CHANNELS[0].upper())
    assert stones.forgets(recording_id=f"{names[0]}-t600")
    summary = import_chats(workspace, workspace.root.parent)
    assert [a.error_class for a in summary.failed] == ["forgotten", "forgotten"]
    assert traces(workspace.root, CHANNELS[0]) == []


def test_a_part_of_a_recording_does_not_take_the_others(workspace: Workspace) -> None:
    stones = Tombstones.open(workspace)
    forget(workspace, Request(recordings=("twitch-5-t600",)))
    stones = Tombstones.open(workspace)
    assert stones.forgets(recording_id="twitch-5-t600")
    assert stones.forgets(recording_id="twitch-5"), "the whole would bring it back"
    assert not stones.forgets(recording_id="twitch-5-t1200")
    assert len(workspace.recordings()) == 6


def test_forgetting_every_recording_leaves_no_shards(workspace: Workspace) -> None:
    result = forget(workspace, Request(channels=CHANNELS))
    assert "digest" not in result["dataset"]
    assert not workspace.shards_dir.exists()
    assert workspace.recordings() == []
    assert traces(workspace.root, *CHANNELS) == []


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


def test_a_name_that_is_a_word_stays_in_what_others_wrote(workspace: Workspace) -> None:
    result = forget(workspace, Request(user_ids=(USER_ID,), words=False))
    assert traces(workspace.root, USER_ID, "purple submarines") == []
    left = [name for name, _ in traces(workspace.root, LOGIN)]
    assert any("chat.jsonl.gz" in name for name in left)
    assert any("--take-words" in note for note in result["notes"])
    assert not [1 for _, text in everything(workspace.root) if f"@{LOGIN}" in text], "@names go all the same"


def test_a_common_word_is_not_taken_for_a_name_unasked(workspace: Workspace) -> None:
    before = _tree(workspace.root)
    with pytest.raises(UsageError, match="may be a word"):
        forget(workspace, Request(users=("wonderful",)))
    assert _tree(workspace.root) == before
    forget(workspace, Request(users=("wonderful",), words=False))
    assert _tree(workspace.root) == before
    forget(workspace, Request(users=("wonderful",), words=True))
    assert [name for name, _ in traces(workspace.root, "wonderful")] == []


def test_candidate_sets_and_runs_of_the_old_version_go(workspace: Workspace) -> None:
    manifest = Dataset.open(workspace.root).manifest
    for kind, name, facts in (
        ("candidates", "v1", "manifest.json"),
        ("runs", "v1-sfat-1", "run.json"),
        ("checkpoints", "sfat", "training.json"),
    ):
        folder = workspace.root / kind / name
        folder.mkdir(parents=True)
        (folder / facts).write_text(json.dumps({"data_digest": manifest["digest"]}))
        (folder / "page.html").write_text(TEXT)
    forget(workspace, Request(users=("nobody_1",)))
    assert (workspace.root / "runs" / "v1-sfat-1").is_dir(), "nothing of that person is in it"
    result = forget(workspace, Request(users=(LOGIN,)))
    assert (result["candidates"], result["runs"]) == (["v1"], ["v1-sfat-1"])
    assert result["stale_checkpoints"] == ["sfat"], "named, and kept: training is dear"
    again = forget(workspace, Request(users=(LOGIN,), recordings=("twitch-1000000",)), checkpoints=True)
    assert again["checkpoints"] == ["sfat"]
    assert traces(workspace.root, "purple submarines") == []


def test_a_damaged_chat_is_said_and_tried_again(workspace: Workspace) -> None:
    path = workspace.raw_dir("twitch-1000001") / "chat.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    result = forget(workspace, Request(users=(LOGIN,)))
    assert [row["recording_id"] for row in result["failed"]] == ["twitch-1000001"]
    assert oct((workspace.root / "forgetting.json").stat().st_mode & 0o777) == "0o600"
    assert [row["recording_id"] for row in forget(workspace)["failed"]] == ["twitch-1000001"]
    assert forget(workspace, Request(recordings=("twitch-1000001",)))["failed"] == []
    assert traces(workspace.root, *needles(workspace)) == []
    with pytest.raises(UsageError, match="nobody is named"):
        forget(workspace)


KILL = """
import sys, os
from videochat.workspace import Workspace
from videochat.rights.forget import forget
from videochat.rights.search import Request
workspace = Workspace.open(sys.argv[1])
with workspace.lock():
    print("ready", flush=True)
    forget(workspace, Request(users=("planted_user7",), channels=("streamer_two",)))
"""


def _tree(root: Path) -> dict[str, str]:
    skip = ("tombstone", "ledger", ".lock", "pseudonym")
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(skip)]
    return {str(path.relative_to(root)): digest_file(path) for path in files}


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_completes_it(original: Path, tmp_path: Path) -> None:
    request = Request(users=(LOGIN,), channels=("streamer_two",))
    plain = tmp_path / "plain" / "ws"
    plain.parent.mkdir()
    subprocess.run(["cp", "-a", str(original), str(plain)], check=True)
    begin = time.monotonic()
    forget(Workspace.open(plain), request)
    seconds = time.monotonic() - begin
    expected = _tree(plain)
    random = np.random.default_rng(7)
    num_killed = 0
    for turn in range(12):
        root = tmp_path / str(turn) / "ws"
        root.parent.mkdir()
        subprocess.run(["cp", "-a", str(original), str(root)], check=True)
        process = subprocess.Popen([sys.executable, "-c", KILL, str(root)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(float(random.uniform(0, 1.5 * seconds)))
        process.send_signal(signal.SIGKILL)
        num_killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        forget(Workspace.open(root), request)
        assert _tree(root) == expected
    assert num_killed >= 4
