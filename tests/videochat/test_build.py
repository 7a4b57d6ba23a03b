"""From comments and features to shards: clips, splits, files, digests, and the readers that others use."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.build import build, plan_build, table_of
from videochat.clock import ClipGeometry
from videochat.commenter import view
from videochat.cut import cut
from videochat.dataset import Dataset
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import digest_file, write_parquet
from videochat.schema import COMMENTS, TRANSCRIPTS, Recording, Segment, frames_schema, texts_schema
from videochat.shards import Part, plan_files
from videochat.splits import Unit, assign_splits, merge_units, shingles_of, split_counts
from videochat.validate import validate_shards
from videochat.workspace import Workspace

DIM = 4


def recording(name: str, *, channel: str = "", minutes: float = 2, category: str = "Art") -> Recording:
    return Recording(
        recording_id=name,
        platform="file",
        platform_id=name,
        channel=channel,
        category=category,
        duration_ms=int(minutes * 60_000),
        num_messages=10,
        chat_digest=name,
    )


def comments(rows: list[tuple[int, str, bool]]) -> pa.Table:
    return pa.table(
        {
            "position": list(range(len(rows))),
            "comment_id": [f"id{n}" for n in range(len(rows))],
            "time_ms": [time for time, _, _ in rows],
            "author": ["u_1"] * len(rows),
            "text": [text for _, text, _ in rows],
            "emotes": [["Kappa"]] * len(rows),
            "kept": [kept for _, _, kept in rows],
            "reason": [None if kept else "links" for _, _, kept in rows],
            "language": ["en"] * len(rows),
            "language_score": [1.0] * len(rows),
        },
        schema=COMMENTS,
    )


def add(workspace: Workspace, item: Recording, *, features: bool = True, seed: int = 0) -> None:
    """A recording with a comment every 4 s and features for every second."""
    workspace.add_recording(item)
    name = item.recording_id
    rows = [(ms, f"{name} says {ms}", True) for ms in range(0, item.duration_ms, 4000)]
    write_parquet(comments(rows), workspace.comments_path(name), {"stamp": f"c-{name}"})
    if not features:
        return
    random = np.random.default_rng(seed)
    for path, schema, first in (
        (workspace.frames_path(name), frames_schema(DIM), range(0, item.duration_ms, 1000)),
        (workspace.texts_path(name), texts_schema(DIM), [text for _, text, _ in rows]),
    ):
        vectors = random.standard_normal((len(first), DIM))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        columns = [list(first)] * (len(schema) - 1) + [list(vectors.astype(np.float16))]
        write_parquet(pa.table(columns, schema=schema), path, {"stamp": "f", "fingerprint": {"dim": DIM, "model": "m"}})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.open(tmp_path / "w", create=True)
    for channel in range(5):
        for part in range(2):
            add(workspace, recording(f"r{channel}{part}", channel=f"Streamer{channel}"), seed=10 * channel + part)
    return workspace


def test_cut_counts_every_clip_and_comment() -> None:
    rows = [
        (1_000, "context", True),
        (19_999, "context", True),
        (20_000, "response", True),
        (30_000, "next context", True),
        (31_000, "dropped", False),
        (85_000, "only a response", True),
        (95_000, "in the tail", True),
        (500_000, "after the end", True),
    ]
    clips = cut(recording("r", minutes=100 / 60), comments(rows), ClipGeometry())
    assert clips.starts.tolist() == [0]
    assert (clips.num_context, clips.num_responses) == (2, 1)
    assert clips.drops == {
        "clips: no context comment": 1,
        "clips: no response comment": 1,
        "clips: no comment at all": 0,
        "clips: incomplete tail": 1,
        "comments: outside whole clips": 2,
    }


def test_cut_of_an_empty_chat_and_of_a_short_recording() -> None:
    assert cut(recording("r"), comments([]), ClipGeometry()).num_clips == 0
    assert cut(recording("r", minutes=0.1), comments([(0, "a", True)]), ClipGeometry()).num_clips == 0


def test_build_writes_what_the_protocol_promises(workspace: Workspace) -> None:
    manifest = build(workspace)
    data = Dataset.open(workspace.root)
    assert all(finding.ok for finding in validate_shards(workspace.root)), validate_shards(workspace.root)
    assert manifest["num_clips"] == len(data) == 10 * 4
    assert manifest["provides"] == ["frames", "text_embeddings"]
    assert {row["split"]: row["channels"] for row in manifest["per_split"]} == {"train": 3, "dev": 1, "test": 1}
    clip = next(clip for clip in data.clips() if clip.start_ms == 60_000)
    assert [c.offset_ms for c in clip.context] == [60_000, 64_000, 68_000, 72_000, 76_000]
    assert [c.offset_ms for c in clip.responses] == [80_000, 84_000, 88_000]
    assert clip.frame_ms is not None and clip.frames is not None and clip.context_clip is not None
    assert clip.frame_ms.tolist() == list(range(50_000, 90_000, 1000))
    stored = pq.read_table(workspace.texts_path(clip.recording_id)).to_pylist()
    wanted = {row["text"]: row["embedding"] for row in stored}
    np.testing.assert_array_equal(clip.context_clip, np.array([wanted[c.text] for c in clip.context], np.float16))
    assert "Streamer" not in (workspace.shards_dir / "dataset.json").read_text()
    assert (workspace.shards_dir / "README.md").is_file()


def test_a_view_holds_no_future(workspace: Workspace) -> None:
    build(workspace)
    for clip in Dataset.open(workspace.root).clips():
        seen = view(clip)
        assert seen.frame_ms is not None and seen.frames is not None
        assert len(seen.frame_ms) == len(seen.frames) == (20 if clip.start_ms == 0 else 30)
        assert seen.frame_ms.max() < seen.now_ms == clip.start_ms + 20_000
        assert not hasattr(seen, "responses")
        assert all(comment.offset_ms < seen.now_ms for comment in seen.context)


def test_build_is_current_until_something_changes(workspace: Workspace) -> None:
    first = build(workspace)
    shard = next(workspace.shards_dir.glob("*/*.parquet"))
    before = shard.stat().st_mtime_ns
    assert build(workspace) == first
    assert shard.stat().st_mtime_ns == before
    add(workspace, recording("new", channel="Streamer9"))
    second = build(workspace)
    assert second["num_recordings"] == 11
    assert second["digest"] != first["digest"]
    old = {
        n: s for n, s in json.loads((workspace.root / "splits.json").read_text())["assignment"].items() if n != "new"
    }
    assert old == {n: old[n] for n in first["recordings"]}
    assert {n: second["recordings"][n] for n in first["recordings"]} == first["recordings"], "only the new item differs"


def test_equal_content_has_an_equal_digest_whatever_the_key(workspace: Workspace, tmp_path: Path) -> None:
    first = build(workspace)
    (workspace.root / "pseudonym.key").unlink()
    (workspace.shards_dir / "dataset.json").unlink()
    second = build(workspace)
    assert first["digest"] == second["digest"]
    channels = [Dataset.open(workspace.root).table(columns=["channel_id"])]
    assert channels[0].num_rows == first["num_clips"]


def test_a_recording_without_features_is_left_out_and_listed(workspace: Workspace) -> None:
    add(workspace, recording("text", channel="T"), features=False)
    manifest = build(workspace)
    assert manifest["left_out"] == {"text": "no frame features"}
    assert manifest["num_recordings"] == 10
    text = build(workspace, text_only=True)
    assert text["num_recordings"] == 11
    assert text["dim"] is None
    assert "frames" not in Dataset.open(workspace.root).table().column_names
    assert next(Dataset.open(workspace.root).clips()).frames is None
    assert all(finding.ok for finding in validate_shards(workspace.root))


def test_features_of_two_encoders_never_mix(workspace: Workspace) -> None:
    table = pq.read_table(workspace.frames_path("r00"))
    write_parquet(table, workspace.frames_path("r00"), {"stamp": "g", "fingerprint": {"dim": DIM, "model": "other"}})
    with pytest.raises(Mismatch, match="2 different encoders"):
        build(workspace)


def test_imported_frames_without_text_embeddings(workspace: Workspace) -> None:
    for item in workspace.recordings():
        workspace.texts_path(item.recording_id).unlink()
    assert build(workspace)["provides"] == ["frames"]
    clip = next(Dataset.open(workspace.root).clips())
    assert clip.context_clip is None
    assert clip.frames is not None


def test_build_says_what_is_missing(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(MissingInput, match="videochat clean"):
        build(workspace)
    add(workspace, recording("a", channel="x"))
    with pytest.raises(UsageError, match="at least 3 channels, here are 1"):
        build(workspace)
    assert build(workspace.change(split_by="test"))["per_split"][0]["split"] == "test"
    assert plan_build(workspace)["clips"] == 4


def test_files_are_planned_in_whole_row_groups() -> None:
    def parts(*sizes: int) -> list[Part]:
        return [Part(num_clips=n, num_bytes=n * 1000, read=lambda: pa.table({})) for n in sizes]

    assert plan_files(parts(100, 50)) == [150]
    assert plan_files(parts(1000), shard_bytes=600_000) == [512, 488]
    assert plan_files(parts(300, 724), shard_bytes=1) == [256, 256, 256, 256]
    assert sum(plan_files(parts(999, 1), shard_bytes=300_000)) == 1000


def test_split_counts_leave_no_split_empty() -> None:
    assert split_counts(3, (0.8, 0.1, 0.1)) == {"train": 1, "dev": 1, "test": 1}
    assert split_counts(100, (0.8, 0.1, 0.1)) == {"train": 80, "dev": 10, "test": 10}
    assert split_counts(10, (0.8, 0.2, 0.0)) == {"train": 8, "dev": 2, "test": 0}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=60, max_size=90), st.integers(0, 9))
def test_a_channel_never_lies_in_two_splits(pairs: list[tuple[int, int]], seed: int) -> None:
    units = [
        Unit(recording_id=f"r{n:03}", channel=f"c{channel}", category=f"k{category}")
        for n, (channel, category) in enumerate(pairs)
    ]
    if len({unit.channel for unit in units}) < 3:
        return
    splits = assign_splits(units, {}, by="channel", fractions=(0.8, 0.1, 0.1), seed=seed)
    by_channel = {unit.channel: splits[unit.recording_id] for unit in units}
    assert all(splits[unit.recording_id] == by_channel[unit.channel] for unit in units)
    assert {"train", "dev", "test"} == set(splits.values())
    assert splits == assign_splits(units[::-1], {}, by="channel", fractions=(0.8, 0.1, 0.1), seed=seed)
    grown = [*units, Unit(recording_id="zz", channel="new", category="k0")]
    later = assign_splits(grown, splits, by="channel", fractions=(0.8, 0.1, 0.1), seed=seed)
    assert {name: later[name] for name in splits} == splits, "known units keep their split"


def test_splits_are_stratified() -> None:
    units = [Unit(recording_id=f"r{n:03}", channel=f"c{n}", category=f"k{n % 4}") for n in range(80)]
    splits = assign_splits(units, {}, by="channel", fractions=(0.8, 0.1, 0.1), seed=1)
    for category in range(4):
        own = [splits[unit.recording_id] for unit in units if unit.category == f"k{category}"]
        assert (own.count("dev"), own.count("test")) == (2, 2)


def test_rebroadcasts_stay_together() -> None:
    texts = [f"a comment that nobody writes twice {n}" for n in range(60)]
    other = [f"another chat altogether {n}" for n in range(60)]
    units = [
        Unit(recording_id="a", channel="x", category="k", shingles=shingles_of(texts)),
        Unit(recording_id="b", channel="y", category="k", shingles=shingles_of(texts[10:50])),
        Unit(recording_id="c", channel="z", category="k", shingles=shingles_of(other)),
        Unit(recording_id="d", channel="w", category="k", video_digest="same"),
        Unit(recording_id="e", channel="v", category="k", video_digest="same"),
    ]
    assert merge_units(units, "channel") == {"a": "a", "b": "a", "c": "c", "d": "d", "e": "d"}
    assert shingles_of(["lol"] * 100) == shingles_of([]), "short repeated comments prove nothing"


def test_validate_finds_what_is_wrong(tmp_path: Path, dummies: ModuleType) -> None:
    data = dummies.make_dataset(tmp_path / "w")
    path = data.paths("test")[0]
    table = pq.read_table(path)
    broken = table.set_column(6, "start_ms", pa.array([7] * table.num_rows, pa.int32()))
    pq.write_table(broken.slice(0, 5), path)
    with pytest.raises(Mismatch, match="was changed"):
        Dataset.open(tmp_path / "w")
    manifest = json.loads((data.folder / "dataset.json").read_text())
    for file in manifest["files"]:
        file["bytes"] = (data.folder / file["path"]).stat().st_size
    (data.folder / "dataset.json").write_text(json.dumps(manifest))
    failed = {finding.check for finding in validate_shards(tmp_path / "w") if not finding.ok}
    assert failed == {"file digests", "unique, ordered rows", "clip ids and times"}


def test_others_read_the_shards_without_this_package(tmp_path: Path, dummies: ModuleType) -> None:
    import duckdb
    import pandas as pd
    import polars as pl
    from datasets import load_dataset

    data = dummies.make_dataset(tmp_path / "w")
    files = [str(path) for path in data.paths("test")]
    frame = pd.read_parquet(files[0])
    assert len(frame) == 48
    assert frame["frames"][3][0].dtype == np.float16
    assert frame["context"][0][0]["text"].startswith("look at the")
    assert pl.read_parquet(files)["frame_ms"].list.len().to_list() == [30] + [40] * 23 + [30] + [40] * 23
    rows = (
        duckdb.read_parquet(f"{data.folder}/*/*.parquet").aggregate("split, count(*), max(len(frames))").order("split")
    )
    assert rows.fetchall() == [("dev", 48, 40), ("test", 48, 40), ("train", 96, 40)]
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 48
    assert len(loaded[0]["frames"][0]) == 8


def speak(workspace: Workspace, name: str, rows: list[tuple[int, int, str]]) -> None:
    columns = [list(values) for values in zip(*rows, strict=True)]
    write_parquet(
        pa.table(columns, schema=TRANSCRIPTS),
        workspace.transcripts_path(name),
        {"stamp": f"t-{rows}", "by": {"model": "tiny", "weights": "ab12"}},
    )


def test_each_clip_holds_the_speech_that_overlaps_its_window(workspace: Workspace) -> None:
    plain = build(workspace)
    spoken = [
        (0, 1_000, "first words"),
        (19_000, 21_000, "across the border"),
        (20_000, 20_500, "just before the window of the second clip"),
        (58_000, 62_000, "into the third"),
        (90_000, 200_000, "to the very end and past it"),
    ]
    speak(workspace, "r00", spoken)
    manifest = build(workspace)
    assert plain["provides"] == ["frames", "text_embeddings"] and "transcripts" not in plain
    assert manifest["provides"] == ["frames", "text_embeddings", "transcript"]
    assert manifest["transcripts"] == {
        "by": [{"model": "tiny", "weights": "ab12"}],
        "recordings": 1,
        "clips": 4,
        "segments": 3 + 3 + 1 + 1,
    }
    clips = {clip.clip_id: clip for clip in Dataset.open(workspace.root).clips()}
    texts = [
        [segment.text.split()[0] for segment in clips[f"r00_{start}"].transcript] for start in range(0, 120_000, 30_000)
    ]
    assert texts == [["first", "across", "just"], ["across", "just", "into"], ["into"], ["to"]]
    assert [s.text for s in view(clips["r00_0"]).transcript] == ["first words"], "what ends after now is not there"
    assert view(clips["r00_90000"]).transcript == ()
    assert not any(clip.transcript for clip in clips.values() if clip.recording_id != "r00")
    assert all(finding.ok for finding in validate_shards(workspace.root)), validate_shards(workspace.root)
    assert "weights ab12" in (workspace.shards_dir / "README.md").read_text()
    assert [n for n in manifest["recordings"] if manifest["recordings"][n] != plain["recordings"][n]] == ["r00"]


def test_without_transcripts_the_shards_are_what_they_were(workspace: Workspace) -> None:
    first = build(workspace)
    before = {path.name: path.read_bytes() for path in workspace.shards_dir.rglob("*") if path.is_file()}
    speak(workspace, "r00", [(0, 1_000, "words")])
    assert build(workspace)["digest"] != first["digest"]
    workspace.transcripts_path("r00").unlink()
    build(workspace)
    assert {p.name: p.read_bytes() for p in workspace.shards_dir.rglob("*") if p.is_file()} == before


def test_speech_out_of_its_window_is_found_by_validate(workspace: Workspace) -> None:
    build(workspace)
    clips = list(Dataset.open(workspace.root).clips("test"))
    clips[0] = dataclasses.replace(clips[0], transcript=(Segment(start_ms=500_000, end_ms=501_000, text="x"),))
    path = Dataset.open(workspace.root).paths("test")[0]
    manifest = json.loads((workspace.shards_dir / "dataset.json").read_text())
    pq.write_table(table_of(clips, DIM), path)
    (file,) = (f for f in manifest["files"] if f["split"] == "test")
    file |= {"bytes": path.stat().st_size, "sha256": digest_file(path)}
    manifest["provides"].append("transcript")
    (workspace.shards_dir / "dataset.json").write_text(json.dumps(manifest))
    (wrong,) = (found for found in validate_shards(workspace.root) if not found.ok)
    assert wrong.check == "speech in its window"
