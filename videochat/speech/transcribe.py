"""`videochat transcribe`: what is said in each recording becomes transcripts/<recording>.parquet.

    summary = transcribe(workspace, asr="openai/whisper-medium", device="auto")
    summary = import_transcripts(workspace, Path("subtitles"))

The audio is recognised in windows that end where a clip's context ends (20 s, 50 s, 80 s, ...): what is said later can
shape no word that a model may read, and no segment reaches over the moment. A word on that border may be cut.
Segments that name somebody who was forgotten are left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..clock import ClipGeometry
from ..engines.local import StepSummary, run_step, select
from ..errors import BadRecording, MissingInput, UsageError
from ..files import digest_file, digest_json, is_current, parquet_metadata, write_parquet
from ..progress import say
from ..rights.tombstones import Tombstones
from ..schema import TRANSCRIPTS, Recording
from ..workspace import Workspace
from .audio import AudioReport, windows
from .transcript_files import SUFFIXES, Said, read_transcript

if TYPE_CHECKING:
    from .recogniser import Recogniser

STEP = "transcribe"
FORMAT = 1
LONGEST_WINDOW_MS = 30_000  # Whisper hears so much at once
BATCH_WINDOWS = 8  # recognised at once: 15 MB of samples; fixed, so that the bytes do not depend on the machine


def transcribe(
    workspace: Workspace,
    *,
    asr: str,
    device: str = "auto",
    language: str | None = None,
    limit: int | None = None,
    retry: str | None = None,
    replace: bool = False,
) -> StepSummary:
    """Recognise the speech of all recordings that have a video.

    language: of all recordings, "auto" lets the model tell; None: each recording's own. replace: also where a
    transcript was imported. Raises load_recogniser's errors, and UsageError for a language that the model does not
    know; a recording without sound becomes a failed attempt.
    """
    from ..frames.weights import resolve_device
    from .recogniser import load_recogniser

    device = resolve_device(device)
    recordings = select(workspace, STEP, limit=limit, retry=retry)
    model = Model(lambda: load_recogniser(asr, device=device))
    if any(recording.video for recording in recordings):  # one clear error before any work
        known = model.recogniser.languages()
        if language not in (None, "auto") and known and language not in known:
            raise UsageError(f"{asr} knows no language {language!r}", fix=f"auto, or one of {', '.join(sorted(known))}")
    job = RecogniseJob(workspace, model, language, replace)
    return run_step(workspace, STEP, recordings, job, num_workers=1)


class Model:
    """The recogniser, loaded when it is first needed."""

    def __init__(self, load: Callable[[], Recogniser]) -> None:
        self._load = load

    @cached_property
    def recogniser(self) -> Recogniser:
        return self._load()


class RecogniseJob:
    """What one recording goes through."""

    def __init__(self, workspace: Workspace, model: Model, language: str | None, replace: bool) -> None:
        self.workspace = workspace
        self.model = model
        self.language = language
        self.replace = replace
        self.stones = Tombstones.open(workspace)

    def __call__(self, recording: Recording) -> dict[str, Any] | None:
        path = self.workspace.transcripts_path(recording.recording_id)
        imported = "format" in parquet_metadata(path).get("by", {})
        if imported and not self.replace:
            return {"skipped": "has an imported transcript (--replace recognises its speech instead)"}
        if recording.video is None:
            return {"skipped": "no video"}
        try:
            return self._recognise(recording, path)
        except BadRecording:
            if not imported:
                path.unlink(missing_ok=True)  # made from inputs that are no more: `build` must not find it
            raise

    def _recognise(self, recording: Recording, path: Path) -> dict[str, Any] | None:
        video = self.workspace.raw_dir(recording.recording_id) / str(recording.video)
        if not video.is_file():
            raise BadRecording("missing-video", f"{video.name} is not in the recording's folder", fix="import it again")
        model = self.model.recogniser
        language = recording.language if self.language is None else self.language.replace("auto", "")
        known = model.languages()
        told = language if language in known else ""
        ends = window_ends(recording.duration_ms, self.workspace.settings.geometry)
        by = {**model.fingerprint, "language": told or "told by the model"} if known else model.fingerprint
        source = recording.video_digest or digest_file(video)
        stamp = digest_json({"format": FORMAT, "source": source, "by": by, "ends": ends})
        if is_current(path, stamp):
            return None
        report = AudioReport()
        said: list[Said] = []
        heard = windows(video, ends, report)
        while batch := list(itertools.islice(heard, BATCH_WINDOWS)):
            for found in model.segments(batch, language=told):
                said += found
        counts = _write(path, said, self.stones, {"stamp": stamp, "source": source, "by": by}, recording.duration_ms)
        notes = [f"{report.num_errors} packets of its audio do not decode"] if report.num_errors else []
        notes += [f"reading its audio ended early: {report.error}"] if report.error and not report.num_errors else []
        return counts | ({"reason": "; ".join(notes)} if notes else {})


def window_ends(duration_ms: int, geometry: ClipGeometry) -> list[int]:
    """Where windows end, ascending, the last at the recording's end: each end of a context is one; where those lie
    further apart than LONGEST_WINDOW_MS, equal parts between them are, too."""
    ends: list[int] = []
    last = 0
    for end in [*range(geometry.context_ms, duration_ms, geometry.clip_ms), duration_ms]:
        parts = -(-(end - last) // LONGEST_WINDOW_MS)
        ends += [last + (end - last) * part // parts for part in range(1, parts + 1)]
        last = end
    return ends


def import_transcripts(
    workspace: Workspace, folder: Path, *, limit: int | None = None, retry: str | None = None
) -> StepSummary:
    """Take over the files <recording id>.vtt, .srt or .jsonl of a folder (or <platform id>, or with a language before
    the suffix, as in 1234567890.en.vtt). A recording without a file is skipped; a bad file is a failed attempt.

    Raises MissingInput if no file belongs to a recording.
    """
    recordings = select(workspace, STEP, limit=limit, retry=retry)
    files = files_of(folder, workspace.recordings())
    stones = Tombstones.open(workspace)

    def take(recording: Recording) -> dict[str, Any] | None:
        found = files[recording.recording_id]
        if not found:
            return {"skipped": "no transcript file of that name"}
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise BadRecording("two-transcripts", f"{names} are of one recording", fix="leave one of them")
        digest, by = digest_file(found[0]), {"format": found[0].suffix.lower()[1:]}
        stamp = digest_json({"format": FORMAT, "source": digest, "by": by, "duration_ms": recording.duration_ms})
        path = workspace.transcripts_path(recording.recording_id)
        if is_current(path, stamp):
            return None
        said = read_transcript(found[0])
        return _write(path, said, stones, {"stamp": stamp, "source": digest, "by": by}, recording.duration_ms)

    return run_step(workspace, STEP, recordings, take, num_workers=1)


def files_of(folder: Path, recordings: Sequence[Recording]) -> dict[str, list[Path]]:
    """Recording id -> its transcript files in `folder`, by name; files that belong to none are said."""
    if not folder.is_dir():
        raise MissingInput(f"there is no folder {folder}", fix="check --from")
    owner = {r.platform_id: r.recording_id for r in recordings} | {r.recording_id: r.recording_id for r in recordings}
    files: dict[str, list[Path]] = {recording.recording_id: [] for recording in recordings}
    strangers = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        plain = re.sub(r"\.[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$", "", path.stem)  # 1234567890.en.vtt
        name = owner.get(path.stem) or owner.get(plain)
        if name is None:
            strangers.append(path.name)
        else:
            files[name].append(path)
    if not any(files.values()):
        raise MissingInput(
            f"no file in {folder} is named after a recording",
            fix=f"name them <recording id>{', '.join(SUFFIXES)}; `ls {folder}` and `videochat status` show both",
        )
    if strangers:
        say(f"{STEP}: {len(strangers)} files belong to no recording, {strangers[0]} first")
    return files


def _write(
    path: Path, said: Sequence[Said], stones: Tombstones, metadata: dict[str, Any], duration_ms: int
) -> dict[str, Any]:
    """Write the segments inside the recording, without those that name somebody forgotten; counts for the ledger."""
    inside = [(start, min(end, duration_ms), text) for start, end, text in said if start < duration_ms]
    left = [row for row in inside if stones.redacted(row[2]) == row[2]]
    columns = [[row[n] for row in left] for n in range(3)]
    table = pa.table(dict(zip(TRANSCRIPTS.names, columns, strict=True)), schema=TRANSCRIPTS)
    write_parquet(table, path, {**metadata, "num_segments": len(left)})
    counts = {"segments": len(left), "words": sum(len(row[2].split()) for row in left)}
    if len(inside) < len(said):
        counts["past_end"] = len(said) - len(inside)
    if len(left) < len(inside):
        counts["forgotten"] = len(inside) - len(left)
    return counts


def plan_transcribe(
    workspace: Workspace, *, asr: str, folder: Path | None = None, limit: int | None = None, retry: str | None = None
) -> dict[str, Any]:
    """What would be done, without loading a model."""
    recordings = select(workspace, STEP, limit=limit, retry=retry)
    if folder is not None:
        files = files_of(folder, workspace.recordings())
        chosen = [recording for recording in recordings if files[recording.recording_id]]
        return {"recordings": len(chosen), "without_file": len(recordings) - len(chosen), "from": str(folder)}
    videos = [recording for recording in recordings if recording.video]
    geometry = workspace.settings.geometry
    return {
        "recordings": len(videos),
        "without_video": len(recordings) - len(videos),
        "hours": round(sum(r.duration_ms for r in videos) / 3_600_000, 3),
        "windows": sum(len(window_ends(r.duration_ms, geometry)) for r in videos),
        "asr": asr,
    }
