"""The commands of rights, as a user types them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from videochat.cli import main
from videochat.workspace import Workspace


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_rights_are_set_and_shown(planted_copy: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", planted_copy.root)
    assert run("rights", *data, "--basis", "consent", "--retain-until", "2999-12-31", "--i-may-collect-this") == 0
    capsys.readouterr()
    assert run("rights", *data, "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["basis"], value["retain_until"]) == ("consent", "2999-12-31")
    assert value["stated_at"].startswith("20")
    assert run("rights", *data, "--retain-until", "soon") == 2
    assert "write YYYY-MM-DD" in capsys.readouterr().err


def test_forget_says_what_it_did(planted: Any, planted_copy: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", planted_copy.root)
    assert run("forget", *data) == 2
    assert "pass --user" in capsys.readouterr().err
    before = planted.traces(planted_copy.root, *planted.needles(planted_copy))
    assert run("forget", *data, "--user", planted.LOGIN, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["messages"] == 108
    assert planted.traces(planted_copy.root, *planted.needles(planted_copy)) == before
    assert run("forget", *data, "--user", planted.LOGIN) == 0
    output = capsys.readouterr()
    assert "108 messages taken out of raw chat" in output.out
    assert "version 2: 1 clips and" in output.out
    assert planted.LOGIN not in output.out + output.err
    assert planted.traces(planted_copy.root, *planted.needles(planted_copy)) == []


def test_purge_and_key_ask_first(
    planted_copy: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    data = ("--data", planted_copy.root)
    assert run("purge", *data) == 2
    assert run("rights", *data, "--retain-until", "2020-01-01") == 0
    assert run("purge", *data, "--expired") == 130, "nobody answers"
    assert planted_copy.shards_dir.is_dir()
    assert run("pseudonyms", "destroy-key", *data) == 130
    assert (planted_copy.root / "pseudonym.key").is_file()
    assert run("pseudonyms", "destroy-key", *data, "--yes") == 0
    assert "forget --user can no longer" in capsys.readouterr().out
    assert run("purge", *data, "--expired", "--dry-run") == 0
    assert run("purge", *data, "--expired", "--yes") == 0
    assert not planted_copy.shards_dir.exists()


def test_export_ids(planted_copy: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ids.jsonl.gz"
    assert run("export-ids", "--data", planted_copy.root, "--out", out) == 0
    assert "message ids of 6 recordings" in capsys.readouterr().out
    assert run("rehydrate", out, "--data", tmp_path / "again") == 2
    assert "somebody has to state" in capsys.readouterr().err
