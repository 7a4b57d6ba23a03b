"""The other places of a workspace that hold people or recordings: their folders, staging, splits, lists, the ledger,
what killed commands have left, and what was made from an older version of the data set.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import VideochatError
from ..files import read_json, write_json, write_text
from .tombstones import whole_of
from .wanted import Wanted

if TYPE_CHECKING:
    from ..workspace import Workspace

STAGING = (".crawl", ".import")
# Names that atomic writes, shards and runs use for what is not finished; the caller holds the workspace's lock.
_LEFTOVER = re.compile(r"\..+\.(?:tmp-[0-9a-f]{8}|old-[0-9a-f]{8}|spool|old)|\.[^.]+\.[0-9a-f]{8}")
_MEDIA = frozenset({".mp4", ".ts", ".mkv", ".webm", ".mov", ".flv", ".part", ".npz", ".npy", ".safetensors"})
# What follows from the rows of a data set and shows them; each folder tells the digest of its data in one file.
_DERIVED = (("candidates", "manifest.json"), ("runs", "run.json"), ("checkpoints", "training.json"))


def remove_recording(workspace: Workspace, recording_id: str) -> None:
    """Everything of one recording outside the shards. recording.json goes first: without it there is no recording."""
    folder = workspace.raw_dir(recording_id)
    (folder / "recording.json").unlink(missing_ok=True)
    derived = (workspace.comments_path, workspace.frames_path, workspace.texts_path, workspace.transcripts_path)
    for path in derived:
        path(recording_id).unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(folder)
    staging = workspace.root / ".crawl" / whole_of(recording_id)
    if staging.is_dir():
        shutil.rmtree(staging)


def forget_in_splits(workspace: Workspace, recordings: Iterable[str]) -> None:
    path = workspace.root / "splits.json"
    if not path.is_file():
        return
    stored = read_json(path)
    left = {name: split for name, split in stored["assignment"].items() if name not in set(recordings)}
    if left != stored["assignment"]:
        write_json(path, {**stored, "assignment": left})


def forget_in_staging(workspace: Workspace, wanted: Wanted) -> int:
    """Unfinished recordings that hold somebody are dropped and begin again; how many."""
    shutil.rmtree(workspace.root / ".import", ignore_errors=True)
    removed = 0
    taken = workspace.root / ".crawl" / "recipe.json"
    if taken.is_file() and (left := _untaken(value := read_json(taken), wanted.channels)) != value:
        write_json(taken, left)
    for folder in sorted((workspace.root / ".crawl").glob("*")):
        if folder.is_dir() and any(_holds(path, wanted) for path in sorted(folder.rglob("*"))):
            shutil.rmtree(folder)
            removed += 1
    return removed


def _untaken(value: Any, channels: frozenset[str]) -> Any:
    """What a recipe took (recipe.json: {VOD id: channel} in objects), without the VODs of `channels`."""
    if not isinstance(value, dict):
        return value
    return {
        name: _untaken(item, channels)
        for name, item in value.items()
        if not (isinstance(item, str) and item.casefold() in channels)
    }


def _holds(path: Path, wanted: Wanted) -> bool:
    """Whether a text file may hold somebody, or tells of a wanted channel. Videos are not looked into."""
    if not path.is_file() or path.suffix in _MEDIA:
        return False
    try:
        if wanted.channels and path.suffix == ".json" and _channels(read_json(path)) & wanted.channels:
            return True
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            return any(wanted.is_in_line(line) for line in handle)
    except (EOFError, OSError, ValueError, VideochatError, zlib.error):
        return True  # unreadable: better fetched again


def _channels(value: Any) -> set[str]:
    """All values of keys named "channel" in a JSON value, casefolded."""
    if isinstance(value, list):
        return set().union(*map(_channels, value))
    if not isinstance(value, dict):
        return set()
    own = {str(value["channel"]).casefold()} if isinstance(value.get("channel"), str) else set()
    return own.union(*map(_channels, value.values()))


def forget_in_lists(workspace: Workspace, wanted: Wanted) -> list[str]:
    """The names out of the workspace's own lists (lists/*.txt); the lists that changed."""
    changed = []
    for path in sorted((workspace.root / "lists").glob("*.txt")):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        left = [line for line in lines if line.strip().lstrip("@").casefold() not in wanted.names]
        if left != lines:
            write_text(path, "".join(f"{line}\n" for line in left))
            changed.append(f"lists/{path.name}")
    return changed


def forget_in_ledger(workspace: Workspace, wanted: Wanted) -> None:
    """Rows of removed recordings go, names in the others become "…". The ledger is append-only but for this."""
    path = workspace.ledger.path
    if not path.is_file():
        return
    names = sorted(wanted.names | wanted.channels, key=len, reverse=True)
    # An underscore or digit beside it makes no other word of it here: "import-somebody_2026.json-5f0c".
    named = re.compile("|".join(rf"(?<![^\W_\d]){re.escape(name)}(?![^\W_\d])" for name in names) or "(?!)", re.I)
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by a crash
        if value.get("recording_id") in wanted.recordings:
            continue
        for field in ("recording_id", "reason"):
            if isinstance(value.get(field), str):
                value[field] = named.sub("…", value[field])
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def sweep(workspace: Workspace) -> int:
    """Remove what killed commands have left under temporary names; how many files and folders."""
    found = [path for path in workspace.root.rglob(".*") if _LEFTOVER.fullmatch(path.name)]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def remove_stale(workspace: Workspace, *, checkpoints: bool) -> dict[str, list[str]]:
    """Remove candidate sets and runs that were not made from the data set as it is now; the names of what went.

    checkpoints: remove models trained on older data, too; else they are listed as "stale_checkpoints".
    """
    current = workspace.shards_dir / "dataset.json"
    digest = read_json(current)["digest"] if current.is_file() else None
    result: dict[str, list[str]] = {}
    for kind, facts in _DERIVED:
        stale = [
            folder
            for folder in sorted((workspace.root / kind).glob("*"))
            if folder.is_dir() and _data(folder / facts) != digest
        ]
        remove = kind != "checkpoints" or checkpoints
        result[kind if remove else "stale_checkpoints"] = [folder.name for folder in stale]
        for folder in stale if remove else ():
            (folder / facts).unlink(missing_ok=True)  # first: what is left is then known to be unfinished
            shutil.rmtree(folder)
    return result


def _data(facts: Path) -> Any:
    return read_json(facts).get("data_digest") if facts.is_file() else ""
