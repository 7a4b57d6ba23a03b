"""What the user names becomes VODs: forms of targets, lists of them, channels and collections of the loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.targets import Target, Vod, parse_target, read_targets, resolve
from videochat.errors import UsageError, VideochatError


@pytest.mark.parametrize(
    ("text", "kind", "platform", "identity"),
    [
        ("1234567890", "vod", "twitch", "1234567890"),
        ("v1234567890", "vod", "twitch", "1234567890"),
        ("twitch-1234567890", "vod", "twitch", "1234567890"),
        ("https://www.twitch.tv/videos/1234567890?t=5m", "vod", "twitch", "1234567890"),
        ("twitch.tv/videos/12", "vod", "twitch", "12"),
        ("http://m.twitch.tv/someone/v/12", "vod", "twitch", "12"),
        ("https://player.twitch.tv/?video=v12", "vod", "twitch", "12"),
        ("https://www.twitch.tv/collections/aB-1_c", "collection", "twitch", "aB-1_c"),
        ("Some_One", "channel", "twitch", "some_one"),
        ("https://www.twitch.tv/Some_One/videos?filter=archives", "channel", "twitch", "some_one"),
        ("https://www.youtube.com/watch?v=abcdefghi-k&t=3", "vod", "youtube", "abcdefghi-k"),
        ("https://youtu.be/abcdefghijk", "vod", "youtube", "abcdefghijk"),
        ("https://www.youtube.com/live/abcdefghijk", "vod", "youtube", "abcdefghijk"),
    ],
)
def test_forms(text: str, kind: str, platform: str, identity: str) -> None:
    assert parse_target(text) == Target(kind=kind, platform=platform, id=identity)


@pytest.mark.parametrize(
    "text",
    ["", "12", "https://example.com/videos/12", "https://www.twitch.tv/videos/x", "https://www.twitch.tv/a/b/c",
     "ftp://www.twitch.tv/videos/12", "https://youtu.be/short", "https://www.twitch.tv/directory", "--help", "no such"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no target"):
        parse_target(text)


def test_lists(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("v3000000\n")
    (tmp_path / "list.txt").write_text("# mine\n1000000  # the first\n\nsomebody\nmore.txt\n")
    found = read_targets(["2000000", str(tmp_path / "list.txt")])
    assert [target.id for target in found] == ["2000000", "1000000", "somebody", "3000000"]
    (tmp_path / "list.txt").write_text("1000000\nhttps://example.com/\n")
    with pytest.raises(UsageError, match=r"list\.txt: .*no target"):
        read_targets([str(tmp_path / "list.txt")])


def test_a_list_that_names_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("list.txt\n")
    with pytest.raises(UsageError, match="lists of lists"):
        read_targets([str(path)])


def test_channels_and_collections(twitch: Any) -> None:
    for number in range(130):  # more than a page of 100
        twitch.add_vod(
            twitch.Vod(id=str(1_000_000 + number), created_at=f"2026-03-01T{number // 60:02}:{number % 60:02}:00Z")
        )
    twitch.add_vod(twitch.Vod(id="99", channel="other"))
    twitch.add_collection(twitch.Collection(id="aB-1_c", vods=["1000005", "99"]))
    channel = list(resolve([parse_target("streamer")]))
    assert [vod.id for vod in channel] == [str(1_000_129 - number) for number in range(130)]
    assert {vod.channel for vod in channel} == {"streamer"}
    listed = list(resolve([parse_target("1000005"), parse_target("https://www.twitch.tv/collections/aB-1_c")]))
    assert listed == [Vod(platform="twitch", id="1000005"), Vod(platform="twitch", id="99")], "each once"


@pytest.mark.parametrize("text", ["nobody_here", "https://www.twitch.tv/collections/nothing"])
def test_what_is_not_there_is_said(twitch: Any, text: str) -> None:
    with pytest.raises(VideochatError, match="there is no such"):
        list(resolve([parse_target(text)]))
