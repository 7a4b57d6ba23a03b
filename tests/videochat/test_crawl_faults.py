"""Every misfortune of the loopback through the whole of `crawl`: the expected verdict, and never a silent loss."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.crawl import crawl
from videochat.crawl.jobs import CrawlOptions
from videochat.crawl.targets import read_targets
from videochat.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hurried")]

# scenario -> (status, error class or None, is the video there); everything else ends complete
EXPECTED = {
    "null-always": ("failed", "comments-null", False),
    "unauthorized-always": ("failed", "unauthorized", False),
    "unknown-id": ("failed", "gone", False),
    "zero-length": ("failed", "zero-length", False),
    "overflow-integrity": ("partial", "chat", True),
    "missing-fragment": ("partial", "video", False),
    "gap": ("partial", "video", True),
}


@pytest.fixture(scope="session")
def scenarios(loopback: tuple[Any, Any, Any]) -> dict[str, Any]:
    import importlib

    module = importlib.import_module("loopback_twitch.scenarios")
    found: dict[str, Any] = module.SCENARIOS
    return found


NAMES = [
    "healthy",
    "integrity",
    "integrity-passing",
    "null-once",
    "null-service-error",
    "null-always",
    "rotated",
    "unauthorized",
    "unauthorized-always",
    "rate-limit",
    "server-error",
    "truncated-json",
    "html-page",
    "cut-answer",
    "unknown-id",
    "zero-length",
    "overflow",
    "overflow-integrity",
    "after-end",
    "slow",
    "cut-fragment",
    "missing-fragment",
    "muted",
    "gap",
    "fragment-burst",
    "slow-media",
]


def test_no_scenario_is_left_out(scenarios: dict[str, Any]) -> None:
    assert sorted(NAMES) == sorted(scenarios)


@pytest.mark.parametrize("name", NAMES)
def test_verdict(twitch: Any, scenarios: dict[str, Any], tmp_path: Path, name: str) -> None:
    vod = scenarios[name].lay_out(twitch)
    workspace = Workspace.open(tmp_path / "data", create=True)
    summary = crawl(workspace, read_targets([vod.id]), CrawlOptions(affirmed=True))
    (attempt,) = summary.attempts
    status, error_class, has_video = EXPECTED.get(name, ("ok", None, True))
    assert (attempt.status, attempt.error_class) == (status, error_class), attempt.reason
    assert summary.exit_code == (0 if status == "ok" else 3)
    recordings = workspace.recordings()
    if status == "failed":
        assert attempt.reason and not recordings
        return
    (recording,) = recordings
    folder = workspace.raw_dir(recording.recording_id)
    assert (recording.video is not None) == has_video
    with gzip.open(folder / recording.chat) as handle:
        got = [json.loads(line)["id"] for line in handle]
    wanted = [node["id"] for node in vod.ordered]
    assert len(got) == len(set(got)) and set(got) <= set(wanted)
    if error_class == "chat":
        assert attempt.reason, "a loss is said"
    else:
        assert sorted(got) == sorted(wanted), "complete means everything"
    assert recording.origin["crawl"]["verdict"] == ("complete" if status == "ok" else "partial")
    assert not list((workspace.root / "raw").glob(".*")), "nothing half-written"
