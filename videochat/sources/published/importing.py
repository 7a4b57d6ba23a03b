"""From a published data set to recordings of the workspace, by the same import that files go through.

    result = import_published(workspace, "livechat", [Path("train.json")], features=Path("features"))

Each video becomes a chat file and, where there are vectors, an .npz; both are imported, then thrown away. Importing the
same files again finds everything current. Their own splits are not taken over: clips of one video lie on both sides of
some of them (FACTS §2), so `build` splits by video, with near-duplicates together.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ...errors import BadRecording, MissingInput, UsageError
from ...files import unfinished
from ...progress import progress, say
from ..items import ImportItem
from ..local import import_recordings
from . import livechat, timed  # noqa: F401  (each registers its form)
from .stream import STREAMS, Stream, StreamForm

if TYPE_CHECKING:
    from ...engines.local import StepSummary
    from ...workspace import Workspace

FEATURES_CLIP = "ViT-B-32:openai"  # of the released features (FACTS §1)


def import_published(
    workspace: Workspace,
    form: str,
    files: Sequence[Path],
    *,
    features: Path | None = None,
    features_clip: str = FEATURES_CLIP,
    limit: int | None = None,
    replace: bool = False,
) -> tuple[StepSummary, dict[str, Any]]:
    """Import all videos of `files` (the first `limit`). The caller holds the workspace's lock.

    Returns how the import went and what was odd in the files. Raises UsageError for an unknown form or a file that
    cannot be read, MissingInput if there is no video with a comment in them.
    """
    declared = STREAMS[form]
    if features is not None and not features.is_dir():
        raise MissingInput(f"there is no folder {features}", fix="pass the folder that holds the .npy files")
    oddities: Counter[str] = Counter()
    with _staging(workspace.root) as folder:
        items: list[ImportItem] = []
        facts: dict[str, dict[str, Any]] = {}
        said = folder / "transcripts"
        for stream in progress(_streams(declared, files, features, oddities), what=f"read {form}", unit="video"):
            if limit is not None and len(items) == limit:
                break
            if not stream.comments:
                oddities["videos without a comment"] += 1
                continue
            item = write_stream(folder, stream, declared, features_clip=features_clip)
            items.append(item)
            facts[stream.platform_id] = {**stream.facts, "form": form, "source": declared.source}
            if stream.transcript:
                _write_transcript(said / f"{stream.platform_id}.jsonl", stream)
        if not items:
            raise MissingInput(f"no video with a comment in {', '.join(path.name for path in files)}")
        summary = import_recordings(workspace, items, replace=replace)
        _note(workspace, declared, facts)
        if said.is_dir():
            from ...speech.transcribe import import_transcripts

            import_transcripts(workspace, said)
    return summary, {"form": form, "unknown": declared.unknown, "oddities": dict(sorted(oddities.items()))}


def _streams(
    form: StreamForm, files: Sequence[Path], features: Path | None, oddities: Counter[str]
) -> Iterator[Stream]:
    try:
        yield from form.read(files, features, oddities)
    except BadRecording as error:
        raise UsageError(error.what, fix=error.fix) from None


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder beside what is imported from it; what a killed import leaves is swept by the next command."""
    folder = root / f".published.{unfinished()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_stream(folder: Path, stream: Stream, form: StreamForm, *, features_clip: str) -> ImportItem:
    """Write chat and vectors of one video into `folder`; what the import needs to know of them."""
    chat = folder / f"{stream.platform_id}.chat.jsonl"
    with chat.open("wb") as handle:
        for offset_ms, text in sorted(stream.comments, key=lambda row: row[0]):
            message = {"offset_ms": offset_ms, "author": None, "fragments": [[text, None]]}
            handle.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
    vectors = None
    dims = {found.shape[1] for found, _ in stream.frames}
    if len(dims) > 1:
        raise UsageError(f"features of video {stream.platform_id} have {sorted(dims)} columns", fix="use one encoder")
    if stream.frames:
        vectors = folder / f"{stream.platform_id}.npz"
        embeddings = np.concatenate([np.asarray(found, dtype=np.float32) for found, _ in stream.frames])
        np.savez(vectors, embeddings=embeddings, frame_ms=np.concatenate([times for _, times in stream.frames]))
    return ImportItem(
        chat=chat,
        category=stream.category,
        language=stream.language,
        duration_ms=stream.duration_ms,
        platform=form.platform,
        platform_id=stream.platform_id,
        features=vectors,
        features_clip=features_clip if vectors else "",
    )


def _write_transcript(path: Path, stream: Stream) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = ({"start_ms": start, "end_ms": end, "text": text} for start, end, text in sorted(stream.transcript))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _note(workspace: Workspace, form: StreamForm, facts: dict[str, dict[str, Any]]) -> None:
    """What the form does not tell goes into each recording.json."""
    for recording in workspace.recordings():
        known = facts.get(recording.platform_id) if recording.platform == form.platform else None
        if known is not None and recording.origin.get("published") != known:
            recording.origin["published"] = known
            workspace.add_recording(recording)
    say(f"{form.name}: not in these files: {form.unknown}")
