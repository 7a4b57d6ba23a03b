"""Real chats and real features: every message of every file, counted a second time without this package's readers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from videochat.sources.local import ImportItem, import_recordings
from videochat.workspace import Workspace

pytestmark = pytest.mark.fixtures


def load(path: Path) -> Any:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
        return json.load(handle)


@pytest.mark.slow
def test_all_twitch_chats(real: Path, tmp_path: Path):
    paths = sorted((real / "chat/gql").glob("*.comments.json.gz"))
    nodes = {path.name: load(path) for path in paths}
    for name in ("twitch_v5_rechat.json.gz", "twitchdownloader.json.gz"):
        paths.append(real / "chat" / name)
        nodes[name] = load(paths[-1])["comments"]
    assert len(paths) == 31
    workspace = Workspace.open(tmp_path / "data", create=True)
    items = [ImportItem(chat=path, category="Art", channel=path.name[:2]) for path in paths]
    summary = import_recordings(workspace, items, num_workers=2)
    assert summary.failed == []
    recordings = {r.origin["source"]["chat"]: r for r in workspace.recordings()}
    assert {name: r.num_messages for name, r in recordings.items()} == {name: len(n) for name, n in nodes.items()}
    assert summary.total("messages") == sum(map(len, nodes.values())) == 93_965 + 3_090 + 1_843
    for name, recording in recordings.items():
        alone = [node.get("commenter") for node in nodes[name]].count(None)
        assert recording.origin["oddities"].get("null-commenter", 0) == alone
        raw = gzip.decompress((workspace.raw_dir(recording.recording_id) / "chat.jsonl.gz").read_bytes())
        rows = [json.loads(line) for line in raw.splitlines()]
        ids = [node.get("id") or node["_id"] for node in nodes[name]]
        assert [row["id"] for row in rows] == ids
        texts = [
            "".join(part["text"] for part in node["message"]["fragments"] or []) or node["message"].get("body", "")
            for node in nodes[name]
        ]
        assert ["".join(text for text, _ in row["fragments"]) for row in rows] == texts
        offsets = [node.get("contentOffsetSeconds", node.get("content_offset_seconds")) for node in nodes[name]]
        assert [row["offset_ms"] for row in rows] == [round(offset * 1000) for offset in offsets]
        if "gql" not in name and name.endswith(".comments.json.gz"):
            past = sum(offset * 1000 >= recording.duration_ms for offset in offsets)
            assert recording.origin["oddities"].get("past-end", 0) == past
    late = recordings["ne7545a5cb.comments.json.gz"]
    vod = load(real / "chat/gql/ne7545a5cb.vod.json")
    assert (late.recording_id, late.duration_ms) == (f"twitch-{vod['vod_id']}", vod["duration"] * 1000)
    assert late.origin["oddities"]["past-end"] > 0


def test_all_danmaku(real: Path, tmp_path: Path):
    folder = real / "chat/danmaku/test"
    counts = {path.name: len(ElementTree.parse(path).getroot().findall("d")) for path in folder.glob("*.xml")}
    for name in ("ACFun.json", "ac940133.json"):
        found = load(folder / name)
        counts[name] = len(found) if isinstance(found[0], dict) else sum(map(len, found))
    workspace = Workspace.open(tmp_path / "data", create=True)
    items = [ImportItem(chat=folder / name, category="Danmaku", language="zh") for name in sorted(counts)]
    summary = import_recordings(workspace, items, num_workers=1)
    assert summary.failed == []
    assert {r.origin["source"]["chat"]: r.num_messages for r in workspace.recordings()} == counts
    assert {r.platform for r in workspace.recordings()} == {"bilibili", "acfun"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("no_closing.xml", "mismatched tag"), ("syntax_error.xml", "not well-formed"), ("xss.xml", "<img>")],
)
def test_the_invalid_danmaku(real: Path, tmp_path: Path, name: str, words: str):
    item = ImportItem(chat=real / "chat/danmaku/test/invalid" / name, category="Danmaku")
    (attempt,) = import_recordings(Workspace.open(tmp_path / "d", create=True), [item], num_workers=1).attempts
    assert attempt.error_class == "invalid-xml"
    assert attempt.reason is not None
    assert words in attempt.reason


def test_real_features_without_a_video(real: Path, tmp_path: Path):
    folder = real / "vectors/clip_features"
    stem = "clip__v_GGSY1Qvo990_ViT-B_32_128_None"
    chat = real / "chat/gql/no6a2ab631.comments.json.gz"  # of another stream: the pairing is artificial
    item = ImportItem(
        chat=chat,
        category="Art",
        features=folder / f"{stem}_clip.npy",
        feature_times=folder / f"{stem}_timestamps_ms.npy",
        features_clip="ViT-B-32:openai",
    )
    workspace = Workspace.open(tmp_path / "data", create=True)
    assert import_recordings(workspace, [item], num_workers=1).failed == []
    (recording,) = workspace.recordings()
    stored = np.load(workspace.raw_dir(recording.recording_id) / "features.npz")
    vectors, times = np.load(item.features), np.load(item.feature_times)
    assert stored["frame_ms"].tolist() == list(range(0, 18_001, 1000))
    for time, embedding in zip(stored["frame_ms"], stored["embeddings"], strict=True):
        expected = vectors[np.flatnonzero(times <= time)[-1]].astype(np.float32)
        np.testing.assert_allclose(embedding, expected / np.linalg.norm(expected), atol=1e-3)
    assert recording.origin["features_model"] == "ViT-B-32:openai"
