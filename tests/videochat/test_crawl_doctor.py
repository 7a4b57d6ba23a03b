"""`videochat doctor`: what it finds, that it asks nobody unless told to, and which method it says works."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from videochat.cli import main
from videochat.crawl import doctor
from videochat.crawl.doctor import check, findings_text
from videochat.rights.record import change_record, parse_date, require_statement
from videochat.workspace import Workspace


def states(data: Path, *, probe: bool = False) -> dict[str, str]:
    return {finding.name: finding.state for finding in check(data, probe=probe)}


def test_without_probe_nobody_is_asked(twitch: Any, tmp_path: Path) -> None:
    found = states(tmp_path / "data")
    assert found["ffmpeg"] == found["yt-dlp"] == found["disk"] == "ok"
    assert found["workspace"] == found["credentials"] == "note", "a crawl of named VODs works without them"
    assert not twitch.requests and not twitch.foreign
    assert not (tmp_path / "data").exists(), "looking changes nothing"


def test_the_workspace_and_its_rights(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "data", create=True)
    assert states(workspace.root)["rights"] == "note"
    require_statement(workspace, True)
    assert states(workspace.root)["rights"] == "ok"
    change_record(workspace, retain_until=parse_date("2020-01-01"))
    assert states(workspace.root)["rights"] == "bad"


def test_a_full_disk_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", shutil.disk_usage(tmp_path).free * 2)
    assert states(tmp_path)["disk"] == "bad"


@pytest.fixture
def probed(twitch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    twitch.add_vod(twitch.Vod(id="1000001", channel=doctor.PROBE_LOGIN, comments=twitch.comments(200, 120)))
    for name, value in twitch.credentials.items():
        monkeypatch.setenv(name, value)
    return twitch


LIVE = ("helix", "channel listing", "metadata", "chat by offset", "chat by cursor", "video")


@pytest.mark.slow
def test_a_probe_of_a_healthy_service(probed: Any, tmp_path: Path) -> None:
    found = {finding.name: finding for finding in check(tmp_path, probe=True)}
    assert {name: found[name].state for name in LIVE} == dict.fromkeys(LIVE, "ok")
    assert found["metadata"].detail == "works by its persisted hash"
    assert found["video"].detail == "2 renditions, 160 to 360 rows"
    text = findings_text(list(found.values()))
    assert not any(secret in text for secret in probed.secrets)
    assert probed.credentials["TWITCH_CLIENT_ID"] not in text


def test_a_probe_says_what_works_when_hashes_and_cursors_do_not(probed: Any, tmp_path: Path) -> None:
    probed.fault("rotated-hashes")
    probed.fault("integrity-after-page", n=1)
    found = {finding.name: finding for finding in check(tmp_path, probe=True)}
    assert found["metadata"].state == found["chat by offset"].state == "ok"
    assert "persisted hash is out of date" in found["metadata"].detail
    assert found["chat by cursor"].state == "note", "a crawl goes on by offset"


def test_a_probe_of_a_service_that_refuses(probed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probed.fault("unauthorized")
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--probe", "--data", str(tmp_path)])
    assert ended.value.code == 1
    assert "bad   channel listing" in capsys.readouterr().out
