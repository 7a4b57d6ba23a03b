"""Forgetting after a benchmark: frozen candidate sets and runs that hold somebody's words are never silently wrong."""

from __future__ import annotations

from typing import Any

import pytest

from videochat import api
from videochat.benchmark.candidates import build_candidates, load_candidates
from videochat.benchmark.report import write_report
from videochat.dataset import Dataset
from videochat.errors import MissingInput
from videochat.rights.forget import forget
from videochat.rights.search import Request
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
