"""`crawl` without video: what comes into the workspace and the ledger; retries, tombstones, segments, recipes."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from videochat.crawl.crawl import crawl
from videochat.crawl.follow import crawl_recipe
from videochat.crawl.jobs import STAGING, CrawlOptions
from videochat.crawl.recipe import CategoryPlan, Recipe, SegmentRule
from videochat.crawl.targets import Vod, read_targets
from videochat.engines.local import StepSummary
from videochat.errors import MissingInput, UsageError
from videochat.rights.tombstones import Tombstones
from videochat.schema import Recording
from videochat.workspace import Workspace

pytestmark = pytest.mark.usefixtures("hurried")

VOD = "1234567890"
CHAT = CrawlOptions(affirmed=True, video=False)
# Bins of a minute instead of ten, more than 3 of them, the 2 densest
SMALL = SegmentRule(mode="densest", bin_minutes=1, more_than_bins=3, take=2)


def run(workspace: Workspace, *targets: str, **options: Any) -> StepSummary:
    return crawl(workspace, read_targets(targets), replace(CHAT, **options))


def messages(workspace: Workspace, recording: Recording) -> list[dict[str, Any]]:
    with gzip.open(workspace.raw_dir(recording.recording_id) / recording.chat) as handle:
        return [json.loads(line) for line in handle]


def ids(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["id"] for node in nodes]


def test_a_vod_comes_whole(twitch: Any, workspace: Workspace) -> None:
    vod = twitch.add_vod(
        twitch.Vod(id=VOD, duration_s=300, chapters=[(0, "Minecraft"), (100, "Fortnite")], muted=[(30, 60)],
                   comments=twitch.comments(700, 300, seed=1, after_end=3))
    )  # fmt: skip
    summary = run(workspace, VOD)
    assert [(a.recording_id, a.status, a.reason) for a in summary.attempts] == [(f"twitch-{VOD}", "ok", None)]
    assert summary.exit_code == 0
    (recording,) = workspace.recordings()
    assert (recording.channel, recording.category, recording.duration_ms) == ("streamer", "Fortnite", 300_000)
    assert (recording.platform, recording.platform_id, recording.offset_ms) == ("twitch", VOD, 0)
    assert [message["id"] for message in messages(workspace, recording)] == ids(vod.ordered)
    crawled = recording.origin["crawl"]
    assert crawled["verdict"] == "complete" and crawled["muted_ms"] == [[30_000, 60_000]]
    assert crawled["chat"]["audit"]["num_messages"] == 703 and crawled["chat"]["audit"]["proven"]
    assert not (workspace.root / STAGING / f"twitch-{VOD}").exists()


def test_nobody_collects_without_a_statement(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(10, 120)))
    with pytest.raises(UsageError, match="state"):
        run(workspace, VOD, affirmed=False)
    assert not twitch.requests
    run(workspace, VOD)
    assert run(workspace, VOD, affirmed=False).count("current") == 1, "asked once"


def test_what_is_there_is_not_asked_for_again(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(100, 120)))
    run(workspace, VOD)
    before = len(twitch.requests)
    summary = run(workspace, VOD, f"https://www.twitch.tv/videos/{VOD}")
    assert [a.status for a in summary.attempts] == ["current"]
    assert len(twitch.requests) == before


def test_bad_ones_are_rows_and_the_others_go_on(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id="1000001", comments=twitch.comments(50, 120, seed=1)))
    twitch.add_vod(twitch.Vod(id="1000002", duration_s=0))
    twitch.add_vod(twitch.Vod(id="1000003", comments=[]))
    twitch.add_vod(twitch.Vod(id="1000004", comments=twitch.comments(50, 120, seed=4)))
    twitch.fault("comments-null", vod="1000004")
    summary = run(workspace, "1000001", "1000002", "1000003", "1000004", "1000005")
    found = {a.recording_id: (a.status, a.error_class) for a in summary.attempts}
    assert found == {
        "twitch-1000001": ("ok", None),
        "twitch-1000002": ("failed", "zero-length"),
        "twitch-1000003": ("skipped", "no-messages"),
        "twitch-1000004": ("failed", "comments-null"),
        "twitch-1000005": ("failed", "gone"),
    }
    assert summary.exit_code == 3
    assert [recording.recording_id for recording in workspace.recordings()] == ["twitch-1000001"]
    again = run(workspace, "1000003")
    assert [a.status for a in again.attempts] == ["skipped"], "without asking again"


@pytest.mark.slow
def test_partial_data_is_kept_and_retried_by_name(twitch: Any, workspace: Workspace) -> None:
    vod = twitch.add_vod(twitch.Vod(id=VOD, duration_s=600, comments=twitch.comments(900, 600, seed=2)))
    twitch.add_vod(twitch.Vod(id="1000001", comments=twitch.comments(50, 120, seed=1)))
    fault = twitch.fault("unauthorized", vod=VOD, after=8)
    summary = run(workspace, VOD, "1000001")
    assert {a.recording_id: a.status for a in summary.attempts} == {f"twitch-{VOD}": "partial", "twitch-1000001": "ok"}
    assert summary.exit_code == 3
    (partial,) = [recording for recording in workspace.recordings() if recording.platform_id == VOD]
    assert partial.origin["crawl"]["verdict"] == "partial" and partial.origin["crawl"]["reasons"]
    assert 0 < partial.num_messages < 900
    assert run(workspace, VOD).count("current") == 1, "kept until --retry partial"
    fault.remove()
    num_before = len(twitch.requests)
    assert run(workspace, retry="failed").attempts == []
    retried = run(workspace, retry="partial")
    assert [(a.recording_id, a.status) for a in retried.attempts] == [(f"twitch-{VOD}", "ok")]
    assert {row["vod"] for row in twitch.requests[num_before:]} == {VOD}
    (whole,) = [recording for recording in workspace.recordings() if recording.platform_id == VOD]
    assert [message["id"] for message in messages(workspace, whole)] == ids(vod.ordered)
    assert run(workspace, retry="partial").attempts == []


@pytest.mark.slow
def test_a_retry_goes_on_behind_the_pages_that_came(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, duration_s=600, comments=twitch.comments(900, 600, seed=2)))
    fault = twitch.fault("unauthorized", vod=VOD, after=8)
    run(workspace, VOD)
    fault.remove()
    run(workspace, retry="partial")
    asked = [json.dumps(row["variables"], sort_keys=True) for row in twitch.pages(VOD) if row["status"] == 200]
    assert len(asked) == len(set(asked))
    assert not (workspace.root / STAGING / f"twitch-{VOD}").exists()


@pytest.mark.slow
def test_a_retry_that_brings_less_changes_nothing(twitch: Any, workspace: Workspace) -> None:
    """A second fuller than a page cannot be had whole by offset, which is all that is left without cursors."""
    vod = twitch.Vod(id=VOD, duration_s=120, comments=twitch.comments(450, 120, seed=13, burst=(60, 150)))
    twitch.add_vod(vod)
    twitch.fault("integrity-after-page", n=2)
    summary = run(workspace, VOD)
    assert summary.attempts[0].status == "partial" and "possible-loss" in str(summary.attempts[0].reason)
    (before,) = workspace.recordings()
    twitch.add_vod(vod.with_comments([node for node in vod.comments if node["contentOffsetSeconds"] < 100]))
    summary = run(workspace, retry="partial")
    assert summary.attempts[0].status == "partial" and "the earlier one stays" in str(summary.attempts[0].reason)
    assert workspace.recordings() == [before]


def test_a_failed_one_goes_on_where_it_stopped(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, duration_s=0))
    run(workspace, VOD)
    vod = twitch.add_vod(twitch.Vod(id=VOD, comments=twitch.comments(100, 120)))
    summary = run(workspace, retry="failed:zero-length")
    assert [a.status for a in summary.attempts] == ["ok"]
    assert workspace.recordings()[0].num_messages == len(vod.comments)


@pytest.mark.slow
def test_a_run_killed_at_its_very_end_is_told_and_tidied(twitch: Any, workspace: Workspace) -> None:
    """Recordings are in raw/, but the ledger does not say so yet, or the staging folder is still there."""
    twitch.add_vod(twitch.Vod(id=VOD, duration_s=600, comments=twitch.comments(900, 600, seed=2)))
    twitch.add_vod(twitch.Vod(id="1000001", comments=twitch.comments(50, 120, seed=1)))
    twitch.fault("unauthorized", vod=VOD, after=8)
    run(workspace, VOD, "1000001")
    workspace.ledger.path.unlink()
    left = CHAT.job(Vod(platform="twitch", id="1000001"))
    left.save(workspace.root)
    before = len(twitch.requests)
    told = {a.recording_id: a.status for a in run(workspace, VOD, "1000001").attempts}
    assert told == {f"twitch-{VOD}": "partial", "twitch-1000001": "ok"}
    assert {a.status for a in run(workspace, VOD, "1000001").attempts} == {"current"}
    assert len(twitch.requests) == before and not left.staging(workspace.root).exists()


@pytest.mark.slow
def test_a_retry_that_fails_keeps_what_there_is(twitch: Any, workspace: Workspace) -> None:
    twitch.add_vod(twitch.Vod(id=VOD, duration_s=120, comments=twitch.comments(450, 120, seed=13, burst=(60, 150))))
    twitch.fault("integrity-after-page", n=2)
    run(workspace, VOD)
    (before,) = workspace.recordings()
    twitch.fault("gone")
    (attempt,) = run(workspace, retry="partial").attempts
    assert attempt.status == "partial" and "a new attempt failed (unknown-video" in str(attempt.reason)
    assert workspace.recordings() == [before]


def test_the_forgotten_are_not_fetched(twitch: Any, workspace: Workspace) -> None:
    comments = twitch.comments(200, 120, seed=3)
    login = next(node["commenter"]["login"] for node in comments if node["commenter"])
    twitch.add_vod(twitch.Vod(id=VOD, comments=comments))
    twitch.add_vod(twitch.Vod(id="1000001", channel="gone_away", comments=twitch.comments(10, 120)))
    twitch.add_vod(twitch.Vod(id="1000002", comments=twitch.comments(10, 120)))
    stones = Tombstones.open(workspace)
    stones.add("user", [login])
    stones.add("channel", ["gone_away"])
    stones.add("recording", ["twitch-1000002"])
    stones.save()
    summary = run(workspace, VOD, "1000001", "1000002")
    assert {a.recording_id: (a.status, a.error_class) for a in summary.attempts} == {
        f"twitch-{VOD}": ("ok", None),
        "twitch-1000001": ("skipped", "forgotten"),
        "twitch-1000002": ("skipped", "forgotten"),
    }
    (recording,) = workspace.recordings()
    authors = {message["author"] for message in messages(workspace, recording)}
    assert login not in authors and len(authors) > 10
    wanted = [node["id"] for node in comments if (node["commenter"] or {}).get("login") != login]
    assert sorted(message["id"] for message in messages(workspace, recording)) == sorted(wanted)
    assert recording.origin["oddities"]["forgotten"] == len(comments) - len(wanted)


def dense(twitch: Any, identity: str, rates: list[int], **facts: Any) -> Any:
    """A VOD with rates[i] comments in minute i."""
    nodes = []
    for minute, rate in enumerate(rates):
        for node in twitch.comments(rate, 60, seed=int(identity) * 100 + minute):
            node["contentOffsetSeconds"] += 60 * minute
            nodes.append(node)
    return twitch.add_vod(twitch.Vod(id=identity, duration_s=60 * len(rates), comments=nodes, **facts))


def test_segments_are_recordings_of_their_own(twitch: Any, workspace: Workspace) -> None:
    vod = dense(
        twitch, VOD, [20, 200, 20, 20, 150, 20], chapters=[(0, "Minecraft"), (180, "Fortnite")], muted=[(70, 80)]
    )
    summary = run(workspace, VOD, segments=SMALL)
    assert [(a.recording_id, a.status) for a in summary.attempts] == [
        (f"twitch-{VOD}-t240", "ok"), (f"twitch-{VOD}-t60", "ok"),
    ]  # fmt: skip
    by_id = {recording.recording_id: recording for recording in workspace.recordings()}
    early, late = by_id[f"twitch-{VOD}-t60"], by_id[f"twitch-{VOD}-t240"]
    assert (early.category, early.offset_ms, early.duration_ms) == ("Minecraft", -60_000, 60_000)
    assert (late.category, late.offset_ms, late.duration_ms) == ("Fortnite", -240_000, 60_000)
    assert early.origin["crawl"]["muted_ms"] == [[10_000, 20_000]] and late.origin["crawl"]["muted_ms"] == []
    for recording, start_s in ((early, 60), (late, 240)):
        got = [message["id"] for message in messages(workspace, recording)]
        wanted = [node["id"] for node in vod.ordered if start_s - 30 <= node["contentOffsetSeconds"] < start_s + 90]
        assert got == wanted
    assert run(workspace, VOD, segments=SMALL).count("current") == 2


def test_counted_bins_read_the_chat_once(twitch: Any, workspace: Workspace) -> None:
    dense(twitch, VOD, [20, 200, 20, 20, 150, 20])
    run(workspace, VOD, segments=replace(SMALL, density="counted"))
    assert {recording.recording_id for recording in workspace.recordings()} == {
        f"twitch-{VOD}-t60",
        f"twitch-{VOD}-t240",
    }
    assert max(recording.num_messages for recording in workspace.recordings()) < 240, "of which the ranges are kept"
    asked = [json.dumps(row["variables"]) for row in twitch.pages()]
    assert len(asked) == len(set(asked)) <= 430 // 59 + 3


def test_a_vod_with_too_few_bins_is_left_out(twitch: Any, workspace: Workspace) -> None:
    dense(twitch, VOD, [20, 20, 20])
    summary = run(workspace, VOD, segments=SMALL)
    assert [(a.status, a.error_class) for a in summary.attempts] == [("skipped", "too-little-chat")]
    assert summary.exit_code == 0 and not workspace.recordings()


RECIPE = Recipe(
    name="small",
    segments=SMALL,
    video=False,
    categories=(
        CategoryPlan(name="Minecraft", id="27471", hours=4 / 60),
        CategoryPlan(name="Art", id="509660", hours=2 / 60),
    ),
)


def fill(twitch: Any) -> None:
    for category in RECIPE.categories:
        twitch.add_category(category.name, category.id)
    rates = [30, 60, 30, 40, 30, 30]
    dense(twitch, "2000001", rates, channel="anna", category="Minecraft", views=900)
    dense(twitch, "2000002", rates, channel="anna", category="Minecraft", views=800)  # one a channel
    dense(twitch, "2000003", [30] * 3, channel="berta", category="Minecraft", views=700)  # too short
    dense(twitch, "2000004", [30, 0, 0, 0, 0, 0], channel="clara", category="Minecraft", views=600)  # too silent
    dense(twitch, "2000005", rates, channel="dora", category="Minecraft", views=500)
    dense(twitch, "2000006", rates, channel="emma", category="Minecraft", views=400)  # not needed
    dense(twitch, "3000001", rates, channel="anna", category="Art", views=300)
    dense(twitch, "3000002", rates, channel="frida", category="Art", language="de", views=900)


@pytest.mark.slow
def test_a_recipe_is_followed_until_its_hours_are_there(
    twitch: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(twitch)
    with pytest.raises(MissingInput, match="credentials"):
        crawl_recipe(workspace, RECIPE, CHAT)
    for name, value in twitch.credentials.items():
        monkeypatch.setenv(name, value)
    summary = crawl_recipe(workspace, RECIPE, CHAT)
    kept = {(recording.platform_id, recording.category) for recording in workspace.recordings()}
    assert kept == {("2000001", "Minecraft"), ("2000005", "Minecraft"), ("3000001", "Art")}
    assert len(workspace.recordings()) == 6
    skipped = [a for a in summary.attempts if a.status == "skipped"]
    assert [(a.recording_id, a.error_class) for a in skipped] == [("twitch-2000004", "too-little-chat")]
    for name in twitch.credentials:
        monkeypatch.delenv(name)
    before = len(twitch.requests)
    again = crawl_recipe(workspace, RECIPE, CHAT)
    assert {a.status for a in again.attempts} == {"current", "skipped"}
    assert len(twitch.requests) == before, "finished: nobody is asked, no credentials are needed"


@pytest.mark.slow
def test_a_recipe_takes_no_more_than_the_limit(
    twitch: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(twitch)
    for name, value in twitch.credentials.items():
        monkeypatch.setenv(name, value)
    crawl_recipe(workspace, RECIPE, replace(CHAT, limit=1))
    assert {recording.platform_id for recording in workspace.recordings()} == {"2000001"}
    crawl_recipe(workspace, RECIPE, CHAT)
    assert len(workspace.recordings()) == 6, "the rest comes with the next run"
