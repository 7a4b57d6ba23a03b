"""Clock, files, registry, errors, ledger, workspace: the core that everything stands on."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videochat.clock import ClipGeometry, format_ms, parse_ms, to_ms
from videochat.errors import BadRecording, Locked, Mismatch, MissingInput, UsageError
from videochat.files import atomic_path, is_current, parquet_metadata, stable_hash, write_json, write_parquet
from videochat.ledger import Attempt, Ledger
from videochat.registry import Registry
from videochat.schema import Recording
from videochat.workspace import Settings, Workspace


def test_to_ms_floors_rational_seconds() -> None:
    assert to_ms(Fraction(1, 3)) == 333
    assert to_ms(Fraction(1001, 30000) * 30) == 1001
    assert to_ms(Fraction(-1, 3)) == -334


@given(st.integers(min_value=0, max_value=10**8))
def test_times_print_and_parse_back_to_the_second(time_ms: int) -> None:
    assert parse_ms(format_ms(time_ms)) == time_ms // 1000 * 1000


@pytest.mark.parametrize("text", ["", "1:2:3:4", "a", "-5", "1:", "99:99", "1:75:00", "0:60"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_ms(text)


def test_clips_tile_from_zero_and_drop_the_tail() -> None:
    geometry = ClipGeometry()
    assert list(geometry.starts(95_000)) == [0, 30_000, 60_000]
    assert list(geometry.starts(90_000)) == [0, 30_000, 60_000]
    assert list(geometry.starts(29_999)) == []
    with pytest.raises(UsageError, match="geometry"):
        ClipGeometry(context_ms=30_000)


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(final.parent.iterdir()) == []
    write_json(final, {"b": 1, "a": "é"})
    assert final.read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'
    with pytest.raises(RuntimeError), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert final.read_text(encoding="utf-8").startswith("{")


def test_a_stamp_tells_whether_a_file_is_current(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"x": [1, 2]})
    assert not is_current(path, "s1")
    write_parquet(table, path, {"stamp": "s1", "n": 2})
    assert is_current(path, "s1")
    assert not is_current(path, "s2")
    assert parquet_metadata(path) == {"stamp": "s1", "n": 2}
    first = path.read_bytes()
    write_parquet(table, path, {"n": 2, "stamp": "s1"})
    assert path.read_bytes() == first
    path.write_bytes(first[: len(first) // 2])
    assert not is_current(path, "s1"), "a damaged file is not current"


def test_stable_hash_is_the_same_everywhere() -> None:
    assert stable_hash(0, "twitch-1", 30000, "truth") == 2990899906302504183
    assert stable_hash("a", "b") != stable_hash("ab")


def test_registry_names_the_nearest_and_refuses_doubles() -> None:
    registry: Registry[int] = Registry("rule")
    registry.add("links", 1)
    assert registry.register("bots")(2) == 2
    assert list(registry) == ["links", "bots"]
    with pytest.raises(ValueError, match="twice"):
        registry.add("links", 3)
    with pytest.raises(UsageError, match="did you mean 'links'"):
        registry["link"]


def test_bad_recording_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(BadRecording("no-frames", "nothing decodes", fix="look at it")))  # noqa: S301
    assert (error.error_class, error.what, error.fix) == ("no-frames", "nothing decodes", "look at it")


def test_ledger_keeps_every_attempt_and_forgives_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add(Attempt(step="clean", recording_id="a", status="failed", error_class="bad-chat", reason="x"))
    ledger.add(Attempt(step="clean", recording_id="a", status="ok", counts={"kept": 3}))
    ledger.add(Attempt(step="clean", recording_id="a", status="current"))
    with ledger.path.open("a") as handle:
        handle.write('{"step": "cle')
    assert [attempt.status for attempt in ledger] == ["failed", "ok", "current"]
    assert ledger.latest("clean")["a"].counts == {"kept": 3}
    ledger.add(Attempt(step="clean", recording_id="b", status="ok"))
    assert set(ledger.latest("clean")) == {"a", "b"}, "the torn line swallows no later attempt"


def test_workspace_records_its_choices(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no workspace"):
        Workspace.open(tmp_path / "w")
    workspace = Workspace.open(tmp_path / "w", create=True, seed=7, split_fractions=(0.6, 0.2, 0.2))
    assert Workspace.open(tmp_path / "w").settings == workspace.settings
    with pytest.raises(Mismatch, match="seed is 7"):
        Workspace.open(tmp_path / "w", create=True, seed=8)
    assert workspace.change(split_by="recording").settings.split_by == "recording"
    (tmp_path / "w" / "workspace.toml").write_text("sead = 1\n")
    with pytest.raises(UsageError, match="sead"):
        Workspace.open(tmp_path / "w")
    with pytest.raises(UsageError, match="sum to 1"):
        Settings(split_fractions=(0.5, 0.1, 0.1))


def test_the_key_is_secret_and_made_once(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w", create=True)
    key = workspace.pseudonym_key()
    path = workspace.root / "pseudonym.key"
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Workspace.open(tmp_path / "w").pseudonym_key() == key
    assert Workspace.open(tmp_path / "v", create=True).pseudonym_key() != key
    path.write_bytes(b"short")
    with pytest.raises(Mismatch, match="5 bytes"):
        workspace.pseudonym_key()


def test_a_lock_keeps_two_commands_apart_and_dies_with_its_process(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w", create=True)
    code = (
        "import sys, time; from videochat.workspace import Workspace\n"
        "with Workspace.open(sys.argv[1]).lock(): print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(workspace.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(Locked), workspace.lock():
            pass
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    with workspace.lock():
        assert os.getpid()


def test_recordings_are_ordered_and_unfinished_imports_left_out(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w", create=True)
    common = {"platform": "file", "platform_id": "x", "channel": "c", "category": "Art", "duration_ms": 1}
    for name in ("b", "a"):
        workspace.add_recording(Recording(recording_id=name, num_messages=0, chat_digest="", **common))
    workspace.raw_dir("unfinished").mkdir(parents=True)
    assert [recording.recording_id for recording in workspace.recordings()] == ["a", "b"]
    for bad in ("../x", "", ".hidden", "a/b"):
        with pytest.raises(UsageError):
            Recording(recording_id=bad, num_messages=0, chat_digest="", **common)
