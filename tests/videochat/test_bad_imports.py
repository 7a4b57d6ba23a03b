"""Chats and videos that are none, or odd: said at import, a row with its reason, and mended by importing again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    path = tmp_path / "chat.csv"
    path.write_text("time,author,text\n1,a,hello\n-5,b,early\nNaN,c,never\n1e400,d,never\n5,e,bye\n")
    return path


def picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(path)


def test_what_is_odd_about_a_chat_is_shown(tmp_path: Path, chat: Path, run: Run) -> None:
    code, out, _ = run("import", "--chat", chat, "--category", "X", "--workers", 1, "--data", tmp_path / "w")
    assert code == 0
    assert "3 messages" in out
    assert "2 malformed-message" in out
    assert "1 negative-offset" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--offset-ms 99999999999999", "offset_ms is 99999999999999"),
        ("--offset-ms -99999999999", "offset_ms is -99999999999"),
        ("--duration-ms 99999999999999", "duration_ms is 99999999999999"),
        ("--language klingon", "language is 'klingon'"),
    ],
)
def test_numbers_that_fit_no_clock(tmp_path: Path, chat: Path, run: Run, options: str, said: str) -> None:
    code, _, err = run("import", "--chat", chat, "--category", "X", *options.split(), "--data", tmp_path / "w")
    assert code == 2
    assert said in err


def test_an_info_file_that_says_two_months(tmp_path: Path, chat: Path, run: Run) -> None:
    info = tmp_path / "info.json"
    info.write_text(json.dumps({"id": "v1", "extractor_key": "TwitchVod", "duration": 5e6}))
    options = ("--info", info, "--workers", 1, "--data", tmp_path / "w")
    code, out, _ = run("import", "--chat", chat, "--category", "X", *options)
    assert code == 3
    assert "impossible-duration" in out


def test_a_chat_without_messages_is_not_called_a_live_capture(tmp_path: Path, chat: Path, run: Run) -> None:
    chat.write_text("time,author,text\n")
    code, out, err = run("import", "--chat", chat, "--category", "X", "--workers", 1, "--data", tmp_path / "w")
    assert code == 3
    assert "holds no message (fetch the chat again" in out
    assert "\nfix: mend what failed" in err


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_chat(tmp_path: Path, device: str, run: Run) -> None:
    if not Path(device).exists():
        pytest.skip(f"{device} is not here")
    code, out, _ = run("import", "--chat", device, "--category", "X", "--workers", 1, "--data", tmp_path / "w")
    assert code == 3
    assert "not-a-file" in out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", picture, "is a picture, not a video"),
        ("a.jpg", picture, "is a picture, not a video"),
        ("a.mp4", b"hello world", "cannot be opened as a video"),
        ("b.txt", b"hello world\n" * 400, "is text, not a video"),
        ("a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{made}\n", "is a playlist, not a video"),
        ("a.txt", b"ffconcat version 1.0\nfile {name}\n", "is a playlist, not a video"),
    ],
)
def test_what_is_no_video_is_said_at_import_and_refused_by_features(
    tmp_path: Path, chat: Path, made: Path, run: Run, name: str, content: object, said: str
) -> None:
    path = tmp_path / name
    (video,) = made.glob("raw/*/video.mp4")
    shutil.copy(video, tmp_path / "real.mp4")
    if isinstance(content, bytes):
        path.write_bytes(content.replace(b"{made}", bytes(video)).replace(b"{name}", b"real.mp4"))
    else:
        picture(path)
    options = ("--workers", 1, "--data", tmp_path / "w")
    code, _, err = run("import", "--chat", chat, "--video", path, "--category", "X", *options)
    assert code == 0
    assert said in err
    assert "build-features will refuse it" in err
    assert run("clean", *options)[0] == 0
    code, out, err = run("build-features", "--clip", "sample", "--device", "cpu", *options)
    assert code == 3
    assert f"unreadable-video: video.{name[2:]} " in out
    assert "videochat build-features --retry failed" in err


@pytest.mark.parametrize("target", ["chat.jsonl.gz", "video.mp4", "recording.json"])
def test_importing_again_mends_damaged_raw_files(tmp_path: Path, chat: Path, made: Path, run: Run, target: str) -> None:
    (simulated,) = made.glob("raw/*/video.mp4")
    video = shutil.copy(simulated, tmp_path / "v.mp4")
    root = tmp_path / "w"
    line = ("import", "--chat", chat, "--video", video, "--category", "X", "--workers", 1, "--data", root)
    assert run(*line)[0] == 0
    (path,) = root.glob(f"raw/*/{target}")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-10])
    code, out, err = run(*line)
    if target == "recording.json":
        assert (code, f"remove {path.parent}" in err) == (1, True)
        shutil.rmtree(path.parent)
        code, out, err = run(*line)
    assert (code, "1 done" in out) == (0, True)
    assert path.read_bytes() == whole
    assert "1 already current" in run(*line)[1]
