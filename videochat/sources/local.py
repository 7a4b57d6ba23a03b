"""`videochat import`: recordings from files on this machine become raw/<recording>/ in the workspace.

    items = read_list(Path("recordings.csv"))
    summary = import_recordings(workspace, items)

A recording is put together in a folder of its own and then moved to its place in one step, so it is there wholly or
not at all. The same item again is "current". An item that would change a recording is a conflict, unless `replace`.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import re
import secrets
import shutil
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..engines.local import StepSummary, run_step
from ..errors import BadRecording, Damaged, UsageError, VideochatError
from ..files import digest_file, digest_json, write_json
from ..rights.tombstones import Tombstones
from ..schema import Recording
from ..workspace import Workspace, read_recording
from .chat_file import ChatFile
from .chat_store import StoredChat, store_chat
from .features import write_features
from .formats import Notes
from .items import MAX_DURATION_MS, ImportItem, read_list
from .recognise import recognise
from .video_info import VideoFacts, find_info, read_info

__all__ = ["ImportItem", "import_item", "import_recordings", "plan_import", "read_list"]

STAGING = ".import"
FILE_PLATFORM = "file"  # where nobody says whose recording it is
AFTER_LAST_MS = 1_000  # a recording of unknown length ends this long after its last comment


def import_recordings(
    workspace: Workspace,
    items: Sequence[ImportItem],
    *,
    limit: int | None = None,
    num_workers: int | None = None,
    replace: bool = False,
) -> StepSummary:
    """Import `items` (the first `limit` of them); one that cannot be imported is a failed row and the others go on."""
    items = items[:limit]
    if not items:
        raise UsageError("there is nothing to import", fix="pass --chat or --list")
    _sweep(workspace.root / STAGING)
    known = {
        recording.origin["import_digest"]: recording.recording_id
        for recording in workspace.recordings()
        if "import_digest" in recording.origin
    }
    grid_ms = workspace.settings.geometry.frame_step_ms
    worker = functools.partial(import_item, workspace.root, known=known, grid_ms=grid_ms, replace=replace)
    return run_step(workspace, "import", items, worker, num_workers=num_workers)


def plan_import(items: Sequence[ImportItem]) -> dict[str, Any]:
    """What an import would read: counts, bytes, hours as far as they are declared, formats, and what is wrong."""
    formats: Counter[str] = Counter()
    problems: list[str] = []
    num_bytes = 0
    declared_ms = 0
    for item in items:
        try:
            formats[recognise(ChatFile(item.chat)).name] += 1
            facts, _ = _facts(item)
            declared_ms += item.duration_ms or facts.duration_ms or 0
            num_bytes += sum(_checked(path).stat().st_size for path in _inputs(item).values())
        except BadRecording as error:
            problems.append(str(error))
    return {
        "recordings": len(items),
        "with_video": sum(item.video is not None for item in items),
        "with_features": sum(item.features is not None for item in items),
        "text_only": sum(item.video is None and item.features is None for item in items),
        "bytes": num_bytes,
        "declared_hours": round(declared_ms / 3_600_000, 2),
        "formats": dict(sorted(formats.items())),
        "categories": dict(sorted(Counter(item.category for item in items).items())),
        "problems": problems,
    }


def import_item(
    root: Path, item: ImportItem, *, known: Mapping[str, str], grid_ms: int, replace: bool = False
) -> dict[str, Any] | None:
    """Import one item; None if it is there already, else counts. known: import digests of the recordings there.

    Raises BadRecording: what is wrong with its files, "no-messages", "conflict", "id-mismatch".
    """
    try:
        file = ChatFile(item.chat)
        facts, info = _facts(item)
        inputs = {name: digest_file(_checked(path)) for name, path in _inputs(item).items()}
        if info is not None:
            inputs["info"] = digest_file(info)
        import_digest = digest_json({"inputs": inputs, "settings": _settings(item)})
        if import_digest in known and _is_whole(root / "raw" / known[import_digest], item):
            return None
        staging = root / STAGING / f"{os.getpid()}-{secrets.token_hex(4)}"
        try:
            stones = Tombstones.at(root)
            recording = _stage(item, file, facts, staging, inputs, grid_ms, stones)
            if stones.forgets(channel=recording.channel, recording_id=recording.recording_id):
                raise BadRecording("forgotten", "this recording was forgotten on request", fix="leave it out")
            recording.origin["import_digest"] = import_digest
            if info is not None:
                recording.origin["info"] = info.name
            write_json(staging / "recording.json", recording.to_json())
            moved = _move(staging, root / "raw" / recording.recording_id, recording, item, replace)
            _sync(root / "raw")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise VideochatError(
            f"import of {item.chat.name} stopped: {error.strerror or error}", fix="make room or rights, then run again"
        ) from error
    if not moved:
        return None
    counts: dict[str, Any] = {"messages": recording.num_messages, "hours": round(recording.duration_ms / 3_600_000, 3)}
    counts |= recording.origin["oddities"]
    if problem := recording.origin.get("probe_error"):
        counts["reason"] = f"{problem}; build-features will refuse it"
    return {"recording_id": recording.recording_id} | counts


def _settings(item: ImportItem) -> dict[str, Any]:
    paths = ("chat", "video", "features", "feature_times", "info")
    return {name: value for name, value in vars(item).items() if name not in paths}


def _inputs(item: ImportItem) -> dict[str, Path]:
    named = {"chat": item.chat, "video": item.video, "features": item.features, "feature_times": item.feature_times}
    return {name: path for name, path in named.items() if path is not None}


def _checked(path: Path) -> Path:
    if path.is_dir():
        raise BadRecording("not-a-file", f"{path} is a folder, not a file", fix="pass the file inside it")
    if not path.exists():
        raise BadRecording("missing-file", f"there is no file {path}", fix="check the path")
    if not path.is_file():
        raise BadRecording("not-a-file", f"{path} is a device or a pipe, not a file", fix="write it to a file first")
    if not os.access(path, os.R_OK):
        raise BadRecording("unreadable-file", f"{path} cannot be read: permission denied", fix="change its mode")
    return path


def _facts(item: ImportItem) -> tuple[VideoFacts, Path | None]:
    info = item.info or find_info(item.chat)
    return (VideoFacts(), None) if info is None else (read_info(info), info)


def _stage(
    item: ImportItem,
    file: ChatFile,
    facts: VideoFacts,
    folder: Path,
    inputs: dict[str, str],
    grid_ms: int,
    stones: Tombstones,
) -> Recording:
    """Write everything but recording.json into `folder`."""
    chat_format = recognise(file)
    notes = Notes()
    chat = store_chat(stones.without(chat_format.read(file, notes)), folder / "chat.jsonl.gz", notes)
    notes.oddities["forgotten"] += stones.num_left_out
    if chat.num_messages == 0:
        bad = notes.oddities["malformed-message"] + notes.oddities["impossible-offset"]
        what = f"{item.chat.name} ({chat_format.summary}) holds no message"
        if not bad:
            raise BadRecording("no-messages", what, fix="fetch the chat again, or leave this recording out")
        raise BadRecording(
            "no-messages",
            f"{what} with a usable offset; {bad} could not be read",
            fix="a capture of a live chat has no offsets into the video; fetch the replay's chat",
        )
    origin: dict[str, Any] = {
        "format": chat_format.name,
        "tool": f"videochat {__version__}",
        "source": {"chat": item.chat.name, "bytes": item.chat.stat().st_size, "sha256": inputs},
    }
    if notes.more_pages:
        notes.oddities["ends-before-last-page"] += 1
    video = _bring_video(item.video, folder) if item.video else None
    if item.features:
        origin["features"] = write_features(
            item.features,
            item.feature_times,
            final=folder / "features.npz",
            step_ms=item.feature_step_ms,
            grid_ms=grid_ms,
        ) | {"sha256": digest_file(folder / "features.npz")}
        origin["features_model"] = item.features_clip
    duration_ms, origin["duration_from"] = _duration(item, facts, notes, chat, origin)
    if duration_ms > MAX_DURATION_MS:
        what = f"{item.chat.name} would be {duration_ms / 86_400_000:,.0f} days long"
        raise BadRecording(
            "impossible-duration",
            f"{what} ({origin['duration_from']})",
            fix="pass duration_ms; at most 24 days fit the clock",
        )
    if past := int((chat.offsets_ms + item.offset_ms >= duration_ms).sum()):
        notes.oddities["past-end"] += past
    origin["text_only"] = video is None and item.features is None
    origin["oddities"] = dict(sorted((+notes.oddities).items()))  # + leaves out zeros
    platform, platform_id, recording_id = _identity(item, facts, notes, chat_format.platform, chat.digest)
    return Recording(
        recording_id=recording_id,
        platform=platform,
        platform_id=platform_id,
        channel=item.channel or facts.channel or notes.channel,
        category=item.category.strip(),
        language=item.language,
        title=stones.redacted(item.title or facts.title or notes.title),
        duration_ms=duration_ms,
        offset_ms=item.offset_ms,
        video=video,
        features="features.npz" if item.features else None,
        num_messages=chat.num_messages,
        chat_digest=chat.digest,
        video_digest=inputs.get("video"),
        origin=origin,
    )


def _identity(
    item: ImportItem, facts: VideoFacts, notes: Notes, platform: str, chat_digest: str
) -> tuple[str, str, str]:
    """(platform, its id, recording id): what the user says goes before the info file, that before the chat."""
    said = notes.platform_ids if len(notes.platform_ids) == 1 else set()
    if facts.platform_id and said and facts.platform_id not in said and not item.platform_id:
        raise BadRecording(
            "id-mismatch",
            f"the info file is of video {facts.platform_id}, the chat of video {next(iter(said))}",
            fix="pair the files that belong together, or pass platform_id",
        )
    platform = item.platform or facts.platform or platform or FILE_PLATFORM
    identity = item.platform_id or facts.platform_id or next(iter(said), "")
    if not identity:
        return platform, "", f"{FILE_PLATFORM}-{chat_digest[:12]}"
    safe = re.sub(r"[^\w.-]", "_", f"{platform}-{identity}")
    return platform, identity, safe[:120].lstrip(".") or f"{FILE_PLATFORM}-{chat_digest[:12]}"


def _duration(
    item: ImportItem, facts: VideoFacts, notes: Notes, chat: StoredChat, origin: dict[str, Any]
) -> tuple[int, str]:
    """(milliseconds, where they come from). A video that cannot be probed is for the features step to report."""
    if item.video is not None:
        from ..frames.video import probe

        try:
            found = probe(item.video)
        except VideochatError as error:
            origin["probe_error"] = error.what.replace(str(item.video), item.video.name)
        else:
            if found.reason or found.duration_ms <= 0:
                origin["probe_error"] = found.reason or f"{item.video.name} does not say how long it is"
            if found.duration_ms > 0:
                return found.duration_ms, "video"
    if declared := item.duration_ms or facts.duration_ms or notes.duration_ms:
        return declared, "declared"
    if "features" in origin:
        return origin["features"]["end_ms"], "features"
    return max(0, int(chat.offsets_ms[-1]) + item.offset_ms) + AFTER_LAST_MS, "last-comment"


def _bring_video(source: Path, folder: Path) -> str:
    """Hard-link the video into `folder`, or copy it where links cannot reach; its name there."""
    extension = re.sub(r"[^a-z0-9]", "", source.suffix.lower())[:8] or "bin"
    target = folder / f"video.{extension}"
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as handle:
            os.fsync(handle.fileno())
    return target.name


def _is_whole(folder: Path, item: ImportItem) -> bool:
    """Whether the files of an imported recording are still what was imported; if not, importing it again mends it."""
    try:
        recording = read_recording(folder / "recording.json")
        with gzip.open(folder / recording.chat) as handle:
            chat = hashlib.file_digest(handle, "sha256").hexdigest()
        files = [(folder / recording.video, item.video)] if recording.video and item.video else []
        videos = all(ours.samefile(theirs) or digest_file(ours) == digest_file(theirs) for ours, theirs in files)
        features = recording.features is None or (
            digest_file(folder / recording.features) == recording.origin["features"]["sha256"]
        )
    except (OSError, EOFError, zlib.error, Damaged, KeyError):
        return False
    return chat == recording.chat_digest and videos and features


def _move(staging: Path, final: Path, recording: Recording, item: ImportItem, replace: bool) -> bool:
    """Move the finished folder to its place; False if an equal recording is there."""
    final.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            staging.rename(final)
        except OSError:
            if not final.is_dir():
                raise
        else:
            return True
        try:
            old = read_recording(final / "recording.json")
        except FileNotFoundError:
            shutil.rmtree(final)  # what an interrupted writer left: it never had its recording.json
            continue
        different = _differences(old, recording)
        if not different and _is_whole(final, item):
            return False
        if different and not replace:
            raise BadRecording(
                "conflict",
                f"{recording.recording_id} is there already, with another {', '.join(different)}",
                fix="import it with --replace, or under another platform id",
            )
        final.rename(staging.with_name(f"{staging.name}-old"))
        staging.rename(final)
        shutil.rmtree(staging.with_name(f"{staging.name}-old"))
        return True


def _sync(folder: Path) -> None:
    """Make the renames in `folder` last a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _differences(old: Recording, new: Recording) -> list[str]:
    before, after = old.to_json(), new.to_json()
    for key in ("features", "features_model"):
        before[key], after[key] = old.origin.get(key), new.origin.get(key)
    return [name for name in after if name != "origin" and before.get(name) != after[name]]


def _sweep(staging: Path) -> None:
    """Remove what imports that were killed have left; folders of living processes stay."""
    for folder in staging.glob("*-*"):
        pid = folder.name.partition("-")[0]
        if not pid.isdecimal():
            continue
        try:
            os.kill(int(pid), 0)  # signal 0 asks if the process lives
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, OverflowError):
            pass
