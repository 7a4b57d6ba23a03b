"""Build the shards: cut every cleaned recording into clips, assign splits, write Parquet, count, describe.

    manifest = build(workspace)          # shards/<split>/*.parquet, dataset.json, README.md, croissant.json

A dataset either has features or is text-only. With features, recordings without them (a broken video, text only) are
left out and listed; `text_only=True` takes every cleaned recording and leaves the features out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from . import __version__
from .cut import KEPT_COLUMNS, Cut, clip_table, content_digest, cut
from .dataset import Dataset
from .errors import Damaged, Mismatch, MissingInput
from .files import damaged, digest_file, digest_json, parquet_metadata, read_json, read_parquet, write_json
from .progress import progress
from .rights.versions import version_facts
from .schema import SCHEMA_VERSION, SPLITS, Recording
from .shards import Part, write_shards
from .splits import Unit, assign_splits, shingles_of
from .workspace import Workspace

BUILD_FORMAT = 1  # part of the stamp: raise it when the same inputs give other rows
TRANSCRIBE = "remove it and run `videochat transcribe` again"
COMMENT_BYTES = 60  # a comment in a row, uncompressed: text, pseudonym, time


@dataclass(frozen=True, kw_only=True)
class Source:
    """One recording that goes into the dataset."""

    recording: Recording
    clips: Cut
    shingles: frozenset[int]


def build(workspace: Workspace, *, text_only: bool = False, limit: int | None = None) -> dict[str, Any]:
    """Write the shards of all cleaned recordings; returns the manifest (dataset.json). Current shards are kept.

    Raises MissingInput if nothing was cleaned, Mismatch if features come from different CLIP models.
    """
    from .cleaning.pseudonyms import channel_pseudonym

    settings = workspace.settings
    chosen, left_out, fingerprint = choose(workspace, text_only=text_only)
    chosen = chosen[:limit]
    stamp = _stamp(workspace, chosen, fingerprint, text_only)
    current = workspace.shards_dir / "dataset.json"
    if manifest := _current_manifest(current, stamp):
        return manifest

    sources = [_source(workspace, recording) for recording in progress(chosen, what="cut", unit="recording")]
    splits = _splits(workspace, sources)
    dim = None if fingerprint is None else int(fingerprint["dim"])
    parts = [
        (
            splits[source.recording.recording_id],
            source.recording.category,
            source.recording.recording_id,
            Part(
                num_clips=source.clips.num_clips,
                num_bytes=_clips_bytes(source.clips, dim),
                read=partial(
                    _read,
                    workspace,
                    source,
                    dim=dim,
                    split=splits[source.recording.recording_id],
                    channel_id=channel_pseudonym(workspace, source.recording),
                ),
            ),
        )
        for source in sources
    ]
    drops = sum((Counter(source.clips.drops) for source in sources), Counter[str]())
    num_raw = sum(source.recording.num_messages for source in sources)
    facts = {
        "simulated": any(source.recording.simulated for source in sources),
        "split_by": settings.split_by,
        "clip_fingerprint": fingerprint,
        "stamp": stamp,
        "seed": settings.seed,
        "split_fractions": list(settings.split_fractions),
        "geometry": asdict(settings.geometry),
        "num_messages": num_raw,
        "drops": dict(sorted(drops.items())),
        "left_out": left_out,
        "durations_ms": {source.recording.recording_id: source.recording.duration_ms for source in sources},
    }
    if spoken := _transcribers(workspace, chosen):
        facts["transcripts"] = {"by": spoken}
    manifest = write_dataset(workspace, parts, dim=dim, facts=facts)
    describe(workspace, manifest, workspace.shards_dir)
    return manifest


def _transcribers(workspace: Workspace, recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """Who made the transcripts of these recordings: fingerprints of models and formats of files, each once."""
    found = [by for recording in recordings for by in _transcript_facts(workspace, recording, "by")]
    return [by for _, by in sorted({digest_json(by): by for by in found}.items())]


def _current_manifest(path: Path, stamp: str) -> dict[str, Any] | None:
    """dataset.json if it and its files are whole and were made from exactly these inputs; else they are made again."""
    try:
        manifest = read_json(path, needs=("stamp", "files"))
        Dataset.open(path.parent)
        if manifest["stamp"] != stamp:
            return None
        whole = all(digest_file(path.parent / file["path"]) == file["sha256"] for file in manifest["files"])
    except (OSError, Damaged, MissingInput, Mismatch):
        return None
    return dict(manifest) if whole else None


def choose(workspace: Workspace, *, text_only: bool) -> tuple[list[Recording], dict[str, str], dict[str, Any] | None]:
    """The recordings to build from, {recording_id: why not} for the others, and the features' fingerprint."""
    cleaned, left_out = [], {}
    for recording in workspace.recordings():
        if workspace.comments_path(recording.recording_id).is_file():
            cleaned.append(recording)
        else:
            left_out[recording.recording_id] = "not cleaned"
    if not cleaned:
        raise MissingInput(f"no cleaned chat in {workspace.root}", fix="run `videochat clean` first")
    framed = [r for r in cleaned if workspace.frames_path(r.recording_id).is_file()]
    if text_only or not framed:
        return cleaned, left_out, None
    left_out |= {r.recording_id: "no frame features" for r in cleaned if r not in framed}
    fingerprints: dict[str, dict[str, Any]] = {}
    for recording in framed:
        path = workspace.frames_path(recording.recording_id)
        found = parquet_metadata(path).get("fingerprint")
        if found is None:
            raise damaged(path, "it has no fingerprint of its CLIP model", "run `videochat build-features` again")
        fingerprints.setdefault(digest_json(found), found)
    if len(fingerprints) > 1:
        models = ", ".join(sorted(str(found.get("model")) for found in fingerprints.values()))
        raise Mismatch(
            f"frame features come from {len(fingerprints)} different encoders ({models})",
            fix="run `videochat build-features` with one --clip for all recordings",
        )
    return framed, left_out, next(iter(fingerprints.values()))


def _stamp(
    workspace: Workspace, recordings: Sequence[Recording], fingerprint: dict[str, Any] | None, text_only: bool
) -> str:
    inputs = {
        r.recording_id: [
            digest_json(r.to_json()),
            *(
                parquet_metadata(path(r.recording_id)).get("stamp")
                for path in (workspace.comments_path, workspace.frames_path, workspace.texts_path)
            ),
            *_transcript_facts(workspace, r, "stamp"),
        ]
        for r in recordings
    }
    settings = asdict(workspace.settings)
    choices = {name: settings[name] for name in ("seed", "split_by", "split_fractions", "geometry")}
    return digest_json([BUILD_FORMAT, SCHEMA_VERSION, __version__, inputs, choices, fingerprint, text_only])


def _transcript_facts(workspace: Workspace, recording: Recording, name: str) -> list[Any]:
    """[that entry of the metadata] of the recording's transcript; [] where it has none."""
    path = workspace.transcripts_path(recording.recording_id)
    if not path.is_file():
        return []
    found = parquet_metadata(path)
    if "stamp" not in found:
        raise damaged(path, "it has no stamp", TRANSCRIBE)
    return [found.get(name)]


def _source(workspace: Workspace, recording: Recording) -> Source:
    path = workspace.comments_path(recording.recording_id)
    comments = read_parquet(path, columns=KEPT_COLUMNS, fix="remove it and run `videochat clean` again")
    clips = cut(recording, comments, workspace.settings.geometry)
    return Source(recording=recording, clips=clips, shingles=shingles_of(clips.comments["text"].to_pylist()))


def _splits(workspace: Workspace, sources: Sequence[Source]) -> dict[str, str]:
    """Assign and store (splits.json); stored assignments hold as long as the settings they were made with."""
    settings = workspace.settings
    rule = [settings.split_by, list(settings.split_fractions), settings.seed]
    path = workspace.root / "splits.json"
    fix = "restore it, or remove it: then every recording is assigned to a split anew"
    stored = read_json(path, needs=("rule", "assignment"), fix=fix) if path.exists() else {}
    previous = stored.get("assignment", {}) if stored.get("rule") == rule else {}
    units = [
        Unit(
            recording_id=source.recording.recording_id,
            channel=source.recording.channel_key,
            category=source.recording.category,
            video_digest=source.recording.video_digest,
            shingles=source.shingles,
        )
        for source in sources
    ]
    splits = assign_splits(
        units, previous, by=settings.split_by, fractions=settings.split_fractions, seed=settings.seed
    )
    write_json(path, {"rule": rule, "assignment": {**previous, **splits}})
    return splits


def _clips_bytes(clips: Cut, dim: int | None) -> int:
    return row_bytes(clips.num_clips, clips.num_context, clips.num_responses, dim)


def row_bytes(num_clips: int, num_context: int, num_responses: int, dim: int | None) -> int:
    """Estimate of the rows' bytes, for planning the number of files. dim: of the features, None for text alone."""
    vectors = 0 if dim is None else num_clips * 40 + num_context
    return (num_context + num_responses) * COMMENT_BYTES + vectors * 2 * (dim or 0)


def _read(workspace: Workspace, source: Source, *, dim: int | None, split: str, channel_id: str) -> pa.Table:
    name = source.recording.recording_id
    frames = texts = None
    if dim is not None:
        fix = "remove it and run `videochat build-features` again"
        frames = read_parquet(workspace.frames_path(name), fix=fix)
        if workspace.texts_path(name).is_file():
            texts = read_parquet(workspace.texts_path(name), fix=fix)
    said = workspace.transcripts_path(name)
    return clip_table(
        source.recording,
        source.clips,
        workspace.settings.geometry,
        split=split,
        channel_id=channel_id,
        frames=frames,
        texts=texts,
        transcript=read_parquet(said, fix=TRANSCRIBE) if said.is_file() else None,
        dim=dim,
    )


def write_dataset(
    workspace: Workspace,
    parts: Sequence[tuple[str, str, str, Part | pa.Table]],
    *,
    dim: int | None,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Write shards and dataset.json from (split, category, recording_id, rows) and return the manifest.

    facts: what the rows do not tell (simulated, split_by, clip_fingerprint, ...); counts are taken from the rows.
    """
    tally = _Tally(facts.get("durations_ms", {}), workspace.settings.geometry.clip_ms)
    grouped: dict[tuple[str, str], list[Part]] = {}
    for split, category, name, rows in sorted(parts, key=lambda part: part[2]):
        part = rows if isinstance(rows, Part) else _in_memory(rows)
        if part.num_clips:
            counted = Part(
                num_clips=part.num_clips,
                num_bytes=part.num_bytes,
                read=partial(tally.read, part.read, split, category, name),
            )
            grouped.setdefault((split, category), []).append(counted)
    common = {
        "schema_version": SCHEMA_VERSION,
        "tool": f"videochat {__version__}",
        "simulated": facts["simulated"],
        "split_by": facts["split_by"],
        "clip_fingerprint": facts["clip_fingerprint"],
    }
    if not grouped:
        raise MissingInput(
            "no clip has both a context and a response comment", fix="import longer or busier recordings"
        )
    files = write_shards(workspace.shards_dir, grouped, dim=dim, metadata=common)
    manifest: dict[str, Any] = {
        "name": workspace.root.resolve().name,
        **version_facts(workspace),
        **common,
        **{name: value for name, value in facts.items() if name != "transcripts"},
        **tally.manifest(),
        **({"transcripts": {**facts.get("transcripts", {}), **tally.spoken}} if tally.spoken["segments"] else {}),
        "provides": [
            *([] if dim is None else ["frames", "text_embeddings"] if tally.with_texts else ["frames"]),
            *(["transcript"] if tally.spoken["segments"] else []),
        ],
        "dim": dim,
        "text_only": dim is None,
        "files": files,
    }
    write_json(workspace.shards_dir / "dataset.json", manifest)
    return manifest


def _in_memory(table: pa.Table) -> Part:
    return Part(num_clips=table.num_rows, num_bytes=table.nbytes, read=lambda: table)


class _Tally:
    """Counts rows as they stream into the shards."""

    def __init__(self, durations_ms: Mapping[str, int], clip_ms: int) -> None:
        self.durations_ms = durations_ms
        self.clip_ms = clip_ms
        self.rows: list[dict[str, Any]] = []
        self.digests: dict[str, list[str]] = {}
        self.with_texts = True
        self.spoken = {"recordings": 0, "clips": 0, "segments": 0}  # how many hold speech; a segment once for each clip

    def read(self, source: Any, split: str, category: str, recording_id: str) -> pa.Table:
        table: pa.Table = source()
        self.digests.setdefault(recording_id, []).append(content_digest(table))
        if "context_clip" not in table.column_names or table["context_clip"].null_count:
            self.with_texts = False
        count = {name: sum(map(len, table[name].to_pylist())) for name in ("context", "responses")}
        said = [len(segments or ()) for segments in table["transcript"].to_pylist()]
        for what, number in (("recordings", any(said)), ("clips", sum(map(bool, said))), ("segments", sum(said))):
            self.spoken[what] += number
        self.rows.append(
            {
                "split": split,
                "category": category,
                "recording": recording_id,
                "channel": table["channel_id"][0].as_py(),
                "clips": table.num_rows,
                **count,
            }
        )
        return table

    def _summary(self, by: str, key: str) -> dict[str, Any]:
        rows = [row for row in self.rows if row[by] == key]
        return {
            by: key,
            "channels": len({row["channel"] for row in rows}),
            "recordings": len({row["recording"] for row in rows}),
            "hours": self._hours(rows),
            "clips": sum(row["clips"] for row in rows),
            "context_comments": sum(row["context"] for row in rows),
            "responses": sum(row["responses"] for row in rows),
            "comments": sum(row["context"] + row["responses"] for row in rows),
        }

    def _hours(self, rows: Sequence[Mapping[str, Any]]) -> float:
        """Hours of the recordings; where their length is not known, of their clips."""
        known = {row["recording"]: self.durations_ms.get(row["recording"]) for row in rows}
        clips: Counter[str] = Counter()
        for row in rows:
            clips[row["recording"]] += row["clips"]
        total = sum(known[name] or clips[name] * self.clip_ms for name in known)
        return round(total / 3_600_000, 4)

    def manifest(self) -> dict[str, Any]:
        recordings = {name: digest_json(digests) for name, digests in sorted(self.digests.items())}
        return {
            "num_recordings": len(recordings),
            "num_channels": len({row["channel"] for row in self.rows}),
            "hours": self._hours(self.rows),
            "num_clips": sum(row["clips"] for row in self.rows),
            "num_comments": sum(row["context"] + row["responses"] for row in self.rows),
            "per_category": [self._summary("category", c) for c in sorted({row["category"] for row in self.rows})],
            "per_split": [self._summary("split", s) for s in SPLITS if any(row["split"] == s for row in self.rows)],
            "recordings": recordings,
            "digest": digest_json(recordings),
        }


def describe(workspace: Workspace, manifest: dict[str, Any], folder: Path) -> None:
    """The data card and the Croissant metadata beside the shards in `folder`."""
    from .cards import write_card
    from .cleaning.funnel import funnel

    write_card(manifest, [asdict(row) for row in funnel(workspace)], folder)


def plan_build(workspace: Workspace, *, text_only: bool = False, limit: int | None = None) -> dict[str, Any]:
    """What `build` would do: recordings, hours, clips, bytes (uncompressed estimate)."""
    chosen, left_out, fingerprint = choose(workspace, text_only=text_only)
    chosen = chosen[:limit]
    dim = None if fingerprint is None else int(fingerprint["dim"])
    cuts = [_source(workspace, recording).clips for recording in chosen]
    return {
        "recordings": len(chosen),
        "left_out": len(left_out),
        "hours": round(sum(recording.duration_ms for recording in chosen) / 3_600_000, 3),
        "clips": sum(clips.num_clips for clips in cuts),
        "bytes": sum(_clips_bytes(clips, dim) for clips in cuts),
    }


def table_of(clips: Sequence[Any], dim: int | None) -> pa.Table:
    """Shard rows from Clip objects (tests and importers of other datasets)."""
    from .schema import shard_schema

    def comments(items: Any) -> list[dict[str, Any]]:
        return [{"offset_ms": c.offset_ms, "author": c.author, "text": c.text, "emotes": list(c.emotes)} for c in items]

    schema = shard_schema(dim)
    rows: dict[str, list[Any]] = {name: [] for name in schema.names}
    for clip in clips:
        for name in schema.names:
            value = getattr(clip, name)
            if name in ("context", "responses"):
                value = comments(value)
            elif name == "transcript":
                value = [asdict(segment) for segment in value]
            elif (name in ("frames", "context_clip") and value is not None) or name == "flags":
                value = list(value)
            rows[name].append(value)
    return pa.table(rows, schema=schema)
