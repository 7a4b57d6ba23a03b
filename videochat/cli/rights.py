"""`rights`, `forget`, `purge`, `pseudonyms`, `export-ids` and `rehydrate`: what people and the law are owed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..workspace import Workspace
from .options import data_option, dry_run_option, emit, emit_plan, example, human_bytes, json_option

checkpoints_option = click.option("--checkpoints", is_flag=True, help="Remove models trained on the data, too.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask before anything is removed.")
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@data_option
@click.option("--basis", help="On what ground the data is processed, such as 'consent' or an ethics vote.")
@click.option("--jurisdiction", help="Whose law holds.")
@click.option("--contact", help="Where people write who want to be forgotten.")
@click.option("--retain-until", metavar="DATE", help="The last day on which the data is kept; 'none' removes it.")
@click.option("--i-may-collect-this", "affirmed", is_flag=True, help="State that you have the right to collect.")
@json_option
@example(
    "videochat rights\n"
    "videochat rights --basis 'ethics vote 12/26' --jurisdiction DE --contact data@lab.example "
    "--retain-until 2028-12-31"
)
def rights(data: Path, retain_until: str | None, affirmed: bool, as_json: bool, **texts: str | None) -> int:
    """Show or set basis, jurisdiction, retention date and contact.

    They stand in rights.json. The tool cannot judge them: it writes down what you decided.
    """
    from ..rights.record import change_record, parse_date, read_record, require_statement

    workspace = Workspace.open(data)
    changes: dict[str, Any] = {name: text for name, text in texts.items() if text is not None}
    if retain_until is not None:
        changes["retain_until"] = None if retain_until == "none" else parse_date(retain_until)
    if changes or affirmed:
        with workspace.lock():
            change_record(workspace, **changes)
            if affirmed:
                require_statement(workspace, True)
    value = read_record(workspace).to_json()
    emit(value, as_json, "\n".join(f"{name:<13} {text or '-'}" for name, text in value.items()))
    return 0


@click.command()
@data_option
@click.option("--user", "users", multiple=True, metavar="LOGIN", help="A person, by login.")
@click.option("--user-id", "user_ids", multiple=True, metavar="ID", help="A person, by the platform's id.")
@click.option("--channel", "channels", multiple=True, metavar="NAME", help="A channel with all its recordings.")
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="A recording, or a part of one.")
@click.option("--pseudonym", "pseudonyms", multiple=True, metavar="U_...", help="A person, by a known pseudonym.")
@click.option(
    "--take-words/--keep-words",
    "words",
    default=None,
    help="Take the bare name out of what others wrote, too, or leave it.  [default: take it if it is no word]",
)
@checkpoints_option
@dry_run_option
@json_option
@example("videochat forget --user somebody\nvideochat forget --channel somebody --recording twitch-1234567890")
def forget(
    data: Path,
    words: bool | None,
    checkpoints: bool,
    dry_run: bool,
    as_json: bool,
    **named: tuple[str, ...],
) -> int:
    """Remove a person, a channel or a recording from the workspace.

    Raw data and all that was made from it. The data set becomes its next version, the same without them; candidate
    sets and runs of the old version are removed. A tombstone keeps them out of later imports and crawls. Without a
    name it completes what was interrupted.
    """
    from ..rights.forget import forget as run_forget
    from ..rights.forget import plan
    from ..rights.search import Request

    workspace = Workspace.open(data)
    request = Request(words=words, **named)
    if dry_run:
        emit_plan("forget", plan(workspace, request), as_json)
        return 0
    with workspace.lock():
        result = run_forget(workspace, request, checkpoints=checkpoints)
    emit(result, as_json, _forgotten(result))
    return 3 if result["failed"] else 0


def _forgotten(result: dict[str, Any]) -> str:
    lines = [
        f"{len(result['recordings'])} recordings removed, {result['messages']:,} messages taken out of raw chat, "
        f"names taken out of {result['messages_redacted']:,} more, {result['comments']:,} cleaned comments removed"
        + (f", {result['segments']:,} segments of speech, too" if result.get("segments") else "")
    ]
    if entry := result["dataset"]:
        lines.append(
            f"data set     version {entry['version']}: {entry['clips']:,} clips and {entry['comments']:,} comments less"
            + ("" if "digest" in entry else "; nothing is left, the shards are removed")
        )
    else:
        lines.append("data set     unchanged: nothing of them was in the shards")
    for name, text in (
        ("candidates", "removed, make them again with `videochat candidates`"),
        ("runs", "removed"),
        ("checkpoints", "removed"),
        ("stale_checkpoints", "trained on an older version: train again, or remove with --checkpoints"),
        ("lists", "changed: the next `clean` cleans all recordings again"),
    ):
        if result.get(name):
            lines.append(f"{name.removeprefix('stale_'):<12} {', '.join(result[name])} ({text})")
    lines += [f"note         {note}" for note in result["notes"]]
    lines += [f"failed       {row['recording_id']}: {row['reason']}" for row in result["failed"]]
    return "\n".join(lines)


@click.command()
@data_option
@click.option("--expired", is_flag=True, help="Remove the data if its retention date has passed.")
@checkpoints_option
@yes_option
@dry_run_option
@json_option
@example("videochat purge --expired --dry-run\nvideochat purge --expired --yes")
def purge(data: Path, expired: bool, checkpoints: bool, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Remove all data when its retention date has passed.

    The date is that of `videochat rights`. Settings, rights record and tombstones stay.
    """
    from ..rights.purge import plan
    from ..rights.purge import purge as run_purge

    if not expired:
        raise UsageError("say what to purge", fix="videochat purge --expired")
    workspace = Workspace.open(data)
    found = plan(workspace, checkpoints=checkpoints)
    if dry_run:
        emit_plan("purge", found, as_json)
        return 0
    if found["expired"] and not yes:
        click.confirm(f"remove {found['files']:,} files, {human_bytes(found['bytes'])}?", abort=True, err=True)
    with workspace.lock():
        result = run_purge(workspace, checkpoints=checkpoints)
    if result["expired"]:
        text = f"removed {', '.join(result['removed']) or 'nothing, it was done before'}"
    else:
        text = f"nothing to do: the data may be kept until {result['retain_until']}"
    emit(result, as_json, text)
    return 0


@click.command()
@click.argument("action", type=click.Choice(["destroy-key"]))
@data_option
@yes_option
@json_option
@example("videochat pseudonyms destroy-key")
def pseudonyms(action: str, data: Path, yes: bool, as_json: bool) -> int:
    """Destroy the key of the pseudonyms, for good.

    Raw chat, message ids and channel names go with it, since they would lead around it. The data set stays and can be
    built and benchmarked; nothing can be added, and persons can no longer be forgotten by name.
    """
    from ..rights.keys import destroy_key

    workspace = Workspace.open(data)
    if not yes:
        click.confirm("destroy the key, raw chat and message ids? this cannot be undone", abort=True, err=True)
    with workspace.lock():
        result = destroy_key(workspace)
    lines = [f"destroyed: {', '.join(result['removed'])} of {result['recordings']} recordings"]
    emit(result, as_json, "\n".join([*lines, *(f"note  {note}" for note in result["notes"])]))
    return 0


@click.command()
@data_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default="ids.jsonl.gz", show_default=True)
@json_option
@example("videochat export-ids --out ids.jsonl.gz")
def export_ids(data: Path, out: Path, as_json: bool) -> int:
    """Write the data set as recording and message ids.

    No text and no name is in it; `videochat rehydrate` fetches it again as far as the platform still has it.
    """
    from ..rights.ids import export_ids as run_export

    result = run_export(Workspace.open(data), out)
    lines = [f"{result['messages']:,} message ids of {result['recordings']} recordings in {result['file']}"]
    if result["without_id"]:
        lines.append(f"{result['without_id']:,} comments have no id and are left out")
    if result["not_fetchable"]:
        lines.append(f"{result['not_fetchable']} recordings are of no platform that can be asked for them again")
    emit(result, as_json, "\n".join(lines))
    return 0


@click.command()
@click.argument("ids", type=EXISTING_FILE)
@data_option
@click.option("--no-video", is_flag=True, help="Fetch the chat alone.")
@click.option("--at-once", type=click.IntRange(1, 32), default=4, show_default=True, help="VODs fetched at a time.")
@click.option("--limit", type=click.IntRange(min=1), help="Take at most N VODs.")
@click.option("--i-may-collect-this", "affirmed", is_flag=True, help="State that you have the right to collect.")
@json_option
@example("videochat rehydrate ids.jsonl.gz --data again --i-may-collect-this")
def rehydrate(
    ids: Path, data: Path, no_video: bool, at_once: int, limit: int | None, affirmed: bool, as_json: bool
) -> int:
    """Fetch a data set again that was published as ids.

    Says what drifted or is gone, and writes it into rehydration.json; exit code 3 if a recording is gone or partial.
    Then clean, build-features and build as usual; the splits are the published ones.
    """
    from ..crawl.jobs import CrawlOptions
    from ..rights.rehydrate import rehydrate as run_rehydrate
    from ..rights.rehydrate import settings_of

    options = CrawlOptions(video=not no_video, at_once=at_once, limit=limit, affirmed=affirmed)
    workspace = Workspace.open(data, create=True, **settings_of(ids))
    with workspace.lock():
        report = run_rehydrate(workspace, ids, options)
    counts = report["counts"]
    lines = [f"{name.replace('_', ' '):<25} {count:,}" for name, count in counts.items()]
    lines += [f"  {row['status']:<8} {row['recording_id']}: {row.get('reason', '')}" for row in _missing(report)]
    emit(report, as_json, "\n".join(lines))
    return 3 if _missing(report) else 0


def _missing(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["recordings"] if row["status"] in ("gone", "partial")]
