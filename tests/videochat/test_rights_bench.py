"""Forgetting after a benchmark: frozen candidate sets and runs that hold somebody's words are never silently wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from videochat import api
from videochat.benchmark.candidates.build import build_candidates, load_candidates
from videochat.benchmark.report import write_report
from videochat.dataset import Dataset
from videochat.errors import MissingInput
from videochat.files import digest_file
from videochat.rights.forget import forget
from videochat.rights.search import Request
from videochat.sample.generate import generate
from videochat.workspace import Workspace

pytestmark = pytest.mark.slow


def test_candidates_and_runs_follow_the_data_set(planted: Any, planted_copy: Workspace) -> None:
    workspace = planted_copy
    dataset = Dataset.open(workspace.root)
    sets = build_candidates(workspace, dataset, "v1", k=4)
    run = api.evaluate(["length", "popularity"], dataset, sets, allow_failed_audit=True)
    write_report(run, workspace, num_clips=6)
    assert planted.traces(workspace.candidates_dir("v1"), "purple submarines"), "their words are candidates"
    assert planted.traces(workspace.runs_dir, "purple submarines"), "and on the report's page"
    result = forget(workspace, Request(users=(planted.LOGIN,)))
    assert result["candidates"] == ["v1"]
    assert result["runs"] == [run.path.name]
    assert planted.traces(workspace.root, *planted.needles(workspace)) == []
    renewed = Dataset.open(workspace.root)
    with pytest.raises(MissingInput, match="videochat candidates"):
        load_candidates(workspace, renewed, "v1")
    sets = build_candidates(workspace, renewed, "v1", k=4)
    assert not [text for text in sets.texts.texts if "submarine" in text]
    assert sets.manifest["data_digest"] == renewed.digest
    again = api.evaluate(["length", "popularity"], renewed, sets, allow_failed_audit=True)
    write_report(again, workspace)
    assert planted.traces(workspace.root, *planted.needles(workspace)) == []


def test_a_simulated_recording_keeps_its_digest_true(planted: Any, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "ws", create=True, seed=4)
    generate(workspace, world="screen", num_recordings=1, minutes=1.5, num_workers=1)
    (before,) = workspace.recordings()
    path = workspace.raw_dir(before.recording_id) / before.chat
    author = json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])["author"]
    result = forget(workspace, Request(users=(author,)))
    (after,) = workspace.recordings()
    assert after.chat_digest == digest_file(path) != before.chat_digest
    assert before.num_messages - after.num_messages == result["messages"] > 0
    assert planted.traces(workspace.root, author) == []
