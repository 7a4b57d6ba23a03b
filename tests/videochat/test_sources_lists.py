"""Lists of many recordings, and what an item refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from videochat.errors import UsageError
from videochat.sources.local import ImportItem, read_list


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv(tmp_path: Path):
    text = (
        "\ufeffchat, video ,category,offset_ms,duration_ms,channel\n"
        'a/x.json,v.mp4,"Just, Chatting",-500,,ann\n\nb.json,,Art,,60000.0,\n'
    )
    first, second = read_list(write(tmp_path / "l.csv", text))
    assert first == ImportItem(
        chat=tmp_path / "a/x.json",
        video=tmp_path / "v.mp4",
        category="Just, Chatting",
        offset_ms=-500,
        channel="ann",
    )
    assert second == ImportItem(chat=tmp_path / "b.json", category="Art", duration_ms=60_000)


def test_jsonl(tmp_path: Path):
    rows = [
        {"chat": "/abs/x.json", "category": "Art", "platform": "twitch", "platform_id": 77, "video": None},
        {"chat": "b.json", "category": "Art", "features": "f.npy", "features_clip": "X:y", "feature_step_ms": 33.3},
    ]
    first, second = read_list(write(tmp_path / "l", "\n".join(map(json.dumps, rows)) + "\n\n"))
    assert (first.chat, first.platform_id, first.recording_id) == (Path("/abs/x.json"), "77", "twitch-77")
    assert (second.features, second.feature_step_ms) == (tmp_path / "f.npy", 33.3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chat,categry\nx,Art\n", ["line 1", "'categry'", "did you mean 'category'"]),
        ("chat,category\nx,Art\ny\n", ["line 3", "2 fields"]),
        ("chat,category\nx,Art,z\n", ["line 2", "2 fields"]),
        ("chat,category\nx,Art\ny,\n", ["line 3", "category is missing"]),
        ("chat,category,offset_ms\nx,Art,soon\n", ["line 2", "offset_ms", "'soon'"]),
        ("chat,category,duration_ms\nx,Art,0\n", ["line 2", "duration_ms"]),
        ("chat,category,duration_ms\nx,Art,1e400\n", ["line 2", "duration_ms"]),
        ("chat,category,features\nx,Art,f.npy\n", ["line 2", "features_clip"]),
        ('chat,category\n"x,Art\n', ["l.csv", "line"]),
        ("chat,category\n", ["no recordings"]),
        ("", ["no recordings"]),
        ('{"chat": "x", "category": "Art"}\n{"chat": "x"}\n', ["line 2", "category is missing"]),
        ('{"chat": "x", "category": "Art"}\n{"chat"\n', ["line 2", "not JSON"]),
        ('{"chat": "x", "category": "Art"}\n[1]\n', ["line 2", "an object"]),
        ('{"chat": "x", "category": "Art", "vidoe": "v"}\n', ["line 1", "did you mean 'video'"]),
        ('{"chat": "x", "category": ["Art"]}\n', ["line 1", "category"]),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, text: str, words: list[str]):
    with pytest.raises(UsageError) as caught:
        read_list(write(tmp_path / "l.csv", text))
    for word in words:
        assert word in str(caught.value)


def test_no_list(tmp_path: Path):
    with pytest.raises(UsageError, match="no list"):
        read_list(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="folder"):
        read_list(tmp_path)
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_list(tmp_path / "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"category": " "},
        {"features": Path("f.npy")},
        {"features_clip": "X:y"},
        {"feature_times": Path("t.npy")},
        {"features": Path("f.npy"), "features_clip": "X:y", "feature_step_ms": 0.0},
        {"duration_ms": -5},
    ],
)
def test_an_item_is_checked_when_it_is_made(wrong: dict[str, Any]):
    with pytest.raises(UsageError):
        ImportItem(**({"chat": Path("c.json"), "category": "Art"} | wrong))
