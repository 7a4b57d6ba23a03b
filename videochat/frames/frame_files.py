"""One recording's frame file: from its video, or from features that were imported with it.

A wanted time without a frame (the video is cut, or shorter than declared) has no row; the count is in the file's
metadata and in the ledger. A video that decodes to nothing is a BadRecording.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import CancelledError, Executor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import BadRecording
from ..files import atomic_path, digest_file, digest_json, is_current, parquet_metadata, write_parquet
from ..schema import Recording, embedding_type, frames_schema
from ..workspace import Workspace
from .decode import DECODER_VERSION, DecodeReport, frames_at
from .video import open_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .clip_model import ClipModel

FORMAT = 1
SEGMENT_FRAMES = 256  # wanted frames in one piece of work; a multiple of the encoder's batch
SEEKABLE = frozenset({"mov", "mp4", "matroska", "webm"})  # libavformat names of containers with an index


class FrameJob:
    """stop: when set, the work ends at its next batch (an interrupted run must not linger)."""

    def __init__(
        self, workspace: Workspace, recording: Recording, clip: ClipModel, mode: str, stop: Event | None = None
    ) -> None:
        self.stop = stop or Event()
        self.recording = recording
        self.clip = clip
        self.mode = mode
        self.folder = workspace.raw_dir(recording.recording_id)
        self.path = workspace.frames_path(recording.recording_id)
        self.step_ms = workspace.settings.geometry.frame_step_ms
        self.times_ms = range(0, recording.duration_ms, self.step_ms)

    def run(self, pool: Executor, reuse: dict[str, Path]) -> dict[str, Any] | None:
        """Write the file; counts for the ledger, or None if it is current."""
        metadata = self._metadata()
        stamp = metadata["stamp"]
        if is_current(self.path, stamp):
            return None
        if stamp in reuse and reuse[stamp].resolve() != self.path.resolve():
            link(reuse[stamp], self.path)
            known = parquet_metadata(self.path)
            return {"frames": known["num_frames"], "missing_frames": known["num_missing"], "reused": True}
        strange = self._strangers()
        if self.recording.features is not None:
            frame_ms, pts_ms, embeddings = imported(self.folder / self.recording.features, self.times_ms, self.clip.dim)
            report = DecodeReport()
        else:
            frame_ms, pts_ms, embeddings, report = self._decode_and_encode(pool)
        if not len(frame_ms):
            raise BadRecording("no-frames", f"no frame at any of the {len(self.times_ms)} wanted times")
        missing = len(self.times_ms) - len(frame_ms)
        metadata |= {"num_frames": len(frame_ms), "num_missing": missing, "decode": report.to_json()}
        columns = [
            pa.array(frame_ms, pa.int32()),
            pa.array(pts_ms, pa.int32()),
            embedding_column(embeddings),
        ]
        write_parquet(pa.Table.from_arrays(columns, schema=frames_schema(self.clip.dim)), self.path, metadata)
        counts: dict[str, Any] = {"frames": len(frame_ms), "missing_frames": missing}
        if report.num_errors or report.num_damaged:
            counts |= {"packet_errors": report.num_errors, "damaged_frames": report.num_damaged}
        if reasons := [text for text in (strange, complaint(report, missing, len(self.times_ms))) if text]:
            counts["reason"] = "; ".join(reasons)
        return counts

    def _strangers(self) -> str:
        """Imported features belong to the CLIP that embeds the comments: raise BadRecording if they do not.

        With an untrained CLIP, which is taken only where it is named, the difference is a note instead.
        """
        label = str(self.recording.origin.get("features_model") or "")
        if self.recording.features is None or self.clip.spec in (label, Path(label).name):
            return ""
        maker = label or "a CLIP without a name"
        what = f"its features were made by {maker}, comments are embedded by {self.clip.spec}"
        if self.clip.fingerprint["trained"]:
            raise BadRecording("features-of-another-clip", what, fix=f"run build-features with --clip {label}")
        return f"{what}: similarities between the two mean nothing"

    def _metadata(self) -> dict[str, Any]:
        recording = self.recording
        fingerprint = dict(self.clip.fingerprint)
        if recording.features is not None:
            source = digest_file(self.folder / recording.features)
            label = str(recording.origin.get("features_model") or "unnamed")
            fingerprint = {"imported": True, "model": label, "dim": self.clip.dim, "beside": fingerprint["model"]}
        else:
            source = recording.video_digest or digest_file(self.folder / str(recording.video))
            fingerprint["decoder"] = f"{DECODER_VERSION} {self.mode}"
        grid = {"step_ms": self.step_ms, "duration_ms": recording.duration_ms}
        stamp = digest_json({"format": FORMAT, "source": source, "fingerprint": fingerprint, "grid": grid})
        return {"stamp": stamp, "source": source, "fingerprint": fingerprint, "grid": grid, "mode": self.mode}

    def _decode_and_encode(
        self, pool: Executor
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float16], DecodeReport]:
        path = self.folder / str(self.recording.video)
        if not path.is_file():
            raise BadRecording("missing-video", f"{path.name} is not in the recording's folder", fix="import it again")
        pieces = segments(path, self.times_ms)
        futures = [pool.submit(encode_segment, path, piece, self.clip, self.mode, self.stop) for piece in pieces]
        try:
            results = [future.result() for future in futures]
        except BadRecording:
            for future in futures:
                future.cancel()
            raise
        return (
            np.concatenate([r[0] for r in results]),
            np.concatenate([r[1] for r in results]),
            np.concatenate([r[2] for r in results]),
            joined([r[3] for r in results]),
        )


def segments(path: Path, times_ms: range) -> list[range]:
    """Cut the grid into pieces that several threads can take, so that one long recording uses every core.

    Only where the container has an index to seek by; the cut never depends on the number of threads.
    """
    with open_video(path) as container:
        seekable = bool(SEEKABLE & set(container.format.name.split(",")))
    if not seekable or len(times_ms) <= SEGMENT_FRAMES:
        return [times_ms]
    return [times_ms[begin : begin + SEGMENT_FRAMES] for begin in range(0, len(times_ms), SEGMENT_FRAMES)]


def joined(reports: Sequence[DecodeReport]) -> DecodeReport:
    """One report for a recording. Segments that had to decode everything met the same errors: the most is the count."""
    whole = DecodeReport(declared_ms=reports[0].declared_ms)
    worst = max(reports, key=lambda report: report.num_errors)
    whole.num_errors, whole.error = worst.num_errors, worst.error
    whole.num_damaged = max(report.num_damaged for report in reports)
    ends = [report.end_ms for report in reports if report.end_ms is not None]
    whole.end_ms = max(ends, default=None)
    return whole


def encode_segment(
    path: Path, times_ms: Sequence[int], clip: ClipModel, mode: str, stop: Event
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float16], DecodeReport]:
    """Decode and embed the frames at `times_ms`: (frame_ms, pts_ms, embeddings) and how the decoding went."""
    from .clip_model import IMAGE_BATCH

    report = DecodeReport()
    times: list[int] = []
    pts: list[int] = []
    batch: list[NDArray[np.uint8]] = []
    parts = [np.empty((0, clip.dim), np.float16)]
    for frame in frames_at(path, times_ms, mode=mode, shortest=clip.preprocessing.decoder_shortest, report=report):
        times.append(frame.time_ms)
        pts.append(frame.pts_ms)
        batch.append(clip.prepare(frame.rgb))
        if len(batch) == IMAGE_BATCH:
            if stop.is_set():
                raise CancelledError
            parts.append(clip.encode_images(np.stack(batch)))
            batch.clear()
    if batch:
        parts.append(clip.encode_images(np.stack(batch)))
    return np.array(times, np.int32), np.array(pts, np.int32), np.concatenate(parts), report


def imported(
    path: Path, times_ms: Sequence[int], dim: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float16]]:
    """Precomputed features on the grid: at each wanted time the last given frame not later than it.

    Raises BadRecording "bad-features" or, if their width is not the CLIP model's, "clip-mismatch".
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            given = archive["embeddings"].astype(np.float32)
            given_ms = archive["frame_ms"].astype(np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise BadRecording("bad-features", f"{path.name} holds no embeddings and frame_ms: {error}") from None
    if given.ndim != 2 or given_ms.shape != given.shape[:1] or not len(given) or not np.isfinite(given).all():
        raise BadRecording("bad-features", f"{path.name}: embeddings {given.shape}, frame_ms {given_ms.shape}")
    if given.shape[1] != dim:
        raise BadRecording(
            "clip-mismatch",
            f"{path.name} holds {given.shape[1]}-d features, the CLIP model of this workspace {dim}-d",
            fix="pass --clip with the model that made them, so that comment texts land in the same space",
        )
    order = np.argsort(given_ms, kind="stable")
    given, given_ms = given[order], given_ms[order]
    wanted = np.asarray(times_ms, np.int64)
    last = np.searchsorted(given_ms, wanted, side="right") - 1
    spacing = int(np.median(np.diff(given_ms))) if len(given_ms) > 1 else 0
    covered = (last >= 0) & (wanted < given_ms[-1] + max(spacing, 1000))
    norm = np.linalg.norm(given, axis=1, keepdims=True)
    unit = (given / np.maximum(norm, 1e-12)).astype(np.float16)
    rows = last[covered]
    return wanted[covered].astype(np.int32), given_ms[rows].astype(np.int32), unit[rows]


def complaint(report: DecodeReport, missing: int, wanted: int) -> str:
    """One line on what is wrong with a video that gave some frames, or ""."""
    parts = []
    if missing:
        ends = f": it decodes only to {report.end_ms / 1000:g} s" if report.end_ms is not None else ""
        parts.append(f"{missing} of {wanted} frames are missing{ends}")
    if report.num_errors:
        parts.append(f"{report.num_errors} packets do not decode ({report.error})")
    if report.num_damaged:
        parts.append(f"{report.num_damaged} pictures are damaged")
    return "; ".join(parts)


def embedding_column(embeddings: NDArray[np.float16]) -> pa.Array:
    """float16 (n, dim) -> fixed_size_list<float16>[dim]."""
    flat = pa.array(np.ascontiguousarray(embeddings).reshape(-1), pa.float16())
    return pa.FixedSizeListArray.from_arrays(flat, type=embedding_type(embeddings.shape[1]))


def link(source: Path, target: Path) -> None:
    """The same bytes under another name: a hard link where the file system has them, else a copy."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
