"""The local engine: a ledger row for each attempt, bad recordings are rows, the number of workers changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videochat.engines.local import run_step, select
from videochat.errors import BadRecording, UsageError
from videochat.schema import Recording
from videochat.workspace import Workspace


def recording(name: str) -> Recording:
    return Recording(
        recording_id=name,
        platform="file",
        platform_id=name,
        channel=name,
        category="Art",
        duration_ms=1000,
        num_messages=0,
        chat_digest="",
    )


def worker(item: Recording) -> dict[str, Any] | None:
    if item.recording_id == "bad":
        raise BadRecording("no-frames", "nothing decodes", fix="replace it")
    if item.recording_id == "old":
        return None
    return {"skipped": "no video"} if item.recording_id == "text" else {"rows": 2}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.open(tmp_path / "w", create=True)
    for name in ("bad", "good", "old", "text"):
        workspace.add_recording(recording(name))
    return workspace


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_recording_ends_as_one_row(workspace: Workspace, num_workers: int) -> None:
    summary = run_step(workspace, "clean", workspace.recordings(), worker, num_workers=num_workers)
    assert [a.status for a in summary.attempts] == ["failed", "ok", "current", "skipped"]
    assert summary.exit_code == 3
    assert summary.total("rows") == 2
    latest = workspace.ledger.latest("clean")
    assert latest["bad"].error_class == "no-frames"
    assert "replace it" in str(latest["bad"].reason)
    assert latest["text"].reason == "no video"


def test_select_takes_all_or_what_failed(workspace: Workspace) -> None:
    run_step(workspace, "clean", workspace.recordings(), worker, num_workers=1)
    assert len(select(workspace, "clean")) == 4
    assert [r.recording_id for r in select(workspace, "clean", limit=2)] == ["bad", "good"]
    assert [r.recording_id for r in select(workspace, "clean", retry="failed")] == ["bad"]
    assert select(workspace, "clean", retry="failed:other") == []
    with pytest.raises(UsageError, match="--retry"):
        select(workspace, "clean", retry="fialed")


def test_a_bug_is_not_taken_for_a_bad_recording(workspace: Workspace) -> None:
    def broken(item: Recording) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_step(workspace, "clean", workspace.recordings(), broken, num_workers=1)
