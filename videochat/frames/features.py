"""Build frame and text features for every recording of a workspace, or say why a recording has none.

    summary = build_features(workspace, device="auto")
    frames/<recording>.parquet    one row for each grid time that has a frame: frame_ms, pts_ms, embedding
    texts/<recording>.parquet     one row for each unique kept comment text

Layout of the work: a fixed number of threads, one for each core, each decoding and encoding whole segments (see
`segments`); torch runs on one thread in each. Decoding, scaling and matrix products hold no interpreter lock, so one
recording's decoding overlaps another's encoding, and the model is in memory once. On CUDA the encoder is the GPU and
the threads decode. A recording's bytes depend on its own video, the model and the grid, never on the number of
threads: batches are counted from the start of each segment, and segments from the start of the recording.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from ..engines.local import StepSummary, attempt, available_cores, select
from ..errors import BadRecording, MissingInput
from ..files import parquet_metadata
from ..progress import progress, say
from ..schema import Recording
from ..workspace import Workspace
from .decode import DECODER_VERSION
from .frame_files import FrameJob
from .text_files import TextJob

if TYPE_CHECKING:
    from .clip_model import ClipModel

STEP = "build-features"


class Clip:
    """The CLIP model, loaded when it is first needed: a text-only workspace never loads one."""

    def __init__(self, load: Callable[[], ClipModel]) -> None:
        self._load = load

    @cached_property
    def model(self) -> ClipModel:
        return self._load()


def build_features(
    workspace: Workspace,
    *,
    device: str = "auto",
    clip: str | None = None,
    mode: str = "exact",
    limit: int | None = None,
    retry: str | None = None,
    num_workers: int | None = None,
    allow_untrained: bool = False,
    reuse: Path | None = None,
) -> StepSummary:
    """Embed frames and comment texts of all recordings that `clean` has passed.

    device: "auto", "cpu" or "cuda". clip: a spec for `load_clip`; None: the workspace's own; another than the
    workspace's is recorded in workspace.toml once it is loaded, since features of two models never mix. mode: "exact"
    or "keyframe". num_workers: threads, default one for each core. reuse: another workspace; its frame files are linked
    where video digest, fingerprint, grid and mode are equal.
    Raises MissingInput if comments are missing, and load_clip's errors. Bad videos become failed attempts.
    """
    from .weights import resolve_device

    device = resolve_device(device)
    if clip is not None and Path(clip).is_dir():
        clip = str(Path(clip).resolve())  # the workspace is opened from other folders too
    clip = clip or workspace.settings.clip
    recordings = select(workspace, STEP, limit=limit, retry=retry)
    require_comments(workspace, recordings)
    model = Clip(partial(_load, clip, device, allow_untrained))
    if any(r.video or r.features for r in recordings):
        model.model  # noqa: B018  one clear error before any work
    workspace = workspace.change(clip=clip)
    return features_with(workspace, recordings, model, mode=mode, num_workers=num_workers, reuse=reuse)


def features_with(
    workspace: Workspace,
    recordings: list[Recording],
    clip: Clip,
    *,
    mode: str = "exact",
    num_workers: int | None = None,
    reuse: Path | None = None,
) -> StepSummary:
    """As `build_features`, for these recordings and a model that may be loaded already."""
    import torch

    workers = num_workers or available_cores()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as segments:
            return _run(workspace, recordings, Jobs(workspace, clip, mode, segments, reusable(reuse)), workers)
    finally:
        torch.set_num_threads(threads_before)


def _load(spec: str, device: str, allow_untrained: bool) -> ClipModel:
    from .clip_model import load_clip

    return load_clip(spec, device, allow_untrained)


class Jobs:
    """What one recording goes through; called from the coordinating threads."""

    def __init__(
        self, workspace: Workspace, clip: Clip, mode: str, pool: ThreadPoolExecutor, reuse: dict[str, Path]
    ) -> None:
        self.workspace = workspace
        self.clip = clip
        self.mode = mode
        self.pool = pool
        self.reuse = reuse
        self.stop = Event()

    def __call__(self, recording: Recording) -> dict[str, Any] | None:
        if recording.video is None and recording.features is None:
            return {"skipped": "no video"}
        if not self.workspace.comments_path(recording.recording_id).exists():
            return {"skipped": "its comments could not be cleaned"}
        job = FrameJob(self.workspace, recording, self.clip.model, self.mode, self.stop)
        try:
            frames = job.run(self.pool, self.reuse)
        except BadRecording:
            job.path.unlink(missing_ok=True)  # made from inputs that are no more: `build` must not find it
            raise
        texts = TextJob(self.workspace, recording, self.clip.model).run(self.pool)
        return None if frames is None and texts is None else {**(texts or {}), **(frames or {})}


def _run(workspace: Workspace, recordings: list[Recording], jobs: Jobs, workers: int) -> StepSummary:
    """The engine's loop over threads: a ledger row for each recording as it ends."""
    summary = StepSummary(step=STEP)
    with (
        progress(what=STEP, total=len(recordings), unit="recording") as bar,
        ThreadPoolExecutor(workers) as coordinators,  # these only wait: the work is in the jobs' own pool
    ):
        futures = [coordinators.submit(attempt, STEP, recording, jobs) for recording in recordings]
        try:
            for future in as_completed(futures):
                result = future.result()
                workspace.ledger.add(result)
                summary.attempts.append(result)
                bar.update()
                if result.reason and result.status != "skipped":
                    say(f"{STEP}: {result.recording_id}: {result.error_class or 'note'}: {result.reason}")
        except BaseException:
            jobs.stop.set()
            coordinators.shutdown(wait=False, cancel_futures=True)
            jobs.pool.shutdown(wait=False, cancel_futures=True)
            raise
    summary.attempts.sort(key=lambda item: item.recording_id)
    return summary


def require_comments(workspace: Workspace, recordings: list[Recording]) -> None:
    """MissingInput if a recording that needs comments has none, unless cleaning it has failed."""
    cleaned = workspace.ledger.latest("clean")
    for recording in recordings:
        rid = recording.recording_id
        tried = cleaned.get(rid)
        excused = (recording.video is None and recording.features is None) or (tried and tried.status == "failed")
        if not excused and not workspace.comments_path(rid).exists():
            raise MissingInput(f"recording {rid} has no cleaned comments", fix="run `videochat clean` first")


def reusable(root: Path | None) -> dict[str, Path]:
    """Frame files of another workspace by their stamp."""
    if root is None:
        return {}
    if not root.is_dir():
        raise MissingInput(f"there is no workspace {root} to take features from", fix="check --reuse")
    return {
        str(stamp): path
        for path in sorted((root / "frames").glob("*.parquet"))
        if (stamp := parquet_metadata(path).get("stamp"))
    }


def plan_features(
    workspace: Workspace, *, clip: str | None = None, limit: int | None = None, retry: str | None = None
) -> dict[str, Any]:
    """What build_features would do, without loading weights: recordings, hours and frames to decode, and about how
    many bytes of frame files (None where the model's width is not known without its weights)."""
    from .weights import check_spec, embedding_width

    clip = clip or workspace.settings.clip
    check_spec(clip)
    step_ms = workspace.settings.geometry.frame_step_ms
    recordings = select(workspace, STEP, limit=limit, retry=retry)
    videos = [r for r in recordings if r.video or r.features]
    frames = sum(-(-r.duration_ms // step_ms) for r in videos)
    width = embedding_width(clip) if videos else None
    return {
        "recordings": len(videos),
        "text_only": len(recordings) - len(videos),
        "hours": round(sum(r.duration_ms for r in videos) / 3_600_000, 3),
        "frames": frames,
        "bytes": frames * (2 * width + 8) if width else None,
        "clip": clip,
        "decoder": DECODER_VERSION,
    }
