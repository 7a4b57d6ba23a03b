"""Hand the frozen candidates to other people's code: what a model may see of each clip and what it ranks, no truth.

    hand_out(workspace, dataset, sets, Path("out"))

    out/<set>.<split>.jsonl    a line a clip: clip_id, what its ClipView holds, candidates [{"id", "text"}]
    out/manifest.json          protocol and digests, to be copied beside a scores file as <name>.manifest.json
    out/README.md              what the fields mean and how the scores come back
    out/frames/<clip>.npy      with frames="npy": float16 (N, D) beside frame_ms; with "jpg" the pictures themselves

The order of the candidates is the frozen, shuffled one, and ids are rows of the text table, which is sorted by text:
neither says anything of the truth. Times count from the start of the clip; everything shown lies before now_ms.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import videochat
from videochat.commenter import ClipView
from videochat.errors import MissingInput, UsageError
from videochat.files import write_json, write_text
from videochat.progress import progress

from ..candidates.views import Views
from ..scores.gains import Place, partners
from ..scores.tasks import make_tasks

if TYPE_CHECKING:
    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from ..candidates.sets import CandidateSet, CandidateSets

FORMAT = 1
FRAMES = ("reference", "npy", "jpg", "none")
Frames = Literal["reference", "npy", "jpg", "none"]
SHORT_SIDE = 224  # pixels of a jpg: what CLIP and most large models resize to
QUALITY = 90


def hand_out(
    workspace: Workspace,
    dataset: Dataset,
    sets: CandidateSets,
    out: Path,
    *,
    names: Collection[str] = (),
    splits: Collection[str] = ("dev", "test"),
    frames: Frames = "reference",
    seed: int = 0,
) -> dict[str, Any]:
    """Write the hand-out of `names` (default: all sets) and return its manifest.

    frames: "reference" names the shard that holds the vectors; "npy" writes them; "jpg" decodes the pictures from the
    workspace's raw videos; "none". seed: of the partners of swapped clips, the benchmark's own.
    Raises UsageError for an unknown set or way of frames, MissingInput if the data holds no frames to write.
    """
    chosen = choose(sets, names)
    views = Views.of(workspace, dataset, sets)
    if frames not in FRAMES:
        raise UsageError(f"unknown way of frames {frames!r}", fix=f"choose one of {', '.join(FRAMES)}")
    if frames in ("npy", "jpg") and "frames" not in dataset.provides:
        raise MissingInput("this dataset holds no frames", fix="--frames none")
    if not any(len(part.split(split)) for part in chosen.values() for split in splits):
        raise MissingInput(
            f"the sets rank no clip of {' or '.join(splits)}", fix="build candidates on more recordings, or pass others"
        )
    (out / "manifest.json").unlink(missing_ok=True)
    shards = _shards(dataset)
    counts: dict[str, dict[str, int]] = {name: {} for name in chosen}
    wanted = {clip_id for part in chosen.values() for clip_id in part.clip_ids.tolist()}
    swaps = _partners(dataset, sets, seed=seed) if "test" in splits else {}
    needed = wanted | set(swaps.values())
    records: dict[str, dict[str, Any]] = {}
    for split in splits:
        total = sum(row["clips"] for row in dataset.manifest["per_split"] if row["split"] == split)
        with progress(what=f"hand out {split}", total=total, unit="clip") as bar:
            for clip in dataset.clips(split):
                bar.update(1)
                if clip.clip_id in needed:
                    seen = views(clip)
                    records[clip.clip_id] = describe(seen) | {
                        "swap_with": swaps.get(clip.clip_id),
                        "frames": _frames(seen, frames, out, shards[clip.clip_id], workspace),
                    }
    for name, part in chosen.items():
        for split in splits:
            rows = part.split(split)
            counts[name][split] = len(rows)
            lines = [json.dumps(line, ensure_ascii=False) for line in items(rows, sets, records, split)]
            write_text(out / f"{name}.{split}.jsonl", "".join(f"{line}\n" for line in lines))
    spare = sorted(set(swaps.values()) - wanted)
    if spare:  # classic: clips that are shown in place of another, and rank nothing
        lines = [json.dumps(records[clip_id], ensure_ascii=False) for clip_id in spare if clip_id in records]
        write_text(out / "partners.jsonl", "".join(f"{line}\n" for line in lines))
    manifest = {
        "format": FORMAT,
        "protocol": sets.protocol,
        "version": sets.version,
        "label": sets.declaration.label,
        "data_digest": dataset.digest,
        "candidates": {name: part.digest for name, part in chosen.items()},
        "k": {name: part.k for name, part in chosen.items()},
        "num_clips": counts,
        "split_by": dataset.split_by,
        "simulated": dataset.simulated,
        "frames": frames,
        "tool": videochat.__version__,
    }
    write_text(out / "README.md", _readme(manifest))
    write_json(out / "manifest.json", manifest)  # last: where it is, the rest is whole
    return manifest


def choose(sets: CandidateSets, names: Collection[str]) -> dict[str, CandidateSet]:
    if unknown := sorted(set(names) - set(sets)):
        raise UsageError(f"there is no candidate set {unknown[0]!r}", fix=f"choose one of {', '.join(sets)}")
    return {name: part for name, part in sets.items() if not names or name in names}


def describe(clip: ClipView) -> dict[str, Any]:
    """What a ClipView holds, as JSON, without vectors. Times are milliseconds from the start of the clip; those of
    frames begin before it."""
    return {
        "clip_id": clip.clip_id,
        "recording_id": clip.recording_id,
        "category": clip.category,
        "language": clip.language,
        "start_ms": clip.start_ms,
        "now_ms": clip.now_ms - clip.start_ms,
        "context": [
            {"ms": c.offset_ms - clip.start_ms, "author": c.author, "text": c.text, "emotes": list(c.emotes)}
            for c in clip.context
        ],
        "transcript": [
            {"start_ms": s.start_ms - clip.start_ms, "end_ms": s.end_ms - clip.start_ms, "text": s.text}
            for s in clip.transcript
        ],
        "frame_ms": [] if clip.frame_ms is None else (clip.frame_ms - clip.start_ms).tolist(),
    }


def items(
    part: CandidateSet, sets: CandidateSets, records: Mapping[str, dict[str, Any]], split: str
) -> Iterator[dict[str, Any]]:
    """A line for each clip of the set, without group and truth."""
    for clip_id, row in zip(part.clip_ids.tolist(), part.candidates.tolist(), strict=True):
        if clip_id not in records:
            raise MissingInput(f"{clip_id} is not in the shards", fix="run `videochat candidates` again")
        candidates = [{"id": i, "text": sets.texts.texts[i]} for i in row]
        yield records[clip_id] | {"set": part.name, "split": split, "candidates": candidates}


def _partners(dataset: Dataset, sets: CandidateSets, *, seed: int) -> dict[str, str]:
    """The clip whose frames (or chat) a test clip is given under the swapped conditions; the benchmark's own choice."""
    rows = dataset.table("test", ["clip_id", "recording_id", "start_ms", "end_ms"]).to_pylist()
    tasks = [task for task in make_tasks(sets) if task.split == "test" and len(task)]
    return partners(tasks, [Place(**row) for row in rows], seed=seed)


def _shards(dataset: Dataset) -> dict[str, str]:
    from videochat.files import read_parquet

    found: dict[str, str] = {}
    for path in (*dataset.paths("dev"), *dataset.paths("test")):
        name = str(path.relative_to(dataset.folder))
        found |= dict.fromkeys(read_parquet(path, columns=["clip_id"])["clip_id"].to_pylist(), name)
    return found


def _frames(clip: ClipView, way: Frames, out: Path, shard: str, workspace: Workspace) -> Any:
    """Where the frames are: the shard (its rows also hold later frames: take those before now_ms), a .npy beside the
    lines, or a picture for each frame_ms; None where there are none."""
    if clip.frames is None or clip.frame_ms is None or way == "none":
        return None
    if way == "reference":
        return {"shard": shard}
    if way == "npy":
        path = out / "frames" / f"{clip.clip_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, clip.frames, allow_pickle=False)  # no fsync for each of thousands: the manifest comes last
        return f"frames/{path.name}"
    pictures = _pictures(clip, out, workspace)
    return [pictures.get(int(time)) for time in clip.frame_ms]


def _pictures(clip: ClipView, out: Path, workspace: Workspace) -> dict[int, str]:
    from PIL import Image

    from videochat.frames.decode import frames_at

    recording = next(r for r in workspace.recordings() if r.recording_id == clip.recording_id)
    if recording.video is None:
        raise MissingInput(f"{clip.recording_id} has no video here", fix="--frames npy, or none")
    video = workspace.raw_dir(clip.recording_id) / recording.video
    assert clip.frame_ms is not None
    found = {}
    for frame in frames_at(video, [int(t) for t in clip.frame_ms if t >= 0], shortest=SHORT_SIDE):
        path = out / "frames" / f"{clip.clip_id}_{frame.time_ms}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame.rgb).save(path, format="JPEG", quality=QUALITY)
        found[frame.time_ms] = f"frames/{path.name}"
    return found


def _readme(manifest: Mapping[str, Any]) -> str:
    warning = "**Simulated data: shows that a mechanism works, never how well.**\n\n" if manifest["simulated"] else ""
    files = "\n".join(
        f"- `{name}.{split}.jsonl`: {count:,} clips, {manifest['k'][name]} candidates each"
        for name, counts in manifest["num_clips"].items()
        for split, count in counts.items()
    )
    return f"""# Candidates of {manifest["label"]}

{warning}{files}

A line is one clip: `context` (what people said), `frame_ms` and `frames`, `transcript`, all strictly before `now_ms`;
times are milliseconds from the start of the clip. `candidates` are what is ranked, in a frozen random order; one of
them was written soon after `now_ms`. Score every candidate, higher = more likely, one clip at a time:
solving clips that share their candidates together is transductive.

Give back one file, Parquet, CSV or JSON lines, with the columns `clip_id, candidate, score` (the candidate's `id`), or
one row a clip with lists: `clip_id, candidates, scores`. A candidate that stands in several sets may have one score, or
one for each with a column `set`. With `log_likelihood` (and `num_tokens`), the rule that wins on dev makes the official
number; test alone is ranked by `score`. For video and chat gain score the test clips again with the frames, then the
chat, of `swap_with`, in rows whose `condition` is `video-swapped` or `chat-swapped`.

Copy `manifest.json` beside your file as `<name>.manifest.json`: its digests say what was ranked. Then

    videochat submit-check my-model.parquet
    videochat bench --scores my-model.parquet --name my-model
"""
