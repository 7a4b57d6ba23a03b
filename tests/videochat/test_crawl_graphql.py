"""The GraphQL client's judgement of answers, the table of operations, chat-downloader's interface over our pages."""

from __future__ import annotations

import email.utils
import re
import subprocess
import sys
from typing import Any

import pytest

from videochat.crawl import twitch_graphql
from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_errors import (
    ChatIncomplete,
    IntegrityFailed,
    NotJson,
    QueryRefused,
    ServiceFailed,
    TwitchError,
    Unauthorized,
    VideoGone,
)
from videochat.crawl.twitch_graphql import GraphQLClient, Retry, retry_after_s
from videochat.crawl.twitch_operations import OPERATIONS
from videochat.errors import UsageError

HASTY = Retry(max_attempts=2, first_wait_s=0.01)
LIMITS = HostLimits({"gql.twitch.tv": Rate(per_second=10_000, burst=10_000)})
PARAMS = {"max_attempts": 2, "message_groups": ["messages"]}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("nan", None), ("soon", None), ("1e400", 1e9)],
)
def test_retry_after_as_a_number(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


def test_retry_after_as_a_date() -> None:
    when = email.utils.formatdate(1_000_090, usegmt=True)
    assert retry_after_s(when, now=lambda: 1_000_000.0) == 90.0
    assert retry_after_s(when, now=lambda: 2_000_000.0) == 0.0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"errors": [{"message": "failed integrity check"}], "data": {"video": {"comments": None}}}, IntegrityFailed),
        ({"errors": [{"message": "no"}], "extensions": {"challenge": {"type": "integrity"}}}, IntegrityFailed),
        ({"errors": [{"message": "service error"}], "data": {"video": None}}, ServiceFailed),
        ({"errors": [{"message": "service timeout"}]}, ServiceFailed),
        ({"errors": [{"message": 'Cannot query field "x" on type "Video".'}]}, QueryRefused),
        ({"errors": "odd"}, QueryRefused),
        ({"errors": [{}]}, QueryRefused),
        ({"data": None}, NotJson),
        ({}, NotJson),
        ({"data": []}, NotJson),
    ],
)
def test_errors_inside_an_answer_are_errors(answer: dict[str, Any], error: type[TwitchError]) -> None:
    with pytest.raises(error):
        twitch_graphql._data(answer)


@pytest.mark.parametrize("content", [b"", b'[{"data": {"vid', b"<!DOCTYPE html><p>", b"7", b"[]", b"[1]", b"[{},{}]"])
def test_what_is_no_answer_is_said(content: bytes) -> None:
    with pytest.raises(NotJson):
        twitch_graphql._parse("gql.twitch.tv", content, 1)


def test_half_a_character_does_not_lose_a_page() -> None:
    answers = twitch_graphql._parse("gql.twitch.tv", b'[{"data": {"name": "a\\ud83d", "bad": "\xff"}}]', 1)
    assert answers == [{"data": {"name": "a\ufffd", "bad": "\ufffd"}}]


def test_waits_double_up_to_a_limit() -> None:
    retry = Retry(first_wait_s=1, longest_wait_s=5)
    assert [retry.wait_s(attempt) for attempt in (2, 3, 4, 5, 900)] == [1, 2, 4, 5, 5]
    with pytest.raises(UsageError):
        Retry(max_attempts=0)


def test_the_table_names_hashes_texts_dates_and_sources() -> None:
    for name, operation in OPERATIONS.items():
        assert operation.name == name and operation.source
        assert re.fullmatch(r"(\d{4}-\d\d-\d\d)?", operation.checked)
        assert operation.sha256 is None or re.fullmatch("[0-9a-f]{64}", operation.sha256)
        assert re.match(rf"query {name}\(", operation.query)
    body = OPERATIONS["VideoMetadata"].body({"videoID": "1"})
    assert "query" not in body and "extensions" not in OPERATIONS["VideoMetadata"].body({}, raw=True)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_is_answered_alike_by_hash_and_by_text(twitch: Any, name: str) -> None:
    """The loopback runs the texts against its schema: an unknown field would be an error."""
    vod = twitch.add_vod(twitch.Vod(id="1234567890", duration_s=60, comments=twitch.comments(5, 60), muted=[(3, 9)]))
    twitch.add_collection(twitch.Collection(id="c1", vods=[vod.id]))
    variables = {
        "videoID": vod.id,
        "channelOwnerLogin": vod.channel,
        "limit": 5,
        "collectionID": "c1",
        "contentOffsetSeconds": 0,
        "channelLogin": "",
        "includePrivate": False,
        "videoSort": "TIME",
        "broadcastType": "ARCHIVE",
    }
    wanted = re.findall(r"\$(\w+):", OPERATIONS[name].query)
    given = {key: value for key, value in variables.items() if key in wanted or key == "channelLogin"}
    root = re.search(r"\{\s*(\w+)\(", OPERATIONS[name].query)
    assert root is not None
    by_hash = GraphQLClient(retry=HASTY, limits=LIMITS).call(name, given)
    fault = twitch.fault("rotated-hashes")
    client = GraphQLClient(retry=HASTY, limits=LIMITS)
    by_text = client.call(name, given)
    assert by_hash[root[1]]["id"] == by_text[root[1]]["id"]
    if OPERATIONS[name].sha256 is not None:
        assert client.rotated == {name} and fault.struck == 1
        client.call(name, given)
        assert fault.struck == 1, "a hash that is unknown once is not tried again"


def test_a_client_id_that_is_refused_is_said_soon(twitch: Any) -> None:
    twitch.fault("unauthorized")
    with pytest.raises(Unauthorized) as caught:
        GraphQLClient(retry=HASTY, limits=LIMITS).call("VideoMetadata", {"videoID": "1"})
    assert len(twitch.requests) == 2, "once more, since one refusal may be a hiccup"
    assert "401" in str(caught.value)


def test_the_site_gives_chat_downloaders_messages_each_once(twitch: Any) -> None:
    from videochat.crawl.twitch_site import TwitchSite

    vod = twitch.add_vod(twitch.Vod(id="1234567890", duration_s=600, comments=twitch.comments(200, 600, seed=4)))
    vod.comments[3]["message"]["fragments"] = [
        {"text": "Kappa", "emote": {"id": "odd", "emoteID": "25", "from": 0, "__typename": ""}, "__typename": ""}
    ]
    vod.comments[4]["message"]["userBadges"] = None
    twitch.fault("integrity-after-page", n=1)
    chat = TwitchSite(retry=HASTY, limits=LIMITS).get_chat_by_vod_id(vod.id, PARAMS)
    messages = list(chat)
    assert [message["message_id"] for message in messages] == [node["id"] for node in vod.ordered]
    assert chat.title == vod.title and messages[3]["message"] == "Kappa"
    assert sum("name" in message["author"] for message in messages) > 150

    window = PARAMS | {"start_time": 100, "end_time": "3:20"}
    chat = TwitchSite(retry=HASTY, limits=LIMITS).get_chat_by_vod_id(vod.id, window)
    assert [m["message_id"] for m in chat] == [n["id"] for n in vod.ordered if 100 <= n["contentOffsetSeconds"] <= 200]


def test_the_site_ends_loudly_where_chat_downloader_ends_in_silence(twitch: Any) -> None:
    from videochat.crawl.twitch_site import TwitchSite

    twitch.add_vod(twitch.Vod(id="1234567890", duration_s=600, comments=twitch.comments(200, 600, seed=4)))
    twitch.fault("comments-null", n=1)
    site = TwitchSite(retry=HASTY, limits=LIMITS)
    messages = []
    with pytest.raises(ChatIncomplete, match="comments-null"):
        for message in site.get_chat_by_vod_id("1234567890", PARAMS):
            messages.append(message)
    assert len(messages) == 59


def test_the_site_refuses_an_unknown_vod(twitch: Any) -> None:
    from chat_downloader.errors import VideoUnavailable

    from videochat.crawl.chat_walk import Ask
    from videochat.crawl.twitch_site import TwitchSite

    site = TwitchSite(retry=HASTY, limits=LIMITS)
    with pytest.raises(VideoUnavailable):
        site.get_chat_by_vod_id("404", PARAMS)
    with pytest.raises(VideoGone):
        site.page("404", Ask(offset_s=0))


def test_importing_the_fetcher_loads_no_network_library() -> None:
    code = (
        "import sys, videochat.crawl.twitch_chat as t; print(sorted({'requests', 'chat_downloader'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
