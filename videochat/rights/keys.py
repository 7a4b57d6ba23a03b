"""The end of the pseudonym key: after it nobody, the maintainer included, can say which rows a person wrote.

    result = destroy_key(workspace)          # {"at": ..., "removed": [...], "notes": [...]}

The key alone is not enough: raw chat holds the logins beside the same texts, and the platform's message ids lead back
to them. So raw chat, message ids, channel names and titles go with it; comments, features and shards stay as they are,
and `build`, `candidates`, `train` and `bench` work as before. A mark (pseudonym.destroyed.json) takes the key's place,
so that no step makes a new one by mistake: rows of two keys in one data set would count one person as two.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from ..errors import MissingInput
from ..files import parquet_metadata, read_json, write_json, write_parquet
from ..ledger import Attempt
from ..schema import Recording
from ..workspace import KEY_DESTROYED
from .leavings import sweep

if TYPE_CHECKING:
    from ..workspace import Workspace

STEP = "destroy-key"
_NAMING = frozenset({"channel", "title", "info", "chat"})  # texts of recording.json's origin that name or may name
CAN_NO_LONGER = (
    "forget --user can no longer find a person's comments and shard rows: nobody can tell which they are "
    "(--pseudonym u_... still can, for a pseudonym that is known otherwise)",
    "forget --channel can no longer find a channel by its name; --recording still can",
    "no more chat can be imported, crawled or cleaned here, and no data set of this workspace exported as message ids",
)
STILL_POSSIBLE = (
    "tombstones have their own secret: who was forgotten, or asks to be, is kept out of later crawls elsewhere with it",
    "recording ids still name videos on their platform, where whoever finds a text can see who wrote it, as long as "
    "the video is there; videos in raw/ still show people",
    "copies of the key, of raw chat and of older versions in backups are not reached",
)


def destroy_key(workspace: Workspace) -> dict[str, Any]:
    """Destroy the key and what would lead around it. The caller holds the workspace's lock.

    Killed and called again it completes. Raises MissingInput if there is no key, Mismatch if it is gone already.
    """
    path = workspace.root / "pseudonym.key"
    if not path.is_file():
        workspace.require_living_key()
        raise MissingInput(f"{workspace.root} has no pseudonym key", fix="it is made by `videochat clean`")
    mark = workspace.root / KEY_DESTROYED
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if mark.is_file():
        at = read_json(mark)["at"]
    else:
        write_json(mark, {"at": at})  # first: from here on nothing new is made with the key
    key = path.read_bytes()
    recordings = workspace.recordings()
    for recording in recordings:
        _without_names(workspace, recording, key)
        _without_ids(workspace, recording)
    for name in (".crawl", ".import"):
        shutil.rmtree(workspace.root / name, ignore_errors=True)
    sweep(workspace)
    with path.open("r+b") as handle:  # the old bytes, as far as the file system writes in place
        handle.write(secrets.token_bytes(len(key)))
        handle.flush()
        os.fsync(handle.fileno())
    path.unlink()
    workspace.ledger.add(Attempt(step=STEP, recording_id="dataset", status="ok"))
    removed = ["pseudonym.key", "raw chat", "message ids", "channel names and titles", "unfinished crawls"]
    return {"at": at, "recordings": len(recordings), "removed": removed, "notes": [*CAN_NO_LONGER, *STILL_POSSIBLE]}


def _without_names(workspace: Workspace, recording: Recording, key: bytes) -> None:
    """The channel becomes its pseudonym; then the raw chat goes, since recording.json no longer needs it."""
    from ..cleaning.pseudonyms import CHANNEL_PSEUDONYM, pseudonym

    channel = recording.channel
    if not CHANNEL_PSEUDONYM.fullmatch(channel):
        channel = pseudonym(key, "channel", recording.platform, recording.channel_key)
    left = dataclasses.replace(recording, channel=channel, title="", origin=_unnamed(recording.origin))
    if left != recording:
        workspace.add_recording(left)
    folder = workspace.raw_dir(recording.recording_id)
    keep = {"recording.json", recording.video, recording.features, "truth.json"}
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()


def _unnamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "" if name in _NAMING and isinstance(item, str) else _unnamed(item) for name, item in value.items()
        }
    return [_unnamed(item) for item in value] if isinstance(value, list) else value


def _without_ids(workspace: Workspace, recording: Recording) -> None:
    """The platform's message ids out of comments/; everything else in the file stays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = workspace.comments_path(recording.recording_id)
    if not path.is_file():
        return
    table = pq.read_table(path, partitioning=None)
    if table["comment_id"].null_count < table.num_rows:
        place = table.schema.get_field_index("comment_id")
        empty = table.set_column(place, "comment_id", pa.nulls(table.num_rows, pa.string()))
        write_parquet(empty, path, parquet_metadata(path))
