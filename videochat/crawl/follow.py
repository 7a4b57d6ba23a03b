"""Follow a recipe: list the VODs of each category, fetch until its hours are there.

The VODs that were taken are written down before the first of them is fetched (.crawl/recipe.json), so a run that was
killed goes on with the same ones, whatever Twitch lists by then. A VOD that turns out to hold too little chat, or
fails, is made up for by the next one of the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engines.local import StepSummary
from ..errors import UsageError
from ..files import digest_json, read_json, write_json
from ..ledger import Attempt
from ..progress import say
from ..rights.record import require_statement
from ..rights.tombstones import Tombstones
from ..schema import Recording
from ..workspace import Workspace
from .crawl import STEP, crawled, retried_jobs, run_jobs
from .helix import Helix, HelixVideo
from .jobs import STAGING, CrawlOptions, Job
from .recipe import CategoryPlan, Recipe
from .targets import Vod

TAKEN_FILE = "recipe.json"
NONE_KEPT = ("failed", "skipped")


@dataclass(kw_only=True)
class Category:
    """One category while a recipe is followed. listed: what Twitch listed so far; taken: VOD id -> channel."""

    plan: CategoryPlan
    videos: Iterator[HelixVideo]
    taken: dict[str, str]
    listed: list[HelixVideo] = field(default_factory=list)

    def candidates(self) -> Iterator[HelixVideo]:
        """All VODs in the order of the list, from its begin; pages are fetched as they are needed."""
        yield from self.listed
        for video in self.videos:
            self.listed.append(video)
            yield video


def crawl_recipe(workspace: Workspace, recipe: Recipe, options: CrawlOptions) -> StepSummary:
    """Fetch what the recipe still lacks. `options.limit`: take at most so many VODs in this run.

    Raises MissingInput without API credentials, where VODs have to be listed.
    """
    require_statement(workspace, options.affirmed)
    options = replace(options, segments=recipe.segments, language=recipe.language, min_rows=recipe.min_rows,
                      video=options.video and recipe.video)  # fmt: skip
    if options.retry is not None:
        return run_jobs(workspace, retried_jobs(workspace, options.retry)[: options.limit], options)
    path = workspace.root / STAGING / TAKEN_FILE
    taken = _read_taken(path, recipe)
    categories = [
        Category(plan=plan, videos=_videos(recipe, plan), taken=dict(taken.get(plan.id, {})))
        for plan in recipe.categories
    ]
    summary = StepSummary(step=STEP)
    budget = options.limit
    wave = [(category, _vod(name, channel)) for category in categories for name, channel in category.taken.items()]
    while True:
        wave = wave[:budget]
        done = run_jobs(workspace, [_job(recipe, options, category, vod) for category, vod in wave], options)
        summary.attempts += done.attempts
        budget = None if budget is None else budget - len(wave)
        if budget == 0:
            break
        wave = _next_wave(workspace, recipe, categories)[:budget]
        if not wave:
            for row in shortfall(workspace, recipe):
                say(f"{STEP}: {row['category']}: {row['hours']:.2f} of {row['wanted']:.2f} h, no more VODs are listed")
            break
        for category, vod in wave:
            category.taken[vod.id] = vod.channel
        _write_taken(path, recipe, categories)
    summary.attempts.sort(key=lambda item: item.recording_id)
    return summary


def plan_recipe(workspace: Workspace | None, recipe: Recipe) -> dict[str, Any]:
    """What there is and what is wanted, without asking anybody."""
    plan: dict[str, Any] = {"recipe": recipe.name, "hours_wanted": recipe.hours}
    have = {category.id: 0.0 for category in recipe.categories} if workspace is None else _hours(workspace, recipe)
    plan["hours_there"] = round(sum(have.values()), 2)
    return plan | {
        f"{category.name} (hours)": f"{have[category.id]:.1f} of {category.hours:g}" for category in recipe.categories
    }


def shortfall(workspace: Workspace, recipe: Recipe) -> list[dict[str, Any]]:
    """The categories that have fewer hours than wanted."""
    have = _hours(workspace, recipe)
    return [
        {"category": category.name, "hours": have[category.id], "wanted": category.hours}
        for category in recipe.categories
        if have[category.id] < category.hours - 1e-6
    ]


def _videos(recipe: Recipe, plan: CategoryPlan) -> Iterator[HelixVideo]:
    """The category's list; credentials are looked for only when it is read."""
    helix = Helix.from_environment()
    yield from helix.videos(game_id=plan.id, language=recipe.language, period=recipe.period, sort=recipe.sort)


def _vod(identity: str, channel: str) -> Vod:
    return Vod(platform="twitch", id=identity, channel=channel)


def _job(recipe: Recipe, options: CrawlOptions, category: Category, vod: Vod) -> Job:
    plan = category.plan
    return replace(options.job(vod), category=plan.name, category_id=plan.id, recipe=recipe.name)


def _next_wave(workspace: Workspace, recipe: Recipe, categories: list[Category]) -> list[tuple[Category, Vod]]:
    """For each category the next VODs of its list that should make up for what it lacks."""
    have = _hours(workspace, recipe)
    latest = workspace.ledger.latest(STEP)
    tombstones = Tombstones.open(workspace)
    everywhere = {identity for category in categories for identity in category.taken}
    wave: list[tuple[Category, Vod]] = []
    for category in categories:
        missing_h = category.plan.hours - have[category.plan.id]
        per_channel = Counter(
            channel for identity, channel in category.taken.items() if not _came_to_nothing(latest, identity)
        )
        if missing_h <= 1e-6:
            continue
        for video in category.candidates():
            if video.id in everywhere or per_channel[video.channel] >= recipe.max_per_channel:
                continue
            hours = expected_hours(recipe, video)
            if hours <= 0 or tombstones.forgets(channel=video.channel):
                continue
            everywhere.add(video.id)
            per_channel[video.channel] += 1
            wave.append((category, _vod(video.id, video.channel)))
            missing_h -= hours
            if missing_h <= 1e-6:
                break
    return wave


def _came_to_nothing(latest: dict[str, Attempt], identity: str) -> bool:
    attempt = latest.get(f"twitch-{identity}")
    return attempt is not None and attempt.status in NONE_KEPT


def expected_hours(recipe: Recipe, video: HelixVideo) -> float:
    """What a VOD would bring, by its length alone: 0 if it is too short for the recipe's bins."""
    rule = recipe.segments
    if rule.mode == "whole":
        return video.duration_ms / 3_600_000
    return rule.take * rule.bin_ms / 3_600_000 if video.duration_ms // rule.bin_ms > rule.more_than_bins else 0.0


def _hours(workspace: Workspace, recipe: Recipe) -> dict[str, float]:
    """Category id -> hours that were crawled for it, by this recipe or because the user named a VOD."""
    hours = {category.id: 0.0 for category in recipe.categories}
    names = {category.name: category.id for category in recipe.categories}
    for recording in crawled(workspace):
        job = recording.origin["crawl"]["job"]
        label = job["category"] if job["recipe"] == recipe.name else recording.category
        if identity := names.get(label):
            hours[identity] += _length_ms(recording) / 3_600_000
    return hours


def _length_ms(recording: Recording) -> int:
    """As planned: a video that ends some frames early must not make the recipe look for one VOD more."""
    value = recording.origin["crawl"]
    return int(value["end_ms"] - value["start_ms"])


def _read_taken(path: Path, recipe: Recipe) -> dict[str, dict[str, str]]:
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    if value["recipe"] != recipe.name:
        raise UsageError(f"this workspace follows the recipe {value['recipe']!r}", fix="use another --data")
    return dict(value["taken"])


def _write_taken(path: Path, recipe: Recipe, categories: list[Category]) -> None:
    value = {
        "recipe": recipe.name,
        "digest": digest_json(repr(recipe)),
        "taken": {category.plan.id: category.taken for category in categories},
    }
    write_json(path, value)
