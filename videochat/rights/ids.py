"""`videochat export-ids`: a data set as recording ids and message ids, which only the platform can turn back into it.

    export_ids(workspace, Path("ids.jsonl.gz"))
    header, recordings = read_ids(Path("ids.jsonl.gz"))

JSON lines, gzip: a header, then one object for each recording of the data set, in order of id. No text, no name, no
pseudonym. What `rehydrate` fetches is compared by digests: of runs of BLOCK messages, because a digest of a single
short text could be guessed ("lol"), and what was deleted on the platform would still be readable from it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .. import __version__
from ..errors import Mismatch, UsageError
from ..files import atomic_path, digest_json
from ..progress import progress
from ..schema import SPLITS, Recording

if TYPE_CHECKING:
    from ..workspace import Workspace

FORMAT = "videochat-ids"
FORMAT_VERSION = 1
BLOCK = 64  # messages under one digest
MIN_BLOCK = 16  # fewer messages get no digest
PLATFORMS = ("twitch", "youtube")  # from which a recording can be fetched again
HEADER_KEYS = frozenset({"format", "format_version", "dataset", "settings", "num_recordings"})
TAKEN = ("recording_id", "platform", "platform_id", "category", "language", "duration_ms", "offset_ms")
ROW_KEYS = frozenset({*TAKEN, "split", "job", "parts", "ids", "blocks"})
_RECORDING_ID = re.compile(r"[\w-][\w.-]{0,119}")

Message = tuple[int, Any]  # offset_ms, fragments


def export_ids(workspace: Workspace, out: Path) -> dict[str, Any]:
    """Write the workspace's data set as ids; counts and the file's name.

    Raises MissingInput without shards, Mismatch after the end of the pseudonym key (the ids went with it).
    """
    from ..dataset import Dataset

    workspace.require_living_key()
    dataset = Dataset.open(workspace.root)
    splits = _splits(dataset)
    known = {recording.recording_id: recording for recording in workspace.recordings()}
    if missing := sorted(set(splits) - set(known)):
        raise Mismatch(f"{missing[0]} is in the shards, not in raw/", fix="import it again, or build again")
    settings = asdict(workspace.settings)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "tool": f"videochat {__version__}",
        "dataset": {name: dataset.manifest[name] for name in ("version", "digest", "num_clips", "num_comments")},
        "settings": {name: settings[name] for name in ("seed", "clip", "split_by", "split_fractions", "geometry")},
        "num_recordings": len(splits),
    }
    counts = {"recordings": len(splits), "messages": 0, "without_id": 0, "not_fetchable": 0}
    with (
        atomic_path(out) as temporary,
        temporary.open("wb") as handle,
        gzip.GzipFile(filename="", mode="wb", fileobj=handle, mtime=0) as packed,
    ):
        packed.write(orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS))
        for name, split in progress(sorted(splits.items()), what="export-ids", unit="recording"):
            row, without_id = _row(workspace, known[name], split)
            packed.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS))
            counts["messages"] += len(row["ids"])
            counts["without_id"] += without_id
            counts["not_fetchable"] += not (row["platform"] in PLATFORMS and row["platform_id"])
    return {**counts, "file": str(out)}


def _splits(dataset: Any) -> dict[str, str]:
    table = dataset.table(columns=["recording_id", "split"])
    return dict(zip(table["recording_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def _row(workspace: Workspace, recording: Recording, split: str) -> tuple[dict[str, Any], int]:
    """The line of one recording, and how many kept comments have no id."""
    import pyarrow.parquet as pq

    path = workspace.comments_path(recording.recording_id)
    kept = pq.read_table(path, columns=["comment_id"], filters=[("kept", "=", True)])["comment_id"].to_pylist()
    ids = [name for name in kept if name is not None]
    crawled = recording.origin.get("crawl") or {}
    row = {
        **{name: getattr(recording, name) for name in TAKEN},
        "split": split,
        "job": crawled.get("job"),
        "parts": crawled.get("plan"),
        "ids": ids,
        "blocks": blocks(ids, messages_of(workspace, recording, ids)),
    }
    return row, len(kept) - len(ids)


def messages_of(workspace: Workspace, recording: Recording, ids: Sequence[str]) -> dict[str, Message]:
    """The messages with these ids in the raw chat; the others are absent."""
    from .search import chat_path, raw_lines

    wanted = set(ids)
    found: dict[str, Message] = {}
    for line in raw_lines(chat_path(workspace, recording)):
        message = orjson.loads(line)
        if message["id"] in wanted:
            found[message["id"]] = (message["offset_ms"], message["fragments"])
    return found


def runs(ids: Sequence[str]) -> list[Sequence[str]]:
    """The ids in runs of BLOCK; a last run that is too short for a digest of its own joins the one before."""
    ends = list(range(BLOCK, len(ids) + 1, BLOCK)) or [len(ids)]
    if len(ids) - ends[-1] >= MIN_BLOCK:
        ends.append(len(ids))
    ends[-1] = len(ids)
    return [ids[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def blocks(ids: Sequence[str], messages: Mapping[str, Message]) -> list[str | None]:
    """The digest of each run: 16 hex digits over its ids, offsets and fragments; None where a message is missing or
    the run is shorter than MIN_BLOCK."""
    return [
        None
        if len(run) < MIN_BLOCK or any(name not in messages for name in run)
        else hashlib.sha256(orjson.dumps([[name, *messages[name]] for name in run])).hexdigest()[:16]
        for run in runs(ids)
    ]


def read_ids(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(header, recordings) of a file by `export_ids`. It may come from anybody: its form is checked.

    Raises UsageError that names the line.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            lines = list(_objects(path, handle))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path.name} is no gzip file of JSON lines: {error}", fix="pass a file of export-ids"
        ) from None
    if not lines or not set(lines[0]) >= HEADER_KEYS or lines[0]["format"] != FORMAT:
        raise UsageError(f"{path.name} is no list of ids", fix="pass a file of export-ids")
    header, rows = lines[0], lines[1:]
    if header["format_version"] != FORMAT_VERSION:
        raise UsageError(
            f"{path.name} has format {header['format_version']}, this version reads {FORMAT_VERSION}",
            fix="use the videochat that wrote it",
        )
    if len(rows) != header["num_recordings"]:
        raise UsageError(f"{path.name} holds {len(rows)} of {header['num_recordings']} recordings", fix="get it again")
    for number, row in enumerate(rows, 2):
        if problem := _problem(row):
            raise UsageError(f"{path.name}, line {number}: {problem}", fix="get the file again")
    return header, rows


def _objects(path: Path, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            raise UsageError(f"{path.name}, line {number} is not JSON", fix="pass a file of export-ids") from None
        if not isinstance(value, dict):
            raise UsageError(f"{path.name}, line {number} is no object", fix="pass a file of export-ids")
        yield value


def _problem(row: Mapping[str, Any]) -> str:
    if missing := sorted(ROW_KEYS - set(row)):
        return f"{missing[0]} is missing"
    texts = ("recording_id", "platform", "platform_id", "category", "language", "split")
    if any(not isinstance(row[name], str) for name in texts):
        return "a name is no text"
    if not _RECORDING_ID.fullmatch(row["recording_id"]) or row["split"] not in SPLITS:
        return f"recording id or split {row['split']!r} is none"
    if not all(type(row[name]) is int for name in ("duration_ms", "offset_ms")):
        return "a time is no whole number"
    if not isinstance(row["ids"], list) or not all(isinstance(name, str) for name in row["ids"]):
        return "ids is no list of texts"
    if not isinstance(row["blocks"], list) or len(row["blocks"]) != len(runs(row["ids"])):
        return "blocks do not fit the ids"
    return ""


def ids_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Tells one list of ids from another."""
    return digest_json([[row["recording_id"], row["ids"]] for row in rows])
