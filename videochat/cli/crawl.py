"""`crawl` and `doctor`: fetch recordings with their chat, and say what stands in the way."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..workspace import Workspace
from .data import _open_or_create
from .options import data_option, dry_run_option, emit, emit_plan, emit_summary, example, json_option


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@data_option
@click.option("--recipe", metavar="NAME|FILE", help="The recipe to follow, from now on.  [default: the workspace's]")
@click.option(
    "--segments",
    type=click.Choice(["whole", "densest"]),
    default="whole",
    show_default=True,
    help="Of named VODs: all, or the three densest of more than twelve ten-minute bins of chat.",
)
@click.option("--category", default="", help="The game or topic, where the platform names none (YouTube).")
@click.option("--language", default="en", show_default=True, help="ISO 639-1, where the platform names none.")
@click.option("--no-video", is_flag=True, help="Fetch the chat alone.")
@click.option("--min-rows", type=click.IntRange(min=1), default=224, show_default=True, help="Smallest rendition.")
@click.option("--at-once", type=click.IntRange(1, 32), default=4, show_default=True, help="VODs fetched at a time.")
@click.option(
    "--i-may-collect-this",
    "affirmed",
    is_flag=True,
    help="State that you have the right to collect; asked once, written down with its date.",
)
@click.option("--retry", metavar="failed|partial[:CLASS]", help="Take only recordings that ended so before.")
@click.option("--limit", type=click.IntRange(min=1), help="Take at most N VODs.")
@dry_run_option
@json_option
@example(
    "videochat crawl https://www.twitch.tv/videos/1234567890 --i-may-collect-this\n"
    "videochat crawl somebody --limit 5 --no-video\n"
    "videochat crawl --recipe videochat-438h\n"
    "videochat crawl --retry partial"
)
def crawl(
    targets: tuple[str, ...],
    data: Path,
    recipe: str | None,
    segments: str,
    category: str,
    language: str,
    no_video: bool,
    min_rows: int,
    at_once: int,
    affirmed: bool,
    retry: str | None,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Fetch recordings with their chat.

    TARGET is a Twitch VOD (URL or id), a channel, a collection, a YouTube live replay, or a file with one of these a
    line. Without any, the workspace's recipe is followed, which needs TWITCH_CLIENT_ID and TWITCH_CLIENT_SECRET. What
    is missing is said: a recording is complete, partial with reasons, or failed.
    """
    from ..crawl.crawl import crawl as run_crawl
    from ..crawl.crawl import plan, retried_jobs
    from ..crawl.follow import crawl_recipe, plan_recipe
    from ..crawl.jobs import CrawlOptions
    from ..crawl.recipe import SegmentRule, workspace_recipe
    from ..crawl.targets import read_targets, resolve

    if targets and recipe:
        raise UsageError("give targets or --recipe, not both", fix="crawl the targets first, then the recipe")
    named = read_targets(targets)
    options = CrawlOptions(
        segments=SegmentRule(mode=segments), category=category, language=language, video=not no_video,
        min_rows=min_rows, at_once=at_once, affirmed=affirmed, retry=retry, limit=limit,
    )  # fmt: skip
    if dry_run:
        workspace = Workspace.open(data) if (data / "workspace.toml").is_file() else None
        if not named and retry is None:
            emit_plan("crawl", plan_recipe(workspace, workspace_recipe(data, recipe, keep=False)), as_json)
            return 0
        jobs = [options.job(vod) for vod in resolve(named)]
        if retry is not None:
            jobs = retried_jobs(Workspace.open(data), retry, jobs if named else None)
        emit_plan("crawl", plan(workspace, jobs[:limit]), as_json)
        return 0
    workspace = _open_or_create(data)
    options = replace(options, affirmed=affirmed or _stated(workspace))
    with workspace.lock():
        if named or retry is not None:
            summary = run_crawl(workspace, named, options)
        else:
            summary = crawl_recipe(workspace, workspace_recipe(data, recipe), options)
    return emit_summary(summary, as_json, facts=_figures(summary.attempts))


def _stated(workspace: Workspace) -> bool:
    """Ask for the statement on a terminal, the first time; without one, the flag is the way."""
    from ..rights.record import STATEMENT, read_record

    if read_record(workspace).stated_at or not sys.stdin.isatty():
        return False
    click.echo(f"Before the first recording is fetched: {STATEMENT}", err=True)
    return click.confirm("Do you state this? It is written into rights.json with today's date.", err=True)


def _figures(attempts: list[Any]) -> list[dict[str, Any]]:
    """For machines: each recording with its verdict and figures."""
    return [
        {"recording_id": a.recording_id, "status": a.status, "reason": a.reason, "seconds": a.seconds} | a.counts
        for a in attempts
    ]


@click.command()
@data_option
@click.option("--probe", is_flag=True, help="Ask the live endpoints, too, and say which method works today.")
@json_option
@example("videochat doctor\nvideochat doctor --probe")
def doctor(data: Path, probe: bool, as_json: bool) -> int:
    """Check ffmpeg, credentials, disk and, if asked, Twitch's endpoints.

    Exit code 1 if something is missing that a crawl needs. Nothing is fetched but what --probe says.
    """
    from ..crawl.doctor import check, findings_text

    findings = check(data, probe=probe)
    emit([finding.to_json() for finding in findings], as_json, findings_text(findings))
    return 1 if any(finding.state == "bad" for finding in findings) else 0
