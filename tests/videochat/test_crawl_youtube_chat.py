"""YouTube replays by the real chat-downloader against a loopback YouTube: whole, loud when cut off, quiet when done."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from videochat.crawl.chat_audit import audit_chat
from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_chat import read_pages
from videochat.crawl.twitch_graphql import Retry
from videochat.crawl.youtube_chat import fetch_youtube_chat
from videochat.errors import BadRecording
from videochat.sources.chat_store import store_chat
from videochat.sources.formats import Notes

HOST = "www.youtube.com"
URL = f"https://{HOST}/watch?v=abcdefghijk"
HASTY = Retry(max_attempts=3, first_wait_s=0.01)
PAGE = 20


class LoopbackYouTube:
    """What chat-downloader asks a replay for: the watch page, the first chat page, continuations."""

    def __init__(self, response: Any, offsets_s: list[int]) -> None:
        self.response = response
        self.offsets_s = offsets_s
        self.status = "past"
        self.playability: dict[str, Any] = {}
        self.refuse: dict[int, tuple[int, dict[str, str]]] = {}  # page -> (status, headers), once each
        self.refuse_always = False
        self.num_pages = 0

    def serve(self, request: Any) -> Any:
        if request.path == "/watch":
            return self.html({"contents": self.watch()}, self.playability)
        if request.path == "/live_chat_replay":
            return self.html(self.page(0))
        body = json.loads(request.body)
        number = int(body["continuation"].removeprefix("page"))
        if number in self.refuse:
            status, headers = self.refuse[number] if self.refuse_always else self.refuse.pop(number)
            return self.response.of({"error": {"code": status, "message": "no"}}, status, **headers)
        return self.response.of(self.page(number))

    def html(self, data: dict[str, Any], player: dict[str, Any] | None = None) -> Any:
        live = {"isLive": True} if self.status == "live" else {}
        info = {"videoDetails": {"title": "A stream", "isLiveContent": True, "lengthSeconds": "600", **live}}
        config = {"INNERTUBE_API_KEY": "key", "INNERTUBE_CONTEXT": {"client": {}}, "DATASYNC_ID": "a||"}
        text = (
            f"<script>ytcfg.set({json.dumps(config)});</script>"
            f"<script>var ytInitialPlayerResponse = {json.dumps(info | (player or {}))};</script>"
            f"<script>var ytInitialData = {json.dumps(data)};</script>"
        )
        return self.response(200, text.encode(), "text/html; charset=utf-8")

    def watch(self) -> dict[str, Any]:
        if self.playability or (not self.offsets_s and self.status == "none"):
            return {"twoColumnWatchNextResults": {}}
        items = [
            {"title": title, "continuation": {"reloadContinuationData": {"continuation": "page0"}}}
            for title in ("Top chat replay", "Live chat replay")
        ]
        menu = {"viewSelector": {"sortFilterSubMenuRenderer": {"subMenuItems": items}}}
        bar = {"liveChatRenderer": {"header": {"liveChatHeaderRenderer": menu}}}
        return {"twoColumnWatchNextResults": {"conversationBar": bar}}

    def page(self, number: int) -> dict[str, Any]:
        self.num_pages += 1
        actions = []
        for index in range(number * PAGE, min((number + 1) * PAGE, len(self.offsets_s))):
            renderer = {
                "message": {"runs": [{"text": f"message {index}"}]},
                "authorName": {"simpleText": f"viewer {index % 7}"},
                "authorExternalChannelId": f"UC{index % 7}",
                "id": f"m{index}",
                "timestampUsec": "1772388001000000",
                "timestampText": {"simpleText": f"{self.offsets_s[index] // 60}:{self.offsets_s[index] % 60:02d}"},
            }
            item = {"addChatItemAction": {"item": {"liveChatTextMessageRenderer": renderer}}}
            replay = {"actions": [item], "videoOffsetTimeMsec": str(self.offsets_s[index] * 1000)}
            actions.append({"replayChatItemAction": replay})
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
    response = type(service.serve(_nothing()))
    site = LoopbackYouTube(response, [index * 3 for index in range(190)])
    service.kind_of = lambda host: "youtube" if host == HOST else ""
    service.serve = site.serve
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    yield site
    service.stop()
    assert not service.crashes and not service.foreign


def _nothing() -> Any:
    class Nothing:
        kind = "www"

    return Nothing()


def fetch(folder: Path, **options: Any) -> Any:
    limits = HostLimits({}, Rate(per_second=10_000, burst=10_000))
    return fetch_youtube_chat(URL, folder, **({"duration_ms": 600_000, "retry": HASTY, "limits": limits} | options))


def stored(got: Any, folder: Path, **window: Any) -> Any:
    return store_chat(read_pages(got.pages, Notes(), **window), folder / "chat.jsonl.gz", Notes())


def test_a_replay_comes_whole_and_is_not_asked_for_twice(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    got = fetch(tmp_path)
    assert got.is_complete and got.method == "chat-downloader" and got.counts["comments"] == 190
    chat = stored(got, tmp_path)
    assert chat.offsets_ms.tolist() == [second * 1000 for second in youtube.offsets_s]
    assert audit_chat(chat.offsets_ms, start_ms=0, end_ms=600_000, fetch=got).reasons == ()
    asked = youtube.num_pages
    assert fetch(tmp_path) == got and youtube.num_pages == asked


def test_a_range_is_fetched_with_its_margin(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    got = fetch(tmp_path, ranges_ms=[(100_000, 200_000)])
    times = stored(got, tmp_path, start_ms=70_000, end_ms=230_000).offsets_ms
    assert times.tolist() == [s * 1000 for s in youtube.offsets_s if 70 <= s < 230]
    assert got.counts["comments"] == sum(second < 230 for second in youtube.offsets_s)


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry_After": "0"}), (503, {}), (500, {})])
def test_a_refusal_that_passes_loses_nothing(
    youtube: LoopbackYouTube, tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    youtube.refuse = {2: (status, headers), 5: (status, headers)}
    got = fetch(tmp_path)
    assert got.is_complete and got.counts["comments"] == 190


def test_where_chat_downloader_ends_in_silence_the_chat_is_partial(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    youtube.refuse, youtube.refuse_always = {4: (403, {})}, True
    got = fetch(tmp_path)
    assert got.reasons == ["chat-stopped: http-403 at 237 s"] and not got.is_complete
    audit = audit_chat(stored(got, tmp_path).offsets_ms, start_ms=0, end_ms=600_000, fetch=got)
    assert len(audit.reasons) == 2 and audit.reasons[1].startswith("unlikely-gap") and not audit.proven
    youtube.refuse = {}
    assert fetch(tmp_path).is_complete, "an incomplete chat is fetched anew"


def test_a_server_that_stays_down_leaves_what_came(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    youtube.refuse, youtube.refuse_always = {4: (500, {})}, True
    got = fetch(tmp_path)
    assert got.counts["comments"] == 80 and got.reasons[0].startswith("chat-stopped: ")


def unplayable(status: str) -> dict[str, Any]:
    screen = {"playerErrorMessageRenderer": {"reason": {"simpleText": "Video unavailable"}}}
    return {"playabilityStatus": {"status": status, "errorScreen": screen}}


@pytest.mark.parametrize(
    ("changes", "error_class"),
    [
        ({"status": "live"}, "still-live"),
        ({"status": "none", "offsets_s": []}, "no-chat-replay"),
        ({"offsets_s": []}, "no-messages"),
        ({"playability": unplayable("ERROR")}, "unknown-video"),
        ({"playability": unplayable("LOGIN_REQUIRED")}, "restricted"),
    ],
)
def test_a_video_without_a_replay_is_one_bad_recording(
    youtube: LoopbackYouTube, tmp_path: Path, changes: dict[str, Any], error_class: str
) -> None:
    vars(youtube).update(changes)
    with pytest.raises(BadRecording) as caught:
        fetch(tmp_path)
    assert caught.value.error_class == error_class
    assert not (tmp_path / "messages.jsonl").exists()
