"""People out of one recording: raw chat, its facts, cleaned comments, texts; each file rewritten whole or not at all.

What is left is what an import obeying the tombstones would have stored. Cleaned comments are not cleaned again, since
rules that count (copypasta, bots) might then judge others anew: rows go, no other row changes. Doing it twice is doing
it once.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..files import atomic_path, digest_file, parquet_metadata, write_parquet
from ..schema import Recording
from ..sources.chat_store import GZIP_LEVEL
from .search import chat_path, raw_lines
from .wanted import Wanted

if TYPE_CHECKING:
    from ..workspace import Workspace


def forget_in_chat(
    workspace: Workspace, recording: Recording, wanted: Wanted, *, resumed: bool = False
) -> dict[str, int]:
    """Take the people out of the raw chat and out of what recording.json says; counts of messages.

    resumed: an earlier run may have rewritten the chat and not come to recording.json.
    Raises BadRecording if the chat cannot be read.
    """
    path = chat_path(workspace, recording)
    counts = {"messages": 0, "messages_redacted": 0}
    title, origin = wanted.redact(recording.title), wanted.redact_titles(recording.origin)
    left = dataclasses.replace(recording, title=title, origin=origin)
    if path.is_file() and (resumed or any(_changed(line, wanted) is not line for line in raw_lines(path))):
        digest = hashlib.sha256()
        num_left = 0
        with (
            atomic_path(path) as temporary,
            temporary.open("wb") as handle,
            gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=handle, mtime=0) as packed,
        ):
            for line in raw_lines(path):
                changed = _changed(line, wanted)
                counts["messages"] += changed is None
                if changed is not None:
                    counts["messages_redacted"] += changed is not line
                    digest.update(changed)
                    packed.write(changed)
                    num_left += 1
        # Simulated recordings digest the file, all others its lines.
        found = digest_file(path) if recording.simulated else digest.hexdigest()
        left = dataclasses.replace(left, num_messages=num_left, chat_digest=found)
    if left != recording:
        workspace.add_recording(left)
    return counts


def _changed(line: bytes, wanted: Wanted) -> bytes | None:
    """A line of raw chat without the people: None if one of them wrote it, the same object if it names none."""
    if not wanted.is_in_line(line):
        return line
    message = orjson.loads(line)
    if wanted.wrote(message):
        return None
    return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE) if wanted.redact_message(message) else line


def forget_in_comments(workspace: Workspace, recording: Recording, wanted: Wanted) -> int:
    """Take the rows out of comments/ and the texts that nobody else wrote out of texts/; how many rows."""
    path = workspace.comments_path(recording.recording_id)
    if not path.is_file():
        return 0
    table = pq.read_table(path, partitioning=None)
    metadata = parquet_metadata(path)
    rows = wanted.rows_of(_flat(table["author"]), _flat(table["text"]))
    bots = [entry for entry in metadata.get("bots", ()) if entry["author"] not in wanted.pseudonyms]
    if rows.any() or len(bots) < len(metadata.get("bots", ())):
        left = table.filter(pa.array(~rows))
        position = pa.array(np.arange(left.num_rows), pa.int32())
        left = left.set_column(left.schema.get_field_index("position"), "position", position)
        lost = table.filter(pa.array(rows))
        write_parquet(left, path, _without(metadata, lost, recording) | {"bots": bots})
    _forget_texts(workspace, recording)
    return int(rows.sum())


def forget_in_transcripts(workspace: Workspace, recording: Recording, wanted: Wanted) -> int:
    """Take out of transcripts/ the segments in which somebody is named as written; how many. What was said of a person
    in other words, or heard wrongly, is not found."""
    path = workspace.transcripts_path(recording.recording_id)
    if not path.is_file():
        return 0
    table = pq.read_table(path, partitioning=None)
    named = np.array([wanted.is_named_in(text) for text in table["text"].to_pylist()], dtype=bool)
    if named.any():
        left = table.filter(pa.array(~named))
        metadata = parquet_metadata(path)
        write_parquet(left, path, metadata | {"num_segments": left.num_rows})
    return int(named.sum())


def _without(metadata: dict[str, Any], lost: pa.Table, recording: Recording) -> dict[str, Any]:
    """The metadata with counts and funnel as if the lost rows had never been there.

    What rules rewrote without dropping is not known of single rows: those figures stay as cleaning counted them.
    """
    if "counts" not in metadata:
        return metadata
    kept = lost["kept"].to_numpy()
    past = int((kept & (lost["time_ms"].to_numpy() >= recording.duration_ms)).sum())
    counts = dict(metadata["counts"])
    for name, number in (("num_messages", len(kept)), ("num_kept", int(kept.sum())), ("num_kept_past_end", past)):
        counts[name] -= number
    reasons = {row["values"]: row["counts"] for row in pc.value_counts(lost["reason"].combine_chunks()).to_pylist()}
    gone, funnel = len(kept), []
    for entry in metadata["funnel"]:
        dropped = reasons.get(entry["rule"], 0) if entry["drops"] else 0
        gone -= dropped
        funnel.append(entry | {"count": entry["count"] - dropped, "left": entry["left"] - gone})
    return metadata | {"counts": counts, "funnel": funnel}


def _forget_texts(workspace: Workspace, recording: Recording) -> None:
    """Leave in texts/ just the texts that kept comments hold; its stamp is then that of a fresh file."""
    path = workspace.texts_path(recording.recording_id)
    if not path.is_file():
        return
    comments = pq.read_table(
        workspace.comments_path(recording.recording_id), columns=["text"], filters=[("kept", "=", True)]
    )
    table = pq.read_table(path, partitioning=None)
    held = pc.is_in(_flat(table["text"]), value_set=_flat(comments["text"]))
    if pc.all(held).as_py() in (True, None):
        return
    from ..frames.text_files import stamp_of

    left = table.filter(held)
    metadata = parquet_metadata(path)
    stamp = stamp_of(left["text"].to_pylist(), metadata["fingerprint"])
    write_parquet(left, path, metadata | {"stamp": stamp, "num_texts": left.num_rows})


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
