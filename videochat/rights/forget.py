"""`videochat forget`: a person, a channel or a recording leaves the workspace, and does not come back.

    result = forget(workspace, Request(users=("somebody",)))

In this order: tombstones, raw data, comments, texts, frames, transcripts, staging; then the data set's next version;
then candidate sets and runs of the old one are removed. What is to be done stands in forgetting.json (mode 0600) until
it is done: killed at any moment, the next `forget`, with or without a new request, completes it.

Not reached: backups and copies elsewhere, weights of models that were trained on the data (they are listed), what can
be seen or heard in other people's videos.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRecording, UsageError
from ..files import atomic_path, read_json
from ..ledger import Attempt
from ..progress import progress
from ..workspace import KEY_DESTROYED
from .leavings import (
    forget_in_ledger,
    forget_in_lists,
    forget_in_splits,
    forget_in_staging,
    remove_recording,
    remove_stale,
    sweep,
)
from .search import Request, search
from .tombstones import Tombstones, whole_of
from .versions import make_version, publish_version, version_facts
from .wanted import Wanted

if TYPE_CHECKING:
    from ..workspace import Workspace

PENDING = "forgetting.json"
STEP = "forget"


def forget(workspace: Workspace, request: Request | None = None, *, checkpoints: bool = False) -> dict[str, Any]:
    """Complete what an earlier run has begun, then do `request`. The caller holds the workspace's lock.

    Returns what was found and done, without names: found (counts), recordings, messages, comments, version, candidates,
    runs, checkpoints or stale_checkpoints, notes (what it could not do), failed (recordings whose chat is damaged:
    forgetting.json stays, and another run tries again).
    Raises UsageError if there is neither a request nor something to complete.
    """
    pending = read_pending(workspace)
    results = [] if pending is None else [_complete(workspace, pending, resumed=True)]
    if request is not None and request != Request(words=request.words):
        wanted, found = search(workspace, request)
        if unfinished := read_pending(workspace):  # a damaged chat: the new request may remove it
            wanted = wanted.joined(Wanted.from_json(unfinished["wanted"]))
        pending = {"wanted": wanted.to_json(), "found": found, "checkpoints": checkpoints, "entry": None}
        _write_private(workspace.root / PENDING, pending)
        results.append(_complete(workspace, pending))
    if not results:
        raise UsageError("nobody is named", fix="pass --user, --channel or --recording")
    return _joined(results)


def plan(workspace: Workspace, request: Request) -> dict[str, Any]:
    """What `forget` would take out: counts; nothing is written."""
    wanted, found = search(workspace, request)
    return {**found, "recordings": sorted(wanted.recordings), "notes": _notes(workspace, wanted, found)}


def read_pending(workspace: Workspace) -> dict[str, Any] | None:
    """What an interrupted run still has to do; None if there is nothing."""
    path = workspace.root / PENDING
    return read_json(path) if path.is_file() else None


def _complete(workspace: Workspace, pending: dict[str, Any], *, resumed: bool = False) -> dict[str, Any]:
    wanted = Wanted.from_json(pending["wanted"])
    _tombstones(workspace, wanted)
    done: Counter[str] = Counter()
    failed = []
    for name in sorted(wanted.recordings):
        remove_recording(workspace, name)
    forget_in_splits(workspace, wanted.recordings)
    if wanted.people:
        for recording in progress(workspace.recordings(), what=STEP, unit="recording"):
            from .chats import forget_in_chat, forget_in_comments, forget_in_transcripts

            try:
                done.update(forget_in_chat(workspace, recording, wanted, resumed=resumed))
            except BadRecording as error:
                failed.append({"recording_id": recording.recording_id, "reason": str(error)})
            done["comments"] += forget_in_comments(workspace, recording, wanted)
            done["segments"] += forget_in_transcripts(workspace, recording, wanted)
    done["unfinished"] += forget_in_staging(workspace, wanted)
    lists = forget_in_lists(workspace, wanted)
    _new_version(workspace, wanted, pending)
    sweep(workspace)
    entry = pending["entry"]
    touched = resumed or entry or wanted.recordings or any(done.values())
    stale = remove_stale(workspace, checkpoints=pending["checkpoints"]) if touched else {}
    forget_in_ledger(workspace, wanted)
    result = {
        "found": pending["found"],
        "recordings": sorted(wanted.recordings),
        **{name: done[name] for name in ("messages", "messages_redacted", "comments", "unfinished")},
        **({"segments": done["segments"]} if done["segments"] else {}),
        "version": version_facts(workspace)["version"] if entry else None,
        "dataset": entry,
        "candidates": [],
        "runs": [],
        **stale,
        "lists": lists,
        "notes": _notes(workspace, wanted, pending["found"]),
        "failed": failed,
    }
    counts = {**(entry or {}), **{name: done[name] for name in ("messages", "messages_redacted")}}
    workspace.ledger.add(
        Attempt(
            step=STEP,
            recording_id="dataset",
            status="failed" if failed else "ok",
            error_class="bad-chat" if failed else None,
            counts=counts,
        )
    )
    if not failed:
        (workspace.root / PENDING).unlink()
    return result


def _tombstones(workspace: Workspace, wanted: Wanted) -> None:
    stones = Tombstones.open(workspace)
    stones.add("user", wanted.names)
    stones.add("user-id", wanted.ids)
    stones.add("word", wanted.words)
    stones.add("channel", wanted.channels)
    stones.add("recording", wanted.recordings)
    stones.add("has-part", {whole_of(name) for name in wanted.recordings} - wanted.recordings)
    stones.save()


def _new_version(workspace: Workspace, wanted: Wanted, pending: dict[str, Any]) -> None:
    """Make and publish the next version, if the shards hold any of it; the entry is noted before the old one goes."""
    entry = pending["entry"] or _make_next(workspace, wanted)
    if entry is None:
        return
    if pending["entry"] is None:
        pending["entry"] = entry
        _write_private(workspace.root / PENDING, pending)
    publish_version(workspace, entry)


def _make_next(workspace: Workspace, wanted: Wanted) -> dict[str, Any] | None:
    manifest = workspace.shards_dir / "dataset.json"
    if manifest.is_file():
        version = max(version_facts(workspace)["version"], read_json(manifest).get("version", 1)) + 1
        return make_version(workspace, wanted, version)
    if workspace.shards_dir.is_dir():
        shutil.rmtree(workspace.shards_dir)  # a build was killed: rows, but no data set
    return None


def _notes(workspace: Workspace, wanted: Wanted, found: dict[str, int]) -> list[str]:
    """What forgetting does not do here, in words."""
    notes = []
    left = wanted.names - wanted.words
    if left and found.get("bare_names"):
        notes.append(
            f"{found['bare_names']} messages of others hold the name as a plain word and stay "
            "(--take-words takes it out)"
        )
    own = sum(r.channel.casefold() in wanted.names for r in workspace.recordings())
    if own:
        notes.append(f"the person is also the channel of {own} recordings, which stay (--channel takes them out)")
    if wanted.names and (workspace.root / KEY_DESTROYED).is_file():
        notes.append(
            "the pseudonym key was destroyed: nobody can tell which comments and shard rows are this person's; "
            "only their name in the texts was looked for (with --pseudonym u_... the rows of a known one go)"
        )
    return notes


def _joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Two runs as one: numbers added, lists joined, the last version counts."""
    if len(results) == 1:
        return results[0]
    first, last = results
    joined: dict[str, Any] = {}
    for name in {**first, **last}:
        a, b = first.get(name), last.get(name)
        if isinstance(a, list) or isinstance(b, list):
            joined[name] = [*(a or []), *(item for item in b or [] if item not in (a or []))]
        elif isinstance(a, int) and isinstance(b, int) and name != "version":
            joined[name] = a + b
        else:
            joined[name] = b if b is not None else a
    joined["failed"] = last["failed"]  # the second run tried those of the first again
    joined["found"] = dict(Counter(first["found"]) + Counter(last["found"]))
    return joined


def _write_private(path: Path, value: Any) -> None:
    """JSON that only the owner may read: it names people."""
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(value, handle)
