"""`sample`, `import`, `clean`, `build-features` and `build`: from recordings to shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..workspace import Workspace
from .options import (
    data_option,
    device_option,
    dry_run_option,
    emit,
    emit_plan,
    emit_summary,
    example,
    human_bytes,
    json_option,
    limit_option,
    retry_option,
    workers_option,
)

if TYPE_CHECKING:
    from ..engines.local import StepSummary

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DEFAULT_CLIP = "ViT-B-32:openai"  # what the paper's features were made with (FACTS §1)
SAMPLE_FRACTIONS = (0.66, 0.1, 0.24)  # a simulated world needs 10 test channels for intervals


@click.command()
@data_option
@click.option("--recordings", type=click.IntRange(min=1), metavar="N", default=12, show_default=True, help="How many.")
@click.option(
    "--minutes", type=click.FloatRange(min=1), metavar="N", default=12, show_default=True, help="Length of each."
)
@click.option(
    "--world",
    type=click.Choice(["screen", "beyond", "unrelated"]),
    default="screen",
    show_default=True,
    help="What the chat refers to: the screen, something before the clip's frames, nothing shown.",
)
@click.option(
    "--seed", type=int, metavar="N", help="Equal seeds give equal bytes.  [default: the workspace's, 0 for a new one]"
)
@workers_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Make at most N of them now.")
@dry_run_option
@json_option
@example("videochat sample --recordings 12 --minutes 12 --data sample-world")
def sample(
    data: Path,
    recordings: int,
    minutes: float,
    world: str,
    seed: int | None,
    workers: int | None,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Simulate recordings with chat (for demos and tests).

    The videos are real H.264, the chat has Twitch's form, and what each comment refers to is known. Nothing measured
    on it says how well a model does on real streams.
    """
    from ..sample import generate as sampling

    plan = sampling.plan(num_recordings=recordings, minutes=minutes)
    if dry_run:
        emit_plan("sample", plan, as_json)
        return 0
    new = {"clip": "sample", "split_fractions": SAMPLE_FRACTIONS}  # of a new workspace; an old one keeps its own
    workspace = Workspace.open(data, create=True, **_seed(seed), **({} if _is_workspace(data) else new))
    with workspace.lock():
        summary = sampling.generate(
            workspace, world=world, num_recordings=min(recordings, limit or recordings), minutes=minutes,
            num_workers=workers,
        )  # fmt: skip
    return emit_summary(summary, as_json)


@click.command("import")
@data_option
@click.option("--chat", type=EXISTING_FILE, help="The chat file, needed without --list; its format is told by content.")
@click.option("--video", type=EXISTING_FILE, help="The video. Without one the recording is text-only.")
@click.option("--category", help="The game or topic, such as 'Minecraft'; needed with --chat.")
@click.option("--channel", default="", help="The channel. Without it the recording counts as a channel of its own.")
@click.option("--language", default="en", show_default=True, help="ISO 639-1 code; '' keeps every language.")
@click.option("--title", default="", help="A title, kept in raw data only.")
@click.option(
    "--offset-ms", type=int, metavar="N", default=0, show_default=True, help="Added to chat times to meet the video."
)
@click.option("--duration-ms", type=click.IntRange(min=1), metavar="N", help="Length, where no video tells it.")
@click.option("--info", type=EXISTING_FILE, help="A vod.json or info.json with id, channel, duration.")
@click.option("--features", type=EXISTING_FILE, help="Frame features made elsewhere: .npy or .npz (N, D).")
@click.option("--feature-times", type=EXISTING_FILE, help="Their timestamps in ms (.npy).")
@click.option(
    "--feature-step-ms", type=click.IntRange(min=1), metavar="N", help="Their distance in ms, where no times are given."
)
@click.option("--features-clip", default="", help="The CLIP that made them, such as ViT-B-32:openai.")
@click.option("--platform", help="Where it comes from, such as twitch; with --platform-id it makes the id.")
@click.option("--platform-id", help="The recording's id there.")
@click.option("--replace", is_flag=True, help="Replace a recording of the same id and other content.")
@click.option("--list", "list_file", type=EXISTING_FILE, help="Many recordings: a CSV or JSONL file, see above.")
@limit_option
@workers_option
@dry_run_option
@json_option
@example(
    "videochat import --video vod.mp4 --chat vod.json --category Minecraft --channel somebody\n"
    "videochat import --list recordings.csv"
)
def import_(
    data: Path,
    list_file: Path | None,
    replace: bool,
    limit: int | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
    **one: Any,
) -> int:
    """Bring recordings and their chat into the workspace.

    Chat: GraphQL comment nodes, TwitchDownloader, v5/rechat, chat-downloader (JSON, JSONL), Bilibili XML, AcFun JSON,
    CSV; gzip or not. Nothing is fetched from a network. A --list has a column for each of the options chat, category,
    video, channel, language, title, offset_ms, duration_ms, info, features, feature_times, feature_step_ms,
    features_clip, platform, platform_id; only the first two are needed, and paths start at the list's folder.
    """
    from ..sources.local import ImportItem, import_recordings, plan_import, read_list

    if (list_file is None) == (one["chat"] is None):
        raise UsageError("give either --chat or --list", fix="see `videochat import --help` for an example of each")
    if list_file is not None:
        items = read_list(list_file)
    else:
        if not one["category"]:
            raise UsageError("--category is missing", fix="name the game or topic, such as --category Minecraft")
        items = [ImportItem(**{name: value for name, value in one.items() if value is not None})]
    if dry_run:
        emit_plan("import", plan_import(items[:limit]), as_json)
        return 0
    workspace = _open_or_create(data)
    with workspace.lock():
        summary = import_recordings(workspace, items, limit=limit, num_workers=workers, replace=replace)
    facts = _imported(summary)
    return emit_summary(summary, as_json, extra=_imported_text(facts), facts=facts)


def _imported(summary: StepSummary) -> dict[str, Any]:
    """Messages, hours and oddities of what was imported now."""
    oddities: Counter[str] = Counter()
    for attempt in summary.attempts:
        oddities.update({k: v for k, v in attempt.counts.items() if k not in ("recording_id", "messages", "hours")})
    totals = {"messages": int(summary.total("messages")), "hours": round(summary.total("hours"), 3)}
    return {**totals, "oddities": dict(sorted(oddities.items()))}


def _imported_text(facts: dict[str, Any]) -> str:
    """ "3,090 messages, 4.10 hours", and below what was odd about them."""
    if not facts["messages"]:
        return ""
    lines = [f"{facts['messages']:,} messages, {facts['hours']:.2f} hours"]
    return "\n".join(lines + [f"  {count:>9,} {name}" for name, count in facts["oddities"].items()])


def _is_workspace(data: Path) -> bool:
    return (data / "workspace.toml").is_file()


def _seed(seed: int | None) -> dict[str, int]:
    return {} if seed is None else {"seed": seed}


def _open_or_create(data: Path) -> Workspace:
    """The workspace as it is, or a new one for real recordings."""
    if _is_workspace(data):
        return Workspace.open(data)
    return Workspace.open(data, create=True, clip=DEFAULT_CLIP)


@click.command()
@data_option
@limit_option
@retry_option
@workers_option
@dry_run_option
@json_option
@example("videochat clean")
def clean(data: Path, limit: int | None, retry: str | None, workers: int | None, dry_run: bool, as_json: bool) -> int:
    """Clean the chat by declared rules.

    Every dropped row keeps its reason; the funnel shows what each rule took. Authors become keyed pseudonyms.
    """
    from ..cleaning.funnel import format_funnel, funnel
    from ..cleaning.run import clean as run_clean
    from ..engines.local import select

    workspace = Workspace.open(data)
    if dry_run:
        recordings = select(workspace, "clean", limit=limit, retry=retry)
        files = [workspace.raw_dir(r.recording_id) / r.chat for r in recordings]
        plan = {
            "recordings": len(recordings),
            "hours": sum(r.duration_ms for r in recordings) / 3_600_000,
            "messages": sum(r.num_messages for r in recordings),
            "bytes": sum(path.stat().st_size for path in files if path.is_file()),
        }
        emit_plan("clean", plan, as_json)
        return 0
    with workspace.lock():
        summary = run_clean(workspace, limit=limit, retry=retry, num_workers=workers)
    rows = funnel(workspace)
    facts = [asdict(row) for row in rows]
    return emit_summary(summary, as_json, extra=format_funnel(rows), facts=facts, can_retry=True)


@click.command()
@data_option
@device_option
@click.option(
    "--clip",
    metavar="sample|NAME:PRETRAINED|FOLDER",
    help="The CLIP: the small one of simulated data, open_clip weights, a local folder.  [default: the workspace's]",
)
@click.option(
    "--mode",
    type=click.Choice(["exact", "keyframe"]),
    default="exact",
    show_default=True,
    help="exact: the frame on screen at each second; keyframe: the last keyframe by then, much faster.",
)
@click.option("--allow-untrained", is_flag=True, help="Accept a CLIP without trained weights.")
@click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    help="Another workspace: take the frame features of equal videos from it.",
)
@limit_option
@retry_option
@workers_option
@dry_run_option
@json_option
@example("videochat build-features --device cuda\nvideochat build-features --clip ViT-B-32:openai --mode keyframe")
def build_features(
    data: Path,
    device: str,
    clip: str | None,
    mode: str,
    allow_untrained: bool,
    reuse: Path | None,
    limit: int | None,
    retry: str | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Embed frames and comments with CLIP.

    A recording without video is skipped; a broken video is a failed row with its reason, and the run goes on.
    """
    from ..frames.features import build_features as run_features
    from ..frames.features import plan_features
    from ..frames.weights import resolve_device

    workspace = Workspace.open(data)
    if dry_run:
        resolve_device(device)
        emit_plan("build-features", plan_features(workspace, clip=clip, limit=limit, retry=retry), as_json)
        return 0
    with workspace.lock():
        summary = run_features(
            workspace,
            device=device,
            clip=clip,
            mode=mode,
            limit=limit,
            retry=retry,
            num_workers=workers,
            allow_untrained=allow_untrained,
            reuse=reuse,
        )
    return emit_summary(summary, as_json, can_retry=True)


@click.command()
@data_option
@click.option(
    "--split-by",
    type=click.Choice(["channel", "recording", "train", "dev", "test"]),
    help="The unit of the split, or one split for all clips.  [default: the workspace's, channel]",
)
@click.option("--fractions", metavar="TRAIN,DEV,TEST", help="Such as 0.8,0.1,0.1.  [default: the workspace's]")
@click.option("--text-only", is_flag=True, help="Leave the features out and take recordings without video, too.")
@limit_option
@dry_run_option
@json_option
@example("videochat build\nvideochat build --split-by recording --text-only")
def build(
    data: Path,
    split_by: str | None,
    fractions: str | None,
    text_only: bool,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Cut clips and write the shards with their card.

    If any recording has frame features, those without are left out and listed; --text-only takes all, without features.
    """
    from ..build import build as run_build
    from ..build import plan_build

    workspace = Workspace.open(data)
    choices: dict[str, Any] = {} if split_by is None else {"split_by": split_by}
    if fractions is not None:
        choices["split_fractions"] = _fractions(fractions)
    if dry_run:
        emit_plan("build", plan_build(workspace.having(**choices), text_only=text_only, limit=limit), as_json)
        return 0
    with workspace.lock():
        manifest = run_build(workspace.having(**choices), text_only=text_only, limit=limit)
        workspace.change(**choices)  # only what could be built is recorded
    emit(manifest, as_json, _shards_text(manifest))
    return 0


def _fractions(text: str) -> tuple[float, float, float]:
    try:
        train, dev, test = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--fractions {text!r} is not three numbers", fix="write --fractions 0.8,0.1,0.1") from None
    return train, dev, test


def _shards_text(manifest: dict[str, Any]) -> str:
    kind = "text-only" if manifest["text_only"] else f"CLIP features of width {manifest['dim']}"
    kind += ", transcripts" if "transcript" in manifest["provides"] else ""
    kind += ", simulated" if manifest["simulated"] else ""
    size = human_bytes(sum(file["bytes"] for file in manifest["files"]))
    lines = [
        f"{manifest['num_clips']:,} clips of {manifest['num_recordings']} recordings, {manifest['hours']:.2f} hours, "
        f"{manifest['num_comments']:,} comments, {len(manifest['files'])} files, {size} ({kind})",
        f"split by {manifest['split_by']}:",
    ]
    for row in manifest["per_split"]:
        lines.append(
            f"  {row['split']:<6} {row['channels']:>5} channels {row['recordings']:>6} recordings "
            f"{row['clips']:>8,} clips {row['comments']:>10,} comments {row['hours']:>9.2f} h"
        )
    lines += [f"  dropped {count:>6,} {reason}" for reason, count in manifest["drops"].items() if count]
    if manifest["left_out"]:
        lines.append(f"  left out {len(manifest['left_out'])} recordings (their reasons are in dataset.json)")
    return "\n".join([*lines, f"digest {manifest['digest'][:12]}"])
