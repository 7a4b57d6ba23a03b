"""The Helix client against the loopback API: pages, limits, tokens, and no credential anywhere."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from videochat.crawl.helix import CLIENT_SECRET, Helix, HelixError, duration_ms
from videochat.errors import MissingInput

ASKED = {"language": "en", "period": "week", "sort": "views"}


@pytest.fixture(autouse=True)
def credentials(twitch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in twitch.credentials.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "ms"), [("3h8m33s", 11_313_000), ("21m", 1_260_000), ("5s", 5_000), ("", 0), ("x", 0)]
)
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


def fill(twitch: Any, count: int) -> str:
    for number in range(count):
        twitch.add_vod(twitch.Vod(id=str(2_000_000 + number), category="Art", views=number, duration_s=8000 + number))
    twitch.add_vod(twitch.Vod(id="77", category="Art", language="de"))
    twitch.add_vod(twitch.Vod(id="78", category="Music"))
    return str(twitch.category_id("Art"))


def test_pages_in_the_order_of_views(twitch: Any) -> None:
    game = fill(twitch, 230)
    helix = Helix.from_environment()
    found = list(helix.videos(game_id=game, **ASKED))
    assert [video.id for video in found] == [str(2_000_229 - number) for number in range(230)]
    assert found[0].duration_ms == 8_229_000 and found[0].channel == "streamer" and found[0].views == 229
    assert sum(row["host"] == "api.twitch.tv" for row in twitch.requests) == 3
    assert sum(row["host"] == "id.twitch.tv" for row in twitch.requests) == 1, "one token"
    assert helix.games([game]) == {game: "Art"}


def test_pages_are_fetched_as_they_are_needed(twitch: Any) -> None:
    videos = Helix.from_environment().videos(game_id=fill(twitch, 230), **ASKED)
    next(videos)
    assert sum(row["host"] == "api.twitch.tv" for row in twitch.requests) == 1


@pytest.mark.slow
def test_the_bucket_is_respected(twitch: Any) -> None:
    game = fill(twitch, 250)
    twitch.helix.points, twitch.helix.window_s = 2, 1.0
    assert len(list(Helix.from_environment().videos(game_id=game, **ASKED))) == 250
    assert twitch.helix.num_refused == 0, "the headers say when to wait, before a 429 does"


def test_a_revoked_token_is_renewed_once(twitch: Any) -> None:
    game = fill(twitch, 150)
    videos = Helix.from_environment().videos(game_id=game, **ASKED)
    next(videos)
    twitch.helix.expire_tokens()
    assert len(list(videos)) == 149


@pytest.mark.slow
def test_429_and_500_pass(twitch: Any) -> None:
    game = fill(twitch, 5)
    twitch.fault("rate-limit", host="api", times=1, retry_after_s=1)
    twitch.fault("server-error", host="api", times=2)
    assert len(list(Helix.from_environment().videos(game_id=game, **ASKED))) == 5


def test_wrong_credentials_are_said_and_not_shown(
    twitch: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(CLIENT_SECRET, "not-the-secret-of-anybody")
    with caplog.at_level(logging.DEBUG), pytest.raises(HelixError, match="gives no token") as error:
        Helix.from_environment().check()
    assert "not-the-secret-of-anybody" not in caplog.text + str(error.value)


def test_no_credentials_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLIENT_SECRET, raising=False)
    with pytest.raises(MissingInput, match=CLIENT_SECRET) as error:
        Helix.from_environment()
    assert "dev.twitch.tv/console" in error.value.fix and "URL" in error.value.fix
