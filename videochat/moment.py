"""One moment of a local video with its chat, as models see clips: for `videochat generate --video --chat --at`.

    view = view_at(workspace, chat=Path("chat.json"), video=Path("vod.mp4"), at_ms=750_000, category="Minecraft")

The files go through the steps of every recording (import, clean, features) in a workspace of their own that is removed
afterwards; what a model is shown ends at the moment, as in PROTOCOL v1.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from .commenter import ClipView
from .dataset import Dataset, embeddings_of
from .engines.local import StepSummary
from .errors import BadRecording, Mismatch, UsageError
from .files import read_parquet
from .schema import Comment, Recording, clip_id
from .workspace import Workspace


def view_at(
    workspace: Workspace,
    dataset: Dataset,
    *,
    chat: Path,
    video: Path | None,
    at_ms: int,
    category: str,
    offset_ms: int = 0,
    device: str = "auto",
) -> ClipView:
    """What was seen and said before `at_ms` of the video, with features of the dataset's CLIP.

    offset_ms: added to the chat's times. Raises BadRecording if a file cannot be read, UsageError if `at_ms` lies
    outside of the recording.
    """
    from .cleaning.run import clean
    from .frames.features import build_features
    from .sources.local import ImportItem, import_recordings

    item = ImportItem(chat=chat, category=category, video=video, offset_ms=offset_ms)
    with tempfile.TemporaryDirectory(prefix="videochat-") as folder:
        own = Workspace.open(Path(folder) / "w", create=True, clip=workspace.settings.clip)
        _whole(import_recordings(own, [item], num_workers=1))
        (recording,) = own.recordings()
        if not 0 < at_ms <= recording.duration_ms:
            raise UsageError(
                f"{at_ms / 1000:g} s is outside of the recording, which lasts {recording.duration_ms / 1000:g} s",
                fix="pass another --at",
            )
        _whole(clean(own, num_workers=1))
        if video is not None and dataset.dim is not None:
            _whole(build_features(own, device=device, num_workers=1))
        return _cut(own, recording, dataset, at_ms)


def _whole(summary: StepSummary) -> None:
    for attempt in summary.failed:
        raise BadRecording(str(attempt.error_class), f"{summary.step} failed: {attempt.reason}")


def _cut(own: Workspace, recording: Recording, dataset: Dataset, at_ms: int) -> ClipView:
    geometry = own.settings.geometry
    start_ms = at_ms - geometry.context_ms
    name = recording.recording_id
    table = read_parquet(own.comments_path(name))
    rows = table.filter(table["kept"]).sort_by([("time_ms", "ascending"), ("position", "ascending")]).to_pylist()
    context = tuple(
        Comment(offset_ms=row["time_ms"], author=row["author"], text=row["text"], emotes=tuple(row["emotes"] or ()))
        for row in rows
        if start_ms <= row["time_ms"] < at_ms
    )
    frame_ms = frames = context_clip = None
    if own.frames_path(name).is_file():
        found = read_parquet(own.frames_path(name))
        times = found["frame_ms"].to_numpy()
        seen = (times >= start_ms - geometry.frames_before_ms) & (times < at_ms)
        frame_ms = times[seen].astype(np.int32)
        frames = embeddings_of(found["embedding"].combine_chunks())[seen]
        if frames.shape[1] != dataset.dim:
            raise Mismatch(
                f"the features are {frames.shape[1]} numbers wide, the dataset's {dataset.dim}",
                fix="make the dataset's features with the CLIP that workspace.toml names",
            )
        texts = read_parquet(own.texts_path(name))
        place = {text: index for index, text in enumerate(texts["text"].to_pylist())}
        vectors = embeddings_of(texts["embedding"].combine_chunks())
        context_clip = vectors[[place[comment.text] for comment in context]]
    return ClipView(
        clip_id=clip_id(name, start_ms),
        recording_id=name,
        channel_id="",
        category=recording.category,
        language=recording.language,
        start_ms=start_ms,
        now_ms=at_ms,
        context=context,
        frame_ms=frame_ms,
        frames=frames,
        context_clip=context_clip,
    )
