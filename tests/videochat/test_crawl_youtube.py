"""A YouTube live replay through `crawl`: the real yt-dlp for facts and video, the real chat-downloader for chat."""

from __future__ import annotations

import gzip
import json
import re
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from videochat.crawl.crawl import crawl
from videochat.crawl.jobs import CrawlOptions
from videochat.crawl.limits import LIMITS, RATES, Rate
from videochat.crawl.targets import read_targets
from videochat.frames.video import probe
from videochat.workspace import Workspace

pytestmark = pytest.mark.slow

HOST = "www.youtube.com"
NAME = "abcdefghijk"
URL = f"https://{HOST}/watch?v={NAME}"
PAGE = 50
LENGTH_S = 120


class LoopbackYouTube:
    """The watch page, the player's answer, one H.264 file in byte ranges, and the replay's chat in pages."""

    def __init__(self, response: Any, video: bytes) -> None:
        self.response = response
        self.video = video
        self.offsets_s = [index // 2 for index in range(2 * LENGTH_S)]
        self.asked: list[str] = []

    def serve(self, request: Any) -> Any:
        self.asked.append(request.path)
        if request.path == "/watch":
            return self.html({"contents": self.watch()})
        if request.path == "/live_chat_replay":
            return self.html(self.page(0))
        if request.path.endswith("/get_live_chat_replay"):
            return self.response.of(self.page(int(json.loads(request.body)["continuation"].removeprefix("page"))))
        if request.path == "/youtubei/v1/player":
            return self.response.of(self.player())
        if request.path == "/videoplayback":
            return self.bytes(request.headers.get("range", ""))
        return self.response.of({}, 404)

    def player(self) -> dict[str, Any]:
        details = {
            "videoId": NAME, "title": "A stream", "lengthSeconds": str(LENGTH_S), "channelId": "UC" + "a" * 22,
            "author": "Somebody", "isLiveContent": True, "viewCount": "1", "shortDescription": "",
        }  # fmt: skip
        offered = {
            "itag": 18, "url": f"https://{HOST}/videoplayback?expire=9999999999", "width": 640, "height": 360,
            "mimeType": 'video/mp4; codecs="avc1.42001E, mp4a.40.2"', "contentLength": str(len(self.video)),
            "bitrate": 500_000, "fps": 10, "qualityLabel": "360p",
        }  # fmt: skip
        facts = {"category": "Gaming", "uploadDate": "2026-03-01T18:00:00Z"}
        return {
            "playabilityStatus": {"status": "OK"},
            "videoDetails": details,
            "streamingData": {"formats": [offered], "expiresInSeconds": "21540"},
            "microformat": {"playerMicroformatRenderer": facts},
        }

    def bytes(self, asked: str) -> Any:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        first, end = (int(found[1]), int(found[2] or len(self.video) - 1) + 1) if found else (0, len(self.video))
        end = min(end, len(self.video))
        headers = {"Content-Range": f"bytes {first}-{end - 1}/{len(self.video)}"} if found else {}
        return self.response(206 if found else 200, self.video[first:end], "video/mp4", headers)

    def html(self, data: dict[str, Any]) -> Any:
        config = {"INNERTUBE_API_KEY": "key", "INNERTUBE_CONTEXT": {"client": {}}, "DATASYNC_ID": "a||"}
        text = (
            f"<script>ytcfg.set({json.dumps(config)});</script>"
            f"<script>var ytInitialPlayerResponse = {json.dumps(self.player())};</script>"
            f"<script>var ytInitialData = {json.dumps(data)};</script>"
        )
        return self.response(200, text.encode(), "text/html; charset=utf-8")

    def watch(self) -> dict[str, Any]:
        items = [
            {"title": title, "continuation": {"reloadContinuationData": {"continuation": "page0"}}}
            for title in ("Top chat replay", "Live chat replay")
        ]
        menu = {"viewSelector": {"sortFilterSubMenuRenderer": {"subMenuItems": items}}}
        bar = {"liveChatRenderer": {"header": {"liveChatHeaderRenderer": menu}}}
        return {"twoColumnWatchNextResults": {"conversationBar": bar}}

    def page(self, number: int) -> dict[str, Any]:
        actions = []
        for index in range(number * PAGE, min((number + 1) * PAGE, len(self.offsets_s))):
            second = self.offsets_s[index]
            renderer = {
                "message": {"runs": [{"text": f"message {index}"}]},
                "authorName": {"simpleText": f"viewer {index % 7}"},
                "authorExternalChannelId": f"UC{index % 7}",
                "id": f"m{index}",
                "timestampUsec": "1772388001000000",
                "timestampText": {"simpleText": f"{second // 60}:{second % 60:02d}"},
            }
            item = {"addChatItemAction": {"item": {"liveChatTextMessageRenderer": renderer}}}
            actions.append({"replayChatItemAction": {"actions": [item], "videoOffsetTimeMsec": str(second * 1000)}})
        chat: dict[str, Any] = {"actions": actions}
        if (number + 1) * PAGE < len(self.offsets_s):
            chat["continuations"] = [{"liveChatReplayContinuationData": {"continuation": f"page{number + 1}"}}]
        return {"continuationContents": {"liveChatContinuation": chat}}


@pytest.fixture
def youtube(
    loopback: tuple[ModuleType, Any, Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoopbackYouTube]:
    import trustme

    module, media, _ = loopback

    class Authority:
        def __init__(self) -> None:
            made = trustme.CA()
            self.pem = made.cert_pem.bytes()
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.issue_cert(HOST).configure_cert(self.context)

    service = module.LoopbackTwitch(media, Authority(), tmp_path_factory.mktemp("youtube"))
    response = sys.modules["loopback_twitch.messages"].Response
    site = LoopbackYouTube(response, media.base(None, 360, LENGTH_S).read_bytes())
    service.kind_of = lambda host: "youtube" if host == HOST else ""
    service.serve = site.serve
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    LIMITS.configure({name: Rate(per_second=1000, burst=1000) for name in RATES})
    yield site
    LIMITS.configure(RATES)
    service.stop()
    assert not service.crashes and not service.foreign


def test_a_replay_comes_with_its_chat(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "data", create=True)
    summary = crawl(workspace, read_targets([URL]), CrawlOptions(affirmed=True))
    assert [(a.recording_id, a.status, a.reason) for a in summary.attempts] == [(f"youtube-{NAME}", "ok", None)]
    (recording,) = workspace.recordings()
    assert (recording.platform, recording.platform_id, recording.category) == ("youtube", NAME, "Gaming")
    folder = workspace.raw_dir(recording.recording_id)
    assert abs(probe(folder / str(recording.video)).duration_ms - 1000 * LENGTH_S) < 300
    with gzip.open(folder / recording.chat) as handle:
        rows = [json.loads(line) for line in handle]
    assert [row["id"] for row in rows] == [f"m{index}" for index in range(2 * LENGTH_S)]
    assert [row["offset_ms"] for row in rows] == [1000 * second for second in youtube.offsets_s]
    before = len(youtube.asked)
    assert crawl(workspace, read_targets([f"https://youtu.be/{NAME}"]), CrawlOptions()).count("current") == 1
    assert len(youtube.asked) == before
