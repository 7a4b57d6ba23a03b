"""`crawl` with video: chat first and video later, a failed half, segments that meet their chat."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from videochat.crawl.crawl import crawl
from videochat.crawl.jobs import STAGING, CrawlOptions
from videochat.crawl.recipe import SegmentRule
from videochat.crawl.targets import read_targets
from videochat.engines.local import StepSummary
from videochat.frames.video import probe
from videochat.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hurried")]

VOD = "1234567890"
OPTIONS = CrawlOptions(affirmed=True)
SMALL = SegmentRule(mode="densest", bin_minutes=0.5, more_than_bins=3, take=2)


def run(workspace: Workspace, *targets: str, **options: Any) -> StepSummary:
    return crawl(workspace, read_targets(targets), replace(OPTIONS, **options))


def test_chat_first_and_the_video_later(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(300, 120)))
    run(workspace, VOD, video=False)
    (before,) = workspace.recordings()
    num_pages = len(twitch.pages())
    assert before.video is None and not twitch.fragments()
    assert [attempt.status for attempt in run(workspace, VOD).attempts] == ["ok"]
    (after,) = workspace.recordings()
    assert after.video == "video.mp4" and after.chat_digest == before.chat_digest
    assert len(twitch.pages()) == num_pages, "the chat is not asked for again"
    assert run(workspace, VOD, video=False).count("current") == 1, "a video is no harm to who wants chat alone"


def test_a_failed_video_leaves_the_chat_and_is_retried_alone(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(300, 120)))
    fault = twitch.fault("missing-fragment", segment=7)
    summary = run(workspace, VOD)
    assert [(a.status, a.error_class) for a in summary.attempts] == [("partial", "video")]
    assert "missing-fragment: fragment 7" in str(summary.attempts[0].reason)
    (partial,) = workspace.recordings()
    assert partial.video is None and partial.num_messages == 300
    num_pages, num_fragments = len(twitch.pages()), len(twitch.fragments())
    fault.remove()
    assert run(workspace, retry="partial").count("ok") == 1
    (whole,) = workspace.recordings()
    assert whole.video == "video.mp4" and whole.origin["crawl"]["verdict"] == "complete"
    assert len(twitch.pages()) == num_pages
    new = [row["segment"] for row in twitch.fragments()[num_fragments:]]
    had = {row["segment"] for row in twitch.fragments()[:num_fragments] if row["status"] == 200}
    assert {*new, *had} == set(range(12)) and len(new) == len(set(new))
    assert len(had.intersection(new)) <= 3, "but for those under way when it failed, no fragment is fetched twice"
    assert not (workspace.root / STAGING / f"twitch-{VOD}").exists()


def test_a_failed_chat_keeps_the_fragments(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(300, 120)))
    fault = twitch.fault("comments-null")
    assert run(workspace, VOD).attempts[0].error_class == "comments-null"
    assert not workspace.recordings()
    fault.remove()
    num_fragments = len(twitch.fragments())
    assert run(workspace, retry="failed:comments-null").count("ok") == 1
    assert num_fragments == len(twitch.fragments()) == 12


def test_segments_meet_their_chat(twitch: Any, workspace: Workspace) -> None:
    nodes = []
    for index, rate in enumerate([40, 90, 40, 40]):
        for node in twitch.comments(rate, 30, seed=index):
            node["contentOffsetSeconds"] += 30 * index
            nodes.append(node)
    twitch.add_vod(twitch.Vod(id=VOD, comments=nodes, chapters=[(0, "Art"), (30, "Music")], muted=[(50, 70)]))
    summary = run(workspace, VOD, segments=SMALL)
    assert [a.recording_id for a in summary.attempts] == [f"twitch-{VOD}-t0", f"twitch-{VOD}-t30"]
    for recording in workspace.recordings():
        start_ms = int(recording.recording_id.rpartition("-t")[2]) * 1000
        folder = workspace.raw_dir(recording.recording_id)
        found = probe(folder / str(recording.video))
        assert abs(found.duration_ms - recording.duration_ms) <= 150 and abs(recording.duration_ms - 30_000) <= 150
        assert abs(-recording.offset_ms - start_ms) <= 150, "the platform's zero on the recording's clock"
        with gzip.open(folder / recording.chat) as handle:
            times = [json.loads(line)["offset_ms"] + recording.offset_ms for line in handle]
        inside = [time for time in times if 0 <= time < 30_000]
        assert abs(len(inside) - {0: 40, 30_000: 90}[start_ms]) <= 6
    late = workspace.recordings()[1]
    assert late.category == "Music"
    assert late.origin["crawl"]["muted_ms"] == [[20_000, 30_000]]
    again = len(twitch.fragments())
    assert run(workspace, VOD, segments=SMALL).count("current") == 2 and len(twitch.fragments()) == again


def test_a_failure_of_the_whole_is_closed_by_its_segments(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(300, 120)))
    fault = twitch.fault("comments-null")
    run(workspace, VOD, segments=SMALL)
    fault.remove()
    retried = run(workspace, retry="failed", video=False)
    assert {a.status for a in retried.attempts} == {"ok", "skipped"}
    assert len(workspace.recordings()) == 2, "as it was asked for: segments, not the whole"
    assert all(recording.video for recording in workspace.recordings())
    assert run(workspace, retry="failed").attempts == []
