"""A small workspace of chats in which one person is planted, and a search through every file for what is theirs."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from videochat.build import build
from videochat.cleaning.pseudonyms import pseudonym
from videochat.cleaning.run import clean
from videochat.files import write_parquet
from videochat.frames.text_files import stamp_of
from videochat.schema import frames_schema, texts_schema
from videochat.sources.items import ImportItem
from videochat.sources.local import import_recordings
from videochat.workspace import Workspace

LOGIN = "planted_user7"
USER_ID = "777001777"
TEXT = "my grandmother sells purple submarines"
DIM = 8
FINGERPRINT = {"model": "m", "dim": DIM}
CHANNELS = ("streamer_one", "streamer_two", "streamer_three")
MINUTES = 4


def message(number: int, offset_ms: int, author: str, text: str, author_id: str | None = None) -> dict[str, Any]:
    return {
        "id": f"id-{number}-{zlib.crc32(f'{author} {offset_ms} {text}'.encode()):08x}",
        "offset_ms": offset_ms,
        "author": author,
        "author_id": author_id or f"9{sum(map(ord, author))}",
        "badges": [],
        "fragments": [[text, None]],
    }


def chat(number: int) -> list[dict[str, Any]]:
    """A chat in which the planted person writes, is greeted, and once stands alone on the answering side of a clip."""
    rows = []
    words = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "wonderful")
    for index, offset in enumerate(range(0, MINUTES * 60_000, 3000)):
        in_responses = offset % 30_000 >= 20_000
        if not (number == 0 and 30_000 <= offset < 60_000 and in_responses):
            rows.append(
                message(number, offset, f"viewer_{index % 7}", f"{words[index % 8]} number {index} of {number}")
            )
        if index % 5 == 2:
            rows.append(message(number, offset, "Planted_User7", f"{TEXT} {index} {number}", USER_ID))
        if index % 11 == 3:
            rows.append(message(number, offset, "viewer_1", f"hey @{LOGIN} good {words[index % 7]} {index}"))
    rows.append(message(number, 55_000, LOGIN, f"{TEXT} alone {number}", USER_ID))
    rows.append(message(number, 71_000, "viewer_2", f"i think {LOGIN} is right about {number}"))
    rows.append(message(number, 100_000, "renamed_user8", f"{TEXT} under my new name {number}", USER_ID))
    return sorted(rows, key=lambda row: row["offset_ms"])


def make_workspace(folder: Path, *, features: bool = True) -> Workspace:
    """Imported, cleaned, with features and shards: three channels, two recordings each."""
    workspace = Workspace.open(folder / "ws", create=True, split_fractions=(0.34, 0.33, 0.33))
    import_chats(workspace, folder)
    clean(workspace, num_workers=1)
    random = np.random.default_rng(0)
    for recording in workspace.recordings() if features else ():
        name = recording.recording_id
        kept = pq.read_table(workspace.comments_path(name), filters=[("kept", "=", True)])["text"].to_pylist()
        texts = sorted(set(kept))
        for path, schema, first, stamp in (
            (workspace.frames_path(name), frames_schema(DIM), list(range(0, recording.duration_ms, 1000)), "f"),
            (workspace.texts_path(name), texts_schema(DIM), texts, stamp_of(texts, FINGERPRINT)),
        ):
            vectors = random.standard_normal((len(first), DIM))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            columns = [first] * (len(schema) - 1) + [list(vectors.astype(np.float16))]
            write_parquet(pa.table(columns, schema=schema), path, {"stamp": stamp, "fingerprint": FINGERPRINT})
    build(workspace)
    return workspace


def import_chats(workspace: Workspace, folder: Path) -> Any:
    items = []
    for number in range(6):
        path = folder / f"chat{number}.jsonl"
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in chat(number)))
        items.append(
            ImportItem(
                chat=path,
                category="Art",
                channel=CHANNELS[number // 2],
                title=f"playing with @{LOGIN}",
                platform="twitch",
                platform_id=f"100000{number}",
                duration_ms=MINUTES * 60_000,
            )
        )
    return import_recordings(workspace, items, num_workers=1)


def everything(root: Path) -> Iterator[tuple[str, str]]:
    """(path, all text in it, lower case) of every file of a workspace: gzip unpacked, Parquet with its metadata."""
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield str(path.relative_to(root)), data.decode("utf-8", "replace").casefold()
        if path.suffix == ".gz":
            yield f"{path.name} unpacked", gzip.decompress(data).decode().casefold()
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            plain = table.drop_columns([n for n in ("frames", "context_clip", "embedding") if n in table.column_names])
            text = json.dumps(plain.to_pylist(), default=str, ensure_ascii=False)
            yield f"{path.name} rows", (text + str(table.schema.metadata)).casefold()


def traces(root: Path, *needles: str) -> list[tuple[str, str]]:
    return [(name, n) for name, text in everything(root) for n in needles if n.casefold() in text]


def needles(workspace: Workspace) -> tuple[str, ...]:
    """All that is the planted person's: logins, id, a part of each text, pseudonyms."""
    key = workspace.pseudonym_key()
    names = [pseudonym(key, "author", "twitch", name) for name in (LOGIN, "renamed_user8")]
    return (LOGIN, "renamed_user8", USER_ID, "purple submarines", *names)
