"""Published data sets of others: synthetic files of the same form become recordings that both protocols rank."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videochat import api
from videochat.build import build
from videochat.cleaning.run import clean
from videochat.dataset import Dataset
from videochat.errors import MissingInput, UsageError
from videochat.sources.published.importing import STREAMS, import_published
from videochat.sources.published.livechat import read as read_livechat
from videochat.sources.published.timed import joined, read_lines
from videochat.workspace import Workspace

WORDS = [
    "boss",
    "fight",
    "close",
    "healing",
    "potion",
    "before",
    "next",
    "raid",
    "song",
    "slaps",
    "hard",
    "now",
    "what",
]


def said(generator: random.Random, count: int) -> list[str]:
    return [" ".join(generator.sample(WORDS, 5)) + f" {generator.randrange(100)}" for _ in range(count)]


def livechat_rows(*, num_videos: int = 12, num_clips: int = 20) -> list[dict[str, Any]]:
    generator = random.Random(0)
    rows = [
        {
            "id_video": f"17000000{video:02d}",
            "start": start,
            "offset_start": 30 * clip,
            "chat_context": said(generator, 4),
            "responses": said(generator, 3),
            "response_index": 0,
            "transcript_audio": "so chat what do we do" if clip % 2 else "",
            "context_emotes": [{"425618": "LUL"}],
            "responses_emotes": [],
            "category": "27471",
            "path_to_video": f"27471/17000000{video:02d}_{start}.mp4",
        }
        for video in range(num_videos)
        for start in (600, 7200)
        for clip in range(num_clips)
    ]
    generator.shuffle(rows)
    return rows


def write_features(folder: Path, rows: list[dict[str, Any]], dim: int = 8) -> None:
    generator = np.random.default_rng(0)
    (folder / "27471").mkdir(parents=True)
    for row in rows:
        name = f"{row['id_video']}_{row['start']}_{row['offset_start']}.npy"
        np.save(folder / "27471" / name, generator.standard_normal((30, dim)).astype(np.float32))


def workspace_at(path: Path) -> Workspace:
    return Workspace.open(path, create=True, split_fractions=(0.5, 0.25, 0.25))


def test_livechat_clips_lie_where_their_video_had_them(tmp_path: Path) -> None:
    rows = livechat_rows(num_videos=1, num_clips=3)
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows))
    write_features(tmp_path / "features", rows)
    oddities: Counter[str] = Counter()
    (stream,) = read_livechat([path], tmp_path / "features", oddities)
    assert not oddities
    assert stream.category == "Minecraft"
    extracts = stream.facts["extracts"]
    assert [extract["start_s"] for extract in extracts] == [600, 7200]
    assert extracts[1]["at_ms"] == (3 + 1) * 30_000  # three clips, and a gap of one
    assert stream.duration_ms == 7 * 30_000
    by_text = {text: ms for ms, text in stream.comments}
    for row in rows:
        begin = next(e["at_ms"] for e in extracts if e["start_s"] == row["start"]) + row["offset_start"] * 1000
        assert all(begin <= by_text[text] < begin + 20_000 for text in row["chat_context"])
        assert all(begin + 20_000 <= by_text[text] < begin + 30_000 for text in row["responses"])
    times = np.concatenate([piece for _, piece in stream.frames])
    assert len(times) == 6 * 30
    assert (np.diff(times) > 0).all()


def test_livechat_through_the_whole_chain_under_both_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videochat.engines.local.available_cores", lambda: 1)  # starting processes would take longest
    rows = livechat_rows()
    for name, part in (("train.json", rows[: len(rows) // 2]), ("test.json", rows[len(rows) // 2 :])):
        (tmp_path / name).write_text(json.dumps(part))
    write_features(tmp_path / "features", rows)
    workspace = workspace_at(tmp_path / "data")
    files = [tmp_path / "train.json", tmp_path / "test.json"]
    with workspace.lock():
        summary, facts = import_published(workspace, "livechat", files, features=tmp_path / "features")
        again, _ = import_published(workspace, "livechat", files, features=tmp_path / "features")
    assert (summary.count("ok"), again.count("current")) == (12, 12)
    assert facts["oddities"] == {}
    recording = workspace.recordings()[0]
    assert recording.recording_id == "livechat-1700000000"
    assert recording.origin["published"]["comment_times"].startswith("unknown")
    assert not list((tmp_path / "data").glob(".published*"))
    clean(workspace)
    build(workspace, text_only=True)
    dataset = Dataset.open(workspace.root)
    assert "transcript" in dataset.provides
    splits = {clip.recording_id: clip.split for clip in dataset.clips()}
    assert set(splits.values()) == {"train", "dev", "test"}
    for protocol in ("v1", "classic"):
        run = api.evaluate("tfidf", dataset, api.candidates(dataset, protocol))
        assert run.results["official"][0]["value"] > 0


def test_livechat_oddities_are_counted_and_nothing_outside_of_the_folder_is_read(tmp_path: Path) -> None:
    rows = livechat_rows(num_videos=1, num_clips=2)
    rows += [dict(rows[0]), {"id_video": "x"}, {**rows[0], "offset_start": 45}, "text"]  # type: ignore[list-item]
    rows.append({**rows[0], "id_video": "../../etc"})
    rows.append({**rows[0], "id_video": "42", "category": "../..", "responses": ["", 3, "fine here"]})
    path = tmp_path / "all.json.gz"
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    (tmp_path / "features").mkdir()
    oddities: Counter[str] = Counter()
    streams = list(read_livechat([path], tmp_path / "features", oddities))
    assert oddities == {
        "clips that come twice": 1,
        "clips without a usable id_video, start or offset_start": 2,
        "clips off the grid of 30 s": 1,
        "rows that are no objects": 1,
        "comments that are empty or no text": 2,
        "feature files missing": 5,
    }
    assert [stream.platform_id for stream in streams] == [rows[0]["id_video"], "42"]
    workspace = workspace_at(tmp_path / "data")
    with workspace.lock():
        import_published(workspace, "livechat", [path])
    assert all(".." not in recording.recording_id for recording in workspace.recordings())
    assert {child.name for child in tmp_path.iterdir()} == {"all.json.gz", "features", "data"}


def test_livebot_lines_and_chinese_words(tmp_path: Path) -> None:
    lines = [
        {"video": 3, "time": 7, "comment": "前方 高能 预警"},
        {"video": 3, "time": 7, "comment": "哈哈 哈"},
        {"video": 3, "time": 7, "comment": "哈哈 哈"},
        {"video": 3, "time": 9, "comment": ["a b", "c 哈"], "context": "前方 高能 <&&&> x"},
        {"video": 4, "time": -1, "comment": "x"},
        {"video": "../4", "time": 1, "comment": "x"},
    ]
    path = tmp_path / "train.json"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    np.save(tmp_path / "3.npy", np.ones((20, 4), np.float32))
    oddities: Counter[str] = Counter()
    (stream,) = read_lines([path], tmp_path, oddities)
    assert stream.comments == [
        (7000, "前方高能预警"),
        (7000, "哈哈哈"),
        (7000, "哈哈哈"),
        (9000, "a b"),
        (9000, "c 哈"),
    ]
    assert stream.duration_ms == 20_000
    assert stream.frames[0][1].tolist() == list(range(0, 20_000, 1000))
    assert oddities == {"rows without a usable video or time": 2}
    assert joined("GG 太 强 了 nice one") == "GG 太强了 nice one"


def test_videoic_as_published_and_as_processed(tmp_path: Path) -> None:
    (tmp_path / "data" / "comments").mkdir(parents=True)
    (tmp_path / "data" / "comments" / "10582565.json").write_text(
        json.dumps({"3": ["好 看", ""], "x": ["y"], "1": ["嗯 嗯"]})
    )
    info = {"10582565": {"cid": 1, "title": "t", "duration": 200, "v_class": "food"}}
    (tmp_path / "data" / "info.json").write_text(json.dumps(info))
    oddities: Counter[str] = Counter()
    (stream,) = STREAMS["videoic"].read([tmp_path / "data"], None, oddities)
    assert (stream.category, stream.duration_ms) == ("food", 200_000)
    assert stream.comments == [(1000, "嗯嗯"), (3000, "好看")]
    assert oddities["context seconds that are no numbers"] == 1
    processed = [
        {"video": "5", "time": 10, "comment": "c10", "context": {"9": ["c9", "c9"], "11": ["c11"]}},
        {"video": "5", "time": 9, "comment": "c9", "context": {"10": ["c10"], "8": []}},
    ]
    path = tmp_path / "test.json"
    path.write_text("\n".join(map(json.dumps, processed)))
    (stream,) = STREAMS["videoic"].read([path], None, Counter())
    assert stream.comments == [(9000, "c9"), (9000, "c9"), (10_000, "c10"), (11_000, "c11")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[{", "ends|no JSON|not valid"),
        (b'{"video": 1,\n', "no JSON"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"[]", "no video"),
    ],
)
def test_broken_files_are_one_clear_error(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    workspace = workspace_at(tmp_path / "data")
    with workspace.lock(), pytest.raises((UsageError, MissingInput), match=why):
        import_published(workspace, "livebot", [path])
    assert not list((tmp_path / "data").glob(".published*"))


def test_pickled_features_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"video": 3, "time": 7, "comment": "a b"}))
    np.save(tmp_path / "3.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    oddities: Counter[str] = Counter()
    (stream,) = read_lines([path], tmp_path, oddities)
    assert stream.frames == []
    assert oddities == {"feature files that are no (frames, D) of floats": 1}
