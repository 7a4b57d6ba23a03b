"""Rights where data comes from: the loopback Twitch is crawled, forgotten, published as ids and fetched again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videochat.build import build
from videochat.cleaning.run import clean
from videochat.crawl.crawl import crawl
from videochat.crawl.jobs import CrawlOptions
from videochat.crawl.recipe import SegmentRule
from videochat.crawl.targets import read_targets
from videochat.dataset import Dataset
from videochat.rights.forget import forget
from videochat.rights.ids import export_ids, read_ids
from videochat.rights.rehydrate import rehydrate, settings_of
from videochat.rights.search import Request
from videochat.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hurried")]

VODS = ("3000000001", "3000000002", "3000000003")
SETTINGS: dict[str, Any] = {"split_fractions": (0.34, 0.33, 0.33), "seed": 5}
OPTIONS = CrawlOptions(affirmed=True, video=False)
SEGMENTS = SegmentRule(mode="densest", bin_minutes=2, more_than_bins=2, take=2)


def lay_out(twitch: Any) -> list[Any]:
    return [
        twitch.add_vod(
            twitch.Vod(
                id=name,
                channel=f"streamer_{number}",
                duration_s=600,
                comments=twitch.comments(400, 600, seed=number, users=12),
            )
        )
        for number, name in enumerate(VODS)
    ]


def crawled(root: Path, twitch: Any) -> tuple[Workspace, list[Any]]:
    """Two whole VODs and two parts of a third, cleaned and built."""
    vods = lay_out(twitch)
    workspace = Workspace.open(root, create=True, **SETTINGS)
    assert not crawl(workspace, read_targets(VODS[:2]), OPTIONS).failed
    parts = CrawlOptions(affirmed=True, video=False, segments=SEGMENTS)
    assert not crawl(workspace, read_targets(VODS[2:]), parts).failed
    assert len(workspace.recordings()) == 4
    clean(workspace, num_workers=1)
    build(workspace, text_only=True)
    return workspace, vods


def test_a_forgotten_viewer_does_not_come_back_with_a_crawl(planted: Any, twitch: Any, tmp_path: Path) -> None:
    workspace, vods = crawled(tmp_path / "a", twitch)
    login = "viewer_0_3"
    needles = (login, str(700_000_003))  # the loopback gives one id to viewers of one number: renamed accounts
    assert {needle for _, needle in planted.traces(workspace.root, *needles)} == set(needles)
    result = forget(workspace, Request(users=(login,)))
    assert result["messages"] > 20
    assert planted.traces(workspace.root, *needles, "viewer_1_3") == []
    # From nothing, under the same tombstones: every other comment, and not one of theirs.
    other = Workspace.open(tmp_path / "b", create=True, **SETTINGS)
    for name in ("tombstones.json", "tombstone.key"):
        (other.root / name).write_bytes((workspace.root / name).read_bytes())
    assert not crawl(other, read_targets(VODS[:2]), OPTIONS).failed
    assert planted.traces(other.root, *needles, "viewer_1_3") == []
    digests = [{r.recording_id: r.chat_digest for r in ws.recordings()} for ws in (workspace, other)]
    assert {name: digests[0][name] for name in digests[1]} == digests[1], "the bytes that forgetting left"
    theirs = sum((node["commenter"] or {}).get("id") == needles[1] for vod in vods[:2] for node in vod.comments)
    assert sum(r.num_messages for r in other.recordings()) == 800 - theirs


def test_a_forgotten_channel_is_not_fetched(planted: Any, twitch: Any, tmp_path: Path) -> None:
    workspace, _ = crawled(tmp_path / "a", twitch)
    forget(workspace, Request(channels=("Streamer_2",)))
    assert len(workspace.recordings()) == 2
    assert planted.traces(workspace.root, "streamer_2", VODS[2]) == []
    before = len(twitch.pages(VODS[2]))
    (attempt,) = crawl(workspace, read_targets([VODS[2]]), OPTIONS).attempts
    assert (attempt.status, attempt.error_class) == ("skipped", "forgotten")
    assert len(twitch.pages(VODS[2])) == before, "not one page of its chat was asked for"
    assert planted.traces(workspace.root, "streamer_2") == []


def test_what_was_published_as_ids_is_fetched_again(twitch: Any, tmp_path: Path) -> None:
    workspace, _ = crawled(tmp_path / "a", twitch)
    ids = tmp_path / "ids.jsonl.gz"
    export_ids(workspace, ids)
    again = Workspace.open(tmp_path / "b", create=True, **settings_of(ids))
    report = rehydrate(again, ids, OPTIONS)
    _, rows = read_ids(ids)
    assert report["counts"]["recordings_same"] == 4
    assert report["counts"]["messages"] == sum(len(row["ids"]) for row in rows) > 600
    assert report["counts"]["messages_gone"] == report["counts"]["blocks_changed"] == 0
    clean(again, num_workers=1)
    assert build(again, text_only=True)["digest"] == Dataset.open(workspace.root).digest, "the same data set"


def test_drift_is_told(twitch: Any, tmp_path: Path) -> None:
    workspace, vods = crawled(tmp_path / "a", twitch)
    ids = tmp_path / "ids.jsonl.gz"
    export_ids(workspace, ids)
    _, rows = read_ids(ids)
    published = {row["recording_id"]: row for row in rows}
    # On the platform: a VOD expires; of another, three published comments are deleted and one gets another text.
    name = f"twitch-{VODS[0]}"
    chosen = published[name]["ids"]
    deleted, edited = {chosen[0], chosen[1], chosen[70]}, chosen[-1]
    left = [node for node in vods[0].comments if node["id"] not in deleted]
    (node,) = [node for node in left if node["id"] == edited]
    node["message"]["fragments"][0]["text"] = "something else entirely"
    twitch.vods[VODS[0]] = vods[0].with_comments(left)
    del twitch.vods[VODS[1]]
    again = Workspace.open(tmp_path / "b", create=True, **settings_of(ids))
    report = rehydrate(again, ids, OPTIONS)
    found = {row["recording_id"]: row for row in report["recordings"]}
    assert found[name]["status"] == "drifted"
    assert found[name]["ids"] == {"expected": len(chosen), "found": len(chosen) - 3}
    assert found[name]["blocks"]["not_comparable"] == 2
    assert found[name]["blocks"]["changed"] == 1
    assert found[f"twitch-{VODS[1]}"]["status"] == "gone"
    assert found[f"twitch-{VODS[1]}"]["reason"].startswith("gone")
    assert report["counts"]["recordings_same"] == 2
    assert report["counts"]["messages_gone"] == 3 + len(published[f"twitch-{VODS[1]}"]["ids"])
